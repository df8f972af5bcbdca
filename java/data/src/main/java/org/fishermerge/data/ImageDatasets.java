package org.fishermerge.data;

import java.nio.file.Files;
import java.util.List;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorSelector;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.data.files.LocalData;
import org.fishermerge.data.files.SplitFiles;

/** Opens data sets of pictures. */
public final class ImageDatasets {
  private ImageDatasets() {}

  /**
   * Opens what {@code source} names on this machine:
   *
   * <ul>
   *   <li>{@code FILE.safetensors} or {@code FILE.safetensors#prefix.}: tensors {@code
   *       <prefix>pixel_values} [N, 3, height, width] of the processor's size and, optionally,
   *       {@code <prefix>labels} [N] (I64 or I32). F32, F16 and BF16 are taken as processed; U8 are
   *       raw RGB pixels that still get rescaled and normalised.
   *   <li>What {@link LocalData#find} finds: Parquet or Arrow files with the columns that Hugging
   *       Face data sets store, {@code image}, the encoded picture or a struct with it in {@code
   *       bytes}, and optionally {@code label}, a number or a name; or a folder of pictures.
   * </ul>
   *
   * @param columns what columns of tables are called
   * @throws InputException if there is no such data, or it is not as described
   */
  public static ImageDataset open(String source, Columns columns, ImageProcessor processor) {
    Optional<DataSource> found = LocalData.find(source);
    if (found.isPresent()) {
      return open(found.get(), columns, processor);
    }
    TensorSelector selector = TensorSelector.parse(source);
    if (!Files.exists(selector.file())) {
      throw new InputException(
          "%s does not exist; data is a .safetensors file, a folder of .parquet or .arrow files or of"
                  .formatted(selector.file())
              + " pictures, or the id of a data set on the Hugging Face hub as OWNER/NAME#SPLIT");
    }
    columns.requireUsual(selector.file());
    return SafetensorsImages.open(selector, processor);
  }

  /** The same with the usual names of columns. */
  public static ImageDataset open(String source, ImageProcessor processor) {
    return open(source, Columns.USUAL, processor);
  }

  /**
   * Opens files that were found.
   *
   * @param columns what columns are called
   */
  public static ImageDataset open(DataSource source, Columns columns, ImageProcessor processor) {
    List<SplitFiles> splits = source.splits();
    String description = source.description();
    StoredImages all =
        switch (splits.getFirst().format()) {
          case PARQUET, ARROW -> TableImages.open(TableSource.of(source), columns, processor);
          case PICTURES -> FolderImages.open(splits, description, columns, processor);
          case TENSORS ->
              SafetensorsImages.open(
                  TensorSelector.parse(source.files().getFirst().toString()), processor);
        };
    if (source.isWhole()) {
      return all;
    }
    try {
      return new SlicedImages(all, rows(source, columns), description);
    } catch (RuntimeException e) {
      all.close();
      throw e;
    }
  }

  /** Which rows of all of its splits a source means. */
  static RowRanges rows(DataSource source, Columns columns) {
    return new RowRanges(
        source.ranges(split ->
            switch (split.format()) {
              case PARQUET, ARROW -> TableSize.rows(split);
              case PICTURES -> FolderImages.rows(split, columns);
              case TENSORS -> throw new IllegalStateException("taken whole");
            }),
        source.description());
  }
}
