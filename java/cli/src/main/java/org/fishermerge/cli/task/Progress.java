package org.fishermerge.cli.task;

import java.io.FilterWriter;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * One line on standard error that follows a long step: done, rate, time left. Drawn only where that
 * is a terminal, so logs and pipes stay clean, and cut to its width. Of several steps at a time one
 * is followed. Safe for any number of threads.
 */
public final class Progress implements AutoCloseable {
  private static final long REDRAW_NANOS = 100_000_000;

  /** Held while something is written. */
  private static final Object TERMINAL = new Object();

  private static final Map<String, String> ENVIRONMENT = System.getenv();

  /** The step whose line is on the terminal; guarded by {@link #TERMINAL}. */
  private static @Nullable Progress followed;

  /** Columns that the line takes; guarded by {@link #TERMINAL}. */
  private static int drawn;

  /** Steps that took less leave no line in a log: most have nothing to tell. */
  private static final double WORTH_A_LINE_SECONDS = 10;

  private static volatile boolean hushed;

  private final PrintWriter err;
  private final boolean shown;
  private final String step;
  private final String what;
  private final String unit;
  private final double divisor;
  private final boolean passing;
  private final long start = System.nanoTime();
  private long total;
  private long done;
  private long lastDrawn;

  /** What was told last; for the line in a log. */
  private volatile long reached;

  private Progress(
      PrintWriter err, String what, String unit, long total, double divisor, boolean passing) {
    this.err = err;
    this.step = what;
    this.what = err instanceof Lines lines ? lines.about + ": " + what : what;
    this.unit = unit;
    this.total = total;
    this.divisor = divisor;
    this.passing = passing;
    this.shown = !hushed && Terminal.ERR.isThere() && !"dumb".equals(ENVIRONMENT.get("TERM"));
    if (shown && (passing || total > 0)) {
      synchronized (TERMINAL) {
        follow();
      }
    }
  }

  /**
   * A step whose work is counted; it shows at once, unless its total is not known yet.
   *
   * @param err where the command reports; says which of several threads this is
   * @param divisor how many counted things make one {@code unit} of display
   */
  public Progress(PrintWriter err, String what, String unit, long total, double divisor) {
    this(err, what, unit, total, divisor, false);
  }

  /** A step that is not counted, such as loading; the next counted step takes its line. */
  public static Progress passing(PrintWriter err, String what) {
    return new Progress(err, what, "", 0, 1, true);
  }

  /** The same where more work turns up on the way. */
  public void update(long nowDone, long newTotal) {
    total = newTotal;
    update(nowDone);
  }

  /** Draws the state if it is time to. */
  public void update(long nowDone) {
    long now = System.nanoTime();
    reached = nowDone;
    if (!shown || (now - lastDrawn < REDRAW_NANOS && nowDone < total)) {
      return;
    }
    lastDrawn = now;
    synchronized (TERMINAL) {
      done = nowDone;
      follow();
    }
  }

  private void follow() {
    if (followed == null || followed.passing) {
      followed = this;
    }
    if (followed == this) {
      draw();
    }
  }

  private void draw() {
    String line = line((System.nanoTime() - start) / 1e9, Terminal.ERR.width(ENVIRONMENT) - 1);
    write("\r" + line + " ".repeat(Math.max(0, drawn - line.length())));
    drawn = line.length();
  }

  /**
   * The line, as much of it as fits: the rate goes first, then the end.
   *
   * @param width columns that it may take
   */
  String line(double seconds, int width) {
    if (passing) {
      return cut(what + " ...", width);
    }
    double rate = done / Math.max(seconds, 1e-9);
    String state =
        String.format(Locale.ROOT, "%s  %s/%s %s", what, amount(done), amount(total), unit);
    if (done <= 0) {
      return cut(state, width);
    }
    String left = "  " + duration((total - done) / rate) + " left";
    String speed = String.format(Locale.ROOT, "  %.3g %s/s", rate / divisor, unit);
    String all = state + speed + left;
    return all.length() <= width ? all : cut(state + left, width);
  }

  private static String cut(String line, int width) {
    // Names in it may be a stranger's.
    String plain = line.replaceAll("\\p{Cntrl}", "?");
    return plain.length() <= width ? plain : plain.substring(0, Math.max(0, width));
  }

  /** Not through a writer of the command's: see {@link #around}. */
  private static void write(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    System.err.write(bytes, 0, bytes.length);
    System.err.flush();
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

  private static void clear() {
    if (drawn > 0) {
      write("\r" + " ".repeat(drawn) + "\r");
      drawn = 0;
    }
  }

  /** Whether steps keep still, whatever standard error is. */
  public static boolean isHushed() {
    return hushed;
  }

  /** Sets that, and returns what it was. */
  public static boolean hush(boolean quiet) {
    boolean before = hushed;
    hushed = quiet;
    return before;
  }

  /** What a log has of the step that ended, if it was a long one. */
  Optional<String> lineOfLog(double seconds) {
    if (passing || reached <= 0 || seconds < WORTH_A_LINE_SECONDS) {
      return Optional.empty();
    }
    return Optional.of(
        String.format(
            Locale.ROOT,
            "%s: %s %s in %s, %.3g %s/s",
            step,
            amount(reached),
            unit,
            duration(seconds),
            reached / divisor / seconds,
            unit));
  }

  @Override
  public void close() {
    if (!shown && !Terminal.ERR.isThere()) {
      lineOfLog((System.nanoTime() - start) / 1e9).ifPresent(err::println);
    }
    synchronized (TERMINAL) {
      if (followed == this) {
        clear();
        followed = null;
      }
    }
  }

  /** A writer to the terminal, or to anything else, whose lines do not run into a step's. */
  public static Writer around(Writer out) {
    return new FilterWriter(out) {
      @Override
      public void write(int c) throws IOException {
        write(new char[] {(char) c}, 0, 1);
      }

      @Override
      public void write(String text, int from, int count) throws IOException {
        write(text.substring(from, from + count).toCharArray(), 0, count);
      }

      @Override
      public void write(char[] text, int from, int count) throws IOException {
        synchronized (TERMINAL) {
          clear();
          out.write(text, from, count);
          if (followed != null && count > 0 && text[from + count - 1] == '\n') {
            out.flush();
            followed.draw();
          }
        }
      }
    };
  }

  /**
   * A writer for one of several threads that report at the same time: its lines come whole, and
   * each says what it is about.
   *
   * @param about begins each line
   */
  public static PrintWriter lines(PrintWriter err, String about) {
    return new Lines(err, about);
  }

  private static final class Lines extends PrintWriter {
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
                  whole.write(about + ": " + line);
                  whole.flush();
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
      this.about = about;
    }
  }
}
