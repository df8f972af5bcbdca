package org.fishermerge.data.files;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * A split or a part of it, as {@code load_dataset(split=...)} of Python's {@code datasets} reads
 * it: {@code train}, {@code train[:50%]}, {@code train[10:20]}, {@code train[-5%:]}.
 *
 * @param split the split's name
 * @param from the first row; negative from the end; null for the beginning
 * @param to the row after the last; negative from the end; null for the end
 * @param unit of both
 */
public record SplitSlice(String split, @Nullable Long from, @Nullable Long to, Unit unit) {
  /** What the bounds of a slice count. */
  public enum Unit {
    ROWS,

    /** Per cent of the rows, to the nearest row, halves to even. */
    PERCENT,

    /** Per cent, each of a whole number of rows: rows above a multiple of 100 are left out. */
    WHOLE_PERCENT
  }

  /** Rows from {@code first} on, without {@code end}. */
  public record Range(long first, long end) {
    /** Number of rows. */
    public long size() {
      return end - first;
    }
  }

  /** All splits, one after the other. */
  static final String ALL = "all";

  private static final Pattern SLICE =
      Pattern.compile(
          "(?<split>[\\w.-]+)(?:\\[(?:(?<from>-?[\\d_]+)(?<fromPct>%)?)?"
              + ":(?:(?<to>-?[\\d_]+)(?<toPct>%)?)?])?(?:\\((?<rounding>[^)]*)\\))?");

  /** A whole split. */
  public static SplitSlice whole(String split) {
    return new SplitSlice(split, null, null, Unit.ROWS);
  }

  /**
   * Reads slices joined by {@code +}.
   *
   * @throws InputException if the text is something else
   */
  public static List<SplitSlice> parse(String text) {
    List<SplitSlice> slices = new ArrayList<>();
    for (String part : text.split("\\+", -1)) {
      slices.add(one(part.strip(), text));
    }
    List<Unit> percents =
        slices.stream().map(SplitSlice::unit).filter(unit -> unit != Unit.ROWS).distinct().toList();
    if (percents.size() > 1) {
      throw new InputException(
          "split '%s': parts that are added must be rounded alike; write (pct1_dropremainder)"
                  .formatted(text)
              + " behind all of them or none");
    }
    return List.copyOf(slices);
  }

  private static SplitSlice one(String part, String whole) {
    Matcher matcher = SLICE.matcher(part);
    if (!matcher.matches()) {
      throw new InputException(
          "split '%s': expected the name of a split or a part of one, such as train, train[:50%%],"
                  .formatted(whole)
              + " train[10:20] or train[-5%:]+test; per cents are whole numbers");
    }
    boolean percent = matcher.group("fromPct") != null || matcher.group("toPct") != null;
    Long from = number(matcher.group("from"), whole);
    Long to = number(matcher.group("to"), whole);
    String rounding = matcher.group("rounding");
    if (rounding != null && !percent) {
      throw new InputException(
          "split '%s': (%s) says how per cents are rounded, and there are none"
              .formatted(whole, rounding));
    }
    if (percent
        && (Math.abs(from == null ? 0 : from) > 100 || Math.abs(to == null ? 0 : to) > 100)) {
      throw new InputException("split '%s': per cents go from -100 to 100".formatted(whole));
    }
    Unit unit =
        switch (rounding == null ? "closest" : rounding.toLowerCase(Locale.ROOT)) {
          case "closest" -> percent ? Unit.PERCENT : Unit.ROWS;
          case "pct1_dropremainder" -> Unit.WHOLE_PERCENT;
          default ->
              throw new InputException(
                  "split '%s': rounding is closest or pct1_dropremainder, not %s"
                      .formatted(whole, rounding));
        };
    return new SplitSlice(matcher.group("split"), from, to, unit);
  }

  private static @Nullable Long number(@Nullable String digits, String whole) {
    if (digits == null) {
      return null;
    }
    try {
      return Long.valueOf(digits.replace("_", ""));
    } catch (NumberFormatException e) {
      throw new InputException("split '%s': %s is no number of rows".formatted(whole, digits), e);
    }
  }

  /** Whether it is all of the split, however many rows that has. */
  public boolean isWhole() {
    return from == null && to == null;
  }

  /** The same part of another split. */
  SplitSlice of(String otherSplit) {
    return new SplitSlice(otherSplit, from, to, unit);
  }

  /**
   * The rows that are meant of a split that has so many.
   *
   * @throws InputException if the split is too small for {@link Unit#WHOLE_PERCENT}
   */
  public Range of(long rows) {
    long first = clip(from == null ? 0 : rows(from, rows), rows);
    long end = clip(to == null ? rows : rows(to, rows), rows);
    return new Range(first, Math.max(first, end));
  }

  private static long clip(long row, long rows) {
    return Math.min(rows, row < 0 ? Math.max(0, rows + row) : row);
  }

  private long rows(long bound, long rows) {
    return switch (unit) {
      case ROWS -> bound;
      case PERCENT -> (long) Math.rint(bound * rows / 100.0);
      case WHOLE_PERCENT -> {
        if (rows < 100) {
          throw new InputException(
              "split %s: has %d rows, and pct1_dropremainder needs 100 at least; leave it out"
                  .formatted(split, rows));
        }
        yield bound * (rows / 100);
      }
    };
  }

  /** As it is written. */
  @Override
  public String toString() {
    if (isWhole()) {
      return split;
    }
    String sign = unit == Unit.ROWS ? "" : "%";
    return split
        + "["
        + (from == null ? "" : from + sign)
        + ":"
        + (to == null ? "" : to + sign)
        + "]"
        + (unit == Unit.WHOLE_PERCENT ? "(pct1_dropremainder)" : "");
  }
}
