package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;
import java.util.function.IntFunction;

/** Looks at values of averages while they are in the cache; may be called by several threads. */
@FunctionalInterface
public interface AverageVisitor {
  /** Looks at nothing. */
  AverageVisitor NONE = (average, from, to, fishers) -> {};

  /**
   * The elements [from, to) were averaged. Of each average, every element is visited once, in no
   * order.
   *
   * @param average index of the average in the list that was given
   * @param fishers gives elements [from, to) of an input's Fisher, of the inputs that have one, to
   *     be read by this thread before it asks for the next
   */
  void visit(int average, long from, long to, IntFunction<MemorySegment> fishers);
}
