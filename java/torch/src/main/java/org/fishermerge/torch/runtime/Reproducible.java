package org.fishermerge.torch.runtime;

import java.util.stream.Stream;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Those of libtorch's operators whose bits on the CPU depend on how many threads share them, in a
 * form whose bits do not: what the threads share are parts whose size depends on the tensors'
 * alone. On a GPU, in half precision, and where libtorch is linked with another BLAS than OpenBLAS,
 * these are libtorch's own.
 */
public final class Reproducible {
  /**
   * Elements that libtorch computes on one thread (at::internal::GRAIN_SIZE). It divides more of
   * them evenly, and computes what is left over at the end of each thread's share, less than a few
   * vectors, with other instructions.
   */
  private static final long PART = 1 << 15;

  private static final boolean OPENBLAS =
      Stream.of("openblas_set_num_threads", "cblas_sgemm")
          .allMatch(name -> Loader.addressof(name) != null);

  private Reproducible() {}

  private static boolean takes(Tensor a, Tensor b) {
    ScalarType type = a.scalar_type().intern();
    return OPENBLAS
        && !a.is_cuda()
        && (type == ScalarType.Float || type == ScalarType.Double)
        && a.numel() > 0
        && b.numel() > 0;
  }

  /**
   * a b for each matrix of a and of b.
   *
   * @param a [..., m, k]
   * @param b [..., k, n]; of the two, one may have fewer leading dimensions
   * @return [..., m, n], contiguous
   */
  public static Tensor matmul(Tensor a, Tensor b) {
    if (!takes(a, b)) {
      return a.matmul(b);
    }
    if (b.dim() == 2 && a.dim() > 2) {
      // One product is faster than many.
      long[] shape = shape(a, a.size(-2), b.size(-1));
      return matmul(a.reshape(-1, a.size(-1)), b).view(shape);
    }
    Tensor longer = a.dim() >= b.dim() ? a : b;
    Tensor product =
        torch.empty(shape(longer, a.size(-2), b.size(-1)), a.options(), new MemoryFormatOptional());
    BlockedBlas.multiply(product, 0, 1, a, b);
    return product;
  }

  private static long[] shape(Tensor leading, long rows, long columns) {
    long[] shape = leading.shape();
    shape[shape.length - 2] = rows;
    shape[shape.length - 1] = columns;
    return shape;
  }

  /** factor * (bias + a b) for matrices a [m, k] and b [k, n], and a bias [n]. */
  public static Tensor addmm(Tensor bias, Tensor a, Tensor b, double factor) {
    if (!takes(a, b)) {
      return torch.addmm(bias, a, b, new Scalar(factor), new Scalar(factor));
    }
    Tensor sum =
        torch.empty(shape(a, a.size(0), b.size(1)), a.options(), new MemoryFormatOptional());
    sum.copy_(bias);
    BlockedBlas.multiply(sum, factor, factor, a, b);
    return sum;
  }

  /** into += a b for matrices. */
  public static void addProduct(Tensor into, Tensor a, Tensor b) {
    if (takes(a, b)) {
      BlockedBlas.multiply(into, 1, 1, a, b);
    } else {
      into.addmm_(a, b);
    }
  }

  /**
   * into += factor * a b for a square matrix, of which at least what lies on and below the diagonal
   * is computed, in full fp32 whatever precision is set.
   *
   * @param strip rows that are computed at once, up to the last of their columns, where that is for
   *     libtorch to do
   */
  public static void addLowerProduct(Tensor into, double factor, Tensor a, Tensor b, long strip) {
    if (takes(a, b)) {
      BlockedBlas.multiplyLower(into, 1, factor, a, b);
      return;
    }
    long n = into.size(0);
    for (long at = 0; at < n; at += strip) {
      long rows = Math.min(strip, n - at);
      Tensor part = into.narrow(0, at, rows).narrow(1, 0, at + rows);
      Tensor left = a.narrow(0, at, rows);
      Tensor right = b.narrow(1, 0, at + rows);
      LibTorch.exactly(() -> part.addmm_(left, right, new Scalar(1.0), new Scalar(factor)));
    }
  }

  /** The sum of a_j b_j of two vectors in fp32. */
  public static double dot(Tensor a, Tensor b) {
    return takes(a, b) ? BlockedBlas.dot(a, b) : a.dot(b).item_double();
  }

  /** An operator on each element that writes to its first argument. */
  @FunctionalInterface
  public interface Unary {
    void apply(Tensor into, Tensor x);
  }

  /** An operator on two elements each that writes to its first argument. */
  @FunctionalInterface
  public interface Binary {
    void apply(Tensor into, Tensor x, Tensor y);
  }

  /** An operator on each element of x. */
  public static Tensor each(Tensor x, Unary operator) {
    return each(x, x, (into, part, _) -> operator.apply(into, part));
  }

  /**
   * An operator on each element of x with that of y.
   *
   * @param y as x, or without some of its leading dimensions
   */
  public static Tensor each(Tensor x, Tensor y, Binary operator) {
    Tensor from = x.contiguous();
    Tensor with = y.contiguous();
    Tensor into = torch.empty_like(from);
    if (x.is_cuda()) {
      operator.apply(into, from, with.expand_as(from));
      return into;
    }
    long count = with.numel();
    for (long first = 0; first < from.numel(); first += count) {
      each(
          into.view(-1).narrow(0, first, count),
          from.view(-1).narrow(0, first, count),
          with.view(-1),
          operator);
    }
    return into;
  }

  /** For vectors. */
  private static void each(Tensor into, Tensor x, Tensor y, Binary operator) {
    int threads = LibTorch.threads();
    long count = into.numel();
    // As many full parts to each of libtorch's threads, and what is left one by one.
    long even = count - count % (threads * PART);
    if (even > 0) {
      operator.apply(into.narrow(0, 0, even), x.narrow(0, 0, even), y.narrow(0, 0, even));
    }
    Workers.forEach(
        threads,
        (count - even + PART - 1) / PART,
        part -> {
          LibTorch.initialize(); // on this thread
          long first = even + part * PART;
          long length = Math.min(PART, count - first);
          try (PointerScope scope = new PointerScope()) {
            operator.apply(
                into.narrow(0, first, length),
                x.narrow(0, first, length),
                y.narrow(0, first, length));
          }
        });
  }
}
