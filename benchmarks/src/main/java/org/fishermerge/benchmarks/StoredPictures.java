package org.fishermerge.benchmarks;

import java.util.List;
import org.fishermerge.cli.demo.PictureTask;
import org.fishermerge.torch.objective.ExampleRandom;

/**
 * A task of pictures from a data set, in its order: the {@code index}-th of any stream is the
 * {@code index}-th of the data set, which begins again after its end.
 */
record StoredPictures(String key, int classCount, List<PictureTask.Picture> pictures)
    implements PictureTask {
  private static final int FARTHEST_SHIFT = 2;

  @Override
  public Picture picture(long seed, long index) {
    return pictures.get(Math.toIntExact(index % pictures.size()));
  }

  /** How many there are. */
  int count() {
    return pictures.size();
  }

  /** The same, drawn at random and shifted by up to two pixels, to be trained on. */
  PictureTask drawnAndShifted() {
    StoredPictures stored = this;
    return new PictureTask() {
      @Override
      public String key() {
        return stored.key;
      }

      @Override
      public int classCount() {
        return stored.classCount;
      }

      @Override
      public Picture picture(long seed, long index) {
        ExampleRandom random = new ExampleRandom(seed, index);
        Picture picture = stored.pictures.get(below(random, stored.count()));
        int right = below(random, 2 * FARTHEST_SHIFT + 1) - FARTHEST_SHIFT;
        int down = below(random, 2 * FARTHEST_SHIFT + 1) - FARTHEST_SHIFT;
        return new Picture(shifted(picture.pixels(), right, down), picture.label());
      }
    };
  }

  private static int below(ExampleRandom random, int bound) {
    return (int) (random.nextDouble() * bound);
  }

  /** Empty where nothing comes from: 0. */
  private static byte[] shifted(byte[] pixels, int right, int down) {
    byte[] shifted = new byte[pixels.length];
    for (int plane = 0; plane < CHANNELS; plane++) {
      for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
          int fromX = x - right;
          int fromY = y - down;
          if (0 <= fromX && fromX < SIDE && 0 <= fromY && fromY < SIDE) {
            shifted[(plane * SIDE + y) * SIDE + x] = pixels[(plane * SIDE + fromY) * SIDE + fromX];
          }
        }
      }
    }
    return shifted;
  }
}
