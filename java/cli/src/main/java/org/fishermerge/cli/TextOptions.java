package org.fishermerge.cli;

import java.nio.file.Path;
import org.fishermerge.data.TokenDataset;
import org.fishermerge.data.TokenDatasets;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Options of a GPT-2 classifier. */
final class TextOptions {
  @Option(
      names = "--classifier",
      paramLabel = "DIR",
      description =
          "With a GPT-2 as --model: the GPT2ForSequenceClassification folder whose head classifies,"
              + " if --model is a backbone or a model of another task (default: --model itself).")
  @Nullable Path classifier;

  /** Opens {@code --data}. */
  TokenDataset open(String source) {
    return TokenDatasets.open(source);
  }
}
