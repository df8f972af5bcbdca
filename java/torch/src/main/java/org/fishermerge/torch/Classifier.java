package org.fishermerge.torch;

import java.util.List;
import org.fishermerge.torch.nn.ParameterGroup;

/**
 * A model that gives class logits and can be differentiated: all that {@link FisherEstimator} needs
 * to know of one. How a batch of inputs becomes a {@link ForwardPass} is each model's own matter.
 */
public interface Classifier {
  /** Classes K of the logits. */
  int classCount();

  /** The parameters whose Fisher information is wanted. */
  List<ParameterGroup> parameterGroups();
}
