package org.fishermerge.estimate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.fishermerge.torch.BatchMemory;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Models of a pool beside each other. Each waits for what must be; nothing waits for time. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
final class SharedDeviceTest {
  /** 1,100 for an example, with what malloc loses. */
  private static final BatchMemory BATCH = new BatchMemory(1_000, 0, 1, 0);

  private final SharedDevice device = new SharedDevice(CommandDevice.forMerging("cpu"));
  private final ExecutorService threads = Executors.newCachedThreadPool();

  @AfterEach
  void end() {
    threads.shutdownNow();
  }

  private static Optional<MemoryPlan> plan(long free) {
    return Optional.of(new MemoryPlan(true, 5_000, 5_000, BATCH, 0, 0, 0, free));
  }

  @Test
  void nothingRunsWhileAModelIsMeasured() throws Exception {
    AtomicBoolean measuring = new AtomicBoolean();
    CountDownLatch running = new CountDownLatch(1);
    CountDownLatch measured = new CountDownLatch(1);
    List<String> seen = Collections.synchronizedList(new ArrayList<>());
    Future<?> first =
        threads.submit(() ->
            device.run(() -> {
              running.countDown();
              while (measured.getCount() > 0) {
                if (measuring.get()) {
                  seen.add("a batch ran during a measurement");
                }
                device.betweenBatches();
              }
            }));
    running.await();
    device.run(() -> {
      for (int i = 0; i < 100; i++) {
        device.plan(() -> {
          measuring.set(true);
          busy();
          measuring.set(false);
          return Optional.empty();
        });
      }
      // Running again, beside the other.
      device.betweenBatches();
    });
    measured.countDown();
    first.get();
    assertThat(seen).isEmpty();
  }

  /** Long enough for another thread to come in between. */
  private static void busy() {
    for (int i = 0; i < 1_000; i++) {
      Thread.onSpinWait();
    }
  }

  @Test
  void whatOneWasPromisedIsNotOfferedToAnother() throws Exception {
    CountDownLatch promised = new CountDownLatch(1);
    CountDownLatch end = new CountDownLatch(1);
    Future<?> first =
        threads.submit(() ->
            device.run(() -> {
              device.promise(device.plan(() -> plan(100_000)), 10);
              promised.countDown();
              while (end.getCount() > 0) {
                device.betweenBatches();
              }
            }));
    promised.await();
    assertThat(device.plan(() -> plan(100_000)).orElseThrow().free()).isEqualTo(100_000 - 11_000);
    assertThat(device.wasNotShared()).isTrue();
    end.countDown();
    first.get();
    assertThat(device.plan(() -> plan(100_000)).orElseThrow().free()).isEqualTo(100_000);
  }

  @Test
  void aModelWithoutRoomWaitsForAnother() throws Exception {
    assertThat(device.awaitAnother()).isFalse();
    CountDownLatch promised = new CountDownLatch(1);
    CountDownLatch waiting = new CountDownLatch(1);
    List<String> order = Collections.synchronizedList(new ArrayList<>());
    Future<?> first =
        threads.submit(() ->
            device.run(() -> {
              device.promise(plan(100_000), 10);
              promised.countDown();
              while (waiting.getCount() > 0) {
                device.betweenBatches();
              }
              // Whoever waits lets others measure.
              assertThat(device.plan(() -> plan(1)).orElseThrow().free()).isEqualTo(1);
              order.add("first ends");
            }));
    promised.await();
    Future<Boolean> second =
        threads.submit(() -> {
          boolean[] waited = {false};
          device.run(() -> {
            waiting.countDown();
            waited[0] = device.awaitAnother();
            order.add("second goes on");
          });
          return waited[0];
        });
    assertThat(second.get()).isTrue();
    first.get();
    assertThat(order).containsExactly("first ends", "second goes on");
  }

  @Test
  void theFirstPlanTellsHowManyFit() {
    // 10,000 and 11,000 each; three quarters of the rest.
    assertThat(plan(200_000).orElseThrow().modelsAtOnce(10)).isEqualTo(7);
    assertThat(plan(1).orElseThrow().modelsAtOnce(10)).isEqualTo(1);
    device.run(() -> device.promise(plan(56_000), 10));
    assertThat(device.modelsAtOnce()).isEqualTo(2);
    device.run(() -> device.promise(plan(200_000), 10));
    assertThat(device.modelsAtOnce()).isEqualTo(2);
  }

  @Test
  void withoutAPlanThereIsRoomForOne() {
    device.run(() -> device.promise(Optional.empty(), 10));
    assertThat(device.modelsAtOnce()).isEqualTo(1);
  }

  @Test
  void stoppingEndsWhatRuns() {
    device.run(device::betweenBatches);
    device.stop();
    assertThat(device.modelsAtOnce()).isZero();
    assertThatThrownBy(() -> device.run(device::betweenBatches))
        .isInstanceOf(CancellationException.class);
  }
}
