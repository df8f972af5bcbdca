package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.ProgressListener;
import org.fishermerge.testkit.Golden;
import org.fishermerge.torch.runtime.NativeHeap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/**
 * Many estimates, merges, comparisons and evaluations in one JVM, as an embedder runs them: what
 * the process holds stays flat. {@code -Dfishermerge.soak-seconds=N} sets how long.
 */
@EnabledOnOs(OS.LINUX)
final class SoakTest {
  private static final long SECONDS = Long.getLong("fishermerge.soak-seconds", 4);

  /** Rounds until caches, compiled code and pools have their size. */
  private static final int WARM_UP = 12;

  /** Far below one Fisher (some 200 KB) per round in a long run. */
  private static final long BYTES_PER_ROUND = 20_000;

  private static final long SLACK_BYTES = 24L << 20;

  @TempDir Path folder;

  /**
   * What a process can leak. Native memory is what malloc has handed out: resident memory moves by
   * far more with the size that the collector gives the heap.
   */
  private record Held(long files, long threads, long nativeBytes, long mappings) {
    static Held now() throws IOException {
      System.gc(); // runs what cleans up after unreachable objects, in a moment
      try (Stream<Path> descriptors = Files.list(Path.of("/proc/self/fd"));
          Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
        return new Held(
            descriptors.count(),
            status("Threads"),
            NativeHeap.used().orElseThrow(),
            maps.filter(line -> line.contains(".safetensors")).count());
      }
    }

    private static long status(String field) throws IOException {
      try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
        return lines
            .filter(line -> line.startsWith(field + ":"))
            .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
            .findFirst()
            .orElseThrow();
      }
    }
  }

  private static Path golden(String name) {
    return Golden.path("clip-tiny").resolve(name);
  }

  private Path fisher(String task) {
    return folder.resolve(task + ".fisher.safetensors");
  }

  private void round() {
    for (String task : List.of("alpha", "beta")) {
      CommandResult.run(GoldenCommands.fisher(task, fisher(task), "--overwrite")).succeeds();
    }
    CommandResult.run(
            "merge",
            "--overwrite",
            "--base",
            FewWords.pretrained().toString(),
            "--model",
            golden("alpha").toString(),
            "--fisher",
            fisher("alpha").toString(),
            "--model",
            golden("beta").toString(),
            "--fisher",
            fisher("beta").toString(),
            "--out",
            folder.resolve("merged").toString())
        .succeeds();
    CommandResult.run("similarity", fisher("alpha").toString(), fisher("beta").toString())
        .succeeds();
    CommandResult.run(
            "evaluate",
            "--model",
            folder.resolve("merged").toString(),
            "--clip",
            FewWords.pretrained().toString(),
            "--heads",
            golden("expected.safetensors") + "#alpha.",
            "--data",
            golden("expected.safetensors") + "#alpha.")
        .succeeds();
  }

  @Test
  void nothingGrows() throws IOException {
    for (int i = 0; i < WARM_UP; i++) {
      round();
    }
    Held before = Held.now();
    long end = System.nanoTime() + SECONDS * 1_000_000_000;
    int rounds = 0;
    while (System.nanoTime() < end) {
      round();
      rounds++;
    }
    Held after = Held.now();
    System.out.printf(Locale.ROOT, "soak: %d rounds; before %s, after %s%n", rounds, before, after);
    assertThat(rounds).isPositive();
    assertThat(after.files).isLessThanOrEqualTo(before.files + 2);
    assertThat(after.threads).isLessThanOrEqualTo(before.threads + 4);
    assertThat(after.mappings).isZero();
    assertThat(after.nativeBytes - before.nativeBytes)
        .isLessThan(SLACK_BYTES + rounds * BYTES_PER_ROUND);
  }

  /** Merges at once from several threads, over kernels of their own and over shared ones. */
  @Test
  void mergesAtOnceHaveTheBitsOfOne() throws Exception {
    round();
    Path expected = folder.resolve("merged/model.safetensors");
    try (Kernels shared = Kernels.open();
        ExecutorService threads = Executors.newFixedThreadPool(6)) {
      List<Callable<Path>> merges = new ArrayList<>();
      for (int i = 0; i < 24; i++) {
        Path output = folder.resolve("at-once-" + i);
        boolean own = i % 2 == 0;
        merges.add(() -> {
          MergeRequest request =
              MergeRequest.builder(FewWords.pretrained(), output, DiagonalFisher.DEFAULT)
                  .model(golden("alpha"), fisher("alpha"))
                  .model(golden("beta"), fisher("beta"))
                  .build();
          try (MergeSession session = MergeSession.open(request)) {
            if (own) {
              try (Kernels kernels = Kernels.open()) {
                session.run(kernels, ProgressListener.NONE);
              }
            } else {
              session.run(shared, ProgressListener.NONE);
            }
          }
          return output;
        });
      }
      for (Future<Path> merged : threads.invokeAll(merges)) {
        assertThat(Files.mismatch(merged.get().resolve("model.safetensors"), expected))
            .isEqualTo(-1);
      }
    }
  }
}
