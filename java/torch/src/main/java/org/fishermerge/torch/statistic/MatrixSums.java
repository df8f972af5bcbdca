package org.fishermerge.torch.statistic;

import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Reproducible;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * Sums in fp32 of symmetric matrices, where the model is, by name. One matrix may have several
 * names. Between reads only the lower triangle is kept up to date.
 */
final class MatrixSums implements AutoCloseable {
  /**
   * Rows that are added to at once, up to the last of their columns: with eight strips or more to a
   * matrix, little above the diagonal is computed, and a strip is wide enough for products to run
   * at their full speed.
   */
  private static final long STRIP = 384;

  private final Map<String, Tensor> byName = new LinkedHashMap<>();

  /** Copies in the process's memory of those that lie in a GPU's. */
  private final Map<Tensor, Tensor> mirrors = new HashMap<>(); // by address

  /** A new matrix of zeros, [n, n]; lives as long as this. */
  Tensor zeros(String name, long n) {
    Tensor sum = Tensors.onlyResultOf(() -> LibTorch.onDevice(torch.zeros(n, n)));
    byName.put(name, sum);
    return sum;
  }

  /** Gives a matrix another name besides. */
  void alias(String name, Tensor sum) {
    byName.put(name, sum);
  }

  /**
   * sum += factor * left^T right, of which the strips up to the diagonal are computed.
   *
   * @param left [rows, n]
   * @param right [rows, n], such that the product is symmetric
   */
  static void add(Tensor sum, double factor, Tensor left, Tensor right) {
    Reproducible.addLowerProduct(sum, factor, left.t(), right, STRIP);
  }

  /**
   * The inputs of all tokens, [B * T, I]; those of padding as zeros.
   *
   * @param input [B, T, I]
   * @param real which tokens are no padding, [B, all tokens] of ones and zeros; null where all are
   */
  static Tensor realRows(Tensor input, @Nullable Tensor real) {
    // Where only one token of each example is left, that is a real one.
    Tensor used =
        real == null || real.size(1) != input.size(1) ? input : input.mul(real.unsqueeze(2));
    return used.reshape(-1, input.size(2));
  }

  /** Copies what lies below the diagonal above it. */
  private static void mirror(Tensor sum) {
    try (PointerScope scope = new PointerScope()) {
      long n = sum.size(0);
      for (long at = 0; at < n; at += STRIP) {
        long rows = Math.min(STRIP, n - at);
        Tensor strip = sum.narrow(0, at, rows);
        sum.narrow(1, at, rows).narrow(0, 0, at).copy_(strip.narrow(1, 0, at).t());
        Tensor corner = strip.narrow(1, at, rows);
        corner.copy_(corner.tril().add(corner.tril(-1).t()));
      }
    }
  }

  private Set<Tensor> distinct() {
    return new HashSet<>(byName.values()); // by address
  }

  /** As {@link Statistic#byName}; [n, n], row by row. */
  Map<String, MemorySegment> read() {
    distinct().forEach(MatrixSums::mirror);
    Map<Tensor, MemorySegment> segments = new HashMap<>(); // by address
    Map<String, MemorySegment> read = new LinkedHashMap<>();
    byName.forEach((name, sum) -> read.put(name, segments.computeIfAbsent(sum, this::segment)));
    return read;
  }

  private MemorySegment segment(Tensor sum) {
    if (!sum.is_cuda()) {
      return Tensors.segment(sum);
    }
    Tensor mirror =
        mirrors.computeIfAbsent(sum, any -> Tensors.onlyResultOf(() -> sum.cpu().contiguous()));
    mirror.copy_(sum);
    return Tensors.segment(mirror);
  }

  /** As {@link Statistic#store}. */
  void store() {
    mirrors.forEach((sum, mirror) -> sum.copy_(mirror));
  }

  /** Memory of all of them. */
  long bytes() {
    return distinct().stream().mapToLong(sum -> sum.numel() * Float.BYTES).sum();
  }

  @Override
  public void close() {
    distinct().forEach(Tensor::close);
    mirrors.values().forEach(Tensor::close);
    byName.clear();
    mirrors.clear();
  }
}
