package org.fishermerge.torch.nn;

/** Inputs that run together. */
public interface Batch {
  /** The number of examples, B. */
  int examples();
}
