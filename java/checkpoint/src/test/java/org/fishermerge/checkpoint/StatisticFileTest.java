package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.fishermerge.checkpoint.SafetensorsBytes.entry;
import static org.fishermerge.checkpoint.SafetensorsBytes.file;
import static org.fishermerge.checkpoint.SafetensorsBytes.write;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class StatisticFileTest {
  private static final String HASH = "0123456789abcdef".repeat(4);
  private static final String OTHER_HASH = "f".repeat(64);
  private static final StatisticMetadata METADATA =
      new StatisticMetadata(
          6, "sampled:4", "mnist", "shuffled", "-42", HASH, OTHER_HASH, "fisher-merge 0.1.0");

  @TempDir Path folder;

  private Path store(String fileName, Map<String, String> metadata, Map<String, float[]> values) {
    Path path = folder.resolve(fileName);
    List<SafetensorsWriter.Declared> declared =
        values.entrySet().stream()
            .map(e ->
                new SafetensorsWriter.Declared(
                    e.getKey(), DType.F32, List.of((long) e.getValue().length)))
            .toList();
    try (SafetensorsWriter out = SafetensorsWriter.create(path, declared, metadata)) {
      values.forEach((name, floats) -> {
        MemorySegment segment = out.segment(name);
        for (int i = 0; i < floats.length; i++) {
          segment.setAtIndex(Values.F32, i, floats[i]);
        }
      });
      out.finish();
    }
    return path;
  }

  private Path store(String fileName, StatisticMetadata metadata, float... values) {
    return store(fileName, metadata.toMap(), Map.of("w", values));
  }

  @Test
  void metadataGoesRound() {
    Path path = store("f.safetensors", METADATA, 1f);
    assertThat(METADATA.toMap())
        .containsExactly(
            Map.entry("fisher_format", "1"),
            Map.entry("fisher_examples", "6"),
            Map.entry("fisher_labels", "sampled:4"),
            Map.entry("fisher_dataset", "mnist"),
            Map.entry("fisher_selection", "shuffled"),
            Map.entry("fisher_seed", "-42"),
            Map.entry("fisher_model_sha256", HASH),
            Map.entry("fisher_model_fingerprint", OTHER_HASH),
            Map.entry("fisher_tool", "fisher-merge 0.1.0"));
    try (StatisticFile file = StatisticFile.open(path)) {
      assertThat(file.metadata()).contains(METADATA);
      assertThat(file.examples()).isEqualTo(6);
      assertThat(file.path()).isEqualTo(path);
      assertThat(file.tensors().keySet()).containsExactly("w");
      assertThat(file.segment("w").byteSize()).isEqualTo(4);
    }
    StatisticMetadata least = new StatisticMetadata(1, "exact", null, null, null, null, null, null);
    assertThat(least.toMap()).hasSize(3);
    assertThat(StatisticMetadata.from(SafetensorsHeader.read(store("g.safetensors", least, 1f))))
        .contains(least);
  }

  @Test
  void aBareFileIsAMean() {
    Path path =
        store("bare.safetensors", Map.of("format", "pt"), Map.of("vision_model.w", new float[3]));
    try (StatisticFile file = StatisticFile.open(path)) {
      assertThat(file.metadata()).isEmpty();
      assertThat(file.examples()).isEqualTo(1);
      assertThat(file.tensors().keySet()).containsExactly("w");
    }
  }

  static Stream<Arguments> malformedMetadata() {
    return Stream.of(
        Arguments.of("fisher_format", null, "fisher_format is missing"),
        Arguments.of("fisher_format", "3", "fisher_format is \"3\", known are \"1\" and \"2\""),
        Arguments.of("fisher_format", "2", "is \"2\", but fisher_statistics is missing"),
        Arguments.of("fisher_statistics", "diagonal", "\"1\", which has no fisher_statistics"),
        Arguments.of("fisher_format", "", "fisher_format is \"\""),
        Arguments.of("fisher_examples", null, "fisher_examples is missing"),
        Arguments.of("fisher_examples", "", "found \"\""),
        Arguments.of("fisher_examples", "0", "1 or more, found 0"),
        Arguments.of("fisher_examples", "-1", "found \"-1\""),
        Arguments.of("fisher_examples", "+1", "found \"+1\""),
        Arguments.of("fisher_examples", "1.0", "found \"1.0\""),
        Arguments.of("fisher_examples", "1e3", "found \"1e3\""),
        Arguments.of("fisher_examples", " 1", "found \" 1\""),
        Arguments.of("fisher_examples", "\u0661", "found \"\u0661\""),
        Arguments.of("fisher_examples", "9223372036854775808", "found \"9223372036854775808\""),
        Arguments.of("fisher_labels", null, "fisher_labels is missing"),
        Arguments.of("fisher_labels", " ", "fisher_labels"),
        Arguments.of("fisher_seed", "x", "fisher_seed must be a whole number"),
        Arguments.of("fisher_seed", "1+", "fisher_seed must be a whole number"),
        Arguments.of("fisher_model_sha256", "abc", "fisher_model_sha256 must be 64"),
        Arguments.of("fisher_model_sha256", "F".repeat(64), "fisher_model_sha256 must be 64"),
        Arguments.of("fisher_model_fingerprint", "", "fisher_model_fingerprint must be 64"),
        Arguments.of("fisher_exmples", "6", "\"fisher_exmples\" is unknown"));
  }

  @ParameterizedTest
  @MethodSource
  void malformedMetadata(String key, @Nullable String value, String message) {
    Map<String, String> metadata = new LinkedHashMap<>(METADATA.toMap());
    if (value == null) {
      metadata.remove(key);
    } else {
      metadata.put(key, value);
    }
    Path path = store("f.safetensors", metadata, Map.of("w", new float[1]));
    assertThatThrownBy(() -> StatisticFile.open(path))
        .isExactlyInstanceOf(InputException.class)
        .hasMessageStartingWith(path + ": ")
        .hasMessageContaining(message);
  }

  // ---- factors of layers ----

  private static final StatisticLayout FACTORS =
      new StatisticLayout(
          EnumSet.of(StatisticKind.KRONECKER),
          Map.of("vision_model.a.weight", new LinearLayer(2, 1, false, 0)));

  private static final StatisticMetadata OF_FACTORS =
      new StatisticMetadata(3, "exact", null, null, null, HASH, null, null);

  private Path factors(String name, Map<String, String> metadata, float[] a, float[] g) {
    return store(name, metadata, Map.of("vision_model.a.kron_a", a, "vision_model.a.kron_g", g));
  }

  @Test
  void factorsGoRound() {
    Path path =
        factors(
            "k.safetensors", OF_FACTORS.toMap(FACTORS), new float[] {4}, new float[] {1, -2, 5});
    try (StatisticFile file = StatisticFile.open(path)) {
      assertThat(file.layout()).isEqualTo(FACTORS);
      assertThat(file.metadata()).contains(OF_FACTORS);
      assertThat(file.tensors()).as("no diagonal").isEmpty();
      assertThat(file.layer("a.weight")).contains(new LinearLayer(2, 1, false, 0));
      assertThat(file.layer("b.weight")).isEmpty();
      MemorySegment triangle = file.factor("a.weight", LayerFactor.GRADIENTS);
      assertThat(triangle.byteSize()).isEqualTo(3 * Float.BYTES);
      assertThat(triangle.getAtIndex(Values.F32, 1)).isEqualTo(-2);
    }
  }

  @Test
  void factorsAdd() {
    Path one =
        factors(
            "1.safetensors", OF_FACTORS.toMap(FACTORS), new float[] {4}, new float[] {1, -2, 5});
    Path two =
        factors(
            "2.safetensors", OF_FACTORS.toMap(FACTORS), new float[] {1}, new float[] {2, -3, 1});
    Path sum = folder.resolve("sum.safetensors");
    StatisticFile.add(List.of(one, two), sum, false, "test");
    try (StatisticFile file = StatisticFile.open(sum)) {
      assertThat(file.examples()).isEqualTo(6);
      assertThat(file.layout()).isEqualTo(FACTORS);
      assertThat(file.factor("a.weight", LayerFactor.GRADIENTS).toArray(Values.F32))
          .containsExactly(3, -5, 6);
    }
    Path diagonal = store("d.safetensors", OF_FACTORS, 1f);
    assertThatThrownBy(() ->
            StatisticFile.add(
                List.of(one, diagonal), folder.resolve("no.safetensors"), false, "test"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("d.safetensors");
  }

  static Stream<Arguments> malformedLayouts() {
    String layers =
        "{\"vision_model.a.weight\":{\"outputs\":2,\"inputs\":1,\"transposed\":false,\"tokens\":0}}";
    return Stream.of(
        Arguments.of("kronecker,none", layers, "\"kronecker,none\", known are diagonal, gram"),
        Arguments.of("", layers, "fisher_statistics is \"\""),
        Arguments.of("kronecker", "{}", "names no layer"),
        Arguments.of("diagonal", layers, "which has no fisher_layers"),
        Arguments.of("kronecker", "[]", "fisher_layers is no JSON object"),
        Arguments.of("kronecker", "{", "fisher_layers"),
        Arguments.of("kronecker", layers.replace("2", "3"), "F32 [6], the triangle of 3 rows"),
        Arguments.of("kronecker", layers.replace("2", "0"), "a layer of 0 outputs"),
        Arguments.of("kronecker", layers.replace("2", "4611686018427387904"), "outputs"),
        Arguments.of("kronecker", layers.replace("2", "99999999999999999999"), "fisher_layers"),
        Arguments.of("kronecker", layers.replace("2", "\"2\""), "nothing else, at \"vision"),
        Arguments.of("kronecker", layers.replace("tokens", "words"), "nothing else, at"),
        Arguments.of("kronecker", layers.replace("a.weight", "b.weight"), "vision_model.b.kron_a"),
        Arguments.of("gram,kronecker", layers, "vision_model.a.gram"));
  }

  @ParameterizedTest
  @MethodSource
  void malformedLayouts(String kinds, String layers, String message) {
    Map<String, String> metadata = new LinkedHashMap<>(OF_FACTORS.toMap(FACTORS));
    metadata.put("fisher_statistics", kinds);
    metadata.put("fisher_layers", layers);
    Path path = factors("k.safetensors", metadata, new float[] {4}, new float[] {1, -2, 5});
    assertThatThrownBy(() -> StatisticFile.open(path))
        .isExactlyInstanceOf(InputException.class)
        .hasMessageContaining(path.toString())
        .hasMessageContaining(message);
  }

  @Test
  void anythingElseIsNoFisherFile() throws IOException {
    Path integers =
        write(
            folder.resolve("i.safetensors"), file("{" + entry("ids", "I64", "[1]", 0, 8) + "}", 8));
    assertThatThrownBy(() -> StatisticFile.open(integers))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(integers.toString(), "\"ids\"", "I64", "no Fisher file");
    assertThatThrownBy(() -> StatisticFile.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(folder.toString(), "is a folder");
    Path empty = write(folder.resolve("e.safetensors"), file("{}", 0));
    assertThatThrownBy(() -> StatisticFile.open(empty))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("holds no tensors");
  }

  @Test
  void filesAdd() {
    long seed = 3;
    Random random = new Random(seed);
    // More than two chunks, and a rest.
    int size = (1 << 15) + 77;
    float[][] values = new float[3][size];
    for (float[] v : values) {
      for (int i = 0; i < size; i++) {
        v[i] = (float) Math.exp(random.nextGaussian() * 10);
      }
    }
    StatisticMetadata second =
        new StatisticMetadata(4, "sampled:4", "mnist", "first", null, HASH, OTHER_HASH, "other");
    StatisticMetadata third =
        new StatisticMetadata(10, "sampled:4", "svhn", "shuffled", "7", HASH, OTHER_HASH, null);
    List<Path> inputs =
        List.of(
            store("a.safetensors", METADATA.toMap(), Map.of("w", values[0], "b", new float[] {1})),
            store(
                "b.safetensors",
                second.toMap(),
                Map.of("vision_model.w", values[1], "b", new float[] {2})),
            store(
                "c.safetensors",
                third.toMap(),
                Map.of("w", values[2], "vision_model.b", new float[] {4})));
    Path out = folder.resolve("sum.safetensors");
    StatisticFile.add(inputs, out, false, "test");
    assertThat(StatisticMetadata.from(SafetensorsHeader.read(out)))
        .contains(
            new StatisticMetadata(
                20,
                "sampled:4",
                "mnist+svhn",
                "shuffled+first",
                "-42+7",
                HASH,
                OTHER_HASH,
                "test"));
    try (Checkpoint sum = Checkpoint.open(out)) {
      assertThat(sum.tensor("w").info().name()).isEqualTo("w");
      assertThat(sum.tensor("w").info().dtype()).isEqualTo(DType.F32);
      assertThat(sum.floats("b")).containsExactly(7f);
      float[] actual = sum.floats("w");
      for (int i = 0; i < size; i++) {
        assertThat(actual[i])
            .as("element %d, seed %d", i, seed)
            .isEqualTo((float) ((double) values[0][i] + values[1][i] + values[2][i]));
      }
    }
    // What was added can be added again, and replaced.
    StatisticFile.add(List.of(inputs.get(0), inputs.get(1)), out, true, "test");
    try (StatisticFile sum = StatisticFile.open(out)) {
      assertThat(sum.examples()).isEqualTo(10);
    }
  }

  /** A tied weight under the other of its names, or under both. */
  @Test
  void tiedNamesAdd() {
    String in = "transformer.wte.weight";
    String out = "lm_head.weight";
    Path a = store("a.safetensors", METADATA.toMap(), Map.of(in, new float[] {1, 2}));
    Path b = store("b.safetensors", METADATA.toMap(), Map.of(out, new float[] {10, 20}));
    Path c =
        store(
            "c.safetensors",
            METADATA.toMap(),
            Map.of(in, new float[] {100, 200}, out, new float[] {100, 200}));
    Path sum = folder.resolve("sum.safetensors");
    StatisticFile.add(List.of(a, b, c), sum, true, "test");
    try (Checkpoint added = Checkpoint.open(sum)) {
      assertThat(added.tensors()).hasSize(1);
      assertThat(added.floats("wte.weight")).containsExactly(111f, 222f);
    }
    StatisticFile.add(List.of(c, b, a), sum, true, "test");
    try (Checkpoint added = Checkpoint.open(sum)) {
      assertThat(added.tensors()).hasSize(2);
      for (CheckpointTensor tensor : added.tensors().values()) {
        assertThat(added.floats(tensor.canonicalName())).containsExactly(111f, 222f);
      }
    }
    Path apart =
        store(
            "apart.safetensors",
            METADATA.toMap(),
            Map.of(in, new float[] {1, 2}, out, new float[] {3, 4}));
    for (List<Path> files : List.of(List.of(apart, b), List.of(b, apart))) {
      assertThatThrownBy(() -> StatisticFile.add(files, sum, true, "test"))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("transformer.wte.weight");
    }
  }

  /** Each of the small ones would be lost if every addition were rounded to F32. */
  @Test
  void theSumIsRoundedOnce() {
    List<Path> inputs =
        List.of(
            store("a.safetensors", METADATA, 1f),
            store("b.safetensors", METADATA, 0x1p-25f),
            store("c.safetensors", METADATA, 0x1p-25f),
            store("d.safetensors", METADATA, 0x1p-25f));
    Path out = folder.resolve("sum.safetensors");
    StatisticFile.add(inputs, out, false, "test");
    try (Checkpoint sum = Checkpoint.open(out)) {
      assertThat(sum.floats("w")).containsExactly(1f + 0x1p-23f);
    }
  }

  @Test
  void halfPrecisionInputsAdd() {
    Map<String, String> metadata = METADATA.toMap();
    StringBuilder json = new StringBuilder("{\"__metadata__\":{");
    metadata.forEach((key, value) ->
        json.append(json.length() == 17 ? "" : ",").append("\"" + key + "\":\"" + value + "\""));
    json.append("},").append(entry("w", "BF16", "[1]", 0, 2)).append('}');
    byte[] bytes = file(json.toString(), 2);
    bytes[bytes.length - 1] = 0x3f;
    bytes[bytes.length - 2] = (byte) 0x80;
    Path half = write(folder.resolve("half.safetensors"), bytes);
    Path out = folder.resolve("sum.safetensors");
    StatisticFile.add(List.of(half, store("a.safetensors", METADATA, 0.25f)), out, false, "test");
    try (Checkpoint sum = Checkpoint.open(out)) {
      assertThat(sum.floats("w")).containsExactly(1.25f);
    }
  }

  private void assertRefused(List<Path> inputs, String... messageParts) {
    Path out = folder.resolve("sum.safetensors");
    assertThatThrownBy(() -> StatisticFile.add(inputs, out, false, "test"))
        .isExactlyInstanceOf(InputException.class)
        .hasMessageContainingAll(messageParts);
    assertThat(out).doesNotExist();
    assertThat(folder.toFile().list((dir, name) -> name.startsWith("."))).isEmpty();
  }

  static Stream<Arguments> otherOrigins() {
    UnaryOperator<StatisticMetadata> otherModel =
        m ->
            new StatisticMetadata(
                m.examples(), m.labels(), null, null, null, OTHER_HASH, null, null);
    UnaryOperator<StatisticMetadata> otherFingerprint =
        m -> new StatisticMetadata(m.examples(), m.labels(), null, null, null, HASH, HASH, null);
    UnaryOperator<StatisticMetadata> noHash =
        m -> new StatisticMetadata(m.examples(), m.labels(), null, null, null, null, null, null);
    UnaryOperator<StatisticMetadata> otherLabels =
        m -> new StatisticMetadata(m.examples(), "exact", null, null, null, HASH, null, null);
    UnaryOperator<StatisticMetadata> otherPrecision =
        m ->
            new StatisticMetadata(
                m.examples(), m.labels(), null, null, null, HASH, null, "bf16", null, null);
    return Stream.of(
        Arguments.of(otherModel, "is of another model than"),
        Arguments.of(otherPrecision, "was estimated in bf16, but"),
        Arguments.of(otherFingerprint, "is of another model than"),
        Arguments.of(noHash, "a hash of the model is missing"),
        Arguments.of(otherLabels, "\"exact\""));
  }

  @ParameterizedTest
  @MethodSource
  void otherOrigins(UnaryOperator<StatisticMetadata> change, String message) {
    Path a = store("a.safetensors", METADATA, 1f);
    Path b = store("b.safetensors", change.apply(METADATA), 1f);
    assertRefused(List.of(a, b), b + ": ", a.toString(), message);
  }

  @Test
  void bareRepeatedAndLoneFilesDoNotAdd() throws IOException {
    Path a = store("a.safetensors", METADATA, 1f);
    Path bare = store("bare.safetensors", Map.of(), Map.of("w", new float[1]));
    assertRefused(List.of(a, bare), bare + ": ", "has no Fisher metadata");
    assertRefused(List.of(bare, a), bare + ": ", "has no Fisher metadata");
    assertRefused(List.of(a), "two or more");
    assertRefused(List.of(a, a), a + ": is given twice", "count twice");
    Path link = Files.createSymbolicLink(folder.resolve("link.safetensors"), a);
    assertRefused(List.of(a, link), link + ": is given twice", "also as " + a);
    assertRefused(List.of(a, folder.resolve("none")), "none", "no such file");
    Path b = store("b.safetensors", METADATA, 1f);
    assertThatThrownBy(() -> StatisticFile.add(List.of(a, b), b, true, "test"))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(b.toString(), "apart from the input");
    assertThatThrownBy(() -> StatisticFile.add(List.of(a, b), bare, false, "test"))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(bare.toString(), "exists already");
  }

  @Test
  void otherTensorsDoNotAdd() {
    Path a = store("a.safetensors", METADATA, 1f, 2f);
    Path longer = store("b.safetensors", METADATA, 1f, 2f, 3f);
    Path renamed = store("c.safetensors", METADATA.toMap(), Map.of("v", new float[2]));
    Path more =
        store("d.safetensors", METADATA.toMap(), Map.of("w", new float[2], "v", new float[2]));
    assertRefused(List.of(a, longer), longer + ": ", "\"w\"", "[3]", "[2]");
    assertRefused(List.of(a, renamed), renamed + ": has no tensor \"w\"", a.toString());
    assertRefused(List.of(a, more), a + ": has no tensor \"v\"", more.toString());
  }

  static Stream<Arguments> valuesThatAreNoFisher() {
    return Stream.of(
        Arguments.of(Float.NaN, 1f, "NaN"),
        Arguments.of(Float.POSITIVE_INFINITY, 1f, "Infinity"),
        Arguments.of(Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, "NaN"),
        Arguments.of(Float.MAX_VALUE, Float.MAX_VALUE, "Infinity"),
        Arguments.of(-2f, 1f, "-1.0"));
  }

  @ParameterizedTest
  @MethodSource
  void valuesThatAreNoFisher(float first, float second, String found) {
    Path a = store("a.safetensors", METADATA, 0f, -0f, first, 1f);
    Path b = store("b.safetensors", METADATA, 0f, -0f, second, 1f);
    assertRefused(
        List.of(a, b), a.toString(), b.toString(), found, "element 2 of tensor \"w\"", "damaged");
  }
}
