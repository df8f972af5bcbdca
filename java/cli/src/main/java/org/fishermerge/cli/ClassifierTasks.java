package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.cli.task.ClassifierTask;
import org.fishermerge.cli.task.ImageTask;
import org.fishermerge.cli.task.TextTask;
import org.fishermerge.cli.task.Warnings;
import org.fishermerge.merge.Compatibility;
import org.fishermerge.torch.Gpt2Classifier;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.ParameterException;

/**
 * Opens the kind of task that a model folder and the options make: pictures under a zero-shot head,
 * or texts.
 */
record ClassifierTasks(
    @Nullable HeadOptions head,
    TextOptions text,
    DataOptions data,
    List<String> allowDifferent,
    Warnings warnings) {
  /** Puts the places of what is on the hub in place of its names. */
  void locate(Places places) {
    if (head != null) {
      head.locate(places);
    }
    text.locate(places);
    data.locate(places);
  }

  /** Opens what the options name, works with it, and closes it. */
  void with(Path model, CommandLine command, Consumer<ClassifierTask> work) {
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      if (head == null && Gpt2Classifier.describes(checkpoint)) {
        withText(checkpoint, work);
        return;
      }
      if (text.classifier != null || text.tokenizer != null) {
        throw new ParameterException(
            command,
            "--classifier and --tokenizer belong to a GPT-2 (model_type in its config.json)");
      }
      if (head == null) {
        throw new ParameterException(
            command,
            "Missing required options: '--clip=DIR' and '--classes' or '--heads'; only a GPT-2"
                + " (model_type in its config.json) goes without");
      }
      check(checkpoint);
      ImageTask.with(
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

  private void withText(Checkpoint model, Consumer<ClassifierTask> work) {
    Path classifier = text.classifier;
    try (Checkpoint other = classifier == null ? null : Checkpoint.open(classifier)) {
      Checkpoint owner = other == null ? model : other;
      check(model);
      TextTask.with(
          model,
          owner,
          positions -> text.open(data, owner, positions),
          data.matching(),
          warnings,
          work::accept);
    }
  }
}
