package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.WeightedAverage;
import org.fishermerge.kernels.WeightedInput;

/** Copies tensors of the base into the output. */
final class KeptTensors {
  private final MergePlan plan;
  private final Checkpoint base;
  private final Kernels kernels;
  private final MergeProgress progress;

  KeptTensors(MergePlan plan, Checkpoint base, Kernels kernels, MergeProgress progress) {
    this.plan = plan;
    this.base = base;
    this.kernels = kernels;
    this.progress = progress;
  }

  /** Writes a tensor that keeps the base's values, in the output's dtype. */
  void write(CheckpointTensor tensor, CheckpointWriter writer) {
    MemorySegment out = writer.segment(tensor.name());
    write(tensor, out);
    writer.writeBehind(tensor.name(), out);
  }

  private void write(CheckpointTensor tensor, MemorySegment out) {
    String name = tensor.canonicalName();
    if (!base.isComputed(name)) {
      write(tensor, 0, tensor.info().elementCount(), base.segment(name), out);
      return;
    }
    long width = plan.outputDtype(tensor).bits() / Byte.SIZE;
    long count = tensor.info().elementCount();
    long most = ComputedValues.alignedBytes(base, name, Math.min(Piece.ELEMENTS, count));
    try (ComputedValues computed = new ComputedValues(most)) {
      for (long at = 0; at < count; at += Piece.ELEMENTS) {
        long length = Math.min(Piece.ELEMENTS, count - at);
        ComputedValues.Chunk chunk = computed.chunk();
        MemorySegment values = chunk.place(base, name, at, length);
        chunk.compute();
        write(tensor, at, length, values, out.asSlice(at * width, length * width));
      }
    }
  }

  /** Converts values, rounding once; returns whether all are finite. */
  static boolean cast(
      Kernels kernels, MemorySegment values, DType from, MemorySegment out, DType to, long count) {
    WeightedInput whole =
        new WeightedInput(values, ElementTypes.of(from), null, ElementType.F32, 0, 1);
    WeightedAverage cast = new WeightedAverage(List.of(whole), out, ElementTypes.of(to), count);
    return kernels.weightedAverages(List.of(cast), List.of()).getFirst().out().finite();
  }

  /** The same for elements from {@code first} on. */
  private void write(
      CheckpointTensor tensor, long first, long count, MemorySegment values, MemorySegment out) {
    DType from = tensor.info().dtype();
    DType to = plan.outputDtype(tensor);
    if (from == to) {
      out.copyFrom(values);
    } else {
      if (!cast(kernels, values, from, out, to, count)) {
        // Attention masks may hold infinities on purpose; a finite value must stay one.
        for (long j = 0; j < count; j++) {
          double value = Values.get(values, from, j);
          if (Double.isFinite(value) && !Double.isFinite(Values.get(out, to, j))) {
            throw BadValues.overflow(tensor, to, first + j, value);
          }
        }
      }
    }
    progress.advance(values.byteSize());
  }
}
