package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What a command says of input it cannot use: one line that names the culprit, and nothing left
 * where its output would be.
 */
final class BadInputCommandsTest {
  private static final Path GOLDEN = Golden.path("clip-tiny");
  private static final Path EXPECTED = Golden.path("clip-tiny/expected.safetensors");
  private static final String PAIRS =
      "--model {G}/alpha --fisher {F}/alpha.safetensors"
          + " --model {G}/gamma --fisher {F}/gamma.safetensors";
  private static final String MERGE =
      "--base {G}/pretrained --out {O}/merged --normalize model --dtype f32";

  /** Arguments that work, by command; a case replaces some. */
  private static final Map<String, List<String>> WORKING =
      Map.of(
          "fisher",
          List.of(
              "--model {G}/alpha --clip {G}/pretrained --data {E}#alpha. --batch-size 2",
              "--heads {E}#alpha. --selection first --labels exact --out {O}/out.safetensors"),
          "evaluate",
          List.of(
              "--model {G}/alpha --clip {G}/pretrained --data {E}#alpha. --batch-size 2",
              "--heads {E}#alpha. --outputs {O}/out.safetensors --report {O}/report.json"),
          "merge",
          List.of(MERGE, PAIRS),
          "average",
          List.of(MERGE.replace("--normalize model ", ""), "--model {G}/alpha --model {G}/gamma"),
          "add",
          List.of("--out {O}/out.safetensors"),
          "inspect",
          List.of());

  @TempDir static Path fixtures;

  @TempDir Path folder;

  @BeforeAll
  static void writeFixtures() throws IOException, InterruptedException {
    TestTensors expected = TestTensors.read(EXPECTED);
    Tensor pixels = expected.get("alpha.pixel_values");
    Tensor labels = expected.get("alpha.labels");
    write("unlabelled", Map.of("pixel_values", pixels));
    write("label-7", Map.of("pixel_values", pixels, "labels", Tensor.of(0, 1, 2, 7, 0, 1)));
    write("label-minus", Map.of("pixel_values", pixels, "labels", Tensor.of(0, 1, 2, 0, -1, 1)));
    write("no-pictures", Map.of("pixel_values", pixels.rows(0, 0), "labels", labels.rows(0, 0)));
    write("five-labels", Map.of("pixel_values", pixels, "labels", labels.rows(0, 5)));
    write(
        "small-pictures",
        Map.of("pixel_values", Tensor.of(List.of(1L, 3L, 16L, 64L), pixels.rows(0, 1).floats())));
    float[] spoilt = pixels.floats();
    spoilt[4 * 3 * 32 * 32 + 77] = Float.NaN;
    write("nan", Map.of("pixel_values", Tensor.of(pixels.shape(), spoilt), "labels", labels));
    write("narrow-heads", Map.of("zeroshot_weights", Tensor.of(List.of(3L, 7L), new float[21])));
    write("flat-heads", Map.of("zeroshot_weights", Tensor.of(List.of(36L), new float[36])));
    write("one-class", Map.of("zeroshot_weights", Tensor.of(List.of(1L, 12L), new float[12])));

    // A sound vision tower of half the width.
    Path narrow = Files.createDirectory(fixtures.resolve("narrow"));
    Map<String, Tensor> half = new TreeMap<>();
    TestTensors.read(GOLDEN.resolve("alpha"))
        .tensors()
        .forEach((name, tensor) -> {
          List<Long> shape =
              tensor.shape().stream().map(n -> n == 24 || n == 48 ? n / 2 : n).toList();
          int count = Math.toIntExact(shape.stream().reduce(1L, (a, b) -> a * b));
          half.put(name, Tensor.of(shape, new float[count]));
        });
    TestTensors.write(narrow.resolve("model.safetensors"), half);
    String config = Files.readString(GOLDEN.resolve("alpha/config.json"));
    Files.writeString(
        narrow.resolve("config.json"),
        config
            .replace("\"hidden_size\": 24", "\"hidden_size\": 12")
            .replace("\"intermediate_size\": 48", "\"intermediate_size\": 24"));
    // The same tensors under a configuration that does not describe them.
    Path lying = Files.createDirectory(fixtures.resolve("lying"));
    Files.copy(narrow.resolve("model.safetensors"), lying.resolve("model.safetensors"));
    Files.writeString(lying.resolve("config.json"), config);

    Path pickle = Files.createDirectory(fixtures.resolve("pickle"));
    Files.write(pickle.resolve("pytorch_model.bin"), new byte[] {'P', 'K', 3, 4, 0, 0, 0, 0, 0, 0});
    Files.write(fixtures.resolve("model.pt"), new byte[] {'P', 'K', 3, 4, 0, 0, 0, 0, 0, 0});
    byte[] whole = Files.readAllBytes(GOLDEN.resolve("alpha/model.safetensors"));
    Files.write(fixtures.resolve("cut.safetensors"), Arrays.copyOf(whole, whole.length - 1));
    Files.writeString(
        fixtures.resolve("pointer.safetensors"),
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        StandardCharsets.UTF_8);
    Files.createDirectory(fixtures.resolve("empty"));
    Files.writeString(
        fixtures.resolve("classes.json"), "{\"classnames\": {\"a\": [\"x\", \"y\"]},\n");

    Files.writeString(
        fixtures.resolve("single.json"),
        "{\"classnames\": {\"a\": [\"x\"]}, \"templates\": {\"a\": [\"a {}\"]}}");

    for (String task : List.of("alpha", "gamma")) {
      for (String rule : List.of("exact", "argmax")) {
        String name = task + (rule.equals("exact") ? "" : "-" + rule) + ".safetensors";
        CommandResult.run(
                arguments(
                    "fisher",
                    "--model {G}/"
                        + task
                        + " --heads {E}#"
                        + task
                        + ". --data {E}#"
                        + task
                        + ". --labels "
                        + rule
                        + " --out {F}/"
                        + name,
                    fixtures))
            .succeeds();
      }
    }
    for (String pipe : List.of("pipe.safetensors", "pipe.json", "pipe.parquet")) {
      assertThat(new ProcessBuilder("mkfifo", fixtures.resolve(pipe).toString()).start().waitFor())
          .isZero();
    }
    TestTensors fisher = TestTensors.read(fixtures.resolve("alpha.safetensors"));
    write("bare", fisher.tensors());
  }

  private static void write(String name, Map<String, Tensor> tensors) {
    TestTensors.write(fixtures.resolve(name + ".safetensors"), tensors);
  }

  @ParameterizedTest(name = "{0} {1}")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        // models
        "fisher   | --model {F}/none              | 1 | {F}/none",
        "fisher   | --model {F}/empty             | 1 | {F}/empty ; model.safetensors",
        "fisher   | --model {F}/pickle            | 1 | {F}/pickle ; pytorch_model.bin ;"
            + " safetensors",
        "fisher   | --model {F}/model.pt          | 1 | {F}/model.pt ; safetensors",
        "fisher   | --model {F}/cut.safetensors   | 1 | {F}/cut.safetensors",
        "fisher   | --model {F}/pointer.safetensors | 1 | {F}/pointer.safetensors ; git lfs pull",
        "fisher   | --model {F}/narrow            | 1 | hidden_size is 24 and 12 ; shape",
        "fisher   | --model {F}/lying             | 1 | {F}/lying ; [12",
        "fisher   | --model {T}/cola              | 1 | {T}/cola",
        "fisher   | --clip {G}/alpha              | 1 | {G}/alpha ; visual_projection.weight",
        "fisher   | --clip {F}/none               | 1 | {F}/none",
        "evaluate | --model {F}/none              | 1 | {F}/none",
        "evaluate | --model {F}/narrow            | 1 | hidden_size is 24 and 12 ; shape",
        "merge    | --base {F}/none               | 1 | {F}/none",
        "merge    | --base {F}/pickle             | 1 | {F}/pickle ; pytorch_model.bin",
        "average  | --model {F}/model.pt          | 1 | {F}/model.pt",
        "average  | --model {F}/narrow --model {G}/alpha | 1 | {F}/narrow ; shape",
        "average  | --model {T}/cola --model {T}/mnli | 1 | {T}/cola ; architecture",
        "average  | --model {G}/alpha --model {G}/alpha | 1 | {G}/alpha ; given twice",
        "inspect  | {F}/none                      | 1 | {F}/none",
        "inspect  | {F}/cut.safetensors           | 1 | {F}/cut.safetensors",
        "inspect  | {F}/pickle                    | 1 | {F}/pickle",
        // heads and classes
        "fisher   | --heads {F}/narrow-heads.safetensors | 1 | 7 wide ; projects to 12 ;"
            + " narrow-heads",
        "fisher   | --heads {F}/flat-heads.safetensors | 1 | [36] ; [classes, width]",
        "fisher   | --heads {F}/one-class.safetensors | 1 | one-class ; at least two",
        "fisher   | --heads {E}#delta.            | 1 | {E} ; delta.zeroshot_weights",
        "fisher   | --heads {F}/none.safetensors  | 1 | {F}/none.safetensors",
        "fisher   | --heads - --classes {G}/tasks.json:delta | 1 | {G}/tasks.json ; delta ; alpha",
        "fisher   | --heads - --classes {G}/tasks.json | 1 | {G}/tasks.json ; choose one",
        "fisher   | --heads - --classes {F}/single.json | 1 | {F}/single.json ; at least two",
        "fisher   | --heads - --classes {F}/none.json:alpha | 1 | {F}/none.json ; no such file",
        "fisher   | --heads - --classes {F}/classes.json | 1 | {F}/classes.json ; JSON ; line 2",
        // data
        "fisher   | --data {F}/unlabelled.safetensors --labels true | 1 | unlabelled ; labels ;"
            + " true",
        "fisher   | --data {F}/unlabelled.safetensors --selection stratified | 1"
            + " | unlabelled ; no labels ; --selection stratified needs them",
        "evaluate | --data {F}/unlabelled.safetensors | 1 | unlabelled ; labels",
        "fisher   | --data {F}/label-7.safetensors --labels true | 1 | row 3 ; label 7 ; 0 to 2",
        "fisher   | --data {F}/label-minus.safetensors --labels true --bad-rows stop | 1"
            + " | row 4 ; no label (-1 ; --bad-rows skip",
        "evaluate | --data {F}/label-7.safetensors | 1 | row 3 ; label 7 ; 0 to 2 ; --bad-rows",
        "fisher   | --data {F}/five-labels.safetensors | 1 | five-labels ; [5] ; [6]",
        "fisher   | --data {F}/no-pictures.safetensors | 1 | no-pictures ; no examples",
        "fisher   | --data {F}/small-pictures.safetensors | 1 | small-pictures ; 16, 64 ; 32, 32",
        "fisher   | --data {F}/nan.safetensors    | 1 | example 4 ; not finite",
        "fisher   | --data {F}/nan.safetensors --batch-size 1 | 1 | example 4 ; not finite",
        "fisher   | --data {F}/nan.safetensors --labels argmax | 1 | example 4 ; not finite",
        "fisher   | --data {F}/nan.safetensors --labels batch-square | 1 | example 4 ; not finite",
        "evaluate | --data {F}/nan.safetensors    | 1 | example 4 ; not finite",
        "fisher   | --data {F}/nan.safetensors --selection shuffled --seed 1 | 1 | example 4 ; not"
            + " finite",
        "fisher   | --data {E}                    | 1 | {E} ; pixel_values ; #alpha.",
        "fisher   | --data {F}/none.safetensors   | 1 | {F}/none.safetensors",
        "fisher   | --data {F}/empty              | 1 | {F}/empty",
        // pipes and devices, none of which is waited for
        "fisher   | --model {F}/pipe.safetensors  | 1 | {F}/pipe.safetensors ; pipe",
        "fisher   | --clip {F}/pipe.safetensors   | 1 | {F}/pipe.safetensors ; pipe",
        "fisher   | --heads {F}/pipe.safetensors  | 1 | {F}/pipe.safetensors ; pipe",
        "fisher   | --heads - --classes {F}/pipe.json:alpha | 1 | {F}/pipe.json ; pipe",
        "fisher   | --heads - --classes /dev/zero | 1 | /dev/zero ; device",
        "fisher   | --data {F}/pipe.safetensors   | 1 | {F}/pipe.safetensors ; pipe",
        "fisher   | --data {F}/pipe.parquet       | 1 | {F}/pipe.parquet ; pipe",
        "evaluate | --data {F}/pipe.parquet       | 1 | {F}/pipe.parquet ; pipe",
        "fisher   | --out ~/f.safetensors         | 1 | ~/f.safetensors ; only a shell",
        "merge    | --out ~/merged                | 1 | ~/merged ; only a shell",
        "merge    | --base ~/base                 | 1 | ~/base ; no such file ; only a shell",
        "merge    | --model {G}/alpha --fisher {F}/pipe.safetensors | 1 | {F}/pipe.safetensors ;"
            + " pipe",
        "inspect  | {F}/pipe.json                 | 1 | {F}/pipe.json ; pipe",
        "add      | {F}/alpha.safetensors {F}/pipe.safetensors | 1 | {F}/pipe.safetensors ; pipe",
        // numbers and rules
        "fisher   | --labels best                 | 1 | \"best\" ; exact ; batch-square",
        "fisher   | --labels sampled:0            | 1 | sampled:0 ; from 1",
        "fisher   | --labels sampled              | 1 | sampled",
        "fisher   | --labels sampled:x            | 1 | sampled:x",
        "fisher   | --examples 0                  | 1 | --examples 0 ; at least 1",
        "fisher   | --examples -5                 | 1 | --examples -5 ; at least 1",
        "fisher   | --batch-size 0                | 1 | --batch-size 0 ; at least 1",
        "fisher   | --batch-size x                | 1 | --batch-size x ; auto",
        "fisher   | --check --labels batch-square | 1 | --check ; batch-square ; by definition",
        "fisher   | --examples auto --labels batch-square | 1 | --examples auto:10 ; --labels batch-square ; does not fall",
        "fisher   | --check --examples 1          | 1 | --check ; at least two",
        "fisher   | --workers -1                  | 1 | --workers -1",
        "fisher   | --selection last              | 2 | 'last' ; first, shuffled, stratified",
        "fisher   | --seed now                    | 2 | --seed ; 'now'",
        "evaluate | --batch-size 0                | 1 | --batch-size 0 ; at least 1",
        "evaluate | --examples 0                  | 1 | --examples 0 ; at least 1",
        "evaluate | --batch-size x                | 2 | --batch-size ; 'x'",
        // Fisher files
        "merge    | --model {G}/alpha --fisher {F}/none.safetensors | 1 | {F}/none.safetensors",
        "merge    | --model {G}/alpha --fisher {F}/gamma.safetensors --model {G}/gamma"
            + " --fisher {F}/alpha.safetensors | 1 | {F}/gamma.safetensors ; {G}/alpha ; swapped",
        "merge    | --model {G}/beta --fisher {F}/gamma.safetensors | 1"
            + " | {F}/gamma.safetensors ; not computed from ; {G}/beta",
        "merge    | --verify --model {G}/beta --fisher {F}/gamma.safetensors | 1"
            + " | {F}/gamma.safetensors ; not computed from ; {G}/beta",
        "merge    | --model {G}/alpha --fisher {F}/alpha.safetensors --model {G}/gamma"
            + " --fisher {F}/alpha.safetensors | 1 | {F}/alpha.safetensors ; given twice",
        "merge    | --model {G}/alpha --fisher {F}/model.pt | 1 | {F}/model.pt",
        "add      | {F}/alpha.safetensors {F}/gamma.safetensors | 1 | gamma.safetensors ; model",
        "add      | {F}/alpha.safetensors {F}/alpha-argmax.safetensors | 1 | argmax ; exact",
        "add      | {F}/alpha.safetensors {F}/bare.safetensors  | 1 | {F}/bare.safetensors",
        "add      | {F}/alpha.safetensors {F}/none.safetensors  | 1 | {F}/none.safetensors",
        // merging
        "merge    | --coefficients 1,2,3          | 1 | --coefficients ; 3 values ; 2 models",
        "merge    | --coefficients 1              | 1 | --coefficients ; 2 models",
        "merge    | --coefficients 1,-0.5         | 1 | {G}/gamma ; -0.5 ; not negative",
        "merge    | --coefficients 1,NaN          | 1 | {G}/gamma ; NaN",
        "merge    | --coefficients 0,0            | 1 | coefficients sum to 0 ; at least one must"
            + " be positive",
        "merge    | --coefficients 1,x            | 2 | --coefficients ; 'x'",
        "merge    | --minimal-fisher -1           | 1 | minimal-fisher ; -1",
        "merge    | --exclude (a                  | 1 | '(a' ; regular expression",
        "merge    | --exclude .*                  | 1 | .* ; nothing is left",
        "merge    | --dtype int8                  | 1 | --dtype int8 ; float32, float16, bfloat16 or float64",
        "merge    | --normalize all               | 2 | --normalize ; 'all'",
        "merge    | --out {O}                     | 1 | {O}",
        "average  | --coefficients 1,-1           | 1 | coefficients sum to 0",
        "average  | --coefficients 1,-Infinity    | 1 | {G}/gamma ; -Infinity",
        "average  | --coefficients 1,2,3          | 1 | --coefficients ; 3 values ; 2 models",
        "average  | --exclude [                   | 1 | '[' ; regular expression",
      })
  void isRefusedInOneLineAndLeavesNothing(
      String command, String options, int code, String fragments) throws IOException {
    List<Path> before = everythingUnder(folder);
    CommandResult.run(arguments(command, options, folder))
        .fails(
            code,
            Pattern.compile(" ; ")
                .splitAsStream(fragments)
                .map(fragment -> filled(fragment, folder))
                .toArray(String[]::new));
    assertThat(everythingUnder(folder)).isEqualTo(before);
  }

  /** A terminal obeys control characters, wherever they come from. */
  @Test
  void namesCannotSteerTheTerminal() {
    Path model = folder.resolve("model.safetensors");
    TestTensors.write(
        model,
        Map.of("a\u001b]0;title\u0007\u009b2J\0.weight", Tensor.of(List.of(1L), new float[1])));
    String out = CommandResult.run("inspect", "--tensors", model.toString()).succeeds().out();
    assertThat(out)
        .contains("a\\u001b]0;title\\u0007\\u009b2J\\u0000.weight")
        .doesNotContainPattern("[\\p{Cntrl}&&[^\\r\\n\\t]]");
  }

  /** What the system says of a place is an explanation, not a defect. */
  @Test
  void aPlaceThatCannotBeIsNamed() {
    CommandResult.run("demo", "--out", "/proc/demo").fails(1, "/proc/demo");
  }

  @Test
  void theArgumentsThatCasesStartFromWork() {
    CommandResult.run(arguments("fisher", "", folder)).succeeds();
    CommandResult.run(arguments("evaluate", "--outputs {O}/outputs.safetensors", folder))
        .succeeds();
    CommandResult.run(arguments("merge", "", folder)).succeeds();
    CommandResult.run(arguments("average", "--out {O}/average", folder)).succeeds();
  }

  @ParameterizedTest
  @ValueSource(strings = {"fisher", "evaluate", "add"})
  void anExistingFileIsKeptUnlessOverwritten(String command) throws IOException {
    Path out = Files.writeString(folder.resolve("out.safetensors"), "mine");
    List<Path> before = everythingUnder(folder);
    String inputs = command.equals("add") ? "{F}/alpha.safetensors {F}/half.safetensors" : "";
    if (command.equals("add")) {
      secondFisherOfAlpha();
    }
    CommandResult.run(arguments(command, inputs, folder)).fails(1, out.toString(), "exists");
    assertThat(everythingUnder(folder)).isEqualTo(before);
    assertThat(out).hasContent("mine");

    CommandResult.run(arguments(command, inputs + " --overwrite", folder)).succeeds();
    assertThat(TestTensors.read(out).tensors()).isNotEmpty();
  }

  private static void secondFisherOfAlpha() {
    if (!Files.exists(fixtures.resolve("half.safetensors"))) {
      CommandResult.run(arguments("fisher", "--examples 3 --out {F}/half.safetensors", fixtures))
          .succeeds();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"merge", "average"})
  void anExistingModelIsKeptUnlessOverwritten(String command) throws IOException {
    Path out = Files.createDirectory(folder.resolve("merged"));
    Files.writeString(out.resolve("model.safetensors"), "mine");
    List<Path> before = everythingUnder(folder);
    CommandResult.run(arguments(command, "", folder)).fails(1, out.toString(), "exists");
    assertThat(everythingUnder(folder)).isEqualTo(before);
    assertThat(out.resolve("model.safetensors")).hasContent("mine");

    CommandResult.run(arguments(command, "--overwrite", folder)).succeeds();
    assertThat(TestTensors.read(out).tensors()).hasSize(78);
  }

  @Test
  void anInputIsNeverOverwritten() throws IOException {
    Path model = Files.createDirectory(folder.resolve("model"));
    for (String file : List.of("config.json", "model.safetensors")) {
      Files.copy(GOLDEN.resolve("alpha").resolve(file), model.resolve(file));
    }
    CommandResult.run(
            arguments(
                "average",
                "--overwrite --model {G}/gamma --model {O}/model --out {O}/model",
                folder))
        .fails(1, model.toString(), "apart");
    assertThat(model.resolve("model.safetensors"))
        .hasSameBinaryContentAs(GOLDEN.resolve("alpha/model.safetensors"));
  }

  // ---- the command line of a case ----

  /** The working arguments of a command but for the given ones; the value {@code -} drops one. */
  private static List<String> arguments(String command, String options, Path out) {
    List<String> given = words(options);
    List<String> all = new ArrayList<>(List.of(command));
    List<String> working = words(String.join(" ", WORKING.getOrDefault(command, List.of())));
    boolean ownPairs = given.contains("--model") || given.contains("--fisher");
    for (int i = 0; i < working.size(); i += 2) {
      String name = working.get(i);
      boolean pair =
          !command.equals("fisher") && (name.equals("--model") || name.equals("--fisher"));
      if (!given.contains(name) && !(pair && ownPairs)) {
        all.add(name);
        all.add(working.get(i + 1));
      }
    }
    for (int i = 0; i < given.size(); i++) {
      if (i + 1 < given.size() && given.get(i + 1).equals("-")) {
        i++;
      } else {
        all.add(given.get(i));
      }
    }
    return all.stream().map(word -> filled(word, out)).toList();
  }

  private static List<String> words(String text) {
    return Pattern.compile(" ").splitAsStream(text).filter(word -> !word.isEmpty()).toList();
  }

  private static String filled(String text, Path out) {
    return text.replace("{G}", GOLDEN.toString())
        .replace("{T}", Golden.path("gpt2-tiny").toString())
        .replace("{E}", EXPECTED.toString())
        .replace("{F}", fixtures.toString())
        .replace("{O}", out.toString());
  }

  private static List<Path> everythingUnder(Path root) throws IOException {
    try (Stream<Path> paths = Files.walk(root)) {
      return paths.sorted().toList();
    }
  }
}
