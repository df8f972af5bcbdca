package org.fishermerge.cli;

import java.io.PrintWriter;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.demo.Demo;
import org.fishermerge.cli.demo.DemoRecipe;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code demo}: the main job on an embedded default. */
@Command(
    name = "demo",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Runs the main job on eight small picture tasks that ship with the program: estimates"
            + " eight Fishers, merges, evaluates, prints a table of accuracies.")
final class DemoCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--out",
      paramLabel = "DIR",
      description = "Where its files go (default: outputs/demo-TIME).")
  private @Nullable Path out;

  @Option(
      names = "--train",
      paramLabel = "FILE.safetensors",
      description =
          "Instead, train the demo's models anew, as the shipped ones were (minutes;"
              + " much faster with OPENBLAS_NUM_THREADS=1, its layers are that small).")
  private @Nullable Path train;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "With --train: of weights and pictures (default: 0, of the shipped models).")
  private @Nullable Long seed;

  @Option(
      names = "--rate",
      paramLabel = "R",
      description =
          "With --train: learning rate of fine-tuning; higher ones take the models farther apart"
              + " (default: 5e-4, of the shipped models).")
  private @Nullable Double rate;

  @Option(
      names = "--models",
      paramLabel = "FILE.safetensors",
      description = "Run on models that --train wrote (default: those that ship with the program).")
  private @Nullable Path models;

  @Option(
      names = "--examples",
      paramLabel = "N",
      defaultValue = "256",
      description =
          "Pictures of each task that Fishers are estimated and merges searched on (default: 256);"
              + " fewer take less time.")
  private int examples;

  @Option(
      names = "--verbose",
      description = "Print each command that it runs and what that command prints.")
  private boolean verbose;

  @Override
  public Integer call() {
    PrintWriter err = spec.commandLine().getErr();
    if (train != null) {
      // A place that cannot be written is found before the work, not after it.
      AtomicOutput.file(train, false).close();
      DemoRecipe shipped = DemoRecipe.SHIPPED;
      Demo.train(
          train,
          err,
          shipped.with(
              seed == null ? shipped.seed() : seed, rate == null ? shipped.taskRate() : rate));
      spec.commandLine().getOut().println(train + ": nine models");
      return 0;
    }
    if (seed != null || rate != null) {
      throw new ParameterException(spec.commandLine(), "--seed and --rate go with --train");
    }
    if (examples < 1) {
      throw new InputException("--examples " + examples + ": must be at least 1");
    }
    Path folder = out == null ? Path.of("outputs", "demo-" + stamp()) : out;
    if (Files.exists(folder)) {
      throw new InputException(
          folder
              + (Demo.isUnfinished(folder)
                  ? ": holds a demo that was stopped, which cannot go on; remove the folder, or name"
                      + " a new one with --out"
                  : ": already exists; name a new folder with --out"));
    }
    PrintWriter results = spec.commandLine().getOut();
    PrintWriter inner = verbose ? results : new PrintWriter(Writer.nullWriter());
    try (Demo demo =
        new Demo(
            folder,
            Optional.ofNullable(models),
            examples,
            results,
            err,
            args -> {
              if (verbose) {
                results.println("$ fisher-merge " + String.join(" ", args));
              }
              return Main.run(inner, err, args);
            },
            Main.words(spec))) {
      demo.run();
    }
    return 0;
  }

  /** Not a constant: every command would load the classes of formats as it starts. */
  private static String stamp() {
    return LocalDateTime.now(ZoneId.systemDefault())
        .format(DateTimeFormatter.ofPattern("yyyy-MM-dd_HH-mm-ss"));
  }
}
