package org.fishermerge.torch.nn;

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
  public record Member(String name, List<Long> shape) {
    /** Product of the shape. */
    public long elementCount() {
      return shape.stream().mapToLong(Long::longValue).reduce(1, Math::multiplyExact);
    }
  }

  private final List<Member> parameters;
  private final long elementCount;

  public ParameterGroup(Member... parameters) {
    this.parameters = List.of(parameters);
    this.elementCount =
        this.parameters.stream().mapToLong(Member::elementCount).reduce(0, Math::addExact);
  }

  /** In their order in memory. */
  public List<Member> parameters() {
    return parameters;
  }

  /** The number of elements of all of them together. */
  public long elementCount() {
    return elementCount;
  }
}
