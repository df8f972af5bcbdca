package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.torch.ScriptHooks.Hook;
import org.fishermerge.torch.ScriptLayer.Layout;
import org.fishermerge.torch.ScriptModule.Parameter;
import org.jspecify.annotations.Nullable;

/**
 * How the squared gradients of a module's parameters are found: by hooks and kernels for a whole
 * batch at once, or, as a fallback, by autograd.
 *
 * @param hooks the hooked module; null if every parameter takes the fallback
 * @param proven the hooks that are used
 * @param layouts how examples lie in operators, where they do not come first
 * @param fallback the parameters whose gradient autograd gives, with the reason
 * @param unused the parameters that the graph does not use: F = 0, and nothing is run for them
 */
record ScriptPlan(
    @Nullable ScriptHooks hooks,
    List<Hook> proven,
    Map<Integer, Layout> layouts,
    Map<Parameter, String> fallback,
    Set<Parameter> unused) {
  private static final int NAMES_SHOWN = 3;

  /** Every parameter by autograd. */
  static ScriptPlan allFallback(List<Parameter> parameters, String reason) {
    Map<Parameter, String> fallback = new LinkedHashMap<>();
    parameters.forEach(parameter -> fallback.put(parameter, reason));
    return new ScriptPlan(null, List.of(), Map.of(), fallback, Set.of());
  }

  /**
   * One line that says how many parameters go which way, and why some take the fallback.
   *
   * @param wanted how many parameters there are
   */
  String describe(int wanted) {
    StringBuilder text =
        new StringBuilder("TorchScript: ")
            .append(wanted - fallback.size() - unused.size())
            .append(" parameters in ")
            .append(proven.size())
            .append(" layers are fused");
    if (!fallback.isEmpty()) {
      Map<String, List<String>> byReason = new LinkedHashMap<>();
      fallback.forEach((parameter, reason) ->
          byReason.computeIfAbsent(reason, any -> new ArrayList<>()).add(parameter.name()));
      text.append("; ").append(fallback.size()).append(" by autograd, one example at a time (");
      text.append(
          byReason.entrySet().stream()
              .map(entry -> NameList.of(entry.getValue(), NAMES_SHOWN) + ": " + entry.getKey())
              .collect(Collectors.joining("; ")));
      text.append(")");
    }
    return text.toString();
  }
}
