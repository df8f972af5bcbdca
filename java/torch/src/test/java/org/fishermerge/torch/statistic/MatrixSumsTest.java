package org.fishermerge.torch.statistic;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Sums of outer products, at sizes of one strip and of several, against plain loops in double. */
final class MatrixSumsTest {
  private static final long SEED = 23;
  private static final int ROWS = 5;

  @ParameterizedTest
  @ValueSource(ints = {1, 383, 384, 385, 901})
  void addsOuterProducts(int n) {
    LibTorch.initialize();
    Random random = new Random(SEED);
    double[][] expected = new double[n][n];
    try (MatrixSums sums = new MatrixSums();
        PointerScope scope = new PointerScope()) {
      Tensor sum = sums.zeros("sum", n);
      for (int time = 0; time < 2; time++) {
        float[] x = new float[ROWS * n];
        for (int i = 0; i < x.length; i++) {
          x[i] = random.nextFloat() - 0.5f;
        }
        double factor = time + 1;
        Tensor rows = Tensors.copyOf(x, ROWS, n);
        MatrixSums.add(sum, factor, rows, rows);
        for (int t = 0; t < ROWS; t++) {
          for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
              expected[i][j] += factor * x[t * n + i] * (double) x[t * n + j];
            }
          }
        }
        // What was read before is added to.
        MemorySegment read = Objects.requireNonNull(sums.read().get("sum"));
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < n; j++) {
            float actual = read.getAtIndex(ValueLayout.JAVA_FLOAT, (long) i * n + j);
            if (!(Math.abs(actual - expected[i][j]) <= 1e-5)) { // assertThat takes seconds here
              assertThat(actual)
                  .as("[%d, %d], seed %d", i, j, SEED)
                  .isCloseTo((float) expected[i][j], within(1e-5f));
            }
          }
        }
        assertThat(read.byteSize()).isEqualTo((long) n * n * Float.BYTES);
      }
    }
  }
}
