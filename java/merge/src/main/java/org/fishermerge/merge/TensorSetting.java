package org.fishermerge.merge;

import java.util.Collection;
import java.util.List;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.InputException;

/** A number that may differ from tensor to tensor and from model to model. */
@FunctionalInterface
public interface TensorSetting {
  /**
   * Its value.
   *
   * @param tensor the base's name of it
   * @param model place of the model in the request
   */
  double of(String tensor, int model);

  /** For people. */
  default String text() {
    return "by tensor";
  }

  /**
   * Refuses parts of the setting that have no effect.
   *
   * @param tensors the base's names of all parameters that are merged
   * @throws InputException if there are some
   */
  default void requireUsed(Collection<String> tensors) {}

  /** One value for all. */
  static TensorSetting of(double value) {
    return new PerModel(List.of(value));
  }

  /** One value for each model, in their order, or one for all. */
  static TensorSetting of(List<Double> values) {
    return new PerModel(values);
  }

  /**
   * Values of models, the same in all tensors.
   *
   * @param values one for each model, or one for all
   */
  record PerModel(List<Double> values) implements TensorSetting {
    /** Copies the list. */
    public PerModel {
      values = List.copyOf(values);
    }

    @Override
    public double of(String tensor, int model) {
      return values.get(values.size() == 1 ? 0 : model);
    }

    @Override
    public String text() {
      return values.stream().map(String::valueOf).collect(Collectors.joining(", "));
    }
  }
}
