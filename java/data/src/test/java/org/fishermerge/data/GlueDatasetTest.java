package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import java.util.Objects;
import java.util.stream.LongStream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.Gpt2TokenizerTest.Case;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Parquet files are written by DuckDB, token ids come from transformers. */
final class GlueDatasetTest {
  private static final List<Case> PAIRS =
      Case.all().stream().filter(one -> one.second() != null).toList();
  private static final List<Case> SINGLES =
      Case.all().stream().filter(one -> one.second() == null).toList();

  /** More than one of DuckDB's smallest row groups. */
  private static final int ROWS = 3000;

  private static Connection duckdb;

  @TempDir Path folder;

  @BeforeAll
  static void connect() throws SQLException {
    duckdb = DriverManager.getConnection("jdbc:duckdb:");
    execute("CREATE TABLE texts (i BIGINT, single VARCHAR, a VARCHAR, b VARCHAR)");
    try (PreparedStatement insert =
        duckdb.prepareStatement("INSERT INTO texts VALUES (?, ?, ?, ?)")) {
      for (int i = 0; i < ROWS; i++) {
        Case pair = PAIRS.get(i % PAIRS.size());
        insert.setLong(1, i);
        insert.setString(2, SINGLES.get(i % SINGLES.size()).first());
        insert.setString(3, pair.first());
        insert.setString(4, pair.second());
        insert.addBatch();
      }
      insert.executeBatch();
    }
  }

  @AfterAll
  static void disconnect() throws SQLException {
    duckdb.close();
  }

  private static void execute(String sql) throws SQLException {
    try (Statement statement = duckdb.createStatement()) {
      statement.execute(sql);
    }
  }

  private static Path write(Path file, String select) throws SQLException, IOException {
    Files.createDirectories(Objects.requireNonNull(file.getParent()));
    execute("COPY (%s) TO '%s' (FORMAT parquet, ROW_GROUP_SIZE 2048)".formatted(select, file));
    return file;
  }

  /** The columns of a task, under which its texts are; others are not looked at. */
  private static String select(GlueTask task) {
    String texts =
        task.columns().size() == 1
            ? "single AS " + task.columns().getFirst()
            : "a AS %s, b AS %s".formatted(task.columns().getFirst(), task.columns().getLast());
    return "SELECT %s, i %% %d AS label, i AS idx FROM texts ORDER BY i"
        .formatted(texts, task.classes());
  }

  private TokenDataset open(String source) {
    return TokenDatasets.open(folder + "/" + source, Gpt2TokenizerTest.FOLDER, 512);
  }

  @ParameterizedTest
  @CsvSource({
    "cola, validation",
    "mnli, validation_matched",
    "mrpc, validation",
    "qnli, validation",
    "qqp, validation",
    "rte, validation",
    "sst2, validation"
  })
  void everyTaskGivesTheIdsOfTransformers(String name, String split) throws Exception {
    GlueTask task = GlueTask.named(name);
    assertThat(task.evaluationSplit()).isEqualTo(split);
    write(folder.resolve("glue/" + name + "/" + split + "-00000-of-00001.parquet"), select(task));
    write(folder.resolve("glue/" + name + "/train-00000-of-00001.parquet"), select(task));
    List<Case> cases = task.columns().size() == 1 ? SINGLES : PAIRS;
    try (TokenDataset dataset = open("glue/" + name + "#" + split)) {
      assertThat(dataset.size()).isEqualTo(ROWS);
      assertThat(dataset.description()).isEqualTo(name + "#" + split);
      assertThat(dataset.labels())
          .isEqualTo(LongStream.range(0, ROWS).map(i -> i % task.classes()).toArray());
      long[] rows = {2999, 5, 0, 5, 2047, 2048, 1, 16};
      List<long[]> texts = dataset.texts(rows);
      assertThat(texts).hasSize(rows.length);
      for (int i = 0; i < rows.length; i++) {
        assertThat(texts.get(i))
            .as("row %d", rows[i])
            .isEqualTo(cases.get((int) (rows[i] % cases.size())).ids());
      }
      // A second time, and with others between.
      assertThat(dataset.texts(new long[] {6, 5}).getLast()).isEqualTo(texts.get(1));
    }
  }

  @Test
  void textsAreCutToTheTokensThatTheModelTakes() throws Exception {
    write(folder.resolve("train.parquet"), select(GlueTask.RTE));
    try (TokenDataset dataset =
        TokenDatasets.open(folder.toString(), Gpt2TokenizerTest.FOLDER, 10)) {
      // Two sentences of 15 and 20 tokens: five of each are left.
      long[] whole = PAIRS.getFirst().ids();
      long[] cut = dataset.texts(new long[] {0}).getFirst();
      assertThat(cut).hasSize(10);
      assertThat(cut[0]).isEqualTo(whole[0]);
      assertThat(cut[5]).isEqualTo(whole[15]);
    }
  }

  @Test
  void otherColumnsAreRefused() throws Exception {
    Path file = write(folder.resolve("train.parquet"), "SELECT a AS text, 1 AS label FROM texts");
    assertThatThrownBy(() -> open("train.parquet"))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(file.toString(), "text, label", "premise and hypothesis");
    write(folder.resolve("number.parquet"), "SELECT i AS sentence FROM texts");
    assertThatThrownBy(() -> open("number.parquet"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("column sentence holds no text");
    Files.createDirectories(folder.resolve("two"));
    write(folder.resolve("two/train-00000-of-00002.parquet"), select(GlueTask.RTE));
    write(folder.resolve("two/train-00001-of-00002.parquet"), select(GlueTask.QQP));
    assertThatThrownBy(() -> open("two#train"))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("00001-of-00002", "question1 and question2", "sentence1");
  }

  @Test
  void aNullTextIsNamed() throws Exception {
    Path file =
        write(
            folder.resolve("train.parquet"),
            "SELECT CASE WHEN i = 2 THEN NULL ELSE single END AS sentence FROM texts ORDER BY i");
    try (TokenDataset dataset = open("train.parquet")) {
      assertThat(dataset.labelled()).isFalse();
      assertThat(dataset.texts(new long[] {1})).hasSize(1);
      assertThatThrownBy(() -> dataset.texts(new long[] {1, 2}))
          .isInstanceOf(InputException.class)
          .hasMessage(file + ", row 2: sentence is null");
    }
  }

  @Test
  void aNameThatIsNoTaskIsRefused() {
    assertThatThrownBy(() -> GlueTask.named("stsb"))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("stsb", "cola, mnli, mrpc, qnli, qqp, rte, sst2");
  }
}
