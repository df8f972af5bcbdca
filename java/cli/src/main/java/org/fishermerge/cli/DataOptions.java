package org.fishermerge.cli;

import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.task.BadRows;
import org.fishermerge.data.Columns;
import org.fishermerge.data.ImageDataset;
import org.fishermerge.data.ImageDatasets;
import org.fishermerge.data.ImageProcessor;
import org.fishermerge.data.LabelMap.Matching;
import org.jspecify.annotations.Nullable;
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
      names = "--columns",
      paramLabel = "USUAL=NAME,...",
      description =
          "What Parquet's columns are called where not as usual: image=img,label=fine_label, or for"
              + " texts sentence=text.")
  @Nullable String columns;

  @Option(
      names = "--match-classes",
      paramLabel = "auto|name|position",
      description =
          "How the classes that the data names are those of the model: by name where they are the"
              + " same names, else not at all (auto, the default); by name; or by position, whatever"
              + " they are called.")
  String matchClasses = Matching.AUTO.text();

  @Option(
      names = "--bad-rows",
      paramLabel = "stop|skip[:N]",
      description =
          "What to do about rows that cannot be used, such as damaged pictures, empty texts and"
              + " missing labels: stop, or leave them out, N at most (default: leave out one in a"
              + " hundred, or 10, but stop at labels beyond the classes).")
  @Nullable String badRows;

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
    return ImageDatasets.open(source, columns(), processor);
  }

  Columns columns() {
    return columns == null ? Columns.USUAL : Columns.parse(columns, "--columns");
  }

  Matching matching() {
    return Matching.parse(matchClasses, "--match-classes");
  }

  BadRows badRows() {
    return BadRows.parse(badRows, "--bad-rows");
  }
}
