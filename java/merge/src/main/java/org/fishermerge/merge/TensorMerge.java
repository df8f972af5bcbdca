package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.MappedData;
import org.fishermerge.kernels.CountedDifferences;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kept;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.MagnitudeCounts;
import org.fishermerge.kernels.MagnitudeQuery;
import org.fishermerge.kernels.PairSums;
import org.fishermerge.kernels.RankedMagnitude;
import org.fishermerge.kernels.TaskVector;
import org.fishermerge.kernels.TaskVectorMix;
import org.fishermerge.kernels.TaskVectorNorms;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.kernels.ValueStatistics;
import org.fishermerge.kernels.WeightedAverage;
import org.fishermerge.kernels.WeightedInput;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;

/**
 * Applies a {@link TensorRule}. Tensors are taken whole, a batch at a time, from mapped inputs to
 * the mapped output: threads share what is looked for in a batch. The result has the same bits for
 * any number of threads.
 */
final class TensorMerge {
  /** Input bytes at which a batch is full; its last tensor may go beyond. */
  private static final long BATCH_BYTES = 256L << 20;

  private final MergePlan plan;
  private final TensorRule rule;
  private final MergeInputs inputs;
  private final Kernels kernels;
  private final MergeProgress progress;
  private final Optional<ShareSample> shares;

  /** What is kept of each model, where that is known before the first tensor is merged. */
  private List<Kept> ofModels = List.of();

  TensorMerge(
      MergePlan plan,
      TensorRule rule,
      MergeInputs inputs,
      Kernels kernels,
      MergeProgress progress) {
    this.plan = plan;
    this.rule = rule;
    this.inputs = inputs;
    this.kernels = kernels;
    this.progress = progress;
    // The weights of the other rules are known without looking.
    this.shares =
        plan.request().measureShares() && rule instanceof SparseTaskArithmetic
            ? Optional.of(new ShareSample())
            : Optional.empty();
  }

  /** What each model had to say, tensor by tensor; empty unless it was asked for. */
  List<TensorShares> shares() {
    return shares.map(ShareSample::results).orElse(List.of());
  }

  /**
   * A tensor of a batch.
   *
   * @param operands its values, of the models and, where it is one of them, of the base
   */
  private record Job(Parameter parameter, List<TypedValues> operands, MemorySegment out) {
    long count() {
      return parameter.tensor().info().elementCount();
    }

    String name() {
      return parameter.tensor().name();
    }

    TypedValues base() {
      return operands.getLast();
    }
  }

  /** Writes all merged tensors, but for the copies of tied ones. */
  void write(CheckpointWriter writer) {
    List<List<Parameter>> batches = batches(inputs, plan.choice().streamed());
    if (rule instanceof SparseTaskArithmetic sparse && sparse.countings() > 0) {
      ofModels = largestOfModels(sparse, batches);
    }
    for (int b = 0; b < batches.size(); b++) {
      if (b + 1 < batches.size()) {
        batches.get(b + 1).forEach(this::readAhead);
      }
      write(batches.get(b), writer);
    }
  }

  private static List<List<Parameter>> batches(MergeInputs inputs, List<Parameter> parameters) {
    List<List<Parameter>> batches = new ArrayList<>();
    long bytes = BATCH_BYTES; // opens the first one
    for (Parameter parameter : parameters) {
      if (bytes >= BATCH_BYTES) {
        batches.add(new ArrayList<>());
        bytes = 0;
      }
      batches.getLast().add(parameter);
      for (int i = 0; i < inputs.models().size(); i++) {
        bytes += inputs.valueOf(i, parameter).info().byteCount();
      }
    }
    return batches;
  }

  private static long computedBytes(MergeInputs inputs, List<Parameter> batch) {
    return batch.stream()
        .mapToLong(p -> inputs.computedBytes(p, p.tensor().info().elementCount()))
        .sum();
  }

  /**
   * Anonymous memory that grows with the tensors: values that adapters compute, of a batch, and
   * what ranking magnitudes takes.
   *
   * @param ranked models whose magnitudes are ranked
   */
  static long heldBytes(
      TensorRule rule, int ranked, MergeInputs inputs, List<Parameter> parameters) {
    long most = 0;
    for (List<Parameter> batch : batches(inputs, parameters)) {
      List<Long> queries = new ArrayList<>();
      for (Parameter parameter : batch) {
        for (int k = 0; k < ranked * rule.rankings(); k++) {
          queries.add(parameter.tensor().info().elementCount());
        }
      }
      most = Math.max(most, computedBytes(inputs, batch) + Kernels.mostBytesForRanking(queries));
    }
    return rule instanceof SparseTaskArithmetic sparse && sparse.countings() > 0
        ? most + Kernels.mostBytesForCounting(ranked)
        : most;
  }

  private void readAhead(Parameter parameter) {
    for (int i = 0; i < inputs.models().size(); i++) {
      MappedData.readAhead(source(i, parameter));
    }
  }

  private MemorySegment source(int i, Parameter parameter) {
    return inputs.source(i, parameter, 0, parameter.tensor().info().elementCount());
  }

  private void write(List<Parameter> batch, CheckpointWriter writer) {
    try (ComputedValues computed = new ComputedValues(computedBytes(inputs, batch))) {
      ComputedValues.Chunk chunk = computed.chunk();
      List<Job> jobs = batch.stream().map(parameter -> job(parameter, chunk, writer)).toList();
      chunk.compute();
      List<ValueStatistics> found =
          switch (rule) {
            case SparseTaskArithmetic sparse -> mix(sparse, jobs);
            case Slerp slerp -> interpolate(slerp, jobs);
            case WeightedSum sum -> weightedSums(jobs, this::coefficients);
          };
      for (int k = 0; k < jobs.size(); k++) {
        finish(jobs.get(k), found.get(k), writer);
      }
    }
  }

  private Job job(Parameter parameter, ComputedValues.Chunk chunk, CheckpointWriter writer) {
    return new Job(
        parameter, operands(parameter, chunk), writer.segment(parameter.tensor().name()));
  }

  private List<TypedValues> operands(Parameter parameter, ComputedValues.Chunk chunk) {
    List<TypedValues> operands = new ArrayList<>();
    for (int i = 0; i < inputs.models().size(); i++) {
      operands.add(inputs.values(i, parameter, 0, parameter.tensor().info().elementCount(), chunk));
    }
    return operands;
  }

  private void finish(Job job, ValueStatistics found, CheckpointWriter writer) {
    CheckpointTensor tensor = job.parameter().tensor();
    DType dtype = plan.outputDtype(tensor);
    if (!found.finite()) {
      BadValues.requireFinite(rule, inputs, job.parameter(), job.out(), dtype);
    }
    int counted = rule instanceof SparseTaskArithmetic sparse ? sparse.countings() : 0;
    passed(job.parameter(), rule.passes() - counted);
    writer.writeBehind(tensor.name(), job.out());
  }

  private void passed(Parameter parameter, int passes) {
    for (int i = 0; i < inputs.models().size(); i++) {
      progress.advance(passes * inputs.valueOf(i, parameter).info().byteCount());
      MappedData.release(source(i, parameter));
    }
  }

  private ElementType outType(Job job) {
    return ElementTypes.of(plan.outputDtype(job.parameter().tensor()));
  }

  // ---- sparse task arithmetic ----

  /** What is kept of each model, by its magnitudes in all tensors. */
  private List<Kept> largestOfModels(SparseTaskArithmetic sparse, List<List<Parameter>> batches) {
    long elements =
        batches.stream()
            .flatMap(List::stream)
            .mapToLong(parameter -> parameter.tensor().info().elementCount())
            .sum();
    List<Optional<MagnitudeCounts>> thresholds = new ArrayList<>();
    for (int i = 0; i < plan.request().models().size(); i++) {
      long kept = elements;
      if (elements > 0) {
        String any = batches.getFirst().getFirst().tensor().name();
        kept = Math.min(elements, (long) (sparse.density(any, i) * elements));
      }
      // FusionBench keeps what is not below the largest that is not among so many.
      thresholds.add(
          kept == elements
              ? Optional.empty()
              : Optional.of(new MagnitudeCounts(elements - kept - 1)));
    }
    for (int round = 0; round < MagnitudeCounts.ROUNDS; round++) {
      for (int b = 0; b < batches.size(); b++) {
        if (b + 1 < batches.size()) {
          batches.get(b + 1).forEach(this::readAhead);
        }
        count(batches.get(b), thresholds);
      }
      thresholds.forEach(threshold -> threshold.ifPresent(MagnitudeCounts::endRound));
    }
    return thresholds.stream()
        .map(threshold ->
            threshold
                .map(counts -> Kept.from(new RankedMagnitude(counts.magnitude(), 0)))
                .orElse(Kept.ALL))
        .toList();
  }

  private void count(List<Parameter> batch, List<Optional<MagnitudeCounts>> thresholds) {
    try (ComputedValues computed = new ComputedValues(computedBytes(inputs, batch))) {
      ComputedValues.Chunk chunk = computed.chunk();
      List<CountedDifferences> differences = new ArrayList<>();
      for (Parameter parameter : batch) {
        List<TypedValues> operands = operands(parameter, chunk);
        for (int i = 0; i < thresholds.size(); i++) {
          if (thresholds.get(i).isPresent()) {
            differences.add(
                new CountedDifferences(
                    operands.get(i),
                    operands.getLast(),
                    parameter.tensor().info().elementCount(),
                    thresholds.get(i).get()));
          }
        }
      }
      chunk.compute();
      kernels.countMagnitudes(differences);
    }
    batch.forEach(parameter -> passed(parameter, 1));
  }

  private List<ValueStatistics> mix(SparseTaskArithmetic sparse, List<Job> jobs) {
    int models = plan.request().models().size();
    List<MagnitudeQuery> queries = new ArrayList<>();
    for (Job job : jobs) {
      for (int i = 0; i < models; i++) {
        queries.addAll(queries(sparse, job, i));
      }
    }
    // In the order of the queries.
    Iterator<RankedMagnitude> answers = kernels.rankedMagnitudes(queries).iterator();
    List<TaskVectorMix> mixes = new ArrayList<>();
    for (Job job : jobs) {
      List<TaskVector> vectors = new ArrayList<>();
      for (int i = 0; i < models; i++) {
        Kept kept = kept(sparse, job, i, answers);
        double density = sparse.trim() == Trim.NONE ? 1 : sparse.density(job.name(), i);
        vectors.add(
            new TaskVector(
                job.operands().get(i).data(),
                job.operands().get(i).type(),
                plan.request().coefficient(job.name(), i),
                sparse.rescale() == Rescale.DENSITY && density < 1 ? 1 / density : 1,
                kept));
      }
      TaskVectorMix mix =
          new TaskVectorMix(
              vectors,
              job.base(),
              sparse.how(),
              sparse.scalingFactor(),
              0,
              job.out(),
              outType(job),
              job.count());
      mixes.add(sparse.rescale() == Rescale.L1 ? rescaled(mix) : mix);
    }
    List<ValueStatistics> found = kernels.mixTaskVectors(mixes);
    shares.ifPresent(sample -> {
      for (int k = 0; k < jobs.size(); k++) {
        sample.add(jobs.get(k).parameter().tensor(), mixes.get(k));
      }
    });
    return found;
  }

  private static boolean keepsAll(SparseTaskArithmetic sparse, Job job, int model) {
    return sparse.trim() == Trim.NONE || job.count() == 0 || sparse.density(job.name(), model) >= 1;
  }

  /** What {@link #kept} needs to know of a model's tensor. */
  private static List<MagnitudeQuery> queries(SparseTaskArithmetic sparse, Job job, int i) {
    if (keepsAll(sparse, job, i)
        || sparse.trim() == Trim.RANDOM
        || sparse.trim() == Trim.MODEL_MAGNITUDE) {
      return List.of();
    }
    long count = job.count();
    long kept = SparseTaskArithmetic.kept(sparse.density(job.name(), i), count);
    TypedValues values = job.operands().get(i);
    List<MagnitudeQuery> queries = new ArrayList<>();
    if (sparse.trim() == Trim.MAGNITUDE) {
      if (kept < count) {
        queries.add(new MagnitudeQuery(values, job.base(), count, true, kept));
      }
      return queries;
    }
    long outliers = SparseTaskArithmetic.outliers(sparse.gamma(job.name(), i), kept, count);
    queries.add(new MagnitudeQuery(values, job.base(), count, false, count - kept - outliers));
    if (outliers > 0) {
      queries.add(new MagnitudeQuery(values, job.base(), count, false, count - outliers));
    }
    return queries;
  }

  private Kept kept(
      SparseTaskArithmetic sparse, Job job, int i, Iterator<RankedMagnitude> answers) {
    if (keepsAll(sparse, job, i)) {
      return Kept.ALL;
    }
    if (sparse.trim() == Trim.MODEL_MAGNITUDE) {
      return ofModels.get(i);
    }
    if (sparse.trim() == Trim.RANDOM) {
      String name = job.parameter().name();
      return Kept.drawn(sparse.density(job.name(), i), sparse.seed(name, i));
    }
    int asked = queries(sparse, job, i).size();
    if (asked == 0) {
      return Kept.ALL;
    }
    if (sparse.trim() == Trim.MAGNITUDE) {
      return Kept.before(answers.next());
    }
    Kept kept = Kept.from(answers.next());
    return asked > 1 ? kept.until(answers.next()) : kept;
  }

  private TaskVectorMix rescaled(TaskVectorMix mix) {
    List<TaskVectorNorms> norms = kernels.taskVectorNorms(mix);
    List<TaskVector> vectors = new ArrayList<>();
    for (int i = 0; i < norms.size(); i++) {
      TaskVector vector = mix.vectors().get(i);
      vectors.add(
          vector.kept().equals(Kept.ALL)
              ? vector
              : vector.withRescale(
                  SparseTaskArithmetic.rescaling(norms.get(i).all(), norms.get(i).kept())));
    }
    return mix.withVectors(vectors);
  }

  // ---- weighted sums ----

  private List<ValueStatistics> interpolate(Slerp slerp, List<Job> jobs) {
    return weightedSums(
        jobs,
        job -> {
          PairSums pairs = kernels.pairSums(job.operands(), job.count());
          return Slerp.weights(
              slerp.t().of(job.name(), 1),
              pairs.product(0, 0),
              pairs.product(0, 1),
              pairs.product(1, 1));
        });
  }

  private List<Double> coefficients(Job job) {
    List<Double> coefficients = new ArrayList<>();
    for (int i = 0; i < job.operands().size(); i++) {
      coefficients.add(plan.request().coefficient(job.name(), i));
    }
    return coefficients;
  }

  private List<ValueStatistics> weightedSums(
      List<Job> jobs, Function<Job, List<Double>> weightsOf) {
    List<WeightedAverage> sums = new ArrayList<>();
    for (Job job : jobs) {
      List<Double> weights = weightsOf.apply(job);
      // The kernel divides by the sum of the weights.
      double sum = weights.stream().mapToDouble(Double::doubleValue).sum();
      List<WeightedInput> inputsOfJob = new ArrayList<>();
      for (int i = 0; i < weights.size(); i++) {
        TypedValues values = job.operands().get(i);
        inputsOfJob.add(
            new WeightedInput(
                values.data(), values.type(), null, ElementType.F32, 0, weights.get(i)));
      }
      sums.add(new WeightedAverage(inputsOfJob, null, sum, job.out(), outType(job), job.count()));
    }
    return kernels.weightedAverages(sums, List.of()).stream()
        .map(WeightedAverage.Statistics::out)
        .toList();
  }
}
