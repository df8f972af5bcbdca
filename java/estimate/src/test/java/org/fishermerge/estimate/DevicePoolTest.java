package org.fishermerge.estimate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.BatchMemory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Which models run where and when; what they do there is for others to test. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
final class DevicePoolTest {
  private static SharedDevice device() {
    return new SharedDevice(CommandDevice.forMerging("cpu"));
  }

  @Test
  void oneDeviceRunsModelsInOrderOnTheCallersThread() {
    List<Thread> threads = new ArrayList<>();
    List<Integer> results =
        DevicePool.run(
            List.of(device()),
            OptionalInt.empty(),
            4,
            (model, on) -> {
              threads.add(Thread.currentThread());
              return 10 * model;
            });
    assertThat(results).containsExactly(0, 10, 20, 30);
    assertThat(threads).containsOnly(Thread.currentThread());
  }

  @Test
  void everyDeviceWorksAndResultsKeepTheirOrder() {
    List<SharedDevice> devices = List.of(device(), device(), device());
    // All three meet before any may answer.
    CyclicBarrier met = new CyclicBarrier(3);
    List<SharedDevice> used = Collections.synchronizedList(new ArrayList<>());
    List<Integer> results =
        DevicePool.run(
            devices,
            OptionalInt.empty(),
            6,
            (model, on) -> {
              used.add(on);
              await(met);
              return model;
            });
    assertThat(results).containsExactly(0, 1, 2, 3, 4, 5);
    assertThat(used).hasSize(6).containsAll(devices);
  }

  private static void await(CyclicBarrier barrier) {
    try {
      barrier.await();
    } catch (InterruptedException | BrokenBarrierException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void asManyRunOnADeviceAsTheFirstTellsThatThereIsRoomFor() {
    // Models of 10 bytes, of which 2 fit into three quarters of 29 bytes.
    MemoryPlan plan = new MemoryPlan(true, 10, 0, new BatchMemory(0, 0, 1, 0), 0, 0, 0, 29);
    AtomicInteger running = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    CyclicBarrier met = new CyclicBarrier(2);
    List<Integer> results =
        DevicePool.run(
            List.of(device()),
            OptionalInt.of(3),
            8,
            (model, on) -> {
              most.accumulateAndGet(running.incrementAndGet(), Math::max);
              on.run(() -> on.promise(Optional.of(plan), 1));
              await(met);
              running.decrementAndGet();
              return model;
            });
    assertThat(results).hasSize(8);
    assertThat(most).hasValue(2);
  }

  /** Nothing tells what a model takes, so the others of the device wait for the first, and end. */
  @Test
  void modelsOfADeviceComeOnceTheFirstHasShownThatThereIsRoom() {
    AtomicInteger running = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    DevicePool.run(
        List.of(device()),
        OptionalInt.of(3),
        5,
        (model, on) -> {
          most.accumulateAndGet(running.incrementAndGet(), Math::max);
          running.decrementAndGet();
          return model;
        });
    assertThat(most).hasValue(1);
  }

  @Test
  void theFirstFailureInOrderCountsAndNoOtherModelIsBegun() {
    CyclicBarrier met = new CyclicBarrier(2);
    CountDownLatch failed = new CountDownLatch(1);
    List<Integer> begun = Collections.synchronizedList(new ArrayList<>());
    assertThatThrownBy(() ->
            DevicePool.run(
                List.of(device(), device()),
                OptionalInt.empty(),
                9,
                (model, on) -> {
                  begun.add(model);
                  await(met);
                  if (model == 1) {
                    failed.countDown();
                    throw new InputException("model 1");
                  }
                  try {
                    failed.await();
                  } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                  }
                  throw new CancellationException();
                }))
        .isInstanceOf(InputException.class)
        .hasMessage("model 1");
    assertThat(begun).containsExactlyInAnyOrder(0, 1);
  }
}
