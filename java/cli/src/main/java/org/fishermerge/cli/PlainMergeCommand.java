package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.MergeSource;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** A merge of models alone, by a rule that needs no statistic files. */
abstract class PlainMergeCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Mixin private MergeOptions options = new MergeOptions();

  @Option(
      names = "--model",
      required = true,
      paramLabel = "DIR",
      description = "A fine-tuned model; BASE+ADAPTER for a LoRA adapter. Repeatable.")
  private List<Path> models = List.of();

  @Mixin private CoefficientOptions coefficients = new CoefficientOptions();
  @Mixin private ReportOption reports = new ReportOption();

  /** The rule that the command's own options ask for. */
  abstract MergeRule rule();

  /** How many models are given. */
  final int models() {
    return models.size();
  }

  @Override
  public final Integer call() {
    MergeRule rule = rule();
    try (Places places = new Places(spec)) {
      options.locate(places);
      MergeRequest.Builder request =
          options
              .request(rule)
              .measureShares(reports.isWanted())
              .coefficients(coefficients.byTensor(models.size(), options.out));
      for (int i = 0; i < models.size(); i++) {
        request.model(
            MergeSource.of(places.model(models.get(i)))
                .withCoefficient(coefficients.of(i, models.size())));
      }
      return options.run(request.build(), spec.commandLine(), reports);
    }
  }
}
