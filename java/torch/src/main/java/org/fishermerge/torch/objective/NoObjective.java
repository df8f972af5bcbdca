package org.fishermerge.torch.objective;

import org.bytedeco.pytorch.Tensor;

/** Nothing is pulled back. */
record NoObjective() implements Objective {
  @Override
  public String text() {
    return "none";
  }

  @Override
  public int mostProbes(int classes) {
    return 0;
  }

  @Override
  public Probes probes(Tensor logits, BatchExamples examples) {
    throw new IllegalStateException("an estimate without backward passes");
  }
}
