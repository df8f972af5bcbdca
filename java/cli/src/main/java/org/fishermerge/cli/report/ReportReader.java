package org.fishermerge.cli.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.cli.report.RunReport.Interval;
import org.fishermerge.cli.report.RunReport.Measure;
import org.fishermerge.cli.report.RunReport.Origin;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.report.RunReport.Row;
import org.jspecify.annotations.Nullable;

/**
 * Reads the JSON reports of all versions. Those from before there was one model of a report have
 * accuracies only, under keys of each command's own, and that is what is read of them.
 */
public final class ReportReader {
  private static final String ACCURACY = "accuracy";

  /** Keys of FusionBench's reports that are no tasks. */
  private static final Set<String> NO_TASKS = Set.of("model_info", "average", ReportJson.OWN);

  /** What the demo calls its rows. */
  private static final Map<String, Role> DEMO_ROLES =
      Map.of(
          "base", Role.BASE,
          "fine-tuned, each its own", Role.OWN,
          "simple average", Role.AVERAGE,
          "blend by KL", Role.THIS);

  private ReportReader() {}

  /**
   * Reads a file.
   *
   * @throws InputException naming the file, if it cannot be read or is no report
   */
  public static RunReport read(Path file) {
    JsonNode json;
    try {
      json = new JsonMapper().readTree(Files.readAllBytes(file));
    } catch (JsonProcessingException e) {
      throw new InputException(
          file
              + ": is no JSON; reports are written by --report FILE.json, and a page is made from"
              + " them",
          e);
    } catch (IOException e) {
      throw new InputException(file + ": cannot be read: " + Reasons.of(e), e);
    }
    JsonNode own = json.path(ReportJson.OWN).path(ReportJson.REPORT);
    return own.isObject() ? ReportJson.read(own, file.toString()) : old(json, file);
  }

  private static RunReport old(JsonNode json, Path file) {
    List<String> tasks = new ArrayList<>();
    List<Row> rows = new ArrayList<>();
    String command = "run";
    if (json.path("model").isTextual() && json.path(ACCURACY).isNumber()) {
      command = "evaluate";
      tasks.add(json.path("data").asText("data"));
      rows.add(Intervals.row(json.path("model").asText(), Role.THIS, List.of(measure(json, json))));
    } else if (json.path("average").path(ACCURACY).isNumber()) {
      List<Measure> measures = new ArrayList<>();
      json.properties()
          .forEach(task -> {
            if (!NO_TASKS.contains(task.getKey()) && task.getValue().path(ACCURACY).isNumber()) {
              tasks.add(task.getKey());
              measures.add(
                  measure(
                      task.getValue(),
                      json.path(ReportJson.OWN).path("accuracies").path(task.getKey())));
            }
          });
      rows.add(Intervals.row("this merge", Role.THIS, measures));
    } else {
      command = "demo";
      rowsOfTheDemo(json, tasks, rows);
    }
    if (rows.isEmpty() || tasks.isEmpty()) {
      throw new InputException(
          file
              + ": holds no report that fisher-merge wrote (expected fisher_merge.report, or the"
              + " accuracies of an older version)");
    }
    return new RunReport(
        RunReport.SCHEMA,
        command,
        new Origin(
            json.path(ReportJson.OWN).path("tool").asText("fisher-merge, an older version"),
            null,
            null,
            null,
            null,
            null),
        List.of(),
        List.of(),
        Intervals.complete(tasks, rows),
        List.of(),
        null,
        null,
        null,
        List.of(),
        List.of());
  }

  private static void rowsOfTheDemo(JsonNode json, List<String> tasks, List<Row> rows) {
    Map<String, JsonNode> found = new LinkedHashMap<>();
    json.properties()
        .forEach(row -> {
          if (row.getValue().path("mean").isNumber()) {
            found.put(row.getKey(), row.getValue());
          }
        });
    found.values().stream()
        .findFirst()
        .ifPresent(row ->
            row.fieldNames()
                .forEachRemaining(name -> {
                  if (!name.equals("mean")) {
                    tasks.add(name);
                  }
                }));
    found.forEach((name, row) ->
        rows.add(
            Intervals.row(
                name,
                DEMO_ROLES.getOrDefault(name, Role.OTHER),
                tasks.stream()
                    .map(task -> new Measure(row.path(task).doubleValue(), null, null, null, null))
                    .toList())));
  }

  /** An accuracy of one node, counts and interval of another. */
  public static Measure measure(JsonNode json, JsonNode counts) {
    double accuracy = json.path(ACCURACY).doubleValue();
    JsonNode ends = counts.path("accuracy_95");
    return new Measure(
        accuracy,
        ends.size() == 2
            ? new Interval(accuracy, ends.get(0).doubleValue(), ends.get(1).doubleValue())
            : null,
        whole(counts.path("correct")),
        whole(counts.path("examples")),
        json.path("loss").isNumber() ? json.path("loss").doubleValue() : null);
  }

  private static @Nullable Long whole(JsonNode node) {
    return node.isIntegralNumber() ? node.longValue() : null;
  }
}
