package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.TupleElements;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.torch.ScriptHooks.Hook;
import org.fishermerge.torch.ScriptLayer.Call;
import org.fishermerge.torch.ScriptLayer.Layout;
import org.fishermerge.torch.ScriptModule.Parameter;
import org.jspecify.annotations.Nullable;

/** A recorded run of a hooked module over a batch, with what its hooks saw. Not thread-safe. */
final class HookedRun implements AutoCloseable {
  private final ScriptHooks hooks;
  private final int examples;
  private final Tensor logits;
  private final List<IValue> values = new ArrayList<>();
  private final List<Tensor> copies = new ArrayList<>(); // of parameters, one for each example
  private final List<Pointer> kept = new ArrayList<>();

  HookedRun(ScriptRunner runner, ScriptHooks hooks, List<Tensor> inputs, int examples) {
    this.hooks = hooks;
    this.examples = examples;
    List<Tensor> further = new ArrayList<>();
    if (hooks.spreads()) {
      further.add(torch.zeros(new long[] {examples, 1, 1}));
    }
    for (Parameter parameter : hooks.copied()) {
      long[] shape = parameter.tensor().sizes().vec().get();
      shape[0] = examples;
      Tensor ofParameter = parameter.tensor().detach().expand(shape);
      ofParameter.set_requires_grad(true);
      copies.add(keep(ofParameter));
    }
    further.addAll(copies);
    try (PointerScope scope = new PointerScope()) {
      TupleElements elements =
          runner.recorded(hooks.function(), inputs, further).toTuple().elements();
      for (long i = 0; i < elements.size(); i++) {
        values.add(keep(new IValue(elements.get(i))));
      }
      logits = keep(runner.logits(values.getFirst(), examples));
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  private <P extends Pointer> P keep(P pointer) {
    pointer.retainReference();
    kept.add(pointer);
    return pointer;
  }

  /** [examples, K], with its record. */
  Tensor logits() {
    return logits;
  }

  /** The output of a hook's operator. */
  Tensor output(Hook hook) {
    return hook.ofCopies()
        ? copies.get(hook.output())
        : new Tensor(values.get(hook.output()).toTensor());
  }

  /** Bytes of the outputs of all hooks. */
  long outputBytes() {
    return hooks.hooks().stream().mapToLong(hook -> output(hook).numel() * Float.BYTES).sum();
  }

  /**
   * Pulls cotangents back to the outputs of hooks, and answers what each operator saw; null where
   * no cotangent reaches it.
   *
   * @param cotangents of the logits [V, B, K]
   * @param layouts how examples lie in operators, where they do not come first
   * @param retain whether the record is used again
   */
  List<@Nullable Call> calls(
      List<Hook> some, Tensor cotangents, Map<Integer, Layout> layouts, boolean retain) {
    TensorVector outputs = new TensorVector();
    some.forEach(hook -> outputs.push_back(output(hook)));
    List<TensorVector> stacks = new ArrayList<>();
    some.forEach(hook -> stacks.add(new TensorVector()));
    long probes = cotangents.size(0);
    for (long v = 0; v < probes; v++) {
      TensorVector gradients =
          ScriptRunner.gradients(
              logits, outputs, cotangents.select(0, v), retain || v < probes - 1);
      for (int i = 0; i < stacks.size(); i++) {
        Tensor gradient = gradients.get(i);
        if (gradient.defined()) {
          stacks.get(i).push_back(new Tensor(gradient));
        }
      }
    }
    List<@Nullable Call> calls = new ArrayList<>();
    for (int i = 0; i < stacks.size(); i++) {
      Hook hook = some.get(i);
      calls.add(
          stacks.get(i).empty()
              ? null
              : call(
                  hook,
                  torch.stack(stacks.get(i), 0),
                  layouts.getOrDefault(hook.operator(), Layout.EXAMPLES_FIRST)));
    }
    return calls;
  }

  private Call call(Hook hook, Tensor cotangent, Layout layout) {
    @Nullable IValue[] arguments = new @Nullable IValue[hook.arguments().length];
    for (int i = 0; i < arguments.length; i++) {
      int at = hook.arguments()[i];
      arguments[i] = at < 0 ? null : values.get(at);
    }
    return new Call(examples, arguments, cotangent, layout);
  }

  @Override
  public void close() {
    kept.forEach(Pointer::close);
    kept.clear();
  }
}
