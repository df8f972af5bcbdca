package org.fishermerge.cli;

import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.ImageDataset;
import org.fishermerge.data.ImageDatasets;
import org.fishermerge.data.ImageProcessor;
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

  /** Opens pictures. */
  ImageDataset open(ImageProcessor processor) {
    if (workers < 0) {
      throw new InputException("--workers " + workers + ": must not be negative");
    }
    return ImageDatasets.open(source, processor);
  }
}
