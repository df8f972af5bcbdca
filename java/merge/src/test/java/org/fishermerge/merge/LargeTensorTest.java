package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.LongStream;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.kernels.Kernels;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.AnnotatedElementContext;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.io.TempDirFactory;

/** Tensors of more bytes than an int counts, in sparse files: offsets are long everywhere. */
final class LargeTensorTest {
  private static final long COUNT = (1L << 30) + 12_345;
  private static final long BYTES = 2 * COUNT;
  private static final short ONE = 0x3F80; // bfloat16
  private static final short THREE = 0x4040;

  /** The first and last element, and those about 2^31 bytes. */
  private static final long[] PLACES = {0, (1L << 30) - 1, 1L << 30, (1L << 30) + 1, COUNT - 1};

  @TempDir Path folder;

  @TempDir(factory = InMemory.class)
  Path inputs;

  /** In a file system in memory, where there is one: reading holes there fills no pages. */
  static final class InMemory implements TempDirFactory {
    @Override
    public Path createTempDirectory(AnnotatedElementContext element, ExtensionContext extension)
        throws IOException {
      Path memory = Path.of("/dev/shm");
      return Files.isWritable(memory)
          ? Files.createTempDirectory(memory, "junit-")
          : Files.createTempDirectory("junit-");
    }
  }

  @Test
  void mergesAcrossTwoGibibytes() throws IOException {
    long room = Files.getFileStore(folder).getUsableSpace();
    assumeTrue(room > 2 * BYTES, "needs " + 2 * BYTES + " bytes of disk, free are " + room);
    Path base = sparse("base", Map.of());
    Map<Long, Short> ones = new TreeMap<>();
    Map<Long, Short> threes = new TreeMap<>();
    for (long place : PLACES) {
      ones.put(place, ONE);
      threes.put(place, THREE);
    }
    Path one = sparse("one", ones);
    Path three = sparse("three", threes);
    Path output = folder.resolve("merged.safetensors");
    // (3 * 1 + 1 * 3) / (3 + 1) where there are values, 0 elsewhere.
    MergeRequest request =
        MergeRequest.builder(base, output, new DiagonalFisher(Normalization.NONE, 0))
            // Two files in the part of four: elsewhere the system fills a page once only.
            .model(one, three)
            .model(three, one)
            .build();
    try (Kernels kernels = Kernels.open()) {
      Merging.run(request, kernels);
    }
    try (SafetensorsFile merged = SafetensorsFile.open(output)) {
      MemorySegment values = merged.segment("w");
      assertThat(values.byteSize()).isEqualTo(BYTES);
      for (long place : PLACES) {
        assertThat(values.get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * place))
            .as("element %d", place)
            .isEqualTo((short) 0x3FC0); // 1.5
      }
      assertThat(nonZero(values)).containsExactlyElementsOf(LongStream.of(PLACES).boxed().toList());
    } finally {
      Files.delete(output);
    }
  }

  /** The elements that are not 0, found by comparing blocks, since there are a thousand million. */
  private static List<Long> nonZero(MemorySegment values) {
    MemorySegment zeros = MemorySegment.ofArray(new byte[1 << 20]);
    List<Long> found = new ArrayList<>();
    long from = 0;
    while (from < values.byteSize()) {
      long to = Math.min(values.byteSize(), from + zeros.byteSize());
      long equal = MemorySegment.mismatch(values, from, to, zeros, 0, to - from);
      if (equal < 0) {
        from = to;
      } else {
        long element = (from + equal) / 2;
        found.add(element);
        from = 2 * (element + 1);
      }
    }
    return found;
  }

  private Path sparse(String name, Map<Long, Short> values) throws IOException {
    String tensor = "{\"w\":{\"dtype\":\"BF16\",\"shape\":[%d],\"data_offsets\":[0,%d]}}";
    byte[] header = tensor.formatted(COUNT, BYTES).getBytes(StandardCharsets.UTF_8);
    Path file = inputs.resolve(name + ".safetensors");
    try (FileChannel channel =
        FileChannel.open(
            file,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.WRITE,
            StandardOpenOption.SPARSE)) {
      ByteBuffer start = ByteBuffer.allocate(8 + header.length).order(ByteOrder.LITTLE_ENDIAN);
      channel.write(start.putLong(header.length).put(header).flip(), 0);
      channel.write(ByteBuffer.allocate(2), 8 + header.length + BYTES - 2);
      for (Map.Entry<Long, Short> value : values.entrySet()) {
        ByteBuffer bits = ByteBuffer.allocate(2).order(ByteOrder.LITTLE_ENDIAN);
        channel.write(
            bits.putShort(value.getValue()).flip(), 8 + header.length + 2 * value.getKey());
      }
    }
    return file;
  }
}
