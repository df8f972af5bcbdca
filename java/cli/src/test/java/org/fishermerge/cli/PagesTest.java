package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** Manual pages and completion, as a release has them. */
final class PagesTest {
  @TempDir Path folder;

  @BeforeEach
  void write() throws Exception {
    Pages.main(new String[] {folder.toString()});
  }

  @Test
  void aPageOfEachCommandHasItsOptions() throws Exception {
    for (CommandLine command : Main.commandLine(Map.of()).getSubcommands().values()) {
      String page =
          Files.readString(
              folder.resolve("man/man1/fisher-merge-%s.1".formatted(command.getCommandName())));
      command.getCommandSpec().options().stream()
          .filter(option -> !option.hidden())
          .forEach(option -> assertThat(page).contains(option.longestName().replace("-", "\\-")));
      assertThat(page).doesNotContain("@|", "${");
    }
  }

  @Test
  void bashCompletesCommandsAndOptions() throws Exception {
    String script =
        """
        source completion/fisher-merge.bash
        COMP_WORDS=(fisher-merge sim) COMP_CWORD=1; _complete_fisher-merge 2>/dev/null; echo ${COMPREPLY[@]}
        COMP_WORDS=(fisher-merge merge --rul) COMP_CWORD=2
        _complete_fisher-merge 2>/dev/null; echo ${COMPREPLY[@]}
        """;
    Process bash =
        new ProcessBuilder("bash", "-c", script)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .start();
    assertThat(new String(bash.getInputStream().readAllBytes(), StandardCharsets.UTF_8))
        .isEqualTo("similarity\n--rule\n");
  }

  /** In a terminal of zsh's own, where Tab completes and Ctrl-X shows the line. */
  @Test
  void zshCompletesCommandsOptionsAndFiles() throws Exception {
    assumeTrue(
        Stream.of(System.getenv("PATH").split(File.pathSeparator, -1))
            .anyMatch(bin -> Files.isExecutable(Path.of(bin, "zsh"))),
        "there is no zsh on the PATH");
    String script =
        """
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell 'PS1=; fpath=($PWD/completion $fpath); autoload -U compinit; compinit -u -D'
        zpty -w shell 'show() { print -r -- "<<$BUFFER>>"; BUFFER= }; zle -N show; bindkey "^X" show'
        for line in simi 'merge --rul' 'merge --rule kro' 'merge --base=compl'; do
          zpty -w -n shell "fisher-merge $line"$'\\t\\x18'
          zpty -r shell output $'*<<fisher*>>*'
          print -r -- ${${output##*<<}%%>>*}
        done
        """;
    Process zsh =
        new ProcessBuilder("zsh", "-f", "-c", script)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("output.txt").toFile())
            .start();
    boolean ended = zsh.waitFor(2, TimeUnit.MINUTES);
    zsh.descendants().forEach(ProcessHandle::destroyForcibly);
    zsh.destroyForcibly();
    assertThat(Files.readAllLines(folder.resolve("output.txt")))
        .as("ended: %s", ended)
        .containsExactly(
            "fisher-merge similarity ",
            "fisher-merge merge --rule=",
            "fisher-merge merge --rule kronecker ",
            "fisher-merge merge --base=completion/");
  }
}
