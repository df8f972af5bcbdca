package org.fishermerge.data;

import dev.hardwood.HardwoodContext;
import dev.hardwood.metadata.RowGroup;
import dev.hardwood.reader.ParquetFileReader;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.fishermerge.checkpoint.InputException;

/** How many rows Parquet files have, by their footers. */
final class ParquetSize {
  private ParquetSize() {}

  static long rows(List<Path> files) {
    long rows = 0;
    for (Path file : files) {
      try (HardwoodContext context = HardwoodContext.create(1);
          ParquetFileReader reader = ParquetFileReader.open(ParquetInput.footer(file), context)) {
        for (RowGroup group : reader.getFileMetaData().rowGroups()) {
          rows += group.numRows();
        }
      } catch (IOException | RuntimeException | OutOfMemoryError e) {
        throw new InputException(
            "%s: not readable as Parquet: %s".formatted(file, ParquetRows.reason(e)), e);
      }
    }
    return rows;
  }
}
