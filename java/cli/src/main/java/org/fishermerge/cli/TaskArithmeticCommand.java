package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeSource;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * {@code task-arithmetic}: {@code base + s sum_i c_i (theta_i - base)} (Ilharco et al. 2023), which
 * is the average of the models with coefficients {@code s c_i} and of the base with what these
 * leave of 1.
 */
@Command(
    name = "task-arithmetic",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Adds what fine-tuning changed to the base: base + S * sum of C * (model - base).")
final class TaskArithmeticCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Mixin private MergeOptions options = new MergeOptions();

  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description =
          "A model fine-tuned from the base; BASE+ADAPTER for a LoRA adapter. Repeatable.")
  private List<Path> models = List.of();

  @Option(
      names = "--scaling-factor",
      paramLabel = "S",
      description =
          "Factor of all differences (default: ${DEFAULT-VALUE}, FusionBench's scaling_factor).")
  private double scalingFactor = 0.3;

  @Mixin private CoefficientOptions coefficients = new CoefficientOptions();

  @Override
  public Integer call() {
    if (!Double.isFinite(scalingFactor)) {
      throw new InputException("--scaling-factor " + scalingFactor + ": must be finite");
    }
    try (Places places = new Places(spec)) {
      options.locate(places);
      MergeRequest.Builder request = options.request();
      double left = 1;
      for (int i = 0; i < models.size(); i++) {
        double share = scalingFactor * coefficients.of(i, models.size());
        left -= share;
        request.source(new MergeSource(places.model(models.get(i)), null, share));
      }
      request.baseShare(left);
      return options.run(request.build(), spec.commandLine());
    }
  }
}
