package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.kernels.Kernels;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A merge whose thread is interrupted ends as cancelled, and leaves what was there. */
final class InterruptionTest {
  private static final int TENSORS = 6;

  @TempDir Path folder;
  private Path base;
  private Path one;
  private Path two;
  private Path out;

  @BeforeEach
  void writeModels() {
    base = model("base", 0);
    one = model("one", 1);
    two = model("two", 2);
    out = folder.resolve("results").resolve("merged.safetensors");
  }

  private Path model(String name, int value) {
    Map<String, TestTensors.Data> tensors = new LinkedHashMap<>();
    for (int k = 0; k < TENSORS; k++) {
      tensors.put("t" + k, TestTensors.f32(value + k, 2.0 * value));
    }
    return TestTensors.write(folder.resolve(name + ".safetensors"), tensors);
  }

  @AfterEach
  void clearStatus() {
    assertThat(Thread.interrupted()).as("the thread is still interrupted").isTrue();
  }

  static List<MergeRule> rules() {
    return List.of(
        new Average(),
        new TaskArithmetic(0.5),
        new DiagonalFisher(Normalization.NONE, 1e-6),
        new Slerp(TensorSetting.of(0.25)));
  }

  private MergeRequest request(MergeRule rule) {
    MergeRequest.Builder request = MergeRequest.builder(base, out, rule);
    boolean fisher = rule instanceof DiagonalFisher;
    return request
        .model(fisher ? MergeSource.of(one, one) : MergeSource.of(one))
        .model(fisher ? MergeSource.of(two, two) : MergeSource.of(two))
        .build();
  }

  @ParameterizedTest
  @MethodSource("rules")
  void endsAtTheNextStepAndLeavesNothing(MergeRule rule) throws IOException {
    List<Long> steps = new ArrayList<>();
    try (Kernels kernels = Kernels.open()) {
      assertThatThrownBy(() ->
              Merging.run(
                  request(rule),
                  kernels,
                  (done, total) -> {
                    steps.add(done);
                    Thread.currentThread().interrupt();
                  }))
          .isInstanceOf(CancellationException.class);
    }
    assertThat(steps).hasSize(1);
    assertNothingNew();
  }

  private void assertNothingNew() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files).containsExactlyInAnyOrder(base, one, two);
    }
  }

  @Test
  void anInterruptedThreadStartsNothing() throws IOException {
    Thread.currentThread().interrupt();
    assertThatThrownBy(() -> MergeSession.open(request(new Average())))
        .isInstanceOf(CancellationException.class)
        .hasMessageContaining("interrupted while reading");
    Thread.interrupted();
    assertNothingNew();
    Thread.currentThread().interrupt();
  }

  /** Whether it then has time to end or not, there is a whole output or none. */
  @Test
  void afterTheLastStepThereIsAllOrNothing() throws IOException {
    try (Kernels kernels = Kernels.open();
        MergeSession session = MergeSession.open(request(new Average()))) {
      long all = session.plan().bytesRead();
      assertThatThrownBy(() ->
              session.run(
                  kernels,
                  (done, total) -> {
                    if (done == all) {
                      Thread.currentThread().interrupt();
                    }
                  }))
          .isInstanceOf(CancellationException.class);
    }
    assertNothingNew();
  }

  @Test
  void anOutputThatIsReadyIsPutInItsPlace() throws IOException {
    Files.createDirectories(out.getParent());
    try (AtomicOutput output = AtomicOutput.file(out, false)) {
      Files.writeString(output.temp(), "ready");
      Thread.currentThread().interrupt();
      output.commit();
    }
    assertThat(Thread.currentThread().isInterrupted()).isTrue();
    assertThat(out).exists();
  }
}
