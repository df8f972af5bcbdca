package org.fishermerge.data;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorSelector;

/** Opens data sets of texts. */
public final class TokenDatasets {
  /** The most tokens of a text or pair of texts in FusionBench's GLUE tasks. */
  public static final int GLUE_TOKENS = 512;

  private TokenDatasets() {}

  /**
   * Opens what {@code source} names:
   *
   * <ul>
   *   <li>{@code FILE.safetensors} or {@code FILE.safetensors#prefix.}: tensors {@code
   *       <prefix>input_ids} [N, T] and, optionally, {@code <prefix>attention_mask} [N, T], ones
   *       and then zeros in each row, and {@code <prefix>labels} [N].
   *   <li>{@code FOLDER} or {@code FOLDER#split}: the {@code *.parquet} files in the folder, or in
   *       its {@code data} folder, with the text columns of a {@link GlueTask} and optionally
   *       {@code label}, a number or a name; for example {@code glue/mnli#validation_matched}. A single {@code
   *       FILE.parquet} is taken too.
   * </ul>
   *
   * @param columns what Parquet's columns are called
   * @param tokenizer the folder of the GPT-2 tokenizer that Parquet's texts go through
   * @param maxTokens what longer texts are cut to
   * @throws InputException if there is no such data, or it is not as described
   */
  public static TokenDataset open(
      String source, Columns columns, Path tokenizer, int maxTokens) {
    Optional<ParquetSource> parquet = ParquetSource.find(source);
    if (parquet.isPresent()) {
      return GlueDataset.open(parquet.get(), columns, tokenizer, maxTokens);
    }
    TensorSelector selector = TensorSelector.parse(source);
    if (!Files.exists(selector.file())) {
      throw new InputException(
          "%s does not exist; texts are a .safetensors file or a folder of .parquet files"
              .formatted(selector.file()));
    }
    return SafetensorsTokens.open(selector);
  }

  /** The same with the usual names of columns. */
  public static TokenDataset open(String source, Path tokenizer, int maxTokens) {
    return open(source, Columns.USUAL, tokenizer, maxTokens);
  }

  /**
   * Opens files: Parquet with the text columns of a {@link GlueTask}, or one safetensors file.
   *
   * @param description what they are, for messages and Fisher files
   * @param columns what Parquet's columns are called
   */
  public static TokenDataset open(
      List<Path> files, String description, Columns columns, Path tokenizer, int maxTokens) {
    return files.getFirst().toString().endsWith(".safetensors")
        ? open(files.getFirst().toString(), columns, tokenizer, maxTokens)
        : GlueDataset.open(new ParquetSource(files, description), columns, tokenizer, maxTokens);
  }
}
