package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Searches that are broken off and started again, against those that nobody disturbed. */
final class ResumedSearchTest {
  private static final String FOURTH_TRY = "    4  ";

  /** Of searches that nobody disturbed, by their options. */
  private static final Map<List<String>, Result> UNDISTURBED = new HashMap<>();

  @TempDir Path folder;

  private Path disturbed = Path.of("");

  @BeforeEach
  void outputs() throws IOException {
    disturbed = Files.createDirectory(folder.resolve("disturbed"));
  }

  /** Everything but times, which are different in any two runs. */
  private record Result(Map<String, byte[]> files, String report, List<String> out) {
    void isThatOf(Result other) {
      assertThat(files.keySet()).isEqualTo(other.files.keySet()).contains("model.safetensors");
      files.forEach((name, bytes) -> assertThat(bytes).as(name).isEqualTo(other.files.get(name)));
      assertThat(report).isEqualTo(other.report);
      assertThat(out).isEqualTo(other.out);
    }
  }

  private static List<String> line(Path to, String by, String... more) {
    List<String> line = new ArrayList<>(List.of("search", "--by", by));
    String base = FewWords.pretrained().toString();
    line.addAll(List.of("--base", base, "--clip", base, "--out", to.resolve("found").toString()));
    line.addAll(List.of("--report", to.resolve("report.json").toString(), "--overwrite"));
    for (String task : List.of("alpha", "beta", "gamma")) {
      String vectors = Golden.path("clip-tiny/expected.safetensors") + "#" + task + ".";
      line.addAll(List.of("--model", Golden.path("clip-tiny/" + task).toString()));
      line.addAll(List.of("--data", vectors, "--heads", vectors));
    }
    if (by.equals("accuracy")) {
      line.addAll(List.of("--examples", "3"));
    }
    if (by.equals("blend")) {
      line.addAll(List.of("--steps", "30", "--step-examples", "2", "--tries", "5"));
    }
    line.addAll(List.of(more));
    return line;
  }

  private static Result result(Path to, CommandResult run) throws IOException {
    assertThat(run.code()).as(run.err()).isZero();
    Map<String, byte[]> files = new TreeMap<>();
    try (Stream<Path> written = Files.list(to.resolve("found"))) {
      for (Path file : written.toList()) {
        files.put(file.getFileName().toString(), Files.readAllBytes(file));
      }
    }
    ObjectNode report = (ObjectNode) new JsonMapper().readTree(to.resolve("report.json").toFile());
    report.remove("fisher_merge");
    List<String> out =
        run.out().lines().filter(each -> !each.contains(to.resolve("found") + ":")).toList();
    return new Result(files, report.toString(), out);
  }

  private Result undisturbed(String by, String... more) throws IOException {
    List<String> options = Stream.concat(Stream.of(by), Stream.of(more)).toList();
    Result known = UNDISTURBED.get(options);
    if (known != null) {
      return known;
    }
    Path to = Files.createDirectory(folder.resolve("undisturbed"));
    Result result = result(to, CommandResult.run(line(to, by, more)));
    assertThat(names(to)).containsExactlyInAnyOrder("found", "report.json");
    UNDISTURBED.put(options, result);
    return result;
  }

  private static List<String> names(Path of) throws IOException {
    try (Stream<Path> files = Files.list(of)) {
      return files.map(file -> file.getFileName().toString()).toList();
    }
  }

  private Path progress() {
    return disturbed.resolve("found.progress");
  }

  @ParameterizedTest
  @CsvSource({
    "accuracy, '    4  '",
    "kl, '    4  '",
    "blend, '   10  '", // of its steps
    "blend, 'found: '",
  })
  void goesOnToTheSameBits(String by, String brokenOffAt) throws IOException {
    Result undisturbed = undisturbed(by);
    CommandResult.breakOff(line(disturbed, by), brokenOffAt);
    assertThat(names(disturbed)).containsExactly("found.progress");
    CommandResult again = CommandResult.run(line(disturbed, by));
    assertThat(again.err()).containsPattern("going on after [1-9]\\d* measurements");
    result(disturbed, again).isThatOf(undisturbed);
    assertThat(names(disturbed)).containsExactlyInAnyOrder("found", "report.json");
  }

  /** What was measured counts for any number of tries. */
  @Test
  void goesOnWithMoreTries() throws IOException {
    Result undisturbed = undisturbed("kl", "--tries", "8");
    CommandResult.breakOff(line(disturbed, "kl", "--tries", "5"), FOURTH_TRY);
    CommandResult again = CommandResult.run(line(disturbed, "kl", "--tries", "8"));
    assertThat(again.err()).contains("going on after 4 measurements and 1 merges");
    result(disturbed, again).isThatOf(undisturbed);
  }

  @ParameterizedTest
  @ValueSource(strings = {"--seed=1", "--exclude=.*mlp"})
  void progressOfAnotherSearchIsNotUsed(String other) throws IOException {
    Result undisturbed = undisturbed("kl", "--tries", "5");
    CommandResult.breakOff(line(disturbed, "kl", "--tries", "5", other), FOURTH_TRY);
    CommandResult again = CommandResult.run(line(disturbed, "kl", "--tries", "5"));
    assertThat(again.err())
        .contains("found.progress is the progress of another search; starting from the first try")
        .doesNotContain("going on");
    result(disturbed, again).isThatOf(undisturbed);
  }

  @ParameterizedTest
  @ValueSource(strings = {"digit", "merge"})
  void damagedProgressCostsTimeOnly(String damage) throws IOException {
    Result undisturbed = undisturbed("kl", "--tries", "5");
    CommandResult.breakOff(line(disturbed, "kl", "--tries", "5"), FOURTH_TRY);
    Path file = progress().resolve("progress.txt");
    switch (damage) {
      case "digit" ->
          Files.writeString(file, Files.readString(file).replaceFirst("\\[0\\.\\d", "[0.5"));
      default -> {
        try (Stream<Path> all = Files.walk(progress())) {
          Path merge =
              all.filter(each -> each.endsWith("model.safetensors")).findAny().orElseThrow();
          byte[] bytes = Files.readAllBytes(merge);
          bytes[bytes.length - 2] ^= 1;
          Files.write(merge, bytes);
        }
      }
    }
    CommandResult again = CommandResult.run(line(disturbed, "kl", "--tries", "5"));
    assertThat(again.err())
        .contains(
            damage.equals("merge")
                ? "is damaged; merging it again"
                : "found.progress is damaged; starting from the first try");
    result(disturbed, again).isThatOf(undisturbed);
  }

  @Test
  void aModelThatWasChangedIsNoticed() throws IOException {
    Path changed = Files.createDirectory(folder.resolve("changed"));
    Path golden = Golden.path("clip-tiny/alpha");
    for (String name : names(golden)) {
      Files.copy(golden.resolve(name), changed.resolve(name));
    }
    List<String> line = line(disturbed, "accuracy");
    line.set(line.indexOf(golden.toString()), changed.toString());
    CommandResult.breakOff(line, FOURTH_TRY);
    Path weights = changed.resolve("model.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    bytes[bytes.length - 4] ^= 1; // the last bit of the last value
    Files.write(weights, bytes);
    CommandResult again = CommandResult.run(line);
    assertThat(again.err()).contains("is the progress of another search");
    assertThat(again.code()).isZero();
  }
}
