package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorSelector;
import org.fishermerge.estimate.ClassPrompts;
import org.fishermerge.estimate.ImageClassifierOnData;
import org.fishermerge.estimate.ZeroShotHeads;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Option;

/** Options that say which zero-shot head classifies. */
final class HeadOptions {
  /** The tensor of a head's file. */
  static final String WEIGHTS = "zeroshot_weights";

  @Option(
      names = "--clip",
      required = true,
      paramLabel = "DIR",
      description =
          "The CLIP model that was fine-tuned: gives the visual projection and the logit scale,"
              + " the text tower and tokenizer for --classes, and the picture preprocessing.")
  Path clip = Path.of("");

  @ArgGroup(multiplicity = "1")
  Source source = new Source();

  /** Exactly one of them. */
  static final class Source {
    @Option(
        names = "--classes",
        paramLabel = "TASK|FILE.json[:task]",
        description =
            "Class names and prompt templates, turned into a head by the text tower: the name of a"
                + " built-in list, such as sun397, or a file of your own (docs/data.md).")
    @Nullable String classes;

    @Option(
        names = "--heads",
        paramLabel = "FILE.safetensors[#prefix.]",
        description = "A ready head: the tensor zeroshot_weights [classes, width].")
    @Nullable String heads;

    /** Of the classes, where whoever made the head file knows them. */
    @Nullable List<String> names;
  }

  /** Puts the places of what is on the hub in place of its names. */
  void locate(Places places) {
    clip = places.model(clip);
    source.heads = source.heads == null ? null : places.selector(source.heads);
  }

  /**
   * Builds or reads the head. The caller closes it.
   *
   * @param warnings told what is odd about the files but does not stop their use
   */
  ZeroShotHead load(Checkpoint clipModel, Consumer<String> warnings) {
    if (source.heads != null) {
      return ready(clipModel, source.heads);
    }
    if (source.classes != null) {
      return ZeroShotHeads.build(clipModel, ClassPrompts.parse(source.classes), warnings);
    }
    throw new IllegalStateException("neither --classes nor --heads");
  }

  /** The same, with the names of the classes where they are known. */
  ImageClassifierOnData.Head named(Checkpoint clipModel, Consumer<String> warnings) {
    String file = source.classes != null ? source.classes : source.heads;
    return new ImageClassifierOnData.Head(
        load(clipModel, warnings),
        Optional.ofNullable(source.classes)
            .map(classes -> ClassPrompts.parse(classes).classNames())
            .or(() -> Optional.ofNullable(source.names)),
        String.valueOf(file));
  }

  private static ZeroShotHead ready(Checkpoint clipModel, String text) {
    TensorSelector selector = TensorSelector.parse(text);
    String name = selector.prefix() + WEIGHTS;
    try (Checkpoint tensors = Checkpoint.open(selector.file())) {
      CheckpointTensor weights = tensors.tensors().get(name);
      if (weights == null || weights.info().shape().size() != 2) {
        throw new InputException(
            selector.file()
                + ": "
                + (weights == null
                    ? "has no tensor " + name
                    : "tensor " + name + " has shape " + weights.info().shapeText())
                + "; --heads needs "
                + name
                + " of shape [classes, width]");
      }
      return ZeroShotHead.of(
          clipModel,
          tensors.floats(name),
          Math.toIntExact(weights.info().shape().get(0)),
          selector.file() + "#" + name);
    }
  }
}
