package org.fishermerge.cli.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * A table for a page or a terminal.
 *
 * @param title what a page calls it
 * @param columns their headings; the first is that of the rows' names
 * @param rows as many cells each as there are columns
 */
record Table(String title, List<String> columns, List<List<Cell>> rows) {
  /**
   * A cell.
   *
   * @param text what is shown
   * @param numbers what the text shows, as JSON spells it; empty of names
   * @param strong whether it is worth a look
   */
  record Cell(String text, List<String> numbers, boolean strong) {
    Cell asStrong() {
      return new Cell(text, numbers, true);
    }

    boolean isNumber() {
      return !numbers.isEmpty();
    }
  }

  static final Cell NONE = new Cell("–", List.of(), false);

  static Cell name(@Nullable String text) {
    return text == null || text.isEmpty() ? NONE : new Cell(text, List.of(), false);
  }

  static Cell number(String text, Object... numbers) {
    List<String> spelled = new ArrayList<>();
    for (Object each : numbers) {
      spelled.add(each.toString());
    }
    return new Cell(text, spelled, false);
  }

  static Cell count(@Nullable Long value) {
    return value == null ? NONE : number(String.format(Locale.ROOT, "%,d", value), value);
  }

  /** A fraction in percent, with as many decimals. */
  static Cell percent(@Nullable Double fraction, int decimals) {
    return fraction == null ? NONE : number(percentText(fraction, decimals), fraction);
  }

  static String percentText(double fraction, int decimals) {
    return fixed(100 * fraction, decimals);
  }

  /** Rounded to as many decimals; {@link String#format} takes long for thousands of cells. */
  static String fixed(double value, int decimals) {
    double power = Math.pow(10, decimals);
    if (!(Math.abs(value) * power < 1e15)) {
      return Double.toString(value);
    }
    long scaled = Math.round(Math.abs(value) * power);
    String digits = Long.toString(scaled);
    digits = "0".repeat(Math.max(0, decimals + 1 - digits.length())) + digits;
    int point = digits.length() - decimals;
    return (value < 0 && scaled > 0 ? "-" : "")
        + digits.substring(0, point)
        + (decimals == 0 ? "" : "." + digits.substring(point));
  }

  /** Some digits, as few as tell it. */
  static Cell digits(@Nullable Double value, String format) {
    return value == null ? NONE : number(String.format(Locale.ROOT, format, value), value);
  }

  static Cell gigabytes(@Nullable Long bytes) {
    return bytes == null ? NONE : number(bytesText(bytes), bytes);
  }

  static String bytesText(long bytes) {
    return bytes >= 100_000_000
        ? String.format(Locale.ROOT, "%.2f GB", bytes / 1e9)
        : bytes >= 100_000 ? String.format(Locale.ROOT, "%.2f MB", bytes / 1e6) : bytes + " B";
  }
}
