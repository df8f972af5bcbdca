package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

final class MergerTest {
  private static final DType[] DTYPES = {DType.F32, DType.F16, DType.BF16, DType.F64};

  @TempDir Path folder;

  /** Mixed dtypes, odd sizes and random coefficients against the formula in plain doubles. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F16", "BF16"})
  void matchesTheFormula(DType outputDtype) {
    for (long seed = 1; seed <= 6; seed++) {
      Random random = new Random(seed);
      int models = 1 + random.nextInt(4);
      int count = 1 + random.nextInt(3000);
      double[][] theta = new double[models][count];
      double[][] fisher = new double[models][count];
      Path base = write(seed + "base", DType.F32, new double[count]);
      Path output = folder.resolve(outputDtype + "out" + seed + ".safetensors");
      MergeRequest.Builder request =
          MergeRequest.builder(base, output)
              .normalization(Normalization.NONE)
              .outputDtype(outputDtype);
      double[] coefficients = new double[models];
      for (int i = 0; i < models; i++) {
        DType dtype = DTYPES[random.nextInt(DTYPES.length)];
        coefficients[i] = 0.1 + random.nextDouble();
        for (int j = 0; j < count; j++) {
          theta[i][j] = TestTensors.stored(dtype, random.nextGaussian());
          fisher[i][j] = (float) Math.exp(random.nextGaussian() * 4 - 12);
        }
        request.source(
            new MergeSource(
                write(seed + "m" + i, dtype, theta[i]),
                write(seed + "f" + i, DType.F32, fisher[i]),
                coefficients[i]));
      }
      run(request.build(), 2);
      double[] merged = TestTensors.read(output).values().iterator().next().values();
      for (int j = 0; j < count; j++) {
        double sum = 0;
        double weights = 0;
        for (int i = 0; i < models; i++) {
          double weight = coefficients[i] * (fisher[i][j] + 1e-6);
          sum += weight * theta[i][j];
          weights += weight;
        }
        // One rounding; sums in another order may fall on the other side of a tie in F32.
        double wanted = TestTensors.stored(outputDtype, sum / weights);
        double slack = outputDtype == DType.F32 ? Math.ulp((float) wanted) : 0;
        assertThat(Math.abs(merged[j] - wanted))
            .as("seed %d [%d]", seed, j)
            .isLessThanOrEqualTo(slack);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Normalization.class)
  void sameBitsForAnyNumberOfThreads(Normalization normalization) throws IOException {
    Random random = new Random(7);
    MergeRequest.Builder sources = null;
    byte[] first = null;
    int count = 300_001;
    Path base = write("base", DType.F32, new double[count]);
    List<MergeSource> models = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      models.add(
          new MergeSource(
              write("m" + i, DType.F32, random.doubles(count, -1, 1).toArray()),
              write("f" + i, DType.F32, random.doubles(count, 0, 1e-4).toArray()),
              1));
    }
    for (int threads : new int[] {1, 2, 5}) {
      Path output = folder.resolve(normalization + "-" + threads + ".safetensors");
      sources = MergeRequest.builder(base, output).normalization(normalization);
      models.forEach(sources::source);
      run(sources.build(), threads);
      byte[] bytes = Files.readAllBytes(output);
      first = first == null ? bytes : first;
      assertThat(bytes).as("%d threads", threads).isEqualTo(first);
    }
  }

  @Test
  void keepsWhatIsNotMerged() throws IOException {
    Map<String, TestTensors.Data> tensors = new LinkedHashMap<>();
    tensors.put("vision_model.a.weight", TestTensors.of(DType.BF16, 1, 2, 3));
    tensors.put("vision_model.b.weight", TestTensors.f32(4, 5));
    tensors.put("vision_model.position_ids", TestTensors.of(DType.I64, 0, 1));
    tensors.put("text.weight", TestTensors.f32(9));
    Path base = folder.resolve("base");
    TestTensors.write(base.resolve("model.safetensors"), tensors);
    Files.writeString(base.resolve("config.json"), "{\"torch_dtype\": \"bfloat16\", \"x\": 1e-05}");
    Files.writeString(base.resolve("README.md"), "the base");
    Files.writeString(base.resolve("pytorch_model.bin"), "weights");
    Map<String, TestTensors.Data> tuned = new LinkedHashMap<>();
    tuned.put("a.weight", TestTensors.f32(3, 4, 5));
    tuned.put("b.weight", TestTensors.f32(7, 7));
    Path m1 = TestTensors.write(folder.resolve("m1.safetensors"), tuned);
    tuned.put("a.weight", TestTensors.f32(5, 6, 7));
    Path m2 = TestTensors.write(folder.resolve("m2.safetensors"), tuned);
    Path output = folder.resolve("out");
    MergePlan plan =
        MergePlan.of(
            MergeRequest.builder(base, output)
                .model(m1)
                .model(m2)
                .exclude("vision_model\\.b")
                .exclude("weight")
                .outputDtype(DType.F16)
                .build());
    assertThat(plan.merged()).containsExactly("vision_model.a.weight");
    assertThat(plan.excluded()).containsExactly("vision_model.b.weight");
    assertThat(plan.carriedOver())
        .containsExactlyInAnyOrder("vision_model.position_ids", "text.weight");
    assertThat(plan.warnings()).singleElement().asString().contains("'weight'", "no tensor");
    assertThat(plan.toString()).contains("merged", "carried over", "excluded", "1 pass");
    List<Long> progress = new ArrayList<>();
    try (Kernels kernels = Kernels.open()) {
      Merger.run(plan, kernels, (done, total) -> progress.add(done));
    }
    assertThat(progress).isSorted().last().isEqualTo(plan.bytesRead());
    Map<String, TestTensors.Data> merged = TestTensors.read(output);
    assertThat(merged).hasSize(4);
    merged.forEach((name, data) -> {
      double[] wanted =
          switch (name) {
            case "vision_model.a.weight" -> new double[] {4, 5, 6};
            case "vision_model.b.weight" -> new double[] {4, 5};
            case "vision_model.position_ids" -> new double[] {0, 1};
            default -> new double[] {9};
          };
      assertThat(data.values()).as(name).containsExactly(wanted);
      assertThat(data.dtype()).isEqualTo(name.endsWith("ids") ? DType.I64 : DType.F16);
    });
    try (var files = Files.list(output)) {
      assertThat(files.map(f -> f.getFileName().toString()))
          .containsExactlyInAnyOrder("model.safetensors", "config.json");
    }
    assertThat(output.resolve("config.json"))
        .hasContent("{\"torch_dtype\": \"float16\", \"x\": 1e-05}");
  }

  @Test
  void cancellingLeavesNothing() throws IOException {
    Path base = write("base", DType.F32, new double[9]);
    Path model = write("m", DType.F32, new double[9]);
    Path output = folder.resolve("sub/out.safetensors");
    MergePlan plan = MergePlan.of(MergeRequest.builder(base, output).model(model).build());
    try (Kernels kernels = Kernels.open()) {
      assertThatThrownBy(() ->
              Merger.run(
                  plan,
                  kernels,
                  (done, total) -> {
                    throw new IllegalStateException("cancelled");
                  }))
          .hasMessage("cancelled");
      assertThat(folder.resolve("sub")).doesNotExist();
      Files.delete(model);
      write("m", DType.F32, new double[] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
      assertThatThrownBy(() -> Merger.run(plan, kernels, ProgressListener.NONE))
          .hasMessageContaining("m.safetensors has changed");
    }
  }

  @Test
  void warnsWithNumbersWhereFishersAreSmall() {
    Path base = write("base", DType.F32, new double[4]);
    MergeRequest request =
        MergeRequest.builder(base, folder.resolve("out.safetensors"))
            .model(
                write("m1", DType.F32, new double[] {1, 1, 1, 1}),
                write("f1", DType.F32, new double[] {1e-9, 0, 1e-8, 1}))
            .model(
                write("m2", DType.F32, new double[] {2, 2, 2, 2}),
                write("f2", DType.F32, new double[] {0, 0, 0, 0}))
            .build();
    MergeResult result = run(request, 1);
    assertThat(result.warnings())
        .anySatisfy(w -> assertThat(w).contains("m1", "75 %", "1.0E-6"))
        .anySatisfy(w -> assertThat(w).contains("f2", "zero everywhere"));
    assertThat(result.models().getFirst().belowMinimal()).isEqualTo(3);
  }

  private static MergeResult run(MergeRequest request, int threads) {
    try (Kernels kernels =
        Kernels.open(KernelOptions.fromSystemProperties().withThreads(threads))) {
      return Merger.run(MergePlan.of(request), kernels, ProgressListener.NONE);
    }
  }

  private Path write(String name, DType dtype, double[] values) {
    return TestTensors.write(
        folder.resolve(name + ".safetensors"), Map.of("w", TestTensors.of(dtype, values)));
  }
}
