package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
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
}
