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
import org.fishermerge.cli.config.Sweep;
import org.fishermerge.cli.program.Program;
import org.fishermerge.cli.task.Repositories;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
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
  /** Options of Hydra's, all of which stand for this command where no other is named. */
  private static final Set<String> OPTIONS =
      Set.of(
          "--cfg",
          "-c",
          "--package",
          "-p",
          "--resolve",
          "--config-dir",
          "-cd",
          "--config-path",
          "-cp",
          "--config-name",
          "-cn",
          "--run",
          "-r",
          "--multirun",
          "-m",
          "--info",
          "-i",
          "--hydra-help",
          "--shell-completion",
          "-sc",
          "--experimental-rerun",
          "--hub-dir");

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
      names = {"--config-dir", "-cd"},
      paramLabel = "DIR",
      description = "A folder with groups of your own, searched before the product's.")
  private @Nullable Path configDir;

  @Option(
      names = {"--config-path", "-cp"},
      paramLabel = "DIR",
      description = "The same, searched before --config-dir.")
  private @Nullable Path configPath;

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
      names = {"--run", "-r"},
      hidden = true)
  private boolean run; // what happens without it too

  @Option(
      names = {"--multirun", "-m"},
      hidden = true)
  private boolean multirun;

  @Option(
      names = {"--info", "-i"},
      arity = "0..1",
      fallbackValue = "all",
      hidden = true)
  private @Nullable String info;

  @Option(names = "--hydra-help", hidden = true)
  private boolean hydraHelp;

  @Option(
      names = {"--shell-completion", "-sc"},
      hidden = true)
  private boolean shellCompletion;

  @Option(names = "--experimental-rerun", hidden = true)
  private @Nullable String rerun;

  /** Whether a command line without a command's name is one for this command. */
  static boolean isMeantBy(String... args) {
    if (args.length == 0) {
      return false;
    }
    String first = args[0];
    int equals = first.indexOf('=');
    if (OPTIONS.contains(equals < 0 ? first : first.substring(0, equals))) {
      return true;
    }
    // Said without the parser of overrides: most command lines are for another command.
    return !first.startsWith("-") && (equals >= 0 || first.startsWith("~"));
  }

  @Override
  public Integer call() {
    refuseWhatIsNotHere();
    if (run && cfg != null) {
      throw new ParameterException(
          spec.commandLine(), "--run runs and --cfg only prints; leave one of them out");
    }
    if (cfg == null && (resolve || part != null)) {
      throw new ParameterException(
          spec.commandLine(),
          (resolve ? "--resolve" : "--package") + " goes with --cfg job, which is missing");
    }
    return Work.run(this);
  }

  /** Says what to do instead of what Hydra offers and this program does not. */
  private void refuseWhatIsNotHere() {
    if (multirun) {
      throw Work.noSweep(overrides);
    }
    String why = null;
    if (info != null) {
      why = "--info is of Hydra, which does not run here";
    } else if (hydraHelp) {
      why = "--hydra-help is of Hydra, which does not run here; fisher-merge run --help explains";
    } else if (shellCompletion) {
      why = "--shell-completion is not offered here";
    } else if (rerun != null) {
      why = "--experimental-rerun is of Hydra; give the overrides of that run again";
    } else if (cfg != null && !cfg.equals("job")) {
      why = "--cfg " + cfg + ": expected job; Hydra itself does not run here";
    }
    if (why != null) {
      throw new InputException(
          why + ". --cfg job prints the configuration that a run would use, and stops.");
    }
  }

  /** Apart, so that the other commands start without the classes of configurations. */
  private static final class Work {
    static InputException noSweep(List<String> overrides) {
      String loop = Sweep.loop(overrides);
      return new InputException(
          loop.startsWith("for ")
              ? "--multirun: sweeps are not supported; run once for each value, as in: " + loop
              : "--multirun: sweeps are not supported, and no override has several values; leave it"
                  + " out");
    }

    static int run(RunCommand command) {
      PrintWriter out = command.spec.commandLine().getOut();
      PrintWriter err = command.spec.commandLine().getErr();
      Map<String, String> environment = Main.environment(command.spec);
      ConfigTree tree = ConfigTree.embedded();
      if (command.configDir != null) {
        tree.with(command.configDir);
      }
      if (command.configPath != null) {
        tree.with(command.configPath);
      }
      Composition composition = Composition.of(tree, command.configName, command.overrides);
      composition.notes().forEach(note -> err.println("note: " + note));
      LocalDateTime now = LocalDateTime.now(ZoneId.systemDefault());
      if (command.cfg == null) {
        Program program =
            new Program(composition, now, environment::get, Main.words(command.spec), out, err);
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
