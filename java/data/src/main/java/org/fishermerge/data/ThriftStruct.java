package org.fishermerge.data;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * A struct in Thrift's compact protocol
 * (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md), which a
 * Parquet file's footer and page headers are: read, changed and written again, whatever its fields
 * mean. A length that it states must fit into the bytes that are left.
 */
final class ThriftStruct {
  private static final int TRUE = 1;
  private static final int FALSE = 2;
  private static final int BYTE = 3;
  private static final int INTEGER_32 = 5;
  private static final int INTEGER = 6;
  private static final int DOUBLE = 7;
  private static final int BINARY = 8;
  private static final int LIST = 9;
  private static final int SET = 10;
  private static final int MAP = 11;
  private static final int STRUCT = 12;

  /** Far more than a schema's own nesting costs: Parquet keeps that in a flat list. */
  private static final int MAX_DEPTH = 32;

  /** A value with its type; of a boolean the type is all there is. */
  private record Value(int type, Object content) {}

  /** Elements of a list, or keys and values of a map in turns. */
  private record Elements(int[] types, List<Object> contents) {}

  private final TreeMap<Integer, Value> fields = new TreeMap<>();

  /**
   * Reads one.
   *
   * @param bytes from its first byte on; afterwards at the end of it
   * @param what it is, for messages: its footer
   * @throws IOException if the bytes are none
   * @throws BufferUnderflowException if they end before it does
   */
  static ThriftStruct read(ByteBuffer bytes, String what) throws IOException {
    return new Reader(bytes, what).struct(0);
  }

  boolean has(int field) {
    return fields.containsKey(field);
  }

  OptionalLong integer(int field) {
    return content(field) instanceof Long number ? OptionalLong.of(number) : OptionalLong.empty();
  }

  boolean flag(int field, boolean absent) {
    return content(field) instanceof Boolean flag ? flag : absent;
  }

  Optional<ThriftStruct> struct(int field) {
    return content(field) instanceof ThriftStruct struct ? Optional.of(struct) : Optional.empty();
  }

  /** The structs of a list; none where it is no such list. */
  List<ThriftStruct> structs(int field) {
    List<ThriftStruct> structs = new ArrayList<>();
    for (Object element : elements(field)) {
      if (element instanceof ThriftStruct struct) {
        structs.add(struct);
      }
    }
    return structs;
  }

  /** The texts of a list. */
  List<String> texts(int field) {
    List<String> texts = new ArrayList<>();
    for (Object element : elements(field)) {
      if (element instanceof byte[] utf8) {
        texts.add(new String(utf8, StandardCharsets.UTF_8));
      }
    }
    return texts;
  }

  private List<Object> elements(int field) {
    return content(field) instanceof Elements list ? list.contents : List.of();
  }

  private @Nullable Object content(int field) {
    Value value = fields.get(field);
    return value == null ? null : value.content;
  }

  /** Sets a number, of 64 bits where the field was not there. */
  void set(int field, long number) {
    Value before = fields.get(field);
    fields.put(field, new Value(before == null ? INTEGER : before.type, number));
  }

  void set(int field, boolean flag) {
    fields.put(field, new Value(flag ? TRUE : FALSE, flag));
  }

  void set(int field, List<ThriftStruct> structs) {
    fields.put(field, new Value(LIST, new Elements(new int[] {STRUCT}, new ArrayList<>(structs))));
  }

  void remove(int... gone) {
    for (int field : gone) {
      fields.remove(field);
    }
  }

  byte[] bytes() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    write(this, out);
    return out.toByteArray();
  }

  // ---- reading ----

  private record Reader(ByteBuffer bytes, String what) {
    ThriftStruct struct(int depth) throws IOException {
      ThriftStruct struct = new ThriftStruct();
      int field = 0;
      for (int header = bytes.get() & 0xFF; header != 0; header = bytes.get() & 0xFF) {
        int step = header >> 4;
        field = step == 0 ? (int) zigzag(varint()) : field + step;
        int type = header & 15;
        Object content = type == TRUE || type == FALSE ? type == TRUE : value(type, depth + 1);
        struct.fields.put(field, new Value(type, content));
      }
      return struct;
    }

    private Object value(int type, int depth) throws IOException {
      if (depth > MAX_DEPTH) {
        throw new IOException(what + " is nested more than " + MAX_DEPTH + " deep");
      }
      return switch (type) {
        case BYTE -> bytes.get();
        case BYTE + 1, INTEGER_32, INTEGER -> zigzag(varint());
        case DOUBLE -> bytes.getLong();
        case BINARY -> {
          byte[] content = new byte[count(varint())];
          bytes.get(content);
          yield content;
        }
        case LIST, SET -> {
          int header = bytes.get() & 0xFF;
          int size = header >> 4;
          yield elements(count(size == 15 ? varint() : size), depth, header & 15);
        }
        case MAP -> {
          int size = count(varint());
          int types = size == 0 ? 0 : bytes.get() & 0xFF;
          yield elements(size, depth, types >> 4, types & 15);
        }
        case STRUCT -> struct(depth);
        default -> throw new IOException(what + " holds a value of unknown type " + type);
      };
    }

    private Elements elements(int size, int depth, int... types) throws IOException {
      List<Object> contents = new ArrayList<>();
      for (int i = 0; i < size; i++) {
        for (int type : types) {
          // Parquet has no collections of booleans, and hardwood takes them to have no bytes.
          contents.add(value(type, depth + 1));
        }
      }
      return new Elements(types, contents);
    }

    /** Each element, and each character, has one byte at least. */
    private int count(long size) throws IOException {
      if (size < 0 || size > bytes.remaining()) {
        throw new IOException(
            "%s names %d values or characters where %d bytes are left"
                .formatted(what, size, bytes.remaining()));
      }
      return (int) size;
    }

    private long varint() throws IOException {
      long value = 0;
      for (int shift = 0; shift < 64; shift += 7) {
        byte next = bytes.get();
        value |= (next & 0x7FL) << shift;
        if (next >= 0) {
          return value;
        }
      }
      throw new IOException(what + " holds a number of more than 64 bits");
    }
  }

  private static long zigzag(long value) {
    return value >>> 1 ^ -(value & 1);
  }

  // ---- writing ----

  private static void write(ThriftStruct struct, ByteArrayOutputStream out) {
    int last = 0;
    for (Map.Entry<Integer, Value> field : struct.fields.entrySet()) {
      int step = field.getKey() - last;
      last = field.getKey();
      Value value = field.getValue();
      if (step > 0 && step < 16) {
        out.write(step << 4 | value.type);
      } else {
        out.write(value.type);
        writeInteger(last, out);
      }
      if (value.type > FALSE) {
        write(value.type, value.content, out);
      }
    }
    out.write(0);
  }

  private static void write(int type, Object content, ByteArrayOutputStream out) {
    switch (content) {
      case Byte value -> out.write(value);
      case Long value when type == DOUBLE ->
          out.writeBytes(ByteBuffer.allocate(Long.BYTES).putLong(value).array());
      case Long value -> writeInteger(value, out);
      case byte[] value -> {
        writeVarint(value.length, out);
        out.writeBytes(value);
      }
      case Elements list when type == MAP -> {
        writeVarint(list.contents.size() / 2, out);
        if (!list.contents.isEmpty()) {
          out.write(list.types[0] << 4 | list.types[1]);
          writeAll(list, out);
        }
      }
      case Elements list -> {
        int size = list.contents.size();
        out.write(Math.min(size, 15) << 4 | list.types[0]);
        if (size >= 15) {
          writeVarint(size, out);
        }
        writeAll(list, out);
      }
      case ThriftStruct struct -> write(struct, out);
      default -> throw new IllegalStateException("type " + type);
    }
  }

  private static void writeAll(Elements list, ByteArrayOutputStream out) {
    for (int i = 0; i < list.contents.size(); i++) {
      write(list.types[i % list.types.length], list.contents.get(i), out);
    }
  }

  private static void writeInteger(long value, ByteArrayOutputStream out) {
    writeVarint(value << 1 ^ value >> 63, out);
  }

  private static void writeVarint(long value, ByteArrayOutputStream out) {
    long rest = value;
    while ((rest & ~0x7FL) != 0) {
      out.write((int) ((rest & 0x7F) | 0x80));
      rest >>>= 7;
    }
    out.write((int) rest);
  }
}
