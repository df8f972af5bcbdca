package org.fishermerge.torch.nn;

/** Is shown every layer with parameters on the way back, from the last to the first. */
@FunctionalInterface
public interface LayerVisitor {
  /** The tensors of the visit are borrowed for the time of the call. */
  void visit(LayerVisit visit);
}
