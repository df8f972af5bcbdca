package org.fishermerge.cli;

import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * A table of values in [0, 1] as a picture: coloured cells with their values, names on both axes, a
 * legend. Cells shrink as the table grows, so that 64 x 64 still fits a screen.
 *
 * @param title one line
 * @param rows names from top to bottom
 * @param columns names from left to right
 * @param values one list for each row; NaN where there is none
 */
record HeatMap(String title, List<String> rows, List<String> columns, List<List<Double>> values) {
  private static final String INK = "#222222";
  private static final String PAPER = "#ffffff";
  private static final String NOTHING = "#d9d9d9";

  /** Longer names are cut; the data file has them whole. */
  private static final int LONGEST_NAME = 40;

  private static final double MARGIN = 16;
  private static final double TITLE_SIZE = 16;
  private static final double LEGEND_WIDTH = 16;
  private static final int LEGEND_STEPS = 64;

  /** One every fifth of the range, which begins at a tenth: two decimals are exact. */
  private static final int TICKS = 6;

  /** Width of a character over its height, of the widest common sans-serif fonts on average. */
  private static final double CHARACTER = 0.6;

  /**
   * Ten colours of viridis (van der Walt and Smith, matplotlib, CC0): perceptually uniform, and
   * readable for the colour-blind and in print.
   */
  private static final int[] VIRIDIS = {
    0x440154, 0x482878, 0x3e4989, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6ece58, 0xb5de2b,
    0xfde725
  };

  /** Sizes in pixels that follow from the table's own. */
  private record Layout(double cell, double font, double left, double top) {}

  private Layout layout() {
    int longer = Math.max(rows.size(), columns.size());
    double cell = longer <= 12 ? 52 : longer <= 32 ? 38 : 26;
    double font = longer <= 12 ? 14 : longer <= 32 ? 11.5 : 9.5;
    double names = longest(columns) * font * CHARACTER;
    double titleHeight = MARGIN + TITLE_SIZE + MARGIN;
    return new Layout(
        cell,
        font,
        MARGIN + longest(rows) * font * CHARACTER + MARGIN / 2,
        titleHeight + (upright(cell, names) ? font : names) + MARGIN / 2);
  }

  /** Whether the names of columns fit over them without being turned. */
  private static boolean upright(double cell, double width) {
    return width <= cell - 4;
  }

  private static int longest(List<String> names) {
    return names.stream().mapToInt(name -> cut(name).length()).max().orElse(0);
  }

  private static String cut(String name) {
    return name.length() <= LONGEST_NAME ? name : name.substring(0, LONGEST_NAME - 1) + "…";
  }

  private double legendLeft(Layout layout) {
    return layout.left + columns.size() * layout.cell + 1.5 * MARGIN;
  }

  double width() {
    Layout layout = layout();
    double legend = LEGEND_WIDTH + 6 + 5 * layout.font * CHARACTER;
    double heading = title.length() * TITLE_SIZE * CHARACTER + 2 * MARGIN;
    return Math.ceil(Math.max(legendLeft(layout) + legend + MARGIN, heading));
  }

  double height() {
    Layout layout = layout();
    return Math.ceil(layout.top + Math.max(rows.size() * layout.cell, 100) + MARGIN);
  }

  /** Draws everything, from the back to the front. */
  void draw(Drawing to) {
    Layout layout = layout();
    to.rectangle(0, 0, width(), height(), PAPER);
    to.text(title, MARGIN, MARGIN + TITLE_SIZE / 2, TITLE_SIZE, INK, TextAnchor.START, false);
    double low = low();
    for (int r = 0; r < rows.size(); r++) {
      double y = layout.top + r * layout.cell;
      double middle = y + layout.cell / 2;
      to.text(cut(rows.get(r)), layout.left - 6, middle, layout.font, INK, TextAnchor.END, false);
      for (int c = 0; c < columns.size(); c++) {
        cell(to, layout, layout.left + c * layout.cell, y, values.get(r).get(c), low);
      }
    }
    boolean turned = !upright(layout.cell, longest(columns) * layout.font * CHARACTER);
    for (int c = 0; c < columns.size(); c++) {
      double x = layout.left + (c + 0.5) * layout.cell;
      double y = layout.top - 6;
      to.text(
          cut(columns.get(c)),
          x,
          turned ? y : y - layout.font / 2,
          layout.font,
          INK,
          turned ? TextAnchor.START : TextAnchor.MIDDLE,
          turned);
    }
    legend(to, layout, low);
  }

  private static void cell(
      Drawing to, Layout layout, double x, double y, double value, double low) {
    boolean none = Double.isNaN(value);
    int rgb = none ? 0 : color(value, low);
    to.rectangle(x, y, layout.cell, layout.cell, none ? NOTHING : hex(rgb));
    to.text(
        none ? "–" : number(value, layout.cell),
        x + layout.cell / 2,
        y + layout.cell / 2,
        layout.font,
        none || luminance(rgb) > 0.3 ? INK : PAPER,
        TextAnchor.MIDDLE,
        false);
  }

  /** Two decimals; in narrow cells without the leading zero. */
  private static String number(double value, double cell) {
    String text = String.format(Locale.ROOT, "%.2f", value);
    return cell < 30 ? (text.startsWith("0") ? text.substring(1) : "1.0") : text;
  }

  private void legend(Drawing to, Layout layout, double low) {
    double x = legendLeft(layout);
    double height = Math.clamp(rows.size() * layout.cell, 100, 400);
    double step = height / LEGEND_STEPS;
    for (int k = 0; k < LEGEND_STEPS; k++) {
      double value = 1 - (1 - low) * (k + 0.5) / LEGEND_STEPS;
      // A little higher than the step, so that no gap shows between two.
      double overlap = k + 1 < LEGEND_STEPS ? 0.5 : 0;
      to.rectangle(x, layout.top + k * step, LEGEND_WIDTH, step + overlap, hex(color(value, low)));
    }
    for (int k = 0; k < TICKS; k++) {
      double share = k / (TICKS - 1.0);
      to.text(
          String.format(Locale.ROOT, "%.2f", 1 - (1 - low) * share),
          x + LEGEND_WIDTH + 6,
          layout.top + layout.font / 2 + share * (height - layout.font),
          layout.font,
          INK,
          TextAnchor.START,
          false);
    }
  }

  /** Where the colours begin: the smallest value, rounded down to a tenth. They end at 1. */
  private double low() {
    double smallest =
        values.stream()
            .flatMap(row -> Stream.of(row.toArray(Double[]::new)))
            .filter(value -> !value.isNaN())
            .mapToDouble(Double::doubleValue)
            .min()
            .orElse(0);
    return Math.min(0.9, Math.floor(smallest * 10) / 10);
  }

  /** Between two neighbours of the table in sRGB. */
  static int color(double value, double low) {
    double at = Math.clamp((value - low) / (1 - low), 0, 1) * (VIRIDIS.length - 1);
    int index = Math.min((int) at, VIRIDIS.length - 2);
    double share = at - index;
    int rgb = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
      int from = (VIRIDIS[index] >> shift) & 0xff;
      int to = (VIRIDIS[index + 1] >> shift) & 0xff;
      rgb |= (int) Math.round(from + share * (to - from)) << shift;
    }
    return rgb;
  }

  static String hex(int rgb) {
    return String.format(Locale.ROOT, "#%06x", rgb);
  }

  /** Relative luminance as WCAG 2 defines it, 0 to 1. */
  private static double luminance(int rgb) {
    return 0.2126 * linear(rgb >> 16) + 0.7152 * linear(rgb >> 8) + 0.0722 * linear(rgb);
  }

  private static double linear(int channel) {
    double c = (channel & 0xff) / 255.0;
    return c <= 0.04045 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4);
  }
}
