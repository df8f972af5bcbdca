package org.fishermerge.data.hub;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Held by the one who downloads a blob, so that it is downloaded once. The operating system
 * releases it when its holder is killed. Two locks in one, because file locks are held by whole
 * processes.
 *
 * <p>Only there to save work: some network file systems grant such a lock to everyone, and Python's
 * locks are of another kind. {@link Download} does no harm when two hold it.
 */
final class BlobLock implements AutoCloseable {
  private static final System.Logger LOGGER = System.getLogger(BlobLock.class.getName());
  private static final long POLL_MILLIS = 50;
  private static final ConcurrentHashMap<Path, ReentrantLock> IN_PROCESS =
      new ConcurrentHashMap<>();

  private final ReentrantLock inProcess;
  private final @Nullable FileChannel channel;

  private BlobLock(ReentrantLock inProcess, @Nullable FileChannel channel) {
    this.inProcess = inProcess;
    this.channel = channel;
  }

  /** Waits until the lock is free, telling {@code waiting} if it is not. */
  static BlobLock acquire(Path file, Runnable waiting) {
    ReentrantLock inProcess = IN_PROCESS.computeIfAbsent(file, any -> new ReentrantLock());
    try {
      if (!inProcess.tryLock()) {
        waiting.run();
        inProcess.lockInterruptibly();
      }
    } catch (InterruptedException e) {
      throw Interrupted.exception(e);
    }
    try {
      return new BlobLock(inProcess, lock(file, waiting));
    } catch (Throwable e) {
      inProcess.unlock();
      throw e;
    }
  }

  private static @Nullable FileChannel lock(Path file, Runnable waiting) {
    FileChannel channel = null;
    try {
      Files.createDirectories(Objects.requireNonNull(file.getParent()));
      channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      boolean told = false;
      while (!tryLock(channel)) {
        if (!told) {
          waiting.run();
          told = true;
        }
        Thread.sleep(POLL_MILLIS);
      }
      return channel;
    } catch (IOException e) {
      // A file system without locks.
      LOGGER.log(Level.DEBUG, "no lock on " + file, e);
      closeQuietly(channel);
      return null;
    } catch (InterruptedException e) {
      closeQuietly(channel);
      throw Interrupted.exception(e);
    }
  }

  private static boolean tryLock(FileChannel channel) throws IOException {
    try {
      return channel.tryLock() != null;
    } catch (OverlappingFileLockException e) {
      // Held in this process by way of another name for the cache.
      return false;
    }
  }

  private static void closeQuietly(@Nullable FileChannel channel) {
    try {
      if (channel != null) {
        channel.close();
      }
    } catch (IOException e) {
      LOGGER.log(Level.DEBUG, "closing a lock file", e);
    }
  }

  /** Releases both. */
  @Override
  public void close() {
    closeQuietly(channel);
    inProcess.unlock();
  }
}
