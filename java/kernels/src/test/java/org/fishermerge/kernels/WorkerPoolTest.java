package org.fishermerge.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.SortedMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class WorkerPoolTest {
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5})
  void everyItemIsDoneOnceByAKnownWorker(int threads) {
    try (WorkerPool pool = new WorkerPool(threads)) {
      for (int items : new int[] {0, 1, 9, 1000}) {
        for (int grain : new int[] {1, 7, 2000}) {
          AtomicIntegerArray done = new AtomicIntegerArray(items);
          pool.run(
              items,
              grain,
              (worker, begin, end) -> {
                assertThat(worker).isBetween(0, threads - 1);
                for (long k = begin; k < end; k++) {
                  done.incrementAndGet((int) k);
                }
              });
          for (int k = 0; k < items; k++) {
            assertThat(done.get(k)).isEqualTo(1);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "1, 4 4 4 4 4 4 4 4 4 3 2 2",
    "2, 4 4 4 4 4 4 4 3 3 2 2 2 2 1",
    "5, 4 3 3 3 3 2 2 2 2 2 2 2 2 2 2 2 2 2 1"
  })
  void rangesShrinkTowardsTheEndWhereTheyMay(int threads, String expected) {
    SortedMap<Long, Long> sizes = new ConcurrentSkipListMap<>();
    try (WorkerPool pool = new WorkerPool(threads)) {
      pool.run(
          List.of(
              new WorkerPool.Step(
                  43, 4, 2, (worker, begin, end) -> sizes.put(begin, end - begin))));
    }
    assertThat(sizes.values().stream().map(String::valueOf).collect(Collectors.joining(" ")))
        .isEqualTo(expected);
  }

  @Test
  void aStepShorterThanItsGrainIsSharedTooWhereItsRangesMayShrink() {
    CountDownLatch both = new CountDownLatch(2);
    try (WorkerPool pool = new WorkerPool(2)) {
      pool.run(
          List.of(
              new WorkerPool.Step(
                  2,
                  4,
                  1,
                  (worker, begin, end) -> {
                    both.countDown();
                    try {
                      assertThat(both.await(30, TimeUnit.SECONDS)).isTrue();
                    } catch (InterruptedException e) {
                      throw new AssertionError(e);
                    }
                  })));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5})
  void aFailureReachesTheCallerAndThePoolGoesOn(int threads) {
    try (WorkerPool pool = new WorkerPool(threads)) {
      assertThatThrownBy(() ->
              pool.run(
                  100,
                  1,
                  (worker, begin, end) -> {
                    if (end > 40) {
                      throw new IllegalArgumentException("item " + begin);
                    }
                  }))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageStartingWith("item ");
      var seen = ConcurrentHashMap.newKeySet();
      pool.run(10, 1, (worker, begin, end) -> seen.add(begin));
      assertThat(seen).isNotEmpty();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 4})
  void anInterruptedCallerStillWaits(int threads) {
    try (WorkerPool pool = new WorkerPool(threads)) {
      AtomicIntegerArray done = new AtomicIntegerArray(50);
      Thread.currentThread().interrupt();
      pool.run(50, 1, (worker, begin, end) -> done.incrementAndGet((int) begin));
      assertThat(Thread.interrupted()).isTrue();
      for (int k = 0; k < 50; k++) {
        assertThat(done.get(k)).isEqualTo(1);
      }
    }
  }
}
