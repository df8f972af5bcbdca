package org.fishermerge.torch;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.ScriptLayer.Call;
import org.fishermerge.torch.ScriptModule.Parameter;
import org.fishermerge.torch.ScriptRunner.Part;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * The forward pass of a module: a run of its hooked graph, and of forward itself in parts for the
 * parameters whose gradient autograd gives.
 */
final class ScriptPass extends ForwardPass {
  private final @Nullable HookedRun run;
  private final ScriptPlan plan;
  private final List<Part> parts;
  private final List<Parameter> ofParts;

  private ScriptPass(
      Tensor logits,
      @Nullable HookedRun run,
      ScriptPlan plan,
      List<Part> parts,
      List<Parameter> ofParts) {
    super(Tensors.retain(logits));
    this.run = run;
    this.plan = plan;
    this.parts = parts;
    this.ofParts = ofParts;
  }

  /**
   * A pass without hooks.
   *
   * @param parts closed with the pass
   * @param parameters whose gradients are shown
   * @param origin names the module in messages
   */
  static ScriptPass of(List<Part> parts, List<Parameter> parameters, String origin) {
    long columns = parts.getFirst().logits.size(1);
    TensorVector logits = new TensorVector();
    for (Part part : parts) {
      if (part.logits.size(1) != columns) {
        parts.forEach(Part::close);
        throw new InputException(origin + ": the number of logits changes from example to example");
      }
      logits.push_back(part.logits.detach());
    }
    ScriptPlan plan = ScriptPlan.allFallback(parameters, "");
    return new ScriptPass(torch.cat(logits, 0), null, plan, parts, parameters);
  }

  /**
   * A pass by hooks, and by parts for what takes the fallback.
   *
   * @param run closed with the pass, like the parts
   */
  static ScriptPass of(HookedRun run, ScriptPlan plan, List<Part> parts) {
    return new ScriptPass(
        run.logits().detach(), run, plan, parts, List.copyOf(plan.fallback().keySet()));
  }

  @Override
  public long bytesPerProbe() {
    // A cotangent and its place in the stack of all probes' for each hook.
    return Math.max(1, run == null ? 0 : 2 * run.outputBytes());
  }

  @Override
  public boolean takesSomeExamples() {
    return false; // autograd goes through the whole batch
  }

  @Override
  public void backward(
      Tensor logitCotangents, @Nullable Tensor examples, LayerVisitor visitor, boolean last) {
    LibTorch.initialize();
    try (PointerScope scope = new PointerScope()) {
      if (run != null) {
        List<@Nullable Call> calls =
            run.calls(plan.proven(), logitCotangents, plan.layouts(), !last);
        for (int i = 0; i < calls.size(); i++) {
          Call call = calls.get(i);
          if (call != null) {
            plan.proven().get(i).layer().accumulate(call, visitor);
          }
        }
      }
      TensorVector parameters = new TensorVector();
      ofParts.forEach(parameter -> parameters.push_back(parameter.tensor()));
      for (Part part : parts) {
        for (long v = 0; v < logitCotangents.size(0); v++) {
          boolean retain = !last || v < logitCotangents.size(0) - 1;
          backward(part, v, logitCotangents, parameters, visitor, retain);
        }
      }
    }
  }

  private void backward(
      Part part,
      long probe,
      Tensor logitCotangents,
      TensorVector parameters,
      LayerVisitor visitor,
      boolean retain) {
    try (PointerScope scope = new PointerScope()) {
      Tensor cotangent = logitCotangents.select(0, probe).narrow(0, part.first, part.count);
      if (!part.logits.requires_grad() || !cotangent.any().item_bool()) {
        return;
      }
      TensorVector gradients = ScriptRunner.gradients(part.logits, parameters, cotangent, retain);
      for (int i = 0; i < ofParts.size(); i++) {
        Tensor gradient = gradients.get(i);
        if (gradient.defined()) {
          Tensor dense = gradient.is_sparse() ? gradient.to_dense() : gradient;
          visitor.visit(
              new LayerVisit.Gradient(
                  ofParts.get(i).group(), dense.contiguous(), probe * examples() + part.first));
        }
      }
    }
  }

  @Override
  public void close() {
    super.close();
    if (run != null) {
      run.close();
    }
    parts.forEach(Part::close);
  }
}
