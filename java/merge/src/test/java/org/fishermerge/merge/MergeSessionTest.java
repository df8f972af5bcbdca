package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.testkit.EmulatedDevice;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class MergeSessionTest {
  private static final int[] COUNTS = {1, 70_001, 33, 30_000};
  private static final DType[] DTYPES = {DType.F32, DType.BF16, DType.F16};
  private static final double[][] COEFFICIENTS = {{1, 1, 1}, {0.2, 0.7, 0.1}, {3, 0.5, 2}};

  @TempDir Path folder;

  private final List<Path> models = new ArrayList<>();
  private final List<Path> fishers = new ArrayList<>();
  private Path base = Path.of("");

  /** The last tensor is only the base's. */
  @BeforeEach
  void write() {
    Random random = new Random(3);
    base = write("base", DTYPES, COUNTS.length + 1, random);
    for (int i = 0; i < 3; i++) {
      models.add(write("m" + i, new DType[] {DTYPES[i]}, COUNTS.length, random));
      fishers.add(write("f" + i, new DType[] {DType.F32}, COUNTS.length, random));
    }
    System.setProperty(KernelOptions.CUDA_SLOT_BYTES, Long.toString(1 << 20));
  }

  @AfterEach
  void usualSlots() {
    System.clearProperty(KernelOptions.CUDA_SLOT_BYTES);
  }

  private Path write(String name, DType[] dtypes, int tensors, Random random) {
    Map<String, TestTensors.Data> data = new LinkedHashMap<>();
    for (int k = 0; k < tensors; k++) {
      int count = COUNTS[k % COUNTS.length];
      data.put(
          "t" + k,
          TestTensors.of(dtypes[k % dtypes.length], random.doubles(count, 1e-3, 1).toArray()));
    }
    return TestTensors.write(folder.resolve(name + ".safetensors"), data);
  }

  private MergeRequest.Builder request(String output, MergeRule rule, double... coefficients) {
    MergeRequest.Builder request =
        MergeRequest.builder(base, folder.resolve(output + ".safetensors"), rule).overwrite(true);
    for (int i = 0; i < models.size(); i++) {
      Path fisher = fishers.get(i);
      request.model(
          new MergeSource(
              models.get(i),
              rule.statistics().stream().findFirst().map(kind -> fisher),
              coefficients[i]));
    }
    return request;
  }

  private static Kernels kernels(String provider) {
    return Kernels.open(new KernelOptions(provider, "auto", Optional.of(provider), 2));
  }

  private static byte[] result(MergePlan plan) throws IOException {
    return Files.readAllBytes(plan.request().output());
  }

  private static byte[] alone(MergeRequest.Builder request) throws IOException {
    try (MergeSession session = MergeSession.open(request.build());
        Kernels cpu = kernels("cpu")) {
      session.run(cpu, ProgressListener.NONE);
      return result(session.plan());
    }
  }

  /** Of three models, whose values take 4, 2 and 2 bytes. */
  private static long mergedBytes(boolean withFishers) {
    return Arrays.stream(COUNTS).sum() * (withFishers ? 20L : 8L);
  }

  @ParameterizedTest
  @CsvSource({"cpu, true", "cuda, true", "cuda, false"})
  void mergesAsEachPlanByItself(String provider, boolean withFishers) throws IOException {
    MergeRule rule = withFishers ? DiagonalFisher.DEFAULT : new Average();
    MergeRule another = withFishers ? new DiagonalFisher(Normalization.NONE, 1e-3) : new Average();
    List<MergeRequest.Builder> requests = new ArrayList<>();
    for (double[] coefficients : COEFFICIENTS) {
      requests.add(request("out", rule, coefficients));
    }
    requests.add(request("out", another, COEFFICIENTS[1]).exclude("t1").outputDtype(DType.BF16));
    List<byte[]> expected = new ArrayList<>();
    for (MergeRequest.Builder request : requests) {
      expected.add(alone(request));
    }
    boolean onGpu = provider.equals("cuda");
    try (Kernels kernels = kernels(provider);
        EmulatedDevice device = onGpu ? new EmulatedDevice() : null;
        MergeSession session = MergeSession.open(requests.getFirst().build());
        Merger merger = session.merger(kernels)) {
      assertThat(merger.describeInputs())
          .isEqualTo(
              onGpu
                  ? "0.0 GB of inputs stay in the GPU's memory once sent"
                  : "inputs are read where they are");
      for (int k = 0; k < requests.size(); k++) {
        MergePlan plan = session.plan(requests.get(k).build());
        List<Long> progress = new ArrayList<>();
        MergeResult result = merger.run(plan, (done, total) -> progress.add(done));
        assertThat(Arrays.mismatch(result(plan), expected.get(k))).as("merge %d", k).isEqualTo(-1);
        assertThat(result.output()).isEqualTo(plan.request().output());
        assertThat(progress).isSorted().last().isEqualTo(plan.bytesRead());
        if (device != null) {
          assertThat(device.bytesSent()).as("merge %d", k).isEqualTo(mergedBytes(withFishers));
        }
      }
    }
  }

  /** A rule that needs no statistic leaves the session's unread. */
  @Test
  void otherRulesInASessionWithFishersIgnoreThem() throws IOException {
    for (MergeRule rule : List.of(new Average(), new TaskArithmetic(0.5))) {
      mergesInASessionWithFishers(rule);
    }
  }

  private void mergesInASessionWithFishers(MergeRule rule) throws IOException {
    MergeRequest request = request("out", rule, COEFFICIENTS[1]).build();
    byte[] expected = alone(request("out", rule, COEFFICIENTS[1]));
    long bytes = Merging.plan(request).bytesRead();
    try (Kernels kernels = kernels("cpu");
        MergeSession session =
            MergeSession.open(request("out", DiagonalFisher.DEFAULT, COEFFICIENTS[0]).build());
        Merger merger = session.merger(kernels)) {
      MergePlan plan = session.plan(request);
      merger.run(plan, ProgressListener.NONE);
      assertThat(Arrays.mismatch(result(plan), expected)).isEqualTo(-1);
      assertThat(plan.bytesRead()).isEqualTo(bytes);
    }
  }

  /** Another plan may merge what the first one does not. */
  @Test
  void whatDoesNotFitOrIsNotHeldIsSentEachTime() throws IOException {
    MergeRequest whole = request("out", DiagonalFisher.DEFAULT, COEFFICIENTS[1]).build();
    MergeRequest few =
        request("few", DiagonalFisher.DEFAULT, COEFFICIENTS[1]).exclude("t1").build();
    byte[] expected = alone(request("out", DiagonalFisher.DEFAULT, COEFFICIENTS[1]));
    long all = mergedBytes(true);
    try (Kernels kernels = kernels("cuda");
        EmulatedDevice device = new EmulatedDevice()) {
      try (MergeSession session = MergeSession.open(few);
          Merger merger = session.merger(kernels)) {
        MergePlan plan = session.plan(whole);
        long[] sent = {all, all + 20L * COUNTS[1]};
        for (long each : sent) {
          merger.run(plan, ProgressListener.NONE);
          assertThat(Arrays.mismatch(result(plan), expected)).isEqualTo(-1);
          assertThat(device.bytesSent()).isBetween(each, each + 100 * 256);
        }
      }
      device.setMemory(4 << 20);
      long before = device.bytesSent();
      try (MergeSession session = MergeSession.open(whole);
          Merger merger = session.merger(kernels)) {
        assertThat(merger.describeInputs()).contains("are sent to the GPU each time");
        for (int k = 1; k <= 2; k++) {
          merger.run(session.plan(), ProgressListener.NONE);
          assertThat(Arrays.mismatch(result(session.plan()), expected)).isEqualTo(-1);
          assertThat(device.bytesSent() - before).isGreaterThanOrEqualTo(k * all);
        }
      }
    }
  }

  @Test
  void otherFilesAreRefused() {
    MergeRequest own = request("out", DiagonalFisher.DEFAULT, COEFFICIENTS[0]).build();
    List<MergeRequest> others = new ArrayList<>();
    others.add(
        MergeRequest.builder(base, folder.resolve("other.safetensors"), DiagonalFisher.DEFAULT)
            .model(models.get(0), fishers.get(0))
            .model(models.get(1), fishers.get(1))
            .build());
    Collections.swap(models, 0, 1);
    others.add(request("other", DiagonalFisher.DEFAULT, COEFFICIENTS[0]).build());
    others.add(request("other", new Average(), COEFFICIENTS[0]).build());
    Collections.swap(models, 0, 1);
    base = models.get(0);
    others.add(request("other", DiagonalFisher.DEFAULT, COEFFICIENTS[0]).build());
    try (Kernels kernels = kernels("cpu");
        MergeSession session = MergeSession.open(own);
        Merger merger = session.merger(kernels)) {
      for (MergeRequest other : others) {
        assertThatThrownBy(() -> session.plan(other))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageStartingWith("the request has other inputs than the session: [MergeSource");
        MergePlan planOfOther = Merging.plan(other);
        assertThatThrownBy(() -> merger.run(planOfOther, ProgressListener.NONE))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageStartingWith("the request has other inputs than the session: [MergeSource");
      }
    }
    assertThat(folder.resolve("other.safetensors")).doesNotExist();
  }

  /** Whether it is planned before or after that. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void anInputThatChangesBetweenMergesIsNamed(boolean plannedBefore) throws IOException {
    MergeRequest request = request("out", DiagonalFisher.DEFAULT, COEFFICIENTS[0]).build();
    Path changed = fishers.get(1);
    try (Kernels kernels = kernels("cpu");
        MergeSession session = MergeSession.open(request);
        Merger merger = session.merger(kernels)) {
      merger.run(session.plan(), ProgressListener.NONE);
      Files.delete(request.output());
      Files.setLastModifiedTime(changed, FileTime.fromMillis(1_000_000));
      MergeRequest next = request("out", DiagonalFisher.DEFAULT, COEFFICIENTS[1]).build();
      assertThatThrownBy(() ->
              merger.run(
                  plannedBefore ? session.plan() : session.plan(next), ProgressListener.NONE))
          .isInstanceOf(InputException.class)
          .hasMessage(
              "%s has changed since %s was planned; nothing was written. Merge again.",
              changed, plannedBefore ? "the merge" : "the first of these merges");
    }
    assertThat(request.output()).doesNotExist();
  }
}
