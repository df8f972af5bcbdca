package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeSource;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code average}: the plain average of several models, the yardstick of every merge. */
@Command(
    name = "average",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = "Averages models without Fisher information.")
final class AverageCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Mixin private MergeOptions options = new MergeOptions();

  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description = "A fine-tuned model; BASE+ADAPTER for a LoRA adapter. Repeatable.")
  private List<Path> models = List.of();

  @Mixin private ScalingOption scaling = new ScalingOption();
  @Mixin private CoefficientOptions coefficients = new CoefficientOptions();

  @Override
  public Integer call() {
    try (Places places = new Places(spec)) {
      options.locate(places);
      MergeRequest.Builder request = options.request(new Average(scaling.factor));
      for (int i = 0; i < models.size(); i++) {
        request.model(
            MergeSource.of(places.model(models.get(i)))
                .withCoefficient(coefficients.of(i, models.size())));
      }
      return options.run(request.build(), spec.commandLine());
    }
  }
}
