package org.fishermerge.checkpoint;

import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileLockInterruptionException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.CancellationException;
import org.jspecify.annotations.Nullable;

/** Pieces of the messages that this package gives to users. */
final class Messages {
  /** Names can be megabytes long; a message shows this much. */
  static final int MAX_QUOTED = 120;

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

  /** An {@link InputException}, or a {@link CancellationException} if the thread is interrupted. */
  static RuntimeException cannotRead(Path file, IOException e) {
    if (isInterruption(e)) {
      return cancelled("reading " + file, e);
    }
    return e instanceof NoSuchFileException
        ? missing(file, e)
        : new InputException(file + ": cannot be read: " + reason(e), e);
  }

  static InputException missing(Path file, @Nullable IOException e) {
    return new InputException(
        file
            + ": no such file or folder"
            + (file.startsWith("~")
                ? "; only a shell replaces ~, at the start of a word: write the home folder out"
                : ""),
        e);
  }

  /** An {@link InputException}, or a {@link CancellationException} if the thread is interrupted. */
  static RuntimeException cannotWrite(Path file, IOException e) {
    return isInterruption(e)
        ? cancelled("writing " + file, e)
        : new InputException(file + ": cannot be written: " + reason(e), e);
  }

  /** Channels close themselves when the thread that uses them is interrupted; its status stays. */
  private static boolean isInterruption(IOException e) {
    return e instanceof ClosedByInterruptException || e instanceof FileLockInterruptionException;
  }

  private static CancellationException cancelled(String where, IOException e) {
    CancellationException cancelled = new CancellationException("interrupted while " + where);
    cancelled.initCause(e);
    return cancelled;
  }

  /** What an I/O error says beyond the file's name, which our messages give anyway. */
  static String reason(IOException e) {
    return Reasons.of(e);
  }
}
