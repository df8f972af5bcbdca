package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.fishermerge.checkpoint.SafetensorsBytes.entry;
import static org.fishermerge.checkpoint.SafetensorsBytes.file;
import static org.fishermerge.checkpoint.SafetensorsBytes.write;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointTest {
  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "clip-tiny/alpha",
        "clip-tiny/beta",
        "clip-tiny/gamma",
        "clip-tiny/pretrained",
        "clip-tiny/expected.safetensors",
        "clip-tiny/expected_merged.safetensors",
        "clip_pixel_values.safetensors",
        "gpt2-tiny/cola",
        "gpt2-tiny/mnli",
        "gpt2-tiny/pretrained",
        "gpt2-tiny/expected.safetensors",
        "gpt2-tiny/expected_merged.safetensors"
      })
  void goldenFilesOpen(String path) {
    try (Checkpoint checkpoint = Checkpoint.open(Golden.path(path))) {
      assertThat(checkpoint.warnings()).isEmpty();
      assertThat(checkpoint.path()).isEqualTo(Golden.path(path));
      checkpoint
          .tensors()
          .forEach((name, tensor) ->
              assertThat(checkpoint.segment(name).byteSize())
                  .as(name)
                  .isEqualTo(tensor.info().byteCount()));
    }
  }

  @Test
  void prefixesAreDroppedAndBuffersKept() {
    try (Checkpoint alpha = Checkpoint.open(Golden.path("clip-tiny/alpha"));
        Checkpoint beta = Checkpoint.open(Golden.path("clip-tiny/beta"));
        Checkpoint cola = Checkpoint.open(Golden.path("gpt2-tiny/cola"))) {
      assertThat(alpha.has("embeddings.position_ids")).isFalse();
      CheckpointTensor ids = beta.tensor("embeddings.position_ids");
      assertThat(ids.info().name()).isEqualTo("vision_model.embeddings.position_ids");
      assertThat(ids.info().dtype()).isEqualTo(DType.I64);
      assertThat(beta.tensors().keySet())
          .containsAll(alpha.tensors().keySet())
          .hasSize(alpha.tensors().size() + 1);
      assertThat(cola.has("h.0.attn.c_attn.weight")).isTrue();
      assertThat(cola.has("score.weight")).isTrue();
      assertThat(alpha.config()).contains(Golden.path("clip-tiny/alpha/config.json"));
      assertThat(alpha.sibling("tokenizer.json")).isEmpty();
      assertThatThrownBy(() -> alpha.sibling("../beta/config.json"))
          .isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> alpha.tensor("embeddings.class_embeding"))
          .isInstanceOf(InputException.class)
          .hasMessageContainingAll("alpha", "nearest names are \"embeddings.class_embedding\"");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "vision_model.a.weight, a.weight",
    "transformer.h.0.weight, h.0.weight",
    "vision_model.transformer.a, transformer.a",
    "text_model.a, text_model.a",
    "a.vision_model.b, a.vision_model.b",
    "vision_model, vision_model",
  })
  void canonicalNames(String stored, String canonical) {
    assertThat(ParameterNames.canonical(stored)).isEqualTo(canonical);
  }

  @Test
  void twoSpellingsOfOneParameterAreRefused() {
    Path path =
        write(
            folder.resolve("a.safetensors"),
            file(
                "{"
                    + entry("vision_model.w", "U8", "[1]", 0, 1)
                    + ","
                    + entry("w", "U8", "[1]", 1, 2)
                    + "}",
                2));
    assertThatThrownBy(() -> Checkpoint.open(path))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(path.toString(), "\"vision_model.w\"", "\"w\"", "same parameter");
  }

  @Test
  void namesThatDifferInCaseOrNormalFormAreDifferentParameters() {
    Path path =
        write(
            folder.resolve("a.safetensors"),
            file(
                "{"
                    + entry("caf\u00e9", "U8", "[1]", 0, 1)
                    + ","
                    + entry("cafe\u0301", "U8", "[1]", 1, 2)
                    + ","
                    + entry("Cafe\u0301", "U8", "[1]", 2, 3)
                    + "}",
                3));
    try (Checkpoint checkpoint = Checkpoint.open(path)) {
      assertThat(checkpoint.tensors()).hasSize(3);
    }
  }

  @Test
  void floatsOfEveryFloatingPointTypeUnaligned() {
    ByteBuffer data = ByteBuffer.allocate(1 + 8 + 4 + 4 + 16).order(ByteOrder.LITTLE_ENDIAN);
    data.put((byte) 1);
    data.putFloat(1.5f).putFloat(Float.NaN);
    data.putShort(Float.floatToFloat16(-0.1f)).putShort((short) 0x0001);
    data.putShort((short) 0xc049).putShort((short) 0x7f80);
    data.putDouble(0.1).putDouble(-1e300);
    String json =
        "{"
            + String.join(
                ",",
                entry("u8", "U8", "[1]", 0, 1),
                entry("f32", "F32", "[2]", 1, 9),
                entry("f16", "F16", "[1,2]", 9, 13),
                entry("bf16", "BF16", "[2,1]", 13, 17),
                entry("f64", "F64", "[2]", 17, 33),
                entry("none", "F32", "[0,7]", 33, 33))
            + "}";
    Path path =
        write(
            folder.resolve("a.safetensors"),
            file(json.getBytes(StandardCharsets.UTF_8), data.array()));
    try (Checkpoint checkpoint = Checkpoint.open(path)) {
      assertThat(checkpoint.floats("f32")).containsExactly(1.5f, Float.NaN);
      assertThat(checkpoint.floats("f16")).containsExactly(-0.099975586f, 0x1p-24f);
      assertThat(checkpoint.floats("bf16")).containsExactly(-3.140625f, Float.POSITIVE_INFINITY);
      assertThat(checkpoint.floats("f64")).containsExactly(0.1f, Float.NEGATIVE_INFINITY);
      assertThat(checkpoint.floats("none")).isEmpty();
      assertThatThrownBy(() -> checkpoint.floats("u8"))
          .isInstanceOf(InputException.class)
          .hasMessageContainingAll(path.toString(), "\"u8\"", "U8");
    }
  }

  @Test
  void nothingIsMappedAfterClosing() {
    Checkpoint checkpoint = Checkpoint.open(Golden.path("clip-tiny/alpha"));
    var segment = checkpoint.segment("embeddings.class_embedding");
    checkpoint.close();
    checkpoint.close();
    assertThatThrownBy(() -> segment.get(ValueLayout.JAVA_BYTE, 0))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> checkpoint.segment("embeddings.class_embedding"))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aFileThatIsCutShortIsNamed() throws IOException {
    Path file = folder.resolve("model.safetensors");
    Files.copy(Golden.path("clip-tiny/alpha/model.safetensors"), file);
    try (Checkpoint checkpoint = Checkpoint.open(file);
        FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.truncate(4096);
      for (String name : checkpoint.tensors().keySet()) {
        assertThatThrownBy(() -> checkpoint.floats(name))
            .as(name)
            .isInstanceOf(InputException.class)
            .hasMessageStartingWith(file + ": changed while it was in use");
      }
    }
  }

  @Test
  void foldersWithoutSafetensors() {
    assertThatThrownBy(() -> Checkpoint.open(folder.resolve("none")))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("none", "no such file or folder");
    assertThatThrownBy(() -> Checkpoint.open(Path.of("~/model")))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("~/model", "no such file or folder", "only a shell replaces ~");
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(folder.toString(), "neither model.safetensors nor");
    Path adapter = write(folder.resolve("adapter_model.safetensors"), file("{}", 0));
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(folder.toString(), "PEFT adapter (adapter_model.safetensors)");
    assertThatThrownBy(() -> Checkpoint.open(adapter))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("holds no tensors");
    write(folder.resolve("optimizer.pt"), new byte[9]);
    write(folder.resolve("pytorch_model.bin"), new byte[9]);
    assertThatThrownBy(() -> Checkpoint.open(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(
            folder.resolve("pytorch_model.bin").toString(),
            "safe_serialization=True",
            "safetensors/convert");
  }

  // Hashes. The oracle writes the documented encoding out in full.

  private record Value(String name, DType dtype, List<Long> shape, ByteBuffer data) {}

  private static Value value(String name, DType dtype, List<Long> shape, long seed) {
    byte[] data = new byte[Math.toIntExact(TensorInfo.bytes(dtype, shape))];
    new Random(seed).nextBytes(data);
    return new Value(name, dtype, shape, ByteBuffer.wrap(data).asReadOnlyBuffer());
  }

  private static Path store(Path file, List<Value> values, String prefix) {
    StringBuilder json = new StringBuilder("{");
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    for (Value value : values) {
      byte[] bytes = bytes(value);
      json.append(json.length() == 1 ? "" : ",")
          .append(
              entry(
                  prefix + value.name(),
                  value.dtype().name(),
                  value.shape().toString(),
                  data.size(),
                  data.size() + bytes.length));
      data.writeBytes(bytes);
    }
    byte[] header = json.append('}').toString().getBytes(StandardCharsets.UTF_8);
    return write(file, file(header, data.toByteArray()));
  }

  private static byte[] bytes(Value value) {
    byte[] bytes = new byte[value.data().remaining()];
    value.data().duplicate().get(bytes);
    return bytes;
  }

  private static final List<Value> VALUES =
      List.of(
          value("b.weight", DType.F32, List.of(31L, 41L), 1),
          value("a.bias", DType.BF16, List.of(5L), 2),
          value("scale", DType.F64, List.of(), 3),
          value("\u00e9", DType.F16, List.of(3000L), 4),
          value("empty", DType.F32, List.of(0L, 3L), 5),
          value("position_ids", DType.I64, List.of(1L, 7L), 6));

  private static String oracle(List<Value> values, String scheme, int limit) throws Exception {
    var sorted = new TreeMap<String, Value>();
    // All names here are below U+0800, where String's order is that of UTF-8.
    values.forEach(value -> sorted.put(value.name(), value));
    sorted.remove("position_ids");
    ByteBuffer out = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN);
    out.put(scheme.getBytes(StandardCharsets.UTF_8)).put((byte) 0);
    for (Value value : sorted.values()) {
      byte[] name = value.name().getBytes(StandardCharsets.UTF_8);
      byte[] dtype = value.dtype().name().getBytes(StandardCharsets.UTF_8);
      byte[] data = bytes(value);
      out.putLong(name.length).put(name).putLong(dtype.length).put(dtype);
      out.putLong(value.shape().size());
      value.shape().forEach(out::putLong);
      out.putLong(data.length).put(Arrays.copyOf(data, Math.min(limit, data.length)));
    }
    byte[] encoded = Arrays.copyOf(out.array(), out.position());
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(encoded));
  }

  private static List<String> hashes(Path path) {
    try (Checkpoint checkpoint = Checkpoint.open(path)) {
      return List.of(checkpoint.tensorSha256(), checkpoint.fingerprint());
    }
  }

  @Test
  void hashesAreTheDocumentedOnes() throws Exception {
    Path path = store(folder.resolve("a.safetensors"), VALUES, "");
    assertThat(hashes(path))
        .containsExactly(
            oracle(VALUES, "fisher-merge tensors 1", Integer.MAX_VALUE),
            oracle(VALUES, "fisher-merge fingerprint 1", 4096));
  }

  @Test
  void hashesDoNotDependOnPrefixOrderShardsOrBuffers() throws IOException {
    List<String> expected = hashes(store(folder.resolve("a.safetensors"), VALUES, ""));
    assertThat(hashes(store(folder.resolve("b.safetensors"), VALUES.reversed(), "vision_model.")))
        .isEqualTo(expected);
    assertThat(hashes(store(folder.resolve("c.safetensors"), VALUES.subList(0, 5), "")))
        .isEqualTo(expected);
    Path sharded = Files.createDirectory(folder.resolve("sharded"));
    store(sharded.resolve("model-00001-of-00002.safetensors"), VALUES.subList(0, 2), "");
    store(sharded.resolve("model-00002-of-00002.safetensors"), VALUES.subList(2, 6), "");
    StringBuilder index = new StringBuilder();
    for (int i = 0; i < VALUES.size(); i++) {
      index
          .append(i == 0 ? "" : ",")
          .append('"' + VALUES.get(i).name() + "\":\"model-0000")
          .append((i < 2 ? 1 : 2) + "-of-00002.safetensors\"");
    }
    Files.writeString(
        sharded.resolve("model.safetensors.index.json"), "{\"weight_map\":{" + index + "}}");
    assertThat(hashes(sharded)).isEqualTo(expected);
  }

  @Test
  void hashesChangeWithEveryBitNameTypeAndShape() {
    List<String> expected = hashes(store(folder.resolve("a.safetensors"), VALUES, ""));
    Value first = VALUES.getFirst();
    byte[] oneBit = bytes(first);
    oneBit[17] ^= 1;
    byte[] lateBit = bytes(first);
    lateBit[lateBit.length - 1] ^= 1;
    List<Value> others =
        List.of(
            new Value(first.name(), first.dtype(), first.shape(), ByteBuffer.wrap(oneBit)),
            new Value("b.weighs", first.dtype(), first.shape(), first.data()),
            new Value(first.name(), first.dtype(), List.of(41L, 31L), first.data()),
            new Value(first.name(), DType.F16, List.of(31L, 82L), first.data()));
    for (Value other : others) {
      List<String> changed = hashes(storeInsteadOfFirst(other));
      assertThat(changed.get(0)).isNotEqualTo(expected.get(0));
      assertThat(changed.get(1)).isNotEqualTo(expected.get(1));
    }
    List<String> changedLate =
        hashes(
            storeInsteadOfFirst(
                new Value(first.name(), first.dtype(), first.shape(), ByteBuffer.wrap(lateBit))));
    assertThat(changedLate.get(0)).isNotEqualTo(expected.get(0));
    assertThat(changedLate.get(1)).as("beyond the first 4096 bytes").isEqualTo(expected.get(1));
  }

  private Path storeInsteadOfFirst(Value value) {
    List<Value> values = new ArrayList<>(VALUES);
    values.set(0, value);
    return store(folder.resolve("changed.safetensors"), values, "");
  }
}
