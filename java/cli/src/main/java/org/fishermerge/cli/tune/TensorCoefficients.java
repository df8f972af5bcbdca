package org.fishermerge.cli.tune;

import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.merge.TensorSetting;

/**
 * Coefficients of directions that were found for each tensor.
 *
 * @param byName one for each direction, by the tensor's canonical name
 * @param others those of tensors that the search did not move, such as a text tower's
 */
public record TensorCoefficients(Map<String, List<Double>> byName, List<Double> others)
    implements TensorSetting {
  @Override
  public double of(String tensor, int model) {
    List<Double> found = byName.get(tensor);
    return (found != null ? found : byName.getOrDefault(ParameterNames.canonical(tensor), others))
        .get(model);
  }

  @Override
  public String text() {
    return "of %d tensors".formatted(byName.size());
  }
}
