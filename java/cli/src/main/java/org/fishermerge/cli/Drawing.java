package org.fishermerge.cli;

/** What a figure is drawn with. Sizes in pixels, y downwards, colours as {@code #rrggbb}. */
interface Drawing {
  void rectangle(double x, double y, double width, double height, String color);

  /**
   * One line of text in a sans-serif font.
   *
   * @param y the middle of the line; of a turned one the point it starts from
   * @param turned read from the bottom to the top, centred on x
   */
  void text(
      String text,
      double x,
      double y,
      double size,
      String color,
      TextAnchor anchor,
      boolean turned);
}
