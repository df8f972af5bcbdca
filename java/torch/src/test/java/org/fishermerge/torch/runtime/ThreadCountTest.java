package org.fishermerge.torch.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.zip.CRC32C;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.KroneckerFisher;
import org.fishermerge.merge.LayerRule;
import org.fishermerge.merge.LayerRule.LayerOperand;
import org.fishermerge.merge.LinearAlgebra;
import org.fishermerge.merge.LinearAlgebra.Matrix;
import org.fishermerge.merge.RegMean;
import org.fishermerge.testkit.SafetensorsBuilder;
import org.fishermerge.torch.Divergence;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.WeightBlend;
import org.fishermerge.torch.arch.ClipVisionTower;
import org.fishermerge.torch.arch.NetworkClassifier;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.statistic.GradientSum;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The same bits for any number of threads of OpenBLAS and of libtorch, at odd sizes at which BLAS
 * and LAPACK by themselves round elsewhere with another number.
 */
final class ThreadCountTest {
  private static final long SEED = 23;
  private static final int EXAMPLES = 24;
  private static final int CLASSES = 7;
  private static final int IMAGE = 40;

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

  /**
   * Logits, and a few steps down the divergence by the coefficients of a blend, as a search does.
   */
  @ParameterizedTest
  @ValueSource(strings = {"quick_gelu", "gelu_new", "gelu"})
  void blends(String activation, @TempDir Path folder) {
    Path base = tower(folder.resolve("base"), activation, 1);
    Path other = tower(folder.resolve("other"), activation, 2);
    assertSameForAnyThreads(results -> {
      try (Arena arena = Arena.ofConfined();
          Kernels kernels = Kernels.open(KernelOptions.fromSystemProperties().withThreads(2));
          Checkpoint from = Checkpoint.open(base);
          Checkpoint to = Checkpoint.open(other);
          ClipVisionTower tower = ClipVisionTower.load(from);
          ZeroShotHead head = ZeroShotHead.of(from, values(CLASSES * 61, 3), CLASSES, "head")) {
        NetworkClassifier<Pixels> classifier = tower.under(head);
        MemorySegment pictures =
            arena.allocateFrom(
                ValueLayout.JAVA_FLOAT, values(EXAMPLES * 3 * IMAGE * IMAGE, (int) SEED));
        WeightBlend blend = new WeightBlend(tower.network(), from, List.of(to), kernels);
        double[][] c = new double[blend.names().size()][1];
        double[] targets = new double[EXAMPLES * CLASSES];
        Arrays.fill(targets, 1.0 / CLASSES);
        for (int step = 0; step < 2; step++) {
          blend.set(c);
          try (GradientSum gradient = new GradientSum(classifier.parameterGroups());
              ForwardPass pass = classifier.forward(new Pixels(pictures, EXAMPLES))) {
            double[] each = Divergence.pullBack(pass, targets, 1.0 / EXAMPLES, gradient);
            double[][] derivative = blend.derivative(gradient);
            for (int t = 0; t < c.length; t++) {
              c[t][0] -= derivative[t][0];
            }
            results.put("divergences " + step, (long) Arrays.hashCode(each));
            results.put("coefficients " + step, (long) Arrays.deepHashCode(c));
          }
        }
      }
    });
  }

  /** A CLIP's image tower, of sizes that no block or vector divides. */
  private static Path tower(Path folder, String activation, int seed) {
    int width = 116;
    int mlp = 333;
    int patch = 8;
    SafetensorsBuilder tensors = new SafetensorsBuilder();
    Map<String, long[]> shapes = new LinkedHashMap<>();
    String model = "vision_model.";
    shapes.put(model + "embeddings.class_embedding", new long[] {width});
    shapes.put(model + "embeddings.patch_embedding.weight", new long[] {width, 3, patch, patch});
    shapes.put(model + "embeddings.position_embedding.weight", new long[] {26, width});
    for (String norm :
        List.of(
            "pre_layrnorm",
            "encoder.layers.0.layer_norm1",
            "encoder.layers.0.layer_norm2",
            "encoder.layers.1.layer_norm1",
            "encoder.layers.1.layer_norm2",
            "post_layernorm")) {
      shapes.put(model + norm + ".weight", new long[] {width});
      shapes.put(model + norm + ".bias", new long[] {width});
    }
    for (String layer : List.of("encoder.layers.0.", "encoder.layers.1.")) {
      for (String part : List.of("q_proj", "k_proj", "v_proj", "out_proj")) {
        shapes.put(model + layer + "self_attn." + part + ".weight", new long[] {width, width});
        shapes.put(model + layer + "self_attn." + part + ".bias", new long[] {width});
      }
      shapes.put(model + layer + "mlp.fc1.weight", new long[] {mlp, width});
      shapes.put(model + layer + "mlp.fc1.bias", new long[] {mlp});
      shapes.put(model + layer + "mlp.fc2.weight", new long[] {width, mlp});
      shapes.put(model + layer + "mlp.fc2.bias", new long[] {width});
    }
    shapes.put("visual_projection.weight", new long[] {61, width});
    int number = 0;
    for (Map.Entry<String, long[]> shape : shapes.entrySet()) {
      int count = (int) Arrays.stream(shape.getValue()).reduce(1, Math::multiplyExact);
      tensors.floats(shape.getKey(), shape.getValue(), values(count, 100 * seed + number++));
    }
    tensors.floats("logit_scale", new long[0], 1);
    try {
      Files.createDirectories(folder);
      Files.writeString(
          folder.resolve("config.json"),
          """
          {"hidden_act": "%s", "hidden_size": %d, "image_size": %d, "intermediate_size": %d,
           "layer_norm_eps": 1e-05, "model_type": "clip_vision_model", "num_attention_heads": 4,
           "num_channels": 3, "num_hidden_layers": 2, "patch_size": %d, "projection_dim": 61}
          """
              .formatted(activation, width, IMAGE, mlp, patch));
      tensors.write(folder.resolve("model.safetensors"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return folder;
  }

  private static float[] values(int count, int seed) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int j = 0; j < count; j++) {
      values[j] = (float) random.nextGaussian() * 0.3f;
    }
    return values;
  }

  /** Symmetric sums as statistics of layers have them, and batches of products. */
  @Test
  void sumsAndBatches() {
    assertSameForAnyThreads(results -> {
      try (PointerScope scope = new PointerScope()) {
        Tensor x = Tensors.copyOf(values(421 * 777, 5), 421, 777);
        Tensor sum = torch.zeros(777, 777);
        Reproducible.addLowerProduct(sum, 0.3, x.t(), x, 384);
        results.put("sum", bits(sum.tril()));
        Tensor a = Tensors.copyOf(values(6 * 197 * 67, 6), 2, 3, 197, 67);
        results.put("batch", bits(Reproducible.matmul(a, a.transpose(-2, -1))));
        results.put("dot", Double.doubleToLongBits(Reproducible.dot(x.reshape(-1), x.reshape(-1))));
      }
    });
  }

  private static long bits(Tensor tensor) {
    CRC32C sum = new CRC32C();
    sum.update(Tensors.bytes(tensor).asByteBuffer());
    return sum.getValue();
  }
}
