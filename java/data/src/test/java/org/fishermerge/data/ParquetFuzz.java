package org.fishermerge.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.testkit.FuzzTarget;
import org.fishermerge.testkit.Fuzzing;

/** A Parquet file of pictures, read whole. */
public final class ParquetFuzz implements FuzzTarget {
  private static final ParquetFuzz TARGET = new ParquetFuzz();

  private final Path folder = Fuzzing.folder();

  /** What Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] input) {
    TARGET.run(input);
  }

  @Override
  public List<byte[]> seeds() {
    try (var in =
        Objects.requireNonNull(
            ParquetFuzz.class.getResourceAsStream("train-00000-of-00001.parquet"))) {
      return List.of(in.readAllBytes(), Files.readAllBytes(Path.of("pom.xml")), new byte[0]);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void run(byte[] input) {
    Path file = Fuzzing.file(folder, "train.parquet", input);
    try (ImageDataset dataset =
        ImageDatasets.open(
            List.of(file), file.toString(), Columns.USUAL, ImageProcessor.clip(8))) {
      long[] rows = new Selection.First(4).rows(dataset);
      try (BatchIterator batches = dataset.batches(rows, 2, 1)) {
        while (batches.hasNext()) {
          batches.next().close();
        }
      }
    } catch (InputException e) {
      if (!String.valueOf(e.getMessage()).contains(file.toString())) {
        throw new AssertionError("does not name the file: " + e.getMessage(), e);
      }
    }
  }
}
