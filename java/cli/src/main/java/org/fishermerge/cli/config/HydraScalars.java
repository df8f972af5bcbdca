package org.fishermerge.cli.config;

import java.math.BigInteger;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.snakeyaml.engine.v2.nodes.Tag;

/**
 * What an unquoted word in a YAML file stands for, by the rules of OmegaConf's loader: those of
 * YAML 1.1 as PyYAML has them, with numbers such as {@code 1e-3} and without dates.
 */
final class HydraScalars {
  private static final Set<String> TRUE =
      Set.of("yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON");
  private static final Set<String> FALSE =
      Set.of("no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF");
  private static final Set<String> NULL = Set.of("", "~", "null", "Null", "NULL");

  private static final Pattern INTEGER =
      Pattern.compile(
          "[-+]?(?:0b[0-1_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+"
              + "|[1-9][0-9_]*(?::[0-5]?[0-9])+)");

  /** PyYAML's, then those that OmegaConf adds. */
  private static final Pattern FLOAT =
      Pattern.compile(
          "[-+]?[0-9][0-9_]*\\.[0-9_]*(?:[eE][-+][0-9]+)?"
              + "|\\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
              + "|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\\.[0-9_]*"
              + "|[-+]?\\.(?:inf|Inf|INF)"
              + "|\\.(?:nan|NaN|NAN)"
              + "|[-+]?[0-9]+(?:_[0-9]+)*\\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
              + "|[-+]?[0-9]+(?:_[0-9]+)*[eE][-+]?[0-9]+");

  private static final int SEXAGESIMAL = 60;

  private HydraScalars() {}

  /**
   * The type of a text.
   *
   * @param implicit whether it stands without quotes
   */
  static Tag resolve(String text, boolean implicit) {
    if (!implicit) {
      return Tag.STR;
    }
    if (NULL.contains(text)) {
      return Tag.NULL;
    }
    if (TRUE.contains(text) || FALSE.contains(text)) {
      return Tag.BOOL;
    }
    if (FLOAT.matcher(text).matches()) {
      return Tag.FLOAT;
    }
    return INTEGER.matcher(text).matches() ? Tag.INT : Tag.STR;
  }

  /**
   * The value of a text that {@link #resolve} or the file itself gives a type.
   *
   * @throws IllegalArgumentException if the text is none of that type
   */
  static @Nullable Object value(Tag tag, String text) {
    if (tag.equals(Tag.STR)) {
      return text;
    }
    if (tag.equals(Tag.NULL)) {
      return null;
    }
    if (tag.equals(Tag.BOOL) && (TRUE.contains(text) || FALSE.contains(text))) {
      return TRUE.contains(text);
    }
    if (tag.equals(Tag.INT) && INTEGER.matcher(text).matches()) {
      return integer(text.replace("_", ""));
    }
    if (tag.equals(Tag.FLOAT)
        && (FLOAT.matcher(text).matches() || INTEGER.matcher(text).matches())) {
      return floating(text.replace("_", "").toLowerCase(Locale.ROOT));
    }
    throw new IllegalArgumentException(text);
  }

  private static Object integer(String signed) {
    boolean negative = signed.startsWith("-");
    String digits = signed.substring(negative || signed.startsWith("+") ? 1 : 0);
    BigInteger value;
    if (digits.startsWith("0b")) {
      value = new BigInteger(digits.substring(2), 2);
    } else if (digits.startsWith("0x")) {
      value = new BigInteger(digits.substring(2), 16);
    } else if (digits.startsWith("0")) {
      value = new BigInteger(digits, 8);
    } else {
      value = BigInteger.ZERO;
      for (String part : List.of(digits.split(":", -1))) {
        value = value.multiply(BigInteger.valueOf(SEXAGESIMAL)).add(new BigInteger(part));
      }
    }
    return whole(negative ? value.negate() : value);
  }

  /** A {@code Long} where it is one. */
  static Object whole(BigInteger value) {
    if (value.bitLength() < Long.SIZE) {
      return value.longValue();
    }
    return value;
  }

  private static double floating(String signed) {
    boolean negative = signed.startsWith("-");
    String digits = signed.substring(negative || signed.startsWith("+") ? 1 : 0);
    double value;
    if (digits.equals(".inf")) {
      value = Double.POSITIVE_INFINITY;
    } else if (digits.equals(".nan")) {
      value = Double.NaN;
    } else if (digits.contains(":")) {
      value = 0;
      double base = 1;
      for (String part : List.of(digits.split(":", -1)).reversed()) {
        value += Double.parseDouble(part) * base;
        base *= SEXAGESIMAL;
      }
    } else {
      value = Double.parseDouble(digits);
    }
    return negative ? -value : value;
  }
}
