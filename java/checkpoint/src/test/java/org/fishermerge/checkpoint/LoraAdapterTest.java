package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Adapters on a base of two layers; what PEFT makes of them is tested with the commands. */
final class LoraAdapterTest {
  private static final int SEED = 7;
  private static final int RANK = 6;
  private static final String A = ".lora_A.weight";
  private static final String B = ".lora_B.weight";
  private static final String UP = "layers.0.up";
  private static final String DOWN = "layers.0.down";

  @TempDir Path folder;
  private Path base = Path.of("");
  private Path adapter = Path.of("");
  private final Map<String, float[]> data = new TreeMap<>();

  @BeforeEach
  void writeModels() throws IOException {
    base = Files.createDirectories(folder.resolve("base"));
    adapter = Files.createDirectories(folder.resolve("adapter"));
    writeBase(DType.F32);
    writeAdapter(tensors());
    config("");
  }

  /** A layer of 37 outputs and 53 inputs, and one back; sizes that divide no block. */
  private void writeBase(DType dtype) throws IOException {
    Map<String, List<Long>> shapes = new TreeMap<>();
    shapes.put(UP + ".weight", List.of(37L, 53L));
    shapes.put(UP + ".bias", List.of(37L));
    shapes.put(DOWN + ".weight", List.of(53L, 37L));
    write(base.resolve("model.safetensors"), dtype, shapes);
  }

  private static Map<String, List<Long>> tensors() {
    Map<String, List<Long>> shapes = new TreeMap<>();
    for (String layer : List.of(UP, DOWN)) {
      boolean up = layer.equals(UP);
      shapes.put("base_model.model." + layer + A, List.of((long) RANK, up ? 53L : 37L));
      shapes.put("base_model.model." + layer + B, List.of(up ? 37L : 53L, (long) RANK));
    }
    return shapes;
  }

  private void writeAdapter(Map<String, List<Long>> shapes) throws IOException {
    write(adapter.resolve("adapter_model.safetensors"), DType.F32, shapes);
  }

  private void config(String more) throws IOException {
    configText(
        "{\"peft_type\": \"LORA\", \"r\": %d, \"lora_alpha\": 9, \"target_modules\": [\"up\", \"down\"]%s}"
            .formatted(RANK, more));
  }

  private void configText(String text) throws IOException {
    Files.writeString(adapter.resolve("adapter_config.json"), text);
  }

  private void write(Path file, DType dtype, Map<String, List<Long>> shapes) throws IOException {
    Files.deleteIfExists(file);
    Random random = new Random(SEED + shapes.size());
    List<SafetensorsWriter.Declared> declared =
        shapes.entrySet().stream()
            .map(e -> new SafetensorsWriter.Declared(e.getKey(), dtype, e.getValue()))
            .toList();
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, declared, Map.of())) {
      for (SafetensorsWriter.Declared tensor : declared) {
        float[] values = new float[(int) TensorInfo.elements(tensor.shape())];
        for (int i = 0; i < values.length; i++) {
          // A quarter of a small whole number is exact in every dtype.
          values[i] = (random.nextInt(65) - 32) / 4f;
        }
        Values.store(values, dtype, writer.segment(tensor.name()));
        data.put(tensor.name(), values);
      }
      writer.finish();
    }
  }

  private Path adapted() {
    return Path.of(base + "+" + adapter);
  }

  // ---- values ----

  @ParameterizedTest
  @ValueSource(strings = {"F32", "F64", "F16", "BF16"})
  void addsTheScaledProductToTheWeight(DType dtype) throws IOException {
    writeBase(dtype);
    try (Checkpoint checkpoint = Checkpoint.open(adapted())) {
      float[] weight = Objects.requireNonNull(data.get(UP + ".weight"));
      float[] a = Objects.requireNonNull(data.get("base_model.model." + UP + A));
      float[] b = Objects.requireNonNull(data.get("base_model.model." + UP + B));
      float[] ours = checkpoint.floats(UP + ".weight");
      for (int i = 0; i < 37; i++) {
        for (int j = 0; j < 53; j++) {
          double sum = weight[i * 53 + j];
          for (int k = 0; k < RANK; k++) {
            sum += 9.0 / RANK * b[i * RANK + k] * a[k * 53 + j];
          }
          // All of it is exact in fp32; the other dtypes round once, to nearest.
          double ulp =
              switch (dtype) {
                case F16 -> Math.ulp((float) sum) * (1 << 13);
                case BF16 -> Math.ulp((float) sum) * (1 << 16);
                default -> 0;
              };
          assertThat((double) ours[i * 53 + j]).as("%d %d", i, j).isCloseTo(sum, within(ulp / 2));
        }
      }
      assertThat(checkpoint.floats(UP + ".bias")).containsExactly(data.get(UP + ".bias"));
      assertThat(checkpoint.tensor(UP + ".weight").info().dtype()).isEqualTo(dtype);
    }
  }

  @Test
  void anyStretchHasTheSameBits() throws IOException {
    writeBase(DType.BF16);
    Random random = new Random(SEED);
    try (Checkpoint checkpoint = Checkpoint.open(adapted())) {
      for (String name : List.of(UP + ".weight", DOWN + ".weight")) {
        int count = 37 * 53;
        byte[] whole = new byte[count * 2];
        checkpoint.copy(name, 0, count, MemorySegment.ofArray(whole));
        for (int trial = 0; trial < 50; trial++) {
          int from = random.nextInt(count);
          int length = random.nextInt(count - from + 1);
          byte[] part = new byte[length * 2];
          checkpoint.copy(name, from, length, MemorySegment.ofArray(part));
          assertThat(part)
              .as("seed %d, %s from %d, %d", SEED, name, from, length)
              .containsExactly(Arrays.copyOfRange(whole, from * 2, 2 * (from + length)));
        }
      }
    }
  }

  @Test
  void hashesAreThoseOfTheModelWithTheseValues() throws IOException {
    Path merged = folder.resolve("merged.safetensors");
    try (Checkpoint checkpoint = Checkpoint.open(adapted())) {
      List<SafetensorsWriter.Declared> declared =
          checkpoint.tensors().values().stream()
              .map(t ->
                  new SafetensorsWriter.Declared(
                      t.info().name(), t.info().dtype(), t.info().shape()))
              .toList();
      try (SafetensorsWriter writer = SafetensorsWriter.create(merged, declared, Map.of())) {
        for (SafetensorsWriter.Declared tensor : declared) {
          Values.store(checkpoint.floats(tensor.name()), DType.F32, writer.segment(tensor.name()));
        }
        writer.finish();
      }
      try (Checkpoint stored = Checkpoint.open(merged);
          Checkpoint plain = Checkpoint.open(base)) {
        assertThat(checkpoint.tensorSha256()).isEqualTo(stored.tensorSha256());
        assertThat(checkpoint.fingerprint()).isEqualTo(stored.fingerprint());
        assertThat(checkpoint.fingerprint()).isNotEqualTo(plain.fingerprint());
      }
    }
  }

  @Test
  void namesMayHoldTheAdaptersNameAndLackThePrefixOfPeft() throws IOException {
    Map<String, List<Long>> shapes = new TreeMap<>();
    tensors()
        .forEach((name, shape) ->
            shapes.put(
                name.replace("base_model.model.", "model.").replace(".weight", ".default.weight"),
                shape));
    writeAdapter(shapes);
    try (Checkpoint checkpoint = Checkpoint.open(adapted())) {
      assertThat(checkpoint.isComputed(UP + ".weight")).isTrue();
      assertThat(checkpoint.isComputed(DOWN + ".weight")).isTrue();
    }
  }

  /** As PEFT's get_pattern_key: the first pattern that matches up to the end, from a dot on. */
  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = ';',
      value = {
        "{\"up\": 3, \"down\": 6}                ; 3.0",
        "{\"0.up\": 3}                           ; 3.0",
        "{\".*up\": 3, \"layers.0.up\": 5}       ; 3.0",
        "{\"^layers\\\\.\\\\d\\\\.(up|x)\": 3}   ; 3.0",
        "{\"p\": 3}                              ; 9.0",
        "{\"layers.0\": 3}                       ; 9.0",
        "{\"^up\": 3}                            ; 9.0",
        "{\"(?P<kind>up)\": 3}                   ; 3.0",
      })
  void alphaPatternsMatchAsInPeft(String pattern, double alpha) throws IOException {
    config(", \"alpha_pattern\": " + pattern);
    AdapterConfig read = AdapterConfig.read(adapter.resolve("adapter_config.json"));
    assertThat(read.alpha(UP)).isEqualTo(alpha);
    assertThat(read.scaling(UP)).isEqualTo(alpha / RANK);
  }

  // ---- refused ----

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "\"peft_type\": \"IA3\"                          | peft_type is \"IA3\"",
        "\"peft_type\": null                             | peft_type is null",
        "\"target_parameters\": [\"experts.up\"]         | target_parameters is",
        "\"layer_replication\": [[0, 1]]                 | layer_replication is",
        "\"trainable_token_indices\": [1]                | trainable_token_indices is",
        "\"alora_invocation_tokens\": [1, 2]             | alora_invocation_tokens is",
        "\"use_qalora\": true                            | use_qalora is true",
        "\"use_bdlora\": {\"nblocks\": 2}                | use_bdlora is",
        "\"kasa_config\": {\"x\": 1}                     | kasa_config is",
        "\"init_lora_weights\": \"pissa_niter_4\"        | init_lora_weights is \"pissa_niter_4\"",
        "\"init_lora_weights\": \"olora\"                | changes the base's weights too",
        "\"init_lora_weights\": \"loftq\"                | path_initial_model_for_weight_conversion",
        "\"use_rslora\": \"yes\"                         | use_rslora is \"yes\"; expected true or false",
        "\"lora_alpha\": NaN                             | lora_alpha is NaN",
        "\"rank_pattern\": {\"up\": 1.5}                 | rank_pattern holds the rank 1.5",
        "\"rank_pattern\": {\"up(\": 2}                  | which is no regular expression",
        "\"rank_pattern\": {\"up\": 3}                   | the rank is 3 by the configuration",
        "\"use_dora\": true                              | has no lora_magnitude_vector, but use_dora is true",
        "\"lora_bias\": true                             | has no lora_B.bias, but lora_bias is true",
        "\"target_modules\": 5                           | target_modules is 5;",
      })
  void refusesByName(String setting, String message) throws IOException {
    String key = setting.substring(0, setting.indexOf(':'));
    String rest =
        key.equals("\"peft_type\"")
            ? "\"r\": 6"
            : key.equals("\"target_modules\"") || key.equals("\"lora_alpha\"")
                ? "\"peft_type\": \"LORA\", \"r\": 6"
                : "\"peft_type\": \"LORA\", \"r\": 6, \"lora_alpha\": 9";
    configText("{" + rest + ", " + setting + "}");
    assertThatThrownBy(() -> Checkpoint.open(adapted()).close())
        .isInstanceOf(InputException.class)
        .hasMessageContaining(adapter.toString())
        .hasMessageContaining(message);
  }

  @ParameterizedTest
  @ValueSource(strings = {"gaussian", "eva", "orthogonal"})
  void howTrainingBeganDoesNotMatter(String begin) throws IOException {
    config(", \"init_lora_weights\": \"" + begin + "\", \"eva_config\": {\"rho\": 2.0}");
    Checkpoint.open(adapted()).close();
    config("");
    Checkpoint.open(adapted()).close();
  }

  @Test
  void unknownKeysAreSaid() throws IOException {
    config(", \"my_note\": 1");
    try (Checkpoint checkpoint = Checkpoint.open(adapted())) {
      assertThat(checkpoint.warnings())
          .singleElement()
          .asString()
          .contains("adapter_config.json", "my_note");
    }
  }

  @ParameterizedTest(name = "{1}")
  @CsvSource(
      delimiter = '|',
      value = {
        "base_model.model.layers.0.up.lora_B.weight    |        | has no lora_B; a layer needs both",
        "base_model.model.layers.0.down.lora_A.weight  |        | has no lora_A; a layer needs both",
        "| base_model.model.layers.9.up.weight         | but the base",
        "| base_model.model.layers.0.up.lora_E.weight  | of a kind of adapter that is not applied",
        "| base_model.model.layers.0.up.lora_A.other.weight | are the same matrix",
        "| base_model.model.wte.token_adapter.trainable_tokens_delta | not applied here",
        "| extra                                       | but the base",
      })
  void leavesNothingOut(@Nullable String removed, @Nullable String added, String message)
      throws IOException {
    Map<String, List<Long>> shapes = tensors();
    if (removed != null) {
      shapes.remove(removed);
    }
    if (added != null) {
      shapes.put(added, List.of(6L, 53L));
    }
    writeAdapter(shapes);
    assertThatThrownBy(() -> Checkpoint.open(adapted()).close())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("adapter_model.safetensors")
        .hasMessageContaining(message);
  }

  @Test
  void aLayerThatTheConfigurationAsksForInVainIsSaid() throws IOException {
    Map<String, List<Long>> shapes = tensors();
    shapes.keySet().removeIf(name -> name.contains(DOWN));
    writeAdapter(shapes);
    try (Checkpoint checkpoint = Checkpoint.open(adapted())) {
      assertThat(checkpoint.warnings())
          .singleElement()
          .asString()
          .contains("holds nothing for \"layers.0.down\", which target_modules");
    }
    for (String leave :
        List.of(
            "\"exclude_modules\": [\"down\"]",
            "\"exclude_modules\": \".*down\"",
            "\"modules_to_save\": [\"down\"]")) {
      config(", " + leave);
      try (Checkpoint checkpoint = Checkpoint.open(adapted())) {
        assertThat(checkpoint.warnings()).as(leave).isEmpty();
      }
    }
  }

  @Test
  void shapesMustFitTheBase() throws IOException {
    Map<String, List<Long>> shapes = tensors();
    shapes.put("base_model.model." + UP + A, List.of(6L, 52L));
    writeAdapter(shapes);
    assertThatThrownBy(() -> Checkpoint.open(adapted()).close())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("[6, 52]")
        .hasMessageContaining("does not fit the base's \"layers.0.up.weight\" [37, 53]");
  }

  @Test
  void aModelOfOtherLayersIsNotTheBase() throws IOException {
    write(
        base.resolve("model.safetensors"),
        DType.F32,
        Map.of("blocks.0.up.weight", List.of(37L, 53L)));
    config(", \"base_model_name_or_path\": \"org/two-layers\"");
    assertThatThrownBy(() -> Checkpoint.open(adapted()).close())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("has no such tensor; the nearest names are \"blocks.0.up.weight\"")
        .hasMessageContaining("org/two-layers");
  }

  @Test
  void quantisedWeightsAreNotAdapted() throws IOException {
    try (SafetensorsWriter writer =
        SafetensorsWriter.create(
            folder.resolve("q.safetensors"),
            List.of(
                new SafetensorsWriter.Declared(UP + ".weight", DType.I8, List.of(37L, 53L)),
                new SafetensorsWriter.Declared(DOWN + ".weight", DType.I8, List.of(53L, 37L))),
            Map.of())) {
      writer.finish();
    }
    assertThatThrownBy(
            () -> Checkpoint.open(Path.of(folder.resolve("q.safetensors") + "+" + adapter)).close())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("is I8, which an adapter cannot be applied to");
  }

  // ---- names ----

  @Test
  void anExistingPathWithAPlusIsThatPath() throws IOException {
    Path plus = Files.createDirectories(folder.resolve("a+b"));
    Files.copy(base.resolve("model.safetensors"), plus.resolve("model.safetensors"));
    assertThat(ModelPath.of(plus)).isEqualTo(new ModelPath(plus, plus, null));
    Path both = Path.of(plus + "+" + adapter);
    assertThat(ModelPath.of(both)).isEqualTo(new ModelPath(both, plus, adapter));
  }

  @Test
  void anAdapterAloneIsOnTheModelThatItNames() throws IOException {
    config(", \"base_model_name_or_path\": \"base\""); // beside it
    assertThat(ModelPath.of(adapter).base()).isEqualTo(base);
    config(", \"base_model_name_or_path\": \"" + base + "\"");
    Path file = adapter.resolve("adapter_model.safetensors");
    assertThat(ModelPath.of(file)).isEqualTo(new ModelPath(file, base, file));
    config(", \"base_model_name_or_path\": \"org/base\"");
    assertThatThrownBy(() -> ModelPath.of(adapter))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("a LoRA adapter of \"org/base\"")
        .hasMessageContaining("BASE+" + adapter);
    assertThat(ModelPath.of(adapter, base).base()).isEqualTo(base); // it has that name
    Path other = Files.createDirectories(folder.resolve("other"));
    assertThatThrownBy(() -> ModelPath.of(adapter, other)).isInstanceOf(InputException.class);
    config("");
    assertThatThrownBy(() -> ModelPath.of(adapter, base))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("names no base model");
  }

  @Test
  void saysWhichPartIsMissingOrInTheOthersPlace() {
    assertThatThrownBy(() -> Checkpoint.open(Path.of(base + "+" + folder + "/none")))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(base + " is there but not " + folder + "/none");
    assertThatThrownBy(() -> Checkpoint.open(Path.of(adapter + "+" + base)))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("the model comes first");
    assertThatThrownBy(() -> Checkpoint.open(Path.of(base + "+" + base)))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("is no LoRA adapter: it has no adapter_config.json");
  }

  @Test
  void picklesAndWeightsThatAreMissingAreSaid() throws IOException {
    Files.delete(adapter.resolve("adapter_model.safetensors"));
    assertThatThrownBy(() -> Checkpoint.open(adapted()))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("without its weights, adapter_model.safetensors");
    Files.writeString(adapter.resolve("adapter_model.bin"), "pickle");
    assertThatThrownBy(() -> Checkpoint.open(adapted()))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("adapter_model.bin: is a PyTorch pickle")
        .hasMessageContaining("save_pretrained");
  }

  @Test
  void matricesThatNobodyAppliedAreNoModel() throws IOException {
    Path alone = folder.resolve("lora.safetensors");
    Files.copy(adapter.resolve("adapter_model.safetensors"), alone);
    assertThatThrownBy(() -> Checkpoint.open(alone))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("holds LoRA matrices")
        .hasMessageContaining("BASE+ADAPTER");
    Map<String, List<Long>> shapes = tensors();
    shapes.put("base_model.model." + UP + ".base_layer.weight", List.of(37L, 53L));
    write(base.resolve("model.safetensors"), DType.F32, shapes);
    assertThatThrownBy(() -> Checkpoint.open(base))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("an adapter that is not merged into it");
  }
}
