package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.testkit.Golden;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Commands that are killed at random moments, again and again, in processes of their own: nothing
 * partial is ever under the output's name, the same command goes on from what was saved, and ends
 * with the bits of a run that nobody disturbed. {@code -Dfishermerge.kills=N} sets how often. What
 * nobody kills runs in this JVM, which has started already.
 */
final class KilledCommandsIT {
  private static final int KILLS = Integer.getInteger("fishermerge.kills", 2);
  private static final long SEED = Long.getLong("fishermerge.seed", System.nanoTime() % 1_000_000);
  private static final int EXAMPLES = 60;

  /** Inputs, and an estimate that nobody disturbed. */
  @TempDir static Path shared;

  @TempDir Path folder;

  private final Random random = new Random(SEED);
  private Path out = Path.of("");
  private Path errors = Path.of("");

  @BeforeEach
  void outputs() throws IOException {
    System.out.println("KilledCommandsIT: seed " + SEED + ", kills " + KILLS);
    out = Files.createDirectory(place()).resolve("result.safetensors");
    errors = folder.resolve("errors.txt");
  }

  /** The folder of the output. */
  private Path place() {
    return folder.resolve("outputs");
  }

  // ---- commands ----

  /** Of pictures: 15 batches, saved after each. */
  private static List<String> picturesFisher(Path output) {
    Path data = shared.resolve("pictures.safetensors");
    if (!Files.exists(data)) {
      Tensor few =
          TestTensors.read(Golden.path("clip-tiny/expected.safetensors")).get("alpha.pixel_values");
      TestTensors.write(data, Map.of("pixel_values", repeated(few)));
    }
    return GoldenCommands.fisher(
        "alpha", data.toString(), output, "--labels", "sampled:2", "--batch-size", "4");
  }

  private static Path undisturbedFisher() {
    Path file = shared.resolve("undisturbed.safetensors");
    if (!Files.exists(file)) {
      runToTheEnd(picturesFisher(file));
    }
    return file;
  }

  /** What an estimate left that a signal ended: its exit code, its words, files, progress. */
  private record Stopped(int code, String said, List<String> files, byte[] progress) {}

  private static @Nullable Stopped stopped;

  /** By SIGINT's and SIGTERM's common way; SIGTERM is what a process can send here. */
  private Stopped stopped() throws Exception {
    if (stopped == null) {
      Process process = start(picturesFisher(out));
      while (process.isAlive() && !Files.exists(progress(out))) {
        Thread.sleep(1);
      }
      process.destroy();
      int code = process.waitFor();
      List<String> files = names(place());
      stopped = new Stopped(code, said(), files, Files.readAllBytes(progress(out)));
      Files.delete(progress(out));
    }
    return stopped;
  }

  private static List<String> names(Path of) throws IOException {
    try (Stream<Path> files = Files.list(of)) {
      return files.map(file -> file.getFileName().toString()).toList();
    }
  }

  /** Each with noise of its own, so that every example adds something else. */
  private static Tensor repeated(Tensor few) {
    Random noise = new Random(1);
    int size = few.floats().length / Math.toIntExact(few.shape().getFirst());
    List<Long> shape = new ArrayList<>(few.shape());
    shape.set(0, (long) EXAMPLES);
    float[] values = new float[EXAMPLES * size];
    for (int i = 0; i < values.length; i++) {
      values[i] = few.floats()[i % few.floats().length] + (float) noise.nextGaussian();
    }
    return Tensor.of(shape, values);
  }

  /** Of models large enough to be met at work. */
  private List<String> merge(Path output) {
    List<String> command = new ArrayList<>(List.of("merge", "--out", output.toString()));
    for (String name : List.of("base", "m1", "f1", "m2", "f2")) {
      Path file = folder.resolve(name + ".safetensors");
      if (!Files.exists(file)) {
        Random values = new Random(name.hashCode());
        float[] weights = new float[4 << 20];
        IntStream.range(0, weights.length).forEach(j -> weights[j] = values.nextFloat());
        TestTensors.write(file, Map.of("w", Tensor.of(List.of((long) weights.length), weights)));
      }
      String option =
          name.equals("base") ? "--base" : name.startsWith("m") ? "--model" : "--fisher";
      command.addAll(List.of(option, file.toString()));
    }
    return command;
  }

  // ---- killing ----

  /** In a process of its own, which saves its progress after each batch. */
  private Process start(List<String> command) throws IOException {
    List<String> line = CommandProcess.java("-Dfishermerge.save-seconds=0");
    line.addAll(command);
    return new ProcessBuilder(line)
        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
        .redirectError(errors.toFile())
        .start();
  }

  private String said() throws IOException {
    return Files.readString(errors, StandardCharsets.UTF_8);
  }

  /** Kills a run at a moment after it has written its first, until after its end. */
  private void kill(List<String> command, Path folder, int whole) throws Exception {
    long before = files(folder);
    Process process = start(command);
    while (process.isAlive() && files(folder) == before) {
      Thread.sleep(10);
    }
    process.waitFor(random.nextInt(whole), TimeUnit.MILLISECONDS);
    process.destroyForcibly().waitFor();
  }

  private static long files(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      return 0;
    }
    try (Stream<Path> files = Files.walk(folder)) {
      return files.count();
    } catch (UncheckedIOException e) {
      return -1; // one was moved just now
    }
  }

  /** Returns how many milliseconds it takes in this JVM. */
  private static int timed(List<String> command) {
    long start = System.nanoTime();
    runToTheEnd(command);
    return Math.toIntExact(TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start)) + 1;
  }

  /** Returns what it said. */
  private static String runToTheEnd(List<String> command) {
    CommandResult result = CommandResult.run(command);
    assertThat(result.code()).as("seed %d: %s", SEED, result.err()).isZero();
    return result.err();
  }

  private Path progress(Path output) {
    return output.resolveSibling(output.getFileName() + ".progress");
  }

  private void requireNothingPartial(Path undisturbed) throws IOException {
    if (Files.exists(out)) {
      assertThat(Files.mismatch(out, undisturbed)).as("seed %d", SEED).isEqualTo(-1);
    }
  }

  private void requireOnlyTheResult(Path undisturbed) throws IOException {
    assertThat(Files.mismatch(out, undisturbed)).as("seed %d", SEED).isEqualTo(-1);
    try (Stream<Path> files = Files.list(out.getParent())) {
      assertThat(files).as("seed %d", SEED).containsExactly(out);
    }
  }

  @Test
  void anEstimateGoesOnToTheSameBits() throws Exception {
    Path undisturbed = undisturbedFisher();
    List<String> command = picturesFisher(out);
    int resumed = 0;
    for (int kill = 0; kill < KILLS; kill++) {
      Process process = start(command);
      // Something new is saved before it is killed, so that it gets on; when exactly is chance.
      byte[] before = Files.exists(progress(out)) ? Files.readAllBytes(progress(out)) : new byte[0];
      long patience = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
      while (process.isAlive() && System.nanoTime() < patience && !savedAnew(before)) {
        Thread.sleep(1);
      }
      Thread.sleep(random.nextInt(60));
      process.destroyForcibly().waitFor();
      resumed += said().contains("going on from") ? 1 : 0;
      requireNothingPartial(undisturbed);
      if (Files.exists(out)) {
        Files.delete(out);
      }
    }
    runToTheEnd(command);
    assertThat(resumed).as("seed %d: runs that went on", SEED).isPositive();
    requireOnlyTheResult(undisturbed);
  }

  private boolean savedAnew(byte[] before) throws IOException {
    return Files.exists(progress(out)) && !Arrays.equals(Files.readAllBytes(progress(out)), before);
  }

  @Test
  void aMergeIsThereWholeOrNotAtAll() throws Exception {
    Path undisturbed = folder.resolve("undisturbed.safetensors");
    int whole = timed(merge(undisturbed));
    for (int kill = 0; kill < KILLS; kill++) {
      kill(merge(out), place(), whole);
      requireNothingPartial(undisturbed);
      Files.deleteIfExists(out);
    }
    runToTheEnd(merge(out));
    requireOnlyTheResult(undisturbed);
  }

  /** Fishers of eight models, their merge, and its accuracies on eight tasks. */
  @Test
  void aConfiguredRunGoesOnFromItsFishers() throws Exception {
    Path repositories = folder.resolve("repositories");
    new TestRepositories(folder).write();
    Files.createDirectories(repositories);
    TestRepositories.link(folder.resolve("models"), repositories);
    TestRepositories.link(folder.resolve("datasets"), repositories);
    Path undisturbed = folder.resolve("undisturbed");
    int whole = timed(configured(repositories, undisturbed));

    Path disturbed = folder.resolve("disturbed");
    for (int kill = 0; kill < Math.ceilDiv(KILLS, 3); kill++) {
      kill(configured(repositories, disturbed), disturbed, whole);
      for (String result : List.of("merged/model.safetensors", "report.json")) {
        if (Files.exists(disturbed.resolve(result))) {
          assertSame(result, undisturbed, disturbed);
          deleteRecursively(disturbed.resolve(result.replaceAll("/.*", "")));
        }
      }
    }
    runToTheEnd(configured(repositories, disturbed));
    for (String result : List.of("merged/model.safetensors", "report.json")) {
      assertSame(result, undisturbed, disturbed);
    }
    try (Stream<Path> files = Files.walk(disturbed)) {
      assertThat(files.map(file -> file.getFileName().toString()))
          .as("seed %d", SEED)
          .noneMatch(name -> name.startsWith(".fisher-merge") || name.endsWith(".progress"));
    }
  }

  private static List<String> configured(Path repositories, Path to) {
    return List.of(
        "method=fisher_merging/clip_fisher_merging",
        "modelpool=CLIPVisionModelPool/clip-vit-base-patch32_TA8",
        "taskpool=CLIPVisionModelTaskPool/clip-vit-classification_TA8",
        "--hub-dir",
        repositories.toString(),
        "path.root_dir=" + to,
        "merged_model_save_path=" + to.resolve("merged"),
        "report_save_path=" + to.resolve("report.json"));
  }

  /** The bytes of a model; of a report what was measured, without paths and times. */
  private static void assertSame(String result, Path undisturbed, Path disturbed)
      throws IOException {
    Path a = undisturbed.resolve(result);
    Path b = disturbed.resolve(result);
    if (!result.endsWith(".json")) {
      assertThat(Files.mismatch(a, b)).as("seed %d", SEED).isEqualTo(-1);
      return;
    }
    assertThat(measured(b)).as("seed %d", SEED).isEqualTo(measured(a)).hasSize(9);
  }

  private static Map<String, String> measured(Path report) throws IOException {
    JsonNode all = new JsonMapper().readTree(report.toFile());
    Map<String, String> accuracies = new TreeMap<>();
    for (String task : TestRepositories.CLIP_TASKS) {
      accuracies.put(task, all.path(task).toString());
    }
    accuracies.put("average", all.path("average").toString());
    return accuracies;
  }

  private static void deleteRecursively(Path path) throws IOException {
    try (Stream<Path> files = Files.walk(path)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }

  @Test
  void aSignalLeavesOnlyWhatIsGoneOnFrom() throws Exception {
    Path undisturbed = undisturbedFisher();
    Stopped left = stopped();
    assertThat(left.code).isEqualTo(143); // 128 + SIGTERM
    assertThat(left.said.lines().filter(line -> line.startsWith("fisher-merge")))
        .as(left.said)
        .containsExactly(
            "fisher-merge: stopped; nothing half-written is left. The same command goes on from"
                + " what is finished.");
    assertThat(left.files).containsExactly(String.valueOf(progress(out).getFileName()));
    Files.write(progress(out), left.progress);
    assertThat(runToTheEnd(picturesFisher(out))).contains("going on from");
    requireOnlyTheResult(undisturbed);
  }

  /** A damaged or foreign progress file costs time, no more. */
  @ParameterizedTest
  @ValueSource(strings = {"flipped", "truncated", "foreign"})
  void progressThatIsNoneStartsAnew(String damage) throws Exception {
    byte[] saved = stopped().progress.clone();
    Path undisturbed = undisturbedFisher();
    List<String> command = picturesFisher(out);
    switch (damage) {
      case "flipped" -> saved[saved.length - 100] ^= 1;
      case "truncated" -> saved = Arrays.copyOf(saved, saved.length / 2);
      default -> {
        assertThat(damage).isEqualTo("foreign");
        List<String> seed = List.of("--seed", "7");
        command.addAll(seed);
        undisturbed = folder.resolve("undisturbed.safetensors");
        List<String> alone = picturesFisher(undisturbed);
        alone.addAll(seed);
        runToTheEnd(alone);
      }
    }
    Files.write(progress(out), saved);
    String said = runToTheEnd(command);
    String expected =
        switch (damage) {
          case "flipped" -> "is damaged; starting from the first example";
          case "foreign" -> "is the progress of another run; starting from the first example";
          default -> "";
        };
    assertThat(said).contains(expected).doesNotContain("going on from");
    requireOnlyTheResult(undisturbed);
  }
}
