package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.merge.TaskArithmetic;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code task-arithmetic}: {@code base + s sum_i c_i (theta_i - base)}. */
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
  private double scalingFactor = TaskArithmetic.DEFAULT_SCALING_FACTOR;

  @Mixin private CoefficientOptions coefficients = new CoefficientOptions();

  @Override
  public Integer call() {
    TaskArithmetic rule = new TaskArithmetic(scalingFactor);
    try (Places places = new Places(spec)) {
      options.locate(places);
      MergeRequest.Builder request = options.request(rule);
      for (int i = 0; i < models.size(); i++) {
        request.model(
            MergeSource.of(places.model(models.get(i)))
                .withCoefficient(coefficients.of(i, models.size())));
      }
      return options.run(request.build(), spec.commandLine());
    }
  }
}
