package org.fishermerge.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.config.Composition;
import org.fishermerge.cli.config.ConfigTree;
import org.fishermerge.cli.program.Program;
import org.fishermerge.cli.program.Repositories;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/**
 * {@code run}: merges, saves, evaluates and reports as a configuration says. What it takes is what
 * FusionBench's command takes, so the name of the command may be left out.
 */
@Command(
    name = "run",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Merges, evaluates and reports as FusionBench does, from its configurations. The word run"
            + " may be left out before overrides.",
    footer = {
      "",
      "Overrides: group=option, key.path=value, +key=value, ++key=value, ~key.",
      "Groups: method, modelpool, taskpool; fisher-merge --cfg job prints what a run would do.",
      "",
      "Models and data that are no folders come from the Hugging Face hub: HF_HOME, HF_HUB_CACHE,",
      "HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean for its Python client."
    })
final class RunCommand implements Callable<Integer> {
  private static final Set<String> WITH_VALUE =
      Set.of(
          "--cfg",
          "-c",
          "--package",
          "-p",
          "--config-dir",
          "-cd",
          "--config-path",
          "-cp",
          "--config-name",
          "-cn",
          "--hub-dir");
  private static final Set<String> WITHOUT_VALUE = Set.of("--resolve", "--multirun", "-m");

  private final Map<String, String> environment;

  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(
      paramLabel = "OVERRIDE",
      arity = "0..*",
      description = "Changes to the configuration, from left to right.")
  private List<String> overrides = List.of();

  @Option(
      names = {"--cfg", "-c"},
      paramLabel = "job",
      description = "Print the composed configuration as YAML and stop.")
  private @Nullable String cfg;

  @Option(names = "--resolve", description = "With --cfg: resolve interpolations.")
  private boolean resolve;

  @Option(
      names = {"--package", "-p"},
      paramLabel = "PATH",
      description = "With --cfg: only what is at this key.")
  private @Nullable String part;

  @Option(
      names = {"--config-dir", "-cd", "--config-path", "-cp"},
      paramLabel = "DIR",
      description = "A folder with groups of your own, searched before the product's.")
  private @Nullable Path configDir;

  @Option(
      names = {"--config-name", "-cn"},
      paramLabel = "NAME",
      description = "The configuration to start from (default: ${DEFAULT-VALUE}).")
  private String configName = Composition.ROOT;

  @Option(
      names = "--hub-dir",
      paramLabel = "DIR",
      description =
          "A folder with models and data sets as OWNER/NAME below it, looked into before the hub.")
  private @Nullable Path hubDir;

  @Option(
      names = {"--multirun", "-m"},
      hidden = true)
  private boolean multirun;

  /** With the process's environment. */
  RunCommand() {
    this(System.getenv());
  }

  /**
   * @param environment what configurations and the hub's client ask for
   */
  RunCommand(Map<String, String> environment) {
    this.environment = environment;
  }

  /** Whether a command line without a command's name is one for this command. */
  static boolean isMeantBy(String... args) {
    for (int i = 0; i < args.length; i++) {
      String option = args[i].contains("=") ? args[i].substring(0, args[i].indexOf('=')) : args[i];
      if (WITH_VALUE.contains(option)) {
        return true;
      }
      if (!WITHOUT_VALUE.contains(option)) {
        // Said without the parser of overrides: most command lines are for another command.
        return !args[i].startsWith("-") && (args[i].contains("=") || args[i].startsWith("~"));
      }
    }
    return false;
  }

  @Override
  public Integer call() {
    if (multirun) {
      throw new InputException("--multirun: sweeps are not supported; run once for each value");
    }
    if (cfg != null && !cfg.equals("job")) {
      throw new InputException("--cfg " + cfg + ": expected job; Hydra itself does not run here");
    }
    return Work.run(this);
  }

  /** Apart, so that the other commands start without the classes of configurations. */
  private static final class Work {
    static int run(RunCommand command) {
      PrintWriter out = command.spec.commandLine().getOut();
      PrintWriter err = command.spec.commandLine().getErr();
      Map<String, String> environment = command.environment;
      ConfigTree tree = ConfigTree.embedded();
      if (command.configDir != null) {
        tree.with(command.configDir);
      }
      Composition composition = Composition.of(tree, command.configName, command.overrides);
      composition.notes().forEach(note -> err.println("note: " + note));
      LocalDateTime now = LocalDateTime.now(ZoneId.systemDefault());
      if (command.cfg == null) {
        Program program = new Program(composition, now, environment::get, out, err);
        try (Repositories repositories = new Repositories(command.hubDir, environment, err)) {
          program.run(repositories);
        }
      } else if (command.resolve) {
        out.print(composition.resolvedYaml(command.part, now, environment::get));
      } else {
        out.print(composition.yaml(command.part));
      }
      return 0;
    }
  }
}
