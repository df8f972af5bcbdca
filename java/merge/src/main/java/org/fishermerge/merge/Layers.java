package org.fishermerge.merge;

import java.util.Comparator;
import java.util.regex.Pattern;

/**
 * Which layer a tensor belongs to, by its name alone: the name up to and with its first part that
 * is a number or speaks of embeddings ({@code encoder.layers.3}, {@code h.11}, {@code
 * bert.embeddings}); of a name without such a part all but the last ({@code post_layernorm}).
 */
public final class Layers {
  /**
   * As a reader counts: layers.2 before layers.10. Numbers of any length, so they are compared as
   * text.
   */
  public static final Comparator<String> ORDER = Layers::compareNatural;

  private static final Pattern NUMBER = Pattern.compile("\\d+");
  private static final Pattern EDGE = Pattern.compile("(?<=\\D)(?=\\d)|(?<=\\d)(?=\\D)");

  private Layers() {}

  /** The layer of a tensor. */
  public static String layerOf(String canonicalName) {
    int end = -1;
    while (true) {
      int begin = end + 1;
      end = canonicalName.indexOf('.', begin);
      String part = canonicalName.substring(begin, end < 0 ? canonicalName.length() : end);
      if (end < 0) {
        return begin <= 1 ? canonicalName : canonicalName.substring(0, begin - 1);
      }
      if (NUMBER.matcher(part).matches() || part.contains("embed")) {
        return canonicalName.substring(0, end);
      }
    }
  }

  private static int compareNatural(String a, String b) {
    String[] left = EDGE.split(a, -1);
    String[] right = EDGE.split(b, -1);
    for (int k = 0; k < Math.min(left.length, right.length); k++) {
      int order =
          isNumber(left[k]) && isNumber(right[k])
              ? compareNumbers(left[k], right[k])
              : left[k].compareTo(right[k]);
      if (order != 0) {
        return order;
      }
    }
    return left.length != right.length
        ? Integer.compare(left.length, right.length)
        : a.compareTo(b);
  }

  private static boolean isNumber(String text) {
    return NUMBER.matcher(text).matches();
  }

  private static int compareNumbers(String a, String b) {
    String left = a.replaceFirst("^0+", "");
    String right = b.replaceFirst("^0+", "");
    return left.length() != right.length()
        ? Integer.compare(left.length(), right.length())
        : left.compareTo(right);
  }
}
