package org.fishermerge.cli.demo;

/** A picture-classification task that small towers are trained and measured on. */
public interface PictureTask {
  /** Pixels along each side of a picture. */
  int SIDE = Canvas.SIDE;

  /** Colours of a pixel. */
  int CHANNELS = Canvas.CHANNELS;

  /** The name used for folders and reports. */
  String key();

  /** Classes, at least two. */
  int classCount();

  /** By how much more steps it is learned than others. */
  default int effort() {
    return 1;
  }

  /**
   * The {@code index}-th picture of the stream that {@code seed} names, the same each time.
   * Pictures of a class come about as often as those of any other.
   */
  Picture picture(long seed, long index);

  /**
   * A labelled picture.
   *
   * @param pixels bytes [{@link #CHANNELS}, {@link #SIDE}, {@link #SIDE}]
   * @param label below {@link #classCount}
   */
  @SuppressWarnings("ArrayRecordComponent") // compared by nobody
  record Picture(byte[] pixels, int label) {}
}
