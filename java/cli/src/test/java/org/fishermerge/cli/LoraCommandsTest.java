package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.testkit.Golden;
import org.fishermerge.testkit.TestHub;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * LoRA adapters wherever a model is named. The expected values in src/test/lora are PEFT's, made by
 * java/testkit/oracles/lora.py.
 */
final class LoraCommandsTest {
  private static final Path LORA = Path.of("src/test/lora").toAbsolutePath();
  private static final Path CLIP = Golden.path("clip-tiny/pretrained");
  private static final double TOLERANCE = 1e-6;

  @TempDir Path folder;

  private static String adapted(String base, String adapter) {
    return LORA.resolve(base) + "+" + LORA.resolve(adapter);
  }

  private static double[] values(Tensor tensor) {
    ByteBuffer data = ByteBuffer.wrap(tensor.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    int width = tensor.dtype().equals("F64") ? 8 : tensor.dtype().equals("F32") ? 4 : 2;
    double[] values = new double[tensor.bytes().length / width];
    for (int i = 0; i < values.length; i++) {
      values[i] =
          switch (tensor.dtype()) {
            case "F64" -> data.getDouble(8 * i);
            case "F32" -> data.getFloat(4 * i);
            case "BF16" -> Float.intBitsToFloat(data.getShort(2 * i) << 16);
            default -> throw new AssertionError(tensor.dtype());
          };
    }
    return values;
  }

  private static void assertClose(Path written, Map<String, Tensor> expected) {
    TestTensors found = TestTensors.read(written);
    assertThat(found.tensors().keySet()).isEqualTo(expected.keySet());
    expected.forEach((name, tensor) -> {
      double[] ours = values(found.get(name));
      double[] theirs = values(tensor);
      assertThat(found.get(name).shape()).as(name).isEqualTo(tensor.shape());
      for (int i = 0; i < theirs.length; i++) {
        assertThat(ours[i]).as("%s[%d]", name, i).isCloseTo(theirs[i], within(TOLERANCE));
      }
    });
  }

  // ---- against PEFT ----

  @ParameterizedTest(name = "{1}")
  @CsvSource({
    "clip, clip-patterns",
    "clip, clip-rslora",
    "clip, clip-dora",
    "clip, clip-conv",
    "clip, clip-layers",
    "gpt2, gpt2-seqcls",
    "gpt2, gpt2-embeddings",
    "gpt2, gpt2-dora",
    "gpt2-bf16, gpt2-bf16-adapter",
  })
  void anAdapterDoesWhatPeftMerges(String base, String adapter) {
    Path out = folder.resolve("out.safetensors");
    CommandResult.run(
            "average",
            "--base",
            LORA.resolve(base).toString(),
            "--model",
            adapted(base, adapter),
            "--out",
            out.toString())
        .succeeds();
    Map<String, Tensor> expected = new TreeMap<>(TestTensors.read(LORA.resolve(base)).tensors());
    Map<String, Tensor> changed =
        TestTensors.read(LORA.resolve(adapter + ".merged.safetensors")).tensors();
    assertThat(expected).containsKeys(changed.keySet().toArray(String[]::new));
    expected.putAll(changed);
    assertClose(out, expected);
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource({
    "clip, clip-patterns, clip-rslora, clip-tuned",
    "gpt2, gpt2-seqcls, gpt2-embeddings,",
  })
  void averagesWhatPeftMerges(String base, String first, String second, @Nullable String tuned) {
    Path out = folder.resolve("out.safetensors");
    List<String> line =
        new ArrayList<>(
            List.of(
                "average",
                "--base",
                LORA.resolve(base).toString(),
                "--model",
                adapted(base, first),
                "--model",
                LORA.resolve(second).toString(), // alone: it names its base
                "--out",
                out.toString()));
    if (tuned != null) {
      line.addAll(List.of("--model", LORA.resolve(tuned).toString()));
    }
    CommandResult.run(line).succeeds();
    assertClose(out, TestTensors.read(LORA.resolve(base + "-mean.safetensors")).tensors());
  }

  /** The base plus all of what one model changed is that model. */
  @Test
  void taskArithmeticAndAnAdaptedBase() throws IOException {
    Path whole = folder.resolve("whole.safetensors");
    String model = adapted("clip", "clip-patterns");
    CommandResult.run("average", "--base", model, "--model", model, "--out", whole.toString())
        .succeeds();
    Path added = folder.resolve("added");
    CommandResult.run(
            "task-arithmetic",
            "--base",
            LORA.resolve("clip").toString(),
            "--model",
            model,
            "--scaling-factor",
            "1",
            "--out",
            added.toString())
        .succeeds();
    assertClose(added, TestTensors.read(whole).tensors());
    assertThat(added.resolve("config.json"))
        .hasSameTextualContentAs(LORA.resolve("clip/config.json"));

    Path kept = folder.resolve("kept");
    CommandResult.run(
            "average",
            "--base",
            model,
            "--model",
            LORA.resolve("clip").toString(),
            "--exclude",
            ".*weight",
            "--out",
            kept.toString())
        .succeeds();
    TestTensors adaptedOnes = TestTensors.read(whole);
    TestTensors.read(kept)
        .tensors()
        .forEach((name, tensor) ->
            assertThat(tensor.bytes()).as(name).isEqualTo(adaptedOnes.get(name).bytes()));
  }

  // ---- case 13 ----

  @Test
  void case13() {
    Path input = Cases.copy("case-13", folder);
    List<byte[]> merged = new ArrayList<>();
    for (String adapter : List.of("adapter", "adapter/adapter_model.safetensors")) {
      Path out = input.resolve("out" + merged.size());
      CommandResult result =
          CommandResult.run(
              "average",
              "--base",
              input.resolve("base").toString(),
              "--model",
              input.resolve(adapter).toString(),
              "--model",
              input.resolve("beta").toString(),
              "--out",
              out.toString());
      assertThat(result.code()).isZero();
      // It has nothing for the second of the two layers that it is configured for.
      assertThat(result.err())
          .startsWith("warning: ")
          .contains("holds nothing for \"encoder.layers.1.self_attn.q_proj\"")
          .hasLineCount(1);
      merged.add(TestTensors.read(out).get("encoder.layers.0.self_attn.q_proj.weight").bytes());
    }
    assertThat(merged.get(0)).isEqualTo(merged.get(1));
    TestTensors base = TestTensors.read(input.resolve("base"));
    TestTensors beta = TestTensors.read(input.resolve("beta"));
    TestTensors lora = TestTensors.read(input.resolve("adapter/adapter_model.safetensors"));
    String layer = "encoder.layers.0.self_attn.q_proj";
    double[] a = values(lora.get("base_model.model." + layer + ".lora_A.weight"));
    double[] b = values(lora.get("base_model.model." + layer + ".lora_B.weight"));
    double[] before = values(base.get(layer + ".weight"));
    double[] other = values(beta.get("vision_model." + layer + ".weight"));
    double[] ours = values(TestTensors.read(input.resolve("out0")).get(layer + ".weight"));
    for (int i = 0; i < 24 * 24; i++) {
      double sum = before[i] + other[i];
      for (int k = 0; k < 4; k++) {
        sum += 8.0 / 4 * b[i / 24 * 4 + k] * a[k * 24 + i % 24];
      }
      assertThat(ours[i]).isCloseTo(sum / 2, within(TOLERANCE));
    }
  }

  @Test
  void anAdapterWhoseBaseIsElsewhereIsAskedFor() throws IOException {
    Path input = Cases.copy("case-13", folder);
    Path config = input.resolve("adapter/adapter_config.json");
    Files.writeString(
        config, Files.readString(config).replace("\"base\"", "\"openai/clip-vit-base-patch32\""));
    CommandResult.run(
            "average",
            "--base",
            input.resolve("base").toString(),
            "--model",
            input.resolve("adapter").toString(),
            "--out",
            input.resolve("out").toString())
        .fails(1, "LoRA adapter of \"openai/clip-vit-base-patch32\"", "BASE+");
    assertThat(input.resolve("out")).doesNotExist();
  }

  // ---- every command ----

  @Test
  void aFisherBelongsToTheAdaptedModel() throws IOException {
    Path adapter = adapterOfTheTinyModel();
    String model = CLIP + "+" + adapter;
    Path fisher = folder.resolve("fisher.safetensors");
    CommandResult.run(
            "fisher",
            "--model",
            model,
            "--clip",
            CLIP.toString(),
            "--heads",
            Golden.path("clip-tiny/expected.safetensors") + "#alpha.",
            "--data",
            Golden.path("clip-tiny/expected.safetensors") + "#alpha.",
            "--batch-size",
            "4",
            "--out",
            fisher.toString())
        .succeeds();
    String hash = hash(model);
    assertThat(TestTensors.read(fisher).metadata()).containsEntry("fisher_model_sha256", hash);
    assertThat(hash(CLIP.toString())).isNotEqualTo(hash);

    List<String> merge =
        new ArrayList<>(
            List.of(
                "merge",
                "--verify",
                "--base",
                CLIP.toString(),
                "--fisher",
                fisher.toString(),
                "--out",
                folder.resolve("merged").toString()));
    merge.addAll(4, List.of("--model", CLIP.toString()));
    CommandResult.run(merge).fails(1, "was not computed from " + CLIP);
    merge.set(5, model);
    CommandResult result = CommandResult.run(merge);
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(hash(folder.resolve("merged").toString())).isNotEqualTo(hash(CLIP.toString()));
    CommandResult.run(
            "evaluate",
            "--model",
            model,
            "--clip",
            CLIP.toString(),
            "--heads",
            Golden.path("clip-tiny/expected.safetensors") + "#alpha.",
            "--data",
            Golden.path("clip-tiny/expected.safetensors") + "#alpha.")
        .succeeds();
  }

  private static String hash(String model) {
    return CommandResult.run("inspect", "--hash", model)
        .succeeds()
        .out()
        .lines()
        .filter(line -> line.strip().startsWith("sha256 "))
        .map(line -> line.strip().substring("sha256 ".length()))
        .findFirst()
        .orElseThrow();
  }

  /** The one of case 13, which fits the tower of the tiny CLIP model. */
  private Path adapterOfTheTinyModel() throws IOException {
    Path adapter = Cases.copy("case-13", folder).resolve("adapter");
    Path config = adapter.resolve("adapter_config.json");
    Files.writeString(
        config,
        Files.readString(config)
            .replace(
                "\"target_modules\": [\"q_proj\"]",
                "\"target_modules\": [\"0.self_attn.q_proj\"]"));
    return adapter;
  }

  @Test
  void inspectTellsWhatAnAdapterHolds() {
    CommandResult result =
        CommandResult.run("inspect", LORA.resolve("clip-patterns").toString()).succeeds();
    assertThat(result.out())
        .contains(
            "LoRA adapter, 1 file",
            "16 tensors {F32=16}",
            "base model: clip",
            "adapts 8 layers: fc1 (2), fc2 (2), q_proj (2), v_proj (2)",
            "rank 5, alpha 8");
    assertThat(CommandResult.run("inspect", adapted("clip", "clip-patterns")).succeeds().out())
        .contains("model with a LoRA adapter applied, 2 files");
    CommandResult.run("inspect", "--hash", LORA.resolve("clip-patterns").toString())
        .fails(1, "--hash is of models");
  }

  @Test
  void anOutputMayNotReplaceAPartOfAnInput() {
    for (String part : List.of("clip", "clip-patterns")) {
      CommandResult.run(
              "average",
              "--overwrite",
              "--base",
              LORA.resolve("clip-tuned").toString(),
              "--model",
              adapted("clip", "clip-patterns"),
              "--out",
              LORA.resolve(part).toString())
          .fails(1, "must lie apart from the input");
    }
  }

  // ---- FusionBench's pools ----

  private static final String LOADER =
      """
        %s:
          _target_: fusion_bench.models.linearized.vision_model.load_lora_vision_model_hf
          base_model_name: %s
          peft_name: %s
      """;

  private List<String> pool(String base, String adapter, String merged) throws IOException {
    Path config = Files.createDirectories(folder.resolve("config/modelpool"));
    StringBuilder models = new StringBuilder();
    for (String task : List.of("one", "two")) {
      models.append(LOADER.formatted(task, base, adapter + task));
      models.append(merged.isEmpty() ? "" : "    merge_and_unload: " + merged + "\n");
    }
    Files.writeString(
        config.resolve("lora.yaml"),
        """
        _target_: fusion_bench.modelpool.CLIPVisionModelPool
        models:
          _pretrained_:
            _target_: fusion_bench.models.linearized.vision_model.load_fft_vision_model_hf
            model_name: %s
        %strain_datasets: null
        test_datasets: null
        """
            .formatted(base, models));
    return List.of(
        "--config-dir",
        folder.resolve("config").toString(),
        "method=simple_average",
        "modelpool=lora",
        "taskpool=dummy",
        "print_config=false",
        "path.root_dir=" + folder,
        "merged_model_save_path=" + folder.resolve("merged"));
  }

  /** The adapters under the names of two tasks. */
  private void adapters(Path one, Path two) throws IOException {
    copy("clip-patterns", one);
    copy("clip-rslora", two);
  }

  private static void copy(String name, Path target) throws IOException {
    Files.createDirectories(target);
    for (String file : List.of("adapter_config.json", "adapter_model.safetensors")) {
      Files.copy(LORA.resolve(name).resolve(file), target.resolve(file));
    }
  }

  @Test
  void aPoolOfAdaptersIsAveragedAsTheirProducts() throws IOException {
    adapters(folder.resolve("a_one"), folder.resolve("a_two"));
    String base = LORA.resolve("clip").toString();
    List<String> line = pool(base, folder.resolve("a_").toString(), "true");
    CommandResult result = CommandResult.run(line);
    assertThat(result.code()).as(result.err()).isZero();
    Path expected = folder.resolve("expected.safetensors");
    CommandResult.run(
            "average",
            "--base",
            base,
            "--model",
            adapted("clip", "clip-patterns"),
            "--model",
            adapted("clip", "clip-rslora"),
            "--out",
            expected.toString())
        .succeeds();
    assertClose(folder.resolve("merged"), TestTensors.read(expected).tensors());
  }

  @ParameterizedTest
  @CsvSource({"''", "false"})
  void factorsAreNotAveragedApart(String merged) throws IOException {
    adapters(folder.resolve("a_one"), folder.resolve("a_two"));
    CommandResult.run(
            pool(LORA.resolve("clip").toString(), folder.resolve("a_").toString(), merged))
        .fails(
            1, "modelpool.models.one.merge_and_unload is not true", "set merge_and_unload: true");
  }

  @Test
  void adaptersComeFromTheHub() throws IOException {
    Path repositories = folder.resolve("repositories");
    adapters(repositories.resolve("one"), repositories.resolve("two"));
    Files.writeString(repositories.resolve("one/README.md"), "not needed");
    Files.writeString(repositories.resolve("one/training_args.bin"), "not needed");
    try (TestHub hub = TestHub.start()) {
      hub.repository(TestHub.Kind.MODEL, "openai/clip", LORA.resolve("clip"));
      hub.repository(TestHub.Kind.MODEL, "tanganke/lora_one", repositories.resolve("one"));
      hub.repository(TestHub.Kind.MODEL, "tanganke/lora_two", repositories.resolve("two"));
      CommandResult result =
          CommandResult.run(
              Map.of("HF_ENDPOINT", hub.endpoint(), "HF_HOME", folder.resolve("hf").toString()),
              pool("openai/clip", "tanganke/lora_", "true"));
      assertThat(result.code()).as(result.err()).isZero();
      assertThat(hub.requests("GET", "adapter_model.safetensors")).isNotEmpty();
      assertThat(hub.requests("GET", "README.md")).isEmpty();
      assertThat(hub.requests("GET", "training_args.bin")).isEmpty();
    }
    JsonNode config = new JsonMapper().readTree(folder.resolve("merged/config.json").toFile());
    assertThat(config.path("model_type").textValue()).isEqualTo("clip_vision_model");
    assertThat(TestTensors.read(folder.resolve("merged")).tensors())
        .hasSameSizeAs(TestTensors.read(LORA.resolve("clip")).tensors());
  }

  @Test
  void linearisedAdaptersAreRefusedByName() throws IOException {
    List<String> line = pool("base", "adapter", "true");
    Path pool = folder.resolve("config/modelpool/lora.yaml");
    Files.writeString(
        pool, Files.readString(pool).replace("load_lora_vision", "load_l_lora_vision"));
    CommandResult.run(line).fails(1, "linearised LoRA models");
  }

  /** A rule that takes tensors whole holds what it computes of them, as the plan says. */
  @Test
  void thePlanCountsComputedTensors() throws IOException {
    Path base = LORA.resolve("clip");
    long plain = plannedMemory(base, LORA.resolve("clip-tuned").toString());
    long adapted = plannedMemory(base, adapted("clip", "clip-layers"));
    assertThat(adapted - plain)
        .isPositive()
        .isLessThanOrEqualTo(Files.size(base.resolve("model.safetensors")));
  }

  private long plannedMemory(Path base, String model) {
    String plan =
        CommandResult.run(
                "ties",
                "--density",
                "0.5",
                "--dry-run",
                "--base",
                base.toString(),
                "--model",
                model,
                "--out",
                folder.resolve("never").toString())
            .succeeds()
            .out();
    Matcher line = Pattern.compile("memory +([0-9,]+) bytes").matcher(plan);
    assertThat(line.find()).as(plan).isTrue();
    return Long.parseLong(line.group(1).replace(",", ""));
  }
}
