package org.fishermerge.torch.runtime;

import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.merge.LinearAlgebra;

/**
 * Linear algebra by libtorch, on the device that models use: on the CPU by BLAS and LAPACK, with
 * the same bits for any number of threads ({@link BlockedBlas}), on a GPU by CUDA's libraries.
 */
public final class LibTorchAlgebra implements LinearAlgebra {
  /** Contiguous. */
  private record Dense(Tensor values) implements Matrix {
    @Override
    public long rows() {
      return values.size(0);
    }

    @Override
    public long columns() {
      return values.size(1);
    }
  }

  /** Rows that are mirrored at once: what lies in the cache. */
  private static final long STRIP = 256;

  private final ScalarType precision;

  /** Of doubles. */
  public LibTorchAlgebra() {
    this(ScalarType.Double);
  }

  private LibTorchAlgebra(ScalarType precision) {
    this.precision = precision;
  }

  @Override
  public LinearAlgebra inSingle() {
    return new LibTorchAlgebra(ScalarType.Float);
  }

  private static Tensor of(Matrix a) {
    return ((Dense) a).values;
  }

  private static boolean isOnGpu(Matrix a) {
    return of(a).is_cuda();
  }

  /** LAPACK on one thread: with two, on two cores, it is no faster up to 3072 rows. */
  private static Dense lapack(Supplier<Tensor> work) {
    return new Dense(Tensors.scoped(() -> BlockedBlas.onOneThread(work).contiguous()));
  }

  /** {@inheritDoc} On a GPU that is for the kernels to say. */
  @Override
  public OptionalLong freeBytes() {
    return LibTorch.isOnGpu() ? OptionalLong.empty() : OptionalLong.of(SystemMemory.free());
  }

  @Override
  public void run(Runnable work) {
    LibTorch.initialize();
    try (PointerScope scope = new PointerScope()) {
      work.run();
    }
  }

  @Override
  public Matrix zeros(long rows, long columns) {
    return new Dense(
        Tensors.scoped(() -> LibTorch.onDevice(torch.zeros(rows, columns).to(precision))));
  }

  @Override
  public Matrix of(MemorySegment values, ElementType type, long rows, long columns) {
    ScalarType stored =
        switch (type) {
          case F32 -> ScalarType.Float;
          case F16 -> ScalarType.Half;
          case BF16 -> ScalarType.BFloat16;
          case F64 -> ScalarType.Double;
        };
    return new Dense(
        Tensors.scoped(() -> {
          Tensor copy = torch.empty(rows, columns).to(stored);
          Tensors.segment(copy).copyFrom(values);
          return LibTorch.onDevice(copy.to(precision));
        }));
  }

  @Override
  public Matrix symmetric(MemorySegment triangle, long n) {
    return new Dense(
        Tensors.scoped(() -> {
          Tensor values = torch.zeros(n, n);
          MemorySegment full = Tensors.segment(values);
          long from = 0;
          for (long row = 0; row < n; row++) {
            long bytes = (row + 1) * Float.BYTES;
            MemorySegment.copy(triangle, from, full, row * n * Float.BYTES, bytes);
            from += bytes;
          }
          for (long at = 0; at < n; at += STRIP) {
            long rows = Math.min(STRIP, n - at);
            Tensor strip = values.narrow(0, at, rows);
            values.narrow(1, at, rows).narrow(0, 0, at).copy_(strip.narrow(1, 0, at).t());
            Tensor corner = strip.narrow(1, at, rows);
            corner.add_(corner.tril(-1).t());
          }
          return LibTorch.onDevice(values.to(precision));
        }));
  }

  @Override
  public void read(Matrix a, MemorySegment out) {
    try (PointerScope scope = new PointerScope()) {
      out.copyFrom(Tensors.segment(of(a).to(ScalarType.Double).contiguous().cpu()));
    }
  }

  @Override
  public Matrix transposed(Matrix a) {
    return new Dense(Tensors.scoped(() -> of(a).t().contiguous()));
  }

  @Override
  public Matrix product(Matrix a, Matrix b) {
    if (isOnGpu(a)) {
      return new Dense(LibTorch.exactly(() -> torch.mm(of(a), of(b))));
    }
    Tensor product = Tensors.scoped(() -> torch.empty(a.rows(), b.columns()).to(precision));
    BlockedBlas.multiply(product, 0, 1, of(a), of(b));
    return new Dense(product);
  }

  @Override
  public void addProduct(Matrix into, double factor, Matrix a, Matrix b) {
    if (isOnGpu(a)) {
      try (PointerScope scope = new PointerScope()) {
        LibTorch.exactly(() -> of(into).addmm_(of(a), of(b), new Scalar(1.0), new Scalar(factor)));
      }
    } else {
      BlockedBlas.multiply(of(into), 1, factor, of(a), of(b));
    }
  }

  @Override
  public void add(Matrix into, double factor, Matrix a) {
    try (PointerScope scope = new PointerScope()) {
      of(into).add_(of(a), new Scalar(factor));
    }
  }

  @Override
  public void scale(Matrix a, double factor) {
    try (PointerScope scope = new PointerScope()) {
      of(a).mul_(new Scalar(factor));
    }
  }

  @Override
  public void addToDiagonal(Matrix a, double value) {
    try (PointerScope scope = new PointerScope()) {
      of(a).diagonal().add_(new Scalar(value));
    }
  }

  @Override
  public void scaleOffDiagonal(Matrix a, double factor) {
    try (PointerScope scope = new PointerScope()) {
      Tensor diagonal = of(a).diagonal().clone();
      of(a).mul_(new Scalar(factor));
      of(a).diagonal().copy_(diagonal);
    }
  }

  @Override
  public void scaleColumns(Matrix a, double[] factors) {
    try (PointerScope scope = new PointerScope()) {
      of(a).mul_(Tensors.copyOf(factors, factors.length).to(precision));
    }
  }

  @Override
  public double[] diagonal(Matrix a) {
    try (PointerScope scope = new PointerScope()) {
      return Tensors.doubles(of(a).diagonal().to(ScalarType.Double));
    }
  }

  @Override
  public void setDiagonal(Matrix a, double value) {
    try (PointerScope scope = new PointerScope()) {
      of(a).diagonal().fill_(new Scalar(value));
    }
  }

  @Override
  public double trace(Matrix a) {
    try (PointerScope scope = new PointerScope()) {
      return of(a).diagonal().to(ScalarType.Double).sum().item_double();
    }
  }

  @Override
  public double dot(Matrix a, Matrix b) {
    try (PointerScope scope = new PointerScope()) {
      // libtorch sums each row on one thread.
      ScalarTypeOptional wide = new ScalarTypeOptional(ScalarType.Double);
      double sum = 0;
      for (double row : Tensors.doubles(of(a).mul(of(b)).sum(new long[] {1}, false, wide))) {
        sum += row;
      }
      return sum;
    }
  }

  @Override
  public boolean isFinite(Matrix a) {
    try (PointerScope scope = new PointerScope()) {
      // Nothing cancels an infinity or a NaN, and no sum of finite floats is beyond a double.
      ScalarTypeOptional wide = new ScalarTypeOptional(ScalarType.Double);
      return Double.isFinite(of(a).sum(new long[] {1}, false, wide).sum().item_double());
    }
  }

  @Override
  public Optional<Matrix> cholesky(Matrix a) {
    Dense factor =
        lapack(() -> {
          T_TensorTensor_T found = torch.linalg_cholesky_ex(of(a), false, false);
          boolean positive = found.get1().item_int() == 0;
          return positive ? found.get0() : torch.empty(0);
        });
    return factor.values.numel() > 0 ? Optional.of(factor) : Optional.empty();
  }

  @Override
  public Matrix pseudoInverse(Matrix a, double above) {
    Dense factor =
        lapack(() -> {
          T_TensorTensor_T found = torch.linalg_eigh(of(a));
          Tensor values = found.get0();
          // V^+ of a = V diag(values) V^T, by roots: (V D) (V D)^T with D = values^-1/2.
          return found
              .get1()
              .mul(values.rsqrt().masked_fill_(values.le(new Scalar(above)), new Scalar(0.0)));
        });
    return product(factor, transposed(factor));
  }

  @Override
  public Matrix inverse(Matrix choleskyOfA) {
    return lapack(() -> torch.cholesky_inverse(of(choleskyOfA), false));
  }

  @Override
  public Matrix solve(Matrix choleskyOfA, Matrix b) {
    if (isOnGpu(b)) {
      return new Dense(
          Tensors.scoped(() -> torch.cholesky_solve(of(b), of(choleskyOfA), false).contiguous()));
    }
    Tensor solution = Tensors.scoped(() -> of(b).clone());
    BlockedBlas.solve(of(choleskyOfA), solution);
    return new Dense(solution);
  }
}
