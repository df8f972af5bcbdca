package org.fishermerge.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import picocli.CommandLine;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;

/**
 * What zsh's {@code _arguments} wants to know of a program's commands and options. picocli has this
 * for bash alone.
 */
final class ZshCompletion {
  /** A label that lists all values. */
  private static final Pattern CHOICE = Pattern.compile("[a-z0-9.-]+(\\|[a-z0-9.-]+)+");

  private ZshCompletion() {}

  /** A file for a folder of zsh's {@code fpath}. */
  static String of(CommandLine program) {
    String name = program.getCommandName();
    StringBuilder script = new StringBuilder("#compdef %s\n\n".formatted(name));
    script.append("local curcontext=\"$curcontext\" state line\nlocal -a commands\ncommands=(\n");
    for (CommandLine command : program.getSubcommands().values()) {
      String description = description(command.getCommandSpec().usageMessage().description());
      script.append("  ").append(quoted(command.getCommandName() + ":" + description)).append('\n');
    }
    script.append(")\n_arguments -C");
    arguments(program.getCommandSpec(), script, "  ");
    script.append(" \\\n  '1: :->command' \\\n  '*:: :->argument' && return\n");
    script.append("case $state in\n  command) _describe command commands ;;\n");
    script.append("  argument)\n    case $line[1] in\n");
    for (CommandLine command : program.getSubcommands().values()) {
      script.append("      %s)\n        _arguments".formatted(command.getCommandName()));
      arguments(command.getCommandSpec(), script, "          ");
      script.append("\n        ;;\n");
    }
    return script.append("    esac\n    ;;\nesac\n").toString();
  }

  private static void arguments(CommandSpec command, StringBuilder script, String indent) {
    for (OptionSpec option : command.options()) {
      if (!option.hidden()) {
        script.append(" \\\n").append(indent).append(option(option));
      }
    }
    for (PositionalParamSpec parameter : command.positionalParameters()) {
      if (!parameter.hidden()) {
        String every = parameter.isMultiValue() ? "*" : "";
        script.append(" \\\n").append(indent).append(quoted(every + value(parameter)));
      }
    }
  }

  private static String option(OptionSpec option) {
    boolean takesValue = option.arity().max() > 0;
    String after =
        "["
            + description(option.description()).replace("\\", "\\\\").replace("]", "\\]")
            + "]"
            + (takesValue ? value(option) : "");
    List<String> names = new ArrayList<>();
    for (String name : option.names()) {
      names.add(name + (!takesValue ? "" : name.startsWith("--") ? "=" : "+"));
    }
    String before =
        option.isMultiValue() ? "'*'" : quoted("(" + String.join(" ", option.names()) + ")");
    return before
        + (names.size() == 1 ? names.getFirst() : "{" + String.join(",", names) + "}")
        + quoted(after);
  }

  /** What follows an option: an optional value has two colons. */
  private static String value(ArgSpec argument) {
    String label = argument.paramLabel().replaceAll("[<>]", "").replace(":", "\\:");
    String action = "_files";
    if (CHOICE.matcher(label).matches()) {
      action = "(" + label.replace('|', ' ') + ")";
    } else if (argument.typeInfo().getType().isPrimitive()
        || Number.class.isAssignableFrom(argument.typeInfo().getType())) {
      action = " ";
    }
    return (argument.arity().min() == 0 && argument.isOption() ? "::" : ":") + label + ":" + action;
  }

  /** The first sentence, in one line. */
  private static String description(String[] lines) {
    String text = Pages.plain(String.join(" ", lines)).replaceAll("\\s+", " ");
    return text.replaceFirst("(?<=\\p{L}{3})[.;] .*", "");
  }

  private static String quoted(String text) {
    return "'" + text.replace("'", "'\\''") + "'";
  }
}
