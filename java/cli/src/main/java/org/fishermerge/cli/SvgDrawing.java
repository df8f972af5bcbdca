package org.fishermerge.cli;

import java.util.Formatter;
import java.util.Locale;

/** Draws as SVG 1.1 text. */
final class SvgDrawing implements Drawing {
  private static final double MIDDLE_OVER_BASELINE = 0.35;

  private final Formatter svg = new Formatter(Locale.ROOT);

  SvgDrawing(double width, double height) {
    svg.format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%1$.0f\" height=\"%2$.0f\""
            + " viewBox=\"0 0 %1$.0f %2$.0f\" font-family=\"sans-serif\""
            + " shape-rendering=\"crispEdges\">%n",
        width, height);
  }

  @Override
  public void rectangle(double x, double y, double width, double height, String color) {
    svg.format(
        "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\"/>%n",
        x, y, width, height, color);
  }

  @Override
  public void text(
      String text,
      double x,
      double y,
      double size,
      String color,
      TextAnchor anchor,
      boolean turned) {
    // The middle of the letters, not of the line; few viewers know dominant-baseline.
    double down = MIDDLE_OVER_BASELINE * size;
    svg.format(
        "<text x=\"%.2f\" y=\"%.2f\" font-size=\"%s\" fill=\"%s\" text-anchor=\"%s\"%s>%s</text>%n",
        turned ? x + down : x,
        turned ? y : y + down,
        size,
        color,
        anchor.name().toLowerCase(Locale.ROOT),
        turned
            ? String.format(Locale.ROOT, " transform=\"rotate(-90 %.2f %.2f)\"", x + down, y)
            : "",
        escape(text));
  }

  private static String escape(String text) {
    StringBuilder out = new StringBuilder();
    text.codePoints()
        .forEach(c -> {
          switch (c) {
            case '<' -> out.append("&lt;");
            case '>' -> out.append("&gt;");
            case '&' -> out.append("&amp;");
            // XML has no control characters, not even escaped ones.
            default -> out.appendCodePoint(Character.isISOControl(c) ? '?' : c);
          }
        });
    return out.toString();
  }

  @Override
  public String toString() {
    return svg + "</svg>\n";
  }
}
