package org.fishermerge.checkpoint;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** Pieces of the messages that this package gives to users. */
final class Messages {
  /** Names can be megabytes long; a message shows this much. */
  private static final int MAX_QUOTED = 120;

  /** Looking for near misses in more names than this would take longer than it helps. */
  private static final int MAX_CANDIDATES = 20_000;

  private Messages() {}

  /** A name from a file, in quotes, with control characters escaped, cut if long. */
  static String quote(String text) {
    StringBuilder out = new StringBuilder("\"");
    int shown = Math.min(text.length(), MAX_QUOTED);
    for (int i = 0; i < shown; i++) {
      char c = text.charAt(i);
      boolean paired =
          Character.isHighSurrogate(c)
              ? i + 1 < shown && Character.isLowSurrogate(text.charAt(i + 1))
              : !Character.isLowSurrogate(c)
                  || (i > 0 && Character.isHighSurrogate(text.charAt(i - 1)));
      if (Character.isISOControl(c) || !paired) {
        out.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
      } else if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else {
        out.append(c);
      }
    }
    if (shown < text.length()) {
      out.append("...\" (").append(text.length()).append(" characters)");
      return out.toString();
    }
    return out.append('"').toString();
  }

  /** The first line of a message from elsewhere, cut if long. */
  static String firstLine(String text) {
    String line = text.lines().findFirst().orElse("");
    return line.length() <= 2 * MAX_QUOTED ? line : line.substring(0, 2 * MAX_QUOTED) + "...";
  }

  /** For example {@code 1,234,567 bytes (1.2 MB)}. */
  static String bytes(long count) {
    String exact = String.format(Locale.ROOT, "%,d %s", count, count == 1 ? "byte" : "bytes");
    if (count < 10_000) {
      return exact;
    }
    double value = count;
    int unit = -1;
    while (value >= 999.95) {
      value /= 1000;
      unit++;
    }
    return exact + String.format(Locale.ROOT, " (%.1f %cB)", value, "kMGTPE".charAt(unit));
  }

  static InputException cannotRead(Path file, IOException e) {
    return new InputException(file + ": cannot be read: " + reason(e), e);
  }

  static InputException cannotWrite(Path file, IOException e) {
    return new InputException(file + ": cannot be written: " + reason(e), e);
  }

  /** What an I/O error says beyond the file's name, which our messages give anyway. */
  static String reason(IOException e) {
    if (e instanceof NoSuchFileException) {
      return "no such file or folder";
    }
    if (e instanceof AccessDeniedException) {
      return "permission denied";
    }
    if (e instanceof FileAlreadyExistsException) {
      return "it exists already";
    }
    if (e instanceof FileSystemException f && f.getReason() != null) {
      return f.getReason();
    }
    return e.getMessage() == null ? e.getClass().getSimpleName() : firstLine(e.getMessage());
  }

  /** {@code "; the nearest names are "a", "b""}, or nothing when there are no names. */
  static String nearest(String wanted, Collection<String> names) {
    record Candidate(String name, int distance) {}
    List<Candidate> candidates =
        names.stream()
            .limit(MAX_CANDIDATES)
            .map(name -> new Candidate(name, editDistance(wanted, name)))
            .sorted(Comparator.comparingInt(Candidate::distance))
            .limit(3)
            .toList();
    if (candidates.isEmpty()) {
      return "";
    }
    return "; the nearest names are "
        + candidates.stream().map(c -> quote(c.name())).collect(Collectors.joining(", "));
  }

  /** Levenshtein distance over the parts that a message shows. */
  private static int editDistance(String a, String b) {
    int n = Math.min(a.length(), MAX_QUOTED);
    int m = Math.min(b.length(), MAX_QUOTED);
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
