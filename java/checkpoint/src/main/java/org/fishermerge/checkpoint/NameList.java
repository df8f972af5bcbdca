package org.fishermerge.checkpoint;

import java.util.Collection;
import java.util.stream.Collectors;

/** Lists of names in messages. */
public final class NameList {
  private NameList() {}

  /** {@code a, b and 3 more}: the first {@code most} names; {@code none} for an empty list. */
  public static String of(Collection<String> names, int most) {
    if (names.isEmpty()) {
      return "none";
    }
    String list = names.stream().limit(most).collect(Collectors.joining(", "));
    return names.size() > most ? list + " and " + (names.size() - most) + " more" : list;
  }
}
