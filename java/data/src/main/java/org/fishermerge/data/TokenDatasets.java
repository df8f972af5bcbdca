package org.fishermerge.data;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorSelector;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.data.files.LocalData;
import org.fishermerge.data.files.SplitFiles;

/** Opens data sets of texts. */
public final class TokenDatasets {
  /** The most tokens of a text or pair of texts in FusionBench's GLUE tasks. */
  public static final int GLUE_TOKENS = 512;

  private TokenDatasets() {}

  /**
   * Opens what {@code source} names on this machine:
   *
   * <ul>
   *   <li>{@code FILE.safetensors} or {@code FILE.safetensors#prefix.}: tensors {@code
   *       <prefix>input_ids} [N, T] and, optionally, {@code <prefix>attention_mask} [N, T], ones
   *       and then zeros in each row, and {@code <prefix>labels} [N].
   *   <li>What {@link LocalData#find} finds: Parquet or Arrow files with the text columns of a
   *       {@link GlueTask} and optionally {@code label}, a number or a name; for example {@code
   *       glue/mnli#validation_matched}.
   * </ul>
   *
   * @param columns what columns of tables are called
   * @param tokenizer the folder of the GPT-2 tokenizer that texts go through
   * @param maxTokens what longer texts are cut to
   * @throws InputException if there is no such data, or it is not as described
   */
  public static TokenDataset open(String source, Columns columns, Path tokenizer, int maxTokens) {
    Optional<DataSource> found = LocalData.find(source);
    if (found.isPresent()) {
      return open(found.get(), columns, tokenizer, maxTokens);
    }
    TensorSelector selector = TensorSelector.parse(source);
    if (!Files.exists(selector.file())) {
      throw new InputException(
          "%s does not exist; texts are a .safetensors file, a folder of .parquet or .arrow files, or the id"
                  .formatted(selector.file())
              + " of a data set on the Hugging Face hub as OWNER/NAME#SPLIT");
    }
    columns.requireUsual(selector.file());
    return SafetensorsTokens.open(selector);
  }

  /** The same with the usual names of columns. */
  public static TokenDataset open(String source, Path tokenizer, int maxTokens) {
    return open(source, Columns.USUAL, tokenizer, maxTokens);
  }

  /**
   * Opens files that were found: Arrow with token ids, Parquet or Arrow with the text columns of a
   * {@link GlueTask}, or one safetensors file.
   *
   * @param columns what columns of tables are called
   */
  public static TokenDataset open(
      DataSource source, Columns columns, Path tokenizer, int maxTokens) {
    SplitFiles.Format format = source.splits().getFirst().format();
    if (format == SplitFiles.Format.TENSORS) {
      return open(source.files().getFirst().toString(), columns, tokenizer, maxTokens);
    }
    if (!format.isTable()) {
      throw new InputException(
          source.description()
              + ": holds pictures, where a GPT-2 wants texts in .parquet or .arrow files");
    }
    TableSource table = TableSource.of(source);
    TokenDataset all =
        format == SplitFiles.Format.ARROW && TableTokens.areIn(table, columns)
            ? TableTokens.open(table, columns)
            : GlueDataset.open(table, columns, tokenizer, maxTokens);
    if (source.isWhole()) {
      return all;
    }
    try {
      return new SlicedTokens(all, ImageDatasets.rows(source, columns), source.description());
    } catch (RuntimeException e) {
      all.close();
      throw e;
    }
  }
}
