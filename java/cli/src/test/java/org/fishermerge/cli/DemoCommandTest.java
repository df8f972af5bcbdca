package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.cli.demo.Demo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The first command that a newcomer runs, whole. */
final class DemoCommandTest {
  @TempDir Path folder;

  @Test
  void mergesEightModelsAndReports() throws IOException {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    Path target = folder.resolve("demo");
    int code =
        Main.run(new PrintWriter(out), new PrintWriter(err), "demo", "--out", target.toString());
    assertThat(code).as(err.toString()).isZero();
    assertThat(out.toString())
        .contains("simple average", "Fisher, exact", target.resolve("report.json").toString());

    JsonNode report = new JsonMapper().readTree(target.resolve("report.json").toFile());
    assertThat(report.path("base").path("mean").doubleValue()).isLessThan(0.6);
    assertThat(report.path("fine-tuned, each its own").path("mean").doubleValue())
        .isGreaterThan(0.9);
    assertThat(report.path("Fisher, exact").size()).isEqualTo(9);
    try (Checkpoint merged = Checkpoint.open(target.resolve("merged").resolve("exact"));
        Checkpoint base = Checkpoint.open(target.resolve("models").resolve("base"))) {
      assertThat(merged.tensors().keySet()).isEqualTo(base.tensors().keySet());
    }
  }

  @Test
  void refusesAnExistingFolder() {
    StringWriter err = new StringWriter();
    int code =
        Main.run(
            new PrintWriter(new StringWriter()),
            new PrintWriter(err),
            "demo",
            "--out",
            folder.toString());
    assertThat(code).isEqualTo(1);
    assertThat(err.toString()).contains(folder.toString(), "already exists", "--out");
  }

  /**
   * The shipped models come from this program; that a seed fixes what it makes is what we can test.
   */
  @Test
  void trainingIsReproducible() throws IOException {
    Path first = folder.resolve("first.safetensors");
    Path second = folder.resolve("second.safetensors");
    PrintWriter log = new PrintWriter(new StringWriter());
    Demo.train(first, log, 2, 2);
    Demo.train(second, log, 2, 2);
    assertThat(Files.readAllBytes(first)).isEqualTo(Files.readAllBytes(second));
    try (Checkpoint trained = Checkpoint.open(first)) {
      assertThat(trained.floats("shapes.embeddings.class_embedding"))
          .isNotEqualTo(trained.floats("base.embeddings.class_embedding"));
    }
  }
}
