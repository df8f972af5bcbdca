package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.fishermerge.kernels.CudaDevice.DEFAULT_STREAM;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * Operations on one GPU; those without a CUDA kernel run on a CPU engine.
 *
 * <p>Fisher accumulations take operands in the GPU's memory, are put on its default stream, where
 * libtorch's work is too, and are finished when {@link KernelMemory#read} returns. Averages take
 * operands in the process's memory, of any size: see {@link CudaAverages}.
 */
final class CudaEngine implements Engine {
  /**
   * A batch whose packed operands exceed this is taken in parts: more than on the CPU, as small
   * parts would not fill the chip.
   */
  private static final long WORKSPACE_BYTES = 2L << 30;

  private final CudaDevice device;
  private final CudaBindings cuda;
  private final CpuEngine cpu;
  private final CudaAverages averages;
  private final KernelInfo info;
  private final boolean synchronous = Boolean.getBoolean(KernelOptions.CUDA_SYNCHRONOUS);

  /** Closes both when it is closed. */
  CudaEngine(CudaDevice device, CpuEngine cpu) {
    this.device = device;
    this.cuda = device.bindings();
    this.cpu = cpu;
    this.averages = new CudaAverages(cuda, device.index(), cpu.pool(), cpu.files());
    this.info =
        new KernelInfo(
            Provider.CUDA.text(),
            device.isa(),
            Optional.of(cuda.library()),
            Optional.of(CudaBindings.ABI_VERSION),
            cpu.info().threads(),
            cpu.info().notes());
  }

  @Override
  public KernelInfo info() {
    return info;
  }

  @Override
  public boolean usesGpu() {
    return true;
  }

  @Override
  public OptionalLong gpuFreeBytes() {
    return OptionalLong.of(device.freeBytes());
  }

  @Override
  public MappedGuard guard(List<MappedFile> files) {
    return cpu.guard(files);
  }

  @Override
  public KernelMemory memory() {
    return device.memory();
  }

  @Override
  public MemorySegment readable(MemorySegment operand) {
    return device.copyToHost(operand);
  }

  // ---- operands in the process's memory ----

  @Override
  public ResidentInputs keepResident(List<MemorySegment> segments) {
    DeviceCopies copies = averages.keepResident(segments);
    return new ResidentInputs(
        !copies.isEmpty(), copies.description(), () -> averages.release(copies));
  }

  @Override
  public void weightedAverage(WeightedAverage average) {
    averages.weightedAverages(List.of(average), List.of());
  }

  @Override
  public List<WeightedAverage.Statistics> weightedAverages(
      List<WeightedAverage> requested, List<Double> thresholds, AverageVisitor visitor) {
    List<WeightedAverage.Statistics> found = averages.weightedAverages(requested, thresholds);
    for (int i = 0; i < requested.size(); i++) {
      WeightedAverage average = requested.get(i);
      visitor.visit(
          i,
          0,
          average.count(),
          input -> Objects.requireNonNull(average.inputs().get(input).fisher()));
    }
    return found;
  }

  @Override
  public List<ValueStatistics> statistics(List<TypedValues> ranges, double threshold) {
    return cpu.statistics(ranges, threshold);
  }

  @Override
  public PairSums pairSums(List<TypedValues> rows, long count) {
    return cpu.pairSums(rows, count);
  }

  @Override
  public List<ValueStatistics> mixTaskVectors(List<TaskVectorMix> mixes) {
    return cpu.mixTaskVectors(mixes);
  }

  @Override
  public List<RankedMagnitude> rankedMagnitudes(List<MagnitudeQuery> queries) {
    return cpu.rankedMagnitudes(queries);
  }

  @Override
  public void countMagnitudes(List<CountedDifferences> differences) {
    cpu.countMagnitudes(differences);
  }

  @Override
  public List<TaskVectorNorms> taskVectorNorms(TaskVectorMix mix) {
    return cpu.taskVectorNorms(mix);
  }

  // ---- operands in the GPU's memory ----

  @Override
  public void addSquares(MemorySegment gradient, double scale, MemorySegment fisher, long count) {
    device.makeCurrent();
    cuda.addSquares(gradient.address(), scale, fisher.address(), count, DEFAULT_STREAM);
    finish();
  }

  @Override
  public void addSquaredGradients(Batch batch, Activations a, long inputs, MemorySegment fisher) {
    device.makeCurrent();
    batch.split(
        a,
        squaredGradientsBytes(batch, a, inputs),
        WORKSPACE_BYTES,
        (part, activations) -> addSquaredGradientsPart(part, activations, inputs, fisher));
  }

  private long squaredGradientsBytes(Batch batch, Activations a, long inputs) {
    try (Arena arena = Arena.ofConfined()) {
      return squaredGradientsPlan(
              NativeStructs.cotangents(batch, arena),
              NativeStructs.activations(a, inputs, arena),
              arena)
          .get(JAVA_LONG, NativeStructs.CUDA_PLAN_WORKSPACE_BYTES);
    }
  }

  private MemorySegment squaredGradientsPlan(long g, long a, Arena arena) {
    MemorySegment plan = arena.allocate(NativeStructs.CUDA_SQUARED_GRADIENTS_PLAN);
    cuda.planSquaredGradients(g, a, device.precision(), plan.address());
    return plan;
  }

  private void addSquaredGradientsPart(
      Batch batch, Activations a, long inputs, MemorySegment fisher) {
    try (Arena arena = Arena.ofConfined()) {
      long g = NativeStructs.cotangents(batch, arena);
      long activations = NativeStructs.activations(a, inputs, arena);
      MemorySegment plan = squaredGradientsPlan(g, activations, arena);
      long space = device.workspace(plan.get(JAVA_LONG, NativeStructs.CUDA_PLAN_WORKSPACE_BYTES));
      cuda.addSquaredGradients(
          g,
          activations,
          plan.address(),
          space,
          fisher.address(),
          DEFAULT_STREAM,
          device.sideStream());
      finish();
    }
  }

  @Override
  public void addTokenSumSquares(Batch batch, MemorySegment fisher) {
    try (Arena arena = Arena.ofConfined()) {
      device.makeCurrent();
      long g = NativeStructs.cotangents(batch, arena);
      long space = device.workspace(cuda.tokenSumWorkspace(g));
      cuda.addTokenSumSquares(g, space, fisher.address(), DEFAULT_STREAM);
      finish();
    }
  }

  @Override
  public void addLayerNormSquares(
      Batch batch,
      Activations x,
      MemorySegment mean,
      MemorySegment rstd,
      MemorySegment fisherScale,
      MemorySegment fisherShift) {
    try (Arena arena = Arena.ofConfined()) {
      device.makeCurrent();
      long g = NativeStructs.cotangents(batch, arena);
      long space = device.workspace(cuda.layerNormWorkspace(g));
      cuda.addLayerNormSquares(
          g,
          NativeStructs.activations(x, batch.width(), arena),
          mean.address(),
          rstd.address(),
          space,
          fisherScale.address(),
          fisherShift.address(),
          DEFAULT_STREAM);
      finish();
    }
  }

  @Override
  public void addEmbeddingSquares(Batch batch, MemorySegment ids, long rows, MemorySegment fisher) {
    try (Arena arena = Arena.ofConfined()) {
      device.makeCurrent();
      cuda.addEmbeddingSquares(
          NativeStructs.cotangents(batch, arena),
          ids.address(),
          rows,
          fisher.address(),
          DEFAULT_STREAM);
      finish();
    }
  }

  /** Waits for the kernel where a fault is looked for. */
  private void finish() {
    if (synchronous) {
      device.synchronize();
    }
  }

  @Override
  public long workspaceBytes() {
    return device.workspaceBytes();
  }

  @Override
  public void close() {
    cpu.close();
    averages.close();
    device.close();
  }
}
