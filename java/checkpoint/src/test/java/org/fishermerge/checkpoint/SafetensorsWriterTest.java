package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.stream.Stream;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsWriterTest {
  @TempDir Path folder;

  /** The reference implementation wrote the golden files; we must write the same bytes. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "clip-tiny/alpha/model.safetensors",
        "clip-tiny/beta/model.safetensors",
        "clip-tiny/pretrained/model.safetensors",
        "clip-tiny/expected.safetensors",
        "clip-tiny/expected_merged.safetensors",
        "gpt2-tiny/pretrained/model.safetensors",
        "gpt2-tiny/expected.safetensors"
      })
  void writesWhatTheReferenceWrites(String golden) throws IOException {
    Path original = Golden.path(golden);
    Path copy = folder.resolve("copy.safetensors");
    try (SafetensorsFile in = SafetensorsFile.open(original)) {
      List<SafetensorsWriter.Declared> declared = new ArrayList<>();
      in.header()
          .tensors()
          .values()
          .forEach(
              t -> declared.add(new SafetensorsWriter.Declared(t.name(), t.dtype(), t.shape())));
      Collections.shuffle(declared, new Random(7));
      try (SafetensorsWriter out =
          SafetensorsWriter.create(copy, declared, in.header().metadata())) {
        for (SafetensorsWriter.Declared tensor : declared) {
          out.segment(tensor.name()).copyFrom(in.segment(tensor.name()));
        }
        out.finish();
      }
    }
    assertThat(Files.mismatch(original, copy)).isEqualTo(-1);
  }

  @Test
  void everyTypeGoesRound() {
    long seed = 11;
    Random random = new Random(seed);
    List<SafetensorsWriter.Declared> declared = new ArrayList<>();
    for (DType dtype : DType.values()) {
      declared.add(new SafetensorsWriter.Declared("t." + dtype, dtype, List.of(3L, 4L)));
      declared.add(new SafetensorsWriter.Declared("empty." + dtype, dtype, List.of(2L, 0L)));
    }
    declared.add(new SafetensorsWriter.Declared("", DType.F32, List.of()));
    declared.add(
        new SafetensorsWriter.Declared("\"\\\n\u0001\u00e9\ud83d\ude00", DType.F32, List.of()));
    Map<String, String> metadata = Map.of("format", "pt");
    Map<String, byte[]> written = new HashMap<>();
    Path path = folder.resolve("all.safetensors");
    try (SafetensorsWriter out = SafetensorsWriter.create(path, declared, metadata)) {
      for (SafetensorsWriter.Declared tensor : declared) {
        MemorySegment segment = out.segment(tensor.name());
        byte[] bytes = new byte[(int) segment.byteSize()];
        random.nextBytes(bytes);
        segment.copyFrom(MemorySegment.ofArray(bytes));
        written.put(tensor.name(), bytes);
      }
      out.finish();
    }
    try (SafetensorsFile in = SafetensorsFile.open(path)) {
      assertThat(in.header().metadata()).isEqualTo(metadata);
      assertThat(in.header().dataOffset() % 8).isZero();
      assertThat(in.header().tensors()).hasSameSizeAs(declared);
      for (SafetensorsWriter.Declared tensor : declared) {
        TensorInfo info = Objects.requireNonNull(in.header().tensors().get(tensor.name()));
        assertThat(info.dtype()).isEqualTo(tensor.dtype());
        assertThat(info.shape()).isEqualTo(tensor.shape());
        assertThat(in.segment(tensor.name()).toArray(ValueLayout.JAVA_BYTE))
            .as("%s, seed %d", tensor, seed)
            .isEqualTo(written.get(tensor.name()));
      }
    }
  }

  @Test
  void namesAreOrderedByCodePoint() {
    // In UTF-16 the surrogates of U+1F600 come before U+FF5E, in UTF-8 after it.
    List<SafetensorsWriter.Declared> declared =
        Stream.of("\ud83d\ude00", "\uff5e", "b", "B")
            .map(name -> new SafetensorsWriter.Declared(name, DType.U8, List.of(1L)))
            .toList();
    Path path = folder.resolve("names.safetensors");
    try (SafetensorsWriter out = SafetensorsWriter.create(path, declared, Map.of())) {
      out.finish();
    }
    assertThat(SafetensorsHeader.read(path).tensors().keySet())
        .containsExactly("B", "b", "\uff5e", "\ud83d\ude00");
  }

  @Test
  void theFileHasItsBlocksBeforeAnythingIsStored() throws Exception {
    Path path = folder.resolve("allocated.safetensors");
    long bytes = 3_000_001;
    try (SafetensorsWriter out =
        SafetensorsWriter.create(
            path,
            List.of(new SafetensorsWriter.Declared("t", DType.U8, List.of(bytes))),
            Map.of())) {
      Process stat = new ProcessBuilder("du", "-k", path.toString()).start();
      String kib =
          new String(stat.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
              .split("\\s", 2)[0];
      assertThat(Long.parseLong(kib) * 1024).isGreaterThanOrEqualTo(bytes);
      assertThat(out.segment("t").get(ValueLayout.JAVA_BYTE, bytes - 1)).isZero();
    }
  }

  @Test
  void zerosAreWrittenWhereBlocksCannotBeReserved() throws IOException {
    Path path = folder.resolve("zeros");
    long bytes = (2 << 20) + 17;
    try (FileChannel channel =
        FileChannel.open(path, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      SafetensorsWriter.writeZeros(channel, bytes);
    }
    assertThat(Files.readAllBytes(path)).isEqualTo(new byte[(int) bytes]);
  }

  @Test
  void aDiskWithoutRoomIsRefusedBeforeWriting() {
    Path path = folder.resolve("huge.safetensors");
    assertThatThrownBy(() ->
            SafetensorsWriter.create(
                path,
                List.of(new SafetensorsWriter.Declared("t", DType.U8, List.of(1L << 59))),
                Map.of()))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(path.toString(), "not enough room", "576,460,752,303,423,");
    assertThat(path).doesNotExist();
  }

  static Stream<Arguments> misuse() {
    return Stream.of(
        Arguments.of("t", List.of(1L), "t", "given twice"),
        Arguments.of("__metadata__", List.of(1L), "u", "cannot be named"),
        Arguments.of("\ud800", List.of(1L), "u", "cannot be named"),
        Arguments.of("t", List.of(-1L), "u", "cannot have the shape"),
        Arguments.of("t", Collections.nCopies(65, 1L), "u", "cannot have the shape"),
        Arguments.of("t", List.of(1L << 40, 1L << 40), "u", "too large"));
  }

  @ParameterizedTest
  @MethodSource
  void misuse(String name, List<Long> shape, String otherName, String message) {
    Path path = folder.resolve("never.safetensors");
    List<SafetensorsWriter.Declared> declared =
        List.of(
            new SafetensorsWriter.Declared(name, DType.F32, shape),
            new SafetensorsWriter.Declared(otherName, DType.F32, List.of((1L << 58) - 1)));
    assertThatThrownBy(() -> SafetensorsWriter.create(path, declared, Map.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message);
    assertThat(path).doesNotExist();
  }

  @Test
  void existingFilesAndUnknownTensorsAreRefused() throws IOException {
    Path path = folder.resolve("there.safetensors");
    List<SafetensorsWriter.Declared> declared =
        List.of(new SafetensorsWriter.Declared("t", DType.F32, List.of(1L)));
    try (SafetensorsWriter out = SafetensorsWriter.create(path, declared, Map.of())) {
      assertThatThrownBy(() -> out.segment("u"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("\"u\"");
    }
    long size = Files.size(path);
    assertThatThrownBy(() -> SafetensorsWriter.create(path, declared, Map.of()))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(path.toString(), "exists already");
    assertThat(path).hasSize(size);
  }
}
