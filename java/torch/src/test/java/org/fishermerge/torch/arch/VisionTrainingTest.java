package org.fishermerge.torch.arch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;
import org.junit.jupiter.api.Test;

/** Gradients are compared with the Fisher pass in {@link FisherEstimatorTest}. */
final class VisionTrainingTest {
  private static Tensor values(int seed) {
    float[] values = new float[2 * 3 * 7 * 5];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) Math.sin(seed + 1.3 * i);
    }
    return Tensors.copyOf(values, 2, 3, 7, 5);
  }

  /** GPUs train with the one, the CPU with the other. */
  @Test
  void bothAttentionsAreTheSame() {
    LibTorch.initialize();
    try (PointerScope scope = new PointerScope()) {
      Tensor query = values(1);
      Tensor key = values(2);
      Tensor value = values(3);
      float[] fused = Tensors.floats(VisionTraining.fused(query, key, value));
      float[] writtenOut = Tensors.floats(VisionTraining.writtenOut(query, key, value));
      assertThat(fused).hasSameSizeAs(writtenOut);
      for (int i = 0; i < fused.length; i++) {
        assertThat(fused[i]).as("element %d", i).isCloseTo(writtenOut[i], within(1e-5f));
      }
    }
  }
}
