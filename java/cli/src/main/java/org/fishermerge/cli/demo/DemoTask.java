package org.fishermerge.cli.demo;

import java.util.List;
import java.util.Locale;
import org.fishermerge.torch.objective.ExampleRandom;

/** A picture-classification task that a seeded program draws. */
enum DemoTask implements PictureTask {
  SHAPES("disc", "square", "triangle", "cross", "ring") {
    @Override
    void draw(Canvas canvas, int label) {
      double[] background = canvas.anyColour();
      double[] colour = canvas.contrasting(background);
      canvas.fill(background);
      double r = canvas.uniform(9, 12);
      double cx = 16 + canvas.uniform(-2, 2);
      double cy = 16 + canvas.uniform(-2, 2);
      switch (label) {
        case 0 -> canvas.disc(colour, cx, cy, r);
        case 1 ->
            canvas.paint(colour, (x, y) -> Math.max(Math.abs(x - cx), Math.abs(y - cy)) - 0.85 * r);
        case 2 ->
            canvas.paint(
                colour,
                (x, y) ->
                    Math.max(
                        y - cy - 0.7 * r, 0.87 * Math.abs(x - cx) - 0.5 * (y - cy) - 0.55 * r));
        case 3 ->
            canvas.paint(
                colour,
                (x, y) ->
                    Math.max(
                        Math.min(Math.abs(x - cx), Math.abs(y - cy)) - 0.3 * r,
                        Math.max(Math.abs(x - cx), Math.abs(y - cy)) - r));
        default ->
            canvas.paint(
                colour, (x, y) -> Math.abs(Canvas.distance(x - cx, y - cy) - 0.75 * r) - 0.22 * r);
      }
    }
  },

  STRIPES("horizontal", "rising", "vertical", "falling") {
    @Override
    void draw(Canvas canvas, int label) {
      double[] background = canvas.anyColour();
      double[] colour = canvas.contrasting(background);
      canvas.fill(background);
      double angle = Math.PI / 2 - label * Math.PI / 4 + canvas.uniform(-0.2, 0.2);
      double period = canvas.uniform(4, 9);
      double phase = canvas.uniform(0, period);
      double nx = Math.cos(angle);
      double ny = Math.sin(angle);
      canvas.paint(
          colour,
          (x, y) -> {
            double t = (((x * nx + y * ny + phase) % period) + period) % period;
            return Math.abs(t - period / 2) - period / 4;
          });
    }
  },

  DOTS("one", "two", "three", "four") {
    // Counting is learned slowest by far.
    @Override
    public int effort() {
      return 3;
    }

    @Override
    void draw(Canvas canvas, int label) {
      double[] background = canvas.anyColour();
      double[] colour = canvas.contrasting(background);
      canvas.fill(background);
      // Distinct cells of a 3 x 3 grid, so that no two dots touch.
      boolean[] taken = new boolean[9];
      for (int dot = 0; dot <= label; dot++) {
        int cell = canvas.below(9);
        while (taken[cell]) {
          cell = canvas.below(9);
        }
        taken[cell] = true;
        int row = cell / 3;
        canvas.disc(
            colour,
            5.5 + 10.5 * (cell % 3) + canvas.uniform(-1.5, 1.5),
            5.5 + 10.5 * row + canvas.uniform(-1.5, 1.5),
            canvas.uniform(2.6, 3.4));
      }
    }
  },

  HUES("red", "yellow", "green", "cyan", "blue", "magenta") {
    @Override
    void draw(Canvas canvas, int label) {
      double grey = canvas.uniform(0, 1);
      canvas.fill(new double[] {grey, grey, grey});
      double[] colour = Canvas.hue(label / 6.0 + canvas.uniform(-0.04, 0.04));
      double[] other = Canvas.hue(canvas.uniform(0, 1));
      canvas.disc(other, canvas.uniform(4, 28), canvas.uniform(4, 28), canvas.uniform(2, 4));
      canvas.disc(colour, canvas.uniform(9, 23), canvas.uniform(9, 23), canvas.uniform(6, 9));
    }
  },

  PLACES("top left", "top right", "bottom left", "bottom right", "centre") {
    @Override
    void draw(Canvas canvas, int label) {
      double[] background = canvas.anyColour();
      canvas.fill(background);
      double cx = label == 4 ? 16 : label % 2 == 0 ? 7.5 : 24.5;
      double cy = label == 4 ? 16 : label < 2 ? 7.5 : 24.5;
      double[] colour = canvas.contrasting(background);
      double x1 = cx + canvas.uniform(-2.5, 2.5);
      double y1 = cy + canvas.uniform(-2.5, 2.5);
      if (canvas.below(2) == 0) {
        canvas.disc(colour, x1, y1, canvas.uniform(2.5, 5));
      } else {
        double r = canvas.uniform(2.5, 4.5);
        canvas.paint(colour, (x, y) -> Math.max(Math.abs(x - x1), Math.abs(y - y1)) - r);
      }
    }
  },

  CHECKS("tiny", "small", "medium", "large") {
    @Override
    void draw(Canvas canvas, int label) {
      double[] background = canvas.anyColour();
      double[] colour = canvas.contrasting(background);
      canvas.fill(background);
      double cell = new double[] {2, 3.2, 5, 8}[label] * canvas.uniform(0.92, 1.08);
      double shiftX = canvas.uniform(0, 2 * cell);
      double shiftY = canvas.uniform(0, 2 * cell);
      canvas.paint(
          colour,
          (x, y) -> {
            long column = (long) Math.floor((x + shiftX) / cell);
            long row = (long) Math.floor((y + shiftY) / cell);
            return (column + row) % 2 == 0 ? -1 : 1;
          });
    }
  },

  SIZES("small", "medium", "large", "huge") {
    @Override
    void draw(Canvas canvas, int label) {
      double[] background = canvas.anyColour();
      double[] colour = canvas.contrasting(background);
      canvas.fill(background);
      double r = new double[] {3, 5.5, 8.5, 12}[label] * canvas.uniform(0.92, 1.08);
      double slack = Math.max(0, Canvas.SIDE / 2.0 - r - 1);
      double cx = 16 + canvas.uniform(-slack, slack);
      double cy = 16 + canvas.uniform(-slack, slack);
      if (canvas.below(2) == 0) {
        canvas.disc(colour, cx, cy, r);
      } else {
        canvas.paint(colour, (x, y) -> Math.max(Math.abs(x - cx), Math.abs(y - cy)) - 0.9 * r);
      }
    }
  },

  STROKES("L", "T", "H", "U", "X", "Z") {
    // Segments as x1 y1 x2 y2 in a unit square.
    private final double[][][] glyphs = {
      {{0, 0, 0, 1}, {0, 1, 1, 1}},
      {{0, 0, 1, 0}, {0.5, 0, 0.5, 1}},
      {{0, 0, 0, 1}, {1, 0, 1, 1}, {0, 0.5, 1, 0.5}},
      {{0, 0, 0, 1}, {1, 0, 1, 1}, {0, 1, 1, 1}},
      {{0, 0, 1, 1}, {1, 0, 0, 1}},
      {{0, 0, 1, 0}, {1, 0, 0, 1}, {0, 1, 1, 1}}
    };

    @Override
    void draw(Canvas canvas, int label) {
      double[] background = canvas.anyColour();
      double[] colour = canvas.contrasting(background);
      canvas.fill(background);
      double w = canvas.uniform(15, 19);
      double h = canvas.uniform(17, 21);
      double left = (Canvas.SIDE - w) / 2 + canvas.uniform(-2, 2);
      double top = (Canvas.SIDE - h) / 2 + canvas.uniform(-2, 2);
      for (double[] s : glyphs[label]) {
        canvas.stroke(
            colour,
            left + w * s[0],
            top + h * s[1],
            left + w * s[2],
            top + h * s[3],
            canvas.uniform(1.5, 2));
      }
    }
  };

  private static final double NOISE = 0.06;

  private final List<String> classNames;

  DemoTask(String... classNames) {
    this.classNames = List.of(classNames);
  }

  abstract void draw(Canvas canvas, int label);

  @Override
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  @Override
  public int classCount() {
    return classNames.size();
  }

  @Override
  public Picture picture(long seed, long index) {
    ExampleRandom random = new ExampleRandom(seed * values().length + ordinal(), index);
    Canvas canvas = new Canvas(random);
    int label = canvas.below(classNames.size());
    draw(canvas, label);
    return new Picture(canvas.finish(NOISE), label);
  }
}
