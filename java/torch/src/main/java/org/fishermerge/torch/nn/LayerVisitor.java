package org.fishermerge.torch.nn;

/** Receives every layer with parameters during a backward pass, from the last to the first. */
@FunctionalInterface
public interface LayerVisitor {
  /** The tensors of the visit are borrowed for the time of the call. */
  void visit(LayerVisit visit);
}
