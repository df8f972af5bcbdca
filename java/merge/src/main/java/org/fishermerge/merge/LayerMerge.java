package org.fishermerge.merge;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.MappedData;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.Traces;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.LayerRule.LayerOperand;
import org.fishermerge.merge.LinearAlgebra.Matrix;

/** Applies a {@link LayerRule}, one layer after the other. */
final class LayerMerge {
  /** Of a stated trace; sums in another order differ by less. */
  private static final double TRACE_TOLERANCE = 1e-9;

  private final MergePlan plan;
  private final LayerRule rule;
  private final MergeInputs inputs;
  private final Kernels kernels;
  private final LinearAlgebra algebra;
  private final MergeProgress progress;

  /** Whether models are scaled by the traces that their files state. */
  private boolean trusting;

  /** Factors whose stated trace is not that of their data. */
  private final List<String> disproved = new ArrayList<>();

  private Residuals residuals = new Residuals();
  private final List<TensorShares> shares = new ArrayList<>();

  LayerMerge(
      MergePlan plan,
      LayerRule rule,
      MergeInputs inputs,
      Kernels kernels,
      LinearAlgebra algebra,
      MergeProgress progress) {
    this.plan = plan;
    this.rule = rule;
    this.inputs = inputs;
    this.kernels = kernels;
    this.algebra = algebra;
    this.progress = progress;
  }

  Residuals residuals() {
    return residuals;
  }

  /** What each model had to say, layer by layer; empty unless it was asked for. */
  List<TensorShares> shares() {
    return List.copyOf(shares);
  }

  /** Writes the weights of all solved layers. */
  void write(CheckpointWriter writer) {
    trusting = rule.scalesModels() && tracesAreStated();
    writeLayers(writer);
    if (!disproved.isEmpty()) {
      trusting = false;
      residuals = new Residuals();
      writeLayers(writer);
    }
  }

  private void writeLayers(CheckpointWriter writer) {
    shares.clear();
    List<Double> scales = new ArrayList<>();
    for (int i = 0; i < inputs.statistics().size(); i++) {
      scales.add(rule.scalesModels() ? rule.modelScale(traces(i)) : 1);
    }
    for (SolvedLayer layer : plan.choice().layers()) {
      algebra.run(() -> write(layer, scales, writer));
    }
  }

  private boolean tracesAreStated() {
    return inputs.statistics().stream()
        .allMatch(file ->
            plan.choice().layers().stream()
                .allMatch(layer ->
                    rule.factors().stream()
                        .allMatch(factor -> file.trace(layer.name(), factor).isPresent())));
  }

  /** Traces of a model's mean factors. */
  private List<List<Double>> traces(int model) {
    List<List<Double>> traces = new ArrayList<>();
    for (SolvedLayer layer : plan.choice().layers()) {
      List<Double> ofLayer = new ArrayList<>();
      for (LayerFactor factor : rule.factors()) {
        double trace = trusting ? statedTrace(model, layer, factor) : trace(model, layer, factor);
        ofLayer.add(trace / count(model, layer, factor));
      }
      traces.add(ofLayer);
    }
    return traces;
  }

  /** The trace of the data. */
  private double trace(int model, SolvedLayer layer, LayerFactor factor) {
    try (Arena arena = Arena.ofConfined()) {
      return trace(triangle(model, layer, factor, arena), model, layer, factor);
    }
  }

  private double trace(MemorySegment triangle, int model, SolvedLayer layer, LayerFactor factor) {
    double trace = Traces.of(triangle, factor.size(layer.layer()));
    if (!(trace >= 0 && trace <= Double.MAX_VALUE)) {
      throw damaged(model, layer, factor);
    }
    return trace;
  }

  private double statedTrace(int model, SolvedLayer layer, LayerFactor factor) {
    return inputs.statistics().get(model).trace(layer.name(), factor).orElseThrow();
  }

  /** What only the values could show, each a sentence for the user. */
  List<String> warnings() {
    List<String> warnings = new ArrayList<>(residuals.warning().stream().toList());
    disproved.forEach(factor ->
        warnings.add(
            factor
                + ": the trace that the file's metadata states is not that of its data, so traces"
                + " were computed from the data; the file was changed after it was written"));
    return warnings;
  }

  /** A factor's sum as it is stored; a copy is freed with the arena. */
  private MemorySegment triangle(int model, SolvedLayer layer, LayerFactor factor, Arena arena) {
    return ComputedValues.read(
        inputs.statistics().get(model).checkpoint(), factor.tensorName(layer.name()), arena);
  }

  /** Over how many examples or tokens a stored factor is a sum. */
  private long count(int model, SolvedLayer layer, LayerFactor factor) {
    StatisticFile file = inputs.statistics().get(model);
    return factor == LayerFactor.GRAM
        ? Math.max(1, file.layer(layer.name()).map(LinearLayer::tokens).orElse(1L))
        : file.examples();
  }

  private void write(SolvedLayer layer, List<Double> scales, CheckpointWriter writer) {
    LinearAlgebra own = rule.inSingle(layer.layer()) ? algebra.inSingle() : algebra;
    List<Part> parts = new ArrayList<>();
    for (int i = 0; i < inputs.statistics().size(); i++) {
      parts.add(part(i, layer, scales.get(i), own));
    }
    double trace = parts.stream().mapToDouble(Part::trace).sum();
    if (plan.request().measureShares() && trace != 0) {
      CheckpointTensor tensor = baseTensor(layer);
      shares.add(
          new TensorShares(
              tensor.name(),
              tensor.info().elementCount(),
              0,
              parts.stream().map(part -> part.trace() / trace).toList()));
    }
    List<LayerOperand> operands = parts.stream().map(Part::operand).toList();
    LayerRule.Solution solution = rule.solve(layer.layer(), operands, own);
    residuals.add(layer.name(), solution);
    Matrix merged = solution.weight();
    double s = rule.scalingFactor();
    if (s != 1) {
      own.scale(merged, s);
      own.add(merged, 1 - s, weight(inputs.base(), baseTensor(layer), layer.layer(), own));
      progress.advance(baseTensor(layer).info().byteCount());
    }
    store(layer, merged, writer, own);
  }

  private static CheckpointTensor baseTensor(SolvedLayer layer) {
    return layer.parameter().tensor();
  }

  /**
   * A model's part in a layer.
   *
   * @param trace of the model's part of the system
   */
  private record Part(LayerOperand operand, double trace) {}

  /**
   * Reads a model's part.
   *
   * @param scale of the model's factors
   */
  private Part part(int model, SolvedLayer layer, double scale, LinearAlgebra own) {
    List<Double> traces = new ArrayList<>();
    List<Matrix> factors = new ArrayList<>();
    for (LayerFactor factor : rule.factors()) {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment triangle = triangle(model, layer, factor, arena);
        double trace = trace(triangle, model, layer, factor);
        if (trusting) {
          compareWithStated(trace, model, layer, factor);
        }
        traces.add(trace / count(model, layer, factor));
        factors.add(mean(triangle, model, layer, factor, own));
      }
    }
    Checkpoint checkpoint = inputs.models().get(model);
    CheckpointTensor value = inputs.valueOf(model, layer.parameter());
    Matrix weight = weight(checkpoint, value, layer.layer(), own);
    progress.advance(value.info().byteCount());
    double coefficient = plan.request().coefficient(baseTensor(layer).name(), model);
    return new Part(
        new LayerOperand(coefficient, scale, weight, factors),
        coefficient * rule.systemTrace(scale, traces));
  }

  private void compareWithStated(double trace, int model, SolvedLayer layer, LayerFactor factor) {
    double stated = statedTrace(model, layer, factor);
    if (!(Math.abs(stated - trace) <= TRACE_TOLERANCE * stated)) {
      disproved.add(
          "%s, '%s'"
              .formatted(inputs.statistics().get(model).path(), factor.tensorName(layer.name())));
    }
  }

  /** A factor of which the triangle has the sum. */
  private Matrix mean(
      MemorySegment triangle, int model, SolvedLayer layer, LayerFactor factor, LinearAlgebra own) {
    Matrix matrix = own.symmetric(triangle, factor.size(layer.layer()));
    if (!own.isFinite(matrix)) {
      throw damaged(model, layer, factor);
    }
    own.scale(matrix, 1.0 / count(model, layer, factor));
    progress.advance(triangle.byteSize());
    MappedData.release(triangle);
    return matrix;
  }

  /** A stored weight as [O, I]. */
  private static Matrix weight(
      Checkpoint checkpoint, CheckpointTensor tensor, LinearLayer layer, LinearAlgebra own) {
    boolean transposed = layer.transposed();
    try (Arena arena = Arena.ofConfined()) {
      Matrix stored =
          own.of(
              ComputedValues.read(checkpoint, tensor.canonicalName(), arena),
              ElementTypes.of(tensor.info().dtype()),
              transposed ? layer.inputs() : layer.outputs(),
              transposed ? layer.outputs() : layer.inputs());
      return transposed ? own.transposed(stored) : stored;
    }
  }

  private void store(SolvedLayer layer, Matrix merged, CheckpointWriter writer, LinearAlgebra own) {
    CheckpointTensor tensor = baseTensor(layer);
    MemorySegment out = writer.segment(tensor.name());
    DType dtype = plan.outputDtype(tensor);
    try (Arena arena = Arena.ofShared()) {
      MemorySegment values =
          arena.allocate(tensor.info().elementCount() * Double.BYTES, Double.BYTES);
      own.read(layer.layer().transposed() ? own.transposed(merged) : merged, values);
      if (!KeptTensors.cast(kernels, values, DType.F64, out, dtype, tensor.info().elementCount())) {
        BadValues.requireFinite(rule, inputs, layer.parameter(), out, dtype);
      }
    }
    writer.writeBehind(tensor.name(), out);
  }

  private InputException damaged(int model, SolvedLayer layer, LayerFactor factor) {
    return new InputException(
        inputs.statistics().get(model).path()
            + ": '"
            + factor.tensorName(layer.name())
            + "' holds values that no sum of products has: not finite, or a negative diagonal."
            + " Estimate it again.");
  }
}
