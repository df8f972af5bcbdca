package org.fishermerge.kernels;

/** Looks at values of averages while they are in the cache; may be called by several threads. */
@FunctionalInterface
public interface AverageVisitor {
  /** Looks at nothing. */
  AverageVisitor NONE = (average, from, to) -> {};

  /**
   * The elements [from, to) were averaged. Of each average, every element is visited once, in no
   * order.
   *
   * @param average index of the average in the list that was given
   */
  void visit(int average, long from, long to);
}
