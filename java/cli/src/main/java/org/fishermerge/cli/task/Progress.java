package org.fishermerge.cli.task;

import java.io.Console;
import java.io.PrintWriter;
import java.io.Writer;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * One line on standard error that follows a long step: done, rate, time left. Drawn only on a
 * terminal, so logs and pipes stay clean. Of several steps at a time one is followed.
 */
public final class Progress implements AutoCloseable {
  private static final long REDRAW_NANOS = 100_000_000;

  /** Held while something is written. */
  private static final Object TERMINAL = new Object();

  /** The step whose line is on the terminal; guarded by {@link #TERMINAL}. */
  private static @Nullable Progress followed;

  private final PrintWriter err;
  private final boolean shown;
  private final String what;
  private final String unit;
  private final double divisor;
  private long total;
  private final long start = System.nanoTime();
  private long lastDrawn;
  private int width;

  /**
   * @param divisor how many counted things make one {@code unit} of display
   */
  public Progress(PrintWriter err, String what, String unit, long total, double divisor) {
    this.err = err instanceof Lines lines ? lines.whole : err;
    this.what = err instanceof Lines lines ? lines.about + ": " + what : what;
    this.unit = unit;
    this.total = total;
    this.divisor = divisor;
    this.shown = isTerminal();
  }

  private static boolean isTerminal() {
    Console console = System.console();
    return console != null && console.isTerminal();
  }

  /** The same where more work turns up on the way. */
  public void update(long done, long newTotal) {
    total = newTotal;
    update(done);
  }

  /** Draws the state if it is time to. */
  public void update(long done) {
    long now = System.nanoTime();
    if (!shown || (now - lastDrawn < REDRAW_NANOS && done < total)) {
      return;
    }
    lastDrawn = now;
    synchronized (TERMINAL) {
      followed = followed == null ? this : followed;
      if (followed == this) {
        draw(done, now);
      }
    }
  }

  private void draw(long done, long now) {
    double seconds = (now - start) / 1e9;
    double rate = done / Math.max(seconds, 1e-9);
    String line =
        String.format(
            Locale.ROOT,
            "%s  %s/%s %s  %.3g %s/s  %s left",
            what,
            amount(done),
            amount(total),
            unit,
            rate / divisor,
            unit,
            duration(rate == 0 ? 0 : (total - done) / rate));
    err.print("\r" + line + " ".repeat(Math.max(0, width - line.length())));
    err.flush();
    width = line.length();
  }

  private String amount(long counted) {
    return divisor == 1
        ? Long.toString(counted)
        : String.format(Locale.ROOT, "%.2f", counted / divisor);
  }

  /** {@code 5 s}, {@code 3 min 05 s}, {@code 2 h 10 min}. */
  public static String duration(double seconds) {
    long s = Math.round(seconds);
    if (s < 60) {
      return s + " s";
    }
    if (s < 3600) {
      return String.format(Locale.ROOT, "%d min %02d s", s / 60, s % 60);
    }
    return String.format(Locale.ROOT, "%d h %02d min", s / 3600, s % 3600 / 60);
  }

  private void clear() {
    if (width > 0) {
      err.print("\r" + " ".repeat(width) + "\r");
      err.flush();
      width = 0;
    }
  }

  @Override
  public void close() {
    synchronized (TERMINAL) {
      if (followed == this) {
        clear();
        followed = null;
      }
    }
  }

  /**
   * A writer for one of several threads that report at the same time: its lines come whole, do not
   * run into the line of a step, and each says what it is about.
   *
   * @param about begins each line
   */
  public static PrintWriter lines(PrintWriter err, String about) {
    return new Lines(err, about);
  }

  private static final class Lines extends PrintWriter {
    private final PrintWriter whole;
    private final String about;

    Lines(PrintWriter whole, String about) {
      super(
          new Writer() {
            private final StringBuilder line = new StringBuilder();

            @Override
            public void write(char[] chars, int offset, int length) {
              for (int i = offset; i < offset + length; i++) {
                line.append(chars[i]);
                if (chars[i] == '\n') {
                  print(whole, about + ": " + line);
                  line.setLength(0);
                }
              }
            }

            @Override
            public void flush() {
              // Half a line waits for the other half.
            }

            @Override
            public void close() {}
          });
      this.whole = whole;
      this.about = about;
    }

    private static void print(PrintWriter whole, String line) {
      synchronized (TERMINAL) {
        if (followed != null) {
          followed.clear();
        }
        whole.print(line);
        whole.flush();
      }
    }
  }
}
