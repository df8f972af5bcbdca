package org.fishermerge.merge;

import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.testkit.SafetensorsBuilder;

/** Small safetensors files written from doubles and read back. */
final class TestTensors {

  private TestTensors() {}

  @SuppressWarnings("ArrayRecordComponent")
  record Data(DType dtype, List<Long> shape, double[] values) {}

  static Data f32(double... values) {
    return of(DType.F32, values);
  }

  static Data of(DType dtype, double... values) {
    return new Data(dtype, List.of((long) values.length), values);
  }

  static Data shaped(List<Long> shape) {
    return new Data(
        DType.F32,
        shape,
        new double[(int) shape.stream().mapToLong(Long::longValue).reduce(1, (a, b) -> a * b)]);
  }

  static Path write(Path file, Map<String, Data> tensors) {
    return write(file, tensors, Map.of());
  }

  static Path write(Path file, Map<String, Data> tensors, Map<String, String> metadata) {
    try {
      Path parent = file.getParent();
      if (parent != null) {
        Files.createDirectories(parent);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    SafetensorsBuilder builder = new SafetensorsBuilder().metadata(metadata);
    tensors.forEach((name, data) ->
        builder.put(
            name,
            data.dtype().name(),
            data.shape().stream().mapToLong(Long::longValue).toArray(),
            bytes(data)));
    return builder.write(file);
  }

  private static byte[] bytes(Data data) {
    int size = data.dtype().bits() / Byte.SIZE;
    byte[] array = new byte[data.values().length * size];
    ByteBuffer bytes = SafetensorsBuilder.view(array);
    for (double value : data.values()) {
      switch (data.dtype()) {
        case F32 -> bytes.putFloat((float) value);
        case F64 -> bytes.putDouble(value);
        case I64 -> bytes.putLong((long) value);
        case F16, BF16 -> bytes.putShort((short) halfBits(value, data.dtype()));
        default -> throw new IllegalArgumentException(data.dtype().name());
      }
    }
    return array;
  }

  /** The value as it is stored: what a reader of the file sees. */
  static double stored(DType dtype, double value) {
    return switch (dtype) {
      case F64 -> value;
      case F32 -> (float) value;
      case F16, BF16 -> half(halfBits(value, dtype), dtype);
      default -> throw new IllegalArgumentException(dtype.name());
    };
  }

  /** Nearest 16-bit float of a double, ties to even, by searching the ordered magnitudes. */
  static int halfBits(double value, DType dtype) {
    int sign = Double.doubleToRawLongBits(value) < 0 ? 0x8000 : 0;
    int infinity = dtype == DType.F16 ? 0x7C00 : 0x7F80;
    double magnitude = Math.abs(value);
    if (Double.isNaN(value)) {
      return infinity | 1;
    }
    int low = 0;
    int high = infinity;
    while (high - low > 1) {
      int middle = (low + high) / 2;
      if (half(middle, dtype) <= magnitude) {
        low = middle;
      } else {
        high = middle;
      }
    }
    if (Double.isInfinite(magnitude)) {
      return sign | infinity;
    }
    // Infinity rounds as if it were the next power of two.
    double above =
        high == infinity
            ? 2 * half(infinity - 1, dtype) - half(infinity - 2, dtype)
            : half(high, dtype);
    // Exact in double: the two terms are neighbours of 16 bits.
    int order = Double.compare(2 * magnitude, half(low, dtype) + above);
    boolean up = order > 0 || (order == 0 && (low & 1) == 1);
    return sign | (up ? high : low);
  }

  static double half(int bits, DType dtype) {
    return dtype == DType.F16
        ? Float.float16ToFloat((short) bits)
        : Float.intBitsToFloat(bits << 16);
  }

  /** All tensors of a checkpoint, by stored name. */
  static Map<String, Data> read(Path path) {
    Map<String, Data> read = new LinkedHashMap<>();
    try (Checkpoint checkpoint = Checkpoint.open(path)) {
      for (CheckpointTensor tensor : checkpoint.tensors().values()) {
        DType dtype = tensor.info().dtype();
        double[] values = new double[(int) tensor.info().elementCount()];
        MemorySegment segment = checkpoint.segment(tensor.canonicalName());
        for (int i = 0; i < values.length; i++) {
          values[i] =
              dtype == DType.I64
                  ? segment.get(JAVA_LONG_UNALIGNED, i * 8L)
                  : Values.get(segment, dtype, i);
        }
        read.put(tensor.info().name(), new Data(dtype, tensor.info().shape(), values));
      }
    }
    return read;
  }

  /** Copies the tensors of a file that begin with the prefix into a file of their own. */
  static Path extract(Path from, String prefix, Path to) {
    return new SafetensorsBuilder().extract(from, prefix).write(to);
  }
}
