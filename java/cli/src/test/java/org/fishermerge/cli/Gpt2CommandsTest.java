package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
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

/** The commands on the tiny GPT-2 classifiers: against PyTorch, and what they refuse. */
final class Gpt2CommandsTest {
  private static final List<String> TASKS = List.of("cola", "mnli");
  private static final int EXAMPLES = 6;
  private static final int TOKENS = 12;
  private static final int POSITIONS = 40;
  private static final long PAD = 96;
  private static final String THREADS = "fishermerge.threads";
  private static final Path EXPECTED_FILE = Golden.path("gpt2-tiny/expected.safetensors");
  private static final TestTensors EXPECTED = TestTensors.read(EXPECTED_FILE);
  private static final TestTensors EXPECTED_MERGED =
      TestTensors.read(Golden.path("gpt2-tiny/expected_merged.safetensors"));

  /** Fisher files that several tests need, written once. */
  @TempDir static Path shared;

  @TempDir Path folder;

  // ---- evaluate ----

  @ParameterizedTest(name = "{0}, batches of {1}")
  @CsvSource({"cola, 6", "cola, 4", "mnli, 128", "mnli, 5", "mnli, 1"})
  void evaluateGivesLogitsAndFusionBenchsLoss(String task, int batch) throws IOException {
    Path outputs = folder.resolve("outputs.safetensors");
    Path report = folder.resolve("report.json");
    CommandResult result =
        CommandResult.run(
                "evaluate",
                "--model",
                model(task),
                "--data",
                selector(task),
                "--batch-size",
                Integer.toString(batch),
                "--outputs",
                outputs.toString(),
                "--report",
                report.toString())
            .succeeds();

    TestTensors written = TestTensors.read(outputs);
    assertThat(written.tensors()).containsOnlyKeys("logits");
    Tensor logits = EXPECTED.get(task + ".logits");
    TestTensors.assertClose(
        "logits", written.get("logits"), 1, logits, 1e-5 * TestTensors.largest(logits.floats()));

    long[] labels = EXPECTED.get(task + ".labels").longs();
    int classes = logits.floats().length / EXAMPLES;
    long correct = 0;
    double loss = 0;
    int batches = Math.ceilDiv(EXAMPLES, batch);
    for (int i = 0; i < EXAMPLES; i++) {
      float[] row = Arrays.copyOfRange(logits.floats(), i * classes, (i + 1) * classes);
      int best = 0;
      double sum = 0;
      for (int c = 0; c < classes; c++) {
        best = row[c] > row[best] ? c : best;
        sum += Math.exp(row[c] - row[(int) labels[i]]);
      }
      correct += best == labels[i] ? 1 : 0;
      int ofBatch = Math.min(batch, EXAMPLES - i / batch * batch);
      loss += Math.log(sum) / ofBatch / batches;
    }
    assertThat(result.out()).contains(model(task), "(" + correct + " of 6; 95 % interval ");
    JsonNode json = new JsonMapper().readTree(report.toFile());
    assertThat(json.path("correct").longValue()).isEqualTo(correct);
    assertThat(json.path("accuracy").doubleValue()).isEqualTo(correct / 6.0);
    assertThat(Math.abs(json.path("loss").doubleValue() - loss)).isLessThan(1e-5 * loss);
  }

  @Test
  void aBackboneTakesTheHeadOfAnotherFolder() {
    Path outputs = folder.resolve("outputs.safetensors");
    // The tensor names of a GPT2Model, and no head.
    Path backbone = backbone("mnli");
    CommandResult.run(
            "evaluate",
            "--model",
            backbone.toString(),
            "--classifier",
            model("mnli"),
            "--data",
            selector("mnli"),
            "--outputs",
            outputs.toString())
        .succeeds();
    Tensor logits = EXPECTED.get("mnli.logits");
    TestTensors.assertClose(
        "logits",
        TestTensors.read(outputs).get("logits"),
        1,
        logits,
        1e-5 * TestTensors.largest(logits.floats()));

    Path out = folder.resolve("fisher.safetensors");
    CommandResult.run(
            "fisher",
            "--model",
            backbone.toString(),
            "--classifier",
            model("mnli"),
            "--data",
            selector("mnli"),
            "--labels",
            "exact",
            "--out",
            out.toString())
        .succeeds();
    Map<String, Tensor> named = new TreeMap<>();
    TestTensors.read(out).tensors().forEach((name, t) -> named.put("transformer." + name, t));
    assertIsFisher(new TestTensors(named, Map.of()), "mnli", "exact");
    CommandResult.run("evaluate", "--model", backbone.toString(), "--data", selector("mnli"))
        .fails(1, backbone.toString(), "score.weight");
  }

  private Path backbone(String task) {
    try {
      Path backbone = Files.createDirectory(folder.resolve("backbone"));
      Files.copy(Path.of(model(task), "config.json"), backbone.resolve("config.json"));
      TestTensors.write(
          backbone.resolve("model.safetensors"),
          TestTensors.read(Path.of(model(task))).under("transformer."));
      return backbone;
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  // ---- fisher ----

  static Stream<Arguments> estimates() {
    List<Arguments> all = new ArrayList<>();
    for (String task : TASKS) {
      for (String labels : List.of("exact", "argmax", "true")) {
        for (int batch : List.of(1, 2, 5, 6)) {
          all.add(Arguments.of(task, labels, batch));
        }
      }
      all.add(Arguments.of(task, "batch-square", 4));
    }
    return all.stream();
  }

  @ParameterizedTest(name = "{0} {1} batch {2}")
  @MethodSource("estimates")
  void fisherWritesTheSumOverExamples(String task, String labels, int batch) {
    Path out = folder.resolve("fisher.safetensors");
    CommandResult result = fisher(selector(task), task, out, labels, batch).succeeds();
    assertThat(result.out().lines())
        .singleElement()
        .asString()
        .contains(out.toString(), model(task), "6 examples", labels, "batches of " + batch);
    TestTensors written = TestTensors.read(out);
    assertIsFisher(written, task, labels);
    assertThat(written.metadata())
        .containsEntry("fisher_examples", "6")
        .containsEntry("fisher_labels", labels.equals("batch-square") ? "batch-square:4" : labels);
  }

  private static void assertIsFisher(TestTensors sums, String task, String labels) {
    String definition =
        switch (labels) {
          case "true" -> "empirical";
          case "batch-square" -> "batch_square";
          default -> labels;
        };
    Map<String, Tensor> expected = EXPECTED.under(task + ".fisher." + definition + ".");
    assertThat(expected).hasSize(28);
    assertThat(sums.tensors().keySet()).isEqualTo(expected.keySet());
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

  @ParameterizedTest(name = "{0}")
  @ValueSource(strings = {"wider", "no mask", "no mask, wider", "int", "other fill", "bytes"})
  void paddingChangesNoBit(String variant) throws IOException {
    for (String labels : List.of("exact", "batch-square")) {
      Path data = folder.resolve(labels + "/expected.safetensors");
      Files.createDirectories(data.getParent());
      TestTensors.write(data, repadded("mnli", variant));
      Path out = folder.resolve(labels + ".safetensors");
      fisher(data + "#mnli.", "mnli", out, labels, 4).succeeds();
      assertThat(out).hasSameBinaryContentAs(fisherFile("mnli", labels));
    }
  }

  /** The texts of a task with their padding written another way. */
  private static Map<String, Tensor> repadded(String task, String variant) {
    long[] ids = EXPECTED.get(task + ".input_ids").longs();
    long[] mask = EXPECTED.get(task + ".attention_mask").longs();
    int columns = variant.contains("wider") ? POSITIONS + 3 : TOKENS;
    long[] newIds = new long[EXAMPLES * columns];
    long[] newMask = new long[EXAMPLES * columns];
    for (int b = 0; b < EXAMPLES; b++) {
      for (int t = 0; t < columns; t++) {
        boolean real = t < TOKENS && mask[b * TOKENS + t] == 1;
        newMask[b * columns + t] = real ? 1 : 0;
        newIds[b * columns + t] =
            real ? ids[b * TOKENS + t] : variant.equals("other fill") ? -7 : PAD;
      }
    }
    Map<String, Tensor> tensors = new TreeMap<>();
    tensors.put(
        task + ".input_ids", matrix(newIds, columns, variant.equals("int") ? "I32" : "I64"));
    if (!variant.contains("no mask")) {
      tensors.put(
          task + ".attention_mask",
          matrix(newMask, columns, variant.equals("bytes") ? "BOOL" : "I64"));
    }
    tensors.put(task + ".labels", EXPECTED.get(task + ".labels"));
    return tensors;
  }

  private static Tensor matrix(long[] values, int columns, String dtype) {
    List<Long> shape = List.of((long) values.length / columns, (long) columns);
    if (dtype.equals("I64")) {
      return new Tensor(dtype, shape, Tensor.of(values).bytes());
    }
    int width = dtype.equals("I32") ? Integer.BYTES : 1;
    byte[] bytes = new byte[values.length * width];
    for (int i = 0; i < values.length; i++) {
      bytes[i * width] = (byte) values[i];
    }
    return new Tensor(dtype, shape, bytes);
  }

  /** Six texts of one length: nothing is padded anywhere. */
  @Test
  void textsOfOneLengthAndOfSeveralGiveTheSameSum() {
    long[] ids = EXPECTED.get("cola.input_ids").longs();
    long[] mask = EXPECTED.get("cola.attention_mask").longs();
    List<String> parts = new ArrayList<>();
    for (int b = 0; b < EXAMPLES; b++) {
      int length = 0;
      while (length < TOKENS && mask[b * TOKENS + length] == 1) {
        length++;
      }
      Path data = folder.resolve("row-" + b + ".safetensors");
      TestTensors.write(
          data,
          Map.of(
              "input_ids",
              matrix(Arrays.copyOfRange(ids, b * TOKENS, b * TOKENS + length), length, "I64")));
      Path part = folder.resolve("part-" + b + ".safetensors");
      fisher(data.toString(), "cola", part, "exact", 3).succeeds();
      parts.add(part.toString());
    }
    Path sum = folder.resolve("sum.safetensors");
    List<String> arguments = new ArrayList<>(List.of("add", "--out", sum.toString()));
    arguments.addAll(parts);
    CommandResult.run(arguments).succeeds();
    assertIsFisher(TestTensors.read(sum), "cola", "exact");
  }

  @ParameterizedTest(name = "workers {0}, threads {1}")
  @CsvSource({"0, 1", "0, 2", "3, 1", "3, 3"})
  void theSameBytesForAnyNumberOfWorkersAndThreads(int workers, int threads) {
    Path out = folder.resolve("fisher.safetensors");
    String before = System.getProperty(THREADS);
    try {
      System.setProperty(THREADS, Integer.toString(threads));
      fisher(selector("mnli"), "mnli", out, "exact", 4, "--workers", Integer.toString(workers))
          .succeeds();
    } finally {
      if (before == null) {
        System.clearProperty(THREADS);
      } else {
        System.setProperty(THREADS, before);
      }
    }
    assertThat(out).hasSameBinaryContentAs(fisherFile("mnli", "exact"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"sampled:3", "rademacher:2"})
  void whatIsDrawnDoesNotDependOnTheBatchSize(String labels) {
    List<TestTensors> runs = new ArrayList<>();
    for (int batch : List.of(1, 4, 6)) {
      Path out = folder.resolve("drawn-" + batch + ".safetensors");
      fisher(selector("mnli"), "mnli", out, labels, batch).succeeds();
      runs.add(TestTensors.read(out));
    }
    runs.getFirst()
        .tensors()
        .forEach((name, first) -> {
          double scale = TestTensors.largest(first.floats()) + 1e-9;
          TestTensors.assertClose(name, runs.get(1).get(name), 1, first, 1e-4 * scale);
          TestTensors.assertClose(name, runs.get(2).get(name), 1, first, 1e-4 * scale);
        });
  }

  /** With three classes the default rule has two probes at most: it is exact. */
  @Test
  void theDefaultsNeedNoMoreThanModelAndData() {
    Path out = folder.resolve("fisher.safetensors");
    CommandResult result =
        CommandResult.run(
                "fisher",
                "--model",
                model("mnli"),
                "--data",
                selector("mnli"),
                "--check",
                "--out",
                out.toString())
            .succeeds();
    assertThat(result.out()).contains("check: 6 examples", "adaptive:2");
    assertIsFisher(TestTensors.read(out), "mnli", "exact");
  }

  // ---- GLUE ----

  /** Parquet through the tokenizer gives what the same texts give as transformers' ids. */
  @Test
  void glueFilesGiveWhatTheirIdsGive() throws Exception {
    Path tokenizer = Golden.path("gpt2-tokenizer");
    List<JsonNode> pairs = new ArrayList<>();
    for (JsonNode one : new JsonMapper().readTree(tokenizer.resolve("cases.json").toFile())) {
      if (!one.path("second").isNull() && one.path("ids").size() <= POSITIONS) {
        pairs.add(one);
      }
    }
    assertThat(pairs).hasSizeGreaterThan(3);
    Path glue = Files.createDirectories(folder.resolve("glue/rte"));
    long[] ids = new long[pairs.size() * POSITIONS];
    long[] mask = new long[ids.length];
    long[] labels = new long[pairs.size()];
    try (Connection duckdb = DriverManager.getConnection("jdbc:duckdb:");
        Statement sql = duckdb.createStatement()) {
      sql.execute("CREATE TABLE t (i BIGINT, sentence1 VARCHAR, sentence2 VARCHAR, label BIGINT)");
      try (PreparedStatement row = duckdb.prepareStatement("INSERT INTO t VALUES (?, ?, ?, ?)")) {
        for (int b = 0; b < pairs.size(); b++) {
          labels[b] = b % 2;
          row.setLong(1, b);
          row.setString(2, pairs.get(b).path("first").textValue());
          row.setString(3, pairs.get(b).path("second").textValue());
          row.setLong(4, labels[b]);
          row.execute();
          for (int t = 0; t < pairs.get(b).path("ids").size(); t++) {
            ids[b * POSITIONS + t] = pairs.get(b).path("ids").path(t).longValue();
            mask[b * POSITIONS + t] = 1;
          }
        }
      }
      sql.execute(
          "COPY (SELECT * FROM t ORDER BY i) TO '%s/train-00000-of-00001.parquet' (FORMAT parquet)"
              .formatted(glue));
    }
    Path tensors = folder.resolve("ids.safetensors");
    TestTensors.write(
        tensors,
        Map.of(
            "input_ids", matrix(ids, POSITIONS, "I64"),
            "attention_mask", matrix(mask, POSITIONS, "I64"),
            "labels", Tensor.of(labels)));
    Path model = folder.resolve("larger");
    TestRepositories.largerVocabulary(Path.of(model("cola")), model);
    List<TestTensors> written = new ArrayList<>();
    for (String data : List.of(glue + "#train", tensors.toString())) {
      Path out = folder.resolve("fisher-" + written.size() + ".safetensors");
      CommandResult result =
          CommandResult.run(
              "fisher",
              "--model",
              model.toString(),
              "--tokenizer",
              tokenizer.toString(),
              "--data",
              data,
              "--labels",
              "true",
              "--out",
              out.toString());
      assertThat(result.code()).isZero();
      if (data.contains("#")) {
        // The model is not this tokenizer's own.
        assertThat(result.err())
            .startsWith("warning: " + model + ": pad_token_id is ")
            .hasLineCount(1);
      }
      written.add(TestTensors.read(out));
    }
    assertThat(written.getFirst().metadata()).containsEntry("fisher_dataset", "rte#train");
    written
        .getFirst()
        .tensors()
        .forEach((name, tensor) ->
            assertThat(tensor.bytes()).as(name).isEqualTo(written.getLast().get(name).bytes()));
    CommandResult.run("evaluate", "--model", model.toString(), "--data", glue + "#train")
        .fails(1, model.toString(), "tokenizer.json", "--tokenizer");
  }

  // ---- merge ----

  @ParameterizedTest(name = "{0}")
  @CsvSource({
    "exact.normalize_true, exact",
    "batch_square.normalize_true, batch-square",
  })
  void mergeGivesFusionBenchsFormula(String variant, String labels) {
    Path out = folder.resolve("merged");
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "merge",
                "--base",
                Golden.path("gpt2-tiny/pretrained").toString(),
                "--out",
                out.toString()));
    for (String task : TASKS) {
      arguments.addAll(
          List.of("--model", model(task), "--fisher", fisherFile(task, labels).toString()));
    }
    CommandResult result = CommandResult.run(arguments).succeeds();
    assertThat(result.out()).contains("28 tensors merged from 2 models", "1 tensor");
    TestTensors merged = TestTensors.read(out);
    Map<String, Tensor> expected = EXPECTED_MERGED.under(variant + ".");
    assertThat(expected).hasSize(28);
    expected.forEach((name, wanted) ->
        TestTensors.assertClose(
            name, merged.get(name), 1, wanted, 1e-6 * TestTensors.largest(wanted.floats())));
    Tensor head = TestTensors.read(Golden.path("gpt2-tiny/pretrained")).get("score.weight");
    assertThat(merged.get("score.weight").bytes()).isEqualTo(head.bytes());
    // The merged backbone under another task's head, of another number of classes.
    CommandResult.run(
            "evaluate",
            "--model",
            out.toString(),
            "--classifier",
            model("mnli"),
            "--data",
            selector("mnli"))
        .succeeds();
  }

  // ---- bad input ----

  static Stream<Arguments> spoiltData() {
    return Stream.of(
        Arguments.of("mask shape", new String[] {"attention_mask", "[6, 11]", "[6, 12]"}),
        Arguments.of("mask value", new String[] {"row 2", "attention_mask", "is 2", "0 or 1"}),
        Arguments.of("hole", new String[] {"row 3", "token 1", "pad on the right"}),
        Arguments.of("left padding", new String[] {"row 1", "token 0", "pad on the right"}),
        Arguments.of("all masked", new String[] {"row 4", "no token"}),
        Arguments.of("all padding", new String[] {"row 4", "no token but padding"}),
        Arguments.of("vocabulary", new String[] {"row 5", "token 0", "id 97", "0 to 96"}),
        Arguments.of("negative", new String[] {"row 5", "token 0", "id -1", "0 to 96"}),
        Arguments.of("long", new String[] {"row 0", "41 tokens", "40", "truncate"}),
        Arguments.of("float ids", new String[] {"input_ids", "F32", "I64 or I32"}),
        Arguments.of("float mask", new String[] {"attention_mask", "F32"}),
        Arguments.of("one row", new String[] {"input_ids", "[72]", "[examples, tokens]"}),
        Arguments.of("labels", new String[] {"labels", "[5]"}),
        Arguments.of("no ids", new String[] {"no tensor", "input_ids", "pixel_values"}));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("spoiltData")
  void spoiltDataIsOneMessage(String kind, String[] fragments) throws IOException {
    Path data = TestTensors.write(folder.resolve("spoilt.safetensors"), spoilt(kind));
    String[] named = Arrays.copyOf(fragments, fragments.length + 1);
    named[fragments.length] = data.toString();
    for (String labels : List.of("exact", "batch-square")) {
      Path out = folder.resolve("out.safetensors");
      fisher(data.toString(), "cola", out, labels, 4, "--bad-rows", "stop").fails(1, named);
    }
    CommandResult.run(
            "evaluate", "--model", model("cola"), "--data", data.toString(), "--bad-rows", "stop")
        .fails(1, named);
    try (Stream<Path> left = Files.list(folder)) {
      assertThat(left).containsExactly(data);
    }
  }

  private static Map<String, Tensor> spoilt(String kind) {
    long[] ids = EXPECTED.get("cola.input_ids").longs();
    long[] mask = EXPECTED.get("cola.attention_mask").longs();
    Map<String, Tensor> tensors = new TreeMap<>();
    Tensor labels = EXPECTED.get("cola.labels");
    switch (kind) {
      case "mask value" -> mask[2 * TOKENS] = 2;
      case "hole" -> mask[3 * TOKENS + 1] = 0;
      case "left padding" -> mask[TOKENS] = 0;
      case "all masked" -> Arrays.fill(mask, 4 * TOKENS, 5 * TOKENS, 0);
      case "all padding" -> Arrays.fill(ids, 4 * TOKENS, 5 * TOKENS, PAD);
      case "vocabulary" -> ids[5 * TOKENS] = PAD + 1;
      case "negative" -> ids[5 * TOKENS] = -1;
      default -> {}
    }
    tensors.put("input_ids", matrix(ids, TOKENS, "I64"));
    tensors.put("attention_mask", matrix(mask, TOKENS, "I64"));
    tensors.put("labels", labels);
    switch (kind) {
      case "mask shape" ->
          tensors.put("attention_mask", matrix(Arrays.copyOf(mask, 66), 11, "I64"));
      case "long" -> {
        long[] wide = new long[6 * 41];
        Arrays.fill(wide, 3);
        tensors.put("input_ids", matrix(wide, 41, "I64"));
        tensors.remove("attention_mask");
      }
      case "float ids" ->
          tensors.put("input_ids", Tensor.of(List.of(6L, 12L), new float[6 * TOKENS]));
      case "float mask" ->
          tensors.put("attention_mask", Tensor.of(List.of(6L, 12L), new float[6 * TOKENS]));
      case "one row" -> {
        tensors.put("input_ids", Tensor.of(ids));
        tensors.remove("attention_mask");
        tensors.remove("labels");
      }
      case "labels" -> tensors.put("labels", labels.rows(0, 5));
      case "no ids" -> {
        tensors.put("pixel_values", tensors.get("input_ids"));
        tensors.remove("input_ids");
      }
      default -> {}
    }
    return tensors;
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "\"n_head\": 3 | \"n_head\": 5 | n_embd 24 ; n_head 5",
        "\"n_embd\": 24, | | wte.weight ; [97, 24] ; [97, 768]",
        "\"n_embd\": 24 | \"n_embd\": 24, \"hidden_size\": 48 | wte.weight ; [97, 24] ; [97, 48]",
        "\"n_layer\": 2 | \"n_layer\": 2.5 | n_layer is 2.5 ; positive integer",
        "\"use_cache\": true | \"num_labels\": 3 | score.weight has 2 classes ; states 3",
        "\"use_cache\": true | \"num_labels\": 2, \"id2label\": {\"0\": \"a\"} | states 1 (id2label",
        "1e-05 | Infinity | layer_norm_epsilon is ; expected a finite number",
        "\"use_cache\": true | \"pruned_heads\": {\"0\": [1]} | pruned_heads is {\"0\": [1]}",
        "\"n_layer\": 2 | \"n_layer\": \"2\" | n_layer is \"2\" ; positive integer",
        "\"gelu_new\" | \"tanhshrink\" | activation \"tanhshrink\"",
        "\"add_cross_attention\": false | \"add_cross_attention\": true | add_cross_attention",
        "\"scale_attn_weights\": true | \"scale_attn_weights\": 1 | scale_attn_weights is 1",
        "\"use_cache\": true | \"problem_type\": \"regression\" | problem_type is \"regression\"",
        "\"vocab_size\": 97 | \"vocab_size\": 98 | wte.weight ; [97, 24] ; [98, 24]",
        "\"n_inner\": null | \"n_inner\": 48 | c_fc.weight ; [24, 96] ; [24, 48]",
      })
  void aConfigurationThatDoesNotFitIsOneMessage(String from, String to, String fragments)
      throws IOException {
    Path spoilt = Files.createDirectory(folder.resolve("model"));
    Path original = Path.of(model("cola"));
    String config = Files.readString(original.resolve("config.json"));
    assertThat(config).contains(from);
    Files.writeString(spoilt.resolve("config.json"), config.replace(from, to == null ? "" : to));
    Files.copy(original.resolve("model.safetensors"), spoilt.resolve("model.safetensors"));
    List<String> expected = new ArrayList<>(List.of(fragments.split(" ; ")));
    expected.add(spoilt.toString());
    CommandResult.run("evaluate", "--model", spoilt.toString(), "--data", selector("cola"))
        .fails(1, expected.toArray(String[]::new));
  }

  @Test
  void theHeadMustFitTheBackbone() throws IOException {
    Path other = Files.createDirectory(folder.resolve("other"));
    Files.copy(Path.of(model("cola"), "config.json"), other.resolve("config.json"));
    TestTensors.write(
        other.resolve("model.safetensors"),
        Map.of("score.weight", Tensor.of(List.of(2L, 7L), new float[14])));
    CommandResult.run(
            "evaluate",
            "--model",
            model("cola"),
            "--classifier",
            other.toString(),
            "--data",
            selector("cola"))
        .fails(1, other.toString(), "7 wide", "24 wide");
  }

  @Test
  void optionsOfOtherModelsAreWrongUsage() {
    String clip = Golden.path("clip-tiny/alpha").toString();
    CommandResult.run("evaluate", "--model", clip, "--data", selector("cola"))
        .fails(2, "--clip=DIR", "--heads", "gpt2");
    CommandResult.run(
            "evaluate", "--model", clip, "--classifier", model("cola"), "--data", selector("cola"))
        .fails(2, "--classifier", "gpt2");
    CommandResult.run(
            "fisher",
            "--torchscript",
            "x.pt",
            "--classifier",
            model("cola"),
            "--data",
            selector("cola"),
            "--out",
            folder.resolve("x.safetensors").toString())
        .fails(2, "--classifier", "--torchscript");
  }

  // ---- what the tests share ----

  private static String model(String task) {
    return Golden.path("gpt2-tiny/" + task).toString();
  }

  private static String selector(String task) {
    return EXPECTED_FILE + "#" + task + ".";
  }

  private static CommandResult fisher(
      String data, String task, Path out, String labels, int batch, String... more) {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "fisher",
                "--model",
                model(task),
                "--data",
                data,
                "--labels",
                labels,
                "--batch-size",
                Integer.toString(batch),
                "--selection",
                "first",
                "--out",
                out.toString()));
    arguments.addAll(List.of(more));
    return CommandResult.run(arguments);
  }

  /** The Fisher file of a task, written by the command. */
  private static Path fisherFile(String task, String labels) {
    Path out = shared.resolve(task + "." + labels + ".safetensors");
    if (!Files.exists(out)) {
      fisher(selector(task), task, out, labels, 4).succeeds();
    }
    return out;
  }
}
