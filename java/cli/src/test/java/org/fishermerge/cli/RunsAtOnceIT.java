package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Processes that write to one target at the same time. */
final class RunsAtOnceIT {
  private static final int RUNS = 2;

  @TempDir Path folder;

  private record Run(Process process, Path err) {
    CommandResult result() throws IOException, InterruptedException {
      int code = process.waitFor();
      return new CommandResult(code, "", Files.readString(err));
    }
  }

  private List<CommandResult> atOnce(List<String> arguments) throws Exception {
    List<String> line = CommandProcess.java("-Dfishermerge.save-seconds=0");
    line.addAll(arguments);
    List<Run> runs = new ArrayList<>();
    for (int i = 0; i < RUNS; i++) {
      Path err = folder.resolve("err" + i + ".txt");
      runs.add(
          new Run(
              new ProcessBuilder(line)
                  .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                  .redirectError(err.toFile())
                  .start(),
              err));
    }
    List<CommandResult> results = new ArrayList<>();
    for (Run run : runs) {
      results.add(run.result());
    }
    return results;
  }

  private static List<String> average(Path out) {
    return GoldenCommands.average(out, "alpha", "gamma");
  }

  private static List<String> fisher(Path out) {
    return GoldenCommands.fisher("alpha", out, "--overwrite", "--batch-size", "1");
  }

  private List<String> left(Path target) throws IOException {
    try (Stream<Path> files = Files.list(target)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  /** One is first; the others are refused, and neither disturbs what it wrote. */
  @Test
  void oneMergeWinsAndTheOthersAreRefused() throws Exception {
    Path place = Files.createDirectory(folder.resolve("place"));
    Path alone = folder.resolve("alone");
    CommandResult.run(average(alone)).succeeds();
    List<CommandResult> results = atOnce(average(place.resolve("merged")));
    assertThat(results.stream().filter(result -> result.code() == 0)).hasSize(1);
    assertThat(results.stream().filter(result -> result.code() != 0))
        .allSatisfy(result -> {
          assertThat(result.code()).isEqualTo(1);
          assertThat(result.err()).contains(place.resolve("merged").toString(), "exists already");
        });
    assertThat(place.resolve("merged/model.safetensors"))
        .hasSameBinaryContentAs(alone.resolve("model.safetensors"));
    assertThat(left(place)).containsExactly("merged");
  }

  /** They share one file of progress, and each either uses or ignores what it finds there. */
  @Test
  void estimatesThatReplaceEachOtherHaveTheBitsOfOne() throws Exception {
    Path place = Files.createDirectory(folder.resolve("place"));
    Path alone = folder.resolve("alone.safetensors");
    CommandResult.run(fisher(alone));
    Path out = place.resolve("f.safetensors");
    for (CommandResult result : atOnce(fisher(out))) {
      assertThat(result.code()).as(result.err()).isZero();
    }
    assertThat(out).hasSameBinaryContentAs(alone);
    assertThat(left(place)).containsExactly("f.safetensors");
  }
}
