package org.fishermerge.torch.nn;

/**
 * Receives what layers show: during a forward pass the inputs of linear layers, in the order in
 * which they run; during a backward pass every layer with parameters, from the last to the first.
 */
@FunctionalInterface
public interface LayerVisitor {
  /** The tensors of the visit are borrowed for the time of the call. */
  void visit(LayerVisit visit);
}
