package org.fishermerge.torch.runtime;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * Copies values between Java and libtorch, and keeps track of who frees a tensor. Tensors made from
 * values are created on the device that models use, see {@link LibTorch#useGpu}; values are read by
 * way of a copy in the process's memory. A tensor created inside a {@link PointerScope} is freed
 * when the scope ends, unless {@link #retain} was called on it; then the caller closes it.
 */
public final class Tensors {
  private Tensors() {}

  /**
   * The memory of a tensor from its first element on; valid while the tensor lives. That of a CUDA
   * tensor is a device address, which only kernels can use.
   */
  public static MemorySegment segment(Tensor tensor) {
    // Strided views are addressed by the caller, so the segment ends with the last element reached.
    long elements = 1;
    for (long d = 0; d < tensor.dim(); d++) {
      if (tensor.size(d) == 0) {
        elements = 0;
        break;
      }
      elements += (tensor.size(d) - 1) * tensor.stride(d);
    }
    return MemorySegment.ofAddress(tensor.data_ptr().address())
        .reinterpret(elements * tensor.element_size());
  }

  /** A new fp32 tensor with a copy of {@code values}. */
  public static Tensor copyOf(MemorySegment values, long... shape) {
    Tensor tensor = LibTorch.toBeFilled(shape);
    segment(tensor).copyFrom(values);
    return LibTorch.onDevice(tensor);
  }

  public static Tensor copyOf(float[] values, long... shape) {
    return copyOf(MemorySegment.ofArray(values), shape);
  }

  /** A new int64 tensor of {@code values}. */
  public static Tensor copyOf(int[] values) {
    return copyOf(Arrays.stream(values).asLongStream().toArray(), values.length);
  }

  /** A new int64 tensor with a copy of {@code values}. */
  public static Tensor copyOf(long[] values, long... shape) {
    return copyOf(MemorySegment.ofArray(values), torch.ScalarType.Long, shape);
  }

  /** A new float64 tensor with a copy of {@code values}. */
  public static Tensor copyOf(double[] values, long... shape) {
    return copyOf(MemorySegment.ofArray(values), torch.ScalarType.Double, shape);
  }

  private static Tensor copyOf(MemorySegment values, torch.ScalarType type, long... shape) {
    Tensor tensor = torch.empty(shape).to(type);
    segment(tensor).copyFrom(values);
    return LibTorch.onDevice(tensor);
  }

  /** The values of an fp32 tensor in row-major order. */
  public static float[] floats(Tensor tensor) {
    try (PointerScope scope = new PointerScope()) {
      return segment(tensor.contiguous().cpu()).toArray(ValueLayout.JAVA_FLOAT);
    }
  }

  /** The values of a float64 tensor in row-major order. */
  public static double[] doubles(Tensor tensor) {
    try (PointerScope scope = new PointerScope()) {
      return segment(tensor.contiguous().cpu()).toArray(ValueLayout.JAVA_DOUBLE);
    }
  }

  /** The values of an int64 tensor in row-major order. */
  public static int[] ints(Tensor tensor) {
    try (PointerScope scope = new PointerScope()) {
      long[] values = segment(tensor.contiguous().cpu()).toArray(ValueLayout.JAVA_LONG);
      return Arrays.stream(values).mapToInt(Math::toIntExact).toArray();
    }
  }

  /** The given entries along dimension 0, copied; all of them, not copied, for null. */
  public static Tensor entries(Tensor tensor, @Nullable Tensor indices) {
    return indices == null ? tensor : tensor.index_select(0, indices);
  }

  /** A copy of the bytes of a tensor of any dtype in row-major order. */
  public static MemorySegment bytes(Tensor tensor) {
    try (PointerScope scope = new PointerScope()) {
      MemorySegment source = segment(tensor.detach().contiguous().cpu());
      return Arena.ofAuto()
          .allocate(Math.max(1, source.byteSize()), 8)
          .asSlice(0, source.byteSize())
          .copyFrom(source);
    }
  }

  /** Keeps {@code tensor} alive beyond the current scope. The caller must close it. */
  public static Tensor retain(Tensor tensor) {
    tensor.retainReference();
    return tensor;
  }

  /** Runs {@code body} in a scope of its own and keeps only its result, which the caller closes. */
  public static Tensor onlyResultOf(Supplier<Tensor> body) {
    try (PointerScope scope = new PointerScope()) {
      return retain(body.get());
    }
  }

  /**
   * Lets go of a tensor of the innermost scope before that ends. It lives on while others, such as
   * a tape, retain it.
   */
  public static void drop(Tensor tensor) {
    PointerScope around = PointerScope.getInnerScope();
    if (around == null) {
      throw new IllegalStateException("no scope to take a tensor from");
    }
    // Not close(): the scope would release its reference once more when it ends.
    around.detach(tensor);
  }

  /** Runs {@code body} in a scope of its own and hands its result alone to the caller's scope. */
  public static Tensor scoped(Supplier<Tensor> body) {
    Tensor result = onlyResultOf(body);
    PointerScope around = PointerScope.getInnerScope();
    if (around == null) {
      throw new IllegalStateException("no scope to hand a tensor to");
    }
    around.attach(result);
    result.releaseReference();
    return result;
  }
}
