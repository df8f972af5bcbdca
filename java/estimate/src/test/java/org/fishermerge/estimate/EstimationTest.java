package org.fishermerge.estimate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.function.Consumer;
import org.assertj.core.data.Offset;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.testkit.Golden;
import org.fishermerge.testkit.ReadmeExample;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.Precision;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

final class EstimationTest {
  private static final Path CLIP = Golden.path("clip-tiny/pretrained");
  private static final Path MODEL = Golden.path("clip-tiny/alpha");
  private static final String CLASSES = Golden.path("clip-tiny/tasks.json") + ":alpha";
  private static final Path EXPECTED = Golden.path("clip-tiny/expected.safetensors");
  private static final String DATA = EXPECTED + "#alpha.";

  @TempDir Path folder;
  private boolean interrupted;

  private static Estimation.Builder estimation() {
    return Estimation.of(TestModels.alpha(DATA)).batchSize(2);
  }

  @Test
  void theReadmesExampleEstimatesWhatAutogradDoes() {
    String lines =
        ReadmeExample.quoted("src/test/java/org/fishermerge/estimate/EstimationExample.java");
    assertThat(lines.lines().count()).isLessThanOrEqualTo(15);

    Path out = folder.resolve("alpha.safetensors");
    Estimation.Result result = EstimationExample.run(MODEL, CLIP, CLASSES, DATA, out);
    assertThat(result.examples()).isEqualTo(6);
    String name = "post_layernorm.weight";
    try (SafetensorsFile written = SafetensorsFile.open(out);
        SafetensorsFile expected = SafetensorsFile.open(EXPECTED)) {
      float[] sums = written.segment(name).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
      float[] means =
          expected
              .segment("alpha.fisher.exact.vision_model." + name)
              .toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
      float largest = 0;
      for (float mean : means) {
        largest = Math.max(largest, mean);
      }
      for (int j = 0; j < means.length; j++) {
        assertThat(sums[j] / 6.0).isCloseTo(means[j], within(1e-4 * largest));
      }
    }
  }

  private static Offset<Double> within(double value) {
    return Offset.offset(value);
  }

  @ParameterizedTest
  @EnumSource(StatisticKind.class)
  void aCancelledEstimationGoesOnToTheSameBits(StatisticKind kind) {
    goesOnToTheSameBits(kind, Estimation::cancel);
  }

  @Test
  void anInterruptedEstimationGoesOnToTheSameBits() {
    goesOnToTheSameBits(
        StatisticKind.DIAGONAL_FISHER, estimation -> Thread.currentThread().interrupt());
    assertThat(interrupted).as("the thread stays interrupted").isTrue();
  }

  private void goesOnToTheSameBits(StatisticKind kind, Consumer<Estimation> stop) {
    Path whole = folder.resolve("whole.safetensors");
    estimation().statistics(kind).output(whole).build().run();

    Path out = folder.resolve("stopped.safetensors");
    List<Long> done = new ArrayList<>();
    Estimation[] running = new Estimation[1];
    running[0] =
        estimation()
            .statistics(kind)
            .output(out)
            .listener(
                new EstimationListener() {
                  @Override
                  public void advanced(long examples) {
                    done.add(examples);
                    stop.accept(running[0]);
                  }
                })
            .build();
    assertThatThrownBy(running[0]::run).isInstanceOf(CancellationException.class);
    interrupted = Thread.interrupted();
    assertThat(done).containsExactly(2L);
    assertThat(out).doesNotExist();
    Path progress = folder.resolve("stopped.safetensors.progress");
    assertThat(progress).exists();

    List<Long> resumed = new ArrayList<>();
    estimation()
        .statistics(kind)
        .output(out)
        .listener(
            new EstimationListener() {
              @Override
              public void resumed(long examples, long all, Path file) {
                resumed.add(examples);
              }
            })
        .build()
        .run();
    assertThat(resumed).containsExactly(2L);
    assertThat(progress).doesNotExist();
    assertThat(out).hasSameBinaryContentAs(whole);
  }

  private static EstimationSettings settings(String labels, String batchSize, boolean check) {
    return new EstimationSettings(
        Objective.parse(labels),
        null,
        ExampleCount.of(1),
        0,
        batchSize,
        32,
        check,
        Precision.FP32,
        Set.of(StatisticKind.DIAGONAL_FISHER),
        BadRows.USUAL,
        (setting, value) -> "settings." + setting + "=" + value);
  }

  /** This module knows neither options nor configurations. */
  @Test
  void messagesNameSettingsAsTheirUserWritesThem() {
    Estimation one =
        estimation()
            .settings(settings("exact", "auto", true))
            .output(folder.resolve("one.safetensors"))
            .build();
    assertThatThrownBy(one::run)
        .isInstanceOf(InputException.class)
        .hasMessageStartingWith("settings.check=: compares batch sizes");
    assertThatThrownBy(() -> settings("batch-square", "auto", true))
        .isInstanceOf(InputException.class)
        .hasMessageStartingWith("settings.check=: the estimate of settings.labels=batch-square");
    assertThatThrownBy(() -> settings("exact", "0", false))
        .isInstanceOf(InputException.class)
        .hasMessageStartingWith("settings.batch-size=0: expected a number");
  }

  @ParameterizedTest
  @CsvSource({"7, 7, 0", "auto, 16384, 0.1", "auto:2.5, 16384, 0.025"})
  void readsNumbersOfExamples(String text, long most, double error) {
    ExampleCount count = ExampleCount.parse(text, (setting, value) -> setting + " " + value);
    assertThat(count).isEqualTo(new ExampleCount(most, error));
    assertThat(ExampleCount.parse(count.text(), (setting, value) -> "")).isEqualTo(count);
  }

  @Test
  void partsDoNotKnowTheirError() {
    Estimation.Builder part =
        estimation()
            .examples(new ExampleCount(100, 0.1))
            .batchSize(2)
            .rows(0, 2)
            .output(folder.resolve("part.safetensors"));
    assertThatThrownBy(part::build)
        .isInstanceOf(InputException.class)
        .hasMessage(
            "examples auto:10: parts do not know each other's error; give a number of examples");
  }

  @Test
  void refusesAnOutputThatIsThere() throws IOException {
    Path out = Files.writeString(folder.resolve("there.safetensors"), "");
    assertThatThrownBy(() -> estimation().output(out).build().run())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("there.safetensors");
  }

  @Test
  void writesWhatItWasMadeWith() {
    Path out = folder.resolve("out.safetensors");
    estimation().labels("true").seed(3).examples(4).output(out).build().run();
    try (StatisticFile file = StatisticFile.open(out)) {
      assertThat(file.examples()).isEqualTo(4);
      assertThat(file.metadata().orElseThrow().labels()).isEqualTo("true");
      assertThat(file.metadata().orElseThrow().seed()).isEqualTo("3");
    }
  }
}
