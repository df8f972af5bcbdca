package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Reports of merges without statistics, and merges without a report. */
final class ReportCommandsTest {
  private static final Path CLIP = Golden.path("clip-tiny");

  @TempDir Path folder;

  private static String model(String name) {
    return CLIP.resolve(name).toString();
  }

  private JsonNode report(Path json) throws IOException {
    return new JsonMapper().readTree(Files.readString(json)).at("/fisher_merge/report");
  }

  @Test
  void aRecipeOfMergekitHasAReport() throws IOException {
    Path recipe =
        Files.writeString(
            folder.resolve("recipe.yml"),
            """
            merge_method: ties
            base_model: %s
            models:
              - model: %s
                parameters: {weight: 1, density: 0.5}
              - model: %s
                parameters: {weight: 0.5, density: 0.3}
            dtype: float32
            """
                .formatted(model("pretrained"), model("alpha"), model("beta")));
    Path json = folder.resolve("report.json");
    Path page = folder.resolve("report.html");
    CommandResult.run(
            "mergekit",
            recipe.toString(),
            folder.resolve("out").toString(),
            "--report",
            json.toString(),
            "--report",
            page.toString())
        .succeeds();
    JsonNode report = report(json);
    assertThat(report.path("command").textValue()).isEqualTo("mergekit");
    JsonNode shares = report.at("/shares/0");
    assertThat(shares.path("merge").textValue()).isEqualTo("TIES merge");
    assertThat(shares.path("models"))
        .extracting(JsonNode::textValue)
        .containsExactly("alpha", "beta", "base");
    assertThat(shares.path("cells").size()).isGreaterThan(5);
    for (JsonNode cell : shares.path("cells")) {
      double sum = 0;
      for (JsonNode share : cell.path("shares")) {
        sum += share.doubleValue();
      }
      assertThat(sum).as("%s", cell).isCloseTo(1, within(1e-9));
    }
    JsonNode stage = report.at("/stages/0");
    assertThat(stage.path("name").textValue()).isEqualTo("merge");
    assertThat(stage.path("peak_bytes").longValue()).isPositive();
    assertThat(stage.path("planned_bytes").longValue()).isPositive();
    assertThat(page).content().contains("TIES merge", "planned");
    CommandResult.run(
            "mergekit",
            recipe.toString(),
            folder.resolve("other").toString(),
            "--report",
            recipe.toString())
        .fails(1, "recipe.yml");
  }

  /** A merge of an instant would take half as long again. */
  @Test
  void aMergeWithoutAReportLoadsNoClassesOfReports() throws Exception {
    Path classes = folder.resolve("classes.txt");
    List<String> line =
        new ArrayList<>(CommandProcess.java("-Xlog:class+load=info:file=" + classes));
    line.addAll(List.of("ties", "--density", "0.5", "--base", model("pretrained")));
    line.addAll(List.of("--model", model("alpha"), "--model", model("beta")));
    line.addAll(List.of("--out", folder.resolve("out").toString()));
    Process process = new ProcessBuilder(line).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(said).isZero();
    List<String> loaded = Files.readAllLines(classes);
    assertThat(loaded).anyMatch(each -> each.contains("org.fishermerge.cli.TiesCommand "));
    assertThat(loaded)
        .filteredOn(each ->
            each.contains("org.fishermerge.cli.report.")
                || each.contains("com.fasterxml.jackson.databind."))
        .isEmpty();
  }
}
