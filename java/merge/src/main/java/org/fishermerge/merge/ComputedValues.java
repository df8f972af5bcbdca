package org.fishermerge.merge;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.MappedData;
import org.fishermerge.kernels.TypedValues;

/**
 * Values that are made while they are read, by a LoRA adapter or a program's reader, or copied from
 * Java arrays: memory for one chunk of a merge, used again for the next. Not for several threads.
 */
final class ComputedValues implements AutoCloseable {
  /** Kernels like their operands to begin at cache lines. */
  private static final long ALIGNMENT = 64;

  private final Arena arena = Arena.ofShared();
  private final MemorySegment memory;

  /** A stretch of a tensor that is to be computed, and where to. */
  private record Stretch(
      Checkpoint model, String canonicalName, long from, long count, MemorySegment target) {}

  /** The stretches of a chunk. */
  final class Chunk {
    private final List<Stretch> stretches = new ArrayList<>();
    private long used;

    /** Where the values of a stretch will be after {@link #compute}. */
    MemorySegment place(Checkpoint model, String canonicalName, long from, long count) {
      long bytes = bytes(model, canonicalName, count);
      MemorySegment target = memory.asSlice(used, bytes);
      used += aligned(bytes);
      stretches.add(new Stretch(model, canonicalName, from, count, target));
      return target;
    }

    /** A stretch as a kernel takes it: where it lies, or where it will be. */
    TypedValues values(Checkpoint model, CheckpointTensor tensor, long from, long count) {
      String name = tensor.canonicalName();
      MemorySegment data =
          model.isComputed(name)
              ? place(model, name, from, count)
              : model.source(name, from, count);
      return new TypedValues(data, ElementTypes.of(tensor.info().dtype()));
    }

    void readAhead() {
      stretches.forEach(
          s -> MappedData.readAhead(s.model.source(s.canonicalName, s.from, s.count)));
    }

    /** Computes the values of this chunk, in the place of those of any other. */
    void compute() {
      for (Stretch s : stretches) {
        s.model.copy(s.canonicalName, s.from, s.count, s.target);
        MappedData.release(s.model.source(s.canonicalName, s.from, s.count));
      }
    }
  }

  /**
   * Takes memory.
   *
   * @param mostBytes what the largest chunk needs, by {@link #alignedBytes}
   */
  ComputedValues(long mostBytes) {
    this.memory = arena.allocate(mostBytes, ALIGNMENT);
  }

  Chunk chunk() {
    return new Chunk();
  }

  /** Memory for a stretch; none if it need not be computed. */
  static long alignedBytes(Checkpoint model, String canonicalName, long count) {
    return model.isComputed(canonicalName) ? aligned(bytes(model, canonicalName, count)) : 0;
  }

  private static long aligned(long bytes) {
    return Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT;
  }

  private static long bytes(Checkpoint model, String canonicalName, long count) {
    return count * (model.tensor(canonicalName).info().dtype().bits() / Byte.SIZE);
  }

  /** A stretch by itself, no longer than a piece: where it lies, or computed into an array. */
  static MemorySegment read(Checkpoint model, String canonicalName, long from, long count) {
    return read(
        model,
        canonicalName,
        from,
        count,
        (bytes, alignment) -> MemorySegment.ofArray(new byte[Math.toIntExact(bytes)]));
  }

  /** A whole tensor, of any size: where it lies, or computed into memory of the arena. */
  static MemorySegment read(Checkpoint model, String canonicalName, Arena arena) {
    long count = model.tensor(canonicalName).info().elementCount();
    return read(model, canonicalName, 0, count, arena);
  }

  private static MemorySegment read(
      Checkpoint model, String canonicalName, long from, long count, SegmentAllocator memory) {
    if (!model.isComputed(canonicalName)) {
      return model.source(canonicalName, from, count);
    }
    MemorySegment target = memory.allocate(bytes(model, canonicalName, count), 1);
    model.copy(canonicalName, from, count, target);
    return target;
  }

  @Override
  public void close() {
    arena.close();
  }
}
