package org.fishermerge.torch.nn;

/** Inputs that run together. */
public interface Batch {
  /** B. */
  int examples();
}
