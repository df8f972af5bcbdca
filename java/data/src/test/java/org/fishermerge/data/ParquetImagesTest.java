package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.BiPredicate;
import java.util.stream.LongStream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.SplitFiles;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Parquet files are written by DuckDB here, and one by pyarrow: the reader is another program. */
final class ParquetImagesTest {
  /** More than two of DuckDB's smallest row groups. */
  private static final int ROWS = 4500;

  /** Two pixels square and not resized, so that values are exact. */
  private static final ImageProcessor RAW = ImageProcessor.clip(2);

  private static Connection duckdb;

  @TempDir Path folder;

  @BeforeAll
  static void connect() throws SQLException {
    duckdb = DriverManager.getConnection("jdbc:duckdb:");
    execute("CREATE TABLE pictures (i BIGINT, bytes BLOB)");
    try (PreparedStatement insert = duckdb.prepareStatement("INSERT INTO pictures VALUES (?, ?)")) {
      for (int i = 0; i < ROWS; i++) {
        insert.setLong(1, i);
        insert.setBytes(2, picture(i));
        insert.addBatch();
      }
      insert.executeBatch();
    }
  }

  @AfterAll
  static void disconnect() throws SQLException {
    duckdb.close();
  }

  /** A picture that says which row it is: low byte in red, high byte in green. */
  private static byte[] picture(int row) {
    return Pictures.png(2, 2, (x, y, c) -> c == 0 ? row & 0xff : c == 1 ? row >> 8 : 200);
  }

  private static void execute(String sql) throws SQLException {
    try (Statement statement = duckdb.createStatement()) {
      statement.execute(sql);
    }
  }

  private static Path write(Path file, String select, String options) throws SQLException {
    try {
      Files.createDirectories(Objects.requireNonNull(file.getParent()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    execute("COPY (%s) TO '%s' (FORMAT parquet, %s)".formatted(select, file, options));
    return file;
  }

  private static String rows(int from, int to) {
    return ("SELECT repeat('x', 100) || i AS extra, {'bytes': bytes, 'path': i || '.png'} AS image,"
            + " i %% 10 AS label FROM pictures WHERE i >= %d AND i < %d ORDER BY i")
        .formatted(from, to);
  }

  /** The rows the pictures say they are, after checking the labels against them. */
  private static List<Integer> read(
      String source, Selection selection, int batchSize, int workers) {
    List<Integer> seen = new ArrayList<>();
    try (ImageDataset images = ImageDatasets.open(source, RAW);
        BatchIterator batches = images.batches(selection, batchSize, workers)) {
      long[] labels = images.labels();
      while (batches.hasNext()) {
        try (ImageBatch batch = batches.next()) {
          assertThat(batch.firstIndex()).isEqualTo(seen.size());
          for (int i = 0; i < batch.count(); i++) {
            int red = level(batch, 12L * i, 0.48145466, 0.26862954);
            int green = level(batch, 12L * i + 4, 0.4578275, 0.26130258);
            int row = red + 256 * green;
            assertThat(labels[(int) batch.rows()[i]])
                .as("label of row %d", row)
                .isEqualTo(row % 10);
            seen.add(row);
          }
        }
      }
    }
    return seen;
  }

  private static int level(ImageBatch batch, long at, double mean, double std) {
    float value = batch.pixels().getAtIndex(ValueLayout.JAVA_FLOAT, at);
    return (int) Math.round((value * std + mean) * 255);
  }

  private static List<Integer> expected(Selection selection, long size) {
    List<Integer> rows = new ArrayList<>();
    long[] chosen =
        switch (selection) {
          case Selection.First first -> first.rows(size);
          case Selection.Shuffled shuffled -> shuffled.rows(size);
          case Selection.Stratified stratified ->
              stratified.rows(LongStream.range(0, size).map(i -> i % 10).toArray());
        };
    for (long row : chosen) {
      rows.add((int) row);
    }
    return rows;
  }

  @ParameterizedTest(name = "{0}, version {1}")
  @CsvSource({
    "snappy, V1",
    "zstd, V1",
    "gzip, V1",
    "uncompressed, V1",
    "zstd, V2",
    "snappy, V2",
    "brotli, V1",
    "lz4, V2"
  })
  void readsEveryUsualCodec(String codec, String version) throws SQLException {
    Path file =
        write(
            folder.resolve("0000.parquet"),
            rows(0, ROWS),
            "COMPRESSION %s, PARQUET_VERSION %s, ROW_GROUP_SIZE 2048".formatted(codec, version));
    Selection selection = new Selection.Shuffled(300, 5);
    assertThat(read(folder.toString(), selection, 64, 1)).isEqualTo(expected(selection, ROWS));
    assertThat(read(file.toString(), new Selection.First(20), 7, 0))
        .isEqualTo(expected(new Selection.First(20), ROWS));
  }

  @Test
  void orderIsTheSameForAnyNumberOfWorkersAndAnyBatchSize() throws SQLException {
    write(folder.resolve("data/train-00000-of-00003.parquet"), rows(0, 100), "COMPRESSION zstd");
    write(folder.resolve("data/train-00001-of-00003.parquet"), rows(100, 101), "COMPRESSION zstd");
    write(folder.resolve("data/train-00002-of-00003.parquet"), rows(101, 333), "COMPRESSION zstd");
    for (Selection selection :
        List.of(
            new Selection.Shuffled(Long.MAX_VALUE, 3),
            new Selection.First(150),
            new Selection.Shuffled(9, 3),
            new Selection.Stratified(120, 3))) {
      for (int[] way : new int[][] {{32, 0}, {1, 1}, {17, 2}, {400, 5}, {5, 8}}) {
        assertThat(read(folder + "#train", selection, way[0], way[1]))
            .as("%s in batches of %d with %d workers", selection, way[0], way[1])
            .isEqualTo(expected(selection, 333));
      }
    }
  }

  @Test
  void readsWhatPyarrowWrites() throws Exception {
    // Row groups of 4, dictionary pages, a page index, Hugging Face metadata: as to_parquet does.
    Path file =
        Path.of(
            Objects.requireNonNull(
                    ParquetImagesTest.class.getResource("train-00000-of-00001.parquet"))
                .toURI());
    try (ImageDataset images = ImageDatasets.open(file.toString(), RAW);
        BatchIterator batches = images.batches(new Selection.Shuffled(10, 1), 10, 0);
        ImageBatch batch = batches.next()) {
      assertThat(images.labels()).containsExactly(0, 1, 2, 0, 1, 2, 0, 1, 2, 0);
      long[] order = new Selection.Shuffled(10, 1).rows(10);
      for (int i = 0; i < 10; i++) {
        // There, red is the row and the label its remainder by 3.
        assertThat(level(batch, 12L * i, 0.48145466, 0.26862954)).isEqualTo((int) order[i]);
        assertThat(batch.rows()[i]).isEqualTo(order[i]);
      }
    }
  }

  @Test
  void readsOnlyTheColumnsAndRowGroupsThatAreNeeded() throws Exception {
    Path file =
        write(
            folder.resolve("0000.parquet"), rows(0, ROWS), "COMPRESSION zstd, ROW_GROUP_SIZE 2048");
    Set<Long> groups =
        scribbleOver(
            file,
            (group, column) ->
                !column.equals("label") && (group != 1 || !column.equals("image, bytes")));
    assertThat(groups).hasSizeGreaterThanOrEqualTo(3);
    long size = ROWS;
    // A selection that lies in the second row group, rows 2048 to 4095.
    long seed = 0;
    while (true) {
      long index = new Selection.Shuffled(1, seed).rows(size)[0];
      if (index >= 2048 && index < 4096) {
        break;
      }
      seed++;
    }
    Selection inside = new Selection.Shuffled(1, seed);
    assertThat(read(folder.toString(), inside, 1, 1)).isEqualTo(expected(inside, size));
    assertThatThrownBy(() -> read(folder.toString(), new Selection.First(3), 3, 1))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("0000.parquet: cannot read rows 0 to 2047");
  }

  @Test
  void readsLabelsWithoutThePictures() throws Exception {
    String options = "COMPRESSION zstd, ROW_GROUP_SIZE 2048";
    write(folder.resolve("train-0-of-3.parquet"), rows(0, 30), options);
    Path large = write(folder.resolve("train-1-of-3.parquet"), rows(30, 4400), options);
    write(folder.resolve("train-2-of-3.parquet"), rows(4400, ROWS), options);
    scribbleOver(large, (group, column) -> !column.equals("label"));
    try (ImageDataset images = ImageDatasets.open(folder.toString(), RAW)) {
      assertThat(images.labels())
          .isEqualTo(LongStream.range(0, ROWS).map(row -> row % 10).toArray());
    }
    scribbleOver(large, (group, column) -> group == 1);
    try (ImageDataset images = ImageDatasets.open(folder.toString(), RAW)) {
      assertThatThrownBy(images::labels)
          .isInstanceOf(InputException.class)
          .hasMessageContaining("train-1-of-3.parquet: cannot read the labels");
    }
  }

  @Test
  void aMissingLabelIsNone() throws SQLException {
    write(folder.resolve("train-0-of-2.parquet"), rows(0, 30), "CODEC zstd");
    write(
        folder.resolve("train-1-of-2.parquet"),
        "SELECT {'bytes': bytes} AS image, nullif(i, 5) AS label FROM pictures ORDER BY i",
        "CODEC zstd");
    try (ImageDataset images = ImageDatasets.open(folder.toString(), RAW)) {
      assertThat(images.labels()[34]).isEqualTo(4);
      assertThat(images.labels()[35]).isEqualTo(Examples.NO_LABEL);
      assertThat(images.where(35)).endsWith("train-1-of-2.parquet, row 5");
    }
  }

  /** Spoils some columns of some row groups; returns which row groups there are. */
  private static Set<Long> scribbleOver(Path file, BiPredicate<Long, String> spoilt)
      throws Exception {
    Set<Long> groups = new HashSet<>();
    try (Statement statement = duckdb.createStatement();
        ResultSet chunks =
            statement.executeQuery(
                "SELECT row_group_id, path_in_schema,"
                    + " coalesce(dictionary_page_offset, data_page_offset),"
                    + " total_compressed_size FROM parquet_metadata('"
                    + file
                    + "')");
        RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
      while (chunks.next()) {
        groups.add(chunks.getLong(1));
        if (spoilt.test(chunks.getLong(1), chunks.getString(2))) {
          out.seek(chunks.getLong(3));
          byte[] noise = new byte[(int) chunks.getLong(4)];
          Arrays.fill(noise, (byte) 0xee);
          out.write(noise);
        }
      }
    }
    return groups;
  }

  @Test
  void choosesASplitByName() throws SQLException {
    write(folder.resolve("test-00000-of-00001.parquet"), rows(40, 50), "COMPRESSION snappy");
    write(folder.resolve("train-00000-of-00002-ab12.parquet"), rows(0, 3), "COMPRESSION snappy");
    write(folder.resolve("train-00001-of-00002-cd34.parquet"), rows(3, 5), "COMPRESSION snappy");
    assertThat(read(folder + "#train", new Selection.First(99), 4, 1))
        .containsExactly(0, 1, 2, 3, 4);
    assertThat(read(folder + "#test", new Selection.First(2), 4, 1)).containsExactly(40, 41);
    try (ImageDataset images = ImageDatasets.open(folder + "#train", RAW)) {
      assertThat(images.description()).isEqualTo(folder.getFileName() + "#train");
      assertThat(images.size()).isEqualTo(5);
    }
    assertRefused(folder.toString(), "several splits (train, test)", folder + "#train");
    assertRefused(folder + "#tr", "no split 'tr'", "train, test");
  }

  @Test
  void namesWhatIsMissing() throws IOException, SQLException {
    assertRefused(folder.toString(), "holds no data files", "folder of .parquet files");
    Files.writeString(folder.resolve("a.parquet"), "version https://git-lfs.github.com/spec/v1");
    assertRefused(folder.toString(), "a.parquet: not readable as Parquet");
    write(folder.resolve("a.parquet"), "SELECT i AS idx, i % 2 AS y FROM pictures", "CODEC zstd");
    assertRefused(folder.toString(), "no column image", "idx, y");
  }

  @Test
  void aFileThatIsCutShortIsNamed() throws IOException, SQLException {
    Path file = folder.resolve("a.parquet");
    write(file, rows(0, 8), "CODEC snappy");
    try (ImageDataset images = ImageDatasets.open(file.toString(), RAW);
        FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.truncate(100);
      try (BatchIterator batches = images.batches(new Selection.First(4), 4, 1)) {
        assertThatThrownBy(batches::next)
            .isInstanceOf(InputException.class)
            .hasMessageStartingWith(file + ": cannot read rows");
      }
    }
  }

  /** What Jazzer found: a footer that says that a row group has -41 rows. */
  @Test
  void fewerRowsThanNoneAreDamage() throws IOException {
    Path file = folder.resolve("a.parquet");
    try (InputStream in =
        Objects.requireNonNull(
            ParquetImagesTest.class.getResourceAsStream("tables/negative-rows.parquet"))) {
      Files.copy(in, file);
    }
    assertThatThrownBy(() ->
            TableRows.open(
                new TableSource(SplitFiles.Format.PARQUET, List.of(file), "data", Map.of()),
                Columns.USUAL,
                "",
                (of, fields, names) -> {}))
        .isInstanceOf(InputException.class)
        .hasMessage("%s: says that it has -41 rows; it is damaged", file);
  }

  /** What Jazzer found: a page's header and a column's sizes that lead a reader on without end. */
  @Test
  void sizesThatLeadInCirclesDoNotLeadFar() throws IOException {
    Path file = folder.resolve("a.parquet");
    byte[] bytes = new ParquetFuzz().seeds().getFirst();
    bytes[179] = 5;
    bytes[2101] = 0x16;
    Files.write(file, bytes);
    assertTimeoutPreemptively(
        Duration.ofMinutes(1),
        () -> {
          try (ImageDataset images = ImageDatasets.open(file.toString(), RAW);
              BatchIterator batches = images.batches(new Selection.First(4), 4, 1)) {
            assertThatThrownBy(batches::next)
                .isInstanceOf(InputException.class)
                .hasMessageStartingWith(file + ": cannot read rows")
                .hasMessageContaining("it is damaged");
          }
        });
  }

  /**
   * The first two are what Jazzer found: a string of 2^31 - 1 bytes, which no JVM can allocate, and
   * a list of as many booleans, which are skipped one by one though they have no bytes.
   */
  @ParameterizedTest
  @CsvSource({
    "98 ff ff ff ff 07 00, names 2147483647 values or characters where 1 bytes are left",
    "19 f1 ff ff ff ff 07 00, names 2147483647 values or characters where 1 bytes are left",
    "19 22 01 01 00, a value of unknown type 2",
    "1b ff ff ff ff 0f 33 00, names 4294967295 values or characters where 2 bytes are left",
    "1b 01 13 01 01 00, a value of unknown type 1",
    "16 ff ff ff ff ff ff ff ff ff ff 01 00, a number of more than 64 bits",
    "15, ends in the middle of a value",
    "1d 00, a value of unknown type 13",
    "1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c"
        + " 1c 1c 1c 1c, nested more than 32 deep",
  })
  void survivesAFooterThatLies(String hex, String reason) throws IOException {
    byte[] footer = HexFormat.ofDelimiter(" ").parseHex(hex);
    ByteBuffer file =
        ByteBuffer.allocate(4 + footer.length + 8)
            .order(ByteOrder.LITTLE_ENDIAN)
            .put("PAR1".getBytes(StandardCharsets.US_ASCII))
            .put(footer)
            .putInt(footer.length)
            .put("PAR1".getBytes(StandardCharsets.US_ASCII));
    Files.write(folder.resolve("a.parquet"), file.array());
    assertRefused(folder.toString(), "a.parquet: not readable as Parquet", reason);
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "'a' AS image, i AS label | column image holds no encoded pictures",
        "{'path': 'a'} AS image, i AS label | column image holds no encoded pictures",
        "{'bytes': i} AS image, i AS label | column image holds no encoded pictures",
        "[{'bytes': bytes}] AS image, i AS label | column image holds no encoded pictures",
        "{'bytes': bytes} AS image, [i] AS label | column label holds no class labels but lists",
        "{'bytes': bytes} AS image, DATE '2026-01-01' AS label | holds no class labels but DATE"
      })
  void refusesOtherColumns(String columns, String message) throws SQLException {
    write(folder.resolve("a.parquet"), "SELECT " + columns + " FROM pictures", "CODEC zstd");
    assertRefused(folder.toString(), "a.parquet", message);
  }

  @Test
  void refusesAnEmptyDataSet() throws SQLException {
    write(folder.resolve("a.parquet"), rows(0, 0), "CODEC zstd");
    assertRefused(folder.toString(), "a.parquet", "no rows");
  }

  @Test
  void refusesLabelsInSomeFilesOnly() throws SQLException {
    write(folder.resolve("train-0-of-2.parquet"), rows(0, 3), "CODEC zstd");
    write(
        folder.resolve("train-1-of-2.parquet"),
        "SELECT {'bytes': bytes} AS image FROM pictures LIMIT 3",
        "CODEC zstd");
    assertRefused(folder.toString(), "some have a column label");
  }

  @Test
  void labelsMayBeMissingUntilTheyAreNeeded() throws SQLException {
    write(
        folder.resolve("a.parquet"),
        "SELECT {'bytes': bytes} AS image, i AS fine_label FROM pictures LIMIT 3",
        "CODEC zstd");
    try (ImageDataset images = ImageDatasets.open(folder.toString(), RAW);
        BatchIterator batches = images.batches(new Selection.First(3), 2, 1);
        ImageBatch batch = batches.next()) {
      assertThat(images.labelled()).isFalse();
      assertThatThrownBy(images::labels)
          .isInstanceOf(InputException.class)
          .hasMessageContaining("no column label")
          .hasMessageContaining("image, fine_label");
    }
  }

  @Test
  void readsI32Labels() throws SQLException {
    write(
        folder.resolve("a.parquet"),
        "SELECT {'bytes': bytes} AS image, (i % 10)::INTEGER AS label FROM pictures ORDER BY i",
        "CODEC zstd");
    assertThat(read(folder.toString(), new Selection.First(30), 30, 0)).hasSize(30);
  }

  @ParameterizedTest(name = "{1} with {0} workers")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "0 | CASE WHEN i = 5 THEN NULL ELSE {'bytes': bytes} END AS image, i AS label | null",
        "2 | CASE WHEN i = 5 THEN NULL ELSE {'bytes': bytes} END AS image, i AS label | null",
        "1 | {'bytes': nullif(bytes, if(i = 5, bytes, NULL))} AS image, i AS label | null",
        "0 | {'bytes': if(i = 5, bytes[1:40], bytes)} AS image, i AS label | PNG is truncated",
        "3 | {'bytes': if(i = 5, 'GIF89a'::BLOB, bytes)} AS image, i AS label | GIF"
      })
  void namesFileAndRowOfABadExample(int workers, String columns, String message)
      throws SQLException {
    write(folder.resolve("train-0-of-2.parquet"), rows(0, 30), "CODEC zstd");
    write(
        folder.resolve("train-1-of-2.parquet"),
        "SELECT %s FROM pictures WHERE i < 50 ORDER BY i".formatted(columns),
        "CODEC zstd");
    try (ImageDataset images = ImageDatasets.open(folder.toString(), RAW);
        BatchIterator batches = images.batches(new Selection.First(80), 3, workers)) {
      assertThatThrownBy(
              () -> {
                while (batches.hasNext()) {
                  batches.next().close();
                }
              })
          .isInstanceOf(InputException.class)
          .hasMessageContaining("train-1-of-2.parquet, row 5")
          .hasMessageContaining(message);
      assertThat(batches.hasNext()).isFalse();
    }
  }

  private static void assertRefused(String source, String... named) {
    assertThatThrownBy(() -> ImageDatasets.open(source, RAW).close())
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(named);
  }
}
