package org.fishermerge.data;

import com.google.flatbuffers.Table;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import org.apache.arrow.flatbuf.Endianness;
import org.apache.arrow.flatbuf.Field;
import org.apache.arrow.flatbuf.FixedSizeList;
import org.apache.arrow.flatbuf.FloatingPoint;
import org.apache.arrow.flatbuf.Int;
import org.apache.arrow.flatbuf.KeyValue;
import org.apache.arrow.flatbuf.Message;
import org.apache.arrow.flatbuf.MessageHeader;
import org.apache.arrow.flatbuf.Precision;
import org.apache.arrow.flatbuf.RecordBatch;
import org.apache.arrow.flatbuf.Schema;
import org.apache.arrow.flatbuf.Type;
import org.apache.arrow.flatbuf.Union;
import org.apache.arrow.flatbuf.UnionMode;
import org.jspecify.annotations.Nullable;

/**
 * A file of Arrow's interprocess format (https://arrow.apache.org/docs/format/Columnar.html), as a
 * stream or with the frame of a file around it: its columns, and where the parts of its batches of
 * rows are. Their bytes are read when they are asked for, each at its place: the file is not
 * mapped, for where another process cuts a mapped file short, the JVM dies of it, and no length in
 * it is believed that goes beyond its end.
 *
 * @param columns the tree of the columns
 * @param metadata what is written beside the columns
 * @param batches those that have rows, in order
 */
record ArrowFile(
    Path path, List<Column> columns, Map<String, String> metadata, List<Batch> batches) {
  private static final byte[] MAGIC = "ARROW1\0\0".getBytes(StandardCharsets.US_ASCII);
  private static final int CONTINUATION = -1;

  /** Of what describes a batch; those of real files are a few kB long. */
  private static final int MOST_DESCRIPTION = 64 << 20;

  private static final int DEEPEST = 32;

  /**
   * A column or a part of one.
   *
   * @param type of {@link Type}; NONE where only its place counts
   * @param bits of an integer or floating-point number
   * @param size of each list, where all are as long
   * @param node its place among the nodes of a batch, by which it is known
   * @param buffer the place of its first buffer
   * @param count of its buffers, without those of its parts
   */
  record Column(
      TableColumn shown,
      byte type,
      int bits,
      boolean signed,
      int size,
      int node,
      int buffer,
      int count,
      List<Column> parts) {
    String name() {
      return shown.name();
    }
  }

  /**
   * Rows that are stored together.
   *
   * @param body where their bytes begin in the file
   * @param nodes for each column or part of one its number of cells and how many are null
   * @param buffers for each where it begins in the body and how long it is
   */
  record Batch(long body, long rows, long[] nodes, long[] buffers) {
    long cells(Column column) {
      return nodes[2 * column.node];
    }

    long nulls(Column column) {
      return nodes[2 * column.node + 1];
    }

    /** Of a column and all of its parts. */
    long bytes(Column column) {
      long bytes = column.parts.stream().mapToLong(this::bytes).sum();
      for (int i = 0; i < column.count; i++) {
        bytes += length(column.buffer + i);
      }
      return bytes;
    }

    long start(int buffer) {
      return body + buffers[2 * buffer];
    }

    long length(int buffer) {
      return buffers[2 * buffer + 1];
    }
  }

  /** Reads what the file says of itself. */
  static ArrowFile open(Path path) throws IOException {
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      return new Opening(path, channel).file();
    }
  }

  /** The number of rows. */
  long rows() {
    return batches.stream().mapToLong(Batch::rows).sum();
  }

  List<TableColumn> shown() {
    return columns.stream().map(Column::shown).toList();
  }

  /** The columns on the way to a column or, behind a dot, to a field of a struct. */
  List<Column> way(String path) {
    for (Column column : columns) {
      if (column.name().equals(path)) {
        return List.of(column);
      }
    }
    int dot = path.lastIndexOf('.');
    if (dot > 0) {
      List<Column> above = way(path.substring(0, dot));
      for (Column part : above.getLast().parts) {
        if (part.name().equals(path.substring(dot + 1))) {
          List<Column> way = new ArrayList<>(above);
          way.add(part);
          return way;
        }
      }
    }
    throw new IllegalArgumentException("no column " + path);
  }

  private static ByteBuffer read(FileChannel channel, long at, int bytes) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    while (buffer.hasRemaining()) {
      if (channel.read(buffer, at + buffer.position()) < 0) {
        throw new EOFException("it ends early: it was cut short");
      }
    }
    return buffer.flip();
  }

  // ---- opening ----

  /** One opening of a file. */
  private static final class Opening {
    private final Path path;
    private final FileChannel channel;
    private final long length;
    private final List<Column> columns = new ArrayList<>();
    private final Map<String, String> metadata = new HashMap<>();
    private final List<Batch> batches = new ArrayList<>();
    private boolean described;
    private int nodes;
    private int buffers;

    Opening(Path path, FileChannel channel) throws IOException {
      this.path = path;
      this.channel = channel;
      this.length = channel.size();
    }

    ArrowFile file() throws IOException {
      long at = framed() ? MAGIC.length : 0;
      // A stream may end without saying so, where a description would begin.
      while (at < length) {
        at = message(at);
      }
      if (!described) {
        throw new IOException("it is empty");
      }
      return new ArrowFile(path, List.copyOf(columns), Map.copyOf(metadata), List.copyOf(batches));
    }

    private boolean framed() throws IOException {
      return length >= MAGIC.length
          && read(channel, 0, MAGIC.length).equals(ByteBuffer.wrap(MAGIC));
    }

    /** Reads a message; returns where the next one begins, or the file's end. */
    private long message(long start) throws IOException {
      long at = start;
      int bytes = readInt(at);
      at += Integer.BYTES;
      if (bytes == CONTINUATION) { // not in files from before 2019
        bytes = readInt(at);
        at += Integer.BYTES;
      }
      if (bytes == 0) {
        return length;
      }
      if (bytes < 0 || bytes > Math.min(MOST_DESCRIPTION, length - at)) {
        throw new IOException(
            start == 0 ? "it is no Arrow file" : "it ends early or is damaged at byte " + start);
      }
      Message message = Message.getRootAsMessage(read(channel, at, bytes));
      long body = at + bytes;
      if (message.bodyLength() < 0 || message.bodyLength() > length - body) {
        throw new IOException("it ends in the middle of its rows: it was cut short");
      }
      switch (message.headerType()) {
        case MessageHeader.Schema -> schema(part(new Schema(), message::header));
        case MessageHeader.RecordBatch ->
            batch(part(new RecordBatch(), message::header), body, message.bodyLength());
        case MessageHeader.DictionaryBatch -> {
          // Of columns that are not read.
        }
        default -> throw new IOException("it holds a message of unknown kind");
      }
      return body + message.bodyLength();
    }

    private int readInt(long at) throws IOException {
      return read(channel, at, Integer.BYTES).getInt();
    }

    /**
     * Reads a part of a message.
     *
     * @param read fills what it is given; null where there is nothing
     */
    private static <T extends Table> T part(T empty, Function<Table, @Nullable Table> read)
        throws IOException {
      if (read.apply(empty) == null) {
        throw new IOException("it is damaged");
      }
      return empty;
    }

    private void schema(Schema schema) throws IOException {
      if (described) {
        throw new IOException("it describes its columns twice");
      }
      described = true;
      if (schema.endianness() != Endianness.Little) {
        throw new IOException("its numbers are big-endian, which is not read");
      }
      for (int i = 0; i < schema.fieldsLength(); i++) {
        columns.add(column(schema.fields(i), 0));
      }
      for (int i = 0; i < schema.customMetadataLength(); i++) {
        KeyValue entry = schema.customMetadata(i);
        if (entry.key() != null && entry.value() != null) {
          metadata.put(entry.key(), entry.value());
        }
      }
    }

    private Column column(Field field, int depth) throws IOException {
      if (depth > DEEPEST) {
        throw new IOException("its columns are nested more than " + DEEPEST + " deep");
      }
      String name = Objects.requireNonNullElse(field.name(), "");
      boolean coded = field.dictionary() != null;
      byte type = coded ? Type.NONE : field.typeType();
      int node = nodes++;
      int buffer = buffers;
      int count = coded ? 2 : buffers(field, name);
      buffers += count;
      List<Column> parts = new ArrayList<>();
      for (int i = 0; !coded && i < field.childrenLength(); i++) {
        parts.add(column(field.children(i), depth + 1));
      }
      int bits = 0;
      boolean signed = true;
      int size = 0;
      switch (type) {
        case Type.Int -> {
          Int integer = part(new Int(), field::type);
          bits = integer.bitWidth();
          signed = integer.isSigned();
          if (bits != 8 && bits != 16 && bits != 32 && bits != 64) {
            throw new IOException("column " + name + " has integers of " + bits + " bits");
          }
        }
        case Type.FloatingPoint -> {
          FloatingPoint real = part(new FloatingPoint(), field::type);
          bits =
              switch (real.precision()) {
                case Precision.HALF -> 16;
                case Precision.SINGLE -> 32;
                default -> 64;
              };
        }
        case Type.FixedSizeList -> {
          FixedSizeList list = part(new FixedSizeList(), field::type);
          size = list.listSize();
        }
        default -> {
          // Nothing more to be known of it.
        }
      }
      TableColumn shown =
          new TableColumn(
              name,
              kind(type, parts),
              coded ? "values by number (a dictionary)" : typeName(type),
              parts.stream().map(Column::shown).toList());
      return new Column(shown, type, bits, signed, size, node, buffer, count, List.copyOf(parts));
    }

    private static TableColumn.Kind kind(byte type, List<Column> parts) {
      return switch (type) {
        case Type.Null, Type.Int -> TableColumn.Kind.INTEGER;
        case Type.FloatingPoint -> TableColumn.Kind.REAL;
        case Type.Bool -> TableColumn.Kind.BOOLEAN;
        case Type.Utf8, Type.LargeUtf8 -> TableColumn.Kind.TEXT;
        case Type.Binary, Type.LargeBinary -> TableColumn.Kind.BYTES;
        case Type.Struct_ -> TableColumn.Kind.STRUCT;
        case Type.List, Type.LargeList, Type.FixedSizeList ->
            parts.size() == 1 && parts.getFirst().type == Type.Int
                ? TableColumn.Kind.INTEGERS
                : TableColumn.Kind.OTHER;
        default -> TableColumn.Kind.OTHER;
      };
    }

    private static String typeName(byte type) {
      return type >= 0 && type < Type.names.length ? Type.name(type).replace("_", "") : "unknown";
    }

    /** How many buffers a column has itself. */
    private static int buffers(Field field, String name) throws IOException {
      return switch (field.typeType()) {
        case Type.Null, Type.RunEndEncoded -> 0;
        case Type.Struct_, Type.FixedSizeList -> 1;
        case Type.Binary,
            Type.LargeBinary,
            Type.Utf8,
            Type.LargeUtf8,
            Type.ListView,
            Type.LargeListView ->
            3;
        case Type.Union -> {
          Union union = part(new Union(), field::type);
          yield union.mode() == UnionMode.Dense ? 2 : 1;
        }
        case Type.Int,
            Type.FloatingPoint,
            Type.Bool,
            Type.Decimal,
            Type.Date,
            Type.Time,
            Type.Timestamp,
            Type.Interval,
            Type.List,
            Type.LargeList,
            Type.Map,
            Type.Duration,
            Type.FixedSizeBinary ->
            2;
        default ->
            throw new IOException(
                "column "
                    + name
                    + " is of type "
                    + typeName(field.typeType())
                    + ", which is not read; save the data set without it");
      };
    }

    private void batch(RecordBatch batch, long body, long bodyLength) throws IOException {
      if (!described) {
        throw new IOException("it holds rows before it describes its columns");
      }
      if (batch.compression() != null) {
        throw new IOException("its rows are compressed, which is not read; save it uncompressed");
      }
      if (batch.nodesLength() != nodes || batch.buffersLength() != buffers) {
        throw new IOException("its rows do not belong to its columns; it is damaged");
      }
      if (batch.length() < 0) {
        throw new IOException("it says that it has " + batch.length() + " rows; it is damaged");
      }
      if (batch.length() == 0) {
        return;
      }
      long[] ofNodes = new long[2 * nodes];
      for (int i = 0; i < nodes; i++) {
        ofNodes[2 * i] = batch.nodes(i).length();
        ofNodes[2 * i + 1] = batch.nodes(i).nullCount();
      }
      long[] ofBuffers = new long[2 * buffers];
      for (int i = 0; i < buffers; i++) {
        long start = batch.buffers(i).offset();
        long bytes = batch.buffers(i).length();
        if (start < 0 || bytes < 0 || start > bodyLength || bytes > bodyLength - start) {
          throw new IOException("its rows lie beyond its end; it is damaged");
        }
        ofBuffers[2 * i] = start;
        ofBuffers[2 * i + 1] = bytes;
      }
      Batch rows = new Batch(body, batch.length(), ofNodes, ofBuffers);
      for (Column column : columns) {
        if (rows.cells(column) != rows.rows) {
          throw new IOException("its columns are of different lengths; it is damaged");
        }
      }
      batches.add(rows);
    }
  }

  // ---- cells ----

  /** Reads cells of one batch. For one thread; to be closed. */
  static final class Reader implements AutoCloseable {
    private static final int WINDOW = 1 << 16;

    /** Above that a picture has more pixels than are decoded, whatever its format. */
    private static final int MOST_BYTES = 1 << 30;

    /** Part of a buffer that was read, for its next cells. */
    private record Window(long start, ByteBuffer bytes) {}

    private final FileChannel channel;
    private final Batch batch;
    private final Map<Integer, Window> windows = new HashMap<>();

    Reader(ArrowFile file, Batch batch) throws IOException {
      this.channel = FileChannel.open(file.path, StandardOpenOption.READ);
      this.batch = batch;
    }

    /** Some bytes of a buffer, by its place; those that are asked for begin where it stands. */
    private ByteBuffer at(int buffer, long offset, int bytes) throws IOException {
      Window window = windows.get(buffer);
      if (window == null
          || offset < window.start
          || offset + bytes > window.start + window.bytes.limit()) {
        long left = batch.length(buffer) - offset;
        if (offset < 0 || bytes > left) {
          throw new IOException("a cell lies beyond its column; it is damaged");
        }
        int more = (int) Math.min(Math.max(WINDOW, bytes), left);
        window = new Window(offset, read(channel, batch.start(buffer) + offset, more));
        windows.put(buffer, window);
      }
      return window.bytes.position((int) (offset - window.start));
    }

    /** Whether the cell of a column is null; {@code cell} counts from the batch's first. */
    boolean isNull(Column column, long cell) throws IOException {
      if (column.type == Type.Null) {
        return true;
      }
      if (cell >= batch.cells(column)) {
        throw new IOException("it has fewer cells than rows; it is damaged");
      }
      return batch.nulls(column) != 0
          && batch.length(column.buffer) > 0
          && (at(column.buffer, cell >> 3, 1).get() >> (cell & 7) & 1) == 0;
    }

    private static boolean isLarge(Column column) {
      return column.type == Type.LargeBinary
          || column.type == Type.LargeUtf8
          || column.type == Type.LargeList;
    }

    /** Where the content of a cell begins and ends in the column's next buffer or part. */
    private long[] range(Column column, long cell) throws IOException {
      if (column.type == Type.FixedSizeList) {
        if (column.size < 0) {
          throw new IOException("its lists are shorter than nothing; it is damaged");
        }
        return new long[] {cell * column.size, (cell + 1) * column.size};
      }
      boolean large = isLarge(column);
      int width = large ? Long.BYTES : Integer.BYTES;
      ByteBuffer pair = at(column.buffer + 1, cell * width, 2 * width);
      long first = large ? pair.getLong() : pair.getInt();
      long end = large ? pair.getLong() : pair.getInt();
      if (first < 0 || end < first || end - first > MOST_BYTES) {
        throw new IOException("the length of a cell makes no sense; it is damaged");
      }
      return new long[] {first, end};
    }

    /** The bytes of a cell that is not null. */
    byte[] bytes(Column column, long cell) throws IOException {
      long[] range = range(column, cell);
      int buffer = column.buffer + 2;
      if (range[1] > batch.length(buffer)) {
        throw new IOException("a cell lies beyond its column; it is damaged");
      }
      int length = (int) (range[1] - range[0]);
      byte[] bytes = new byte[length];
      if (length > WINDOW) {
        read(channel, batch.start(buffer) + range[0], length).get(bytes);
      } else if (length > 0) {
        at(buffer, range[0], length).get(bytes);
      }
      return bytes;
    }

    /** The integer of a cell that is not null; of 64 bits without a sign, as if it had one. */
    long integer(Column column, long cell) throws IOException {
      int width = column.bits / 8;
      ByteBuffer bytes = at(column.buffer + 1, cell * width, width);
      return switch (column.bits) {
        case 8 -> column.signed ? bytes.get() : bytes.get() & 0xFFL;
        case 16 -> column.signed ? bytes.getShort() : bytes.getShort() & 0xFFFFL;
        case 32 -> column.signed ? bytes.getInt() : bytes.getInt() & 0xFFFF_FFFFL;
        default -> bytes.getLong();
      };
    }

    /** The number of a cell that is not null. */
    double real(Column column, long cell) throws IOException {
      int width = column.bits / 8;
      ByteBuffer bytes = at(column.buffer + 1, cell * width, width);
      return switch (column.bits) {
        case 16 -> Float.float16ToFloat(bytes.getShort());
        case 32 -> bytes.getFloat();
        default -> bytes.getDouble();
      };
    }

    /** The boolean of a cell that is not null. */
    boolean isTrue(Column column, long cell) throws IOException {
      return (at(column.buffer + 1, cell >> 3, 1).get() >> (cell & 7) & 1) == 1;
    }

    /** The integers of a list that is not null; null if one of them is. */
    long @Nullable [] integers(Column column, long cell) throws IOException {
      long[] range = range(column, cell);
      Column part = column.parts.getFirst();
      if (range[1] > batch.cells(part)
          || range[1] > batch.length(part.buffer + 1) / (part.bits / 8)) {
        throw new IOException("a list lies beyond its column; it is damaged");
      }
      long[] values = new long[(int) (range[1] - range[0])];
      for (int i = 0; i < values.length; i++) {
        if (isNull(part, range[0] + i)) {
          return null;
        }
        values[i] = integer(part, range[0] + i);
      }
      return values;
    }

    @Override
    public void close() throws IOException {
      channel.close();
    }
  }
}
