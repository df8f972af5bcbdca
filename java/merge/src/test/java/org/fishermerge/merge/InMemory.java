package org.fishermerge.merge;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.NamedTensors;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.TensorInfo;

/** Files of tests as tensors in memory. */
final class InMemory {
  /** Where the values are. */
  enum Kind {
    /** Off the heap, at odd addresses. */
    SEGMENTS,
    /** In arrays of the dtype's Java type. */
    ARRAYS,
    /** Behind readers. */
    READERS,
    /** One tensor after the other in each of these. */
    MIXED
  }

  private InMemory() {}

  /** The tensors and metadata of a file, under its path. */
  static NamedTensors of(Path file, Kind kind, Arena arena) {
    return of(file, file.toString(), kind, arena);
  }

  static NamedTensors of(Path file, String name, Kind kind, Arena arena) {
    NamedTensors.Builder builder = NamedTensors.builder(name);
    try (SafetensorsFile open = SafetensorsFile.open(file)) {
      builder.metadata(open.header().metadata());
      int k = 0;
      for (TensorInfo tensor : open.header().tensors().values()) {
        byte[] bytes = open.segment(tensor.name()).toArray(ValueLayout.JAVA_BYTE);
        add(builder, tensor, bytes, kind == Kind.MIXED ? Kind.values()[k++ % 3] : kind, arena);
      }
    }
    return builder.build();
  }

  private static void add(
      NamedTensors.Builder builder, TensorInfo tensor, byte[] bytes, Kind kind, Arena arena) {
    if (kind == Kind.ARRAYS && tensor.dtype() != DType.I64) {
      addArray(builder, tensor, bytes);
    } else if (kind == Kind.READERS) {
      int width = tensor.dtype().bits() / Byte.SIZE;
      builder.add(
          tensor.name(),
          tensor.dtype(),
          tensor.shape(),
          (from, target) ->
              target.copyFrom(
                  MemorySegment.ofArray(bytes).asSlice(from * width, target.byteSize())));
    } else {
      builder.add(
          tensor.name(),
          tensor.dtype(),
          tensor.shape(),
          odd(bytes.length, arena).copyFrom(MemorySegment.ofArray(bytes)));
    }
  }

  /** Memory at an odd address. */
  static MemorySegment odd(long bytes, Arena arena) {
    return arena.allocate(bytes + 1, 2).asSlice(1);
  }

  private static void addArray(NamedTensors.Builder builder, TensorInfo tensor, byte[] bytes) {
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int count = (int) tensor.elementCount();
    long[] shape = tensor.shape().stream().mapToLong(Long::longValue).toArray();
    switch (tensor.dtype()) {
      case F32 -> {
        float[] values = new float[count];
        buffer.asFloatBuffer().get(values);
        builder.add(tensor.name(), values, shape);
      }
      case F64 -> {
        double[] values = new double[count];
        buffer.asDoubleBuffer().get(values);
        builder.add(tensor.name(), values, shape);
      }
      case F16, BF16 -> {
        short[] bits = new short[count];
        buffer.asShortBuffer().get(bits);
        builder.add(tensor.name(), tensor.dtype(), bits, shape);
      }
      default -> throw new IllegalArgumentException(tensor.toString());
    }
  }

  /** Memory for what a merge into a file would write. */
  static NamedTensors like(Path file, Kind kind, Arena arena) {
    NamedTensors.Builder builder = NamedTensors.builder("merged");
    try (SafetensorsFile open = SafetensorsFile.open(file)) {
      for (TensorInfo tensor : open.header().tensors().values()) {
        int bytes = (int) tensor.byteCount();
        builder.add(
            tensor.name(),
            tensor.dtype(),
            tensor.shape(),
            kind == Kind.ARRAYS ? MemorySegment.ofArray(new byte[bytes]) : odd(bytes, arena));
      }
    }
    return builder.build();
  }

  /** The bytes of a file's tensors. */
  static Map<String, String> bytes(Path file) {
    Map<String, String> all = new LinkedHashMap<>();
    try (SafetensorsFile open = SafetensorsFile.open(file)) {
      open.header().tensors().keySet().forEach(name -> all.put(name, text(open.segment(name))));
    }
    return all;
  }

  /** The bytes of tensors in memory. */
  static Map<String, String> bytes(NamedTensors tensors) {
    Map<String, String> all = new LinkedHashMap<>();
    tensors
        .tensors()
        .forEach((name, tensor) ->
            all.put(
                name,
                text(
                    tensors.memory(
                        new TensorInfo(
                            name, tensor.dtype(), tensor.shape(), 0, tensor.byteCount())))));
    return all;
  }

  /** Its bytes, to be compared with others. */
  static String text(MemorySegment values) {
    return new String(values.toArray(ValueLayout.JAVA_BYTE), StandardCharsets.ISO_8859_1);
  }
}
