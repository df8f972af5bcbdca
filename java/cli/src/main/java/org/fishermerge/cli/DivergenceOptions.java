package org.fishermerge.cli;

import java.util.Optional;
import java.util.function.UnaryOperator;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.cli.tune.DivergenceSearch;
import org.fishermerge.estimate.tune.BlendTuning;
import org.fishermerge.merge.Layers;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** Options of {@code search --by kl} and {@code --by blend}. */
final class DivergenceOptions {
  /** Which parameters of a blend share coefficients. */
  enum Per {
    /** None. */
    TENSOR,
    /** Those of a layer. */
    LAYER,
    /** All. */
    MODEL
  }

  @Option(
      names = "--rule",
      paramLabel = "fisher|kronecker|regmean",
      description =
          "By kl and blend: the only rule to try beside the average (default: all that the models'"
              + " files allow).")
  private MergeCommand.@Nullable Rule rule;

  @Option(
      names = "--minutes",
      paramLabel = "M",
      description =
          "By kl and blend: begin no try and no step after so many minutes (default: no limit).")
  private @Nullable Double minutes;

  @Option(
      names = "--per",
      paramLabel = "tensor|layer|model",
      description =
          "By blend: what has coefficients of its own, each tensor, each layer or the whole model"
              + " (default: tensor).")
  private @Nullable Per per;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description =
          "By blend: most steps of the search (default: " + BlendTuning.Settings.USUAL_STEPS + ").")
  private @Nullable Integer steps;

  @Option(
      names = "--step-examples",
      paramLabel = "N",
      description =
          "By blend: examples of each task in a step (default: "
              + BlendTuning.Settings.USUAL_EXAMPLES
              + ").")
  private @Nullable Integer stepExamples;

  /** Refuses what the way of searching does not take. */
  void check(CommandLine command, SearchCommand.By by) {
    if (by == SearchCommand.By.ACCURACY && (minutes != null || rule != null)) {
      throw new ParameterException(command, "--rule and --minutes go with --by kl and --by blend");
    }
    if (by != SearchCommand.By.BLEND && (per != null || steps != null || stepExamples != null)) {
      throw new ParameterException(
          command, "--per, --steps and --step-examples go with --by blend");
    }
    if (minutes != null && !(minutes > 0)) {
      throw new InputException("--minutes " + minutes + ": must be above 0");
    }
    SearchCommand.requireAtLeastOne("--steps", steps());
    SearchCommand.requireAtLeastOne("--step-examples", stepExamples());
  }

  private int steps() {
    return steps == null ? BlendTuning.Settings.USUAL_STEPS : steps;
  }

  private int stepExamples() {
    return stepExamples == null ? BlendTuning.Settings.USUAL_EXAMPLES : stepExamples;
  }

  /** The statistic of the only rule to try; empty for all. */
  Optional<StatisticKind> statistic() {
    return Optional.ofNullable(rule)
        .map(only ->
            switch (only) {
              case FISHER -> StatisticKind.DIAGONAL_FISHER;
              case KRONECKER -> StatisticKind.KRONECKER;
              case REGMEAN -> StatisticKind.GRAM;
            });
  }

  /** How long tries and steps may begin. */
  double minutes() {
    return minutes == null ? Double.POSITIVE_INFINITY : minutes;
  }

  DivergenceSearch.Blending blending(long seed) {
    return new DivergenceSearch.Blending(
        group(), BlendTuning.Settings.usual(seed).with(steps(), stepExamples()));
  }

  /** Which parameters share coefficients: those with the same text. */
  private UnaryOperator<String> group() {
    return switch (per == null ? Per.TENSOR : per) {
      case TENSOR -> name -> name;
      case LAYER -> Layers::layerOf;
      case MODEL -> name -> "";
    };
  }
}
