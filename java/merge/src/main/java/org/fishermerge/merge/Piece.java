package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToLongFunction;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.kernels.ValueStatistics;

/**
 * A stretch of a tensor. Tensors are cut into pieces, and pieces gathered into chunks of equal size
 * whose elements all threads share, so that neither one large tensor nor a thousand small ones
 * leave a thread idle.
 */
record Piece(Parameter parameter, long from, long count) {
  /** Elements at most; sums of squares are added piece by piece. */
  static final long ELEMENTS = ValueStatistics.PIECE_ELEMENTS;

  CheckpointTensor tensor() {
    return parameter.tensor();
  }

  boolean endsTensor() {
    return from + count == tensor().info().elementCount();
  }

  /** Its part of the data of a whole tensor. */
  MemorySegment of(MemorySegment data, DType dtype) {
    long bytes = dtype.bits() / Byte.SIZE;
    return data.asSlice(from * bytes, count * bytes);
  }

  /** Pieces in order, gathered until their input bytes reach {@code chunkBytes}. */
  static List<List<Piece>> chunks(
      List<Parameter> parameters, ToLongFunction<Parameter> bytesPerElement, long chunkBytes) {
    List<List<Piece>> chunks = new ArrayList<>();
    List<Piece> chunk = new ArrayList<>();
    long bytes = 0;
    for (Parameter parameter : parameters) {
      long width = bytesPerElement.applyAsLong(parameter);
      long elements = parameter.tensor().info().elementCount();
      long from = 0;
      do {
        long count = Math.min(ELEMENTS, elements - from);
        chunk.add(new Piece(parameter, from, count));
        bytes += count * width;
        if (bytes >= chunkBytes) {
          chunks.add(chunk);
          chunk = new ArrayList<>();
          bytes = 0;
        }
        from += count;
      } while (from < elements);
    }
    if (!chunk.isEmpty()) {
      chunks.add(chunk);
    }
    return chunks;
  }
}
