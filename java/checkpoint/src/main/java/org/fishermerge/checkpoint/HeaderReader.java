package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.exc.InputCoercionException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Reads one header. Sizes are checked before memory is allocated for them. */
final class HeaderReader {
  /** The shortest take 8 bytes of the header, but a hundred of the heap. */
  private static final int MAX_METADATA = 100_000;

  private final Path file;
  private final long fileSize;
  private final long headerBytes;
  private final byte[] prefix;
  private final Map<String, String> metadata = new LinkedHashMap<>();
  private final List<TensorInfo> tensors = new ArrayList<>();

  private HeaderReader(Path file, long fileSize, long headerBytes, byte[] prefix) {
    this.file = file;
    this.fileSize = fileSize;
    this.headerBytes = headerBytes;
    this.prefix = prefix;
  }

  static SafetensorsHeader read(Path file) {
    InputFiles.requireRegular(file);
    if (LookAlike.isPickleName(file)) {
      throw LookAlike.pickleRefusal(file);
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      return read(file, channel);
    } catch (IOException e) {
      throw Messages.cannotRead(file, e);
    }
  }

  private static SafetensorsHeader read(Path file, FileChannel channel) throws IOException {
    long fileSize = channel.size();
    byte[] prefix =
        readFully(channel, 0, Math.toIntExact(Math.min(fileSize, LookAlike.PREFIX_BYTES)));
    if (fileSize == 0) {
      throw new InputException(file + ": is empty (0 bytes); download or write it again");
    }
    if (fileSize < SafetensorsHeader.LENGTH_BYTES) {
      throw new InputException(
          file
              + ": is too short for a safetensors file: expected at least 8 bytes for the length of"
              + " the header, found "
              + fileSize);
    }
    // Unsigned on disk: 2^63 and above come out negative here.
    long headerBytes = ByteBuffer.wrap(prefix).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    HeaderReader reader = new HeaderReader(file, fileSize, headerBytes, prefix);
    reader.checkLength();
    byte[] header =
        readFully(channel, SafetensorsHeader.LENGTH_BYTES, Math.toIntExact(headerBytes));
    reader.checkOpeningBrace(header);
    try (JsonParser parser = StrictJson.parser(header)) {
      reader.parse(parser);
    } catch (IOException e) {
      throw StrictJson.invalid(file, "the safetensors header", e);
    }
    return reader.validated();
  }

  private void checkLength() {
    if (headerBytes < 0 || headerBytes > SafetensorsHeader.MAX_HEADER_BYTES) {
      throw notSafetensors(
          String.format(
              Locale.ROOT,
              "the header claims to be %s bytes long, the limit is %d; the file is damaged or not"
                  + " safetensors",
              Long.toUnsignedString(headerBytes),
              SafetensorsHeader.MAX_HEADER_BYTES));
    }
    // No overflow: the header is at most MAX_HEADER_BYTES here.
    long needed = SafetensorsHeader.LENGTH_BYTES + headerBytes;
    if (needed > fileSize) {
      throw notSafetensors(
          "is cut off inside its header: expected at least "
              + Messages.bytes(needed)
              + ", found "
              + Messages.bytes(fileSize)
              + "; the download is incomplete, fetch the file again");
    }
    if (headerBytes < 2) {
      throw notSafetensors(
          "the header is "
              + Messages.bytes(headerBytes)
              + " long, too short for a JSON object; the file is damaged or not safetensors");
    }
  }

  private void checkOpeningBrace(byte[] header) {
    int i = 0;
    while (i < header.length && isJsonSpace(header[i])) {
      i++;
    }
    if (i < header.length && header[i] == '{') {
      return;
    }
    boolean byteOrderMark = i < header.length && header[i] == (byte) 0xEF;
    throw notSafetensors(
        "the safetensors header is not a JSON object: "
            + (byteOrderMark
                ? "it begins with a byte order mark or other non-ASCII text"
                : "it does not begin with {"));
  }

  private static boolean isJsonSpace(byte b) {
    return b == ' ' || b == '\t' || b == '\n' || b == '\r';
  }

  private InputException notSafetensors(String otherwise) {
    return new InputException(
        file
            + ": "
            + (beginsLikeHeader() ? otherwise : LookAlike.describe(prefix).orElse(otherwise)));
  }

  /**
   * A possible length and then a brace, or nothing: damaged safetensors rather than anything else.
   */
  private boolean beginsLikeHeader() {
    boolean possible = headerBytes >= 0 && headerBytes <= SafetensorsHeader.MAX_HEADER_BYTES;
    return possible
        && (prefix.length == SafetensorsHeader.LENGTH_BYTES
            || prefix[SafetensorsHeader.LENGTH_BYTES] == '{');
  }

  private void parse(JsonParser parser) throws IOException {
    parser.nextToken();
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String name = StrictJson.text(parser);
      parser.nextToken();
      if (name.equals(SafetensorsHeader.METADATA_KEY)) {
        parseMetadata(parser);
      } else {
        tensors.add(parseTensor(parser, name));
      }
    }
    StrictJson.expectEnd(parser);
  }

  private void parseMetadata(JsonParser parser) throws IOException {
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw problem("__metadata__ must be an object of strings, found " + found(parser));
    }
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = StrictJson.text(parser);
      if (parser.nextToken() != JsonToken.VALUE_STRING) {
        throw problem(
            "__metadata__ may hold only strings (and no tensor may have that name); the value of "
                + Messages.quote(key)
                + " is "
                + found(parser));
      }
      if (metadata.size() == MAX_METADATA) {
        throw problem("__metadata__ has more than " + MAX_METADATA + " entries");
      }
      metadata.put(key, StrictJson.text(parser));
    }
  }

  private TensorInfo parseTensor(JsonParser parser, String name) throws IOException {
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw problem(
          name, "must be an object with dtype, shape and data_offsets, found " + found(parser));
    }
    @Nullable DType dtype = null;
    @Nullable List<Long> shape = null;
    @Nullable List<Long> offsets = null;
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String field = StrictJson.text(parser);
      parser.nextToken();
      switch (field) {
        case "dtype" -> dtype = parseDtype(parser, name);
        case "shape" ->
            shape = parseNumbers(parser, name, "shape", SafetensorsHeader.MAX_RANK, "dimensions");
        case "data_offsets" -> offsets = parseNumbers(parser, name, "data_offsets", 2, "numbers");
        default ->
            throw problem(
                name,
                "has the unknown field "
                    + Messages.quote(field)
                    + "; only dtype, shape and data_offsets are allowed");
      }
    }
    if (dtype == null || shape == null || offsets == null) {
      String missing = dtype == null ? "dtype" : shape == null ? "shape" : "data_offsets";
      throw problem(name, "lacks the field \"" + missing + "\"");
    }
    if (offsets.size() != 2) {
      throw problem(name, "data_offsets must be two numbers, found " + offsets.size());
    }
    return new TensorInfo(name, dtype, shape, offsets.get(0), offsets.get(1));
  }

  private DType parseDtype(JsonParser parser, String name) throws IOException {
    if (parser.currentToken() != JsonToken.VALUE_STRING) {
      throw problem(name, "dtype must be a string, found " + found(parser));
    }
    String text = StrictJson.text(parser);
    return DType.named(text)
        .orElseThrow(() ->
            problem(
                name,
                "has the unknown dtype "
                    + Messages.quote(text)
                    + "; known are "
                    + Arrays.toString(DType.values())));
  }

  private List<Long> parseNumbers(
      JsonParser parser, String name, String field, int limit, String unit) throws IOException {
    if (parser.currentToken() != JsonToken.START_ARRAY) {
      throw problem(name, field + " must be an array of whole numbers, found " + found(parser));
    }
    List<Long> numbers = new ArrayList<>(4);
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT || parser.getText().startsWith("-")) {
        throw problem(
            name, field + " must hold whole numbers of 0 or more, found " + found(parser));
      }
      if (numbers.size() == limit) {
        throw problem(name, field + " has more than " + limit + " " + unit);
      }
      try {
        numbers.add(parser.getLongValue());
      } catch (InputCoercionException e) {
        throw problem(name, field + " holds " + found(parser) + ", which is over 2^63-1");
      }
    }
    return numbers;
  }

  private SafetensorsHeader validated() {
    tensors.sort(Comparator.comparingLong(TensorInfo::begin).thenComparingLong(TensorInfo::end));
    Map<String, TensorInfo> byName = LinkedHashMap.newLinkedHashMap(tensors.size());
    long position = 0;
    for (TensorInfo tensor : tensors) {
      checkSize(tensor);
      if (tensor.begin() != position) {
        throw problem(
            tensor.name(),
            tensor.begin() < position
                ? "begins at byte "
                    + tensor.begin()
                    + " of the data, inside the tensor before it, which ends at "
                    + position
                : "begins at byte "
                    + tensor.begin()
                    + " of the data, leaving a hole after byte "
                    + position);
      }
      position = tensor.end();
      byName.put(tensor.name(), tensor);
    }
    long dataOffset = SafetensorsHeader.LENGTH_BYTES + headerBytes;
    checkFileSize(dataOffset, position);
    return new SafetensorsHeader(file, metadata, byName, dataOffset, fileSize);
  }

  private void checkSize(TensorInfo tensor) {
    if (tensor.end() < tensor.begin()) {
      throw problem(
          tensor.name(),
          "data_offsets are reversed: [" + tensor.begin() + ", " + tensor.end() + "]");
    }
    long expected;
    try {
      expected = TensorInfo.bytes(tensor.dtype(), tensor.shape());
    } catch (ArithmeticException e) {
      throw problem(
          tensor.name(),
          tensor.dtype()
              + " "
              + Messages.firstLine(tensor.shapeText())
              + " is over 2^63-1 bits or not a whole number of bytes");
    }
    if (expected != tensor.byteCount()) {
      throw problem(
          tensor.name(),
          tensor.dtype()
              + " "
              + tensor.shapeText()
              + " takes "
              + Messages.bytes(expected)
              + ", but data_offsets give it "
              + Messages.bytes(tensor.byteCount()));
    }
  }

  private void checkFileSize(long dataOffset, long dataBytes) {
    long present = fileSize - dataOffset;
    if (present == dataBytes) {
      return;
    }
    if (present > dataBytes) {
      throw new InputException(
          file
              + ": has "
              + Messages.bytes(present - dataBytes)
              + " after the last tensor: expected "
              + Messages.bytes(dataOffset + dataBytes)
              + ", found "
              + Messages.bytes(fileSize)
              + "; the format forbids trailing data");
    }
    // dataBytes can be near 2^63: the sum is printed as unsigned, where it cannot overflow.
    throw new InputException(
        file
            + ": is cut off: expected "
            + (dataBytes > Long.MAX_VALUE - dataOffset
                ? Long.toUnsignedString(dataOffset + dataBytes) + " bytes"
                : Messages.bytes(dataOffset + dataBytes))
            + ", found "
            + Messages.bytes(fileSize)
            + "; the download is incomplete, fetch the file again");
  }

  private static byte[] readFully(FileChannel channel, long position, int count)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(count);
    while (buffer.hasRemaining()) {
      if (channel.read(buffer, position + buffer.position()) < 0) {
        throw new IOException("the file became shorter while it was read");
      }
    }
    return buffer.array();
  }

  private InputException problem(String what) {
    return new InputException(file + ": safetensors header: " + what);
  }

  private InputException problem(String tensor, String what) {
    return problem("tensor " + Messages.quote(tensor) + ": " + what);
  }

  private static String found(JsonParser parser) throws IOException {
    JsonToken token = parser.currentToken();
    if (token == null) {
      return "the end";
    }
    return switch (token) {
      case START_OBJECT -> "an object";
      case START_ARRAY -> "an array";
      case VALUE_STRING -> "the string " + Messages.quote(parser.getText());
      default -> Messages.firstLine(parser.getText());
    };
  }
}
