package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.merge.MergeRequest;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code mergekit}: a merge by a recipe of mergekit's. */
@Command(
    name = "mergekit",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Merges by a recipe of mergekit's: linear, slerp, task_arithmetic, ties, dare_linear,"
            + " dare_ties, breadcrumbs and breadcrumbs_ties.",
    footer = {
      "",
      "Weights, densities and t may be lists over the layers, and lists of filters. What a recipe"
          + " asks for beyond these is refused before anything is written. Computed in float32 and"
          + " rounded once to the recipe's dtype."
    })
final class MergekitCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(index = "0", paramLabel = "RECIPE.yml", description = "The recipe.")
  private Path recipe = Path.of("");

  @Parameters(index = "1", paramLabel = "OUT", description = "The folder of the merged model.")
  private Path out = Path.of("");

  @Option(
      names = {"--seed", "--random-seed"},
      paramLabel = "N",
      description = "Of what dare drops (default: ${DEFAULT-VALUE}).")
  private long seed = 0;

  @Mixin private DeviceOption device = new DeviceOption();
  @Mixin private DifferenceOptions different = new DifferenceOptions();

  @Mixin private OutputOptions output = new OutputOptions();
  @Mixin private ReportOption reports = new ReportOption();

  @Option(
      names = "--out-shard-size",
      paramLabel = "SIZE",
      converter = ByteSize.class,
      description = "mergekit's name of --shard-size.")
  void shardSize(long bytes) {
    output.shardBytes = bytes;
  }

  @Override
  public Integer call() {
    AtomicOutput.requireNotOver(out, List.of(recipe));
    reports.requireApart(out, List.of(recipe));
    MergekitRecipe read = MergekitRecipe.read(recipe);
    try (Places places = new Places(spec)) {
      MergeRequest.Builder request =
          read.request(name -> places.model(Path.of(name)), out, seed)
              .overwrite(output.overwrite)
              .shardBytes(output.shardBytes)
              .measureShares(reports.isWanted());
      different.keys.forEach(request::allowDifferent);
      return MergeOptions.run(request.build(), output.dryRun, device, spec.commandLine(), reports);
    }
  }
}
