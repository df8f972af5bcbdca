package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.estimate.Tool;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code add}: joins Fisher files of one model that were estimated on different examples. */
@Command(
    name = "add",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Adds Fisher files of the same model and estimator: sums and example counts add up.")
final class AddCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(arity = "2..*", paramLabel = "FISHER", description = "Fisher files.")
  private List<Path> inputs = List.of();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "Where the sum goes.")
  private Path out = Path.of("");

  @Option(names = "--overwrite", description = "Replace an existing file.")
  private boolean overwrite;

  @Override
  public Integer call() {
    try (Places places = new Places(spec)) {
      StatisticFile.add(
          inputs.stream().map(places::fisher).toList(), out, overwrite, Tool.nameAndVersion());
    }
    try (StatisticFile sum = StatisticFile.open(out)) {
      spec.commandLine()
          .getOut()
          .printf("%s: the sum of %d files, %d examples%n", out, inputs.size(), sum.examples());
    }
    return 0;
  }
}
