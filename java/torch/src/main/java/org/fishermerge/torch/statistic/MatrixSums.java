package org.fishermerge.torch.statistic;

import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;

/**
 * Square matrices of sums in fp32, where the model is, by name. One matrix may have several names.
 */
final class MatrixSums implements AutoCloseable {
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

  private Set<Tensor> distinct() {
    return new HashSet<>(byName.values()); // by address
  }

  /** As {@link Statistic#byName}; [n, n], row by row. */
  Map<String, MemorySegment> read() {
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
