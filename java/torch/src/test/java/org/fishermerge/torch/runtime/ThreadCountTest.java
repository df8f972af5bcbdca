package org.fishermerge.torch.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.zip.CRC32C;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.KroneckerFisher;
import org.fishermerge.merge.LayerRule;
import org.fishermerge.merge.LayerRule.LayerOperand;
import org.fishermerge.merge.LinearAlgebra;
import org.fishermerge.merge.LinearAlgebra.Matrix;
import org.fishermerge.merge.RegMean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * The same bits for any number of threads of OpenBLAS and of libtorch, at odd sizes at which BLAS
 * and LAPACK by themselves round elsewhere with another number.
 */
final class ThreadCountTest {
  private static final long SEED = 23;

  private final LinearAlgebra algebra = new LibTorchAlgebra();
  private int ofBlas;
  private int ofLibTorch;

  @BeforeEach
  void remember() {
    LibTorch.initialize();
    ofBlas = BlockedBlas.threads();
    ofLibTorch = LibTorch.threads();
  }

  @AfterEach
  void restore() {
    BlockedBlas.setThreads(ofBlas);
    LibTorch.setThreads(ofLibTorch);
  }

  /** Checksums of results, by name. */
  private interface Work {
    void run(Map<String, Long> results);
  }

  private static void assertSameForAnyThreads(Work work) {
    Map<Integer, Map<String, Long>> results = new LinkedHashMap<>();
    for (int threads = 1; threads <= 3; threads++) {
      BlockedBlas.setThreads(threads);
      LibTorch.setThreads(threads);
      Map<String, Long> own = new LinkedHashMap<>();
      work.run(own);
      results.put(threads, own);
      assertThat(BlockedBlas.threads()).isEqualTo(threads);
      assertThat(own).as("%d threads, seed %d", threads, SEED).isEqualTo(results.get(1));
    }
  }

  private static long bits(LinearAlgebra algebra, Matrix a) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment values = arena.allocate(a.rows() * a.columns() * Double.BYTES, Double.BYTES);
      algebra.read(a, values);
      CRC32C sum = new CRC32C();
      sum.update(values.asByteBuffer());
      return sum.getValue();
    }
  }

  @Test
  void products() {
    List<int[]> shapes =
        List.of(
            new int[] {197, 333, 771},
            new int[] {771, 1031, 197},
            new int[] {7, 5, 1500},
            new int[] {519, 130, 65},
            new int[] {1, 70_001, 3});
    for (LinearAlgebra precision : List.of(algebra, algebra.inSingle())) {
      assertSameForAnyThreads(results ->
          precision.run(() -> {
            Random random = new Random(SEED);
            for (int[] shape : shapes) {
              Matrix a = RandomMatrices.uniform(precision, random, shape[0], shape[2]);
              Matrix b = RandomMatrices.uniform(precision, random, shape[2], shape[1]);
              Matrix product = precision.product(a, b);
              results.put(List.of(shape[0], shape[1]) + " product", bits(precision, product));
              precision.addProduct(product, -0.3, a, b);
              results.put(List.of(shape[0], shape[1]) + " added", bits(precision, product));
              results.put(
                  List.of(shape[0], shape[1]) + " dot",
                  Double.doubleToLongBits(precision.dot(product, product)));
            }
          }));
    }
  }

  @Test
  void solutions() {
    for (LinearAlgebra precision : List.of(algebra, algebra.inSingle())) {
      assertSameForAnyThreads(results ->
          precision.run(() -> {
            Random random = new Random(SEED);
            Matrix a = RandomMatrices.factor(precision, random, 421);
            Matrix b = RandomMatrices.uniform(precision, random, 421, 333);
            Matrix cholesky = precision.cholesky(a).orElseThrow();
            results.put("cholesky", bits(precision, cholesky));
            results.put("inverse", bits(precision, precision.inverse(cholesky)));
            results.put("solution", bits(precision, precision.solve(cholesky, b)));
            results.put("pseudo-inverse", bits(precision, precision.pseudoInverse(a, 0.06)));
          }));
    }
  }

  /** Small ones in double, a large one in single precision. */
  @Test
  void layers() {
    // A few iterations show as much as all.
    LayerRule kronecker =
        new KroneckerFisher(
            0.01,
            KroneckerFisher.Scale.TRACE,
            KroneckerFisher.Tolerance.DEFAULT,
            3,
            new Average(),
            1);
    Map<LinearLayer, LayerRule> rules = new LinkedHashMap<>();
    rules.put(new LinearLayer(171, 333, false, 1), kronecker);
    rules.put(new LinearLayer(413, 407, false, 1), kronecker);
    rules.put(new LinearLayer(333, 171, false, 1), new RegMean(0.95, new Average(), 1));
    rules.put(new LinearLayer(99, 171, false, 1), new RegMean(1, new Average(), 1));
    assertSameForAnyThreads(results ->
        rules.forEach((layer, rule) ->
            algebra.run(() -> {
              LinearAlgebra own = rule.inSingle(layer) ? algebra.inSingle() : algebra;
              List<LayerOperand> operands =
                  RandomMatrices.operands(rule, layer, 2, own, new Random(SEED));
              LayerRule.Solution solution = rule.solve(layer, operands, own);
              results.put(rule.title() + " of " + layer, bits(own, solution.weight()));
            })));
  }
}
