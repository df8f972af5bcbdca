package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Precision;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** BF16 on the CPU against float64 autograd. */
final class PrecisionTest {
  private static final Kernels KERNELS =
      Kernels.open(new KernelOptions("auto", "auto", Optional.empty(), 1));

  @AfterEach
  void backToFp32() {
    LibTorch.usePrecision(Precision.FP32);
  }

  /**
   * The largest |a - b| / |b| of a tensor, in the 2-norm. A bias of keys moves all scores of a
   * query alike, so that its Fisher is nothing but rounding: it is compared with that of the
   * queries.
   */
  private static double worst(Map<String, float[]> actual, Map<String, float[]> expected) {
    assertThat(actual.keySet()).isEqualTo(expected.keySet());
    double worst = 0;
    for (Map.Entry<String, float[]> entry : expected.entrySet()) {
      float[] b = entry.getValue();
      float[] scale =
          Objects.requireNonNull(
              expected.get(entry.getKey().replace("k_proj.bias", "q_proj.bias")));
      float[] a = Objects.requireNonNull(actual.get(entry.getKey()));
      double difference = 0;
      double norm = 0;
      for (int j = 0; j < b.length; j++) {
        difference += Math.pow((double) a[j] - b[j], 2);
        norm += Math.pow(scale[j], 2);
      }
      worst = Math.max(worst, Math.sqrt(difference / norm));
    }
    return worst;
  }

  @Test
  void clip() {
    GoldenTask task = new GoldenTask(GoldenTask.NAMES.getFirst());
    LibTorch.usePrecision(Precision.BF16);
    Map<String, float[]> actual = task.estimate(Objective.parse("exact"), 2, 0, KERNELS);
    double worst = worst(actual, task.fisher("exact"));
    // Above what fp32 gives, so that it is known to have been used. 8 bits in every product add up
    // to 7 % of a square on the way to the first layers.
    assertThat(worst).isBetween(1e-3, 0.1);
  }

  @Test
  void gpt2() {
    Gpt2GoldenTask task = new Gpt2GoldenTask(Gpt2GoldenTask.NAMES.getFirst());
    LibTorch.usePrecision(Precision.BF16);
    Map<String, float[]> actual =
        task.estimate(Objective.parse("exact"), Gpt2GoldenTask.inOrder(2), 1, KERNELS);
    double worst = worst(actual, task.fisher("exact"));
    assertThat(worst).isBetween(1e-3, 0.02);
  }

  @Test
  void theCpuHasNoTf32() {
    assertThatThrownBy(() -> LibTorch.usePrecision(Precision.TF32))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("tf32 is a format of GPUs; take bf16, or --device cuda");
  }
}
