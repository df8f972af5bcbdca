package org.fishermerge.data;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** A safetensors writer of its own for tests. */
final class SafetensorsBytes {
  private final Map<String, String> entries = new LinkedHashMap<>();
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();

  SafetensorsBytes put(String name, String dtype, long[] shape, byte[] bytes) {
    entries.put(
        name,
        "{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
            .formatted(
                dtype,
                Arrays.toString(shape).replace(" ", ""),
                data.size(),
                data.size() + bytes.length));
    data.writeBytes(bytes);
    return this;
  }

  SafetensorsBytes floats(String name, long[] shape, float[] values) {
    byte[] bytes = new byte[4 * values.length];
    view(bytes).asFloatBuffer().put(values);
    return put(name, "F32", shape, bytes);
  }

  SafetensorsBytes longs(String name, long... values) {
    byte[] bytes = new byte[8 * values.length];
    view(bytes).asLongBuffer().put(values);
    return put(name, "I64", new long[] {values.length}, bytes);
  }

  Path write(Path file) throws IOException {
    StringBuilder header = new StringBuilder("{");
    entries.forEach((name, entry) ->
        header
            .append(header.length() > 1 ? "," : "")
            .append('"')
            .append(name)
            .append("\":")
            .append(entry));
    byte[] json = header.append('}').toString().getBytes(StandardCharsets.UTF_8);
    byte[] out = new byte[8 + json.length + data.size()];
    view(out).putLong(json.length).put(json).put(data.toByteArray());
    return Files.write(file, out);
  }

  /** The bytes as safetensors has them: little-endian. */
  static ByteBuffer view(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
