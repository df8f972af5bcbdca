package org.fishermerge.cli.config;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.config.ConfigValue.Mapping;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;
import org.jspecify.annotations.Nullable;

/**
 * Hydra's override grammar without functions and sweeps: {@code [+|++|~]key[=value]}, where a value
 * is empty, a word, quoted, a list {@code [a, b]} or a mapping {@code {a: 1}}. An unquoted word
 * that looks like one is null, a boolean, an integer or a floating-point number.
 */
final class OverrideParser {
  private static final int MOST_QUOTED = 240;

  private static final Pattern OVERRIDE =
      Pattern.compile("(\\+\\+|\\+|~)?([\\w$./-]+)(?:@([\\w$.-]*))?(?:=(.*))?", Pattern.DOTALL);

  private static final Pattern INTEGER = Pattern.compile("[+-]?(0|[1-9](_?\\d)*)");
  private static final Pattern FLOAT =
      Pattern.compile(
          "[+-]?((0|[1-9](_?\\d)*)\\.|(0|[1-9](_?\\d)*)?\\.\\d(_?\\d)*"
              + "|((0|[1-9](_?\\d)*)\\.?|(0|[1-9](_?\\d)*)?\\.\\d(_?\\d)*)[eE][+-]?\\d(_?\\d)*"
              + "|(?i:inf|nan))");
  private static final String ESCAPABLE = "\\()[]{}:=, \t";

  private final String override;
  private final String text;
  private int at;
  private int depth;

  private OverrideParser(String override, String text) {
    this.override = override;
    this.text = text;
  }

  /** Whether an argument is meant as an override. */
  private static boolean isOverride(String argument) {
    Matcher matcher = OVERRIDE.matcher(argument);
    return matcher.matches()
        && !argument.startsWith("-")
        && (matcher.group(4) != null || "~".equals(matcher.group(1)));
  }

  /**
   * Parses one argument.
   *
   * @throws InputException if it is not of this form
   */
  static ConfigOverride parse(String argument) {
    Matcher matcher = OVERRIDE.matcher(argument);
    if (!isOverride(argument) || !matcher.matches()) {
      throw new InputException(
          "\""
              + argument
              + "\" is no override; expected key=value, +key=value, ++key=value or ~key");
    }
    ConfigOverride.Kind kind =
        switch (matcher.group(1)) {
          case "+" -> ConfigOverride.Kind.ADD;
          case "++" -> ConfigOverride.Kind.FORCE;
          case "~" -> ConfigOverride.Kind.DELETE;
          case null, default -> ConfigOverride.Kind.SET;
        };
    String value = matcher.group(4);
    return new ConfigOverride(
        kind,
        matcher.group(2),
        matcher.group(3),
        value == null ? null : new OverrideParser(argument, value).whole(),
        argument);
  }

  private InputException problem(String what) {
    return new InputException(
        "\""
            + (override.length() <= MOST_QUOTED
                ? override
                : override.substring(0, MOST_QUOTED) + "...")
            + "\": "
            + what
            + "; put quotes around a value that is meant literally, as in"
            + " 'key=\"a,b\"'");
  }

  private ConfigValue whole() {
    skipSpace();
    if (at == text.length()) {
      return new Scalar("");
    }
    ConfigValue value = element("");
    if (at < text.length()) {
      throw text.charAt(at) == ','
          ? problem(
              "several values are a sweep, which is not supported; give a list as [a,b], or run once"
                  + " for each, as in: "
                  + Sweep.loop(List.of(override)))
          : problem("\"" + text.charAt(at) + "\" has no place in an unquoted value");
    }
    return value;
  }

  /**
   * A value up to the end or one of the closing characters.
   *
   * @param closing besides the comma, what ends the value
   */
  private ConfigValue element(String closing) {
    if (++depth > Yaml.MOST_LEVELS) {
      throw problem("nested deeper than " + Yaml.MOST_LEVELS + " levels");
    }
    skipSpace();
    char first = at < text.length() ? text.charAt(at) : 0;
    ConfigValue value =
        switch (first) {
          case '[' -> list();
          case '{' -> mapping();
          case '"', '\'' -> new Scalar(quoted(first));
          default -> word(closing);
        };
    skipSpace();
    depth--;
    return value;
  }

  private Sequence list() {
    at++;
    List<ConfigValue> items = new ArrayList<>();
    skipSpace();
    while (!take(']')) {
      items.add(element("]"));
      separator(']');
    }
    return new Sequence(items);
  }

  private Mapping mapping() {
    at++;
    Map<String, ConfigValue> entries = new LinkedHashMap<>();
    skipSpace();
    while (!take('}')) {
      String key = literal(":}");
      if (!take(':')) {
        throw problem("a key of a mapping needs a colon and a value");
      }
      entries.put(key, element("}"));
      separator('}');
    }
    return new Mapping(entries);
  }

  /** A comma, or the closing character ahead. */
  private void separator(char closing) {
    skipSpace();
    if (at == text.length()) {
      throw problem("\"" + closing + "\" is missing");
    }
    if (text.charAt(at) != closing && !take(',')) {
      throw problem("\"" + text.charAt(at) + "\" stands where a comma or " + closing + " belongs");
    }
    skipSpace();
  }

  private boolean take(char wanted) {
    if (at < text.length() && text.charAt(at) == wanted) {
      at++;
      return true;
    }
    return false;
  }

  private void skipSpace() {
    while (at < text.length() && (text.charAt(at) == ' ' || text.charAt(at) == '\t')) {
      at++;
    }
  }

  /** A quoted text; backslashes count as such unless they precede a quote. */
  private String quoted(char quote) {
    at++;
    StringBuilder content = new StringBuilder();
    while (at < text.length()) {
      int run = at;
      while (run < text.length() && text.charAt(run) == '\\') {
        run++;
      }
      int backslashes = run - at;
      at = run;
      if (at < text.length() && text.charAt(at) == quote) {
        content.append("\\".repeat(backslashes / 2));
        at++;
        if (backslashes % 2 == 0) {
          return content.toString();
        }
        content.append(quote);
      } else {
        content.append("\\".repeat(backslashes));
        if (at < text.length()) {
          content.append(text.charAt(at++));
        }
      }
    }
    throw problem("the closing quote is missing");
  }

  private Scalar word(String closing) {
    int start = at;
    String content = literal(closing);
    String raw = text.substring(start, at).strip();
    return new Scalar(raw.equals(content) ? typed(content) : content);
  }

  /** Unquoted text with its escapes taken out, without spaces around it. */
  private String literal(String closing) {
    StringBuilder content = new StringBuilder();
    int kept = 0; // up to where spaces must stay
    while (at < text.length()) {
      char c = text.charAt(at);
      if (c == ',' || closing.indexOf(c) >= 0) {
        break;
      }
      if (c == '\\' && at + 1 < text.length() && ESCAPABLE.indexOf(text.charAt(at + 1)) >= 0) {
        content.append(text.charAt(at + 1));
        at += 2;
        kept = content.length();
      } else if (text.startsWith("${", at)) {
        int end = Interpolation.end(text, at);
        if (end < 0) {
          throw problem("the closing brace of ${ is missing");
        }
        content.append(text, at, end);
        at = end;
        kept = content.length();
      } else if ("()[]{}=\"'".indexOf(c) >= 0) {
        throw problem(
            c == '('
                ? "functions are not supported"
                : "\"" + c + "\" has no place in an unquoted value");
      } else {
        content.append(c);
        at++;
        if (c != ' ' && c != '\t') {
          kept = content.length();
        }
      }
    }
    if (kept == 0) {
      throw problem("a value is missing");
    }
    return content.substring(0, kept);
  }

  /** What an unquoted word stands for. */
  static @Nullable Object typed(String word) {
    return switch (word.toLowerCase(Locale.ROOT)) {
      case "null" -> null;
      case "true" -> true;
      case "false" -> false;
      default -> number(word);
    };
  }

  private static Object number(String word) {
    String digits = word.replace("_", "");
    if (INTEGER.matcher(word).matches()) {
      return HydraScalars.whole(new BigInteger(digits));
    }
    if (FLOAT.matcher(word).matches()) {
      return switch (digits.toLowerCase(Locale.ROOT)) {
        case "inf", "+inf" -> Double.POSITIVE_INFINITY;
        case "-inf" -> Double.NEGATIVE_INFINITY;
        case "nan", "+nan", "-nan" -> Double.NaN;
        default -> Double.parseDouble(digits);
      };
    }
    return word;
  }
}
