package org.fishermerge.data;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The batches of the selected examples, in order. With workers, a bounded number of batches is
 * decoded ahead of the caller. For one thread. What goes wrong surfaces from {@link #next} of its
 * batch, as an {@link org.fishermerge.checkpoint.InputException} that names file and row, and the
 * iterator is then closed; of single bad rows the caller is told first, and may go on without them.
 *
 * <p>Storage is read window by window: the encoded examples of a number of batches are fetched in
 * storage order, so that a shuffled selection does not read its files once per example.
 */
public final class BatchIterator implements Iterator<ImageBatch>, AutoCloseable {
  private final StoredImages source;
  private final long[] rows;
  private final int batchSize;
  private final int workers;
  private final Consumer<BadRowException> bad;
  private final int batchesPerWindow;
  private final @Nullable ThreadPoolExecutor pool;
  private final Deque<Pending> pending = new ArrayDeque<>();
  private int started;
  private int windowIndex = -1;
  private @Nullable Future<StoredImages.Window> window;
  private @Nullable Future<StoredImages.Window> nextWindow;
  private volatile boolean closed;

  private record Pending(ImageBatch batch, List<FutureTask<Void>> examples) {}

  BatchIterator(
      StoredImages source, long[] rows, int batchSize, int workers, Consumer<BadRowException> bad) {
    if (batchSize <= 0 || workers < 0) {
      throw new IllegalArgumentException("batch size " + batchSize + ", workers " + workers);
    }
    for (long row : rows) {
      Objects.checkIndex(row, source.size());
    }
    this.source = source;
    this.rows = rows.clone();
    this.batchSize = batchSize;
    this.workers = workers;
    this.bad = bad;
    this.batchesPerWindow = Math.clamp(source.windowExamples() / batchSize, 1, 1 << 20);
    this.pool = workers == 0 ? null : pool(workers);
  }

  private static ThreadPoolExecutor pool(int workers) {
    return new ThreadPoolExecutor(
        workers,
        workers,
        0,
        TimeUnit.SECONDS,
        new LinkedBlockingQueue<>(),
        Thread.ofPlatform().daemon().name("fisher-merge-decode-", 0).factory());
  }

  /** Number of examples in all batches together. */
  public long count() {
    return rows.length;
  }

  @Override
  public boolean hasNext() {
    return !closed && (!pending.isEmpty() || started < batches());
  }

  /**
   * Batches that are in memory at once, at most, where the caller closes each before taking the
   * next: the caller's, and those that workers decode meanwhile.
   */
  public static int batchesAtOnce(int batchSize, int workers) {
    return workers == 0 ? 1 : 2 + Math.ceilDiv(workers, batchSize);
  }

  /** The next batch, which the caller closes. */
  @Override
  public ImageBatch next() {
    if (!hasNext()) {
      throw new NoSuchElementException("no batch is left, or the iterator is closed");
    }
    boolean whole = false;
    try {
      startAhead();
      Pending head = pending.getFirst();
      dropBadRows(head);
      pending.removeFirst();
      // From here on the batch is the caller's, unless starting the following ones fails.
      whole = startAheadOrFree(head.batch());
      if (!hasNext()) {
        close();
      }
      return head.batch();
    } finally {
      if (!whole) {
        close();
      }
    }
  }

  private void dropBadRows(Pending head) {
    Set<Integer> dropped = new HashSet<>();
    for (int i = 0; i < head.examples().size(); i++) {
      try {
        await(head.examples().get(i));
      } catch (BadRowException e) {
        bad.accept(e);
        dropped.add(i);
      }
    }
    if (!dropped.isEmpty()) {
      head.batch().drop(dropped);
    }
  }

  private boolean startAheadOrFree(ImageBatch batch) {
    try {
      if (pool != null) {
        startAhead();
      }
      return true;
    } catch (Throwable e) {
      batch.close();
      throw e;
    }
  }

  private int batches() {
    return (int) ((rows.length + (long) batchSize - 1) / batchSize);
  }

  private void startAhead() {
    int ahead = Math.max(1, batchesAtOnce(batchSize, workers) - 1);
    while (pending.size() < ahead && started < batches()) {
      start(started++);
    }
  }

  private void start(int index) {
    int from = index * batchSize;
    int count = Math.min(batchSize, rows.length - from);
    Future<StoredImages.Window> encoded = window(index / batchesPerWindow);
    int offset = from - (index / batchesPerWindow) * batchesPerWindow * batchSize;
    ImageBatch batch =
        new ImageBatch(
            Arrays.copyOfRange(rows, from, from + count),
            source.processor.height(),
            source.processor.width(),
            from);
    List<FutureTask<Void>> examples = new ArrayList<>(count);
    pending.add(new Pending(batch, examples));
    for (int i = 0; i < count; i++) {
      int example = i;
      examples.add(
          submit(
              new FutureTask<>(() -> {
                decode(await(encoded), offset + example, batch, example);
                return null;
              })));
    }
    readNextWindow();
  }

  private void decode(StoredImages.Window encoded, int position, ImageBatch batch, int example) {
    if (closed) {
      throw new CancellationException();
    }
    encoded.decode(position, batch.example(example));
  }

  private Future<StoredImages.Window> window(int index) {
    if (index != windowIndex || window == null) {
      window = nextWindow != null ? nextWindow : read(index);
      nextWindow = null;
      windowIndex = index;
    }
    return window;
  }

  /** Queued behind the first batch of this window, so that reading overlaps decoding. */
  private void readNextWindow() {
    boolean last = (windowIndex + 1L) * batchesPerWindow >= batches();
    if (pool != null && nextWindow == null && !last) {
      nextWindow = read(windowIndex + 1);
    }
  }

  private Future<StoredImages.Window> read(int index) {
    int from = index * batchesPerWindow * batchSize;
    int to = (int) Math.min(from + (long) batchesPerWindow * batchSize, rows.length);
    long[] wanted = Arrays.copyOfRange(rows, from, to);
    return submit(new FutureTask<>(() -> source.read(wanted, () -> closed)));
  }

  private <T> FutureTask<T> submit(FutureTask<T> task) {
    if (pool == null) {
      task.run();
    } else {
      pool.execute(task);
    }
    return task;
  }

  private static <T> T await(Future<T> task) {
    try {
      return task.get();
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case RuntimeException cause -> throw cause;
        case Error cause -> throw cause;
        case null, default -> throw new IllegalStateException(e.getCause());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("interrupted while waiting for a batch");
    }
  }

  /**
   * Ends the workers, waiting for what each is just doing, and frees the batches not yet handed
   * out. Those handed out stay the caller's.
   */
  @Override
  public void close() {
    closed = true;
    if (pool != null) {
      // No interrupts: they would close the file channels under a reader.
      // The queue first: a worker that has seen a task in it would wait for one that is gone.
      pool.getQueue().clear();
      pool.shutdown();
      boolean interrupted = false;
      while (true) {
        try {
          if (pool.awaitTermination(1, TimeUnit.DAYS)) {
            break;
          }
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
    for (Pending left : pending) {
      left.batch().close();
    }
    pending.clear();
    window = null;
    nextWindow = null;
  }
}
