package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What is in a Parquet file: codecs, columns, labels, names of classes, bad rows. Figures are those
 * of transformers in float64 (java/testkit/oracles/labelled_cases.py).
 */
final class TablesCommandsTest {
  private static final Pattern LOSS = Pattern.compile("loss ([\\d.]+)");
  private static Connection duckdb;

  @TempDir Path folder;

  @BeforeAll
  static void connect() throws SQLException {
    duckdb = DriverManager.getConnection("jdbc:duckdb:");
  }

  @AfterAll
  static void disconnect() throws SQLException {
    duckdb.close();
  }

  private Path table(String name, String select) throws SQLException {
    Path file = folder.resolve(name + ".parquet");
    try (Statement sql = duckdb.createStatement()) {
      sql.execute("COPY (%s) TO '%s' (FORMAT parquet)".formatted(select, file));
    }
    return file;
  }

  private static double loss(CommandResult result) {
    Matcher matcher = LOSS.matcher(result.out());
    assertThat(matcher.find()).as(result.out()).isTrue();
    return Double.parseDouble(matcher.group(1));
  }

  private static CommandResult evaluate(Path model, Path data, String... more) {
    return run("evaluate", model, data, more);
  }

  private static CommandResult run(String command, Path model, Path data, String... more) {
    List<String> line =
        new ArrayList<>(List.of(command, "--model", model.toString(), "--data", data.toString()));
    line.addAll(List.of(more));
    return CommandResult.run(line);
  }

  /** The sums of a Fisher over the first rows of a table. */
  private TestTensors fisher(Path model, Path data, String... more) {
    Path out = folder.resolve("fisher.safetensors");
    List<String> line = new ArrayList<>(List.of(more));
    line.addAll(List.of("--out", out.toString(), "--overwrite", "--selection", "first"));
    CommandResult result = run("fisher", model, data, line.toArray(String[]::new));
    assertThat(result.code()).as(result.err()).isZero();
    return TestTensors.read(out);
  }

  private static void assertSame(TestTensors actual, TestTensors expected) {
    assertThat(actual.tensors().keySet()).isEqualTo(expected.tensors().keySet()).isNotEmpty();
    for (String name : expected.tensors().keySet()) {
      assertThat(actual.get(name).bytes()).as(name).isEqualTo(expected.get(name).bytes());
    }
  }

  // ---- the cases ----

  @Test
  void case08ClassesInAnotherOrderAreMappedByName() {
    Path files = Cases.copy("case-08", folder);
    String full = Golden.path("clip-tiny/pretrained").toString();
    String classes = files.resolve("classes.json") + ":t";
    CommandResult permuted =
        evaluate(
            Path.of(full), files.resolve("permuted.parquet"), "--clip", full, "--classes", classes);
    assertThat(permuted.code()).as(permuted.err()).isZero();
    assertThat(permuted.err())
        .startsWith("warning: ")
        .contains("big red bus, cat, dog", "cat, dog, big red bus", "mapped by name")
        .hasLineCount(1);
    assertThat(permuted.out()).contains("(1 of 6;");
    assertThat(loss(permuted)).isCloseTo(2.259411455, within(2e-6));
    for (String command : List.of("evaluate", "fisher")) {
      List<String> more = new ArrayList<>(List.of("--clip", full, "--classes", classes));
      if (command.equals("fisher")) {
        more.addAll(List.of("--out", folder.resolve("x.safetensors").toString()));
      }
      run(command, Path.of(full), files.resolve("five-names.parquet"), more.toArray(String[]::new))
          .fails(1, "five-names.parquet", "a, b, c, d, e", "cat, dog, big red bus", classes);
    }
    CommandResult mnli = evaluate(files.resolve("gpt2"), files.resolve("mnli.parquet"));
    assertThat(mnli.code()).isZero();
    assertThat(mnli.err()).contains("entailment, neutral, contradiction", "mapped by name");
    assertThat(mnli.out()).contains("(0 of 3;");
    assertThat(loss(mnli)).isCloseTo(1.277151024, within(2e-6));
  }

  @ParameterizedTest
  @ValueSource(strings = {"lz4", "brotli"})
  void case16CodecsAreRead(String codec) {
    Path files = Cases.copy("case-16", folder);
    Path clip = files.resolve("clip");
    CommandResult result =
        evaluate(
            clip,
            files.resolve(codec + ".parquet"),
            "--clip",
            clip.toString(),
            "--heads",
            files.resolve("head.safetensors").toString());
    assertThat(result.succeeds().out()).contains("(3 of 6;");
    assertThat(loss(result)).isCloseTo(1.858913272, within(2e-6));
  }

  @Test
  void case20ASplitWithoutLabelsIsCalledThat() {
    Path files = Cases.copy("case-20", folder);
    for (String command : List.of("evaluate", "fisher")) {
      List<String> more =
          command.equals("evaluate")
              ? List.of()
              : List.of("--labels", "true", "--out", folder.resolve("x.safetensors").toString());
      run(command, files.resolve("gpt2"), files.resolve("sst2"), more.toArray(String[]::new))
          .fails(1, "sst2#test", "this split has no labels", "validation");
    }
    // The usual rule asks for none.
    assertThat(fisher(files.resolve("gpt2"), files.resolve("sst2")).tensors()).isNotEmpty();
  }

  @Test
  void case20AnEmptyTextIsLeftOut() throws Exception {
    Path files = Cases.copy("case-20", folder);
    Path model = files.resolve("gpt2");
    Path data = files.resolve("qqp");
    Path report = folder.resolve("report.json");
    CommandResult result = evaluate(model, data, "--report", report.toString());
    assertThat(result.code()).isZero();
    assertThat(result.err())
        .contains("warning: left out", "row 1", "the text is empty")
        .hasLineCount(1);
    assertThat(result.out()).contains("(1 of 2, 1 row left out;");
    assertThat(loss(result)).isCloseTo(2.405445519, within(2e-6));
    JsonNode json = new JsonMapper().readTree(Files.readString(report));
    assertThat(json.path("examples").intValue()).isEqualTo(2);
    assertThat(json.path("skipped").path("count").intValue()).isOne();
    assertThat(json.path("skipped").path("rows").path(0).path("row").intValue()).isOne();
    Path without =
        table("without", "SELECT * FROM '%s/*.parquet' WHERE sentence <> ''".formatted(data));
    for (String labels : List.of("exact", "true", "batch-square", "sampled:3")) {
      assertSame(
          fisher(model, data, "--labels", labels, "--batch-size", "2"),
          fisher(model, without, "--labels", labels, "--batch-size", "2"));
    }
    evaluate(model, data, "--bad-rows", "stop").fails(1, "row 1", "--bad-rows skip");
    evaluate(model, data, "--bad-rows", "skip:0").fails(1, "row 1", "--bad-rows skip");
    assertThat(evaluate(model, data, "--bad-rows", "skip:1").code()).isZero();
    evaluate(model, data, "--bad-rows", "leave").fails(1, "--bad-rows leave", "skip:N");
  }

  // ---- further inputs ----

  private static final String MNLI =
      "FROM (VALUES (0, 'a b', 'x', 'contradiction'), (1, 'c', 'y', 'Neutral'),"
          + " (2, 'd e', 'z', 'entailment'), (2, 'a', 'z', 'entailment'))"
          + " AS t (number, a, b, name)";

  @Test
  void labelsThatAreNamesMeanTheModelsClasses() throws Exception {
    Path model = Cases.copy("case-08", folder).resolve("gpt2");
    Path numbers =
        table("numbers", "SELECT a AS premise, b AS hypothesis, number AS label " + MNLI);
    Path names = table("names", "SELECT a AS premise, b AS hypothesis, name AS label " + MNLI);
    CommandResult expected = evaluate(model, numbers).succeeds();
    assertThat(loss(evaluate(model, names).succeeds())).isEqualTo(loss(expected));
    for (String more : List.of("first", "stratified")) {
      String[] rule = {"--labels", "true", "--selection", more, "--examples", "3"};
      Path one = folder.resolve("one.safetensors");
      Path other = folder.resolve("other.safetensors");
      for (Path[] pair : new Path[][] {{numbers, one}, {names, other}}) {
        List<String> line = new ArrayList<>(List.of(rule));
        line.addAll(List.of("--out", pair[1].toString(), "--overwrite"));
        assertThat(run("fisher", model, pair[0], line.toArray(String[]::new)).code()).isZero();
      }
      assertSame(TestTensors.read(other), TestTensors.read(one));
    }
    Path others =
        table("others", "SELECT a AS premise, b AS hypothesis, 'x' || name AS label " + MNLI);
    evaluate(model, others).fails(1, "xNeutral", "CONTRADICTION, NEUTRAL, ENTAILMENT");
  }

  @Test
  void columnsHaveTheNamesThatAreGiven() throws Exception {
    Path model = Cases.copy("case-08", folder).resolve("gpt2");
    Path usual = table("usual", "SELECT a AS premise, b AS hypothesis, number AS label " + MNLI);
    Path own = table("own", "SELECT a, b, name AS label, number AS fine_label " + MNLI);
    evaluate(model, own).fails(1, "a, b, label, fine_label", "--columns sentence=NAME");
    String columns = "premise=a,hypothesis=b,label=fine_label";
    assertThat(loss(evaluate(model, own, "--columns", columns).succeeds()))
        .isEqualTo(loss(evaluate(model, usual).succeeds()));
    evaluate(model, own, "--columns", "premise=a,hypothesis=b,label=coarse")
        .fails(1, "no column coarse", "a, b, label, fine_label");
    evaluate(model, own, "--columns", "premise").fails(1, "--columns premise", "USUAL=NAME");
  }

  @Test
  void missingLabelsAreLeftOutUpToAFew() throws Exception {
    Path model = Cases.copy("case-20", folder).resolve("gpt2");
    String rows = "FROM (SELECT range AS i, 'the cat' AS sentence FROM range(40))";
    Path few =
        table(
            "few",
            "SELECT sentence, CASE WHEN i IN (3, 9) THEN -1 WHEN i = 20 THEN NULL ELSE i % 2 END AS"
                + " label "
                + rows);
    CommandResult result = evaluate(model, few);
    assertThat(result.code()).isZero();
    assertThat(result.out()).contains("of 37, 3 rows left out;");
    Path many =
        table("many", "SELECT sentence, CASE WHEN i < 11 THEN -1 ELSE i % 2 END AS label " + rows);
    CommandResult refused = evaluate(model, many);
    assertThat(refused.code()).isOne();
    assertThat(refused.err())
        .contains("more than 10 of 40 rows cannot be used", "row 0", "--bad-rows skip");
    assertThat(evaluate(model, many, "--bad-rows", "skip").out())
        .contains("of 29, 11 rows left out;");
    Path beyond = table("beyond", "SELECT sentence, if(i = 5, 7, i % 2) AS label " + rows);
    evaluate(model, beyond).fails(1, "beyond.parquet, row 5", "label 7; expected 0 to 1");
    assertThat(evaluate(model, beyond, "--bad-rows", "skip").out()).contains("of 39, 1 row left");
    Path all = table("all", "SELECT sentence, NULL::INTEGER AS label " + rows);
    evaluate(model, all).fails(1, "all.parquet", "this split has no labels");
    Path scores = table("scores", "SELECT sentence, i / 3.0::DOUBLE AS label " + rows);
    evaluate(model, scores).fails(1, "scores.parquet, row 1", "classes are whole numbers");
  }

  /** Whatever the batch size and the number of threads, the same rows are used. */
  @ParameterizedTest
  @CsvSource({"1, 0", "2, 2", "4, 1"})
  void damagedPicturesAreLeftOut(int batch, int workers) throws Exception {
    Path files = Cases.copy("case-16", folder);
    Path clip = files.resolve("clip");
    String head = files.resolve("head.safetensors").toString();
    String rows = "FROM '%s'".formatted(files.resolve("lz4.parquet"));
    Path damaged =
        table(
            "damaged",
            ("SELECT {'bytes': if(i IN (1, 4), image.bytes[1:99], image.bytes)} AS image, label FROM"
                    + " (SELECT *, row_number() OVER () - 1 AS i %s)")
                .formatted(rows));
    Path without =
        table(
            "without",
            ("SELECT image.bytes AS image, label FROM (SELECT *, row_number() OVER () - 1 AS i %s)"
                    + " WHERE i NOT IN (1, 4)")
                .formatted(rows));
    String[] options = {
      "--clip",
      clip.toString(),
      "--heads",
      head,
      "--workers",
      Integer.toString(workers),
      "--batch-size",
      Integer.toString(batch)
    };
    CommandResult result = evaluate(clip, damaged, options);
    assertThat(result.code()).isZero();
    assertThat(result.err()).contains("row 1: cannot read the picture", "row 4").hasLineCount(2);
    assertThat(result.out()).contains("of 4, 2 rows left out;");
    List<String> exact = new ArrayList<>(List.of(options));
    exact.addAll(List.of("--labels", "sampled:2"));
    assertSame(
        fisher(clip, damaged, exact.toArray(String[]::new)),
        fisher(clip, without, exact.toArray(String[]::new)));
  }
}
