package org.fishermerge.data;

import dev.hardwood.HardwoodContext;
import dev.hardwood.metadata.RowGroup;
import dev.hardwood.reader.ParquetFileReader;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.SplitFiles;

/** How many rows tables have, without reading any. */
final class TableSize {
  private TableSize() {}

  static long rows(SplitFiles split) {
    return split.format() == SplitFiles.Format.ARROW
        ? ArrowRows.count(split.files())
        : parquet(split.files());
  }

  private static long parquet(List<Path> files) {
    long rows = 0;
    for (Path file : files) {
      try (HardwoodContext context = HardwoodContext.create(1);
          ParquetFileReader reader = ParquetFileReader.open(ParquetInput.footer(file), context)) {
        for (RowGroup group : reader.getFileMetaData().rowGroups()) {
          rows += group.numRows();
        }
      } catch (IOException | RuntimeException | OutOfMemoryError e) {
        throw new InputException(
            "%s: not readable as Parquet: %s".formatted(file, TableRows.reason(e)), e);
      }
    }
    return rows;
  }
}
