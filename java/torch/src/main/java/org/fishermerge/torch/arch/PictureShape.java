package org.fishermerge.torch.arch;

/**
 * The pictures that a model takes: square ones.
 *
 * @param side pixels
 */
public record PictureShape(int channels, int side) {
  /** Values of one picture. */
  public long values() {
    return (long) channels * side * side;
  }
}
