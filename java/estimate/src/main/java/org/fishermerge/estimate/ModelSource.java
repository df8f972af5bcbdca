package org.fishermerge.estimate;

import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.Columns;
import org.fishermerge.data.ImageDatasets;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.data.TokenDatasets;
import org.fishermerge.torch.arch.Architecture;
import org.fishermerge.torch.arch.Architectures;
import org.fishermerge.torch.arch.ImageClassifier;
import org.fishermerge.torch.arch.TextClassifier;

/** Opens a classifier and its examples for as long as something works with them. */
@FunctionalInterface
public interface ModelSource {
  /**
   * Opens, works once, and closes, also where the work fails.
   *
   * @param warnings told what is odd about the files but does not stop their use
   * @param work given what was opened, on the calling thread
   * @throws InputException if something cannot be opened or does not belong together
   */
  void with(Consumer<String> warnings, Consumer<? super ModelOnData> work);

  /**
   * A CLIP image tower under a zero-shot head.
   *
   * @param model the fine-tuned model: a Hugging Face folder or a safetensors file
   * @param clip the CLIP model that it was fine-tuned from, which gives head and picture settings
   * @param classes {@code FILE.json[:task]} or a built-in list, as {@link ClassPrompts#parse} reads
   *     it
   * @param data pictures on this machine, as {@link ImageDatasets#open} reads them
   */
  static ModelSource zeroShot(Path model, Path clip, String classes, String data) {
    return (warnings, work) -> {
      ClassPrompts prompts = ClassPrompts.parse(classes);
      try (Checkpoint checkpoint = Checkpoint.open(model)) {
        ImageClassifierOnData.with(
            checkpoint,
            clip,
            processor -> ImageDatasets.open(data, processor),
            opened ->
                new ImageClassifierOnData.Head(
                    ZeroShotHeads.build(opened, prompts, warnings),
                    Optional.of(prompts.classNames()),
                    prompts.origin()),
            Matching.AUTO,
            Runtime.getRuntime().availableProcessors(),
            warnings,
            work::accept);
      }
    };
  }

  /**
   * A classification model under its own head, of texts or of pictures as its {@code config.json}
   * says. The head's parameters are not studied.
   *
   * @param model a Hugging Face folder
   * @param data on this machine, as {@link TokenDatasets#open} or {@link ImageDatasets#open} reads
   *     it
   */
  static ModelSource classifier(Path model, String data) {
    return (warnings, work) -> {
      try (Checkpoint checkpoint = Checkpoint.open(model)) {
        Optional<Architecture<TextClassifier>> text = Architectures.text(checkpoint);
        Optional<Architecture<ImageClassifier>> image = Architectures.image(checkpoint);
        if (text.isPresent()) {
          TextClassifierOnData.with(
              text.get(),
              checkpoint,
              checkpoint,
              false,
              positions ->
                  TokenDatasets.open(
                      data,
                      Columns.USUAL,
                      checkpoint.basePath(),
                      Math.min(TokenDatasets.GLUE_TOKENS, positions)),
              Matching.AUTO,
              warnings,
              work::accept);
        } else if (image.isPresent()) {
          ImageClassifierOnData.withOwnHead(
              image.get(),
              checkpoint,
              checkpoint,
              false,
              processor -> ImageDatasets.open(data, processor),
              Matching.AUTO,
              Runtime.getRuntime().availableProcessors(),
              warnings,
              work::accept);
        } else {
          throw new InputException(
              model
                  + ": has no head of its own (model_type in its config.json: "
                  + Architectures.modelTypes()
                  + "); a CLIP image tower needs class names");
        }
      }
    };
  }
}
