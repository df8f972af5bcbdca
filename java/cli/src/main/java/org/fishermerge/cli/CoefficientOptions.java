package org.fishermerge.cli;

import java.util.List;
import org.fishermerge.checkpoint.InputException;
import picocli.CommandLine.Option;

/** The option that gives each model its coefficient. */
final class CoefficientOptions {
  @Option(
      names = "--coefficients",
      split = ",",
      paramLabel = "C",
      description = "One factor per model, in their order (default: all 1).")
  private List<Double> coefficients = List.of();

  /** The coefficient of the {@code index}-th of {@code models} models. */
  double of(int index, int models) {
    if (coefficients.isEmpty()) {
      return 1;
    }
    if (coefficients.size() != models) {
      throw new InputException(
          "--coefficients has " + coefficients.size() + " values for " + models + " models");
    }
    return coefficients.get(index);
  }
}
