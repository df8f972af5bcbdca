package org.fishermerge.data;

import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A walk over a Parquet file's footer before hardwood parses it. Hardwood believes the lengths that
 * it finds there: a few bytes can ask for all memory, or, as a list of 2^31 elements of no bytes
 * that it skips, for hours. Here a length must fit into the bytes that are left.
 *
 * <p>The footer is a struct in Thrift's compact protocol
 * (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
 */
final class ParquetFooter {
  private static final int MAGIC = 0x31524150; // PAR1, little-endian
  private static final int TAIL_BYTES = 8;

  /** Far more than a schema's own nesting costs: Parquet keeps that in a flat list. */
  private static final int MAX_DEPTH = 32;

  private static final int BOOLEAN = 2;
  private static final int BYTE = 3;
  private static final int INTEGER = 6;
  private static final int DOUBLE = 7;
  private static final int BINARY = 8;
  private static final int LIST = 9;
  private static final int SET = 10;
  private static final int MAP = 11;
  private static final int STRUCT = 12;

  private final ByteBuffer bytes;

  private ParquetFooter(ByteBuffer bytes) {
    this.bytes = bytes;
  }

  /** What is no Parquet file at all is left to hardwood, which says so. */
  static void check(ParquetInput file) throws IOException {
    long length = file.length();
    if (length < Integer.BYTES + TAIL_BYTES) {
      return;
    }
    ByteBuffer tail =
        file.readRange(length - TAIL_BYTES, TAIL_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    int footer = tail.getInt();
    if (tail.getInt() != MAGIC || footer < 0 || footer > length - TAIL_BYTES) {
      return;
    }
    try {
      new ParquetFooter(file.readRange(length - TAIL_BYTES - footer, footer)).skip(STRUCT, 0);
    } catch (BufferUnderflowException e) {
      throw new IOException("its footer ends in the middle of a value", e);
    }
  }

  private void skip(int type, int depth) throws IOException {
    if (depth > MAX_DEPTH) {
      throw new IOException("its footer is nested more than " + MAX_DEPTH + " deep");
    }
    switch (type) {
      case BYTE -> bytes.get();
      case BYTE + 1, BYTE + 2, INTEGER -> varint();
      case DOUBLE -> bytes.getLong();
      case BINARY -> {
        int length = count(varint());
        bytes.position(bytes.position() + length);
      }
      case LIST, SET -> {
        int header = bytes.get() & 0xFF;
        int size = header >> 4;
        skipAll(count(size == 15 ? varint() : size), depth, header & 15);
      }
      case MAP -> {
        int size = count(varint());
        if (size > 0) {
          int types = bytes.get() & 0xFF;
          skipAll(size, depth, types >> 4, types & 15);
        }
      }
      case STRUCT -> skipFields(depth);
      default -> throw new IOException("its footer holds a value of unknown type " + type);
    }
  }

  private void skipFields(int depth) throws IOException {
    for (int header = bytes.get() & 0xFF; header != 0; header = bytes.get() & 0xFF) {
      if (header >> 4 == 0) {
        varint(); // the field's number, where it is not a little higher than the last one's
      }
      int type = header & 15;
      if (type > BOOLEAN) { // a boolean field is its type
        skip(type, depth + 1);
      }
    }
  }

  private void skipAll(int size, int depth, int... types) throws IOException {
    for (int i = 0; i < size; i++) {
      for (int type : types) {
        // Parquet has no collections of booleans, and hardwood takes them to have no bytes.
        skip(type, depth + 1);
      }
    }
  }

  /** Each element, and each character, has one byte at least. */
  private int count(long size) throws IOException {
    if (size < 0 || size > bytes.remaining()) {
      throw new IOException(
          "its footer names %d values or characters where %d bytes are left"
              .formatted(size, bytes.remaining()));
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
    throw new IOException("its footer holds a number of more than 64 bits");
  }
}
