package org.fishermerge.torch.nn;

import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.runtime.Tensors;

/**
 * A block of whose output only one token is used. Where inputs of linear layers are wanted it runs
 * for all tokens; what is pulled back is the run for the one token in any case, so that gradients
 * are the same bits with and without.
 *
 * @param block computes the tokens that are used
 * @param whole the same block for all tokens
 * @param output which tokens are used
 */
record LastBlock(Layer block, Layer whole, OutputTokens output) implements Layer {
  @Override
  public Tensor forward(Tensor x, Tape tape) {
    if (!tape.isShowing()) {
      return block.forward(x, tape);
    }
    Tensor all = tape.showingOnly(() -> whole.forward(x, tape));
    if (!tape.isRecording()) {
      return output.of(all, 1).contiguous();
    }
    Tensors.drop(all);
    return tape.recordingOnly(() -> block.forward(x, tape));
  }

  @Override
  public Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    return block.backward(cotangent, tape, visitor);
  }
}
