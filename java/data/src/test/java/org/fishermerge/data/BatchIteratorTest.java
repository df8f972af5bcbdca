package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.function.LongConsumer;
import java.util.stream.LongStream;
import org.fishermerge.checkpoint.InputException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
final class BatchIteratorTest {
  /** Counts what is asked of it, and can be made to wait or fail. */
  private static final class FakeImages extends StoredImages {
    final Queue<MemorySegment> written = new ConcurrentLinkedQueue<>();
    final AtomicInteger reads = new AtomicInteger();
    final AtomicInteger decodes = new AtomicInteger();
    volatile LongConsumer beforeDecoding = index -> {};
    volatile long failsAt = -1;
    volatile Set<Long> badRows = Set.of();
    volatile boolean failsReading;
    long windowExamples = 6;

    FakeImages() {
      super(ImageProcessor.clip(1));
    }

    @Override
    long windowExamples() {
      return windowExamples;
    }

    @Override
    Window read(long[] indices, BooleanSupplier cancelled) {
      reads.incrementAndGet();
      if (failsReading) {
        throw new InputException("cannot read");
      }
      return new Window() {
        @Override
        public void decode(int position, MemorySegment out) {
          beforeDecoding.accept(indices[position]);
          decodes.incrementAndGet();
          written.add(out);
          if (badRows.contains(indices[position])) {
            throw new BadRowException(indices[position], where(indices[position]), "bad");
          }
          if (indices[position] == failsAt) {
            throw new InputException("example " + failsAt);
          }
          out.setAtIndex(ValueLayout.JAVA_FLOAT, 0, (float) indices[position]);
        }
      };
    }

    @Override
    public long size() {
      return 100;
    }

    @Override
    public boolean labelled() {
      return true;
    }

    @Override
    public long[] labels() {
      return LongStream.range(0, size()).map(i -> -i).toArray();
    }

    @Override
    public String where(long row) {
      return "fake, row " + row;
    }

    @Override
    public String description() {
      return "fake";
    }

    @Override
    public void close() {}
  }

  private final FakeImages images = new FakeImages();

  @AfterEach
  void noThreadIsLeft() throws InterruptedException {
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().startsWith("fisher-merge-decode")) {
        // One that the pool has let go may still be on its last instructions.
        assertThat(thread.join(Duration.ofSeconds(20))).as(thread.getName()).isTrue();
      }
    }
  }

  private void assertAllMemoryIsFreed() {
    assertThat(images.written).noneMatch(segment -> segment.scope().isAlive());
  }

  @ParameterizedTest(name = "{0} workers")
  @ValueSource(ints = {0, 1, 2, 7})
  void deliversEveryExampleInOrderAndEnds(int workers) throws InterruptedException {
    long[] expected = new Selection.Shuffled(53, 9).rows(100);
    int seen = 0;
    try (BatchIterator batches = images.batches(new Selection.Shuffled(53, 9), 4, workers)) {
      assertThat(batches.count()).isEqualTo(53);
      while (batches.hasNext()) {
        try (ImageBatch batch = batches.next()) {
          assertThat(batch.firstIndex()).isEqualTo(seen);
          assertThat(batch.pixels().byteSize()).isEqualTo(batch.count() * 3L * Float.BYTES);
          for (int i = 0; i < batch.count(); i++, seen++) {
            assertThat(batch.pixels().getAtIndex(ValueLayout.JAVA_FLOAT, 3L * i))
                .isEqualTo((float) expected[seen]);
            assertThat(batch.rows()[i]).isEqualTo(expected[seen]);
          }
        }
      }
      // 14 batches, and only whole batches in a window of at most 6 examples: 1 each.
      assertThat(images.reads.get()).isEqualTo(14);
      assertThatThrownBy(batches::next).isInstanceOf(NoSuchElementException.class);
      // At the end the workers go without being told.
      noThreadIsLeft();
    }
    assertThat(seen).isEqualTo(53);
    assertAllMemoryIsFreed();
  }

  @ParameterizedTest(name = "{0} workers")
  @ValueSource(ints = {0, 1, 3})
  void leavesBadRowsOutOfTheirBatches(int workers) {
    images.badRows = Set.of(1L, 2L, 7L, 12L, 13L, 14L, 15L);
    List<Long> told = new ArrayList<>();
    List<List<Long>> seen = new ArrayList<>();
    try (BatchIterator batches =
        images.batches(new Selection.First(18).rows(100), 4, workers, bad -> told.add(bad.row()))) {
      while (batches.hasNext()) {
        try (ImageBatch batch = batches.next()) {
          seen.add(Arrays.stream(batch.rows()).boxed().toList());
          assertThat(batch.count()).isEqualTo(batch.rows().length);
          assertThat(batch.pixels().byteSize()).isEqualTo(batch.count() * 3L * Float.BYTES);
          for (int i = 0; i < batch.count(); i++) {
            assertThat(batch.pixels().getAtIndex(ValueLayout.JAVA_FLOAT, 3L * i))
                .isEqualTo((float) batch.rows()[i]);
          }
        }
      }
    }
    assertThat(seen)
        .containsExactly(
            List.of(0L, 3L),
            List.of(4L, 5L, 6L),
            List.of(8L, 9L, 10L, 11L),
            List.of(),
            List.of(16L, 17L));
    assertThat(told).containsExactly(1L, 2L, 7L, 12L, 13L, 14L, 15L);
    assertAllMemoryIsFreed();
  }

  @Test
  void oneBadRowTooManyEndsTheReading() {
    images.badRows = Set.of(2L, 5L);
    try (BatchIterator batches =
        images.batches(
            new Selection.First(8).rows(100),
            2,
            1,
            bad -> {
              if (bad.row() == 5) {
                throw bad;
              }
            })) {
      batches.next().close();
      batches.next().close();
      assertThatThrownBy(batches::next)
          .isInstanceOf(BadRowException.class)
          .hasMessage("fake, row 5: bad");
      assertThat(batches.hasNext()).isFalse();
    }
    assertAllMemoryIsFreed();
  }

  @ParameterizedTest(name = "window of {0} examples")
  @ValueSource(longs = {1, 5, 10, 99, Long.MAX_VALUE})
  void windowsDoNotChangeWhatIsRead(long windowExamples) {
    images.windowExamples = windowExamples;
    int seen = 0;
    try (BatchIterator batches = images.batches(new Selection.First(100), 5, 2)) {
      while (batches.hasNext()) {
        try (ImageBatch batch = batches.next()) {
          for (int i = 0; i < batch.count(); i++, seen++) {
            assertThat(batch.pixels().getAtIndex(ValueLayout.JAVA_FLOAT, 3L * i)).isEqualTo(seen);
          }
        }
      }
    }
    assertThat(seen).isEqualTo(100);
  }

  @Test
  void decodesOnTheCallersThreadWithoutWorkers() {
    try (BatchIterator batches = images.batches(new Selection.First(8), 4, 0);
        ImageBatch first = batches.next()) {
      assertThat(first.count()).isEqualTo(4);
      assertThat(images.decodes.get()).isEqualTo(4);
    }
    assertAllMemoryIsFreed();
  }

  @Test
  void decodesABoundedNumberAhead() {
    try (BatchIterator batches = images.batches(new Selection.First(100), 2, 3)) {
      batches.next().close();
      // 1 + ceil(3/2) batches may be under way besides the one delivered.
      while (images.decodes.get() < 8) {
        Thread.onSpinWait();
      }
      assertThat(images.decodes.get()).isEqualTo(8);
    }
    assertThat(images.decodes.get()).isEqualTo(8);
    assertAllMemoryIsFreed();
  }

  @ParameterizedTest(name = "{0} workers")
  @ValueSource(ints = {0, 1, 5})
  void failuresSurfaceAtTheirBatchAndFreeEverything(int workers) throws InterruptedException {
    images.failsAt = 9;
    try (BatchIterator batches = images.batches(new Selection.First(100), 4, workers)) {
      batches.next().close();
      batches.next().close();
      assertThatThrownBy(batches::next).isInstanceOf(InputException.class).hasMessage("example 9");
      assertThat(batches.hasNext()).isFalse();
      noThreadIsLeft();
      assertAllMemoryIsFreed();
    }
  }

  @ParameterizedTest(name = "{0} workers")
  @ValueSource(ints = {0, 1, 2})
  void failuresToReadSurfaceToo(int workers) {
    images.failsReading = true;
    try (BatchIterator batches = images.batches(new Selection.First(100), 4, workers)) {
      assertThatThrownBy(batches::next)
          .isInstanceOf(InputException.class)
          .hasMessage("cannot read");
    }
    assertThat(images.decodes.get()).isZero();
  }

  @Test
  void closingEndsTheWorkersAndKeepsWhatTheCallerHolds() throws InterruptedException {
    BatchIterator batches = images.batches(new Selection.First(100), 4, 3);
    ImageBatch held = batches.next();
    batches.close();
    noThreadIsLeft();
    assertThat(held.pixels().scope().isAlive()).isTrue();
    assertThat(images.written)
        .allMatch(
            segment -> !segment.scope().isAlive() || segment.scope().equals(held.pixels().scope()));
    held.close();
    held.close();
    batches.close();
    assertAllMemoryIsFreed();
    assertThat(batches.hasNext()).isFalse();
  }

  /**
   * What Jazzer found: a worker between two tasks could miss that the pool was being closed, and
   * the caller waited for it for ever.
   */
  @Test
  void closingBetweenTasksEnds() {
    for (int round = 0; round < 2_000; round++) {
      try (BatchIterator batches = images.batches(new Selection.First(40), 1, 2)) {
        batches.next().close();
      }
      images.written.clear();
    }
  }

  @Test
  void closingWhileWorkersAreBusyWaitsForThem() throws InterruptedException {
    Thread caller = Thread.currentThread();
    // After the first batch the workers are stuck until the caller waits for their end.
    images.beforeDecoding =
        index -> {
          while (index >= 4 && caller.getState() != Thread.State.TIMED_WAITING) {
            Thread.onSpinWait();
          }
        };
    BatchIterator batches = images.batches(new Selection.First(100), 4, 2);
    batches.next().close();
    batches.close();
    // The two examples that were under way, and none of the many that were queued.
    assertThat(images.decodes.get()).isLessThanOrEqualTo(6);
    noThreadIsLeft();
    assertAllMemoryIsFreed();
  }

  @Test
  void anInterruptedCallerGetsOutWithTheFlagSet() {
    Thread caller = Thread.currentThread();
    // Nothing is ready before the caller has given up and waits, for a limited time, for the end.
    images.beforeDecoding =
        index -> {
          while (caller.getState() != Thread.State.TIMED_WAITING) {
            Thread.onSpinWait();
          }
        };
    BatchIterator batches = images.batches(new Selection.First(100), 4, 2);
    caller.interrupt();
    try {
      assertThatThrownBy(batches::next).isInstanceOf(CancellationException.class);
    } finally {
      assertThat(Thread.interrupted()).isTrue();
    }
    assertAllMemoryIsFreed();
  }

  @Test
  void refusesSillySizes() {
    for (int[] bad : List.of(new int[] {0, 1}, new int[] {-1, 1}, new int[] {1, -1})) {
      assertThatThrownBy(() -> images.batches(new Selection.First(1), bad[0], bad[1]).close())
          .isInstanceOf(IllegalArgumentException.class);
    }
    for (long row : new long[] {-1, 100}) {
      assertThatThrownBy(() -> images.batches(new long[] {0, row}, 1, 0).close())
          .isInstanceOf(IndexOutOfBoundsException.class);
    }
  }
}
