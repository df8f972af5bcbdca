package org.fishermerge.cli;

import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.ImageDataset;
import org.fishermerge.data.ImageDatasets;
import org.fishermerge.data.ImageProcessor;
import org.fishermerge.torch.ClipConfig;
import picocli.CommandLine.Option;

/** Options that say which labelled examples to read, and how. */
final class DataOptions {
  @Option(
      names = "--data",
      required = true,
      paramLabel = "SRC",
      description =
          "Pictures: FILE.safetensors[#prefix.] with pixel_values [N,3,H,W] and labels [N], or a"
              + " folder of Parquet files with image and label columns. Texts, for a GPT-2:"
              + " input_ids and attention_mask [N,T] and labels [N], or Parquet files with the"
              + " columns of a GLUE task.")
  String source = "";

  @Option(
      names = "--workers",
      paramLabel = "N",
      description = "Threads that decode pictures ahead of the model (default: one per core).")
  int workers = Runtime.getRuntime().availableProcessors();

  /**
   * Opens the data, preprocessed as the CLIP folder's preprocessor_config.json says, or by CLIP's
   * own constants where it has none.
   */
  ImageDataset open(Checkpoint clip, ClipConfig.Vision shape) {
    if (workers < 0) {
      throw new InputException("--workers " + workers + ": must not be negative");
    }
    ImageProcessor processor =
        clip.sibling("preprocessor_config.json")
            .map(ImageProcessor::fromPreprocessorConfig)
            .orElseGet(() -> ImageProcessor.clip(shape.imageSize()));
    return ImageDatasets.open(source, processor);
  }
}
