package org.fishermerge.cli.report;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeSource;
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
   * @param bytes that the merge has read
   * @param seconds that it took
   */
  static @Nullable Double rate(MergeRequest request, long bytes, double seconds) {
    if (bytes < LEAST_BYTES) {
      return null;
    }
    ByteBuffer block = ByteBuffer.allocateDirect(BLOCK);
    double budget = SHARE * seconds * 1e9;
    long read = 0;
    long spent = 0;
    try {
      for (Path file : files(request)) {
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

  /** Some of what was read; the last of it, which is likeliest to be where the first was too. */
  private static List<Path> files(MergeRequest request) throws IOException {
    List<Path> files = new ArrayList<>();
    for (MergeSource source : request.models().reversed()) {
      source.statistic().ifPresent(files::add);
      if (Files.isDirectory(source.model())) {
        try (Stream<Path> inside = Files.list(source.model())) {
          inside.filter(file -> file.toString().endsWith(".safetensors")).forEach(files::add);
        }
      } else if (Files.isRegularFile(source.model())) {
        files.add(source.model());
      }
    }
    return files;
  }
}
