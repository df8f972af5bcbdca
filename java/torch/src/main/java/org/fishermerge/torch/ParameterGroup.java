package org.fishermerge.torch;

import java.util.List;

/**
 * Parameters whose Fisher values lie one after the other in memory because one kernel call fills
 * them: the q, k and v weights that share an input, or a single parameter. Compared by identity.
 */
public final class ParameterGroup {
  /**
   * One parameter.
   *
   * @param name canonical name
   * @param shape as stored in the checkpoint
   */
  record Parameter(String name, List<Long> shape) {
    long elementCount() {
      return shape.stream().mapToLong(Long::longValue).reduce(1, Math::multiplyExact);
    }
  }

  private final List<Parameter> parameters;
  private final long elementCount;

  ParameterGroup(Parameter... parameters) {
    this.parameters = List.of(parameters);
    this.elementCount =
        this.parameters.stream().mapToLong(Parameter::elementCount).reduce(0, Math::addExact);
  }

  List<Parameter> parameters() {
    return parameters;
  }

  long elementCount() {
    return elementCount;
  }
}
