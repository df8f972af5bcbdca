package org.fishermerge.estimate;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * Works off the models of a pool, several at a time: on every device one, and more where its memory
 * has room for them. The first model of a device tells what one takes.
 *
 * @param <T> what a model's work answers
 */
public final class DevicePool<T> {
  /** While one is loaded or written, another one keeps a GPU busy. */
  private static final int ON_A_GPU = 2;

  /** Takes a model's number and where it is to run. */
  @FunctionalInterface
  public interface Work<T> {
    T run(int model, SharedDevice device);
  }

  private final int models;
  private final Work<T> work;
  private final AtomicInteger next = new AtomicInteger();
  private final AtomicReferenceArray<T> results;
  private final AtomicReferenceArray<Throwable> failures;
  private final List<SharedDevice> devices;

  private DevicePool(List<SharedDevice> devices, int models, Work<T> work) {
    this.devices = devices;
    this.models = models;
    this.work = work;
    this.results = new AtomicReferenceArray<>(models);
    this.failures = new AtomicReferenceArray<>(models);
  }

  /**
   * Works off all models. Once one fails no other is begun, those that run end after their batch,
   * and the failure of the first model in order is thrown.
   *
   * @param atOnce models on a device at the same time, where there is room; empty: two on a GPU,
   *     one on the CPU
   * @return in the models' order
   */
  public static <T> List<T> run(
      List<SharedDevice> devices, OptionalInt atOnce, int models, Work<T> work) {
    DevicePool<T> pool = new DevicePool<>(devices, models, work);
    List<Runnable> workers = new ArrayList<>();
    for (SharedDevice device : devices) {
      int most = atOnce.orElse(device.device().isGpu() ? ON_A_GPU : 1);
      for (int place = 0; place < Math.min(most, models); place++) {
        int number = place;
        workers.add(() -> pool.workAt(device, number));
      }
    }
    if (workers.size() == 1) {
      workers.getFirst().run();
    } else {
      workers.stream()
          .map(Thread.ofPlatform().name("fisher-merge-model-", 0)::start)
          .toList()
          .forEach(DevicePool::join);
    }
    return pool.results();
  }

  private static void join(Thread thread) {
    try {
      thread.join();
    } catch (InterruptedException e) {
      throw new IllegalStateException("nobody interrupts this thread", e);
    }
  }

  private void workAt(SharedDevice device, int place) {
    if (place > 0 && place >= device.modelsAtOnce()) {
      return;
    }
    for (int model = next.getAndIncrement(); model < models; model = next.getAndIncrement()) {
      try {
        results.set(model, work.run(model, device));
      } catch (Throwable e) {
        failures.set(model, e);
        next.set(models);
        devices.forEach(SharedDevice::stop);
      }
    }
    device.noMore();
  }

  private List<T> results() {
    for (int model = 0; model < models; model++) {
      switch (failures.get(model)) {
        case CancellationException e -> {} // because of another one
        case RuntimeException e -> throw e;
        case Error e -> throw e;
        case null -> {}
        default -> throw new IllegalStateException("the work throws nothing else");
      }
    }
    List<T> all = new ArrayList<>();
    for (int model = 0; model < models; model++) {
      all.add(Objects.requireNonNull(results.get(model)));
    }
    return all;
  }
}
