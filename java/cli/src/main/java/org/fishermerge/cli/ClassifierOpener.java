package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.cli.task.Warnings;
import org.fishermerge.estimate.ClassifierOnData;
import org.fishermerge.estimate.ImageClassifierOnData;
import org.fishermerge.estimate.TextClassifierOnData;
import org.fishermerge.merge.Compatibility;
import org.fishermerge.torch.arch.Architecture;
import org.fishermerge.torch.arch.Architectures;
import org.fishermerge.torch.arch.ImageClassifier;
import org.fishermerge.torch.arch.TextClassifier;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.ParameterException;

/**
 * Opens the kind of task that a model folder and the options make: pictures under a zero-shot head,
 * or pictures or texts under the head of a classification model.
 *
 * @param withHead whether a Fisher covers that head too
 */
record ClassifierOpener(
    @Nullable HeadOptions head,
    TextOptions text,
    DataOptions data,
    List<String> allowDifferent,
    boolean withHead,
    Warnings warnings) {
  /** For commands that leave heads as they are. */
  ClassifierOpener(
      @Nullable HeadOptions head,
      TextOptions text,
      DataOptions data,
      List<String> allowDifferent,
      Warnings warnings) {
    this(head, text, data, allowDifferent, false, warnings);
  }

  /** The same with the head of another folder, unless one is named. */
  ClassifierOpener withClassifier(Path folder) {
    TextOptions other = new TextOptions();
    other.classifier = text.classifier == null ? folder : text.classifier;
    other.tokenizer = text.tokenizer;
    return new ClassifierOpener(head, other, data, allowDifferent, withHead, warnings);
  }

  /** Puts the places of what is on the hub in place of its names. */
  void locate(Places places) {
    if (head != null) {
      head.locate(places);
    }
    text.locate(places);
    data.locate(places);
  }

  /** Opens what the options name, works with it, and closes it. */
  void with(Path model, CommandLine command, Consumer<ClassifierOnData> work) {
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      Optional<Architecture<TextClassifier>> ofTexts =
          head == null ? Architectures.text(checkpoint) : Optional.empty();
      if (ofTexts.isPresent()) {
        withText(ofTexts.get(), checkpoint, work);
        return;
      }
      if (text.tokenizer != null) {
        throw new ParameterException(
            command, "--tokenizer belongs to a model of texts (model_type in its config.json)");
      }
      Optional<Architecture<ImageClassifier>> ofPictures =
          head == null ? Architectures.image(checkpoint) : Optional.empty();
      if (ofPictures.isPresent()) {
        withOwnHead(ofPictures.get(), checkpoint, work);
        return;
      }
      if (text.classifier != null) {
        throw new ParameterException(
            command,
            "--classifier belongs to a model with a head of its own (model_type in its config.json:"
                + " "
                + Architectures.modelTypes()
                + ")");
      }
      if (head == null) {
        throw new ParameterException(
            command,
            "Missing required options: '--clip=DIR' and '--classes' or '--heads'; only a model with"
                + " a head of its own (model_type in its config.json: "
                + Architectures.modelTypes()
                + ") goes without");
      }
      if (withHead) {
        throw new ParameterException(
            command, "--with-head: the head of a CLIP is made of texts and has no parameters");
      }
      check(checkpoint);
      ImageClassifierOnData.with(
          checkpoint,
          head.clip,
          data::open,
          clip -> head.named(clip, warnings),
          data.matching(),
          data.workers,
          warnings,
          work::accept);
    }
  }

  /**
   * Checks whether a model belongs to the one whose head and settings it is used with.
   *
   * @throws org.fishermerge.checkpoint.InputException if it does not
   */
  void check(Checkpoint model) {
    Path owner = head == null ? text.classifier : head.clip;
    if (owner == null) {
      return;
    }
    try (Checkpoint other = Checkpoint.open(owner)) {
      Compatibility.check(
              List.of(Compatibility.Member.of(other), Compatibility.Member.of(model)),
              allowDifferent)
          .forEach(warnings);
    }
  }

  private void withText(
      Architecture<TextClassifier> architecture,
      Checkpoint model,
      Consumer<ClassifierOnData> work) {
    withHeadOf(
        model,
        owner ->
            TextClassifierOnData.with(
                architecture,
                model,
                owner,
                withHead,
                positions -> text.open(data, owner, positions),
                data.matching(),
                warnings,
                work::accept));
  }

  private void withOwnHead(
      Architecture<ImageClassifier> architecture,
      Checkpoint model,
      Consumer<ClassifierOnData> work) {
    withHeadOf(
        model,
        owner ->
            ImageClassifierOnData.withOwnHead(
                architecture,
                model,
                owner,
                withHead,
                data::open,
                data.matching(),
                data.workers,
                warnings,
                work::accept));
  }

  /** Opens the model whose head classifies, which may be the model itself. */
  private void withHeadOf(Checkpoint model, Consumer<Checkpoint> work) {
    Path classifier = text.classifier;
    try (Checkpoint other = classifier == null ? null : Checkpoint.open(classifier)) {
      check(model);
      work.accept(other == null ? model : other);
    }
  }
}
