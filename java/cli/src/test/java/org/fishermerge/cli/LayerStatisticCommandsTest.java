package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Kronecker factors and Gram matrices, and merges by them, against hooks and dense solves of
 * PyTorch in float64.
 */
final class LayerStatisticCommandsTest {
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
                "--out",
                file(task)));
    if (!List.of(more).contains("gram")) {
      words.addAll(List.of("--labels", "exact"));
    }
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

  /** Over how many tokens the file says that a layer's Gram matrix was summed. */
  private static long tokens(TestTensors file, String weight) {
    try {
      return new JsonMapper()
          .readTree(file.metadata().get("fisher_layers"))
          .properties()
          .stream()
          .filter(layer -> ParameterNames.canonical(layer.getKey()).equals(weight))
          .map(layer -> layer.getValue().path("tokens").longValue())
          .findFirst()
          .orElseThrow();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Padded texts and uneven batches too: neither may change a factor. */
  @ParameterizedTest
  @CsvSource({
    "clip-tiny, alpha, 6, kronecker",
    "clip-tiny, beta, 4, kronecker",
    "clip-tiny, gamma, 1, kronecker",
    "gpt2-tiny, cola, 6, kronecker",
    "gpt2-tiny, mnli, 4, kronecker",
    "gpt2-tiny, mnli, 1, kronecker",
    "clip-tiny, alpha, 6, gram",
    "clip-tiny, beta, 4, gram",
    "clip-tiny, gamma, 1, gram",
    "gpt2-tiny, cola, 6, gram",
    "gpt2-tiny, mnli, 4, gram",
    "gpt2-tiny, mnli, 1, gram",
    "clip-tiny, alpha, 4, 'gram,kronecker'",
    "gpt2-tiny, mnli, 6, 'gram,kronecker'",
  })
  void factorsAreTheReferences(String pool, String task, int batch, String statistic) {
    run(estimate(pool, task, "--statistic", statistic, "--batch-size", Integer.toString(batch)));
    TestTensors written = TestTensors.read(Path.of(file(task)));
    TestTensors means =
        TestTensors.read(Golden.path("statistics/" + pool + ".statistics.safetensors"));
    Map<String, Tensor> byName = new TreeMap<>();
    written.tensors().forEach((name, t) -> byName.put(ParameterNames.canonical(name), t));
    int compared = 0;
    List<String> kinds =
        Stream.of("gram", "kron_a", "kron_g")
            .filter(kind -> statistic.contains(kind.substring(0, 4)))
            .toList();
    for (String kind : kinds) {
      for (Map.Entry<String, Tensor> mean : means.under(task + "." + kind + ".").entrySet()) {
        String name = ParameterNames.canonical(mean.getKey()) + "." + kind;
        assertThat(byName).containsKey(name);
        double count =
            kind.equals("gram")
                ? tokens(written, ParameterNames.canonical(mean.getKey()) + ".weight")
                : EXAMPLES;
        double[][] ours = square(Objects.requireNonNull(byName.get(name)).floats());
        float[] theirs = mean.getValue().floats();
        double largest = TestTensors.largest(theirs);
        for (int i = 0; i < theirs.length; i++) {
          double value = ours[i / ours.length][i % ours.length] / count;
          assertThat(Math.abs(value - theirs[i]))
              .as("%s[%d]: %s, expected %s", name, i, value, theirs[i])
              .isLessThanOrEqualTo(2e-5 * largest);
        }
        compared++;
      }
    }
    assertThat(compared).isEqualTo(written.tensors().size()).isGreaterThanOrEqualTo(8);
    assertThat(written.metadata())
        .containsEntry("fisher_format", "2")
        .containsEntry("fisher_statistics", statistic)
        .containsEntry("fisher_labels", statistic.equals("gram") ? "none" : "exact")
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

  /** Each statistic beside others is what it is alone, bit by bit, also of padded texts. */
  @ParameterizedTest
  @CsvSource({
    "clip-tiny, alpha, 'diagonal,kronecker'",
    "clip-tiny, alpha, 'kronecker,gram,diagonal'",
    "gpt2-tiny, mnli, 'gram,diagonal'",
    "gpt2-tiny, mnli, 'diagonal,gram,kronecker'",
  })
  void severalStatisticsInOnePass(String pool, String task, String statistics) {
    run(estimate(pool, task, "--statistic", statistics));
    TestTensors all = TestTensors.read(Path.of(file(task)));
    int compared = 0;
    for (String one : statistics.split(",", -1)) {
      run(estimate(pool, task, "--statistic", one, "--overwrite"));
      TestTensors alone = TestTensors.read(Path.of(file(task)));
      for (Map.Entry<String, Tensor> tensor : alone.tensors().entrySet()) {
        assertThat(all.get(tensor.getKey()).bytes())
            .as(tensor.getKey())
            .isEqualTo(tensor.getValue().bytes());
        compared++;
      }
    }
    assertThat(compared).isEqualTo(all.tensors().size());
  }

  @Test
  void oneFileServesSeveralRules() {
    run(estimate("clip-tiny", "alpha", "--statistic", "diagonal,kronecker"));
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

  /** Halves of the examples, added, are the whole, in sums and in tokens. */
  @ParameterizedTest
  @ValueSource(strings = {"kronecker", "gram", "diagonal,gram,kronecker"})
  void filesAddUp(String statistics) {
    Path rows = folder.resolve("rows.safetensors");
    Path sum = folder.resolve("sum.safetensors");
    List<String> add = new ArrayList<>(List.of("add", "--out", sum.toString()));
    TestTensors data = TestTensors.read(Golden.path("gpt2-tiny/expected.safetensors"));
    for (int half = 0; half < 2; half++) {
      Map<String, Tensor> some = new TreeMap<>();
      for (String name : List.of("input_ids", "attention_mask")) {
        some.put(name, data.get("mnli." + name).rows(3 * half, 3 * half + 3));
      }
      TestTensors.write(rows, some);
      Path out = folder.resolve("half" + half + ".safetensors");
      List<String> words = estimate("gpt2-tiny", "mnli", "--statistic", statistics);
      words.set(words.indexOf("--data") + 1, rows.toString());
      words.set(words.indexOf("--out") + 1, out.toString());
      run(words);
      add.add(out.toString());
    }
    run(add);
    TestTensors added = TestTensors.read(sum);
    run(estimate("gpt2-tiny", "mnli", "--statistic", statistics));
    TestTensors whole = TestTensors.read(Path.of(file("mnli")));
    assertThat(added.metadata()).containsEntry("fisher_examples", "6");
    for (String key : List.of("fisher_statistics", "fisher_layers")) {
      assertThat(added.metadata().get(key)).isEqualTo(whole.metadata().get(key));
    }
    assertThat(added.tensors().keySet()).isEqualTo(whole.tensors().keySet());
    whole
        .tensors()
        .forEach((name, tensor) ->
            TestTensors.assertClose(
                name, added.get(name), 1, tensor, 1e-5 * TestTensors.largest(tensor.floats())));
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
    CommandResult.run(estimate("clip-tiny", "alpha", "--statistic", "all"))
        .fails(2, "--statistic all: expected one or several of diagonal, gram, kronecker");
    CommandResult.run(
            estimate("clip-tiny", "alpha", "--statistic", "gram", "--labels", "exact"))
        .fails(2, "--labels exact: --statistic gram does not depend on labels");
    assertThat(Path.of(file("alpha"))).doesNotExist();
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
