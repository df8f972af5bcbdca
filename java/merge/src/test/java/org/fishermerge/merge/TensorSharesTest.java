package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.checkpoint.StatisticLayout;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.kernels.Kernels;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What each model has to say in a tensor, against the definition in plain doubles. */
final class TensorSharesTest {
  @TempDir Path folder;

  private Path write(String name, Map<String, double[]> tensors) {
    Map<String, TestTensors.Data> data = new LinkedHashMap<>();
    tensors.forEach((tensor, values) -> data.put(tensor, TestTensors.of(DType.F32, values)));
    return TestTensors.write(folder.resolve(name + ".safetensors"), data);
  }

  private static MergeResult run(MergeRequest request) {
    try (MergeSession session = MergeSession.open(request);
        Kernels kernels = Kernels.open()) {
      return session.run(kernels, new PlainAlgebra(), ProgressListener.NONE);
    }
  }

  private static double norm(Map<String, double[]> fisher) {
    return Math.sqrt(
        fisher.values().stream().flatMapToDouble(Arrays::stream).map(value -> value * value).sum());
  }

  /** A small tensor is looked at whole, a large one of several pieces in some places. */
  @ParameterizedTest
  @EnumSource(Normalization.class)
  void areTheMeanSharesOfValues(Normalization normalization) {
    Random random = new Random(11);
    Map<String, Integer> sizes = Map.of("h.0.w", 200, "h.1.w", 1_100_003);
    double[] coefficients = {1, 0.5, 2};
    double minimal = 1e-3;
    Map<String, double[]> zeros = new LinkedHashMap<>();
    sizes.forEach((name, count) -> zeros.put(name, new double[count]));
    Path base = write("base", zeros);
    MergeRequest.Builder request =
        MergeRequest.builder(
                base, folder.resolve("out"), new DiagonalFisher(normalization, minimal))
            .measureShares(true);
    List<Map<String, double[]>> fishers = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      Map<String, double[]> fisher = new LinkedHashMap<>();
      int model = i;
      sizes.forEach((name, count) ->
          fisher.put(
              name,
              random
                  .doubles(count)
                  .map(u -> (float) (model == 1 && name.equals("h.1.w") ? 4 * u : u * u))
                  .toArray()));
      fishers.add(fisher);
      Objects.requireNonNull(zeros.get("h.0.w"))[0] = i + 1; // no two models alike
      request.model(
          MergeSource.of(write("m" + i, zeros), write("f" + i, fisher))
              .withCoefficient(coefficients[i]));
    }
    MergeResult result = run(request.build());
    assertThat(result.shares())
        .extracting(TensorShares::tensor)
        .containsExactlyInAnyOrder("h.0.w", "h.1.w");
    for (TensorShares shares : result.shares()) {
      int count = Objects.requireNonNull(sizes.get(shares.tensor()));
      double[] wanted = new double[3];
      double[] scales = new double[3];
      double[][] fisher = new double[3][];
      for (int i = 0; i < 3; i++) {
        fisher[i] = Objects.requireNonNull(fishers.get(i).get(shares.tensor()));
        Map<String, double[]> of =
            normalization == Normalization.TENSOR ? Map.of("", fisher[i]) : fishers.get(i);
        scales[i] = coefficients[i] / (normalization == Normalization.NONE ? 1 : norm(of));
      }
      for (int j = 0; j < count; j++) {
        double[] weight = new double[3];
        double sum = 0;
        for (int i = 0; i < 3; i++) {
          weight[i] = scales[i] * (fisher[i][j] + minimal);
          sum += weight[i];
        }
        for (int i = 0; i < 3; i++) {
          wanted[i] += weight[i] / sum / count;
        }
      }
      boolean whole = count <= ShareSample.MOST;
      assertThat(shares.values()).isEqualTo(count);
      assertThat(shares.sampled()).isEqualTo(whole ? count : ShareSample.MOST);
      for (int i = 0; i < 3; i++) {
        // Shares spread by 0.3 at most here: three standard errors.
        assertThat(shares.shares().get(i))
            .as("%s of model %d", shares.tensor(), i)
            .isCloseTo(wanted[i], within(whole ? 1e-5 : 3 * 0.3 / Math.sqrt(ShareSample.MOST)));
      }
    }
  }

  @Test
  void areMeasuredOnRequestAndLeaveTheMergeAsItIs() throws Exception {
    Map<String, double[]> values = Map.of("w", new Random(5).doubles(5000).toArray());
    Path base = write("base", values);
    List<byte[]> merged = new ArrayList<>();
    for (boolean measured : new boolean[] {false, true}) {
      Path output = folder.resolve(measured + ".safetensors");
      MergeResult result =
          run(
              MergeRequest.builder(base, output, DiagonalFisher.DEFAULT)
                  .model(base, write("f", values))
                  .measureShares(measured)
                  .build());
      merged.add(Files.readAllBytes(output));
      assertThat(result.shares()).hasSize(measured ? 1 : 0);
    }
    assertThat(merged.get(1)).isEqualTo(merged.get(0));
  }

  /** A merge of three models onto a base, each value weighed by the definition. */
  private List<Double> sparse(SparseTaskArithmetic rule, double[] base, List<double[]> models) {
    MergeRequest.Builder request =
        MergeRequest.builder(
                write("base", Map.of("h.0.w", base)), folder.resolve("out.safetensors"), rule)
            .measureShares(true);
    for (int i = 0; i < models.size(); i++) {
      request.model(
          MergeSource.of(write("m" + i, Map.of("h.0.w", models.get(i))))
              .withCoefficient(COEFFICIENTS[i]));
    }
    MergeResult result = run(request.build());
    assertThat(result.shares()).hasSize(1);
    assertThat(result.shares().getFirst().sampled()).isEqualTo(base.length);
    return result.shares().getFirst().shares();
  }

  private static final double[] COEFFICIENTS = {1, 0.5, 2};

  private static void requireShares(List<Double> actual, double[] sums, int values) {
    assertThat(actual).hasSize(sums.length);
    for (int i = 0; i < sums.length; i++) {
      assertThat(actual.get(i)).as("share %d", i).isCloseTo(sums[i] / values, within(1e-9));
    }
  }

  @Test
  void ofTiesAreThoseOfKeptDifferencesWithTheElectedSign() {
    Random random = new Random(21);
    int count = 240;
    int kept = 72; // 0.3 of them
    double[] base = random.doubles(count).map(u -> (float) u).toArray();
    List<double[]> models = new ArrayList<>();
    double[][] terms = new double[3][count];
    for (int i = 0; i < 3; i++) {
      double[] values = new double[count];
      float[] sizes = new float[count];
      for (int j = 0; j < count; j++) {
        values[j] = (float) (base[j] + random.nextGaussian());
        sizes[j] = Math.abs((float) (values[j] - base[j]));
      }
      float[] sorted = sizes.clone();
      Arrays.sort(sorted);
      for (int j = 0; j < count; j++) {
        terms[i][j] =
            sizes[j] >= sorted[count - kept] ? COEFFICIENTS[i] * (values[j] - base[j]) : 0;
      }
      models.add(values);
    }
    double[] sums = new double[4];
    for (int j = 0; j < count; j++) {
      double sum = terms[0][j] + terms[1][j] + terms[2][j];
      double weights = 0;
      for (int i = 0; i < 3; i++) {
        weights += terms[i][j] * sum > 0 ? COEFFICIENTS[i] : 0;
      }
      for (int i = 0; i < 3; i++) {
        sums[i] += terms[i][j] * sum > 0 ? COEFFICIENTS[i] / weights : 0;
      }
      sums[3] += weights == 0 ? 1 : 0;
    }
    assertThat(sums).doesNotContain(0);
    SparseTaskArithmetic ties =
        new SparseTaskArithmetic(
            SparseTaskArithmetic.Trim.MAGNITUDE,
            TensorSetting.of(0.3),
            TensorSetting.of(0),
            true,
            true,
            SparseTaskArithmetic.Rescale.NONE,
            1,
            0);
    requireShares(sparse(ties, base, models), sums, count);
  }

  /** Differences whose sums tell which of them were drawn. */
  @Test
  void ofDareAreThoseOfTheDifferencesThatWereDrawn() throws Exception {
    int count = 251;
    double[] zeros = new double[count];
    List<double[]> models = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      double[] values = new double[count];
      Arrays.fill(values, Math.pow(16, i));
      models.add(values);
    }
    SparseTaskArithmetic dare =
        new SparseTaskArithmetic(
            SparseTaskArithmetic.Trim.RANDOM,
            TensorSetting.of(0.4),
            TensorSetting.of(0),
            false,
            false,
            SparseTaskArithmetic.Rescale.NONE,
            1,
            3);
    List<Double> shares = sparse(dare, zeros, models);
    double[] sums = new double[4];
    TestTensors.Data merged =
        Objects.requireNonNull(TestTensors.read(folder.resolve("out.safetensors")).get("h.0.w"));
    for (double value : merged.values()) {
      double weights = 0;
      boolean[] drawn = new boolean[3];
      for (int i = 2; i >= 0; i--) {
        double term = COEFFICIENTS[i] * Math.pow(16, i);
        drawn[i] = value >= term;
        value -= drawn[i] ? term : 0;
        weights += drawn[i] ? COEFFICIENTS[i] : 0;
      }
      assertThat(value).isZero();
      for (int i = 0; i < 3; i++) {
        sums[i] += drawn[i] ? COEFFICIENTS[i] / weights : 0;
      }
      sums[3] += weights == 0 ? 1 : 0;
    }
    assertThat(sums).doesNotContain(0);
    requireShares(shares, sums, count);
  }

  private Path kronecker(String name, double[][] a, double[][] g) {
    Map<String, TestTensors.Data> tensors = new LinkedHashMap<>();
    tensors.put("h.0.w.kron_a", TestTensors.of(DType.F32, triangle(a)));
    tensors.put("h.0.w.kron_g", TestTensors.of(DType.F32, triangle(g)));
    return TestTensors.write(
        folder.resolve(name + ".safetensors"),
        tensors,
        new StatisticMetadata(4, "exact", null, null, null, null, null, null)
            .toMap(
                new StatisticLayout(
                    EnumSet.of(StatisticKind.KRONECKER),
                    Map.of("h.0.w", new LinearLayer(2, 2, false, 9)))));
  }

  private static double[] triangle(double[][] of) {
    return new double[] {of[0][0], of[1][0], of[1][1]};
  }

  @ParameterizedTest
  @EnumSource(KroneckerFisher.Scale.class)
  void ofASolvedLayerAreItsPartsOfTheTrace(KroneckerFisher.Scale scale) {
    double[][] a1 = {{2, 0.5}, {0.5, 1}};
    double[][] a2 = {{8, 1}, {1, 4}};
    double[][] g = {{1, 0.25}, {0.25, 3}};
    List<Path> models = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      models.add(
          TestTensors.write(
              folder.resolve("m" + i + ".safetensors"),
              Map.of(
                  "h.0.w",
                  new TestTensors.Data(DType.F32, List.of(2L, 2L), new double[] {i, 1, 2, 3}))));
    }
    KroneckerFisher rule =
        new KroneckerFisher(
            0.01, scale, KroneckerFisher.Tolerance.ofAll(1e-10), 100, new Average(), 1);
    MergeResult result =
        run(
            MergeRequest.builder(models.get(0), folder.resolve("out.safetensors"), rule)
                .measureShares(true)
                .model(MergeSource.of(models.get(1), kronecker("k1", a1, g)).withCoefficient(2))
                .model(models.get(2), kronecker("k2", a2, g))
                .build());
    // Traces 3 and 12 of one trace 4; scaled by the traces of models or layers, coefficients alone.
    double first = scale == KroneckerFisher.Scale.NONE ? 2 * 3 / (2 * 3 + 12.0) : 2 / 3.0;
    assertThat(result.shares()).hasSize(1);
    TensorShares shares = result.shares().getFirst();
    assertThat(shares.sampled()).isZero();
    assertThat(shares.shares().get(0)).isCloseTo(first, within(1e-9));
    assertThat(shares.shares().get(1)).isCloseTo(1 - first, within(1e-9));
  }
}
