package org.fishermerge.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.IllegalFormatException;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Help;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;

/** Writes what a shell knows of the program, from its options: completion and manual pages. */
final class Pages {
  private static final Pattern LINES = Pattern.compile("\\R");

  private final StringBuilder page = new StringBuilder();

  private Pages() {}

  /**
   * Writes {@code completion/fisher-merge.bash}, {@code completion/_fisher-merge} for zsh, and
   * {@code man/man1/*.1}.
   *
   * @param args the folder
   */
  public static void main(String[] args) throws IOException {
    Path folder = Path.of(args[0]);
    CommandLine program = Main.commandLine(Map.of());
    Path completion = Files.createDirectories(folder.resolve("completion"));
    String name = program.getCommandName();
    Files.writeString(completion.resolve(name + ".bash"), AutoComplete.bash(name, program));
    Files.writeString(completion.resolve("_" + name), ZshCompletion.of(program));
    Path manual = Files.createDirectories(folder.resolve("man/man1"));
    write(manual, program.getCommandSpec());
    for (CommandLine command : program.getSubcommands().values()) {
      write(manual, command.getCommandSpec());
    }
  }

  private static void write(Path manual, CommandSpec command) throws IOException {
    String name = command.qualifiedName("-");
    Files.writeString(manual.resolve(name + ".1"), new Pages().page(command));
  }

  /** A manual page, in the macros of man(7). */
  private String page(CommandSpec command) {
    String name = command.qualifiedName("-");
    String[] description = command.usageMessage().description();
    // No date: the same sources make the same page.
    macro("TH \"%s\" 1 \"\" \"fisher-merge\"".formatted(name.toUpperCase(Locale.ROOT)));
    macro("SH NAME");
    text(name + " - " + plain(String.join(" ", description)));
    macro("SH SYNOPSIS");
    macro("nf"); // lines as they are
    text(new Help(command, Help.defaultColorScheme(Help.Ansi.OFF)).synopsis(0).stripTrailing());
    macro("fi");
    macro("SH OPTIONS");
    for (PositionalParamSpec parameter : command.positionalParameters()) {
      argument(parameter, parameter.paramLabel());
    }
    for (OptionSpec option : command.options()) {
      String label = option.arity().max() == 0 ? "" : " " + option.paramLabel();
      argument(option, String.join(", ", option.names()) + label);
    }
    if (!command.subcommands().isEmpty()) {
      macro("SH COMMANDS");
      command
          .subcommands()
          .values()
          .forEach(subcommand -> {
            macro("TP");
            text(subcommand.getCommandSpec().qualifiedName("-") + "(1)");
            text(plain(String.join(" ", subcommand.getCommandSpec().usageMessage().description())));
          });
    }
    String[] footer = command.usageMessage().footer();
    if (footer.length > 0) {
      macro("SH NOTES");
      for (String line : footer) {
        text(plain(line));
      }
    }
    return page.toString();
  }

  private void argument(ArgSpec argument, String title) {
    if (!argument.hidden()) {
      macro("TP");
      text(title);
      text(plain(String.join(" ", argument.description())));
    }
  }

  private void macro(String line) {
    page.append('.').append(line).append('\n');
  }

  /** Text, in which nothing is a macro. */
  private void text(String text) {
    LINES
        .splitAsStream(text)
        .map(line -> line.replace("\\", "\\e").replace("-", "\\-"))
        .forEach(
            line -> page.append(line.matches("[.'].*") ? "\\&" : "").append(line).append('\n'));
  }

  /** A description as help shows it, without styles. */
  static String plain(String description) {
    String formatted = description;
    try {
      formatted = String.format(description);
    } catch (IllegalFormatException e) {
      // A percent sign is meant as one, as picocli takes it.
    }
    return Help.Ansi.OFF.string(formatted);
  }
}
