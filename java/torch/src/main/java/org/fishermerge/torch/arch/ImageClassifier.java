package org.fishermerge.torch.arch;

import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.fishermerge.torch.Classifier;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.nn.Pixels;

/**
 * A classifier of pictures: a CLIP's image tower under a zero-shot head, or a vision model with a
 * head of its own. The backbone's parameters are studied; the head's too if that is asked for. Not
 * thread-safe.
 */
public final class ImageClassifier implements Classifier, AutoCloseable {
  private final PictureShape shape;
  private final NetworkClassifier<Pixels> classifier;
  private final List<ParameterGroup> headParameters;
  private final List<String> warnings;
  private final Runnable close;

  private ImageClassifier(
      PictureShape shape,
      NetworkClassifier<Pixels> classifier,
      List<ParameterGroup> headParameters,
      List<String> warnings,
      Runnable close) {
    this.shape = shape;
    this.classifier = classifier;
    this.headParameters = List.copyOf(headParameters);
    this.warnings = List.copyOf(warnings);
    this.close = close;
  }

  /**
   * Puts a backbone under a head of its own; owns both.
   *
   * @param backbone closed if the head cannot be read
   * @param reader reads the head
   */
  static ImageClassifier of(
      PictureShape shape,
      Network<Pixels> backbone,
      Supplier<ClassifierHead> reader,
      List<String> warnings) {
    try {
      ClassifierHead head = reader.get();
      return new ImageClassifier(
          shape,
          new NetworkClassifier<>(
              backbone, head.layers(), head.classCount(), backbone.parameters()),
          head.parameters(),
          warnings,
          () -> {
            head.close();
            backbone.close();
          });
    } catch (RuntimeException | Error e) {
      backbone.close();
      throw e;
    }
  }

  /**
   * A CLIP's tower under a frozen head; borrows both.
   *
   * @throws org.fishermerge.checkpoint.InputException if the head does not fit
   */
  public static ImageClassifier zeroShot(ClipVisionTower tower, ZeroShotHead head) {
    return new ImageClassifier(
        tower.config().pictures(), tower.under(head), List.of(), List.of(), () -> {});
  }

  /** The same classifier with the parameters of its own head among those that are studied. */
  public ImageClassifier withHead() {
    List<ParameterGroup> all =
        Stream.concat(classifier.studied().stream(), headParameters.stream()).toList();
    return new ImageClassifier(
        shape,
        new NetworkClassifier<>(
            classifier.network(), classifier.head(), classifier.classCount(), all),
        headParameters,
        warnings,
        close);
  }

  /** The network under the head. */
  public Network<Pixels> backbone() {
    return classifier.network();
  }

  /**
   * This head on another classifier's backbone, which stays that one's. Frees the weights of this
   * one's own, so that it cannot be used any more.
   */
  public ImageClassifier onBackboneOf(ImageClassifier other) {
    classifier.network().close();
    return new ImageClassifier(
        other.shape, classifier.on(other.backbone()), List.of(), warnings, close);
  }

  /** The pictures that it takes. */
  public PictureShape shape() {
    return shape;
  }

  /** What is odd about the configurations but does not stop their use. */
  public List<String> warnings() {
    return warnings;
  }

  /** Class logits, row-major [examples, K]. */
  public float[] logits(Pixels pictures) {
    return classifier.logits(pictures);
  }

  /**
   * Runs a batch and keeps its activations.
   *
   * @return to be closed by the caller
   */
  public ForwardPass forward(Pixels pictures) {
    return classifier.forward(pictures);
  }

  /**
   * Runs a batch.
   *
   * @return to be closed by the caller; can be pulled back only if that is wanted
   */
  public ForwardPass forward(Pixels pictures, ForwardPass.Wanted wanted) {
    return classifier.forward(pictures, wanted);
  }

  @Override
  public int classCount() {
    return classifier.classCount();
  }

  @Override
  public List<ParameterGroup> parameterGroups() {
    return classifier.parameterGroups();
  }

  @Override
  public void close() {
    close.run();
  }
}
