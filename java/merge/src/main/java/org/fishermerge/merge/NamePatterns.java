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
  private final String kind;
  private final List<Pattern> patterns = new ArrayList<>();
  private final Set<Pattern> used = new LinkedHashSet<>();
  private final Checkpoint firstModel;

  /**
   * @param kind what messages call one of them
   * @param firstModel whose names are tried too
   */
  NamePatterns(String kind, List<String> expressions, Checkpoint firstModel) {
    this.kind = kind;
    this.firstModel = firstModel;
    for (String expression : expressions) {
      try {
        patterns.add(Pattern.compile(expression));
      } catch (PatternSyntaxException e) {
        throw new InputException(
            "the "
                + kind
                + " '"
                + expression
                + "' is not a regular expression: "
                + e.getDescription()
                + " at position "
                + e.getIndex(),
            e);
      }
    }
  }

  boolean match(CheckpointTensor tensor) {
    boolean any = false;
    for (Pattern pattern : patterns) {
      if (matches(pattern, tensor)) {
        used.add(pattern);
        any = true;
      }
    }
    return any;
  }

  private boolean matches(Pattern pattern, CheckpointTensor tensor) {
    String name = tensor.canonicalName();
    return pattern.matcher(name).lookingAt()
        || pattern.matcher(tensor.info().name()).lookingAt()
        || (firstModel.has(name)
            && pattern.matcher(firstModel.tensor(name).info().name()).lookingAt());
  }

  /** A sentence for each that has matched nothing. */
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
