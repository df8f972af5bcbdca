package org.fishermerge.cli.config;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/**
 * Overrides with several values, {@code key=a,b}: Hydra runs once for each with {@code --multirun}.
 * Here a loop of the shell does that.
 */
public final class Sweep {
  private static final Pattern PLAIN = Pattern.compile("[\\w./:@%+-]+");
  private static final String CHOICE = "choice(";

  private Sweep() {}

  /**
   * A line for a POSIX shell that runs the program once for each combination of values; the command
   * itself where no override has several.
   */
  public static String loop(List<String> overrides) {
    StringBuilder head = new StringBuilder();
    StringBuilder command = new StringBuilder("fisher-merge");
    int loops = 0;
    for (String override : overrides) {
      int equals = override.indexOf('=');
      List<String> values = equals < 0 ? List.of() : values(override.substring(equals + 1).strip());
      if (values.size() < 2) {
        command.append(' ').append(quoted(override));
        continue;
      }
      loops++;
      String variable = "v" + (loops == 1 ? "" : String.valueOf(loops));
      head.append("for ").append(variable).append(" in");
      values.forEach(value -> head.append(' ').append(quoted(value)));
      head.append("; do ");
      command
          .append(" \"")
          .append(override, 0, equals + 1)
          .append('$')
          .append(variable)
          .append('"');
    }
    return head.toString() + command + "; done".repeat(loops);
  }

  private static String quoted(String word) {
    return PLAIN.matcher(word.replace("=", "")).matches()
        ? word
        : "'" + word.replace("'", "'\\''") + "'";
  }

  /** Splits at commas outside of quotes and brackets. */
  private static List<String> values(String text) {
    String list =
        text.startsWith(CHOICE) && text.endsWith(")")
            ? text.substring(CHOICE.length(), text.length() - 1)
            : text;
    List<String> values = new ArrayList<>();
    int depth = 0;
    int start = 0;
    char quote = 0;
    for (int i = 0; i < list.length(); i++) {
      char c = list.charAt(i);
      if (c == '\\') {
        i++;
      } else if (quote != 0) {
        quote = c == quote ? 0 : quote;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if ("([{".indexOf(c) >= 0) {
        depth++;
      } else if (")]}".indexOf(c) >= 0) {
        depth--;
      } else if (c == ',' && depth == 0) {
        values.add(list.substring(start, i).strip());
        start = i + 1;
      }
    }
    values.add(list.substring(start).strip());
    return values;
  }
}
