package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.fishermerge.testkit.SafetensorsBuilder;

/**
 * The tensors and metadata of a safetensors file, read without the code under test: what a command
 * wrote is what another program finds.
 */
record TestTensors(Map<String, Tensor> tensors, Map<String, String> metadata) {
  /** One tensor; its data as in the file. */
  record Tensor(String dtype, List<Long> shape, byte[] bytes) {
    static Tensor of(List<Long> shape, float... values) {
      return new Tensor("F32", shape, SafetensorsBuilder.bytes(values));
    }

    static Tensor of(long... values) {
      return new Tensor("I64", List.of((long) values.length), SafetensorsBuilder.bytes(values));
    }

    /** Tensors of one dtype and row shape, laid end to end along the first dimension. */
    static Tensor concat(List<Tensor> parts) {
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      parts.forEach(part -> bytes.writeBytes(part.bytes()));
      List<Long> shape = new ArrayList<>(parts.getFirst().shape());
      shape.set(0, parts.stream().mapToLong(part -> part.shape().getFirst()).sum());
      return new Tensor(parts.getFirst().dtype(), shape, bytes.toByteArray());
    }

    float[] floats() {
      assertThat(dtype).isEqualTo("F32");
      float[] values = new float[bytes.length / Float.BYTES];
      ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
      return values;
    }

    long[] longs() {
      assertThat(dtype).isEqualTo("I64");
      long[] values = new long[bytes.length / Long.BYTES];
      ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asLongBuffer().get(values);
      return values;
    }

    /** Rows {@code from} to {@code to}, exclusive, of the first dimension. */
    Tensor rows(int from, int to) {
      int row = bytes.length / Math.toIntExact(shape.getFirst());
      List<Long> part = new ArrayList<>(shape);
      part.set(0, (long) (to - from));
      return new Tensor(dtype, part, Arrays.copyOfRange(bytes, from * row, to * row));
    }
  }

  /** Reads a file, or the one file of a model folder. */
  static TestTensors read(Path fileOrFolder) {
    Path file =
        Files.isDirectory(fileOrFolder) ? fileOrFolder.resolve("model.safetensors") : fileOrFolder;
    try {
      ByteBuffer all = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
      int length = Math.toIntExact(all.getLong(0));
      JsonNode header = new JsonMapper().readTree(all.array(), Long.BYTES, length);
      Map<String, Tensor> tensors = new TreeMap<>();
      Map<String, String> metadata = new TreeMap<>();
      header
          .properties()
          .forEach(entry -> {
            JsonNode value = entry.getValue();
            if (entry.getKey().equals("__metadata__")) {
              value.properties().forEach(e -> metadata.put(e.getKey(), e.getValue().textValue()));
              return;
            }
            List<Long> shape = new ArrayList<>();
            value.path("shape").forEach(size -> shape.add(size.longValue()));
            int data = Long.BYTES + length;
            tensors.put(
                entry.getKey(),
                new Tensor(
                    value.path("dtype").textValue(),
                    shape,
                    Arrays.copyOfRange(
                        all.array(),
                        data + value.path("data_offsets").path(0).intValue(),
                        data + value.path("data_offsets").path(1).intValue())));
          });
      return new TestTensors(tensors, metadata);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  Tensor get(String name) {
    Tensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new AssertionError("no tensor " + name + " in " + tensors.keySet());
    }
    return tensor;
  }

  /** The tensors whose names start so, under the rest of their names. */
  Map<String, Tensor> under(String prefix) {
    return tensors.entrySet().stream()
        .filter(e -> e.getKey().startsWith(prefix))
        .collect(
            Collectors.toMap(
                e -> e.getKey().substring(prefix.length()),
                Map.Entry::getValue,
                (a, b) -> a,
                TreeMap::new));
  }

  /** The same tensors under other names. */
  static Map<String, Tensor> renamed(Map<String, Tensor> tensors, UnaryOperator<String> naming) {
    Map<String, Tensor> renamed = new TreeMap<>();
    tensors.forEach((name, tensor) -> renamed.put(naming.apply(name), tensor));
    return renamed;
  }

  static Path write(Path file, Map<String, Tensor> tensors) {
    SafetensorsBuilder builder = new SafetensorsBuilder();
    tensors.forEach((name, tensor) ->
        builder.put(
            name,
            tensor.dtype(),
            tensor.shape().stream().mapToLong(Long::longValue).toArray(),
            tensor.bytes()));
    return builder.write(file);
  }

  static double largest(float[] values) {
    double largest = 0;
    for (float value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }

  /** Shape equal, and every value times {@code scale} within {@code bound} of the expected one. */
  static void assertClose(String what, Tensor actual, double scale, Tensor expected, double bound) {
    assertThat(actual.shape()).as(what).isEqualTo(expected.shape());
    float[] ours = actual.floats();
    float[] theirs = expected.floats();
    for (int j = 0; j < theirs.length; j++) {
      // Negated, so that NaN fails.
      if (!(Math.abs(ours[j] * scale - theirs[j]) <= bound)) {
        throw new AssertionError(
            "%s[%d] is %s, expected %s +- %s"
                .formatted(what, j, ours[j] * scale, theirs[j], bound));
      }
    }
  }
}
