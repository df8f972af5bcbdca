package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The commands reproduce what PyTorch and FusionBench's formulas make of the tiny CLIP models. */
final class GoldenCommandsTest {
  private static final List<String> TASKS = List.of("alpha", "beta", "gamma");
  private static final int EXAMPLES = 6;
  private static final String THREADS = "fishermerge.threads";
  private static final Path PRETRAINED = Golden.path("clip-tiny/pretrained");
  private static final Path EXPECTED_FILE = Golden.path("clip-tiny/expected.safetensors");
  private static final TestTensors EXPECTED = TestTensors.read(EXPECTED_FILE);
  private static final TestTensors EXPECTED_MERGED =
      TestTensors.read(Golden.path("clip-tiny/expected_merged.safetensors"));

  /** Fisher files that several tests need, written once. */
  @TempDir static Path shared;

  @TempDir Path folder;

  // ---- evaluate ----

  @ParameterizedTest(name = "{0} {1}")
  @CsvSource({
    "alpha, classes",
    "beta, classes",
    "gamma, classes",
    "alpha, heads",
    "beta, heads",
    "gamma, heads"
  })
  void evaluateGivesTheHeadAndTheLogits(String task, String head) throws IOException {
    Path outputs = folder.resolve("outputs.safetensors");
    Path report = folder.resolve("report.json");
    CommandResult result =
        CommandResult.run(
                with(
                    List.of("evaluate", "--model", model(task), "--outputs", outputs.toString()),
                    head(task, head),
                    List.of("--data", selector(task), "--report", report.toString())))
            .succeeds();

    TestTensors written = TestTensors.read(outputs);
    assertThat(written.tensors()).containsOnlyKeys("logits", "zeroshot_weights");
    Tensor weights = EXPECTED.get(task + ".zeroshot_weights");
    Tensor logits = EXPECTED.get(task + ".logits");
    TestTensors.assertClose("weights", written.get("zeroshot_weights"), 1, weights, 1e-5);
    TestTensors.assertClose(
        "logits", written.get("logits"), 1, logits, 1e-5 * TestTensors.largest(logits.floats()));

    Score score = Score.of(logits.floats(), EXPECTED.get(task + ".labels").longs());
    assertThat(result.out().lines())
        .singleElement()
        .asString()
        .contains(model(task), "(" + score.correct() + " of 6; 95 % interval ");
    JsonNode json = new JsonMapper().readTree(report.toFile());
    assertThat(json.path("correct").longValue()).isEqualTo(score.correct());
    assertThat(json.path("examples").longValue()).isEqualTo(EXAMPLES);
    assertThat(json.path("accuracy").doubleValue()).isEqualTo(score.correct() / 6.0);
    assertThat(Math.abs(json.path("loss").doubleValue() - score.loss()))
        .isLessThan(1e-4 * score.loss() + 1e-5);
  }

  @Test
  void evaluateGivesTheSameLogitsInUnevenBatches() {
    Path outputs = folder.resolve("outputs.safetensors");
    CommandResult.run(
            with(
                List.of("evaluate", "--model", model("beta"), "--outputs", outputs.toString()),
                head("beta", "heads"),
                List.of("--data", selector("beta"), "--batch-size", "4", "--examples", "5")))
        .succeeds();
    Tensor logits = EXPECTED.get("beta.logits").rows(0, 5);
    TestTensors.assertClose(
        "logits",
        TestTensors.read(outputs).get("logits"),
        1,
        logits,
        1e-5 * TestTensors.largest(logits.floats()));
  }

  /** Accuracy and mean cross entropy, straight from their definitions. */
  private record Score(long correct, double loss) {
    static Score of(float[] logits, long[] labels) {
      int classes = logits.length / labels.length;
      long correct = 0;
      double loss = 0;
      for (int i = 0; i < labels.length; i++) {
        int best = 0;
        double sum = 0;
        for (int c = 0; c < classes; c++) {
          best = logits[i * classes + c] > logits[i * classes + best] ? c : best;
          sum += Math.exp(logits[i * classes + c] - logits[i * classes + (int) labels[i]]);
        }
        correct += best == labels[i] ? 1 : 0;
        loss += Math.log(sum) / labels.length;
      }
      return new Score(correct, loss);
    }
  }

  // ---- fisher ----

  static Stream<Arguments> estimates() {
    List<Arguments> all = new ArrayList<>();
    for (String task : TASKS) {
      for (String labels : List.of("exact", "argmax", "true")) {
        for (int batch : List.of(1, 2, 5, 6)) {
          all.add(Arguments.of(task, labels, batch, "heads"));
        }
      }
      all.add(Arguments.of(task, "batch-square", 4, "heads"));
      all.add(Arguments.of(task, "exact", 5, "classes"));
      all.add(Arguments.of(task, "batch-square", 4, "classes of few words"));
    }
    return all.stream();
  }

  @ParameterizedTest(name = "{0} {1} batch {2} {3}")
  @MethodSource("estimates")
  void fisherWritesTheSumOverExamples(String task, String labels, int batch, String head) {
    Path out = folder.resolve("fisher.safetensors");
    CommandResult result =
        CommandResult.run(
                with(
                    fisherArguments(task, out, labels, batch),
                    head(task, head),
                    List.of("--selection", "first")))
            .succeeds();
    assertThat(result.out().lines())
        .singleElement()
        .asString()
        .contains(out.toString(), model(task), "6 examples", labels, "batches of " + batch);

    TestTensors written = TestTensors.read(out);
    assertIsFisher(written, task, labels);
    assertThat(written.metadata())
        .containsOnlyKeys(
            "fisher_format",
            "fisher_examples",
            "fisher_labels",
            "fisher_dataset",
            "fisher_selection",
            "fisher_seed",
            "fisher_model_sha256",
            "fisher_model_fingerprint",
            "fisher_sums_of_squares",
            "fisher_tool")
        .containsEntry("fisher_format", "1")
        .containsEntry("fisher_examples", "6")
        .containsEntry("fisher_labels", labels.equals("batch-square") ? "batch-square:4" : labels)
        .containsEntry("fisher_selection", "first")
        .containsEntry("fisher_seed", "0")
        .hasEntrySatisfying(
            "fisher_dataset", text -> assertThat(text).contains("expected.safetensors", task))
        .hasEntrySatisfying("fisher_tool", text -> assertThat(text).startsWith("fisher-merge "))
        .hasEntrySatisfying(
            "fisher_model_sha256",
            hash ->
                assertThat(CommandResult.run("inspect", "--hash", model(task)).succeeds().out())
                    .contains("sha256 " + hash));
  }

  /** The golden mean times the examples, named as the model names its tensors. */
  private static void assertIsFisher(TestTensors sums, String task, String labels) {
    Map<String, Tensor> expected = TestTensors.renamed(goldenFisher(task, labels), naming(task));
    assertThat(sums.tensors().keySet()).isEqualTo(expected.keySet());
    Set<String> modelNames = TestTensors.read(Golden.path("clip-tiny/" + task)).tensors().keySet();
    assertThat(modelNames).containsAll(sums.tensors().keySet());
    double largest =
        expected.values().stream()
            .mapToDouble(t -> TestTensors.largest(t.floats()))
            .max()
            .orElseThrow();
    expected.forEach((name, mean) -> {
      double scale = Math.max(TestTensors.largest(mean.floats()), 1e-9 * largest);
      TestTensors.assertClose(name, sums.get(name), 1.0 / EXAMPLES, mean, 1e-4 * scale);
    });
  }

  private static Map<String, Tensor> goldenFisher(String task, String labels) {
    String definition =
        switch (labels) {
          case "true" -> "empirical";
          case "batch-square" -> "batch_square";
          default -> labels;
        };
    return EXPECTED.under(task + ".fisher." + definition + ".");
  }

  /** Of the golden models only beta has the older names, with their prefix. */
  private static UnaryOperator<String> naming(String task) {
    return task.equals("beta")
        ? UnaryOperator.identity()
        : name -> name.substring("vision_model.".length());
  }

  /** The file says so, and does not add to one in fp32. */
  @Test
  void fisherInBf16() {
    Path bf16 = folder.resolve("bf16.safetensors");
    CommandResult.run(
            with(
                fisherArguments("alpha", bf16, "exact", 2),
                head("alpha", "heads"),
                List.of("--precision", "bf16")))
        .succeeds();
    assertThat(TestTensors.read(bf16).metadata()).containsEntry("fisher_precision", "bf16");
    Path fp32 = folder.resolve("fp32.safetensors");
    CommandResult.run(with(fisherArguments("alpha", fp32, "exact", 2), head("alpha", "heads")))
        .succeeds();
    TestTensors exact = TestTensors.read(fp32);
    assertThat(exact.metadata()).doesNotContainKey("fisher_precision");
    assertIsFisher(exact, "alpha", "exact");
    Path sum = folder.resolve("sum.safetensors");
    CommandResult.run("add", "--out", sum.toString(), fp32.toString(), bf16.toString())
        .fails(1, "was estimated in bf16, but " + fp32 + " in fp32");
  }

  @ParameterizedTest
  @CsvSource({"tf32, precision tf32 is of GPUs", "fp16, --precision fp16: must be fp32"})
  void precisionsThatThereAreNot(String precision, String message) {
    CommandResult.run(
            with(
                fisherArguments("alpha", folder.resolve("f"), "exact", 2),
                head("alpha", "heads"),
                List.of("--precision", precision)))
        .fails(1, message);
  }

  @Test
  void onlyParametersHaveFisherInformation() {
    Set<String> beta = TestTensors.read(Golden.path("clip-tiny/beta")).tensors().keySet();
    assertThat(beta).contains("vision_model.embeddings.position_ids");
    assertThat(TestTensors.read(fisher("beta", "exact")).tensors().keySet())
        .allMatch(name -> name.startsWith("vision_model."))
        .doesNotContain("vision_model.embeddings.position_ids")
        .hasSize(beta.size() - 1);
  }

  @ParameterizedTest
  @ValueSource(longs = {0, 7, -3})
  void theOrderOfAllExamplesDoesNotMatter(long seed) {
    Path out = folder.resolve("shuffled.safetensors");
    // Shuffled is the default.
    CommandResult.run(
            with(
                fisherArguments("alpha", out, "exact", 4),
                head("alpha", "heads"),
                List.of("--seed", Long.toString(seed))))
        .succeeds();
    TestTensors shuffled = TestTensors.read(out);
    assertIsFisher(shuffled, "alpha", "exact");
    assertThat(shuffled.metadata())
        .containsEntry("fisher_selection", "shuffled")
        .containsEntry("fisher_seed", Long.toString(seed));
  }

  @ParameterizedTest(name = "workers {0}, threads {1}")
  @CsvSource({"0, 1", "0, 2", "1, 1", "1, 2", "3, 1", "3, 2"})
  void theSameBytesForAnyNumberOfWorkersAndThreads(int workers, int threads) {
    Path out = folder.resolve("fisher.safetensors");
    String before = System.getProperty(THREADS);
    try {
      System.setProperty(THREADS, Integer.toString(threads));
      CommandResult.run(
              with(
                  fisherArguments("alpha", out, "exact", 4),
                  head("alpha", "heads"),
                  List.of("--selection", "first", "--workers", Integer.toString(workers))))
          .succeeds();
    } finally {
      if (before == null) {
        System.clearProperty(THREADS);
      } else {
        System.setProperty(THREADS, before);
      }
    }
    assertThat(out).hasSameBinaryContentAs(fisher("alpha", "exact"));
  }

  @ParameterizedTest(name = "{0}, batches of {1}")
  @CsvSource({"exact, 1, 2, 1", "exact, 4, 4, 2", "sampled:2, 5, 5, 3", "true, 100, 6, 3"})
  void aCheckChangesNothingButSaysMore(String labels, int batch, int together, int apart) {
    Path plain = folder.resolve("plain.safetensors");
    Path checked = folder.resolve("checked.safetensors");
    CommandResult.run(with(fisherArguments("beta", plain, labels, batch), head("beta", "heads")))
        .succeeds();
    CommandResult result =
        CommandResult.run(
                with(
                    fisherArguments("beta", checked, labels, batch),
                    head("beta", "heads"),
                    List.of("--check")))
            .succeeds();
    assertThat(checked).hasSameBinaryContentAs(plain);
    Matcher line =
        Pattern.compile(
                "check: (\\d+) examples in one batch or in batches of (\\d+) differ by (\\S+) at"
                    + " most, relative to the largest value of (\\S+)\\R.*\\R")
            .matcher(result.out());
    assertThat(line.matches()).as(result.out()).isTrue();
    assertThat(line.group(1)).isEqualTo(Integer.toString(together));
    assertThat(line.group(2)).isEqualTo(Integer.toString(apart));
    assertThat(Double.parseDouble(line.group(3))).isLessThan(1e-4);
    assertThat(TestTensors.read(checked).tensors()).containsKey("vision_model." + line.group(4));
  }

  @ParameterizedTest(name = "{0}, {1}")
  @CsvSource({
    "ordered, --labels batch-square --examples 16, 1 of its 3 classes",
    "ordered, --labels argmax --examples 16 --selection first, 1 of its 3 classes",
    "ordered, --labels argmax --examples 16 --selection shuffled, ''",
    "ordered, --labels argmax --examples 16 --selection stratified, ''",
    "ordered, --labels batch-square --examples 5, ''",
    "ordered, --labels batch-square --examples 60, ''",
    "mixed, --labels batch-square --examples 16, ''",
    "unlabelled, --labels batch-square --examples 16, ''",
  })
  void warnsOfFirstRowsThatStandForFewClasses(String kind, String options, String warning) {
    Tensor pixels = EXPECTED.get("alpha.pixel_values");
    Map<String, Tensor> tensors = new TreeMap<>();
    tensors.put("pixel_values", Tensor.concat(Collections.nCopies(10, pixels)));
    if (!kind.equals("unlabelled")) {
      tensors.put(
          "labels",
          Tensor.of(
              LongStream.range(0, 60).map(i -> kind.equals("ordered") ? i / 20 : i % 3).toArray()));
    }
    Path data = TestTensors.write(folder.resolve("data.safetensors"), tensors);
    Path out = folder.resolve("fisher.safetensors");
    CommandResult result =
        CommandResult.run(
            with(
                List.of("fisher", "--model", model("alpha"), "--data", data.toString()),
                head("alpha", "heads"),
                List.of("--out", out.toString()),
                List.of(options.split(" "))));
    assertThat(result.code()).isZero();
    assertThat(out).exists();
    if (warning.isEmpty()) {
      assertThat(result.err()).isEmpty();
    } else {
      assertThat(result.err().lines())
          .singleElement()
          .asString()
          .startsWith("warning: data.safetensors: the first 16 examples hold " + warning)
          .contains("3.0 on average", "--selection shuffled");
    }
  }

  @Test
  void stratifiedTakesAsManyOfEachClass() {
    // Five copies of one picture and one of another: whichever of the five is taken, it is the
    // same.
    Tensor pixels = EXPECTED.get("gamma.pixel_values");
    Map<String, Tensor> unequal =
        Map.of(
            "pixel_values",
            Tensor.concat(
                List.of(
                    pixels.rows(1, 2),
                    pixels.rows(1, 2),
                    pixels.rows(1, 2),
                    pixels.rows(4, 5),
                    pixels.rows(1, 2),
                    pixels.rows(1, 2))),
            "labels",
            Tensor.of(0, 0, 0, 1, 0, 0));
    Map<String, Tensor> oneOfEach =
        Map.of("pixel_values", Tensor.concat(List.of(pixels.rows(1, 2), pixels.rows(4, 5))));
    TestTensors stratified = fisherOfGamma(unequal, "stratified");
    assertThat(stratified.metadata())
        .containsEntry("fisher_selection", "stratified")
        .containsEntry("fisher_examples", "2");
    fisherOfGamma(oneOfEach, "first")
        .tensors()
        .forEach((name, expected) ->
            TestTensors.assertClose(
                name,
                stratified.get(name),
                1,
                expected,
                1e-4 * TestTensors.largest(expected.floats()) + 1e-9));
  }

  /** Of two examples. */
  private TestTensors fisherOfGamma(Map<String, Tensor> pictures, String selection) {
    Path data = TestTensors.write(folder.resolve(selection + ".data.safetensors"), pictures);
    Path out = folder.resolve(selection + ".safetensors");
    CommandResult.run(
            with(
                List.of("fisher", "--model", model("gamma"), "--data", data.toString()),
                head("gamma", "heads"),
                List.of("--examples", "2", "--selection", selection, "--out", out.toString())))
        .succeeds();
    return TestTensors.read(out);
  }

  @Test
  void sampledLabelsAreRepeatableBySeedAndIndependentOfTheBatch() {
    List<TestTensors> runs = new ArrayList<>();
    for (String variant : List.of("1 6", "1 4", "2 6")) {
      Path out = folder.resolve("sampled" + runs.size() + ".safetensors");
      int space = variant.indexOf(' ');
      CommandResult.run(
              with(
                  fisherArguments(
                      "gamma", out, "sampled:3", Integer.parseInt(variant.substring(space + 1))),
                  head("gamma", "heads"),
                  List.of("--selection", "first", "--seed", variant.substring(0, space))))
          .succeeds();
      runs.add(TestTensors.read(out));
    }
    assertThat(runs.get(0).metadata()).containsEntry("fisher_labels", "sampled:3");
    String name = "embeddings.patch_embedding.weight";
    Tensor first = runs.get(0).get(name);
    double scale = TestTensors.largest(first.floats());
    TestTensors.assertClose(name, runs.get(1).get(name), 1, first, 1e-4 * scale);
    assertThat(runs.get(2).get(name).floats()).isNotEqualTo(first.floats());
  }

  @Test
  void batchSquareTakesTheFirstRowsUnlessToldOtherwise() {
    Path out = folder.resolve("fisher.safetensors");
    CommandResult.run(
            with(fisherArguments("gamma", out, "batch-square", 4), head("gamma", "heads")))
        .succeeds();
    TestTensors written = TestTensors.read(out);
    assertIsFisher(written, "gamma", "batch-square");
    assertThat(written.metadata()).containsEntry("fisher_selection", "first");
  }

  // ---- add ----

  @Test
  void addedPartsEqualTheWhole() {
    List<String> parts = new ArrayList<>();
    for (int[] rows : new int[][] {{0, 1}, {1, 4}, {4, 6}}) {
      Path pictures = folder.resolve("rows-" + rows[0] + ".safetensors");
      Map<String, Tensor> tensors = new TreeMap<>();
      for (String name : List.of("pixel_values", "labels")) {
        tensors.put(name, EXPECTED.get("beta." + name).rows(rows[0], rows[1]));
      }
      TestTensors.write(pictures, tensors);
      Path part = folder.resolve("part-" + rows[0] + ".safetensors");
      CommandResult.run(
              with(
                  List.of("fisher", "--model", model("beta"), "--out", part.toString()),
                  head("beta", "heads"),
                  List.of("--data", pictures.toString(), "--labels", "true")))
          .succeeds();
      parts.add(part.toString());
    }
    Path out = folder.resolve("sum.safetensors");
    CommandResult result =
        CommandResult.run(with(List.of("add"), parts, List.of("--out", out.toString()))).succeeds();
    assertThat(result.out()).contains(out.toString(), "3 files", "6 examples");

    TestTensors sum = TestTensors.read(out);
    assertIsFisher(sum, "beta", "true");
    Map<String, String> whole = TestTensors.read(fisher("beta", "true")).metadata();
    assertThat(sum.metadata())
        .containsEntry("fisher_examples", "6")
        .containsEntry("fisher_labels", "true")
        .containsEntry("fisher_model_sha256", String.valueOf(whole.get("fisher_model_sha256")))
        .hasEntrySatisfying(
            "fisher_dataset",
            text -> assertThat(text).contains("rows-0", "rows-1", "rows-4").contains("+"));
  }

  // ---- merge and average ----

  @ParameterizedTest(name = "{0}")
  @CsvSource({
    "exact.normalize_true, exact, '', ''",
    "exact.normalize_false, exact, none, ''",
    "exact.coefficients_5_3_2, exact, model, '0.5,0.3,0.2'",
    "batch_square.normalize_true, batch-square, '', ''",
    "batch_square.normalize_false, batch-square, none, ''",
  })
  void mergeGivesFusionBenchsFormula(
      String variant, String labels, String normalize, String coefficients) throws IOException {
    Path out = folder.resolve("merged");
    List<String> args =
        new ArrayList<>(List.of("merge", "--base", PRETRAINED.toString(), "--out", out.toString()));
    for (String task : TASKS) {
      args.addAll(List.of("--model", model(task), "--fisher", fisher(task, labels).toString()));
    }
    if (!normalize.isEmpty()) {
      args.addAll(List.of("--normalize", normalize));
    }
    if (!coefficients.isEmpty()) {
      args.addAll(List.of("--coefficients", coefficients));
    }
    CommandResult result = CommandResult.run(args);
    assertThat(result.err()).isEmpty();
    assertThat(result.code()).isZero();
    assertThat(result.out().lines())
        .singleElement()
        .asString()
        .contains(out.toString(), "39 tensors merged from 3 models", "39 tensors from the base");
    // As in ProgramTest.
    assertIsMerged(out, variant, variant.startsWith("batch_square") ? 2e-6 : 1e-6);
  }

  @Test
  void averageGivesTheMean() throws IOException {
    Path out = folder.resolve("average");
    List<String> args =
        new ArrayList<>(
            List.of("average", "--base", PRETRAINED.toString(), "--out", out.toString()));
    for (String task : TASKS) {
      args.addAll(List.of("--model", model(task)));
    }
    CommandResult.run(args).succeeds();
    assertIsMerged(out, "simple_average", 1e-6);
  }

  /** A folder like the base, with the vision tower's parameters merged and nothing else changed. */
  private static void assertIsMerged(Path out, String variant, double tolerance)
      throws IOException {
    TestTensors merged = TestTensors.read(out);
    TestTensors base = TestTensors.read(PRETRAINED);
    Map<String, Tensor> expected = EXPECTED_MERGED.under(variant + ".");
    assertThat(expected).hasSize(39);
    assertThat(merged.tensors().keySet()).isEqualTo(base.tensors().keySet());
    assertThat(merged.tensors().keySet()).containsAll(expected.keySet());
    merged
        .tensors()
        .forEach((name, tensor) -> {
          Tensor wanted = expected.get(name);
          if (wanted == null) {
            assertThat(name).doesNotStartWith("vision_model.");
            assertThat(tensor.bytes()).as(name).isEqualTo(base.get(name).bytes());
          } else {
            TestTensors.assertClose(
                name, tensor, 1, wanted, tolerance * TestTensors.largest(wanted.floats()));
          }
        });
    assertThat(merged.metadata()).containsEntry("format", "pt");
    for (String file :
        List.of(
            "config.json",
            "preprocessor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json",
            "merges.txt")) {
      assertThat(out.resolve(file)).hasSameBinaryContentAs(PRETRAINED.resolve(file));
    }
  }

  @Test
  void aMergedModelIsAModelAgain() {
    Path out = folder.resolve("average");
    CommandResult.run(
            "average",
            "--base",
            PRETRAINED.toString(),
            "--out",
            out.toString(),
            "--model",
            model("alpha"),
            "--model",
            model("gamma"))
        .succeeds();
    CommandResult.run(
            with(
                List.of("evaluate", "--model", out.toString()),
                List.of("--clip", out.toString()),
                List.of("--classes", Golden.path("clip-tiny/tasks.json") + ":alpha"),
                List.of("--data", selector("alpha"))))
        .succeeds();
    assertThat(CommandResult.run("inspect", out.toString()).succeeds().out())
        .contains("model folder", "78 tensors", "{F32=78}", "format=pt");
  }

  @Test
  void aDryRunPrintsThePlanAndWritesNothing() throws IOException {
    Path out = folder.resolve("merged");
    List<String> args =
        new ArrayList<>(
            List.of(
                "merge", "--dry-run", "--base", PRETRAINED.toString(), "--out", out.toString()));
    for (String task : TASKS) {
      args.addAll(List.of("--model", model(task), "--fisher", fisher(task, "exact").toString()));
    }
    CommandResult result = CommandResult.run(args).succeeds();
    assertThat(result.out()).contains("39").containsIgnoringCase("memory");
    try (Stream<Path> left = Files.list(folder)) {
      assertThat(left).isEmpty();
    }
  }

  // ---- inspect, doctor ----

  @Test
  void inspectSaysWhatAPathHolds() {
    assertThat(CommandResult.run("inspect", PRETRAINED.toString()).succeeds().out())
        .contains("model folder, 1 file", "78 tensors", "format=pt");
    assertThat(CommandResult.run("inspect", model("beta"), "--tensors").succeeds().out())
        .contains("40 tensors", "vision_model.embeddings.position_ids I64 [1, 17]");
    Path fisher = fisher("alpha", "batch-square");
    assertThat(CommandResult.run("inspect", fisher.toString()).succeeds().out())
        .contains(
            "Fisher file, 1 file",
            "39 tensors",
            "fisher_examples: 6",
            "fisher_labels: batch-square:4",
            "fisher_selection: first");
  }

  @Test
  void doctorNamesWhatIsInUse() {
    assertThat(CommandResult.run("doctor").succeeds().out())
        .containsPattern("(?m)^kernels +(cpu|scalar|cuda), instruction set \\S+")
        .containsPattern("(?m)^JDK .*" + Runtime.version().feature())
        .containsPattern("(?m)^libtorch .*\\d+\\.\\d+");
  }

  // ---- what the tests share ----

  private static String model(String task) {
    return Golden.path("clip-tiny/" + task).toString();
  }

  private static String selector(String task) {
    return EXPECTED_FILE + "#" + task + ".";
  }

  private static List<String> head(String task, String kind) {
    return kind.equals("heads")
        ? List.of("--clip", PRETRAINED.toString(), "--heads", selector(task))
        : List.of(
            "--clip",
            (kind.equals("classes") ? PRETRAINED : FewWords.pretrained()).toString(),
            "--classes",
            Golden.path("clip-tiny/tasks.json") + ":" + task);
  }

  private static List<String> fisherArguments(String task, Path out, String labels, int batch) {
    return List.of(
        "fisher",
        "--model",
        model(task),
        "--data",
        selector(task),
        "--labels",
        labels,
        "--batch-size",
        Integer.toString(batch),
        "--out",
        out.toString());
  }

  /** The Fisher file of a task, written by the command. */
  private static Path fisher(String task, String labels) {
    Path out = shared.resolve(task + "." + labels + ".safetensors");
    if (!Files.exists(out)) {
      CommandResult.run(
              with(
                  fisherArguments(task, out, labels, 4),
                  head(task, "heads"),
                  List.of("--selection", "first")))
          .succeeds();
    }
    return out;
  }

  @SafeVarargs
  private static List<String> with(List<String>... parts) {
    List<String> all = new ArrayList<>();
    for (List<String> part : parts) {
      all.addAll(part);
    }
    return all;
  }
}
