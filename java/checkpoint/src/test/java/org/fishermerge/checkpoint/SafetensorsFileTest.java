package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.fishermerge.checkpoint.SafetensorsBytes.entry;
import static org.fishermerge.checkpoint.SafetensorsBytes.file;
import static org.fishermerge.checkpoint.SafetensorsBytes.write;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsFileTest {
  @TempDir Path folder;

  /** Sparse, so that it takes a few blocks of disk. */
  @Test
  void tensorsOver2GiBInFilesOver4GiB() throws IOException {
    long first = (1L << 31) + 5;
    long elements = (1L << 29) + 3;
    long dataBytes = first + 4 * elements;
    byte[] header =
        ("{"
                + entry("bytes", "U8", "[" + first + "]", 0, first)
                + ","
                + entry("floats", "F32", "[" + elements + "]", first, dataBytes)
                + "}")
            .getBytes(StandardCharsets.UTF_8);
    Path path = folder.resolve("large.safetensors");
    long size = 8 + header.length + dataBytes;
    assertThat(size).isGreaterThan(1L << 32);
    try (RandomAccessFile out = new RandomAccessFile(path.toFile(), "rw")) {
      out.setLength(size);
      out.write(SafetensorsBytes.length(header.length));
      out.write(header);
      out.seek(size - 4);
      out.write(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(-2.5f).array());
    }
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      MemorySegment floats = file.segment("floats");
      assertThat(floats.byteSize()).isEqualTo(4 * elements);
      assertThat(floats.get(Values.F32, 4 * (elements - 1))).isEqualTo(-2.5f);
      assertThat(file.segment("bytes").byteSize()).isEqualTo(first);
      assertThat(file.segment("bytes").get(ValueLayout.JAVA_BYTE, first - 1)).isZero();
    }
    try (Checkpoint checkpoint = Checkpoint.open(path)) {
      assertThat(checkpoint.fingerprint()).hasSize(64);
    }
  }

  @Test
  void segmentsAreExactReadOnlyAndEndWithTheFile() {
    Path path =
        write(
            folder.resolve("a.safetensors"),
            file(
                "{" + entry("a", "U8", "[3]", 0, 3) + "," + entry("b", "F32", "[1]", 3, 7) + "}",
                7));
    SafetensorsFile file = SafetensorsFile.open(path);
    MemorySegment b = file.segment("b");
    assertThat(b.byteSize()).isEqualTo(4);
    assertThat(b.isReadOnly()).isTrue();
    assertThatThrownBy(() -> b.get(ValueLayout.JAVA_BYTE, 4))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> file.segment("bb"))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(path.toString(), "\"bb\"", "nearest names are \"b\", \"a\"");
    file.close();
    file.close();
    assertThatThrownBy(() -> b.get(ValueLayout.JAVA_BYTE, 0))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aFileThatChangedItsSizeIsNotMapped() throws IOException {
    Path path =
        write(folder.resolve("a.safetensors"), file("{" + entry("a", "U8", "[3]", 0, 3) + "}", 3));
    SafetensorsHeader header = SafetensorsHeader.read(path);
    Files.write(path, new byte[1], StandardOpenOption.APPEND);
    assertThatThrownBy(() -> SafetensorsFile.open(header))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(path.toString(), "changed while it was in use");
    Files.delete(path);
    assertThatThrownBy(() -> SafetensorsFile.open(header))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(path.toString(), "no such file");
  }
}
