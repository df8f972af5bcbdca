package org.fishermerge.testkit;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Writes safetensors files for tests, independently of the code under test. Nothing is checked:
 * dtypes, shapes and sizes may be wrong. As the reference implementation has it, wide elements lie
 * before narrow ones, so that all are aligned, then names are in order, and the header is padded to
 * 8 bytes.
 */
public final class SafetensorsBuilder {
  private record Entry(String name, String dtype, long[] shape, byte[] bytes) {
    long bytesPerElement() {
      return bytes.length / Math.max(1, Arrays.stream(shape).reduce(1, (a, b) -> a * b));
    }

    String json(long begin) {
      return "%s:{\"dtype\":%s,\"shape\":%s,\"data_offsets\":[%d,%d]}"
          .formatted(
              quoted(name),
              quoted(dtype),
              Arrays.toString(shape).replace(" ", ""),
              begin,
              begin + bytes.length);
    }
  }

  private static final Pattern TENSOR =
      Pattern.compile(
          "\"([^\"]+)\":\\{\"dtype\":\"(\\w+)\",\"shape\":\\[([\\d,]*)],\"data_offsets\":\\[(\\d+),(\\d+)]}");

  private static final Pattern COMMA = Pattern.compile(",");

  private final List<Entry> entries = new ArrayList<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();

  /** Adds a tensor whose bytes are given as they lie in the file. */
  public SafetensorsBuilder put(String name, String dtype, long[] shape, byte[] bytes) {
    entries.add(new Entry(name, dtype, shape, bytes));
    return this;
  }

  /** Adds a tensor of dtype F32. */
  public SafetensorsBuilder floats(String name, long[] shape, float... values) {
    return put(name, "F32", shape, bytes(values));
  }

  /** Adds a vector of dtype I64. */
  public SafetensorsBuilder longs(String name, long... values) {
    return put(name, "I64", new long[] {values.length}, bytes(values));
  }

  /** Adds the tensors of a file whose names begin with the prefix, without it. */
  public SafetensorsBuilder extract(Path file, String prefix) {
    try {
      byte[] bytes = Files.readAllBytes(file);
      int data = Math.toIntExact(8 + view(bytes).getLong());
      String header = new String(bytes, 8, data - 8, StandardCharsets.UTF_8).replace(" ", "");
      Matcher tensors = TENSOR.matcher(header);
      while (tensors.find()) {
        if (tensors.group(1).startsWith(prefix)) {
          put(
              tensors.group(1).substring(prefix.length()),
              tensors.group(2),
              COMMA
                  .splitAsStream(tensors.group(3))
                  .filter(size -> !size.isEmpty()) // a scalar has none
                  .mapToLong(Long::parseLong)
                  .toArray(),
              Arrays.copyOfRange(
                  bytes,
                  data + Integer.parseInt(tensors.group(4)),
                  data + Integer.parseInt(tensors.group(5))));
        }
      }
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Adds entries to {@code __metadata__}, which is left out while it is empty. */
  public SafetensorsBuilder metadata(Map<String, String> more) {
    metadata.putAll(more);
    return this;
  }

  /** Writes the file, whose folder must exist; returns it. */
  public Path write(Path file) {
    List<String> members = new ArrayList<>();
    if (!metadata.isEmpty()) {
      members.add(
          metadata.entrySet().stream()
              .map(e -> quoted(e.getKey()) + ":" + quoted(e.getValue()))
              .collect(Collectors.joining(",", "\"__metadata__\":{", "}")));
    }
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    entries.stream()
        .sorted(
            Comparator.comparingLong(Entry::bytesPerElement).reversed().thenComparing(Entry::name))
        .forEachOrdered(entry -> {
          members.add(entry.json(data.size()));
          data.writeBytes(entry.bytes());
        });
    byte[] json = ("{" + String.join(",", members) + "}").getBytes(StandardCharsets.UTF_8);
    byte[] header = Arrays.copyOf(json, Math.ceilDiv(json.length, 8) * 8);
    Arrays.fill(header, json.length, header.length, (byte) ' ');
    byte[] all = new byte[8 + header.length + data.size()];
    view(all).putLong(header.length).put(header).put(data.toByteArray());
    try {
      return Files.write(file, all);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The values as they lie in a file. */
  public static byte[] bytes(float... values) {
    byte[] bytes = new byte[Float.BYTES * values.length];
    view(bytes).asFloatBuffer().put(values);
    return bytes;
  }

  /** The values as they lie in a file. */
  public static byte[] bytes(long... values) {
    byte[] bytes = new byte[Long.BYTES * values.length];
    view(bytes).asLongBuffer().put(values);
    return bytes;
  }

  /** The bytes of a file, in which numbers are little-endian. */
  public static ByteBuffer view(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static String quoted(String text) {
    StringBuilder json = new StringBuilder("\"");
    text.chars()
        .forEach(c -> {
          if (c < ' ' || c == '"' || c == '\\') {
            json.append("\\u%04x".formatted(c));
          } else {
            json.append((char) c);
          }
        });
    return json.append('"').toString();
  }
}
