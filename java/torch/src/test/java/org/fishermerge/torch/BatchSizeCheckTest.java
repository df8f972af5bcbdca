package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.arch.ClipVisionTower;
import org.fishermerge.torch.arch.NetworkClassifier;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.objective.LabelRule;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class BatchSizeCheckTest {
  /**
   * Logits of an example are its inputs, less a share of the mean over its batch, plus a bias: a
   * share of zero is an ordinary classifier, any other one mixes the examples of a batch. The
   * Fisher information of the bias is the sum of p (1 - p).
   */
  private record CentringClassifier(double share, ParameterGroup bias) implements Classifier {
    static final int CLASSES = 3;
    static final double[][] INPUTS = {{1, 0, -1}, {0.5, 2, 0}, {-1, 1, 1}, {3, 0, 0}, {0, -2, 1}};

    CentringClassifier(double share) {
      this(share, new ParameterGroup(new ParameterGroup.Member("bias", List.of((long) CLASSES))));
    }

    @Override
    public int classCount() {
      return CLASSES;
    }

    @Override
    public List<ParameterGroup> parameterGroups() {
      return List.of(bias);
    }

    double[][] logits(int first, int count) {
      double[][] logits = new double[count][CLASSES];
      for (int k = 0; k < CLASSES; k++) {
        double mean = 0;
        for (int b = 0; b < count; b++) {
          mean += INPUTS[first + b][k] / count;
        }
        for (int b = 0; b < count; b++) {
          logits[b][k] = INPUTS[first + b][k] - share * mean;
        }
      }
      return logits;
    }

    ForwardPass forward(int first, int count) {
      float[] flat = new float[count * CLASSES];
      double[][] logits = logits(first, count);
      for (int i = 0; i < flat.length; i++) {
        flat[i] = (float) logits[i / CLASSES][i % CLASSES];
      }
      return new ForwardPass(Tensors.copyOf(flat, count, CLASSES)) {
        @Override
        public long bytesPerProbe() {
          return (long) count * CLASSES * Float.BYTES;
        }

        @Override
        public void backward(
            Tensor logitCotangents, @Nullable Tensor examples, LayerVisitor visitor, boolean last) {
          try (PointerScope scope = new PointerScope()) {
            visitor.visit(new LayerVisit.Added(bias, logitCotangents.unsqueeze(2)));
          }
        }
      };
    }

    /** The Fisher information of the bias by its definition, for some cut into batches. */
    double[] fisher(int count, int batch) {
      double[] sums = new double[CLASSES];
      for (int first = 0; first < count; first += batch) {
        for (double[] logits : logits(first, Math.min(batch, count - first))) {
          double total = 0;
          for (double z : logits) {
            total += Math.exp(z);
          }
          for (int k = 0; k < CLASSES; k++) {
            double p = Math.exp(logits[k]) / total;
            sums[k] += p * (1 - p);
          }
        }
      }
      return sums;
    }

    double deviation(int count, int batch) {
      double[] whole = fisher(count, count);
      double[] parts = fisher(count, batch);
      double difference = 0;
      double largest = 0;
      for (int k = 0; k < CLASSES; k++) {
        difference = Math.max(difference, Math.abs(whole[k] - parts[k]));
        largest = Math.max(largest, whole[k]);
      }
      return difference / largest;
    }
  }

  private static BatchSizeCheck.Deviation check(CentringClassifier classifier, int count) {
    LibTorch.initialize();
    try (Kernels kernels = kernels()) {
      return BatchSizeCheck.run(
          () -> new FisherEstimator(classifier, new LabelRule.Exact(), 0, kernels),
          (first, number) -> wanted -> classifier.forward(first, number),
          count,
          null);
    }
  }

  private static Kernels kernels() {
    return Kernels.open(KernelOptions.fromSystemProperties());
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4, 5})
  void aModelThatMixesTheExamplesOfABatchFails(int count) {
    CentringClassifier mixing = new CentringClassifier(1);
    assertThatThrownBy(() -> check(mixing, count))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(
            count + " examples",
            "batches of " + (count + 1) / 2,
            "values of bias differ by "
                + String.format("%.2g", mixing.deviation(count, (count + 1) / 2)),
            "batch size of 1");
  }

  /** From none to just below what is tolerated. */
  @ParameterizedTest
  @CsvSource({"0, 0, 1e-6", "0.001, 1e-5, 1e-3"})
  void theDeviationIsTheLargestDifference(double share, double atLeast, double atMost) {
    CentringClassifier classifier = new CentringClassifier(share);
    double expected = classifier.deviation(5, 3);
    assertThat(expected).isBetween(atLeast, atMost);
    BatchSizeCheck.Deviation deviation = check(classifier, 5);
    assertThat(deviation.tensor()).isEqualTo("bias");
    assertThat(deviation.relative()).isCloseTo(expected, within(2e-6));
  }

  @ParameterizedTest
  @ValueSource(strings = {"exact", "sampled:2", "argmax", "true"})
  void aTowerPasses(String labels) {
    GoldenTask task = new GoldenTask("beta");
    MemorySegment pixels = MemorySegment.ofArray(task.values("pixel_values"));
    long bytes = (long) GoldenTask.PIXELS * Float.BYTES;
    try (Kernels kernels = kernels();
        ClipVisionTower tower = task.tower();
        ZeroShotHead head = task.head()) {
      NetworkClassifier<Pixels> classifier = tower.under(head);
      BatchSizeCheck.Deviation deviation =
          BatchSizeCheck.run(
              () -> new FisherEstimator(classifier, Objective.parse(labels), 3, kernels),
              (first, count) ->
                  wanted ->
                      classifier.forward(
                          new Pixels(pixels.asSlice(first * bytes, count * bytes), count), wanted),
              6,
              task.labels());
      assertThat(tower.network().parameters())
          .flatExtracting(ParameterGroup::parameters)
          .extracting(ParameterGroup.Member::name)
          .contains(deviation.tensor());
      assertThat(deviation.relative()).isLessThan(1e-4);
    }
  }

  @Test
  void oneExampleHasNoSmallerBatch() {
    assertThatThrownBy(() -> check(new CentringClassifier(0), 1))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
