package org.fishermerge.merge;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;

/** Regular expressions for names of parameters, and which of them have matched something. */
final class NamePatterns {
  private final List<Pattern> patterns = new ArrayList<>();
  private final Set<Pattern> used = new LinkedHashSet<>();
  private final String kind;
  private final MergeInputs inputs;

  /**
   * @param kind what messages call one of them
   * @param inputs whose names are tried
   */
  NamePatterns(String kind, List<String> expressions, MergeInputs inputs) {
    this.kind = kind;
    this.inputs = inputs;
    expressions.forEach(expression -> patterns.add(compile("the " + kind, expression)));
  }

  /**
   * A regular expression.
   *
   * @param what a message calls it, before the expression
   * @throws InputException if it is none
   */
  static Pattern compile(String what, String expression) {
    try {
      return Pattern.compile(expression);
    } catch (PatternSyntaxException e) {
      throw new InputException(
          what
              + " '"
              + expression
              + "' is not a regular expression: "
              + e.getDescription()
              + " at position "
              + e.getIndex(),
          e);
    }
  }

  /** Whether a tensor of the base is named. */
  boolean match(CheckpointTensor tensor) {
    return match(tensor.canonicalName());
  }

  /** Whether one of the names under which an input stores a parameter is named. */
  boolean match(Parameter parameter) {
    boolean any = false;
    for (String name : parameter.names()) {
      boolean stored =
          inputs.base().has(name)
              || inputs.models().stream().anyMatch(model -> model.has(name))
              || inputs.fishers().stream().anyMatch(f -> f.tensors().containsKey(name));
      any |= stored && match(name);
    }
    return any;
  }

  private boolean match(String canonicalName) {
    Checkpoint first = inputs.models().getFirst();
    Set<String> names = new LinkedHashSet<>(List.of(canonicalName));
    for (Checkpoint checkpoint : List.of(inputs.base(), first)) {
      CheckpointTensor tensor = checkpoint.tensors().get(canonicalName);
      if (tensor != null) {
        names.add(tensor.name());
        names.add(tensor.info().name());
      }
    }
    boolean any = false;
    for (Pattern pattern : patterns) {
      if (names.stream().anyMatch(name -> pattern.matcher(name).lookingAt())) {
        used.add(pattern);
        any = true;
      }
    }
    return any;
  }

  /** Warnings about expressions that have matched nothing. */
  List<String> unused() {
    return patterns.stream()
        .filter(pattern -> !used.contains(pattern))
        .map(pattern ->
            "the "
                + kind
                + " '"
                + pattern
                + "' matches no tensor; it is matched from the start of the name, so begin"
                + " it with .* to match inside")
        .toList();
  }
}
