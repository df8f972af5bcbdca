package org.fishermerge.estimate;

import org.fishermerge.torch.ForwardPass;
import org.jspecify.annotations.Nullable;

/** What is done with each batch of a {@link ModelOnData}. */
public interface BatchWork {
  /**
   * Works on one batch.
   *
   * @param batch to be run before this returns
   * @param labels the examples' own, or null where there are none
   */
  void run(ForwardPass.Source batch, long @Nullable [] labels);
}
