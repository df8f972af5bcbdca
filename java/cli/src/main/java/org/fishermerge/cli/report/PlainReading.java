package org.fishermerge.cli.report;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * How fast this machine reads the files of a merge when it does nothing else: some of their bytes
 * are read once more by one thread, as {@code cat} would, from wherever they are by then.
 */
final class PlainReading {
  /** Of the time of the merge, at most. */
  private static final double SHARE = 0.001;

  /** Merges that read less are over before a rate is steady. */
  private static final long LEAST_BYTES = 500_000_000;

  private static final int BLOCK = 1 << 19;

  private PlainReading() {}

  /**
   * Bytes a second; null of short merges, or where nothing can be read.
   *
   * @param files that it read, in order
   * @param bytes that the merge has read
   * @param seconds that it took
   */
  static @Nullable Double rate(List<Path> files, long bytes, double seconds) {
    if (bytes < LEAST_BYTES) {
      return null;
    }
    ByteBuffer block = ByteBuffer.allocateDirect(BLOCK);
    double budget = SHARE * seconds * 1e9;
    long read = 0;
    long spent = 0;
    try {
      // From the last, which is likeliest to be where the first was too.
      for (Path file : files.reversed()) {
        if (spent >= budget) {
          break;
        }
        try (FileChannel channel = FileChannel.open(file)) {
          channel.read(block.clear()); // opening, and the block's own pages, are not the disk's
          long start = System.nanoTime();
          int n;
          while (spent + System.nanoTime() - start < budget
              && (n = channel.read(block.clear())) > 0) {
            read += n;
          }
          spent += System.nanoTime() - start;
        }
      }
    } catch (IOException e) {
      return null; // the merge is done, and whoever reads the report can do without
    }
    return read < BLOCK ? null : (Double) (read / (spent / 1e9));
  }
}
