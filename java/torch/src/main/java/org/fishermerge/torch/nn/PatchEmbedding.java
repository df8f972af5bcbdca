package org.fishermerge.torch.nn;

import static org.bytedeco.pytorch.global.torch.cat;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.fishermerge.torch.nn.Weights.Parameter;
import org.fishermerge.torch.runtime.Tensors;

/**
 * Square pictures cut into square patches, each through one linear layer (a convolution whose
 * stride is its width), behind a class token, plus position embeddings.
 *
 * @param projection inputs in the order channel, row, column
 * @param classToken D values
 * @param positions D values for the class token and each patch
 */
public record PatchEmbedding(
    int channels,
    int imageSize,
    int patchSize,
    Linear projection,
    Parameter classToken,
    Parameter positions)
    implements Stem<Pixels> {
  private long grid() {
    return imageSize / patchSize;
  }

  private long patches() {
    return grid() * grid();
  }

  @Override
  public Tensor forward(Pixels pictures, Tape tape) {
    long width = projection.outputs();
    Tensor embedded = projection.forward(patches(pictures), tape);
    Tensor first = classToken.tensor().view(1, 1, width).expand(pictures.examples(), 1, width);
    return cat(new TensorVector(first, embedded), 1)
        .add_(positions.tensor().view(patches() + 1, width));
  }

  @Override
  public void backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    visitor.visit(new LayerVisit.Added(positions.group(), cotangent));
    visitor.visit(new LayerVisit.Added(classToken.group(), cotangent.narrow(2, 0, 1)));
    Tensor ofPatches = cotangent.narrow(2, 1, patches());
    if (cotangent.size(1) > 1) {
      // DiagonalFisher with PER_BATCH reads the tokens of all examples as one sequence, which a
      // view of some of the tokens is not.
      ofPatches = ofPatches.contiguous();
    }
    projection.show(ofPatches, tape.read()[0], visitor);
  }

  /**
   * Flattened patches [B, P, C*p*p]: the convolution's im2col. What is left at the edges is cut.
   */
  private Tensor patches(Pixels pictures) {
    int examples = pictures.examples();
    long used = grid() * patchSize;
    return Tensors.copyOf(pictures.values(), examples, channels, imageSize, imageSize)
        .narrow(2, 0, used)
        .narrow(3, 0, used)
        .reshape(examples, channels, grid(), patchSize, grid(), patchSize)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(examples, patches(), (long) channels * patchSize * patchSize);
  }
}
