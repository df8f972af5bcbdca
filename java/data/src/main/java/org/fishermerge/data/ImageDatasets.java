package org.fishermerge.data;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorSelector;

/** Opens data sets of pictures. */
public final class ImageDatasets {
  private ImageDatasets() {}

  /**
   * Opens what {@code source} names:
   *
   * <ul>
   *   <li>{@code FILE.safetensors} or {@code FILE.safetensors#prefix.}: tensors {@code
   *       <prefix>pixel_values} [N, 3, height, width] of the processor's size and, optionally,
   *       {@code <prefix>labels} [N] (I64 or I32). F32, F16 and BF16 are taken as processed; U8 are
   *       raw RGB pixels that still get rescaled and normalised.
   *   <li>{@code FOLDER} or {@code FOLDER#split}: the {@code *.parquet} files in the folder, or in
   *       its {@code data} folder, by name, with the columns that Hugging Face data sets store:
   *       {@code image}, the encoded picture or a struct with it in {@code bytes}, and optionally
   *       {@code label}, a number or a name. The split is the file name's part before {@code -00000-of-00002};
   *       it may be left out if there is only one. A single {@code FILE.parquet} is taken too.
   * </ul>
   *
   * @param columns what Parquet's columns are called
   * @throws InputException if there is no such data, or it is not as described
   */
  public static ImageDataset open(String source, Columns columns, ImageProcessor processor) {
    Optional<ParquetSource> parquet = ParquetSource.find(source);
    if (parquet.isPresent()) {
      return ParquetImages.open(parquet.get(), columns, processor);
    }
    TensorSelector selector = TensorSelector.parse(source);
    if (!Files.exists(selector.file())) {
      throw new InputException(
          "%s does not exist; data is a .safetensors file or a folder of .parquet files"
              .formatted(selector.file()));
    }
    return SafetensorsImages.open(selector, processor);
  }

  /** The same with the usual names of columns. */
  public static ImageDataset open(String source, ImageProcessor processor) {
    return open(source, Columns.USUAL, processor);
  }

  /**
   * Opens files: Parquet, or one safetensors file.
   *
   * @param description what they are, for messages and Fisher files
   * @param columns what Parquet's columns are called
   */
  public static ImageDataset open(
      List<Path> files, String description, Columns columns, ImageProcessor processor) {
    return files.getFirst().toString().endsWith(".safetensors")
        ? open(files.getFirst().toString(), columns, processor)
        : ParquetImages.open(new ParquetSource(files, description), columns, processor);
  }
}
