package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.Columns;
import org.fishermerge.data.ImageDataset;
import org.fishermerge.data.ImageDatasets;
import org.fishermerge.data.ImageProcessor;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.data.TokenDataset;
import org.fishermerge.data.TokenDatasets;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.estimate.BadRows;
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
              + " folder of Parquet or Arrow files with image and label columns, or of pictures by class, or"
              + " the id of such a data set on the hub, with #split behind it, as in"
              + " OWNER/NAME#train[:10%%]. Texts, for a GPT-2: input_ids and attention_mask [N,T]"
              + " and labels [N], or tables with the columns of a GLUE task. docs/data.md has"
              + " all of it.")
  String source = "";

  @Option(
      names = "--columns",
      paramLabel = "USUAL=NAME,...",
      description =
          "What columns of tables are called where not as usual: image=img,label=fine_label, or for"
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

  /** What the source names, unless it is a safetensors file. */
  private @Nullable Supplier<DataSource> found;

  /** Finds the data, here or on the hub. */
  void locate(Places places) {
    found = places.data(source).orElse(null);
  }

  /** Opens pictures. */
  ImageDataset open(ImageProcessor processor) {
    if (workers < 0) {
      throw new InputException("--workers " + workers + ": must not be negative");
    }
    return found == null
        ? ImageDatasets.open(source, columns(), processor)
        : ImageDatasets.open(found.get(), columns(), processor);
  }

  /** Opens texts; see {@link TokenDatasets#open}. */
  TokenDataset openTexts(Path tokenizer, int maxTokens) {
    return found == null
        ? TokenDatasets.open(source, columns(), tokenizer, maxTokens)
        : TokenDatasets.open(found.get(), columns(), tokenizer, maxTokens);
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
