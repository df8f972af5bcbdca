package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** Exit codes, help, and what goes to which stream. */
final class UsageTest {
  private static final List<String> COMMANDS =
      List.of(
          "run",
          "fisher",
          "merge",
          "average",
          "add",
          "similarity",
          "evaluate",
          "inspect",
          "doctor",
          "demo");

  @Test
  void commandsAreFoundByTheNamesThatTheyHave() {
    Main.COMMANDS.forEach((name, type) ->
        assertThat(type.getAnnotation(CommandLine.Command.class).name()).isEqualTo(name));
  }

  @Test
  void helpListsTheCommands() {
    String help = CommandResult.run("--help").succeeds().out();
    COMMANDS.forEach(command -> assertThat(help).containsPattern("(?m)^  " + command + " +\\S"));
    assertThat(help).contains("Exit code: 0 done, 1 failed, 2 wrong usage");
  }

  @ParameterizedTest
  @CsvSource({
    "fisher, --model --clip --classes --heads --classifier --tokenizer --torchscript --inputs --logits --data --examples"
        + " --precision fp32|tf32|bf16 --batch-size --labels --selection --seed --out --overwrite --workers exact sampled:V"
        + " argmax true batch-square first shuffled",
    "merge, --base --model --fisher --out --normalize --minimal-fisher --coefficients --exclude"
        + " --dtype --dry-run --overwrite --verify none|model|tensor --include float32 bfloat16 1.0E-6",
    "average, --base --model --out --coefficients --exclude --dtype --dry-run --overwrite",
    "add, --out --overwrite FISHER",
    "similarity, --metric --layers --names --json --image --overwrite FISHER overlap|cosine",
    "evaluate, --model --clip --classes --heads --classifier --tokenizer --data --examples"
        + " --batch-size --report --outputs"
        + " --overwrite --workers",
    "inspect, PATH --tensors --hash",
    "run, OVERRIDE --cfg --resolve --package --config-dir --config-name --hub-dir group=option"
        + " fabric_model_fusion",
    "doctor, --help --version",
    "demo, --out --verbose --train",
  })
  void everyCommandExplainsItsOptions(String command, String words) {
    String help = CommandResult.run(command, "--help").succeeds().out();
    assertThat(help).startsWith("Usage: fisher-merge " + command);
    // Long words may be wrapped; a break inside one is none.
    String unwrapped = help.replaceAll("\\s+", "");
    Pattern.compile(" ")
        .splitAsStream(words)
        .forEach(word -> assertThat(unwrapped).as(word).contains(word));
    assertThat(help).as("every option is explained").doesNotContainPattern("(?m)^ +--\\S+ *\\R *-");
  }

  @ParameterizedTest
  @ValueSource(strings = {"--version", "average --version", "--quiet average -V"})
  void versionIsOneLine(String line) {
    assertThat(CommandResult.run(line.split(" ", -1)).succeeds().out().lines())
        .singleElement()
        .asString()
        .startsWith("fisher-merge ");
  }

  /** Only the command that is named first is read. */
  @Test
  void anOptionMayComeBeforeTheCommand() {
    String help = CommandResult.run("average", "--help").succeeds().out();
    assertThat(CommandResult.run("--quiet", "average", "--help").succeeds().out()).isEqualTo(help);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "``                                    | Missing required subcommand",
        "mrge                                  | 'mrge' ; did you mean ; merge",
        "--unknown                             | '--unknown'",
        "run --unknown method=dummy            | '--unknown' ; fisher-merge run --help",
        "method=dummy --unknown                | '--unknown' ; fisher-merge run --help",
        "mrge a=b                              | 'mrge'",
        "doctor --unknown                      | '--unknown' ; fisher-merge doctor --help",
        "doctor extra                          | 'extra'",
        "inspect                               | PATH",
        "inspect a b                           | 'b'",
        "add --out x.safetensors               | FISHER",
        "add one.safetensors --out x           | FISHER",
        "add a.safetensors b.safetensors       | --out=FILE",
        "similarity a.safetensors              | FISHER",
        "similarity a b --metric dot           | --metric ; 'dot'",
        "merge --base b --out o                | --model=DIR ; --fisher=FILE",
        "merge --base b --out o --model m      | --fisher=FILE ; fisher-merge merge --help",
        "merge --base b --out o --fisher f     | --model=DIR",
        "merge --base b --model m --fisher f   | --out=DIR",
        "merge --out o --model m --fisher f    | --base=DIR",
        "merge --base b --out o --model m --fisher f --normalize all      | --normalize ; 'all'",
        "merge --base b --out o --model m --fisher f --coefficients 1,x   | --coefficients ; 'x'",
        "merge --base b --out o --model m --fisher f --minimal-fisher x   | --minimal-fisher ; 'x'",
        "average --base b --out o              | --model=DIR",
        "task-arithmetic --base b --out o      | --model=DIR",
        "average --base b --out o --model m --shard-size 5XB              | --shard-size ; '5XB' ; 5GB",
        "average --base b --out o --model m --shard-size 0                | --shard-size ; '0'",
        "search --base b --out o --model m --data d                       | --model=DIR",
        "search --base b --out o --model m --model n --data d             | --data=SRC",
        "average --base b --out o --model m --fisher f                    | '--fisher'",
        "fisher --clip c --heads h --data d --out o                       | --model=DIR",
        "fisher --model m --heads h --data d --out o                      | --clip=DIR",
        "fisher --model m --clip c --heads h --out o                      | --data=SRC",
        "fisher --model m --clip c --heads h --data d                     | --out=FILE",
        "fisher --model m --clip c --data d --out o                       | --classes ; --heads",
        "fisher --model m --clip c --heads h --classes j --data d --out o | --classes ; --heads",
        "fisher --model m --clip c --heads h --data d --out o --selection last | --selection ; last",
        "fisher --model m --clip c --heads h --data d --out o --examples x     | --examples x ; expected a number of examples, or auto with a standard error in percent",
        "fisher --model m --clip c --heads h --data d --out o --examples auto: | --examples auto: ; such as auto:10",
        "fisher --model m --clip c --heads h --data d --out o --examples auto:0 | --examples auto:0 ; between 0 and 100",
        "fisher --model m --clip c --heads h --data d --out o --seed 1.5       | --seed ; '1.5'",
        "evaluate --model m --clip c --heads h                            | --data=SRC",
        "evaluate --model m --clip c --heads h --data d --batch-size x    | --batch-size ; 'x'",
      })
  void wrongUsageIsOneLineAndExitCode2(String arguments, String fragments) {
    String[] args = arguments.isEmpty() ? new String[0] : arguments.split(" ", -1);
    CommandResult.run(args)
        .fails(2, Pattern.compile(" ; ").splitAsStream(fragments).toArray(String[]::new))
        .fails(2, "--help");
  }

  /** The name's bytes are given by the shell: this JVM may run in such a locale itself. */
  @Test
  void aNameThatTheLocaleCannotSpellSaysWhatToDo() throws Exception {
    List<String> line =
        new ArrayList<>(List.of("sh", "-c", "exec \"$@\" \"$(printf 'm\\303\\244')\"", "sh"));
    line.addAll(CommandProcess.java());
    line.add("inspect");
    ProcessBuilder builder = new ProcessBuilder(line).redirectErrorStream(true);
    builder.environment().put("LC_ALL", "C");
    Process process = builder.start();
    assertThat(process.inputReader().lines().toList())
        .singleElement()
        .asString()
        .contains("PATH", "is no name of a file here", "LC_ALL=C.UTF-8");
    assertThat(process.waitFor()).isEqualTo(2);
  }

  @ParameterizedTest
  @ValueSource(strings = {"no-such-place", "no-such-file.safetensors"})
  void aFailureIsOneLineAndExitCode1(String path) {
    CommandResult.run("inspect", path).fails(1, path);
  }

  @Test
  void aFileIsNamedInItsFailure() {
    Path tasks = Golden.path("clip-tiny/tasks.json");
    CommandResult.run("inspect", tasks.toString()).fails(1, tasks.toString(), "safetensors");
  }
}
