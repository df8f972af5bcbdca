package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A model's tensors, or a statistic's, that a program has at hand and not in a file: in memory off
 * the heap, in Java arrays, or behind a {@link TensorReader} that is asked for values when they are
 * needed. Everything that is true of a safetensors file of the same tensors is true of these: what
 * names are read as, what is tied, what is refused. They have no settings files, and no adapter.
 *
 * <p>Memory holds values in row-major order and native byte order, which is little-endian as in
 * files. It needs no alignment. It is used where it is, not copied when it is added: it must not
 * change, and its arena must stay open, as long as whatever reads these tensors is open, such as a
 * merge session; a confined arena must be that of the thread that reads. Off-heap memory is read in
 * place. Arrays and readers are copied a chunk at a time (whole tensors by rules that look at
 * tensors as wholes), since kernels read no memory of the heap; so is memory that is mapped or
 * confined to a thread where Java was started without native access. Tensors may share memory.
 *
 * <p>As a {@link TensorSink} these are the memory that a result is written to: they must have every
 * tensor of the result, with its dtype and shape. Tensors beside these stay as they are.
 *
 * <p>Immutable but for the values, which belong to the caller; safe for threads as far as the
 * memory is. Two of them are never equal.
 */
public final class NamedTensors implements TensorSink {
  private final Path path;
  private final Map<String, String> metadata;
  private final Map<String, TensorInfo> tensors;
  private final Map<String, Data> data;

  /**
   * Where a tensor's values are: one of the two.
   *
   * @param memory exactly its bytes
   */
  private record Data(@Nullable MemorySegment memory, @Nullable TensorReader reader) {}

  private NamedTensors(Builder builder) {
    this.path = builder.path;
    this.metadata = Collections.unmodifiableMap(new LinkedHashMap<>(builder.metadata));
    this.tensors = Collections.unmodifiableMap(new LinkedHashMap<>(builder.tensors));
    this.data = Map.copyOf(builder.data);
  }

  /**
   * Starts an empty set of tensors.
   *
   * @param name what messages and results call it, where they would give the path of a file
   * @throws IllegalArgumentException if it cannot be a path
   */
  public static Builder builder(String name) {
    if (name.isBlank()) {
      throw new IllegalArgumentException("the name of tensors in memory is blank");
    }
    return new Builder(Path.of(name));
  }

  /** The name as a path, which stands for these tensors in a request; there need be no file. */
  public Path path() {
    return path;
  }

  /** The tensors in the order in which they were added; their places in a file have no meaning. */
  public Map<String, TensorInfo> tensors() {
    return tensors;
  }

  /** As a file of these tensors would have it. */
  SafetensorsHeader header() {
    long bytes = tensors.values().stream().mapToLong(TensorInfo::end).max().orElse(0);
    return new SafetensorsHeader(path, metadata, tensors, 0, bytes);
  }

  /** The memory of a tensor; null if it has a reader. */
  @Nullable MemorySegment memoryOf(String name) {
    return Objects.requireNonNull(data.get(name)).memory();
  }

  /** The reader of a tensor; null if it has memory. */
  @Nullable TensorReader readerOf(String name) {
    return Objects.requireNonNull(data.get(name)).reader();
  }

  /** The memory that was added for a tensor of the result. */
  @Override
  public MemorySegment memory(TensorInfo tensor) {
    TensorInfo own = tensors.get(tensor.name());
    String wanted =
        "%s: the tensor %s is to be written, %s %s, "
            .formatted(path, Messages.quote(tensor.name()), tensor.dtype(), tensor.shapeText());
    if (own == null) {
      throw new InputException(
          wanted
              + "but there is no memory of that name"
              + NearestNames.of(tensor.name(), tensors.keySet()));
    }
    MemorySegment memory = memoryOf(tensor.name());
    if (memory == null) {
      throw new InputException(wanted + "but a reader was added for it, which takes no values");
    }
    if (own.dtype() != tensor.dtype() || !own.shape().equals(tensor.shape())) {
      throw new InputException(
          wanted + "but the memory for it is " + own.dtype() + " " + own.shapeText());
    }
    return memory;
  }

  /** Does nothing: the values are in the memory that was added. */
  @Override
  public void accept(TensorInfo tensor, MemorySegment values) {}

  @Override
  public String toString() {
    return path.toString();
  }

  /**
   * Collects tensors. Names are those of a model, as its safetensors file would have them; shapes
   * begin with the outermost size, and are empty for a scalar. Every method that adds a tensor
   * throws {@link IllegalArgumentException} if the name is taken, a size is negative or the memory
   * has not exactly the bytes that dtype and shape ask for. Not safe for threads.
   */
  public static final class Builder {
    private final Path path;
    private final Map<String, String> metadata = new LinkedHashMap<>();
    private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    private final Map<String, Data> data = new LinkedHashMap<>();
    private long begin;

    private Builder(Path path) {
      this.path = path;
    }

    /** Adds a tensor in memory, off the heap or of an array; that of a file mapped, for example. */
    public Builder add(String name, DType dtype, List<Long> shape, MemorySegment values) {
      return add(name, dtype, shape, values.byteSize(), new Data(values, null));
    }

    /** Adds an F32 tensor. */
    public Builder add(String name, float[] values, long... shape) {
      return add(name, DType.F32, sizes(shape), MemorySegment.ofArray(values));
    }

    /** Adds an F64 tensor. */
    public Builder add(String name, double[] values, long... shape) {
      return add(name, DType.F64, sizes(shape), MemorySegment.ofArray(values));
    }

    /**
     * Adds a tensor of 16-bit values.
     *
     * @param dtype F16 or BF16
     * @param bits as {@link Float#floatToFloat16} gives them, or the upper halves of floats
     */
    public Builder add(String name, DType dtype, short[] bits, long... shape) {
      return add(name, dtype, sizes(shape), MemorySegment.ofArray(bits));
    }

    /** Adds a tensor whose values are asked for when they are needed. */
    public Builder add(String name, DType dtype, List<Long> shape, TensorReader reader) {
      return add(name, dtype, shape, -1, new Data(null, reader));
    }

    /**
     * Adds entries of metadata, as a file of these tensors would have them: of a statistic those of
     * {@link StatisticMetadata#toMap(StatisticLayout)}. Without, a Fisher counts as a mean.
     */
    public Builder metadata(Map<String, String> entries) {
      metadata.putAll(entries);
      return this;
    }

    private Builder add(String name, DType dtype, List<Long> shape, long bytes, Data values) {
      String tensor = path + ": the tensor " + Messages.quote(name) + " ";
      if (shape.stream().anyMatch(size -> size < 0)) {
        throw new IllegalArgumentException(tensor + "cannot have the shape " + shape);
      }
      long end;
      try {
        end = Math.addExact(begin, TensorInfo.bytes(dtype, shape));
      } catch (ArithmeticException e) {
        throw new IllegalArgumentException(tensor + "is too large: " + e.getMessage(), e);
      }
      if (bytes >= 0 && bytes != end - begin) {
        throw new IllegalArgumentException(
            "%sis %s %s, %d bytes, but its memory has %d"
                .formatted(tensor, dtype, shape, end - begin, bytes));
      }
      if (tensors.putIfAbsent(name, new TensorInfo(name, dtype, shape, begin, end)) != null) {
        throw new IllegalArgumentException(tensor + "is added twice");
      }
      data.put(name, values);
      begin = end;
      return this;
    }

    private static List<Long> sizes(long... shape) {
      return Arrays.stream(shape).boxed().toList();
    }

    /** The tensors so far; the builder can be used further. */
    public NamedTensors build() {
      return new NamedTensors(this);
    }
  }

  /** All memory of these tensors, for a look at what overlaps. */
  List<MemoryRegions.Region> regions() {
    List<MemoryRegions.Region> regions = new ArrayList<>();
    data.forEach((name, each) -> {
      if (each.memory() != null) {
        regions.add(new MemoryRegions.Region(each.memory(), path + ", " + Messages.quote(name)));
      }
    });
    return regions;
  }
}
