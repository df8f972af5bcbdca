package org.fishermerge.cli.program;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.ModelPath;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.data.TokenDatasets;
import org.fishermerge.data.TokenizerFiles;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.estimate.ClassifierOnData;
import org.fishermerge.estimate.ContentKey;
import org.fishermerge.estimate.TextClassifierOnData;
import org.fishermerge.torch.arch.Architecture;
import org.fishermerge.torch.arch.Architectures;
import org.fishermerge.torch.arch.TextClassifier;

/**
 * GPT-2 backbones under the heads of the models that were fine-tuned for the tasks.
 *
 * @param heads folders of GPT2ForSequenceClassification by task
 * @param tokenizer the folder of the tokenizer
 * @param matching how the classes of data and heads are matched
 * @param warnings told what is odd about the files but does not stop their use
 */
record Gpt2Opener(
    Map<String, Path> heads, Path tokenizer, Matching matching, Consumer<String> warnings)
    implements ModelOpener {
  private static final Architecture<TextClassifier> GPT2 =
      Architectures.text(ModelConfig.GPT2).orElseThrow();

  @Override
  public void check(String task, Path model) {
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      if (!Architectures.text(checkpoint).filter(GPT2::equals).isPresent()) {
        throw new InputException(model + ": is no GPT-2 (model_type in its config.json)");
      }
    }
    head(task);
  }

  private Path head(String task) {
    Path head = heads.get(task);
    if (head == null) {
      throw new InputException(
          "the task "
              + task
              + " has no model in the pool, whose head would classify"
              + NearestNames.of(task, heads.keySet()));
    }
    return head;
  }

  @Override
  public String identity(String task) {
    return new ContentKey("fisher-merge GPT-2 tokens 2")
        .add(TokenDatasets.GLUE_TOKENS)
        .addFiles(tokenizer, TokenizerFiles.NAMES)
        // Its names of classes say what the data's labels mean.
        .addFiles(ModelPath.of(head(task)).base(), List.of("config.json"))
        .hex();
  }

  @Override
  public void open(
      String task, Path model, DatasetId data, DataSource files, Consumer<ClassifierOnData> work) {
    try (Checkpoint checkpoint = Checkpoint.open(model);
        Checkpoint head = Checkpoint.open(head(task))) {
      TextClassifierOnData.with(
          GPT2,
          checkpoint,
          head,
          false,
          positions ->
              TokenDatasets.open(
                  files, data.columns(), tokenizer, Math.min(TokenDatasets.GLUE_TOKENS, positions)),
          matching,
          warnings,
          work::accept);
    }
  }
}
