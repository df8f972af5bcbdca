package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.fishermerge.checkpoint.SafetensorsBytes.concat;
import static org.fishermerge.checkpoint.SafetensorsBytes.entry;
import static org.fishermerge.checkpoint.SafetensorsBytes.file;
import static org.fishermerge.checkpoint.SafetensorsBytes.latin1;
import static org.fishermerge.checkpoint.SafetensorsBytes.length;
import static org.fishermerge.checkpoint.SafetensorsBytes.write;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsHeaderTest {
  /** Of the longest headers in megabytes; {@code -Psoak} takes 100, the most that is allowed. */
  private static final int LONGEST = Integer.getInteger("fishermerge.header-megabytes", 10);

  @TempDir Path folder;

  record Malformed(String what, Supplier<byte[]> bytes, List<String> messageParts) {
    @Override
    public String toString() {
      return what;
    }
  }

  private static Malformed bad(String what, byte[] bytes, String... messageParts) {
    return new Malformed(what, () -> bytes, List.of(messageParts));
  }

  /** A header that is wrong as JSON or in one entry; data is as long as a right one would need. */
  private static Malformed header(String what, String json, String... messageParts) {
    return bad(what, file(json, 4), messageParts);
  }

  /** A wrong entry for the tensor "t"; one F32 element would be right. */
  private static Malformed tensor(String what, String fields, String... messageParts) {
    return header(what, "{\"t\":{" + fields + "}}", messageParts);
  }

  static Stream<Malformed> malformed() {
    String good = entry("t", "F32", "[1]", 0, 4);
    return Stream.of(
        // The length.
        bad("empty file", new byte[0], "is empty"),
        bad("7 bytes", new byte[7], "expected at least 8 bytes", "found 7"),
        bad("length 0", length(0), "header is 0 bytes long"),
        bad("length 1", concat(length(1), latin1("{")), "header is 1 byte long"),
        bad(
            "length beyond the file",
            concat(length(100), latin1("{}")),
            "expected at least 108 bytes",
            "found 10 bytes",
            "incomplete"),
        bad("only the length", length(100), "expected at least 108 bytes", "found 8 bytes"),
        bad(
            "length 100,000,001",
            concat(length(100_000_001), latin1("{}")),
            "100000001",
            "limit is 100000000"),
        bad(
            "length 2^63-1, so that 8 more overflow",
            concat(length(Long.MAX_VALUE), latin1("{}")),
            "9223372036854775807"),
        bad("length 2^63", concat(length(Long.MIN_VALUE), latin1("{}")), "9223372036854775808"),
        bad("length 2^64-1", concat(length(-1), latin1("{}")), "18446744073709551615"),
        bad(
            "length 2^64-8, so that 8 more wrap to 0",
            concat(length(-8), latin1("{}")),
            "18446744073709551608"),
        bad(
            "cut inside a header as long as gzip's magic",
            concat(length(0x088b1f), latin1("{\"a\"")),
            "cut off inside its header"),
        bad(
            "cut inside a header as long as a pickle's magic",
            concat(length(0x0280), latin1("{\"a\"")),
            "cut off inside its header"),
        // The text.
        bad("invalid UTF-8", file(latin1("{\"\u00e9\":1}"), new byte[0]), "not valid UTF-8"),
        bad("overlong UTF-8", file(latin1("{\"\u00c0\u00af\":1}"), new byte[0]), "not valid UTF-8"),
        bad(
            "surrogates as UTF-8",
            file(latin1("{\"\u00ed\u00a0\u0080\":1}"), new byte[0]),
            "not valid UTF-8"),
        bad("cut UTF-8", file(latin1("{}\u00e2\u0082"), new byte[0]), "not valid UTF-8"),
        bad(
            "byte order mark",
            file(latin1("\u00ef\u00bb\u00bf{}"), new byte[0]),
            "byte order mark"),
        header("array", "[]", "not a JSON object"),
        header("string", "\"{}\"", "not a JSON object"),
        header("only white space", "        ", "not a JSON object"),
        header("unclosed", "{" + good, "not valid JSON"),
        header("single quotes", "{'t':1}", "not valid JSON"),
        header("comment", "{/* */}", "not valid JSON"),
        header("trailing comma", "{" + good + ",}", "not valid JSON"),
        header("garbage after the object", "{" + good + "}x", "not valid JSON"),
        header("second object", "{" + good + "}{}", "after the closing brace"),
        header("NUL padding", "{" + good + "}\0\0", "not valid JSON"),
        header(
            "raw control character in a name",
            "{" + entry("a\nb", "F32", "[1]", 0, 4) + "}",
            "not valid JSON"),
        header(
            "deep nesting",
            "{\"t\":" + "[".repeat(10_000) + "]".repeat(10_000) + "}",
            "must be an object",
            "an array"),
        header(
            "deep nesting of objects",
            "{\"a\":".repeat(10_000) + "1" + "}".repeat(10_000),
            "unknown field \"a\""),
        header(
            "deep nesting in a shape",
            "{\"t\":{\"shape\":" + "[".repeat(10_000) + "]".repeat(10_000) + "}}",
            "shape must hold whole numbers"),
        header(
            "unpaired high surrogate",
            "{" + entry("\\ud800", "F32", "[1]", 0, 4) + "}",
            "surrogate"),
        header(
            "unpaired low surrogate",
            "{" + entry("a\\udc00", "F32", "[1]", 0, 4) + "}",
            "surrogate"),
        header(
            "unpaired surrogate in metadata",
            "{\"__metadata__\":{\"k\":\"\\ud800x\"}," + good + "}",
            "surrogate"),
        header(
            "duplicate tensor", "{" + good + "," + good + "}", "not valid JSON", "uplicate", "t"),
        header(
            "duplicate empty tensor",
            "{"
                + entry("z", "F32", "[0]", 0, 0)
                + ","
                + good
                + ","
                + entry("z", "F32", "[0]", 0, 0)
                + "}",
            "uplicate"),
        header(
            "duplicate by escape",
            "{" + good + "," + entry("\\u0074", "F32", "[1]", 0, 4) + "}",
            "uplicate"),
        // Metadata.
        header(
            "duplicate __metadata__",
            "{\"__metadata__\":{},\"__metadata__\":{}," + good + "}",
            "uplicate"),
        header(
            "duplicate metadata key",
            "{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}," + good + "}",
            "uplicate"),
        header(
            "metadata value is a number",
            "{\"__metadata__\":{\"a\":1}," + good + "}",
            "only strings",
            "\"a\""),
        header(
            "metadata value is null",
            "{\"__metadata__\":{\"a\":null}," + good + "}",
            "only strings"),
        header(
            "metadata value is an object",
            "{\"__metadata__\":{\"a\":{}}," + good + "}",
            "only strings"),
        header(
            "metadata is an array",
            "{\"__metadata__\":[]," + good + "}",
            "__metadata__ must be an object"),
        header(
            "metadata is null",
            "{\"__metadata__\":null," + good + "}",
            "__metadata__ must be an object"),
        header(
            "tensor named __metadata__",
            "{" + entry("__metadata__", "F32", "[1]", 0, 4) + "}",
            "no tensor may have that name"),
        // An entry's fields.
        header("entry is null", "{\"t\":null}", "tensor \"t\"", "must be an object"),
        header("entry is a number", "{\"t\":1}", "tensor \"t\"", "must be an object"),
        tensor(
            "no dtype",
            "\"shape\":[1],\"data_offsets\":[0,4]",
            "tensor \"t\"",
            "lacks the field \"dtype\""),
        tensor("no shape", "\"dtype\":\"F32\",\"data_offsets\":[0,4]", "lacks the field \"shape\""),
        tensor(
            "no data_offsets",
            "\"dtype\":\"F32\",\"shape\":[1]",
            "lacks the field \"data_offsets\""),
        tensor(
            "extra field",
            "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1",
            "unknown field \"x\""),
        tensor(
            "duplicate field",
            "\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]",
            "uplicate"),
        header(
            "unknown dtype",
            "{" + entry("t", "F128", "[1]", 0, 4) + "}",
            "unknown dtype \"F128\"",
            "BF16"),
        header(
            "lower-case dtype",
            "{" + entry("t", "f32", "[1]", 0, 4) + "}",
            "unknown dtype \"f32\""),
        tensor(
            "dtype is a number",
            "\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]",
            "dtype must be a string"),
        header(
            "shape is a number",
            "{" + entry("t", "F32", "1", 0, 4) + "}",
            "shape must be an array"),
        header(
            "shape is null", "{" + entry("t", "F32", "null", 0, 4) + "}", "shape must be an array"),
        header(
            "shape holds a string",
            "{" + entry("t", "F32", "[\"1\"]", 0, 4) + "}",
            "shape must hold whole numbers"),
        header("negative shape", "{" + entry("t", "F32", "[-1]", 0, 4) + "}", "found -1"),
        header("minus zero", "{" + entry("t", "F32", "[-0]", 0, 4) + "}", "found -0"),
        header("two negatives", "{" + entry("t", "F32", "[-1,-1]", 0, 4) + "}", "found -1"),
        header("float shape", "{" + entry("t", "F32", "[1.0]", 0, 4) + "}", "found 1.0"),
        header("exponent", "{" + entry("t", "F32", "[1e0]", 0, 4) + "}", "found 1e0"),
        header("leading zero", "{" + entry("t", "F32", "[01]", 0, 4) + "}", "not valid JSON"),
        header("NaN", "{" + entry("t", "F32", "[NaN]", 0, 4) + "}", "not valid JSON"),
        header(
            "shape over 2^53",
            "{" + entry("t", "F32", "[9007199254740993]", 0, 4) + "}",
            "36,028,797,018,963,972 bytes"),
        header(
            "shape 2^63",
            "{" + entry("t", "F32", "[9223372036854775808]", 0, 4) + "}",
            "over 2^63-1"),
        header(
            "shape of 2000 digits",
            "{" + entry("t", "F32", "[" + "9".repeat(2000) + "]", 0, 4) + "}",
            "number or text in it is too long"),
        header(
            "shape product overflows",
            "{" + entry("t", "F32", "[4294967296,4294967296]", 0, 4) + "}",
            "over 2^63-1 bits"),
        header(
            "shape product overflows to 1",
            "{" + entry("t", "U8", "[18446744073709551617]", 0, 4) + "}",
            "over 2^63-1"),
        header(
            "shape product overflows before a zero",
            "{" + entry("t", "F32", "[4294967296,4294967296,0]", 0, 0) + "}",
            "over 2^63-1 bits"),
        header(
            "bits overflow",
            "{" + entry("t", "F64", "[288230376151711744]", 0, 4) + "}",
            "over 2^63-1 bits"),
        header(
            "65 dimensions",
            "{" + entry("t", "F32", "[1" + ",1".repeat(64) + "]", 0, 4) + "}",
            "more than 64 dimensions"),
        header(
            "half a byte",
            "{" + entry("t", "F4", "[3]", 0, 2) + "}",
            "not a whole number of bytes"),
        // Offsets.
        tensor(
            "one offset",
            "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4]",
            "two numbers, found 1"),
        tensor(
            "three offsets",
            "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]",
            "more than 2 numbers"),
        header(
            "negative offset",
            "{" + entry("t", "F32", "[1]", -4, 0) + "}",
            "data_offsets must hold whole numbers"),
        header("reversed offsets", "{" + entry("t", "F32", "[1]", 4, 0) + "}", "reversed"),
        header(
            "offset 2^64",
            "{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,18446744073709551616]}}",
            "over 2^63-1"),
        header(
            "size too small for the shape",
            "{" + entry("t", "F32", "[2]", 0, 4) + "}",
            "takes 8 bytes",
            "give it 4 bytes"),
        header(
            "size too large for the shape",
            "{" + entry("t", "F16", "[1]", 0, 4) + "}",
            "takes 2 bytes",
            "give it 4 bytes"),
        header(
            "does not start at 0",
            "{" + entry("t", "F32", "[1]", 4, 8) + "}",
            "leaving a hole after byte 0"),
        bad(
            "hole",
            file("{" + good + "," + entry("u", "F32", "[1]", 8, 12) + "}", 12),
            "tensor \"u\"",
            "leaving a hole after byte 4"),
        bad(
            "overlap",
            file("{" + good + "," + entry("u", "F32", "[1]", 2, 6) + "}", 6),
            "tensor \"u\"",
            "inside the tensor before it"),
        bad(
            "same bytes twice",
            file("{" + good + "," + entry("u", "F32", "[1]", 0, 4) + "}", 4),
            "inside the tensor before it"),
        bad(
            "empty tensor inside another",
            file("{" + good + "," + entry("u", "F32", "[0]", 2, 2) + "}", 4),
            "tensor \"u\"",
            "inside the tensor before it"),
        bad(
            "empty tensor beyond the end",
            file("{" + good + "," + entry("u", "F32", "[0]", 8, 8) + "}", 4),
            "leaving a hole"),
        // The file's size.
        bad(
            "truncated data",
            file("{" + good + "}", 3),
            "is cut off",
            "expected 66 bytes",
            "found 65 bytes",
            "incomplete"),
        bad("no data", file("{" + good + "}", 0), "is cut off", "found 62 bytes"),
        bad(
            "near 2^63 bytes",
            file("{" + entry("t", "U8", "[1152921504606846975]", 0, 1152921504606846975L) + "}", 4),
            "is cut off",
            "1,152,921,504,606,847,072 bytes (1.2 EB)"),
        bad(
            "trailing byte",
            file("{" + good + "}", 5),
            "1 byte after the last tensor",
            "expected 66 bytes",
            "found 67 bytes"),
        bad("data without tensors", file("{}", 1), "1 byte after the last tensor"),
        // Look-alikes.
        bad(
            "Git LFS pointer",
            latin1("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"),
            "Git LFS pointer",
            "git lfs pull"),
        bad(
            "HTML page",
            latin1("\n <!DOCTYPE html><html><body>404</body></html>"),
            "HTML page",
            "download"),
        bad("HTML page without a doctype", latin1("<HTML><head></head></HTML>"), "HTML page"),
        bad(
            "XML error",
            latin1("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"),
            "XML text"),
        bad("gzip", latin1("\u001f\u008b\b\0\0\0\0\0\0\u0003abcdefghij"), "gzip", "gunzip"),
        bad(
            "zip of torch.save",
            latin1("PK\u0003\u0004\0\0\b\b\0\0archive/data.pkl"),
            "zip archive",
            "safe_serialization=True",
            "safetensors/convert"),
        bad(
            "old pickle of torch.save",
            latin1("\u0080\u0002\u008a\nl\u00fc\u009cF\u00f9 j\u00a8P\u0019."),
            "Python pickle",
            "safe_serialization=True",
            "safetensors/convert"),
        bad(
            "pickle of protocol 4",
            latin1("\u0080\u0004\u0095\u0010\0\0\0\0\0\0\0}\u0094."),
            "Python pickle"),
        bad("GGUF", latin1("GGUF\u0003\0\0\0\0\0\0\0\0\0\0\0"), "GGUF"),
        bad("JSON", latin1("{\"weight_map\": {\"a\": \"model.safetensors\"}}"), "is a JSON text"));
  }

  @ParameterizedTest
  @MethodSource
  void malformed(Malformed malformed) {
    Path path = write(folder.resolve("bad model.safetensors"), malformed.bytes().get());
    var thrown =
        assertThatThrownBy(() -> SafetensorsHeader.read(path))
            .isExactlyInstanceOf(InputException.class)
            .hasMessageStartingWith(path + ": ");
    malformed.messageParts().forEach(thrown::hasMessageContaining);
    thrown.satisfies(e -> assertThat(e.getMessage()).hasSizeLessThan(1000));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "pytorch_model.bin",
        "a.pt",
        "a.pth",
        "A.CKPT",
        "a.pkl",
        "a.pickle",
      })
  void picklesAreRefusedByName(String name) {
    Path path = write(folder.resolve(name), file("{}", 0));
    assertThatThrownBy(() -> SafetensorsHeader.read(path))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(
            path.toString(), "pickle", "safe_serialization=True", "safetensors/convert");
  }

  @Test
  void missingFilesFoldersPipesAndDevicesAreRefused() throws Exception {
    assertThatThrownBy(() -> SafetensorsHeader.read(folder.resolve("none.safetensors")))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("none.safetensors", "no such file");
    assertThatThrownBy(() -> SafetensorsHeader.read(folder))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(folder.toString(), "is a folder");
    assertThatThrownBy(() -> SafetensorsHeader.read(Path.of("/dev/zero")))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("/dev/zero", "device");
    Path pipe = folder.resolve("pipe.safetensors");
    assertThat(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor()).isZero();
    assertThatThrownBy(() -> SafetensorsHeader.read(pipe))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(pipe.toString(), "pipe");
  }

  private SafetensorsHeader read(byte[] bytes) {
    return SafetensorsHeader.read(write(folder.resolve("model.safetensors"), bytes));
  }

  private static TensorInfo tensor(SafetensorsHeader header, String name) {
    return Objects.requireNonNull(header.tensors().get(name), name);
  }

  @Test
  void headerWithoutTensorsIsAccepted() {
    SafetensorsHeader header = read(file("{}", 0));
    assertThat(header.tensors()).isEmpty();
    assertThat(header.metadata()).isEmpty();
    assertThat(header.dataOffset()).isEqualTo(10);
    assertThat(header.fileSize()).isEqualTo(10);
  }

  @Test
  void whiteSpaceAroundTheHeaderIsAccepted() {
    SafetensorsHeader header =
        read(file(" \t\r\n {" + entry("t", "F32", "[]", 0, 4) + "}\n\n\t  \r", 4));
    assertThat(header.tensors()).containsOnlyKeys("t");
    assertThat(tensor(header, "t").elementCount()).isEqualTo(1);
  }

  @Test
  void tensorsComeInOrderOfOffsetsAndMetadataAsStored() {
    SafetensorsHeader header =
        read(
            file(
                "{"
                    + entry("b", "I16", "[1,2]", 1, 5)
                    + ",\"__metadata__\":{\"z\":\"\\u00e9\\ud83d\\ude00\",\"a\":\"\"},"
                    + entry("empty", "F32", "[3,0]", 1, 1)
                    + ","
                    + entry("a", "U8", "[1]", 0, 1)
                    + "}",
                5));
    assertThat(header.tensors().keySet()).containsExactly("a", "empty", "b");
    assertThat(header.metadata())
        .containsExactly(Map.entry("z", "\u00e9\ud83d\ude00"), Map.entry("a", ""));
    TensorInfo b = tensor(header, "b");
    assertThat(b).isEqualTo(new TensorInfo("b", DType.I16, List.of(1L, 2L), 1, 5));
    assertThat(b.byteCount()).isEqualTo(4);
    assertThat(b.elementCount()).isEqualTo(2);
    assertThat(b.shapeText()).isEqualTo("[1, 2]");
    assertThat(tensor(header, "empty").elementCount()).isZero();
    assertThatThrownBy(() -> header.tensors().clear())
        .isInstanceOf(UnsupportedOperationException.class);
  }

  /** Names are never paths, so that none of these can do harm. */
  @Test
  void oddNamesAreJustNames() {
    String longName = "x".repeat(1 << 20);
    List<String> names =
        List.of(
            "",
            "\\u0000",
            "../x",
            "/etc/passwd",
            "\\ud83d\\ude00",
            "\ud83d\ude00\u00df",
            "caf\u00e9",
            "cafe\u0301",
            "A",
            "a",
            longName);
    StringBuilder json = new StringBuilder("{");
    for (int i = 0; i < names.size(); i++) {
      json.append(i == 0 ? "" : ",").append(entry(names.get(i), "U8", "[1]", i, i + 1));
    }
    SafetensorsHeader header = read(file(json.append('}').toString(), names.size()));
    assertThat(header.tensors().keySet())
        .containsExactly(
            "",
            "\0",
            "../x",
            "/etc/passwd",
            "\ud83d\ude00",
            "\ud83d\ude00\u00df",
            "caf\u00e9",
            "cafe\u0301",
            "A",
            "a",
            longName);
  }

  @Test
  void aLongNameIsCutInMessages() {
    String name = "x".repeat(1 << 20);
    assertThatThrownBy(() -> read(file("{" + entry(name, "F32", "[2]", 0, 4) + "}", 4)))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("x...\" (1048576 characters)")
        .satisfies(e -> assertThat(e.getMessage()).hasSizeLessThan(1000));
  }

  @Test
  void manyTensors() throws IOException {
    int count = 20_000;
    StringBuilder json = new StringBuilder("{");
    for (int i = 0; i < count; i++) {
      json.append(i == 0 ? "" : ",")
          .append(entry("model.layers." + i + ".weight", "BF16", "[1,2]", 4L * i, 4L * i + 4));
    }
    SafetensorsHeader header = read(file(json.append('}').toString(), 4 * count));
    assertThat(header.tensors()).hasSize(count);
    assertThat(tensor(header, "model.layers.19999.weight").end()).isEqualTo(4L * count);
    Files.delete(header.file());
  }

  /** Parts between a beginning and an end, as many as fit into a header of that many bytes. */
  private Path longest(String fileName, String begin, IntFunction<String> part, String end)
      throws IOException {
    Path file = folder.resolve(fileName + ".safetensors");
    int bytes = LONGEST * 1_000_000;
    assertThat(bytes).isLessThanOrEqualTo(SafetensorsHeader.MAX_HEADER_BYTES);
    try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(file))) {
      out.write(length(bytes));
      out.write(latin1(begin));
      int room = bytes - begin.length() - end.length();
      for (int i = 0; ; i++) {
        byte[] next = latin1(part.apply(i));
        if (next.length > room) {
          break;
        }
        out.write(next);
        room -= next.length;
      }
      out.write(latin1(end + " ".repeat(room)));
    }
    return file;
  }

  /** Names that differ, all with the same {@link String#hashCode}. */
  private static String ofOneHash(int number) {
    StringBuilder name = new StringBuilder();
    for (int bit = 0; bit < 21; bit++) {
      name.append((number >> bit & 1) == 0 ? "Aa" : "BB");
    }
    return name.toString();
  }

  /** Ten bytes of heap for a byte: for the longest, what the JVM takes on a machine of 4 GB. */
  @Test
  @Timeout(120)
  void theLongestHeadersNeedLittleHeap() throws Exception {
    Path overlapping =
        longest(
            "overlapping",
            "{",
            i -> entry(ofOneHash(i), "U8", "[]", 0, 1) + ",",
            entry("z", "U8", "[]", 0, 1) + "}");
    Path name = longest("name", "{\"", i -> "x".repeat(1 << 16), "\":1}");
    Path metadata =
        longest("metadata", "{\"__metadata__\":{", i -> "\"" + i + "\":\"\",", "\"z\":\"\"}}");
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx" + 10 * LONGEST + "m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                HeaderProcess.class.getName()));
    List.of(overlapping, name, metadata).forEach(file -> command.add(file.toString()));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    List<String> lines = process.inputReader().lines().toList();
    assertThat(lines).hasSize(3);
    assertThat(lines.get(0)).contains(overlapping.toString(), "inside the tensor before it");
    assertThat(lines.get(1)).contains(name.toString(), "must be an object");
    assertThat(lines.get(2)).contains(metadata.toString(), "more than 100000 entries");
    assertThat(process.waitFor()).isZero();
  }

  @Test
  void subByteTypesAreReadButHaveNoFloats() {
    Path path =
        write(
            folder.resolve("quantised.safetensors"),
            file(
                "{"
                    + entry("w", "F4", "[4]", 0, 2)
                    + ","
                    + entry("v", "F6_E2M3", "[4]", 2, 5)
                    + "}",
                5));
    try (Checkpoint checkpoint = Checkpoint.open(path)) {
      assertThat(checkpoint.segment("v").byteSize()).isEqualTo(3);
      assertThatThrownBy(() -> checkpoint.floats("w"))
          .isInstanceOf(InputException.class)
          .hasMessageContainingAll(
              path.toString(), "\"w\"", "F4", "expected F32, F16, BF16 or F64");
    }
  }
}
