package org.fishermerge.torch.arch;

import java.util.List;
import java.util.OptionalInt;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.nn.Layer;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.nn.Weights;

/**
 * The head of a classification model: the layers behind the backbone, which another model's folder
 * may hold. Runs in fp32.
 *
 * @param layers from the backbone's output, one token an example, to logits [B, 1, K]
 * @param classCount K
 * @param weights of the layers; closed with the head
 */
record ClassifierHead(Layer layers, int classCount, Weights weights) implements AutoCloseable {
  /** The layers of a head whose last one was found to fit. */
  @FunctionalInterface
  interface Reader {
    Layer read(Weights weights, long classes);
  }

  /**
   * Reads a head.
   *
   * @param lastWeight name of the last layer's weight, [classes, width]
   * @param width of the last layer's input
   * @param stated the classes that config.json states, if it does
   * @throws InputException if the head is missing or does not fit backbone or configuration
   */
  static ClassifierHead read(
      Checkpoint checkpoint, String lastWeight, long width, OptionalInt stated, Reader reader) {
    if (!checkpoint.has(lastWeight)) {
      throw new InputException(
          "%s: no tensor %s; classifying needs the folder of a classification model, head included"
              .formatted(checkpoint.path(), lastWeight));
    }
    CheckpointTensor last = checkpoint.tensor(lastWeight);
    List<Long> shape = last.info().shape();
    if (shape.size() != 2 || shape.getFirst() < 2) {
      throw new InputException(
          "%s: %s has shape %s; expected [classes, width] of at least two classes"
              .formatted(last.file(), last.info().name(), last.info().shapeText()));
    }
    int classes = Math.toIntExact(shape.getFirst());
    if (stated.isPresent() && stated.getAsInt() != classes) {
      throw new InputException(
          "%s: %s has %d classes, but the config.json beside it states %d (id2label, or else"
                  .formatted(last.file(), lastWeight, classes, stated.getAsInt())
              + " num_labels); weights and configuration do not belong together");
    }
    if (shape.getLast() != width) {
      throw new InputException(
          "%s: %s takes features %d wide; the backbone's are %d wide"
              .formatted(last.file(), lastWeight, shape.getLast(), width));
    }
    return Weights.load(
        checkpoint,
        torch.ScalarType.Float,
        weights -> new ClassifierHead(reader.read(weights, classes), classes, weights));
  }

  List<ParameterGroup> parameters() {
    return weights.groups();
  }

  @Override
  public void close() {
    weights.close();
  }
}
