package org.fishermerge.torch;

import static org.bytedeco.pytorch.global.torch.mm_out;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;

/**
 * libtorch's own speed at what our kernels are measured against. Each method runs the work once.
 */
public final class LibTorchPeer implements AutoCloseable {
  private final Tensor left;
  private final Tensor right;
  private final Tensor product;

  /** Readies an fp32 product [m, k] x [k, n]; with {@code k = 0}, a sum over m * n values. */
  public LibTorchPeer(long m, long n, long k) {
    LibTorch.initialize();
    left = Tensors.onlyResultOf(() -> torch.rand(new long[] {m, k == 0 ? n : k}));
    right = Tensors.onlyResultOf(() -> torch.rand(new long[] {Math.max(k, 1), n}));
    product = Tensors.onlyResultOf(() -> torch.empty(new long[] {m, k == 0 ? 1 : n}));
  }

  /** One matrix product into memory that was allocated before. */
  public void multiply() {
    try (PointerScope scope = new PointerScope()) {
      mm_out(product, left, right);
    }
  }

  /** Reads every value of the left operand once. */
  public void sum() {
    try (PointerScope scope = new PointerScope()) {
      left.sum();
    }
  }

  @Override
  public void close() {
    left.close();
    right.close();
    product.close();
  }
}
