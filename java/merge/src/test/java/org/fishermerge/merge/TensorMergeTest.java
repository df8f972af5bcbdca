package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.fail;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Merges by rules that look at tensors as wholes; see testkit/oracles/task_vectors.py. */
final class TensorMergeTest {
  private static final long SEED = 31;
  private static final List<String> MODELS = List.of("one", "two", "three");

  @TempDir Path folder;

  /** The emulated device fills its memory, which takes longer than these merges. */
  @BeforeAll
  static void lowerSlots() {
    System.setProperty(KernelOptions.CUDA_SLOT_BYTES, Long.toString(1 << 20));
  }

  @AfterAll
  static void restoreSlots() {
    System.clearProperty(KernelOptions.CUDA_SLOT_BYTES);
  }

  private static Path vectors() {
    try {
      return Path.of(
          Objects.requireNonNull(TensorMergeTest.class.getResource("/task-vectors.safetensors"))
              .toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static TensorSetting all(double... values) {
    List<Double> list = new ArrayList<>();
    for (double value : values) {
      list.add(value);
    }
    return TensorSetting.of(list);
  }

  private static MergeRule sparse(
      Trim trim,
      TensorSetting density,
      TensorSetting gamma,
      boolean elects,
      boolean normalizes,
      Rescale rescale,
      double factor,
      long seed) {
    return new SparseTaskArithmetic(
        trim, density, gamma, elects, normalizes, rescale, factor, seed);
  }

  /**
   * A case of the oracle.
   *
   * @param exact whether it has no sums in double, which are rounded differently
   */
  record Case(String name, MergeRule rule, boolean exact, List<Double> weights) {
    @Override
    public String toString() {
      return name;
    }
  }

  private static Case of(String name, MergeRule rule, boolean exact, double... weights) {
    List<Double> list = new ArrayList<>();
    for (double weight : weights) {
      list.add(weight);
    }
    return new Case(name, rule, exact, list);
  }

  static Stream<Case> cases() {
    TensorSetting none = all(0);
    Rescale no = Rescale.NONE;
    return Stream.of(
        of(
            "ties",
            sparse(Trim.MAGNITUDE, all(0.3, 0.5, 0.8), none, true, true, no, 1, 0),
            true,
            1,
            0.5,
            0.7),
        of(
            "ties-sum",
            sparse(Trim.MAGNITUDE, all(0.2), none, true, false, no, 0.3, 0),
            true,
            1,
            1,
            1),
        of(
            "ties-rescaled",
            sparse(Trim.MAGNITUDE, all(0.4), none, true, true, Rescale.L1, 1, 0),
            false,
            1,
            -0.5,
            0.25),
        of("ties-dense", sparse(Trim.MAGNITUDE, all(1), none, true, true, no, 1, 0), true, 1, 1, 1),
        of(
            "breadcrumbs",
            sparse(Trim.OUTLIERS, all(0.7), all(0.02), false, false, no, 1, 0),
            true,
            0.4,
            0.3,
            0.3),
        of(
            "breadcrumbs-ties",
            sparse(Trim.OUTLIERS, all(0.9, 0.6, 0.85), all(0.1), true, false, no, 1, 0),
            true,
            1,
            1,
            0.5),
        of(
            "dare-linear",
            sparse(Trim.RANDOM, all(0.5), none, false, false, Rescale.L1, 1, 3),
            false,
            0.5,
            0.5,
            0.5),
        of(
            "dare-density",
            sparse(Trim.RANDOM, all(0.25), none, false, false, Rescale.DENSITY, 1, -9),
            true,
            0.3,
            0.3,
            0.3),
        of(
            "dare-ties",
            sparse(Trim.RANDOM, all(0.53, 0.7, 0.9), none, true, true, Rescale.L1, 1, 3),
            false,
            0.6,
            0.6,
            0.6),
        of("mean", sparse(Trim.NONE, all(1), none, false, true, no, 1.5, 0), true, 1, 2, -0.5),
        of("sum", new WeightedSum(), false, 0.5, 0.9, 0.1),
        of("slerp", new Slerp(all(0.3)), false, 1, 1),
        of("slerp-end", new Slerp(all(1)), false, 1, 1));
  }

  private MergeRequest.Builder request(MergeRule rule, String output, List<Double> weights) {
    MergeRequest.Builder request =
        MergeRequest.builder(extracted("base"), folder.resolve(output + ".safetensors"), rule);
    for (int i = 0; i < weights.size(); i++) {
      request.model(MergeSource.of(extracted(MODELS.get(i))).withCoefficient(weights.get(i)));
    }
    return request;
  }

  private Path extracted(String model) {
    Path file = folder.resolve(model + ".safetensors");
    return Files.exists(file) ? file : TestTensors.extract(vectors(), model + "/", file);
  }

  /** Bit by bit, but for what rests on sums in double, for each provider and number of threads. */
  @ParameterizedTest
  @MethodSource("cases")
  void mergesAreTheOracles(Case c) throws IOException {
    Map<String, TestTensors.Data> expected =
        TestTensors.read(
            TestTensors.extract(vectors(), c.name() + "/", folder.resolve("expected.safetensors")));
    byte[] first = null;
    for (String options : List.of("cpu 1", "cpu 3", "scalar 2", "cuda 2")) {
      String[] words = options.split(" ", -1);
      MergeRequest request = request(c.rule(), options, c.weights()).build();
      try (Kernels kernels =
          Kernels.open(
              new KernelOptions(
                  words[0],
                  "auto",
                  Optional.of(words[0]).filter("cuda"::equals),
                  Integer.parseInt(words[1])))) {
        Merging.run(request, kernels);
      }
      byte[] bytes = Files.readAllBytes(request.output());
      if (first != null) {
        assertThat(Arrays.equals(bytes, first)).as(options).isTrue();
        continue;
      }
      first = bytes;
      Map<String, TestTensors.Data> merged = TestTensors.read(request.output());
      assertThat(merged.keySet()).isEqualTo(expected.keySet());
      expected.forEach((name, data) -> {
        double[] found = Objects.requireNonNull(merged.get(name)).values();
        for (int j = 0; j < found.length; j++) {
          double slack = c.exact() ? 0 : 4e-7 * (1 + Math.abs(data.values()[j]));
          if (!(Math.abs(found[j] - data.values()[j]) <= slack)) {
            fail("%s %s[%d]: %s, expected %s", c, name, j, found[j], data.values()[j]);
          }
        }
      });
    }
  }

  /** A large tensor among small ones, in 16 bits, and what is left of it by a plain sort. */
  @Test
  void largeTensorsOfFewMagnitudes() {
    int count = 300_001;
    SplittableRandom random = new SplittableRandom(SEED);
    double[] from = new double[count];
    double[] to = new double[count];
    for (int j = 0; j < count; j++) {
      from[j] = TestTensors.stored(DType.BF16, random.nextDouble(-1, 1));
      to[j] = TestTensors.stored(DType.BF16, from[j] + random.nextGaussian() * 0.01);
    }
    Path base = folder.resolve("large-base.safetensors");
    Path model = folder.resolve("large-model.safetensors");
    TestTensors.write(base, Map.of("w", TestTensors.of(DType.BF16, from)));
    TestTensors.write(model, Map.of("w", TestTensors.of(DType.BF16, to)));
    List<Integer> order = new ArrayList<>();
    for (int j = 0; j < count; j++) {
      order.add(j);
    }
    order.sort((a, b) -> Double.compare(Math.abs(to[b] - from[b]), Math.abs(to[a] - from[a])));
    for (double density : new double[] {0.01, 0.2, 0.5}) {
      Path output = folder.resolve(density + ".safetensors");
      MergeRule ties = sparse(Trim.MAGNITUDE, all(density), all(0), true, true, Rescale.NONE, 1, 0);
      try (Kernels kernels = Kernels.open()) {
        Merging.run(MergeRequest.builder(base, output, ties).model(model).build(), kernels);
      }
      double[] expected = from.clone();
      order.subList(0, (int) (density * count)).forEach(j -> expected[j] = to[j]);
      assertThat(Objects.requireNonNull(TestTensors.read(output).get("w")).values())
          .as("density %s, seed %d", density, SEED)
          .isEqualTo(expected);
    }
  }

  /** Draws depend on the seed, the tensor and the model, and on nothing else that is merged. */
  @Test
  void drawsAreOfTheTensorAlone() {
    MergeRule rule = sparse(Trim.RANDOM, all(0.5), all(0), false, false, Rescale.NONE, 1, 3);
    MergeRule other = sparse(Trim.RANDOM, all(0.5), all(0), false, false, Rescale.NONE, 1, 4);
    List<Double> weights = List.of(0.5, 0.5);
    try (Kernels kernels = Kernels.open()) {
      Merging.run(request(rule, "whole", weights).build(), kernels);
      Merging.run(request(rule, "part", weights).include("layers\\.1.*").build(), kernels);
      Merging.run(request(other, "other", weights).build(), kernels);
    }
    Map<String, double[]> found = new LinkedHashMap<>();
    for (String output : List.of("whole", "part", "other")) {
      found.put(
          output,
          Objects.requireNonNull(
                  TestTensors.read(folder.resolve(output + ".safetensors")).get("layers.1.weight"))
              .values());
    }
    assertThat(found.get("part")).isEqualTo(found.get("whole"));
    assertThat(found.get("other")).isNotEqualTo(found.get("whole"));
  }

  /** By tensor: as if merged with these coefficients alone, for every kind of rule. */
  @Test
  void coefficientsByTensor() {
    PatternSetting byTensor =
        PatternSetting.builder("c.yml", all(1, 1))
            .add("layers\\.0.*", all(0.25, 0.75))
            .add(".*weight", all(2, 0.5))
            .build();
    List<MergeRule> rules =
        List.of(
            new Average(),
            new Average(0.5),
            new TaskArithmetic(0.3),
            new WeightedSum(),
            sparse(Trim.MAGNITUDE, all(0.5), all(0), true, true, Rescale.NONE, 1, 0));
    for (MergeRule rule : rules) {
      try (Kernels kernels = Kernels.open()) {
        Merging.run(
            request(rule, "both", List.of(1.0, 1.0)).coefficients(byTensor).overwrite(true).build(),
            kernels);
        Map<String, List<Double>> wanted =
            Map.of(
                "layers.0.weight", List.of(0.25, 0.75),
                "layers.1.weight", List.of(2.0, 0.5),
                "scale", List.of(1.0, 1.0));
        Map<String, TestTensors.Data> both = TestTensors.read(folder.resolve("both.safetensors"));
        wanted.forEach((tensor, weights) -> {
          Merging.run(request(rule, "one-for-all", weights).overwrite(true).build(), kernels);
          assertThat(Objects.requireNonNull(both.get(tensor)).values())
              .as("%s of %s", tensor, rule)
              .isEqualTo(
                  Objects.requireNonNull(
                          TestTensors.read(folder.resolve("one-for-all.safetensors")).get(tensor))
                      .values());
        });
      }
    }
  }

  /** The shares of base and models sum to 1 but for rounding, which is of no matter here. */
  @Test
  void aFactorMayBeLarge() {
    MergeRule ties = sparse(Trim.NONE, all(1), all(0), false, false, Rescale.NONE, 1e30, 0);
    try (Kernels kernels = Kernels.open()) {
      Merging.run(request(ties, "large", List.of(1.0)).build(), kernels);
    }
    Map<String, TestTensors.Data> found = TestTensors.read(folder.resolve("large.safetensors"));
    assertThat(found.values())
        .anySatisfy(data ->
            assertThat(Arrays.stream(data.values()).map(Math::abs).max().orElse(0))
                .isBetween(1e27, 1e33));
  }

  /** Ranking takes as much as the plan says. */
  @Test
  void thePlanCountsWhatRankingTakes() {
    int count = 300_000;
    double[] values = new SplittableRandom(SEED).doubles(count).map(x -> (float) x).toArray();
    Path base =
        TestTensors.write(
            folder.resolve("even.safetensors"), Map.of("w", TestTensors.f32(new double[count])));
    Path model =
        TestTensors.write(
            folder.resolve("uneven.safetensors"), Map.of("w", TestTensors.f32(values)));
    Map<Trim, Long> planned = new EnumMap<>(Trim.class);
    for (Trim trim : List.of(Trim.RANDOM, Trim.MAGNITUDE, Trim.OUTLIERS)) {
      MergeRule rule = sparse(trim, all(0.5), all(0.1), true, true, Rescale.NONE, 1, 0);
      MergeRequest request =
          MergeRequest.builder(base, folder.resolve(trim + ".safetensors"), rule)
              .model(model)
              .build();
      planned.put(trim, Merging.plan(request).memoryBytes());
      try (Kernels kernels = Kernels.open()) {
        Merging.run(request, kernels);
        assertThat(kernels.workspaceBytes())
            .as("held by %s", trim)
            .isEqualTo(planned.get(trim) - Objects.requireNonNull(planned.get(Trim.RANDOM)));
      }
    }
    assertThat(planned.get(Trim.MAGNITUDE)).isGreaterThan(planned.get(Trim.RANDOM));
    assertThat(planned.get(Trim.OUTLIERS)).isGreaterThan(planned.get(Trim.MAGNITUDE));
  }

  @Test
  void whatCannotBeIsSaid() {
    MergeRule ties = sparse(Trim.MAGNITUDE, all(0), all(0), true, true, Rescale.NONE, 1, 0);
    refuses(request(ties, "out", List.of(1.0)), "density of tensor", "is 0.0");
    refuses(request(new Slerp(all(0.5)), "out", List.of(1.0)), "two models, and not 1");
    refuses(request(new Slerp(all(1.5)), "out", List.of(1.0, 1.0)), "t of tensor", "1.5");
    refuses(request(new Slerp(all(0.5)), "out", List.of(1.0, 2.0)), "no coefficients", "-t");
    refuses(
        request(new Slerp(all(0.5)), "out", List.of(1.0, 1.0)).coefficients(all(1, 1)),
        "no coefficients",
        "--coefficients-file");
    refuses(
        request(new Average(), "out", List.of(1.0, 1.0))
            .coefficients(PatternSetting.builder("c.yml", all(1)).add("layer\\.", all(2)).build()),
        "c.yml: 'layer\\.' matches no parameter");
    refuses(
        request(new Average(), "out", List.of(1.0, 1.0))
            .coefficients(PatternSetting.builder("c.yml", all(1)).add("scale", all(1, -1)).build()),
        "coefficients of tensor 'scale' sum to 0.0");
    assertThatThrownBy(() -> PatternSetting.builder("c.yml", all(1)).add("(", all(1)))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("c.yml: '(' is not a regular expression");
    assertThatThrownBy(
            () -> sparse(Trim.NONE, all(1), all(0), true, true, Rescale.NONE, Double.NaN, 0))
        .isInstanceOf(InputException.class);
  }

  private void refuses(MergeRequest.Builder request, String... said) {
    MergeRequest built = request.build();
    assertThatThrownBy(() -> Merging.plan(built))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(said);
    assertThat(built.output()).doesNotExist();
  }

  /** Damage is named, though the rule would drop it, and nothing is left behind. */
  @Test
  void valuesThatAreNotFiniteAreNamed() {
    Map<String, TestTensors.Data> zeros = Map.of("w", TestTensors.f32(0, 0, 0, 0));
    Path base = TestTensors.write(folder.resolve("zeros.safetensors"), zeros);
    for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
      Path model =
          TestTensors.write(
              folder.resolve("bad.safetensors"), Map.of("w", TestTensors.f32(1, 2, bad, 3)));
      for (Trim trim : Trim.values()) {
        Path output = folder.resolve("damaged.safetensors");
        MergeRequest request =
            MergeRequest.builder(
                    base, output, sparse(trim, all(0.5), all(0.3), true, true, Rescale.L1, 1, 0))
                .model(model)
                .build();
        try (Kernels kernels = Kernels.open()) {
          assertThatThrownBy(() -> Merging.run(request, kernels))
              .as("%s %s", trim, bad)
              .isInstanceOf(InputException.class)
              .hasMessageContainingAll("bad.safetensors", "'w'", "element 2");
        }
        assertThat(output).doesNotExist();
      }
    }
  }
}
