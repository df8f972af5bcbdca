package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.ShortBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * {@code search --by kl} and {@code --by blend}: divergences against those of logits that {@code
 * evaluate} writes, what is written against the formula in double.
 */
final class DivergenceCommandsTest {
  private static final int EXAMPLES = 6;

  @TempDir Path folder;

  private String path(String name) {
    return folder.resolve(name).toString();
  }

  private static Path model(String name) {
    return name.equals("clip-tiny/pretrained") ? FewWords.pretrained() : Golden.path(name);
  }

  private static String golden(String name) {
    return model(name).toString();
  }

  private static List<String> tasks(String pool) {
    return pool.equals("clip-tiny") ? List.of("alpha", "beta", "gamma") : List.of("cola", "mnli");
  }

  private static List<String> data(String pool, String task) {
    String vectors = golden(pool + "/expected.safetensors") + "#" + task + ".";
    return pool.equals("clip-tiny")
        ? List.of("--data", vectors, "--heads", vectors)
        : List.of("--data", vectors);
  }

  private static List<String> clip(String pool) {
    return pool.equals("clip-tiny") ? List.of("--clip", golden("clip-tiny/pretrained")) : List.of();
  }

  private void estimate(String pool, String statistic) {
    for (String task : tasks(pool)) {
      List<String> line = new ArrayList<>(List.of("fisher", "--statistic", statistic));
      line.addAll(List.of("--model", golden(pool + "/" + task), "--labels", "exact"));
      line.addAll(List.of("--out", path(task + ".fisher.safetensors")));
      line.addAll(clip(pool));
      line.addAll(data(pool, task));
      CommandResult.run(line).succeeds();
    }
  }

  private List<String> search(String pool, String by, boolean fishers, String... more) {
    List<String> line = new ArrayList<>(List.of("search", "--by", by));
    line.addAll(List.of("--base", golden(pool + "/pretrained"), "--out", path("found")));
    line.addAll(List.of("--report", path("search.json")));
    line.addAll(clip(pool));
    if (pool.equals("gpt2-tiny")) {
      line.addAll(List.of("--exclude", "score")); // of two classes here and three there
    }
    for (String task : tasks(pool)) {
      line.addAll(List.of("--model", golden(pool + "/" + task)));
      if (fishers) {
        line.addAll(List.of("--fisher", path(task + ".fisher.safetensors")));
      }
      line.addAll(data(pool, task));
    }
    line.addAll(List.of(more));
    return line;
  }

  /** It may warn that the half of so few examples that confirms is of another opinion. */
  private static CommandResult run(List<String> line) {
    CommandResult result = CommandResult.run(line);
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(result.err().lines()).allMatch(each -> each.startsWith("warning: "));
    return result;
  }

  private JsonNode report() throws IOException {
    return new JsonMapper().readTree(folder.resolve("search.json").toFile());
  }

  /** What the search found; when it ran is in another part of the report. */
  private static JsonNode withoutTimes(JsonNode report) {
    ObjectNode found = report.deepCopy();
    assertThat(found.remove("fisher_merge").at("/report/origin/seconds").isNumber()).isTrue();
    return found;
  }

  private float[] logits(String pool, String task, String model) {
    Path file = folder.resolve("logits.safetensors");
    List<String> line = new ArrayList<>(List.of("evaluate", "--model", model, "--overwrite"));
    line.addAll(List.of("--outputs", file.toString()));
    line.addAll(clip(pool));
    line.addAll(data(pool, task));
    if (!pool.equals("clip-tiny")) {
      line.addAll(List.of("--classifier", golden(pool + "/" + task)));
    }
    CommandResult.run(line).succeeds();
    return Objects.requireNonNull(TestTensors.read(file).tensors().get("logits")).floats();
  }

  private static double[] softmax(float[] logits, int from, int classes) {
    double[] p = new double[classes];
    double sum = 0;
    for (int k = 0; k < classes; k++) {
      p[k] = Math.exp(logits[from + k]);
      sum += p[k];
    }
    for (int k = 0; k < classes; k++) {
      p[k] /= sum;
    }
    return p;
  }

  /** The mean over tasks of the mean over examples of KL(own || model), from written logits. */
  private double divergence(String pool, String model) {
    double total = 0;
    for (String task : tasks(pool)) {
      float[] own = logits(pool, task, golden(pool + "/" + task));
      float[] merged = logits(pool, task, model);
      int classes = own.length / EXAMPLES;
      for (int b = 0; b < EXAMPLES; b++) {
        double[] p = softmax(own, b * classes, classes);
        double[] q = softmax(merged, b * classes, classes);
        for (int k = 0; k < classes; k++) {
          total += p[k] * Math.log(p[k] / q[k]);
        }
      }
    }
    return total / EXAMPLES / tasks(pool).size();
  }

  private static double mean(JsonNode values) {
    double sum = 0;
    for (JsonNode value : values) {
      sum += value.doubleValue();
    }
    return sum / values.size();
  }

  private static void sameValues(Path actual, Path expected, double tolerance) {
    Map<String, Tensor> theirs = TestTensors.read(expected).tensors();
    Map<String, Tensor> ours = TestTensors.read(actual).tensors();
    assertThat(ours.keySet()).isEqualTo(theirs.keySet());
    theirs.forEach((name, tensor) -> {
      if (tensor.dtype().equals("F32")) {
        float[] values = tensor.floats();
        float[] found = Objects.requireNonNull(ours.get(name)).floats();
        double bound = tolerance * TestTensors.largest(values) + 1e-9;
        double worst = 0;
        for (int j = 0; j < values.length; j++) {
          worst = Math.max(worst, Math.abs(found[j] - values[j]));
        }
        assertThat(worst).as(name).isLessThanOrEqualTo(bound);
      }
    });
  }

  @ParameterizedTest
  @ValueSource(strings = {"clip-tiny", "gpt2-tiny"})
  void divergencesAreThoseOfWrittenLogits(String pool) throws IOException {
    estimate(pool, "diagonal,kronecker");
    run(search(pool, "kl", true, "--tries", "12"));
    JsonNode report = report();
    JsonNode tries = report.path("tries");
    assertThat(tries.size()).isBetween(5, 12);
    // Both halves have three examples of each task.
    assertThat((tries.get(0).path("kl").doubleValue() + mean(report.at("/confirming_kl/base"))) / 2)
        .isCloseTo(divergence(pool, golden(pool + "/pretrained")), within(2e-5));
    List<String> average =
        new ArrayList<>(
            List.of("average", "--base", golden(pool + "/pretrained"), "--out", path("average")));
    tasks(pool).forEach(task -> average.addAll(List.of("--model", golden(pool + "/" + task))));
    average.addAll(List.of("--exclude", "score"));
    run(average);
    assertThat(
            (tries.get(1).path("kl").doubleValue() + mean(report.at("/confirming_kl/average"))) / 2)
        .isCloseTo(divergence(pool, path("average")), within(2e-5));
    double least = Double.POSITIVE_INFINITY;
    for (JsonNode each : tries) {
      least = Math.min(least, each.path("kl").doubleValue());
    }
    JsonNode found = report.path("found");
    assertThat(found.path("kl").doubleValue()).isEqualTo(least);

    // What was written is what the half that confirms says of it.
    String written = report.path("written").textValue();
    double chosen =
        switch (written) {
          case "found" -> least;
          case "average" -> tries.get(1).path("kl").doubleValue();
          default -> tries.get(0).path("kl").doubleValue();
        };
    assertThat((chosen + mean(report.at("/confirming_kl/" + written))) / 2)
        .isCloseTo(divergence(pool, path("found")), within(2e-5));
    JsonNode kronecker = tries.get(3);
    assertThat(kronecker.path("merge").textValue()).isEqualTo("Kronecker, damping 0.01");
    assertThat(kronecker.path("command"))
        .extracting(JsonNode::textValue)
        .containsExactly("merge", "--rule", "kronecker", "--damping", "0.01");
  }

  /** Of files with several statistics, too. */
  @Test
  void triesOneRuleAlone() throws IOException {
    estimate("clip-tiny", "diagonal,gram");
    run(search("clip-tiny", "kl", true, "--rule", "regmean", "--tries", "6"));
    List<String> tried = new ArrayList<>();
    report().path("tries").forEach(each -> tried.add(each.path("merge").textValue()));
    assertThat(tried).contains("base", "average", "RegMean").doesNotContain("diagonal Fisher");
    CommandResult lacking =
        CommandResult.run(search("clip-tiny", "kl", true, "--rule", "kronecker", "--overwrite"));
    lacking.fails(1, "alpha.fisher.safetensors", "search --rule needs kronecker");
  }

  /** Without Fisher files there is the average alone, at any scale. */
  @Test
  void writesTheMergeItFound() throws IOException {
    String out = run(search("clip-tiny", "kl", false)).out();
    JsonNode report = report();
    String written = report.path("written").textValue();
    double found = report.path("found").path("scale").doubleValue();
    assertThat(found).isNotIn(0.0, 1.0);
    assertThat(out)
        .contains("found: average", "written: " + written)
        // of the models, not of the merges of them that were tried
        .contains("tensors merged from 3 models,");
    double scale = written.equals("found") ? found : written.equals("average") ? 1 : 0;
    List<String> average =
        new ArrayList<>(List.of("task-arithmetic", "--base", golden("clip-tiny/pretrained")));
    average.addAll(List.of("--scaling-factor", String.valueOf(scale / 3)));
    average.addAll(List.of("--out", path("again")));
    tasks("clip-tiny")
        .forEach(task -> average.addAll(List.of("--model", golden("clip-tiny/" + task))));
    run(average);
    sameValues(folder.resolve("found"), folder.resolve("again"), 1e-6);
  }

  /**
   * A copy of a model with another bias of keys, which adds the same to all scores that a softmax
   * sees, and so changes no prediction.
   */
  private Path withBiasOfKeys(String model, float value) throws IOException {
    Path copy = Files.createDirectories(folder.resolve("models").resolve(model));
    Path from = model("clip-tiny/" + model);
    try (Stream<Path> files = Files.list(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    Map<String, Tensor> tensors = new TreeMap<>(TestTensors.read(from).tensors());
    tensors.replaceAll((name, tensor) -> {
      if (!name.endsWith("encoder.layers.0.self_attn.k_proj.bias") || name.startsWith("text")) {
        return tensor;
      }
      float[] values = tensor.floats();
      values[0] = value;
      return Tensor.of(tensor.shape(), values);
    });
    Files.delete(copy.resolve("model.safetensors"));
    TestTensors.write(copy.resolve("model.safetensors"), tensors);
    return copy;
  }

  /**
   * A float16 holds 65,504 at most: of all merges that are tried, the average alone has no more.
   */
  @ParameterizedTest
  @ValueSource(strings = {"kl", "blend"})
  void writesTheNextBestWhereTheDtypeOverflows(String by) throws IOException {
    List<String> line = search("clip-tiny", by, false, "--tries", "8", "--dtype", "f16");
    if (by.equals("blend")) {
      line.addAll(List.of("--steps", "20", "--step-examples", "16"));
    }
    repeatExamples("clip-tiny", line);
    Path base = withBiasOfKeys("pretrained", 2_000_000);
    Collections.replaceAll(line, golden("clip-tiny/pretrained"), base.toString());
    List<String> average = new ArrayList<>(List.of("average"));
    average.addAll(List.of("--base", base.toString(), "--out", path("average")));
    for (String task : tasks("clip-tiny")) {
      Path changed = withBiasOfKeys(task, 65_000);
      Collections.replaceAll(line, golden("clip-tiny/" + task), changed.toString());
      average.addAll(List.of("--model", changed.toString()));
    }
    CommandResult result = run(line);
    assertThat(report().at("/found/scale").doubleValue()).isNotEqualTo(1.0);
    assertThat(result.err())
        .contains("self_attn.k_proj.bias' overflows F16", "average, scale 1.0, is written");
    assertThat(report().path("written").textValue()).isEqualTo("average, scale 1.0");
    run(average);
    Map<String, Tensor> written = TestTensors.read(folder.resolve("found")).tensors();
    TestTensors.read(folder.resolve("average"))
        .tensors()
        .forEach((name, tensor) -> {
          if (tensor.dtype().equals("F32")) {
            float[] expected = tensor.floats();
            ShortBuffer halves =
                ByteBuffer.wrap(Objects.requireNonNull(written.get(name)).bytes())
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .asShortBuffer();
            for (int j = 0; j < expected.length; j++) {
              // Rounded to a float16, whose smallest steps are 2^-24.
              assertThat(Float.float16ToFloat(halves.get(j)))
                  .as(name)
                  .isCloseTo(expected[j], within(Math.abs(expected[j]) / 2000 + 1e-7f));
            }
          }
        });
  }

  /** Every example many times, so that both halves of them say about the same. */
  private void repeatExamples(String pool, List<String> line) {
    for (String task : tasks(pool)) {
      Map<String, Tensor> many = new TreeMap<>();
      TestTensors.read(Golden.path(pool + "/expected.safetensors"))
          .under(task + ".")
          .forEach((name, tensor) -> {
            if (tensor.shape().getFirst() == EXAMPLES && !name.contains(".")) {
              many.put(name, Tensor.concat(Collections.nCopies(8, tensor)));
            }
          });
      line.set(
          line.indexOf(data(pool, task).get(1)),
          TestTensors.write(folder.resolve(task + ".data.safetensors"), many).toString());
    }
  }

  @ParameterizedTest
  @CsvSource({"clip-tiny, tensor", "clip-tiny, layer", "gpt2-tiny, model"})
  void writesTheBlendThatItReports(String pool, String per) throws IOException {
    List<String> line = search(pool, "blend", false, "--per", per, "--steps", "20");
    line.addAll(List.of("--step-examples", "16", "--tries", "2", "--batch-size", "9"));
    repeatExamples(pool, line);
    run(line);
    JsonNode report = report();
    JsonNode blend = report.path("blend");
    assertThat(report.path("written").textValue()).isEqualTo("blend");
    List<Map<String, Tensor>> directions = new ArrayList<>();
    List<String> average =
        new ArrayList<>(
            List.of("average", "--base", golden(pool + "/pretrained"), "--out", path("average")));
    average.addAll(List.of("--exclude", "score"));
    tasks(pool).forEach(task -> average.addAll(List.of("--model", golden(pool + "/" + task))));
    run(average);
    directions.add(TestTensors.read(folder.resolve("average")).tensors());
    // Models carry their backbone's parameters under the names of the base, or of a model with
    // head.
    for (String task : tasks(pool)) {
      directions.add(TestTensors.read(Golden.path(pool + "/" + task)).tensors());
    }
    assertThat(blend.path("directions")).hasSize(directions.size());
    Map<String, Tensor> base = TestTensors.read(model(pool + "/pretrained")).tensors();
    Map<String, Tensor> found = TestTensors.read(folder.resolve("found")).tensors();
    int compared = 0;
    int different = 0;
    List<JsonNode> distinct = new ArrayList<>();
    for (Map.Entry<String, JsonNode> entry : blend.path("coefficients").properties()) {
      String name = named(base, entry.getKey());
      float[] b = Objects.requireNonNull(base.get(name)).floats();
      float[] ours = Objects.requireNonNull(found.get(name)).floats();
      double[] sum = new double[b.length];
      boolean differs = false;
      for (int j = 0; j < b.length; j++) {
        sum[j] = b[j];
      }
      for (int k = 0; k < directions.size(); k++) {
        double c = entry.getValue().get(k).doubleValue();
        float[] d =
            Objects.requireNonNull(directions.get(k).get(named(directions.get(k), entry.getKey())))
                .floats();
        for (int j = 0; j < b.length; j++) {
          sum[j] += c * (d[j] - (double) b[j]);
          differs |= d[j] != b[j];
        }
      }
      for (int j = 0; j < b.length; j++) {
        assertThat((double) ours[j]).as(name).isCloseTo(sum[j], within(2e-6));
      }
      if (!distinct.contains(entry.getValue())) {
        distinct.add(entry.getValue());
      }
      compared++;
      different += differs ? 1 : 0;
    }
    assertThat(compared).isGreaterThan(20);
    assertThat(different).isBetween(10, compared - 1);
    switch (per) {
      // Tensors in which the models are the base keep the coefficients that they began with.
      case "tensor" -> assertThat(distinct).hasSize(different + 1);
      case "layer" -> assertThat(distinct.size()).isBetween(3, compared - 1);
      default -> assertThat(distinct).hasSize(1);
    }
    assertThat(mean(report.at("/confirming_kl/blend")))
        .isLessThanOrEqualTo(mean(report.at("/confirming_kl/found")));
  }

  private static String named(Map<String, Tensor> tensors, String canonical) {
    return tensors.keySet().stream()
        .filter(name -> !name.startsWith("text_model."))
        .filter(name -> name.equals(canonical) || name.endsWith("." + canonical))
        .findFirst()
        .orElseThrow();
  }

  /** The same words give the same bits; another seed chooses by other examples. */
  @Test
  void isRepeatable() throws IOException {
    List<String> line = search("clip-tiny", "blend", false, "--steps", "10", "--overwrite");
    line.addAll(List.of("--step-examples", "2", "--tries", "3"));
    run(line);
    byte[] first = Files.readAllBytes(folder.resolve("found/model.safetensors"));
    JsonNode json = withoutTimes(report());
    run(line);
    assertThat(Files.readAllBytes(folder.resolve("found/model.safetensors"))).isEqualTo(first);
    assertThat(withoutTimes(report())).isEqualTo(json);
    line.addAll(List.of("--seed", "1"));
    run(line);
    assertThat(withoutTimes(report())).isNotEqualTo(json);
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).as("no scratch is left").hasSize(2);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "kl | --per layer | 2 | --per, --steps and --step-examples go with --by blend",
        "accuracy | --minutes 3 | 2 | --rule and --minutes go with --by kl and --by blend",
        "blend | --steps 0 | 1 | --steps 0: must be at least 1",
        "kl | --minutes -1 | 1 | --minutes -1.0: must be above 0",
        "accuracy | --rule kronecker | 2 | --rule and --minutes go with --by kl and --by blend",
        "kl | --rule kronecker | 1 | has no --fisher",
        "kl | --examples 1 | 1 | needs two examples or more",
      })
  void badOptionsAreRefused(String by, String option, int code, String message) {
    List<String> line = search("clip-tiny", by, false);
    line.addAll(List.of(option.split(" ", -1)));
    CommandResult result = CommandResult.run(line);
    assertThat(result.err()).contains(message);
    assertThat(result.code()).isEqualTo(code);
    assertThat(folder.resolve("found")).doesNotExist();
    assertThat(folder.resolve("search.json")).doesNotExist();
  }

  /** Whatever is read, and lies where the output is to be replaced, stays there. */
  @ParameterizedTest
  @ValueSource(strings = {"kl", "accuracy"})
  void inputsInTheOutputAreNotOverwritten(String by) throws IOException {
    Path kept = Files.createDirectories(folder.resolve("found"));
    Path data = kept.resolve("data.safetensors");
    Files.copy(Golden.path("clip-tiny/expected.safetensors"), data);
    List<String> line = search("clip-tiny", by, false, "--overwrite");
    String vectors = data("clip-tiny", "beta").get(1);
    line.set(line.indexOf(vectors), data + "#beta.");
    CommandResult.run(line).fails(1, "found: is not overwritten", "data.safetensors");
    assertThat(data).exists();

    Path coefficients = Files.writeString(kept.resolve("c.yml"), "'.*': [1, 2]\n");
    CommandResult.run(
            "average",
            "--base",
            golden("clip-tiny/pretrained"),
            "--model",
            golden("clip-tiny/alpha"),
            "--model",
            golden("clip-tiny/beta"),
            "--coefficients-file",
            coefficients.toString(),
            "--out",
            kept.toString(),
            "--overwrite")
        .fails(1, "found: is not overwritten", "c.yml");
    assertThat(coefficients).exists();

    Path recipe =
        Files.writeString(
            kept.resolve("r.yml"),
            """
            merge_method: linear
            models:
              - model: %s
                parameters: {weight: 1}
            """
                .formatted(golden("clip-tiny/alpha")));
    CommandResult.run("mergekit", recipe.toString(), kept.toString(), "--overwrite")
        .fails(1, "found: is not overwritten", "r.yml");
    assertThat(recipe).exists();
  }

  /** Of eight models, which one cannot be used. */
  @Test
  void namesTheModelWhosePredictionsAreNotFinite() throws IOException {
    Path broken = Files.createDirectories(folder.resolve("broken"));
    Files.copy(Golden.path("clip-tiny/beta").resolve("config.json"), broken.resolve("config.json"));
    Map<String, Tensor> tensors =
        new TreeMap<>(TestTensors.read(Golden.path("clip-tiny/beta")).tensors());
    String name =
        tensors.keySet().stream()
            .filter(key -> key.endsWith("post_layernorm.bias"))
            .findFirst()
            .orElseThrow();
    float[] values = Objects.requireNonNull(tensors.get(name)).floats();
    values[1] = Float.NaN;
    tensors.put(name, Tensor.of(List.of((long) values.length), values));
    TestTensors.write(broken.resolve("model.safetensors"), tensors);
    List<String> line = search("clip-tiny", "kl", false);
    line.set(line.indexOf(golden("clip-tiny/beta")), broken.toString());
    CommandResult.run(line).fails(1, broken + ": ", "logit");
    assertThat(folder.resolve("found")).doesNotExist();
  }

  /** Heads that nothing was measured with are merged only with a warning. */
  @Test
  void saysWhatNoMeasurementDependsOn() throws IOException {
    Path other = Files.createDirectories(folder.resolve("other"));
    Files.copy(Golden.path("gpt2-tiny/cola").resolve("config.json"), other.resolve("config.json"));
    Map<String, Tensor> tensors =
        new TreeMap<>(TestTensors.read(Golden.path("gpt2-tiny/cola")).tensors());
    float[] head = Objects.requireNonNull(tensors.get("score.weight")).floats();
    head[0] += 1;
    tensors.put(
        "score.weight",
        Tensor.of(Objects.requireNonNull(tensors.get("score.weight")).shape(), head));
    TestTensors.write(other.resolve("model.safetensors"), tensors);
    List<String> line = new ArrayList<>(List.of("search", "--by", "kl", "--tries", "2"));
    line.addAll(List.of("--base", golden("gpt2-tiny/pretrained"), "--out", path("found")));
    for (String model : List.of(golden("gpt2-tiny/cola"), other.toString())) {
      line.addAll(List.of("--model", model));
      line.addAll(data("gpt2-tiny", "cola"));
    }
    assertThat(run(line).err()).contains("score.weight").contains("--exclude");
    line.addAll(List.of("--exclude", "score", "--overwrite"));
    assertThat(run(line).err()).doesNotContain("score.weight");
  }
}
