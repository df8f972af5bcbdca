package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.MappedData;
import org.fishermerge.kernels.AverageVisitor;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.kernels.ValueStatistics;
import org.fishermerge.kernels.WeightedAverage;
import org.fishermerge.kernels.WeightedInput;

/**
 * Applies an {@link ElementwiseRule} to everything that is merged. Data streams from mapped inputs
 * to the output mapped in place, chunk by chunk: while one is worked on, the next one is read and
 * the last one written. The result has the same bits for any number of threads, for any order and
 * sharding of the inputs' tensors.
 */
final class StreamingAverage {
  /** Input bytes of a chunk: long enough for threads to meet rarely, short beside any memory. */
  private static final long CHUNK_BYTES = 128L << 20;

  /** The same for a GPU, whose pipeline of copies and kernels runs empty at the end of a chunk. */
  private static final long GPU_CHUNK_BYTES = 1L << 30;

  /**
   * Chunks are as much shorter where values are computed: they are written before they are read.
   */
  private static final long COMPUTED_SHARE = 4;

  private final MergePlan plan;
  private final MergeInputs inputs;
  private final Kernels kernels;
  private final boolean streamed;
  private final StatisticScan scan;
  private final MergeProgress progress;
  private final Optional<ShareSample> shares;

  /**
   * Prepares the pass.
   *
   * @param streamed whether the inputs are read from their files, and not known to be on a GPU
   * @param scan gives the weights, and takes what the pass sees of the statistics
   */
  StreamingAverage(
      MergePlan plan,
      MergeInputs inputs,
      Kernels kernels,
      boolean streamed,
      StatisticScan scan,
      MergeProgress progress) {
    this.plan = plan;
    this.inputs = inputs;
    this.kernels = kernels;
    this.streamed = streamed;
    this.scan = scan;
    this.progress = progress;
    // Constant weights are no news.
    this.shares =
        plan.request().measureShares() && !inputs.fishers().isEmpty()
            ? Optional.of(new ShareSample())
            : Optional.empty();
  }

  /** What each model had to say, tensor by tensor; empty unless it was asked for. */
  List<TensorShares> shares() {
    return shares.map(ShareSample::results).orElse(List.of());
  }

  /** Writes all merged tensors, but for the copies of tied ones. */
  void write(CheckpointWriter writer) {
    shares.ifPresent(ShareSample::clear);
    long chunkBytes = kernels.usesGpu() ? GPU_CHUNK_BYTES : CHUNK_BYTES;
    boolean computes =
        plan.choice().streamed().stream()
            .anyMatch(parameter -> inputs.computedBytes(parameter, 1) > 0);
    List<List<Piece>> chunks =
        Piece.chunks(
            plan.choice().streamed(),
            this::bytesPerElement,
            computes ? chunkBytes / COMPUTED_SHARE : chunkBytes);
    long mostComputed = chunks.stream().mapToLong(this::computedBytes).max().orElse(0);
    try (ComputedValues computed = new ComputedValues(mostComputed)) {
      write(chunks, computed, writer);
    }
  }

  /** Anonymous memory: the values of a chunk that are made as they are read. */
  static long heldBytes(MergeInputs inputs, List<Parameter> parameters) {
    long all = 0;
    long largestPiece = 0;
    for (Parameter parameter : parameters) {
      long count = parameter.tensor().info().elementCount();
      all += inputs.computedBytes(parameter, count);
      largestPiece =
          Math.max(largestPiece, inputs.computedBytes(parameter, Math.min(count, Piece.ELEMENTS)));
    }
    return Math.min(all, CHUNK_BYTES / COMPUTED_SHARE + largestPiece);
  }

  private long bytesPerElement(Parameter parameter) {
    long bytes = 0;
    for (int i = 0; i < inputs.models().size(); i++) {
      bytes += inputs.valueOf(i, parameter).info().dtype().bits() / Byte.SIZE;
    }
    for (int i = 0; i < inputs.fishers().size(); i++) {
      bytes += inputs.fisherOf(i, parameter).info().dtype().bits() / Byte.SIZE;
    }
    return bytes;
  }

  private long computedBytes(List<Piece> chunk) {
    return chunk.stream().mapToLong(p -> inputs.computedBytes(p.parameter(), p.count())).sum();
  }

  /** What a chunk's kernels are to do, and the values that are computed before. */
  private record Work(List<WeightedAverage> averages, ComputedValues.Chunk computed) {
    List<MemorySegment> operands() {
      return averages.stream().flatMap(average -> average.operands().stream()).toList();
    }
  }

  private void write(List<List<Piece>> chunks, ComputedValues computed, CheckpointWriter writer) {
    List<Double> thresholds = scan.thresholds();
    ValueStatistics[] ofTensor = new ValueStatistics[thresholds.size() + 1];
    Arrays.fill(ofTensor, ValueStatistics.EMPTY);
    Work next =
        chunks.isEmpty()
            ? new Work(List.of(), computed.chunk())
            : work(chunks.getFirst(), computed.chunk(), writer);
    for (int c = 0; c < chunks.size(); c++) {
      List<Piece> chunk = chunks.get(c);
      List<WeightedAverage> averages = next.averages();
      ComputedValues.Chunk values = next.computed();
      if (c + 1 < chunks.size()) {
        next = work(chunks.get(c + 1), computed.chunk(), writer);
        next.computed().readAhead();
        if (streamed) {
          next.operands().forEach(MappedData::readAhead);
        }
      }
      values.compute();
      List<ShareSample.Part> sampled = sampled(chunk, averages);
      List<WeightedAverage.Statistics> found =
          kernels.weightedAverages(
              averages,
              thresholds,
              sampled.isEmpty()
                  ? AverageVisitor.NONE
                  : (k, from, to, fishers) -> sampled.get(k).look(from, to, fishers));
      for (int k = 0; k < chunk.size(); k++) {
        WeightedAverage average = averages.get(k);
        Parameter parameter = chunk.get(k).parameter();
        CheckpointTensor tensor = parameter.tensor();
        if (!sampled.isEmpty()) {
          shares.orElseThrow().add(sampled.get(k));
        }
        for (int i = 0; i < thresholds.size(); i++) {
          ofTensor[i] = ofTensor[i].plus(found.get(k).fishers().get(i));
        }
        ofTensor[thresholds.size()] = ofTensor[thresholds.size()].plus(found.get(k).out());
        if (chunk.get(k).endsTensor()) {
          for (int i = 0; i < thresholds.size(); i++) {
            scan.add(i, parameter, ofTensor[i]);
          }
          if (!ofTensor[thresholds.size()].finite()) {
            BadValues.requireFinite(
                plan.request().rule(),
                inputs,
                parameter,
                writer.segment(tensor.name()),
                plan.outputDtype(tensor));
          }
          Arrays.fill(ofTensor, ValueStatistics.EMPTY);
        }
        for (MemorySegment operand : average.operands()) {
          progress.advance(operand.byteSize());
          if (streamed) {
            MappedData.release(operand);
          }
        }
        writer.writeBehind(tensor.name(), average.out());
      }
    }
  }

  /** One for each piece, where shares are measured. */
  private List<ShareSample.Part> sampled(List<Piece> chunk, List<WeightedAverage> averages) {
    List<ShareSample.Part> parts = new ArrayList<>();
    for (int k = 0; shares.isPresent() && k < chunk.size(); k++) {
      parts.add(new ShareSample.Part(chunk.get(k), averages.get(k)));
    }
    return parts;
  }

  private Work work(List<Piece> chunk, ComputedValues.Chunk computed, CheckpointWriter writer) {
    List<WeightedAverage> averages = new ArrayList<>(chunk.size());
    for (Piece piece : chunk) {
      CheckpointTensor tensor = piece.tensor();
      List<ElementwiseRule.Weight> weights = plan.rule().weights(scan.operands(tensor));
      List<WeightedInput> operands = new ArrayList<>(weights.size());
      for (int i = 0; i < weights.size(); i++) {
        operands.add(operand(i, piece, weights.get(i), computed));
      }
      TypedValues base = null;
      if (plan.rule().scaling() != 1) {
        int last = inputs.models().size() - 1;
        base = values(last, piece, computed);
      }
      DType dtype = plan.outputDtype(tensor);
      averages.add(
          new WeightedAverage(
              operands,
              base,
              plan.rule().scaling(),
              piece.of(writer.segment(tensor.name()), dtype),
              ElementTypes.of(dtype),
              piece.count()));
    }
    return new Work(averages, computed);
  }

  private WeightedInput operand(
      int i, Piece piece, ElementwiseRule.Weight weight, ComputedValues.Chunk computed) {
    TypedValues values = values(i, piece, computed);
    if (inputs.fishers().isEmpty()) {
      return new WeightedInput(
          values.data(), values.type(), null, ElementType.F32, weight.scale(), weight.offset());
    }
    TypedValues fisher = inputs.fisher(i, piece.parameter(), piece.from(), piece.count(), computed);
    return new WeightedInput(
        values.data(),
        values.type(),
        fisher.data(),
        fisher.type(),
        weight.scale(),
        weight.offset());
  }

  private TypedValues values(int i, Piece piece, ComputedValues.Chunk computed) {
    return inputs.values(i, piece.parameter(), piece.from(), piece.count(), computed);
  }
}
