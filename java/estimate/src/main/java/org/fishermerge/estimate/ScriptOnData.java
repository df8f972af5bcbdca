package org.fishermerge.estimate;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.checkpoint.TensorInfo;
import org.fishermerge.data.TensorExamples;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.InputTensor;
import org.fishermerge.torch.ScriptClassifier;
import org.fishermerge.torch.objective.Objective;
import org.jspecify.annotations.Nullable;

/**
 * A TorchScript module and the examples that it is run on.
 *
 * @param source the checkpoint that the module was made from, if it is known
 */
public record ScriptOnData(
    ScriptClassifier classifier, TensorExamples examples, @Nullable Checkpoint source)
    implements ModelOnData {
  private static final int NAMES_SHOWN = 5;

  /**
   * Opens a module and its examples, works with them, and closes them.
   *
   * @param model the checkpoint that the module was made from; null if it is not known
   * @param logits where in the module's output the logits are; null for the usual places
   * @param data opens the examples
   */
  public static void with(
      Path module,
      @Nullable Path model,
      @Nullable String logits,
      Supplier<TensorExamples> data,
      Objective rule,
      Consumer<ScriptOnData> work) {
    try (TensorExamples examples = data.get()) {
      ScriptClassifier classifier = ScriptClassifier.load(module, logits, rule);
      try (Checkpoint source = source(model, classifier)) {
        work.accept(new ScriptOnData(classifier, examples, source));
      }
    }
  }

  /**
   * Refuses a module that does not answer each example by itself; decides which parameters are
   * fused, and says so.
   */
  @Override
  public void prepare(
      long[] rows, Kernels kernels, Consumer<String> remarks, Consumer<String> warnings) {
    try (Arena arena = Arena.ofConfined()) {
      int needed = Math.min(ScriptClassifier.FIRST_EXAMPLES, rows.length);
      classifier.prepare(batch(Arrays.copyOf(rows, needed), arena), kernels, warnings);
    }
    remarks.accept(classifier.plan());
  }

  /** Empty: what autograd keeps is up to the operators of the module. */
  @Override
  public Optional<MemoryPlan> memoryPlan(
      long[] rows, Supplier<FisherEstimator> estimators, int atOnce, int tried) {
    return Optional.empty();
  }

  @Override
  public void forEachBatch(long[] rows, int batchSize, Objective rule, BatchWork work) {
    for (int first = 0; first < rows.length; first += batchSize) {
      long[] some = Arrays.copyOfRange(rows, first, Math.min(rows.length, first + batchSize));
      work.run(wanted -> forward(some, wanted), labels(some, rule));
    }
  }

  /** {@inheritDoc} Modules show no inputs of layers, and can always be pulled back. */
  @Override
  public ForwardPass forward(long[] rows, ForwardPass.Wanted wanted) {
    if (wanted.inputs() != null) {
      throw new IllegalArgumentException("the layers of a TorchScript module are not known");
    }
    try (Arena arena = Arena.ofConfined()) {
      return classifier.forward(batch(rows, arena));
    }
  }

  private List<InputTensor> batch(long[] rows, Arena arena) {
    List<InputTensor> batch = new ArrayList<>();
    for (int i = 0; i < examples.inputs().size(); i++) {
      TensorInfo info = examples.inputs().get(i);
      List<Long> shape = new ArrayList<>(info.shape());
      shape.set(0, (long) rows.length);
      batch.add(new InputTensor(info.name(), info.dtype(), shape, examples.rows(i, rows, arena)));
    }
    return batch;
  }

  @Override
  public void write(FisherEstimator estimator, Path file, StatisticMetadata metadata) {
    estimator.write(file, classifier, source, metadata);
  }

  @Override
  public String modelSha256() {
    return source == null ? classifier.tensorSha256() : source.tensorSha256();
  }

  @Override
  public String modelFingerprint() {
    return source == null ? classifier.fingerprint() : source.fingerprint();
  }

  /** Names the parameters whose Fisher information is 0 everywhere. */
  @Override
  public void remark(FisherEstimator estimator, Consumer<String> remarks) {
    List<String> zeros = classifier.zeros(estimator.finish());
    if (!zeros.isEmpty()) {
      remarks.accept(
          "F = 0 for %d parameters: %s".formatted(zeros.size(), NameList.of(zeros, NAMES_SHOWN)));
    }
  }

  /** The checkpoint that the module was made from, if it is named, else null. */
  private static @Nullable Checkpoint source(@Nullable Path model, ScriptClassifier classifier) {
    if (model == null) {
      return null;
    }
    Checkpoint checkpoint = Checkpoint.open(model);
    try {
      classifier.requireParametersOf(checkpoint);
      return checkpoint;
    } catch (RuntimeException e) {
      checkpoint.close();
      throw e;
    }
  }
}
