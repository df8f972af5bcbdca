package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Command lines, environments and files as people who come from Python and Hydra have them. */
final class PythonHabitsTest {
  private static final String GOLDEN = Golden.path("clip-tiny").toString();

  @TempDir Path folder;

  // ---- case 19: Hydra ----

  @Test
  void aConfigurationsNameMayHaveItsSuffix() {
    String printed =
        CommandResult.run("--config-name", "fabric_model_fusion.yaml", "--cfg", "job")
            .succeeds()
            .out();
    assertThat(printed).isEqualTo(CommandResult.run("--cfg", "job").succeeds().out());
    for (List<String> line :
        List.of(
            List.of("-cn=fabric_model_fusion.yaml", "-c=job"),
            List.of("-cn", "fabric_model_fusion", "-c", "job"),
            List.of("--config-name=fabric_model_fusion", "--cfg=job", "-p", "_global_"))) {
      assertThat(CommandResult.run(line).succeeds().out()).as(line.toString()).isEqualTo(printed);
    }
    assertThat(
            CommandResult.run("-cn", "fabric_model_fusion.yaml", "-c", "job", "-p", "seed")
                .succeeds()
                .out())
        .isEqualTo("null\n");
  }

  @Test
  void wordsOfYaml11AreBooleansAndNumbers() {
    Path config = Cases.copy("case-19", folder).resolve("cfg");
    String printed =
        CommandResult.run(
                "--config-dir",
                config.toString(),
                "method=mine.yaml",
                "dry_run=true",
                "print_config=false")
            .succeeds()
            .out();
    assertThat(printed)
        .contains("normalize_fisher_weight: true\n", "num_fisher_examples: 1000\n", "dry_run");
  }

  /** A shell runs the loop that the message gives. */
  @Test
  void aSweepIsRefusedWithALoopThatDoesIt() throws Exception {
    CommandResult refused =
        CommandResult.run(
                "-m",
                "method=task_arithmetic",
                "method.scaling_factor=0.1,0.3",
                "seed=choice(1, 2)")
            .fails(1, "--multirun", "run once for each value");
    String loop = refused.err().substring(refused.err().indexOf("for v in")).strip();
    assertThat(loop)
        .isEqualTo(
            "for v in 0.1 0.3; do for v2 in 1 2; do fisher-merge method=task_arithmetic"
                + " \"method.scaling_factor=$v\" \"seed=$v2\"; done; done");
    Process shell =
        new ProcessBuilder("sh", "-c", loop.replace("fisher-merge", "echo"))
            .redirectErrorStream(true)
            .start();
    assertThat(shell.inputReader().lines())
        .containsExactly(
            "method=task_arithmetic method.scaling_factor=0.1 seed=1",
            "method=task_arithmetic method.scaling_factor=0.1 seed=2",
            "method=task_arithmetic method.scaling_factor=0.3 seed=1",
            "method=task_arithmetic method.scaling_factor=0.3 seed=2");
    assertThat(shell.waitFor()).isZero();
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "--multirun seed=1       | no override has several values ; leave it out",
        "seed=1,2                | a sweep ; for v in 1 2; do fisher-merge \"seed=$v\"; done",
        "method=dummy --info     | --info is of Hydra ; --cfg job",
        "--info defaults         | --info is of Hydra",
        "-i                      | --info is of Hydra",
        "--hydra-help            | --hydra-help ; fisher-merge run --help",
        "--cfg all               | --cfg all: expected job",
        "--cfg=hydra             | --cfg hydra: expected job",
        "-sc                     | --shell-completion",
        "--experimental-rerun x  | --experimental-rerun",
        "--config-name nothing.yaml --cfg job | nothing.yaml: no such configuration",
        "-cp /no/such/place --cfg job         | /no/such/place: no such folder",
      })
  void whatHydraHasAndThisProgramDoesNot(String line, String fragments) {
    CommandResult.run(line.strip().split(" ", -1)).fails(1, fragments.strip().split(" ; ", -1));
  }

  @ParameterizedTest
  @ValueSource(strings = {"method=dummy --resolve", "method=dummy --package seed"})
  void whatGoesWithCfgIsNotPassedOver(String line) {
    CommandResult.run(line.split(" ", -1)).fails(2, "goes with --cfg job");
    CommandResult.run("--run", "--cfg", "job").fails(2, "leave one of them out");
    assertThat(CommandResult.run("--run", "method=dummy", "dry_run=true").succeeds().out())
        .contains("# dry_run");
  }

  @Test
  void foldersOfConfigurations() throws IOException {
    Path one = Files.createDirectories(folder.resolve("one/method"));
    Path two = Files.createDirectories(folder.resolve("two/method"));
    Files.writeString(one.resolve("mine.yaml"), "_target_: one\n");
    Files.writeString(two.resolve("mine.yaml"), "_target_: two\n");
    Files.writeString(two.resolve("short.yml"), "_target_: three\n");
    Path link = Files.createSymbolicLink(folder.resolve("link"), folder.resolve("two"));
    List<String> both =
        List.of(
            "--config-dir",
            folder.resolve("one").toString(),
            "--config-path",
            link.toString(),
            "method=mine",
            "--cfg",
            "job",
            "-p",
            "method._target_");
    assertThat(CommandResult.run(both).succeeds().out()).isEqualTo("two\n");
    CommandResult.run("-cd", link.toString(), "method=short", "--cfg", "job")
        .fails(1, "method=short: no such option", "short.yml must end in .yaml");
  }

  // ---- case 21: HOME ----

  @Test
  void theCacheIsBelowHome() throws IOException {
    Path files = Cases.copy("case-21", folder);
    Path model = files.resolve("home/.cache/huggingface/hub/models--org--m");
    String commit = "2".repeat(40);
    Path snapshot = Files.createDirectories(model.resolve("snapshots").resolve(commit));
    Files.createDirectory(model.resolve("refs"));
    Files.writeString(model.resolve("refs/main"), commit);
    for (String name : List.of("config.json", "model.safetensors")) {
      Files.copy(Path.of(GOLDEN, "pretrained", name), snapshot.resolve(name));
    }
    List<String> line =
        List.of(
            "--config-dir",
            files.resolve("cfg").toString(),
            "method=dummy",
            "modelpool=mine",
            "taskpool=dummy",
            "print_config=false",
            "path.root_dir=" + folder);
    String home = files.resolve("home").toString();
    for (Map<String, String> environment :
        List.of(
            Map.of("HOME", home),
            Map.of("HOME", home + "/"),
            Map.of("HOME", "/nonexistent", "HF_HOME", home + "/.cache/huggingface"),
            Map.of("HOME", home, "HF_HOME", "~/.cache/huggingface"),
            Map.of("HOME", home, "XDG_CACHE_HOME", "~/.cache"),
            Map.of("HOME", home, "HF_HUB_CACHE", "~/.cache/huggingface/hub"),
            Map.of("HOME", home, "HF_HUB_CACHE", "$HOME/.cache/huggingface/hub"))) {
      CommandResult result = CommandResult.run(withOffline(environment), line);
      assertThat(result.code()).as(environment + ": " + result.err()).isZero();
    }
    CommandResult.run(withOffline(Map.of("HOME", folder.toString())), line)
        .fails(1, "is not in the cache");
  }

  private static Map<String, String> withOffline(Map<String, String> environment) {
    Map<String, String> all = new HashMap<>(environment);
    all.put("HF_HUB_OFFLINE", "1");
    return all;
  }

  // ---- case 22: NaN, and names of dtypes ----

  @Test
  void aConfigurationWithNaNIsLoaded() {
    Path files = Cases.copy("case-22", folder);
    CommandResult evaluated =
        CommandResult.run(
            "evaluate",
            "--model",
            files.resolve("model").toString(),
            "--clip",
            files.resolve("clip").toString(),
            "--heads",
            files.resolve("head.safetensors").toString(),
            "--data",
            files.resolve("data.safetensors").toString());
    assertThat(evaluated.code()).as(evaluated.err()).isZero();
    assertThat(evaluated.out()).contains("accuracy");
    // It is passed over, but not in silence.
    assertThat(evaluated.err().lines())
        .hasSize(2)
        .allSatisfy(line -> assertThat(line).startsWith("warning: ").contains("note"));
    CommandResult merged =
        CommandResult.run(
            "average",
            "--base",
            files.resolve("model").toString(),
            "--model",
            files.resolve("model").toString(),
            "--out",
            folder.resolve("out").toString(),
            "--dtype",
            "bfloat16");
    assertThat(merged.succeeds().out()).contains("merged from 1 model,");
    assertThat(folder.resolve("out/config.json")).content().contains("\"bfloat16\"", "NaN");
  }

  @ParameterizedTest
  @CsvSource({
    "float32, F32",
    "float, F32",
    "torch.float32, F32",
    "f32, F32",
    "FP32, F32",
    "float16, F16",
    "half, F16",
    "torch.half, F16",
    "fp16, F16",
    "bfloat16, BF16",
    "bf16, BF16",
    "torch.bfloat16, BF16",
    "float64, F64",
    "double, F64",
    "f64, F64"
  })
  void dtypesHaveTheNamesOfPyTorch(String name, String dtype) {
    assertThat(average("--dtype", name, "--dry-run").succeeds().out())
        .contains("output      " + dtype);
  }

  @ParameterizedTest
  @ValueSource(strings = {"int8", "float8_e4m3fn", "torch.", "auto", "bf", "float 16"})
  void otherDtypesAreRefused(String name) {
    average("--dtype", name).fails(1, "--dtype " + name, "float32, float16, bfloat16 or float64");
  }

  private CommandResult average(String... more) {
    List<String> line =
        new ArrayList<>(
            List.of(
                "average",
                "--base",
                GOLDEN + "/pretrained",
                "--model",
                GOLDEN + "/alpha",
                "--model",
                GOLDEN + "/gamma",
                "--out",
                folder.resolve("merged").toString()));
    line.addAll(List.of(more));
    return CommandResult.run(line);
  }

  // ---- case 15, and what else is checked before the work ----

  @Test
  void theLongestNameThatThereIs() throws IOException {
    Path files = Cases.copy("case-15", folder);
    for (String name :
        List.of("f".repeat(240) + ".safetensors", "é".repeat(120) + ".safetensors")) {
      assertThat(name.getBytes(StandardCharsets.UTF_8)).hasSizeBetween(247, 255);
      fisher(files, files.resolve(name)).succeeds();
      assertThat(files.resolve(name)).isRegularFile();
    }
    Path tooLong = files.resolve("f".repeat(245) + ".safetensors");
    fisher(files, tooLong).fails(1, "cannot be written", "File name too long");
    try (var left = Files.list(files)) {
      assertThat(left.map(file -> file.getFileName().toString()))
          .noneMatch(name -> name.endsWith(".progress") || name.startsWith(".fisher-merge"));
    }
  }

  private static CommandResult fisher(Path files, Path out, String... more) {
    List<String> line =
        new ArrayList<>(
            List.of(
                "fisher",
                "--model",
                files.resolve("alpha").toString(),
                "--clip",
                files.resolve("clip").toString(),
                "--heads",
                files.resolve("head.safetensors").toString(),
                "--data",
                files.resolve("data.safetensors").toString(),
                "--labels",
                "argmax",
                "--out",
                out.toString()));
    line.addAll(List.of(more));
    return CommandResult.run(line);
  }

  /**
   * A folder in the place of the saved progress cannot be deleted; the Fisher is there all the
   * same.
   */
  @Test
  void cleaningUpIsNoFailure() throws IOException {
    Path files = Cases.copy("case-15", folder);
    Path out = files.resolve("f.safetensors");
    Files.createDirectories(files.resolve("f.safetensors.progress/in"));
    CommandResult result = fisher(files, out);
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(result.err())
        .startsWith("warning: ")
        .contains("f.safetensors.progress", "not empty");
    assertThat(result.err().lines()).hasSize(1);
    assertThat(out).isRegularFile();
  }

  @Test
  void outputsDoNotReplaceInputsOrOneAnother() {
    Path files = Cases.copy("case-15", folder);
    fisher(files, files.resolve("data.safetensors"), "--overwrite").fails(1, "it is read too");
    fisher(files, files.resolve("alpha/model.safetensors"), "--overwrite")
        .fails(1, "it is read too", "alpha");
    evaluate(files, "--report", folder + "/r", "--outputs", folder + "/r")
        .fails(1, "written twice");
    evaluate(files, "--report", files + "/head.safetensors", "--overwrite")
        .fails(1, "it is read too");
    CommandResult.run(
            "search",
            "--base",
            GOLDEN + "/pretrained",
            "--clip",
            GOLDEN + "/pretrained",
            "--out",
            folder + "/merged",
            "--report",
            folder + "/merged/report.json",
            "--model",
            GOLDEN + "/alpha",
            "--data",
            files + "/data.safetensors",
            "--heads",
            files + "/head.safetensors",
            "--model",
            GOLDEN + "/gamma",
            "--data",
            files + "/data.safetensors",
            "--heads",
            files + "/head.safetensors")
        .fails(1, "one output lies in another", "report.json");
    assertThat(folder.resolve("merged")).doesNotExist();
    CommandResult.run(
            "merged_model_save_path=" + folder + "/m",
            "report_save_path=" + folder + "/m/report.json",
            "dry_run=true")
        .fails(1, "report_save_path", "merged_model_save_path", "name a place outside");
  }

  private static CommandResult evaluate(Path files, String... more) {
    List<String> line =
        new ArrayList<>(
            List.of(
                "evaluate",
                "--model",
                files.resolve("alpha").toString(),
                "--clip",
                files.resolve("clip").toString(),
                "--heads",
                files.resolve("head.safetensors").toString(),
                "--data",
                files.resolve("data.safetensors").toString()));
    line.addAll(List.of(more));
    return CommandResult.run(line);
  }

  @Test
  void anExistingOutputNamesTheOption() throws IOException {
    Files.createDirectory(folder.resolve("merged"));
    average().fails(1, "merged exists", "--overwrite");
  }

  // ---- include ----

  @Test
  void onlyWhatIsIncludedIsMerged() {
    String layer = ".*encoder.layers.0.mlp.fc1";
    TestTensors base = TestTensors.read(Path.of(GOLDEN, "pretrained"));
    TestTensors plain = merged("all");
    TestTensors some = merged("some", "--include", layer, "--exclude", ".*bias");
    int changed = 0;
    for (String name : base.tensors().keySet()) {
      boolean wanted =
          name.matches(layer + ".*") && !name.endsWith("bias") && !name.startsWith("text_");
      assertThat(some.get(name).floats())
          .as(name)
          .isEqualTo((wanted ? plain : base).get(name).floats());
      changed += wanted ? 1 : 0;
    }
    assertThat(changed).isEqualTo(1);
    CommandResult unused = average("--include", layer, "--include", "mlp", "--overwrite");
    assertThat(unused.code()).isZero();
    assertThat(unused.err()).startsWith("warning: the inclusion 'mlp' matches no tensor");
    average("--include", "nothing", "--overwrite").fails(1, "nothing is left to merge", "nothing");
    average("--include", "(", "--overwrite").fails(1, "the inclusion '('", "regular expression");
  }

  private TestTensors merged(String name, String... more) {
    List<String> line =
        new ArrayList<>(
            List.of(
                "average",
                "--base",
                GOLDEN + "/pretrained",
                "--model",
                GOLDEN + "/alpha",
                "--model",
                GOLDEN + "/gamma",
                "--out",
                folder.resolve(name).toString()));
    line.addAll(List.of(more));
    CommandResult.run(line).succeeds();
    return TestTensors.read(folder.resolve(name));
  }

  @Test
  void modelsAreCountedWithoutTheBase() {
    String line =
        CommandResult.run(
                "task-arithmetic",
                "--base",
                GOLDEN + "/pretrained",
                "--model",
                GOLDEN + "/alpha",
                "--model",
                GOLDEN + "/gamma",
                "--out",
                folder.resolve("merged").toString())
            .succeeds()
            .out();
    assertThat(line).contains("merged from 2 models and the base,");
  }
}
