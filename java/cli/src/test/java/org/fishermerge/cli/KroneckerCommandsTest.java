package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Kronecker factors, and merges by them, against hooks and dense solves of PyTorch in float64. */
final class KroneckerCommandsTest {
  private static final int EXAMPLES = 6;

  @TempDir Path folder;

  private static String golden(String path) {
    return Golden.path(path).toString();
  }

  private List<String> estimate(String pool, String task, String... more) {
    List<String> words =
        new ArrayList<>(
            List.of(
                "fisher",
                "--model",
                golden(pool + "/" + task),
                "--data",
                golden(pool + "/expected.safetensors") + "#" + task + ".",
                "--labels",
                "exact",
                "--out",
                file(task)));
    if (pool.equals("clip-tiny")) {
      words.addAll(
          List.of(
              "--clip",
              golden("clip-tiny/pretrained"),
              "--heads",
              golden("clip-tiny/expected.safetensors") + "#" + task + "."));
    }
    words.addAll(List.of(more));
    return words;
  }

  private String file(String task) {
    return folder.resolve(task + ".safetensors").toString();
  }

  private static void run(List<String> words) {
    CommandResult.run(words).succeeds();
  }

  private static double[][] square(float[] triangle) {
    int n = (int) ((Math.sqrt(8.0 * triangle.length + 1) - 1) / 2);
    assertThat(triangle).hasSize(n * (n + 1) / 2);
    double[][] full = new double[n][n];
    int at = 0;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        full[i][j] = triangle[at];
        full[j][i] = triangle[at++];
      }
    }
    return full;
  }

  /** Padded texts and uneven batches too: neither may change a factor. */
  @ParameterizedTest
  @CsvSource({
    "clip-tiny, alpha, 6",
    "clip-tiny, beta, 4",
    "clip-tiny, gamma, 1",
    "gpt2-tiny, cola, 6",
    "gpt2-tiny, mnli, 4",
    "gpt2-tiny, mnli, 1",
  })
  void factorsAreTheReferences(String pool, String task, int batch) {
    run(estimate(pool, task, "--statistic", "kronecker", "--batch-size", Integer.toString(batch)));
    TestTensors written = TestTensors.read(Path.of(file(task)));
    TestTensors means =
        TestTensors.read(Golden.path("statistics/" + pool + ".statistics.safetensors"));
    Map<String, Tensor> byName = new TreeMap<>();
    written.tensors().forEach((name, t) -> byName.put(ParameterNames.canonical(name), t));
    int compared = 0;
    for (String kind : List.of("kron_a", "kron_g")) {
      for (Map.Entry<String, Tensor> mean : means.under(task + "." + kind + ".").entrySet()) {
        String name = ParameterNames.canonical(mean.getKey()) + "." + kind;
        assertThat(byName).containsKey(name);
        double[][] ours = square(Objects.requireNonNull(byName.get(name)).floats());
        float[] theirs = mean.getValue().floats();
        double largest = TestTensors.largest(theirs);
        for (int i = 0; i < theirs.length; i++) {
          double value = ours[i / ours.length][i % ours.length] / EXAMPLES;
          assertThat(Math.abs(value - theirs[i]))
              .as("%s[%d]: %s, expected %s", name, i, value, theirs[i])
              .isLessThanOrEqualTo(2e-5 * largest);
        }
        compared++;
      }
    }
    assertThat(compared).isEqualTo(written.tensors().size()).isGreaterThan(8);
    assertThat(written.metadata())
        .containsEntry("fisher_format", "2")
        .containsEntry("fisher_statistics", "kronecker")
        .containsEntry("fisher_examples", "6")
        .containsKey("fisher_layers");
  }

  @ParameterizedTest
  @CsvSource({"clip-tiny, alpha beta gamma", "gpt2-tiny, cola mnli"})
  void mergesAreTheReferences(String pool, String tasks) {
    Path output = folder.resolve("merged");
    List<String> words =
        new ArrayList<>(
            List.of(
                "merge",
                "--rule",
                "kronecker",
                "--base",
                golden(pool + "/pretrained"),
                "--out",
                output.toString()));
    if (pool.equals("gpt2-tiny")) {
      words.addAll(List.of("--exclude", "score")); // a head of each task
    }
    for (String task : tasks.split(" ", -1)) {
      run(estimate(pool, task, "--statistic", "kronecker"));
      words.addAll(List.of("--model", golden(pool + "/" + task), "--fisher", file(task)));
    }
    run(words);
    TestTensors expected =
        TestTensors.read(Golden.path("statistics/" + pool + ".merged.safetensors"));
    Map<String, Tensor> merged = new TreeMap<>();
    TestTensors.read(output)
        .tensors()
        .forEach((name, t) -> merged.put(ParameterNames.canonical(name), t));
    Map<String, Tensor> wanted = expected.under("kronecker.");
    assertThat(wanted).hasSizeGreaterThan(20);
    wanted.forEach((name, tensor) -> {
      String canonical = ParameterNames.canonical(name);
      assertThat(merged).containsKey(canonical);
      TestTensors.assertClose(
          canonical,
          Objects.requireNonNull(merged.get(canonical)),
          1,
          tensor,
          1e-4 * TestTensors.largest(tensor.floats()));
    });
  }

  /** The diagonal beside the factors is the diagonal alone, bit by bit. */
  @Test
  void severalStatisticsInOnePass() {
    run(estimate("clip-tiny", "alpha"));
    TestTensors alone = TestTensors.read(Path.of(file("alpha")));
    run(estimate("clip-tiny", "alpha", "--statistic", "diagonal,kronecker", "--overwrite"));
    TestTensors both = TestTensors.read(Path.of(file("alpha")));
    assertThat(both.tensors()).hasSizeGreaterThan(alone.tensors().size());
    alone
        .tensors()
        .forEach((name, tensor) ->
            assertThat(both.get(name).bytes()).as(name).isEqualTo(tensor.bytes()));
    run(estimate("clip-tiny", "beta", "--statistic", "diagonal,kronecker"));
    for (String rule : List.of("fisher", "kronecker")) {
      run(
          List.of(
              "merge",
              "--rule",
              rule,
              "--base",
              golden("clip-tiny/pretrained"),
              "--model",
              golden("clip-tiny/alpha"),
              "--fisher",
              file("alpha"),
              "--model",
              golden("clip-tiny/beta"),
              "--fisher",
              file("beta"),
              "--out",
              folder.resolve(rule).toString()));
    }
  }

  /** Every rule writes base + S (merged - base), and says so before. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "average",
        "merge --rule fisher",
        "merge --rule kronecker",
        "merge --rule kronecker --rest fisher"
      })
  void scalingFactorsGoAlongTheLineFromTheBase(String command) {
    List<String> words = new ArrayList<>(List.of(command.split(" ", -1)));
    words.addAll(List.of("--base", golden("clip-tiny/pretrained")));
    for (String task : List.of("alpha", "beta")) {
      words.addAll(List.of("--model", golden("clip-tiny/" + task)));
      if (command.startsWith("merge")) {
        run(estimate("clip-tiny", task, "--statistic", "diagonal,kronecker"));
        words.addAll(List.of("--fisher", file(task)));
      }
    }
    Map<String, TestTensors> merged = new TreeMap<>();
    for (String s : List.of("1", "1.5", "-0.25")) {
      List<String> line = new ArrayList<>(words);
      line.addAll(List.of("--scaling-factor", s, "--out", folder.resolve(s).toString()));
      run(line);
      merged.put(s, TestTensors.read(folder.resolve(s)));
    }
    TestTensors base = TestTensors.read(Golden.path("clip-tiny/pretrained"));
    int moved = 0;
    for (String s : List.of("1.5", "-0.25")) {
      for (String name : base.tensors().keySet()) {
        if (!base.get(name).dtype().equals("F32")) {
          continue;
        }
        float[] from = base.get(name).floats();
        float[] whole = Objects.requireNonNull(merged.get("1")).get(name).floats();
        float[] found = Objects.requireNonNull(merged.get(s)).get(name).floats();
        for (int j = 0; j < from.length; j++) {
          double wanted = from[j] + Double.parseDouble(s) * ((double) whole[j] - from[j]);
          assertThat(Math.abs(found[j] - wanted))
              .as("%s %s[%d]", s, name, j)
              .isLessThanOrEqualTo(1e-6 * (1 + Math.abs(from[j]) + Math.abs(whole[j])));
          moved += whole[j] != from[j] ? 1 : 0;
        }
      }
    }
    assertThat(moved).isGreaterThan(1000);
    words.addAll(List.of("--out", folder.resolve("x").toString(), "--scaling-factor"));
    List<String> dry = new ArrayList<>(words);
    dry.addAll(List.of("0.5", "--dry-run"));
    assertThat(CommandResult.run(dry).succeeds().out()).contains("scaling factor 0.5");
    words.add("NaN");
    CommandResult.run(words).fails(1, "--scaling-factor NaN");
  }

  /** Halves of the examples, added, are the whole. */
  @Test
  void filesAddUp() {
    run(estimate("gpt2-tiny", "cola", "--statistic", "kronecker", "--selection", "first"));
    TestTensors whole = TestTensors.read(Path.of(file("cola")));
    String data = golden("gpt2-tiny/expected.safetensors") + "#cola.";
    Path sum = folder.resolve("sum.safetensors");
    List<String> add = new ArrayList<>(List.of("add", "--out", sum.toString()));
    for (int half = 0; half < 2; half++) {
      Path out = folder.resolve("half" + half + ".safetensors");
      run(
          List.of(
              "fisher",
              "--model",
              golden("gpt2-tiny/cola"),
              "--data",
              data,
              "--labels",
              "exact",
              "--statistic",
              "kronecker",
              "--selection",
              "shuffled",
              "--seed",
              Integer.toString(half),
              "--examples",
              "6",
              "--out",
              out.toString()));
      add.add(out.toString());
    }
    run(add);
    TestTensors added = TestTensors.read(sum);
    assertThat(added.metadata())
        .containsEntry("fisher_examples", "12")
        .containsEntry("fisher_statistics", "kronecker");
    whole
        .tensors()
        .forEach((name, tensor) ->
            TestTensors.assertClose(
                name, added.get(name), 0.5, tensor, 1e-5 * TestTensors.largest(tensor.floats())));
  }

  @Test
  void otherCommandsKnowSuchFiles() {
    run(estimate("clip-tiny", "alpha", "--statistic", "kronecker"));
    run(estimate("clip-tiny", "beta", "--statistic", "kronecker"));
    assertThat(CommandResult.run("inspect", file("alpha")).succeeds().out())
        .contains("file of Kronecker factors", "exact");
    CommandResult.run("similarity", file("alpha"), file("beta"))
        .fails(1, "alpha.safetensors: holds kronecker, but similarity needs diagonal");
    CommandResult.run(
            List.of(
                "merge",
                "--base",
                golden("clip-tiny/pretrained"),
                "--model",
                golden("clip-tiny/alpha"),
                "--fisher",
                file("alpha"),
                "--damping",
                "1",
                "--out",
                folder.resolve("out").toString()))
        .fails(2, "--damping", "--rule kronecker");
  }

  @Test
  void whatCannotBeIsSaid() {
    CommandResult.run(
            estimate("clip-tiny", "alpha", "--statistic", "kronecker", "--labels", "batch-square"))
        .fails(2, "labels");
    CommandResult.run(estimate("clip-tiny", "alpha", "--statistic", "all")).fails(2, "--statistic");
    run(estimate("clip-tiny", "alpha"));
    CommandResult.run(
            List.of(
                "merge",
                "--rule",
                "kronecker",
                "--base",
                golden("clip-tiny/pretrained"),
                "--model",
                golden("clip-tiny/alpha"),
                "--fisher",
                file("alpha"),
                "--out",
                folder.resolve("out").toString()))
        .fails(1, "holds diagonal", "needs kronecker", "--statistic kronecker");
    assertThat(folder.resolve("out")).doesNotExist();
  }
}
