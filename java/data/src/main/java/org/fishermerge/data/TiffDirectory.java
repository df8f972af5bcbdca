package org.fishermerge.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** The first directory of tags of a TIFF or BigTIFF file, or of the EXIF data of a picture. */
final class TiffDirectory {
  private static final int SHORT = 3;
  private static final int LONG = 4;
  private static final int UNDEFINED = 7;

  /** Bytes per value of each type; types that do not exist have 0. */
  private static final int[] SIZES = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};

  /** Types of whole numbers. Pillow takes bytes (1) for text. */
  private static final Set<Integer> NUMBERS = Set.of(SHORT, LONG, 6, 8, 9, 16);

  /** Where the values of a tag are. */
  private record Entry(int type, long count, long at) {}

  private final ByteBuffer file;
  private final Map<Integer, Entry> entries = new TreeMap<>();

  private TiffDirectory(ByteBuffer file) {
    this.file = file;
  }

  /**
   * Reads the tags, without their values. As for Pillow, the directory ends with the first value
   * that lies beyond the end of the file.
   *
   * @throws IOException if the bytes do not begin as a TIFF file does
   */
  static TiffDirectory read(byte[] tiff) throws IOException {
    if (tiff.length < 8) {
      throw new IOException("the TIFF is cut off in its header");
    }
    ByteBuffer in = ByteBuffer.wrap(tiff);
    in.order(tiff[0] == 'I' ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
    // Some writers have the version in the other byte order than the rest.
    boolean big = tiff[2] + tiff[3] == 43;
    if ((tiff[0] != 'I' && tiff[0] != 'M')
        || tiff[1] != tiff[0]
        || (!big && tiff[2] + tiff[3] != 42)) {
      throw new IOException("not a TIFF header");
    }
    TiffDirectory directory = new TiffDirectory(in);
    long start = big ? in.getLong(8) : Integer.toUnsignedLong(in.getInt(4));
    int lead = big ? 8 : 2;
    int step = big ? 20 : 12;
    if (start < 8 || start + lead > tiff.length) {
      return directory;
    }
    long count = big ? in.getLong((int) start) : Short.toUnsignedInt(in.getShort((int) start));
    for (long i = 0; i < count && start + lead + (i + 1) * step <= tiff.length; i++) {
      if (!directory.add((int) (start + lead + i * step), big)) {
        break;
      }
    }
    return directory;
  }

  /** Returns false if the values lie outside of the file. */
  private boolean add(int at, boolean big) {
    int type = Short.toUnsignedInt(file.getShort(at + 2));
    long count = big ? file.getLong(at + 4) : Integer.toUnsignedLong(file.getInt(at + 4));
    int size = type < SIZES.length ? SIZES[type] : 0;
    if (size == 0 || count == 0) {
      return true;
    }
    if (count < 0 || count > file.capacity() / size) {
      return false;
    }
    int field = at + (big ? 12 : 8);
    long place = field;
    if (size * count > (big ? 8 : 4)) {
      place = big ? file.getLong(field) : Integer.toUnsignedLong(file.getInt(field));
    }
    if (place < 0 || place > file.capacity() - size * count) {
      return false;
    }
    entries.put(Short.toUnsignedInt(file.getShort(at)), new Entry(type, count, place));
    return true;
  }

  boolean bigEndian() {
    return file.order() == ByteOrder.BIG_ENDIAN;
  }

  /** Whether there are whole numbers under a tag. */
  boolean has(int tag) {
    Entry entry = entries.get(tag);
    return entry != null && NUMBERS.contains(entry.type);
  }

  /** The first value of a tag. */
  long value(int tag, long absent) {
    Entry entry = entries.get(tag);
    return entry == null || !NUMBERS.contains(entry.type) ? absent : value(entry, 0);
  }

  /** All values of a tag; none if there is no such tag. */
  long[] values(int tag) {
    Entry entry = entries.get(tag);
    if (entry == null || !NUMBERS.contains(entry.type)) {
      return new long[0];
    }
    long[] values = new long[(int) entry.count];
    for (int i = 0; i < values.length; i++) {
      values[i] = value(entry, i);
    }
    return values;
  }

  /** The bytes of a tag whose values are bytes; none if there is no such tag. */
  byte[] bytes(int tag) {
    Entry entry = entries.get(tag);
    if (entry == null || (entry.type != 1 && entry.type != 2 && entry.type != UNDEFINED)) {
      return new byte[0];
    }
    byte[] bytes = new byte[(int) entry.count];
    file.get((int) entry.at, bytes);
    return bytes;
  }

  private long value(Entry entry, int index) {
    int at = (int) entry.at + index * SIZES[entry.type];
    return switch (entry.type) {
      case 6 -> file.get(at);
      case SHORT -> Short.toUnsignedInt(file.getShort(at));
      case 8 -> file.getShort(at);
      case LONG -> Integer.toUnsignedLong(file.getInt(at));
      case 9 -> file.getInt(at);
      default -> file.getLong(at);
    };
  }

  /**
   * The same file with a directory of these tags only, as a plain TIFF with one page.
   *
   * @throws IOException if a value needs more than 32 bits
   */
  byte[] withOnly(Map<Integer, Field> tags) throws IOException {
    int start = file.capacity() + file.capacity() % 2;
    int farAt = start + 2 + 12 * tags.size() + 4;
    ByteBuffer table = ByteBuffer.allocate(farAt - start).order(file.order());
    List<byte[]> far = new ArrayList<>();
    table.putShort((short) tags.size());
    for (Map.Entry<Integer, Field> tag : new TreeMap<>(tags).entrySet()) {
      Field field = tag.getValue();
      table.putShort(tag.getKey().shortValue());
      table.putShort((short) field.type).putInt(field.values.length);
      byte[] packed = field.packed(file.order());
      if (packed.length <= 4) {
        table.put(Arrays.copyOf(packed, 4));
      } else {
        table.putInt(farAt);
        byte[] even = Arrays.copyOf(packed, packed.length + packed.length % 2);
        far.add(even);
        farAt += even.length;
      }
    }
    ByteBuffer out = ByteBuffer.allocate(farAt).order(file.order());
    out.put(0, file, 0, file.capacity());
    out.position(start);
    out.put(table.array());
    far.forEach(out::put);
    out.put(0, (byte) (bigEndian() ? 'M' : 'I')).put(1, out.get(0)).putShort(2, (short) 42);
    return out.putInt(4, start).array();
  }

  /** A tag's type and values, to be written. */
  record Field(int type, long... values) {
    static Field shorts(long... values) {
      return new Field(SHORT, values);
    }

    static Field longs(long... values) {
      return new Field(LONG, values);
    }

    static Field bytes(byte[] bytes) {
      long[] values = new long[bytes.length];
      Arrays.setAll(values, i -> bytes[i] & 0xff);
      return new Field(UNDEFINED, values);
    }

    byte[] packed(ByteOrder order) throws IOException {
      int size = type == LONG ? 4 : type == SHORT ? 2 : 1;
      ByteBuffer out = ByteBuffer.allocate(size * values.length).order(order);
      for (long value : values) {
        if (value >>> (8 * size) != 0) {
          throw new IOException("the TIFF has a size or place of more than 32 bits");
        }
        switch (size) {
          case 4 -> out.putInt((int) value);
          case 2 -> out.putShort((short) value);
          default -> out.put((byte) value);
        }
      }
      return out.array();
    }
  }
}
