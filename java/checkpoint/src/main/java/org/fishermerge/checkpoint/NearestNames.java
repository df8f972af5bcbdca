package org.fishermerge.checkpoint;

import java.util.Collection;
import java.util.Comparator;
import java.util.stream.Collectors;

/** Near misses, for messages about a name that nobody has. */
public final class NearestNames {
  /** Looking for near misses in more names than this would take longer than it helps. */
  private static final int MAX_CANDIDATES = 20_000;

  private static final int SHOWN = 3;

  private NearestNames() {}

  /** {@code "; the nearest names are "a", "b""}, or nothing when there are no names. */
  public static String of(String wanted, Collection<String> names) {
    record Candidate(String name, int distance) {}
    String nearest =
        names.stream()
            .limit(MAX_CANDIDATES)
            .map(name -> new Candidate(name, editDistance(wanted, name)))
            .sorted(Comparator.comparingInt(Candidate::distance))
            .limit(SHOWN)
            .map(candidate -> Messages.quote(candidate.name()))
            .collect(Collectors.joining(", "));
    return nearest.isEmpty() ? "" : "; the nearest names are " + nearest;
  }

  /** Levenshtein distance over the parts that a message shows. */
  private static int editDistance(String a, String b) {
    int n = Math.min(a.length(), Messages.MAX_QUOTED);
    int m = Math.min(b.length(), Messages.MAX_QUOTED);
    int[] row = new int[m + 1];
    for (int j = 0; j <= m; j++) {
      row[j] = j;
    }
    for (int i = 1; i <= n; i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= m; j++) {
        int substituted = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(substituted, 1 + Math.min(row[j], row[j - 1]));
      }
    }
    return row[m];
  }
}
