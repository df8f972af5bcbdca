package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.MappedData;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.kernels.ValueStatistics;

/**
 * What one merge learns of its models' statistics: their norms, and whether their values are
 * acceptable. Norms come from the sums of squares that the files state, where all do; the merge's
 * own pass over the data then checks them. Otherwise a pass before the merge computes them. Without
 * statistics it has nothing to do.
 */
final class StatisticScan {
  /** How far a stated sum of squares may be from ours: another order of adding, no other values. */
  private static final double SUM_TOLERANCE = 1e-9;

  /** Bytes looked at between two reports of progress. */
  private static final long CHUNK_BYTES = 128L << 20;

  private final MergePlan plan;
  private final List<MergeSource> sources;
  private final MergeInputs inputs;
  private final Kernels kernels;
  private final MergeProgress progress;
  private final double[] norms;
  private final Map<String, double[]> tensorNorms = new HashMap<>();
  private final ValueStatistics[] found;
  private final List<CheckpointTensor> disproved = new ArrayList<>();

  /** Whether values are looked at before the merge, and not while it reads them. */
  private boolean first;

  StatisticScan(MergePlan plan, MergeInputs inputs, Kernels kernels, MergeProgress progress) {
    this.plan = plan;
    this.sources = plan.request().operands();
    this.inputs = inputs;
    this.kernels = kernels;
    this.progress = progress;
    this.first = plan.scansFirst();
    this.norms = new double[inputs.fishers().size()];
    this.found = new ValueStatistics[inputs.fishers().size()];
    Arrays.fill(norms, Double.NaN);
    Arrays.fill(found, ValueStatistics.EMPTY);
  }

  /** Finds the norms that the rule asks for, reading the data if it must. */
  void computeNorms() {
    if (!plan.isNormalized()) {
      return;
    }
    for (int i = 0; i < inputs.fishers().size(); i++) {
      StatisticFile fisher = inputs.fishers().get(i);
      SortedMap<String, Double> squares = first ? sumsOfSquares(i) : statedSumsOfSquares(i);
      double total = 0;
      for (Map.Entry<String, Double> entry : squares.entrySet()) {
        double ofTensor = entry.getValue();
        total += ofTensor;
        tensorNorms.computeIfAbsent(entry.getKey(), any -> new double[inputs.fishers().size()])[i] =
            Math.sqrt(ofTensor) / fisher.examples();
      }
      norms[i] = Math.sqrt(total) / fisher.examples();
      if (!Double.isFinite(norms[i])) {
        throw FisherValues.overflows(fisher);
      }
    }
  }

  /**
   * Whether data did not bear out the sums of squares on which the norms rested. The norms are then
   * computed anew from the data, and the merge must be done again.
   */
  boolean recomputesNorms() {
    if (first || disproved.isEmpty()) {
      return false;
    }
    first = true;
    Arrays.fill(found, ValueStatistics.EMPTY);
    computeNorms();
    return true;
  }

  /** The tensors whose stated sums of squares are not those of their data. */
  List<CheckpointTensor> disproved() {
    return disproved;
  }

  /**
   * Below what each model's statistic, as stored, counts for less than the minimal one. Empty where
   * a merge need not look at the statistics, since this has.
   */
  List<Double> thresholds() {
    List<Double> thresholds = new ArrayList<>();
    for (int i = 0; i < inputs.fishers().size() && !first; i++) {
      thresholds.add(threshold(i));
    }
    return thresholds;
  }

  private double threshold(int model) {
    return plan.rule().minimalStatistic() * inputs.fishers().get(model).examples();
  }

  /** Takes what was found in all of a tensor of a model's statistic. */
  void add(int model, Parameter parameter, ValueStatistics ofTensor) {
    CheckpointTensor tensor = inputs.fisherOf(model, parameter);
    if (ofTensor.minimum() < 0 || !ofTensor.finite()) {
      throw FisherValues.invalid(inputs.fishers().get(model), tensor);
    }
    found[model] = found[model].plus(ofTensor);
    if (plan.isNormalized() && !first) {
      double stated = statedSum(model, parameter);
      if (!(Math.abs(stated - ofTensor.sumOfSquares()) <= SUM_TOLERANCE * stated)) {
        disproved.add(tensor);
      }
    }
  }

  private double statedSum(int model, Parameter parameter) {
    return inputs
        .fishers()
        .get(model)
        .sumOfSquares(inputs.fisherOf(model, parameter).canonicalName())
        .orElseThrow();
  }

  private SortedMap<String, Double> statedSumsOfSquares(int model) {
    SortedMap<String, Double> squares = new TreeMap<>();
    for (Parameter parameter : plan.choice().streamed()) {
      squares.put(parameter.name(), statedSum(model, parameter));
    }
    return squares;
  }

  /**
   * Of one model's statistic, by canonical name and in the order of names, so that a sum over
   * tensors has the same bits for any layout of the files.
   */
  private SortedMap<String, Double> sumsOfSquares(int model) {
    SortedMap<String, Double> squares = new TreeMap<>();
    ValueStatistics ofTensor = ValueStatistics.EMPTY;
    List<List<Piece>> chunks =
        Piece.chunks(
            plan.choice().streamed(),
            parameter -> inputs.fisherOf(model, parameter).info().dtype().bits() / Byte.SIZE,
            CHUNK_BYTES);
    long mostComputed =
        chunks.stream()
            .mapToLong(chunk ->
                chunk.stream()
                    .mapToLong(p -> inputs.computedFisherBytes(model, p.parameter(), p.count()))
                    .sum())
            .max()
            .orElse(0);
    try (ComputedValues computed = new ComputedValues(mostComputed)) {
      for (List<Piece> chunk : chunks) {
        ComputedValues.Chunk values = computed.chunk();
        List<TypedValues> ranges =
            chunk.stream()
                .map(p -> inputs.fisher(model, p.parameter(), p.from(), p.count(), values))
                .toList();
        values.compute();
        List<ValueStatistics> ofPieces = kernels.statistics(ranges, threshold(model));
        for (int k = 0; k < chunk.size(); k++) {
          Piece piece = chunk.get(k);
          ofTensor = ofTensor.plus(ofPieces.get(k));
          if (piece.endsTensor()) {
            add(model, piece.parameter(), ofTensor);
            squares.put(piece.parameter().name(), ofTensor.sumOfSquares());
            ofTensor = ValueStatistics.EMPTY;
          }
          progress.advance(ranges.get(k).data().byteSize());
          MappedData.release(ranges.get(k).data());
        }
      }
    }
    return squares;
  }

  /** What the rule is to know of each weighted operand for one tensor of the base. */
  List<ElementwiseRule.Operand> operands(CheckpointTensor tensor) {
    return operands(
        plan.request().operands(tensor.name()),
        plan.rule().normalization() == Normalization.TENSOR
            ? Objects.requireNonNull(tensorNorms.get(tensor.canonicalName()))
            : norms);
  }

  /** The same for the models as a whole. */
  List<ElementwiseRule.Operand> operands() {
    return operands(sources, norms);
  }

  private List<ElementwiseRule.Operand> operands(List<MergeSource> of, double[] by) {
    List<ElementwiseRule.Operand> operands = new ArrayList<>();
    for (int i = 0; i < plan.rule().weighted(of).size(); i++) {
      boolean known = i < inputs.fishers().size();
      operands.add(
          new ElementwiseRule.Operand(
              of.get(i).coefficient(),
              known ? inputs.fishers().get(i).examples() : 1,
              known ? by[i] : Double.NaN));
    }
    return operands;
  }

  /** What was learned of each operand, in their order. */
  List<MergeResult.ModelStatistics> results() {
    List<Double> shares = new ArrayList<>();
    plan.rule().shares(operands()).forEach(share -> shares.add(plan.rule().scaling() * share));
    if (shares.size() < sources.size()) {
      shares.add(1 - plan.rule().scaling());
    }
    List<MergeResult.ModelStatistics> results = new ArrayList<>();
    for (int i = 0; i < shares.size(); i++) {
      boolean known = i < inputs.fishers().size();
      results.add(
          new MergeResult.ModelStatistics(
              sources.get(i).model(),
              known ? norms[i] : Double.NaN,
              shares.get(i),
              known ? found[i].below() : 0));
    }
    return results;
  }

  /** What only the values could show, each a sentence for the user. */
  List<String> warnings() {
    List<String> warnings = new ArrayList<>();
    for (CheckpointTensor tensor : disproved) {
      warnings.add(
          tensor.file()
              + ": the sum of squares that its metadata states for '"
              + tensor.info().name()
              + "' is not that of its data, so norms were computed from the data; the file was"
              + " changed after it was written");
    }
    for (int i = 0; i < inputs.fishers().size(); i++) {
      Path model = sources.get(i).model();
      if (found[i].sumOfSquares() == 0) {
        warnings.add(
            inputs.fishers().get(i).path()
                + " is zero everywhere: "
                + model
                + " counts as in a plain average wherever the others are near zero too, and hardly"
                + " elsewhere");
      } else if (found[i].below() * 2 > plan.mergedElements()) {
        warnings.add(
            String.format(
                Locale.ROOT,
                "model %s: %.0f %% of its Fisher values are below minimal-fisher %s, so it counts"
                    + " there as in a plain average",
                model,
                Math.floor(100.0 * found[i].below() / plan.mergedElements()),
                plan.rule().minimalStatistic()));
      }
    }
    return warnings;
  }
}
