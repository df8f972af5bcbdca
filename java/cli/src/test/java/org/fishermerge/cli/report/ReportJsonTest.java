package org.fishermerge.cli.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.networknt.schema.InputFormat;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.report.RunReport.Interval;
import org.fishermerge.cli.report.RunReport.Measure;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.report.RunReport.Row;
import org.fishermerge.cli.task.JsonReport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The JSON of reports: what the schema says, what is read back, and what older versions wrote. */
final class ReportJsonTest {
  @TempDir Path folder;

  static List<String> violations(JsonNode report) throws IOException {
    try (InputStream in =
        Objects.requireNonNull(RunReport.class.getResourceAsStream("report.schema.json"))) {
      return SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12)
          .getSchema(new String(in.readAllBytes(), StandardCharsets.UTF_8), InputFormat.JSON)
          .validate(report.toString(), InputFormat.JSON)
          .stream()
          .map(Object::toString)
          .toList();
    }
  }

  @Test
  void everyPartIsInTheSchema() throws IOException {
    ObjectNode json = ReportJson.of(ReportSamples.whole(List.of("a", "b", "c"), 2, 4));
    assertThat(violations(json)).isEmpty();
    assertThat(json.fieldNames())
        .toIterable()
        .containsExactly(
            "schema",
            "command",
            "origin",
            "models",
            "merges",
            "accuracies",
            "shares",
            "fishers",
            "similarity",
            "search",
            "stages",
            "warnings");
    ObjectNode wrong = json.deepCopy();
    wrong.put("unheard_of", 1);
    assertThat(violations(wrong)).hasSize(1);
  }

  @Test
  void whatWasWrittenIsReadBack() throws IOException {
    RunReport report = ReportSamples.whole(List.of("a", "b"), 3, 5);
    ObjectNode file = JsonReport.object().put("own", 1);
    Path path = Files.writeString(folder.resolve("r.json"), text(ReportJson.addTo(file, report)));
    assertThat(ReportReader.read(path)).isEqualTo(report);
    // A newer version's keys are passed over, but not another schema.
    ObjectNode newer = (ObjectNode) file.at("/fisher_merge/report");
    newer.put("new_part", "x").withObject("/origin").put("machine", "y");
    Files.writeString(path, text(file));
    assertThat(ReportReader.read(path)).isEqualTo(report);
    newer.put("schema", RunReport.SCHEMA + 1);
    Files.writeString(path, text(file));
    assertThatThrownBy(() -> ReportReader.read(path))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("r.json", "newer fisher-merge");
  }

  private static String text(JsonNode json) {
    return json.toString();
  }

  private RunReport read(String json) throws IOException {
    return ReportReader.read(Files.writeString(folder.resolve("old.json"), json));
  }

  @Test
  void reportsOfOlderVersionsOpen() throws IOException {
    RunReport demo =
        read(
            """
            {"base": {"shapes": 0.388, "dots": 0.5, "mean": 0.444},
             "simple average": {"shapes": 0.4, "dots": 0.6, "mean": 0.5},
             "blend by KL": {"shapes": 0.7, "dots": 0.9, "mean": 0.8}}
            """);
    assertThat(Objects.requireNonNull(demo.accuracies()).tasks()).containsExactly("shapes", "dots");
    assertThat(demo.accuracies().rows())
        .extracting(Row::role)
        .containsExactly(Role.BASE, Role.AVERAGE, Role.THIS);
    assertThat(Objects.requireNonNull(demo.accuracies().rows().get(2).mean()).accuracy())
        .isCloseTo(0.8, within(1e-12));

    RunReport run =
        read(
            """
            {"model_info": {"all_params": 3}, "alpha": {"accuracy": 0.5, "loss": 1.5},
             "average": {"accuracy": 0.5, "loss": 1.5},
             "fisher_merge": {"tool": "fisher-merge 0.1",
               "accuracies": {"alpha": {"correct": 2, "examples": 4, "accuracy_95": [0.15, 0.85]}}}}
            """);
    Measure alpha =
        Objects.requireNonNull(run.accuracies()).rows().getFirst().measures().getFirst();
    assertThat(alpha).isEqualTo(new Measure(0.5, new Interval(0.5, 0.15, 0.85), 2L, 4L, 1.5));
    assertThat(run.origin().tool()).isEqualTo("fisher-merge 0.1");

    RunReport evaluated =
        read(
            "{\"model\": \"m\", \"data\": \"d\", \"accuracy\": 0.25, \"correct\": 1, \"examples\": 4}");
    assertThat(Objects.requireNonNull(evaluated.accuracies()).tasks()).containsExactly("d");
    for (RunReport each : List.of(demo, run, evaluated)) {
      assertThat(violations(ReportJson.of(each))).isEmpty();
      assertThat(ReportPage.of(each)).contains("Accuracy by task");
    }
  }

  @Test
  void whatIsNoReportIsRefused() {
    for (String text :
        List.of(
            "",
            "{",
            "{}",
            "[1]",
            "{\"fisher_merge\": {\"report\": {\"schema\": 1, \"models\": 3}}}")) {
      assertThatThrownBy(() -> read(text))
          .as(text)
          .isInstanceOf(InputException.class)
          .hasMessageContaining("old.json");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "/ | command | command",
        "/origin | tool | tool",
        "/models/0 | name | name",
        "/accuracies | tasks | tasks",
        "/accuracies/rows/0 | measures | measures",
        "/shares/0/cells/0 | shares | shares",
        "/stages/0 | seconds | seconds",
      })
  void aReportThatLacksAPartIsRefusedByItsName(String at, String part, String named)
      throws IOException {
    for (boolean isNull : new boolean[] {false, true}) {
      ObjectNode report = ReportJson.of(ReportSamples.whole(List.of("a", "b"), 2, 5));
      ObjectNode node = (ObjectNode) report.at(at.equals("/") ? "" : at);
      node.remove(part);
      if (isNull) {
        node.putNull(part);
      }
      ObjectNode file = JsonReport.object();
      file.putObject("fisher_merge").set("report", report);
      assertThatThrownBy(() -> read(file.toString()))
          .isInstanceOf(InputException.class)
          .hasMessageContainingAll("old.json", "'" + named + "'", "docs/report.md");
    }
  }

  /**
   * Whatever is null in a report, it is opened or refused in one message, and never fails later.
   */
  @Test
  void anyNullIsTakenAsAbsentOrRefused() throws IOException {
    ObjectNode whole = ReportJson.of(ReportSamples.whole(List.of("a", "b"), 2, 5));
    List<JsonPointer> places = new ArrayList<>();
    places(whole, JsonPointer.empty(), places);
    int refused = 0;
    for (JsonPointer place : places) {
      ObjectNode report = whole.deepCopy();
      JsonNode parent = report.at(place.head());
      if (parent instanceof ObjectNode object) {
        object.putNull(place.last().getMatchingProperty());
      } else {
        ((ArrayNode) parent).setNull(place.last().getMatchingIndex());
      }
      ObjectNode file = JsonReport.object();
      file.putObject("fisher_merge").set("report", report);
      try {
        RunReport opened = read(file.toString());
        assertThat(ReportPage.of(opened)).as(place.toString()).contains("</html>");
        assertThat(violations(ReportJson.of(opened))).as(place.toString()).isEmpty();
      } catch (InputException e) {
        assertThat(e).as(place.toString()).hasMessageContaining("old.json");
        refused++;
      }
    }
    assertThat(refused).isBetween(1, places.size() - 1);
  }

  /** Of all members, and of the first item of each list. */
  private static void places(JsonNode node, JsonPointer at, List<JsonPointer> into) {
    node.properties()
        .forEach(member -> {
          JsonPointer place = at.appendProperty(member.getKey());
          into.add(place);
          places(member.getValue(), place, into);
        });
    if (node.isArray() && !node.isEmpty()) {
      into.add(at.appendIndex(0));
      places(node.get(0), at.appendIndex(0), into);
    }
  }

  @Test
  void aReportWithTooFewNumbersIsRefused() throws IOException {
    ObjectNode report = ReportJson.of(ReportSamples.whole(List.of("a", "b"), 2, 5));
    ((ArrayNode) report.at("/accuracies/rows/0/measures")).remove(0);
    ObjectNode file = JsonReport.object();
    file.putObject("fisher_merge").set("report", report);
    assertThatThrownBy(() -> read(file.toString()))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("old.json", "a measure for each task");
  }

  /** Of Newcombe (1998), table II: 56/70 against 48/80, method 10. */
  @Test
  void differencesHaveNewcombesIntervals() {
    Interval difference =
        Objects.requireNonNull(Intervals.difference(measure(56, 70), measure(48, 80)));
    assertThat(difference.value()).isCloseTo(0.2, within(1e-9));
    assertThat(difference.low()).isCloseTo(0.0524, within(5e-5));
    assertThat(difference.high()).isCloseTo(0.3339, within(5e-5));
  }

  /** Wilson's score interval. */
  private static Measure measure(long correct, long examples) {
    double p = (double) correct / examples;
    double z = 1.959963984540054;
    double center = (p + z * z / (2 * examples)) / (1 + z * z / examples);
    double reach =
        z
            / (1 + z * z / examples)
            * Math.sqrt(p * (1 - p) / examples + z * z / (4.0 * examples * examples));
    return new Measure(p, new Interval(p, center - reach, center + reach), correct, examples, null);
  }

  /** Equal measures: a mean's interval is narrower by the root of their number. */
  @Test
  void meansHaveNarrowerIntervals() {
    Measure one = measure(40, 100);
    Measure mean = Objects.requireNonNull(Intervals.mean(List.of(one, one, one, one)));
    Interval of = Objects.requireNonNull(one.interval());
    Interval interval = Objects.requireNonNull(mean.interval());
    assertThat(mean.accuracy()).isCloseTo(0.4, within(1e-12));
    assertThat(interval.low()).isCloseTo(0.4 - (0.4 - of.low()) / 2, within(1e-12));
    assertThat(interval.high()).isCloseTo(0.4 + (of.high() - 0.4) / 2, within(1e-12));
  }
}
