package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticKind;

/**
 * A sum of task vectors with coefficients of its own for each parameter,
 *
 * <pre>
 * theta_t = base_t + sum_k c_tk (theta_tk - base_t)
 * </pre>
 *
 * as AdaMerging (Yang et al. 2024) has it layer by layer: the average of the models with these
 * coefficients, and of the base with what they leave of 1. The coefficients of the request's models
 * have no effect.
 *
 * @param coefficients c_t by canonical name, one for each model, finite and of any sign
 * @param others those of parameters that are not named
 */
public record Blend(Map<String, List<Double>> coefficients, List<Double> others)
    implements ElementwiseRule {
  /**
   * Copies the coefficients.
   *
   * @throws InputException if one is not finite
   */
  public Blend {
    Map<String, List<Double>> copy = new LinkedHashMap<>();
    int models = others.size();
    coefficients.forEach((name, values) -> {
      if (values.size() != models) {
        throw new InputException(
            "%d coefficients of '%s' for %d models".formatted(values.size(), name, models));
      }
      requireFinite(name, values);
      copy.put(name, List.copyOf(values));
    });
    requireFinite("all others", others);
    coefficients = Collections.unmodifiableMap(copy);
    others = List.copyOf(others);
  }

  private static void requireFinite(String name, List<Double> values) {
    if (!values.stream().allMatch(Double::isFinite)) {
      throw new InputException("coefficients of '" + name + "' must be finite, not " + values);
    }
  }

  @Override
  public List<MergeSource> operands(Path base, List<MergeSource> models) {
    if (models.size() != others.size()) {
      throw new InputException(
          "coefficients for %d models, but %d models".formatted(others.size(), models.size()));
    }
    List<MergeSource> operands = new ArrayList<>(models);
    operands.add(MergeSource.of(base));
    return operands;
  }

  @Override
  public String title() {
    return "blend";
  }

  @Override
  public Set<StatisticKind> statistics() {
    return Set.of();
  }

  @Override
  public Optional<String> settings() {
    return Optional.of(
        "coefficients of %d parameters, all others %s".formatted(coefficients.size(), others));
  }

  @Override
  public boolean takesNegativeCoefficients() {
    return true;
  }

  @Override
  public List<Weight> weights(List<Operand> operands) {
    return weightsOf(others);
  }

  @Override
  public List<Weight> weights(String parameter, List<Operand> operands) {
    return weightsOf(coefficients.getOrDefault(parameter, others));
  }

  private static List<Weight> weightsOf(List<Double> values) {
    List<Weight> weights = new ArrayList<>();
    double left = 1;
    for (double c : values) {
      left -= c;
      weights.add(new Weight(0, c));
    }
    weights.add(new Weight(0, left));
    return weights;
  }

  /** {@inheritDoc} Those of parameters without coefficients of their own. */
  @Override
  public List<Double> shares(List<Operand> operands) {
    return weightsOf(others).stream().map(Weight::offset).toList();
  }
}
