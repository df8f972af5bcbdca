package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.ScriptHooks.Hook;
import org.fishermerge.torch.ScriptHooks.Unhookable;
import org.fishermerge.torch.ScriptLayer.Call;
import org.fishermerge.torch.ScriptLayer.Layout;
import org.fishermerge.torch.ScriptModule.Parameter;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.objective.ExampleRandom;
import org.fishermerge.torch.runtime.Tensors;
import org.fishermerge.torch.statistic.DiagonalFisher;

/**
 * Finds the hooks of a module that give what autograd gives, on the first examples. A hook assumes
 * that the examples of a batch do not mix and where they lie; it is kept where a cotangent of one
 * example's logits reaches that example's part of the operator's output only, and the squares are
 * those of autograd's gradients of single examples.
 */
final class ScriptProof {
  // Above fp32 rounding through a deep network, below any wrong hook.
  private static final double TOLERANCE = 1e-3;
  // Parameters that change nothing, as the bias of attention's keys, have rounding for a Fisher:
  // about the square of fp32's, relative to the largest.
  private static final double NOISE = 1e-12;
  private static final long SEED = 0x5eed;

  private final ScriptModule module;
  private final ScriptRunner runner;
  private final Kernels kernels;
  private final List<Tensor> inputs;
  private final int examples;
  private final List<Parameter> wanted;
  private final List<ParameterGroup> groups;

  /**
   * A proof on some examples.
   *
   * @param inputs of those examples; borrowed
   */
  ScriptProof(
      ScriptModule module,
      ScriptRunner runner,
      Kernels kernels,
      List<Tensor> inputs,
      int examples) {
    this.module = module;
    this.runner = runner;
    this.kernels = kernels;
    this.inputs = inputs;
    this.examples = examples;
    this.wanted = module.wanted();
    this.groups = module.groups();
  }

  /**
   * Both examples' squares by autograd, then by the hooks; hooks that differ are dropped.
   *
   * @param alone a pass over the same examples, one by one, without hooks
   */
  ScriptPlan plan(ScriptPass alone) {
    Tensor cotangents = randomCotangents(Math.toIntExact(alone.logits().size(1)));
    try (DiagonalFisher expected = squares()) {
      alone.backward(cotangents, null, expected, false);
      // What every example is given of its own may not suit an operator; without it less is hooked.
      String failure = "";
      for (int attempt = 0; attempt < 4; attempt++) {
        boolean copies = attempt < 2;
        boolean mayShare = attempt % 2 == 0;
        try {
          return proven(copies, mayShare, alone, cotangents, expected);
        } catch (Unhookable e) {
          failure = String.valueOf(e.getMessage());
        } catch (InputException e) {
          failure = "its hooked graph fails";
        }
      }
      return ScriptPlan.allFallback(wanted, failure);
    }
  }

  private DiagonalFisher squares() {
    return new DiagonalFisher(kernels, DiagonalFisher.Squares.PER_EXAMPLE, groups);
  }

  /** [V, B, K] with as many probes as examples: probe v is of example v alone. */
  private Tensor randomCotangents(int classes) {
    float[] values = new float[examples * examples * classes];
    ExampleRandom random = new ExampleRandom(SEED, 0);
    for (int b = 0; b < examples; b++) {
      for (int c = 0; c < classes; c++) {
        values[(b * examples + b) * classes + c] = (float) (2 * random.nextDouble() - 1);
      }
    }
    return Tensors.copyOf(values, examples, examples, classes);
  }

  private ScriptPlan proven(
      boolean copies,
      boolean mayShare,
      ScriptPass alone,
      Tensor cotangents,
      DiagonalFisher expected)
      throws Unhookable {
    Map<Integer, Layout> layouts = new LinkedHashMap<>();
    ScriptHooks hooks = new ScriptHooks(module, copies, Set.of());
    if (mayShare) {
      findShared(hooks, layouts);
      if (!layouts.isEmpty()) {
        hooks = new ScriptHooks(module, copies, Set.copyOf(layouts.keySet()));
      }
    }
    Map<Parameter, String> fallback = new LinkedHashMap<>();
    Set<ParameterGroup> good = new HashSet<>();
    List<Hook> kept = new ArrayList<>();
    try (HookedRun run = new HookedRun(runner, hooks, inputs, examples);
        DiagonalFisher found = squares()) {
      float[] together = Tensors.floats(run.logits().detach());
      if (!close(Tensors.floats(alone.logits()), together, 0)) {
        throw new Unhookable("its hooked graph gives other logits");
      }
      double noise = NOISE * largest(expected);
      for (Hook hook : hooks.hooks()) {
        if (!run.output(hook).requires_grad()) {
          continue;
        }
        if (agrees(hook, run, cotangents, layouts, expected, found, noise)) {
          kept.add(hook);
          hook.layer().parameters().forEach(good::add);
        } else {
          hook.layer()
              .parameters()
              .forEach(group ->
                  fallback.put(module.parameter(group), "its examples are not apart in a batch"));
        }
      }
    }
    Set<Parameter> unused = new HashSet<>();
    for (Parameter parameter : wanted) {
      if (!hooks.uses(parameter)) {
        unused.add(parameter);
      } else if (!good.contains(parameter.group())) {
        fallback.putIfAbsent(parameter, hooks.reason(parameter));
      }
    }
    return new ScriptPlan(hooks, kept, layouts, fallback, unused);
  }

  /** Finds in a run which embeddings look the same up for all examples. */
  private void findShared(ScriptHooks hooks, Map<Integer, Layout> layouts) {
    try (HookedRun run = new HookedRun(runner, hooks, inputs, examples)) {
      for (Hook hook : hooks.hooks()) {
        Tensor output = run.output(hook);
        if (hook.layer() instanceof ScriptLayer.Embedding
            && output.size(0) != examples
            && (output.dim() == 2 || (output.dim() == 3 && output.size(0) == 1))) {
          layouts.put(hook.operator(), Layout.SHARED);
        }
      }
    }
  }

  private double largest(DiagonalFisher sums) {
    double largest = 0;
    for (Parameter parameter : wanted) {
      for (float value : sums.values(parameter.group())) {
        largest = Math.max(largest, value);
      }
    }
    return largest;
  }

  /** Whether a hook gives what autograd does, in some layout, which is then remembered. */
  private static boolean agrees(
      Hook hook,
      HookedRun run,
      Tensor cotangents,
      Map<Integer, Layout> layouts,
      DiagonalFisher expected,
      DiagonalFisher found,
      double noise) {
    boolean shared = layouts.get(hook.operator()) == Layout.SHARED;
    List<Layout> candidates =
        shared
            ? List.of(Layout.SHARED)
            : hook.ofCopies()
                ? List.of(Layout.EXAMPLES_FIRST)
                : List.of(Layout.EXAMPLES_FIRST, Layout.TIME_FIRST);
    for (Layout layout : candidates) {
      layouts.put(hook.operator(), layout);
      hook.layer().parameters().forEach(found::clear);
      try {
        Call call = run.calls(List.of(hook), cotangents, layouts, true).getFirst();
        if (call != null && !call.examplesAreApart()) {
          continue;
        }
        if (call != null) {
          hook.layer().accumulate(call, found);
        }
      } catch (RuntimeException e) {
        continue; // shapes that do not fit this layout, or the kernel
      }
      if (hook.layer()
          .parameters()
          .allMatch(group -> close(expected.values(group), found.values(group), noise))) {
        return true;
      }
    }
    return false;
  }

  private static boolean close(float[] expected, float[] found, double noise) {
    if (expected.length != found.length) {
      return false;
    }
    double largest = 0;
    for (float value : expected) {
      largest = Math.max(largest, Math.abs(value));
    }
    for (int i = 0; i < expected.length; i++) {
      // Not-a-number differs from everything, unless both are.
      if (!(Math.abs(expected[i] - found[i]) <= Math.max(TOLERANCE * largest, noise))
          && Float.compare(expected[i], found[i]) != 0) {
        return false;
      }
    }
    return true;
  }
}
