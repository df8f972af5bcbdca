package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.MergeSource;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code merge}: the Fisher-weighted average of several models. */
@Command(
    name = "merge",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Merges models by their Fisher information, its diagonal or its Kronecker factors, or by the"
            + " regression means of their layers.")
final class MergeCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Mixin private MergeOptions options = new MergeOptions();

  @ArgGroup(exclusive = false, multiplicity = "1..*")
  private final List<Pair> pairs = new ArrayList<>(); // picocli adds to it

  /** A model and its Fisher file. */
  private static final class Pair {
    @Option(
        names = "--model",
        required = true,
        paramLabel = "DIR",
        description =
            "A fine-tuned model, BASE+ADAPTER for a LoRA adapter, followed by its Fisher file."
                + " Repeat the pair.")
    Path model = Path.of("");

    @Option(
        names = "--fisher",
        required = true,
        paramLabel = "FILE",
        description = "The Fisher file of the model before it.")
    Path fisher = Path.of("");
  }

  @Mixin private WeightingOptions weighting = new WeightingOptions();
  @Mixin private ScalingOption scaling = new ScalingOption();
  @Mixin private CoefficientOptions coefficients = new CoefficientOptions();

  /** Which rule weighs the models. */
  enum Rule {
    /** By the diagonal Fisher. */
    FISHER,
    /** Linear layers by Kronecker factors. */
    KRONECKER,
    /** Linear layers by regression means. */
    REGMEAN
  }

  @Option(
      names = "--rule",
      paramLabel = "fisher|kronecker|regmean",
      description =
          "fisher weights each parameter by its diagonal Fisher; kronecker solves for each linear"
              + " layer with the Kronecker-factored Fisher of fisher --statistic kronecker; regmean"
              + " with the Gram matrices of fisher --statistic gram, so that its outputs differ least"
              + " from the models'; both average the rest (default: fisher).")
  private Rule rule = Rule.FISHER;

  @Mixin private LayerRuleOptions layers = new LayerRuleOptions();
  @Mixin private ReportOption reports = new ReportOption();

  private MergeRule rule() {
    return switch (rule) {
      case FISHER -> {
        layers.requireUnused(spec.commandLine());
        yield weighting.rule(scaling.factor);
      }
      case KRONECKER -> layers.kronecker(weighting, scaling.factor, spec.commandLine());
      case REGMEAN -> layers.regMean(weighting, scaling.factor, spec.commandLine());
    };
  }

  @Override
  public Integer call() {
    try (Places places = new Places(spec)) {
      options.locate(places);
      MergeRequest.Builder request =
          weighting.apply(
              options
                  .request(rule())
                  .measureShares(reports.isWanted())
                  .coefficients(coefficients.byTensor(pairs.size(), options.out)));
      for (int i = 0; i < pairs.size(); i++) {
        Pair pair = pairs.get(i);
        request.model(
            MergeSource.of(places.model(pair.model), places.fisher(pair.fisher))
                .withCoefficient(coefficients.of(i, pairs.size())));
      }
      return options.run(request.build(), spec.commandLine(), reports);
    }
  }
}
