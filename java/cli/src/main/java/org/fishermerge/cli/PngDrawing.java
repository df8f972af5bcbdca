package org.fishermerge.cli;

import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.font.GlyphVector;
import java.awt.geom.AffineTransform;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import javax.imageio.ImageIO;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/** Draws a picture of twice the size, for dense screens, and writes it as PNG. Needs a font. */
final class PngDrawing implements Drawing {
  private static final double SCALE = 2;
  private static final double MIDDLE_OVER_BASELINE = 0.35;

  private final BufferedImage image;
  private final Graphics2D graphics;

  /**
   * @throws InputException if the machine has no fonts
   */
  PngDrawing(double width, double height) {
    System.setProperty("java.awt.headless", "true");
    image =
        new BufferedImage(
            (int) Math.ceil(width * SCALE),
            (int) Math.ceil(height * SCALE),
            BufferedImage.TYPE_INT_RGB);
    graphics = image.createGraphics();
    graphics.scale(SCALE, SCALE);
    graphics.setRenderingHint(
        RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
    graphics.setRenderingHint(
        RenderingHints.KEY_FRACTIONALMETRICS, RenderingHints.VALUE_FRACTIONALMETRICS_ON);
    requireFont();
  }

  private void requireFont() {
    try {
      if (glyphs("0", 10).getLogicalBounds().getWidth() > 0) {
        return;
      }
    } catch (LinkageError | InternalError | RuntimeException e) {
      // Each way to lack fonts fails in its own way inside the JDK.
      throw noFont(e);
    }
    throw noFont(null);
  }

  private static InputException noFont(@Nullable Throwable cause) {
    String message =
        "this machine has no fonts, which a PNG needs: install fontconfig and a font, for example"
            + " fonts-dejavu-core, or write an .svg, which needs none";
    return cause == null ? new InputException(message) : new InputException(message, cause);
  }

  @Override
  public void rectangle(double x, double y, double width, double height, String color) {
    graphics.setColor(Color.decode(color));
    graphics.fill(new Rectangle2D.Double(x, y, width, height));
  }

  private GlyphVector glyphs(String text, double size) {
    Font font = new Font(Font.SANS_SERIF, Font.PLAIN, 1).deriveFont((float) size);
    return font.createGlyphVector(graphics.getFontRenderContext(), text);
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
    GlyphVector glyphs = glyphs(text, size);
    double width = glyphs.getLogicalBounds().getWidth();
    double left =
        switch (anchor) {
          case START -> 0;
          case MIDDLE -> -width / 2;
          case END -> -width;
        };
    AffineTransform before = graphics.getTransform();
    graphics.translate(x, y);
    if (turned) {
      graphics.rotate(-Math.PI / 2);
    }
    graphics.setColor(Color.decode(color));
    graphics.drawGlyphVector(glyphs, (float) left, (float) (MIDDLE_OVER_BASELINE * size));
    graphics.setTransform(before);
  }

  /** Writes the picture so far. */
  void write(Path file) throws IOException {
    graphics.dispose();
    if (!ImageIO.write(image, "png", file.toFile())) {
      throw new IOException("no PNG writer");
    }
  }
}
