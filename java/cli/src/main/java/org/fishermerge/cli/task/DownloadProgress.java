package org.fishermerge.cli.task;

import java.io.PrintWriter;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;
import org.fishermerge.data.hub.HubProgress;

/** Says what is downloaded: a moving line on a terminal, and one that stays for each repository. */
final class DownloadProgress implements HubProgress {
  private final PrintWriter err;
  private final Map<String, Long> here = new HashMap<>();
  private final Map<String, Long> sizes = new HashMap<>();
  private Progress line;

  DownloadProgress(PrintWriter err) {
    this.err = err;
    this.line = line("");
  }

  private Progress line(String repository) {
    return new Progress(err, "Downloading " + repository, "MB", 0, 1e6);
  }

  /** Fetches a repository's files, and says so if there was something to download. */
  <T> T of(String repository, Supplier<T> fetch) {
    here.clear();
    sizes.clear();
    long start = System.nanoTime();
    T fetched;
    try (Progress drawn = line(repository)) {
      line = drawn;
      fetched = fetch.get();
    }
    if (!here.isEmpty()) {
      err.printf(
          Locale.ROOT,
          "%s: downloaded, %.3g MB in %s%n",
          repository,
          sum(here) / 1e6,
          Progress.duration((System.nanoTime() - start) / 1e9));
      err.flush();
    }
    return fetched;
  }

  @Override
  public void downloaded(String file, long bytes, long total) {
    here.put(file, bytes);
    sizes.put(file, Math.max(total, bytes));
    line.update(sum(here), sum(sizes));
  }

  @Override
  public void note(String message) {
    line.close();
    err.println("note: " + message);
    err.flush();
  }

  private static long sum(Map<String, Long> bytes) {
    return bytes.values().stream().mapToLong(Long::longValue).sum();
  }
}
