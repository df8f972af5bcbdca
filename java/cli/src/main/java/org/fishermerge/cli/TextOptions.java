package org.fishermerge.cli;

import java.nio.file.Path;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.data.TokenDataset;
import org.fishermerge.data.TokenDatasets;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Options of models with a classification head of their own. */
final class TextOptions {
  @Option(
      names = "--classifier",
      paramLabel = "DIR",
      description =
          "With a GPT-2, BERT, RoBERTa or ViT as --model: the classification model whose head"
              + " classifies, if --model is a backbone or a model of another task (default: --model"
              + " itself).")
  @Nullable Path classifier;

  @Option(
      names = "--tokenizer",
      paramLabel = "DIR",
      description =
          "The folder whose GPT-2 tokenizer the texts of a Parquet folder go through (default: that of"
              + " --classifier or --model).")
  @Nullable Path tokenizer;

  /** Puts the places of what is on the hub in place of its names. */
  void locate(Places places) {
    classifier = classifier == null ? null : places.model(classifier);
    tokenizer = tokenizer == null ? null : places.tokenizer(tokenizer);
  }

  /**
   * Opens {@code --data}.
   *
   * @param model that the tokenizer belongs to, unless another is named
   * @param positions the most tokens that the model takes
   */
  TokenDataset open(DataOptions data, Checkpoint model, int positions) {
    int maxTokens = Math.min(TokenDatasets.GLUE_TOKENS, positions);
    return data.openTexts(tokenizer == null ? model.basePath() : tokenizer, maxTokens);
  }
}
