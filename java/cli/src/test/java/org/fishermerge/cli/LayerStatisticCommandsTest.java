package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.testkit.Golden;
import org.fishermerge.testkit.SafetensorsBuilder;
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
    return (path.equals("clip-tiny/pretrained") ? FewWords.pretrained() : Golden.path(path))
        .toString();
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

  /** What an entry of a file's metadata says of a tensor or layer. */
  private static JsonNode stated(TestTensors file, String entry, String canonicalName) {
    try {
      return new JsonMapper()
          .readTree(file.metadata().get(entry)).properties().stream()
              .filter(named -> ParameterNames.canonical(named.getKey()).equals(canonicalName))
              .map(Map.Entry::getValue)
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
                ? stated(
                        written,
                        "fisher_layers",
                        ParameterNames.canonical(mean.getKey()) + ".weight")
                    .path("tokens")
                    .longValue()
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
        if (!kind.equals("gram")) {
          double trace = IntStream.range(0, ours.length).mapToDouble(i -> ours[i][i]).sum();
          assertThat(stated(written, "fisher_traces", name).doubleValue())
              .isCloseTo(trace, within(1e-12 * trace));
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

  private static List<String> tasks(String pool) {
    return pool.equals("clip-tiny") ? List.of("alpha", "beta", "gamma") : List.of("cola", "mnli");
  }

  /** Words of a merge of all models of a pool with the files that were estimated before. */
  private List<String> merge(String pool, Path output, String... options) {
    List<String> words =
        new ArrayList<>(
            List.of("merge", "--base", golden(pool + "/pretrained"), "--out", output.toString()));
    words.addAll(List.of(options));
    if (pool.equals("gpt2-tiny")) {
      words.addAll(List.of("--exclude", "score")); // a head of each task
    }
    for (String task : tasks(pool)) {
      words.addAll(List.of("--model", golden(pool + "/" + task), "--fisher", file(task)));
    }
    return words;
  }

  private static Map<String, Tensor> canonical(Path model) {
    return TestTensors.renamed(TestTensors.read(model).tensors(), ParameterNames::canonical);
  }

  private static Tensor get(Map<String, Tensor> tensors, String name) {
    assertThat(tensors).containsKey(name);
    return Objects.requireNonNull(tensors.get(name));
  }

  @ParameterizedTest
  @CsvSource({
    "clip-tiny, kronecker",
    "gpt2-tiny, kronecker",
    "clip-tiny, regmean_0.95",
    "gpt2-tiny, regmean_0.95",
    "clip-tiny, regmean_0.6",
    "gpt2-tiny, regmean_0.6",
    "clip-tiny, regmean_1",
    "gpt2-tiny, regmean_1",
  })
  void mergesAreTheReferences(String pool, String variant) {
    boolean kronecker = variant.equals("kronecker");
    for (String task : tasks(pool)) {
      run(estimate(pool, task, "--statistic", kronecker ? "kronecker" : "gram"));
    }
    Path output = folder.resolve("merged");
    run(
        kronecker
            ? merge(pool, output, "--rule", "kronecker")
            : merge(pool, output, "--rule", "regmean", "--off-diagonal", variant.substring(8)));
    Map<String, Tensor> merged = canonical(output);
    Map<String, Tensor> wanted =
        TestTensors.renamed(
            TestTensors.read(Golden.path("statistics/" + pool + ".merged.safetensors"))
                .under(variant + "."),
            ParameterNames::canonical);
    assertThat(wanted).hasSizeGreaterThan(20);
    int equations = 0;
    for (Map.Entry<String, Tensor> entry : wanted.entrySet()) {
      String name = entry.getKey();
      if (variant.equals("regmean_1") && requireEquation(pool, name, get(merged, name))) {
        equations++;
      } else {
        TestTensors.assertClose(
            name,
            get(merged, name),
            1,
            entry.getValue(),
            1e-4 * TestTensors.largest(entry.getValue().floats()));
      }
    }
    assertThat(equations)
        .isEqualTo(!variant.equals("regmean_1") ? 0 : pool.startsWith("g") ? 8 : 12);
  }

  /**
   * Whether a weight is that of a linear layer. If so, sum_i (W - W_i) A_i must be zero, with the
   * references' Gram matrices A_i: these sums have next to no inverse, and the reference's own
   * weights solve it to 1.5 % only.
   */
  private static boolean requireEquation(String pool, String weight, Tensor merged) {
    TestTensors statistics =
        TestTensors.read(Golden.path("statistics/" + pool + ".statistics.safetensors"));
    float[] w = merged.floats();
    double[] difference = new double[w.length];
    double largest = 0;
    for (String task : tasks(pool)) {
      Tensor gram =
          TestTensors.renamed(
                  statistics.under(task + ".gram."),
                  name -> ParameterNames.canonical(name) + ".weight")
              .get(weight);
      if (gram == null || merged.shape().size() != 2) {
        return false;
      }
      float[] own = get(canonical(Golden.path(pool + "/" + task)), weight).floats();
      float[] a = gram.floats();
      int inputs = Math.toIntExact(gram.shape().getFirst());
      int outputs = w.length / inputs;
      for (int o = 0; o < outputs; o++) {
        for (int j = 0; j < inputs; j++) {
          double ofOwn = 0;
          double ofMerged = 0;
          for (int i = 0; i < inputs; i++) {
            int at = pool.startsWith("gpt2") ? i * outputs + o : o * inputs + i;
            ofOwn += (double) own[at] * a[i * inputs + j];
            ofMerged += (double) w[at] * a[i * inputs + j];
          }
          difference[o * inputs + j] += ofMerged - ofOwn;
          largest = Math.max(largest, Math.abs(ofOwn));
        }
      }
    }
    for (double left : difference) {
      assertThat(Math.abs(left)).as(weight).isLessThanOrEqualTo(1e-5 * largest);
    }
    return true;
  }

  /** base + S (merged - base), of solved layers and of the rest. */
  @Test
  void scalesWhatItChanges() {
    for (String task : tasks("gpt2-tiny")) {
      run(estimate("gpt2-tiny", task, "--statistic", "gram"));
    }
    Path whole = folder.resolve("whole");
    Path scaled = folder.resolve("scaled");
    run(merge("gpt2-tiny", whole, "--rule", "regmean"));
    run(merge("gpt2-tiny", scaled, "--rule", "regmean", "--scaling-factor", "0.3"));
    Map<String, Tensor> base = canonical(Golden.path("gpt2-tiny/pretrained"));
    Map<String, Tensor> once = canonical(whole);
    canonical(scaled)
        .forEach((name, tensor) -> {
          float[] from = get(base, name).floats();
          float[] to = get(once, name).floats();
          float[] found = tensor.floats();
          double bound = 1e-6 * Math.max(TestTensors.largest(from), TestTensors.largest(to));
          for (int j = 0; j < from.length; j++) {
            double expected = from[j] + 0.3 * ((double) to[j] - from[j]);
            assertThat((double) found[j]).as(name).isCloseTo(expected, within(bound));
          }
        });
  }

  /** What is not solved is, bit by bit, what merging by the diagonal makes of it. */
  @Test
  void theRestMayBeMergedByFisher() {
    for (String task : tasks("clip-tiny")) {
      run(estimate("clip-tiny", task, "--statistic", "diagonal,gram"));
    }
    Path average = folder.resolve("average");
    Path fisher = folder.resolve("fisher");
    Path both = folder.resolve("both");
    run(merge("clip-tiny", average, "--rule", "regmean"));
    // A norm of the whole model is of what the rule merges, which is not the same.
    run(merge("clip-tiny", fisher, "--normalize", "tensor"));
    run(merge("clip-tiny", both, "--rule", "regmean", "--rest", "fisher", "--normalize", "tensor"));
    Map<String, Tensor> solved = canonical(average);
    Map<String, Tensor> weighted = canonical(fisher);
    String layers =
        Objects.requireNonNull(
            TestTensors.read(Path.of(file("alpha"))).metadata().get("fisher_layers"));
    Map<String, Tensor> found = canonical(both);
    for (Map.Entry<String, Tensor> tensor : found.entrySet()) {
      String name = tensor.getKey();
      boolean isSolved = tensor.getValue().shape().size() == 2 && layers.contains(name + "\"");
      assertThat(tensor.getValue().bytes())
          .as(name)
          .isEqualTo(get(isSolved ? solved : weighted, name).bytes());
    }
    assertThat(found.keySet()).isEqualTo(solved.keySet());
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
    for (List<String> odd :
        List.of(
            List.of("--damping", "1", "--damping goes with --rule kronecker"),
            List.of("--off-diagonal", "1", "--off-diagonal goes with --rule regmean"),
            List.of("--rest", "fisher", "--rest goes with --rule kronecker or regmean"))) {
      CommandResult.run(merge("gpt2-tiny", folder.resolve("out"), odd.get(0), odd.get(1)))
          .fails(2, odd.get(2));
    }
    CommandResult.run(
            merge("gpt2-tiny", folder.resolve("o"), "--rule", "regmean", "--damping", "1"))
        .fails(2, "--damping goes with --rule kronecker");
    CommandResult.run(
            merge("gpt2-tiny", folder.resolve("o"), "--rule", "kronecker", "--off-diagonal", "1"))
        .fails(2, "--off-diagonal goes with --rule regmean");
  }

  @Test
  void whatCannotBeIsSaid() {
    CommandResult.run(
            estimate("clip-tiny", "alpha", "--statistic", "kronecker", "--labels", "batch-square"))
        .fails(2, "labels");
    CommandResult.run(estimate("clip-tiny", "alpha", "--statistic", "all"))
        .fails(2, "--statistic all: expected one or several of diagonal, gram, kronecker");
    CommandResult.run(estimate("clip-tiny", "alpha", "--statistic", "gram", "--labels", "exact"))
        .fails(2, "--labels exact: --statistic gram does not depend on labels");
    assertThat(Path.of(file("alpha"))).doesNotExist();
  }

  /** A copy of a statistic file with something changed. */
  private void change(
      String task, Consumer<Map<String, Tensor>> tensors, UnaryOperator<String> layers) {
    Path file = Path.of(file(task));
    TestTensors old = TestTensors.read(file);
    Map<String, Tensor> changed = new TreeMap<>(old.tensors());
    tensors.accept(changed);
    Map<String, String> metadata = new TreeMap<>(old.metadata());
    metadata.computeIfPresent("fisher_layers", (key, text) -> layers.apply(text));
    SafetensorsBuilder builder = new SafetensorsBuilder().metadata(metadata);
    changed.forEach((name, t) ->
        builder.put(
            name, t.dtype(), t.shape().stream().mapToLong(Long::longValue).toArray(), t.bytes()));
    builder.write(file);
  }

  private static Consumer<Map<String, Tensor>> firstValue(String name, float value) {
    return tensors -> {
      float[] values = Objects.requireNonNull(tensors.get(name)).floats();
      values[0] = value;
      tensors.put(name, Tensor.of(List.of((long) values.length), values));
    };
  }

  /** One message that names the file, and nothing under the output's name. */
  @ParameterizedTest
  @ValueSource(strings = {"regmean", "kronecker"})
  void filesThatDoNotFitAreRefused(String rule) {
    String kind = rule.equals("regmean") ? "gram" : "kronecker";
    String other = rule.equals("regmean") ? "kronecker" : "gram";
    String factor = rule.equals("regmean") ? "gram" : "kron_g";
    String layer = "transformer.h.1.mlp.c_fc";
    Path output = folder.resolve("merged");
    String[] options = {"--rule", rule};
    run(estimate("gpt2-tiny", "cola", "--statistic", kind));

    // Of another kind, of a diagonal, or of another model.
    for (String wrong : List.of(other, "diagonal")) {
      run(estimate("gpt2-tiny", "mnli", "--statistic", wrong, "--overwrite"));
      CommandResult.run(merge("gpt2-tiny", output, options))
          .fails(
              1,
              "mnli.safetensors: holds " + wrong + ", but a ",
              "needs " + kind + "; estimate it with fisher --statistic " + kind);
    }
    run(estimate("gpt2-tiny", "mnli", "--statistic", kind, "--overwrite"));
    List<String> swapped = merge("gpt2-tiny", output, options);
    int first = swapped.indexOf("--fisher") + 1;
    int second = swapped.lastIndexOf("--fisher") + 1;
    swapped.set(first, file("mnli"));
    swapped.set(second, file("cola"));
    CommandResult.run(swapped)
        .fails(1, "mnli.safetensors was not computed from", "cola", "swapped");

    // Values that no sum of products has.
    change("mnli", firstValue(layer + "." + factor, Float.NaN), text -> text);
    CommandResult.run(merge("gpt2-tiny", output, options))
        .fails(1, "mnli.safetensors: 'h.1.mlp.c_fc." + factor + "'", "not finite");
    change("mnli", firstValue(layer + "." + factor, -1e30f), text -> text);
    CommandResult.run(merge("gpt2-tiny", output, options))
        .fails(1, "mnli.safetensors: 'h.1.mlp.c_fc." + factor + "'", "a negative diagonal");

    // A layer that is not there, or whose factor is not.
    String factors = "\\." + (rule.equals("regmean") ? "gram" : "kron_[ag]");
    change("mnli", tensors -> tensors.remove(layer + "." + factor), text -> text);
    CommandResult.run(merge("gpt2-tiny", output, options))
        .fails(1, "mnli.safetensors: of the layer", layer + "." + factor, "but it has none");
    change(
        "mnli",
        tensors -> tensors.keySet().removeIf(name -> name.matches(layer + factors)),
        text -> text.replaceFirst("\"" + layer + "\\.weight\":\\{[^}]*},?", ""));
    CommandResult.run(merge("gpt2-tiny", output, options))
        .fails(
            1, "mnli.safetensors has no factors", "h.1.mlp.c_fc", "from all models or from none");
    assertThat(output).doesNotExist();
  }

  @ParameterizedTest
  @ValueSource(strings = {"-0.1", "1.01", "NaN"})
  void theRatioIsFrom0To1(String ratio) {
    for (String task : tasks("gpt2-tiny")) {
      run(estimate("gpt2-tiny", task, "--statistic", "gram"));
    }
    Path output = folder.resolve("merged");
    CommandResult.run(merge("gpt2-tiny", output, "--rule", "regmean", "--off-diagonal=" + ratio))
        .fails(1, "--off-diagonal is " + ratio, "from 0 to 1");
    assertThat(output).doesNotExist();
  }
}
