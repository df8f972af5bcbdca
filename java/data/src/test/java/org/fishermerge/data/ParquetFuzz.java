package org.fishermerge.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.data.files.SplitFiles;
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
    try {
      List<byte[]> seeds = new ArrayList<>();
      seeds.add(resource("train-00000-of-00001.parquet"));
      seeds.add(Files.readAllBytes(Path.of("pom.xml")));
      seeds.add(new byte[0]);
      for (String codec : List.of("snappy", "gzip", "brotli", "zstd", "lz4")) {
        seeds.add(resource("tables/codec-" + codec + ".parquet"));
        seeds.add(resource("tables/pages-" + codec + ".parquet"));
      }
      return seeds;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static byte[] resource(String name) throws IOException {
    try (var in = Objects.requireNonNull(ParquetFuzz.class.getResourceAsStream(name))) {
      return in.readAllBytes();
    }
  }

  @Override
  public void run(byte[] input) {
    Path file = Fuzzing.file(folder, "train.parquet", input);
    naming(file, () -> pictures(file));
    naming(file, () -> texts(file));
  }

  private static void naming(Path file, Runnable work) {
    try {
      work.run();
    } catch (InputException e) {
      if (!String.valueOf(e.getMessage()).contains(file.toString())) {
        throw new AssertionError("does not name the file: " + e.getMessage(), e);
      }
    }
  }

  private static void texts(Path file) {
    TableRows rows =
        TableRows.open(
            new TableSource(SplitFiles.Format.PARQUET, List.of(file), "fuzz", Map.of()),
            Columns.USUAL,
            "",
            (of, fields, names) -> {
              if (TableColumn.named(fields, "sentence") == null) {
                throw new InputException(of + ": no sentences");
              }
            });
    if (rows.labelled()) {
      rows.labels();
    }
    rows.read(new long[] {0}, Set.of("sentence"), 16, () -> false, (position, row) -> {});
  }

  private static void pictures(Path file) {
    try (ImageDataset dataset =
        ImageDatasets.open(
            DataSource.parquet(List.of(file), file.toString()),
            Columns.USUAL,
            ImageProcessor.clip(8))) {
      long[] rows = new Selection.First(4).rows(dataset);
      try (BatchIterator batches = dataset.batches(rows, 2, 1)) {
        while (batches.hasNext()) {
          batches.next().close();
        }
      }
    }
  }
}
