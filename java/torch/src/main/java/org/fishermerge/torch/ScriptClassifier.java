package org.fishermerge.torch;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorDigest;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.ScriptModule.Parameter;
import org.fishermerge.torch.ScriptRunner.Part;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.LibTorch;
import org.jspecify.annotations.Nullable;

/**
 * Any TorchScript module that gives class logits. Parameters whose only use is an operator that a
 * kernel understands are hooked: the batch runs forward once, autograd pulls cotangents back to the
 * operators' outputs, and the kernels do the rest. All other parameters, or all of them where the
 * module cannot be hooked, take the autograd fallback: the total gradient of one example alone,
 * squared. So the uses of a tied or reused parameter are summed before squaring.
 *
 * <p>{@link #prepare} compares every hook with the fallback on the first examples ({@link
 * ScriptProof}) before it is used.
 *
 * <p>Not thread-safe.
 */
public final class ScriptClassifier implements Classifier {
  /** Examples that {@link #prepare} looks at. */
  public static final int FIRST_EXAMPLES = 5;

  /** Those of them that the hooks are compared with autograd on. */
  private static final int PROOF_EXAMPLES = 2;

  private final ScriptModule module;
  private final ScriptRunner runner;
  private final boolean batchSquares;
  private ScriptPlan plan;
  private int classes;

  private ScriptClassifier(ScriptModule module, @Nullable String logits, Objective objective) {
    this.module = module;
    this.runner = new ScriptRunner(module, new ScriptLogits(module.origin(), logits));
    this.batchSquares = objective.squaresBatches();
    this.plan = ScriptPlan.allFallback(module.wanted(), "not prepared");
  }

  /**
   * Loads a module, in evaluation mode, on the CPU.
   *
   * @param file as {@code torch.jit.save} writes it
   * @param logits where forward's output has the logits: an index into a tuple or list, or a key of
   *     a dict; null for the output itself, the first element, or the key {@code logits}
   * @param objective batch squares need no hooks
   * @throws InputException if the file is no such module or a parameter is not fp32
   */
  public static ScriptClassifier load(Path file, @Nullable String logits, Objective objective) {
    LibTorch.initialize();
    return of(ScriptModule.load(file), logits, objective);
  }

  static ScriptClassifier of(ScriptModule module, @Nullable String logits, Objective objective) {
    return new ScriptClassifier(module, logits, objective);
  }

  /**
   * Decides how each parameter goes, by running a first batch; must come before {@link #forward}.
   *
   * @param batch at least one example; the first {@link #FIRST_EXAMPLES} are used
   * @param warnings told of outputs that may be no logits
   * @throws InputException if forward fails on them or gives no logits, if it answers them
   *     differently when it is run again, or, but for batch squares, alone and together
   */
  public void prepare(List<InputTensor> batch, Kernels kernels, Consumer<String> warnings) {
    LibTorch.initialize();
    try (PointerScope scope = new PointerScope()) {
      List<Tensor> inputs = tensors(batch);
      int given = Math.toIntExact(Math.min(FIRST_EXAMPLES, inputs.getFirst().size(0)));
      ScriptFaults.requireNoneInRun(
          module.origin(),
          runner::logits,
          inputs.stream().map(input -> input.narrow(0, 0, given)).toList(),
          given,
          batchSquares,
          module::endsInSigmoid,
          warnings);
      int examples = Math.min(PROOF_EXAMPLES, given);
      List<Tensor> first = inputs.stream().map(input -> input.narrow(0, 0, examples)).toList();
      try (ScriptPass unhooked = unhooked(first, examples)) {
        classes = Math.toIntExact(unhooked.logits().size(1));
        plan =
            batchSquares
                ? ScriptPlan.allFallback(
                    module.wanted(), "batch squares are of the whole batch's gradient")
                : new ScriptProof(module, runner, kernels, first, examples).plan(unhooked);
      }
    }
  }

  /** One line that says how many parameters go which way, and why some take the fallback. */
  public String plan() {
    int wanted = module.wanted().size();
    return batchSquares
        ? "TorchScript: " + wanted + " parameters by the gradient of each whole batch"
        : plan.describe(wanted);
  }

  /** The parameters that take the autograd fallback. */
  List<String> fallback() {
    return module.wanted().stream()
        .filter(plan.fallback()::containsKey)
        .map(Parameter::name)
        .toList();
  }

  /**
   * The parameters whose Fisher information is zero everywhere, with the reason.
   *
   * @param sums by {@link FisherEstimator#finish}
   */
  public List<String> zeros(Map<String, MemorySegment> sums) {
    List<String> zeros = new ArrayList<>();
    for (Parameter parameter : module.parameters()) {
      MemorySegment sum = sums.get(parameter.name());
      if (sum != null && isZero(sum)) {
        zeros.add(
            parameter.name() + (parameter.wanted() ? " (no gradient reaches it)" : " (frozen)"));
      }
    }
    return zeros;
  }

  private static boolean isZero(MemorySegment floats) {
    for (long i = 0; i < floats.byteSize() / Float.BYTES; i++) {
      if (floats.getAtIndex(ValueLayout.JAVA_FLOAT, i) != 0) {
        return false;
      }
    }
    return true;
  }

  /**
   * Refuses a checkpoint that the module was not made from: each parameter must be there, under one
   * of its names, with the same values.
   */
  public void requireParametersOf(Checkpoint checkpoint) {
    new ScriptState(module).requireParametersOf(checkpoint);
  }

  /** What {@link Checkpoint#tensorSha256} is of a checkpoint with this module's tensors. */
  public String tensorSha256() {
    return TensorDigest.sha256(new ScriptState(module).entries());
  }

  /** What {@link Checkpoint#fingerprint} is of a checkpoint with this module's tensors. */
  public String fingerprint() {
    return TensorDigest.fingerprint(new ScriptState(module).entries());
  }

  /** Every name of a parameter in the module. */
  List<String> namesOf(ParameterGroup group) {
    return module.parameter(group).names();
  }

  /** Those names of a parameter that a checkpoint has. */
  List<String> namesIn(Checkpoint checkpoint, ParameterGroup group) {
    return ScriptState.namesIn(checkpoint, module.parameter(group));
  }

  @Override
  public int classCount() {
    return classes;
  }

  @Override
  public List<ParameterGroup> parameterGroups() {
    return module.groups();
  }

  /**
   * Runs a batch and keeps what its backward passes need.
   *
   * @param batch forward's inputs in order, each [B, ...]
   * @return to be closed by the caller
   * @throws InputException if forward fails
   */
  public ForwardPass forward(List<InputTensor> batch) {
    LibTorch.initialize();
    try (PointerScope scope = new PointerScope()) {
      List<Tensor> inputs = tensors(batch);
      int examples = Math.toIntExact(inputs.getFirst().size(0));
      ScriptHooks hooks = plan.hooks();
      if (hooks == null || plan.proven().isEmpty()) {
        return unhooked(inputs, examples);
      }
      HookedRun run = new HookedRun(runner, hooks, inputs, examples);
      try {
        List<Part> parts =
            plan.fallback().isEmpty() ? List.of() : runner.parts(inputs, examples, 1);
        return ScriptPass.of(run, plan, parts);
      } catch (RuntimeException | Error e) {
        run.close();
        throw e;
      }
    }
  }

  private static List<Tensor> tensors(List<InputTensor> batch) {
    if (batch.isEmpty()) {
      throw new IllegalArgumentException("a batch without inputs");
    }
    return batch.stream().map(InputTensor::toTensor).toList();
  }

  /** Every parameter by autograd: one example at a time, or for batch squares the whole batch. */
  private ScriptPass unhooked(List<Tensor> inputs, int examples) {
    List<Part> parts = runner.parts(inputs, examples, batchSquares ? examples : 1);
    return ScriptPass.of(parts, module.wanted(), module.origin());
  }
}
