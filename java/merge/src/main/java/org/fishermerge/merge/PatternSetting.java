package org.fishermerge.merge;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ParameterNames;

/**
 * A setting by regular expressions, matched from the start of the base's name of a tensor or of its
 * canonical one; the first that matches counts. One that matches nothing that is merged is an
 * error.
 *
 * @param origin where the expressions stand, for messages
 * @param entries tried in order
 * @param otherwise where none matches
 */
public record PatternSetting(String origin, List<Entry> entries, TensorSetting otherwise)
    implements TensorSetting {
  /** An expression and its value. */
  public record Entry(Pattern pattern, TensorSetting value) {
    boolean matches(String tensor) {
      return pattern.matcher(tensor).lookingAt()
          || pattern.matcher(ParameterNames.canonical(tensor)).lookingAt();
    }
  }

  /** Copies the list. */
  public PatternSetting {
    entries = List.copyOf(entries);
  }

  @Override
  public double of(String tensor, int model) {
    return entries.stream()
        .filter(entry -> entry.matches(tensor))
        .findFirst()
        .map(Entry::value)
        .orElse(otherwise)
        .of(tensor, model);
  }

  @Override
  public String text() {
    return "by " + origin;
  }

  @Override
  public void requireUsed(Collection<String> tensors) {
    for (Entry entry : entries) {
      if (tensors.stream().noneMatch(entry::matches)) {
        throw new InputException(
            origin
                + ": '"
                + entry.pattern()
                + "' matches no parameter that is merged, such as '"
                + tensors.iterator().next()
                + "'; it is matched from the start of the name, so begin it with .* to match inside,"
                + " or leave it out");
      }
    }
  }

  /** Starts a setting. */
  public static Builder builder(String origin, TensorSetting otherwise) {
    return new Builder(origin, otherwise);
  }

  /** Collects expressions. */
  public static final class Builder {
    private final String origin;
    private final TensorSetting otherwise;
    private final List<Entry> entries = new ArrayList<>();

    private Builder(String origin, TensorSetting otherwise) {
      this.origin = origin;
      this.otherwise = otherwise;
    }

    /**
     * Adds an expression behind those before.
     *
     * @throws InputException if it is none
     */
    public Builder add(String expression, TensorSetting value) {
      entries.add(new Entry(NamePatterns.compile(origin + ":", expression), value));
      return this;
    }

    /**
     * The setting.
     *
     * @throws InputException if there is no expression
     */
    public PatternSetting build() {
      if (entries.isEmpty()) {
        throw new InputException(
            origin + ": holds no regular expression; expected lines as in \"'.*bias': [1, 0.5]\"");
      }
      return new PatternSetting(origin, entries, otherwise);
    }
  }
}
