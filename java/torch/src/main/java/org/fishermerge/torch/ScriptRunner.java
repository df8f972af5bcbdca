package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.GraphFunction;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.torch.runtime.Tensors;

/**
 * Runs a module's {@code forward}, with or without a record for autograd. Tensors that it is given
 * and answers belong to the caller's pointer scope. Not thread-safe.
 */
final class ScriptRunner {
  private final ScriptModule module;
  private final ScriptLogits logits;
  private final GraphFunction forward;

  ScriptRunner(ScriptModule module, ScriptLogits logits) {
    this.module = module;
    this.logits = logits;
    this.forward = module.forwardFunction();
  }

  /** The logits of a batch, without a record. */
  float[] logits(List<Tensor> inputs, int examples) {
    return Tensors.floats(logits.of(run(forward, inputs, List.of()), examples).detach());
  }

  /** The logits in an output of {@code forward}. */
  Tensor logits(IValue output, int examples) {
    return logits.of(output, examples);
  }

  /** Runs a function of the module and records it. */
  IValue recorded(GraphFunction function, List<Tensor> inputs, List<Tensor> further) {
    return recorded(() -> run(function, inputs, further));
  }

  /**
   * Records a batch in parts of {@code size} examples, each run as a batch of its own.
   *
   * @return to be closed by the caller
   */
  List<Part> parts(List<Tensor> inputs, int examples, int size) {
    List<Part> parts = new ArrayList<>();
    try {
      for (int first = 0; first < examples; first += size) {
        int from = first;
        List<Tensor> own = inputs.stream().map(input -> input.narrow(0, from, size)).toList();
        Tensor ofPart = recorded(() -> logits.of(run(forward, own, List.of()), size));
        parts.add(new Part(first, size, ofPart));
      }
      return parts;
    } catch (RuntimeException | Error e) {
      parts.forEach(Part::close);
      throw e;
    }
  }

  private IValue run(GraphFunction function, List<Tensor> inputs, List<Tensor> further) {
    return module.run(function, inputs, further);
  }

  private static <T> T recorded(Supplier<T> body) {
    GradMode.set_enabled(true);
    try {
      return body.get();
    } finally {
      GradMode.set_enabled(false);
    }
  }

  /** Gradients of the logits, weighted by a cotangent; undefined where there is no path. */
  static TensorVector gradients(
      Tensor logits, TensorVector inputs, Tensor cotangent, boolean retain) {
    return torch.grad(
        new TensorVector(logits),
        inputs,
        new TensorVector(cotangent),
        new BoolOptional(retain),
        false,
        true);
  }

  /** The recorded forward pass of some examples of a batch. */
  static final class Part implements AutoCloseable {
    final int first;
    final int count;
    final Tensor logits;

    Part(int first, int count, Tensor logits) {
      this.first = first;
      this.count = count;
      this.logits = Tensors.retain(logits);
    }

    @Override
    public void close() {
      logits.close();
    }
  }
}
