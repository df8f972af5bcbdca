package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.checkpoint.SumsOfSquares;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.kernels.ValueStatistics;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

final class MergerTest {
  private static final DType[] DTYPES = {DType.F32, DType.F16, DType.BF16, DType.F64};

  @TempDir static Path shared;
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
      double[] from =
          random.doubles(count, -1, 1).map(v -> TestTensors.stored(DType.F32, v)).toArray();
      double s = seed % 2 == 0 ? 1 : random.nextDouble(-0.5, 2);
      Path base = write(seed + "base", DType.F32, from);
      Path output = folder.resolve(outputDtype + "out" + seed + ".safetensors");
      MergeRequest.Builder request =
          MergeRequest.builder(base, output, new DiagonalFisher(Normalization.NONE, 1e-6, s))
              .outputDtype(outputDtype);
      double[] coefficients = new double[models];
      for (int i = 0; i < models; i++) {
        DType dtype = DTYPES[random.nextInt(DTYPES.length)];
        coefficients[i] = 0.1 + random.nextDouble();
        for (int j = 0; j < count; j++) {
          theta[i][j] = TestTensors.stored(dtype, random.nextGaussian());
          fisher[i][j] = (float) Math.exp(random.nextGaussian() * 4 - 12);
        }
        request.model(
            MergeSource.of(
                    write(seed + "m" + i, dtype, theta[i]),
                    write(seed + "f" + i, DType.F32, fisher[i]))
                .withCoefficient(coefficients[i]));
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
        double wanted = TestTensors.stored(outputDtype, from[j] + s * (sum / weights - from[j]));
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
    DiagonalFisher rule = new DiagonalFisher(normalization, 1e-6);
    byte[] first = null;
    int count = 300_001;
    Path base = write("base", DType.F32, new double[count]);
    List<MergeSource> models = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      models.add(
          MergeSource.of(
              write("m" + i, DType.F32, random.doubles(count, -1, 1).toArray()),
              write("f" + i, DType.F32, random.doubles(count, 0, 1e-4).toArray())));
    }
    for (int threads : new int[] {1, 2, 5}) {
      Path output = folder.resolve(normalization + "-" + threads + ".safetensors");
      MergeRequest.Builder sources = MergeRequest.builder(base, output, rule);
      models.forEach(sources::model);
      run(sources.build(), threads);
      byte[] bytes = Files.readAllBytes(output);
      first = first == null ? bytes : first;
      assertThat(bytes).as("%d threads", threads).isEqualTo(first);
    }
    // The CUDA kernels' source on an emulated device; the norms are the CPU's there too.
    Path output = folder.resolve(normalization + "-gpu.safetensors");
    MergeRequest.Builder onGpu = MergeRequest.builder(base, output, rule);
    models.forEach(onGpu::model);
    KernelOptions options = new KernelOptions("cuda", "auto", Optional.of("cuda"), 2);
    System.setProperty(KernelOptions.CUDA_SLOT_BYTES, Long.toString(2 << 20));
    try (Kernels kernels = Kernels.open(options)) {
      Merging.run(onGpu.build(), kernels);
    } finally {
      System.clearProperty(KernelOptions.CUDA_SLOT_BYTES);
    }
    assertThat(Files.readAllBytes(output)).isEqualTo(first);
  }

  @Test
  void shardsHoldTheBitsOfOneFile() {
    Random random = new Random(3);
    Map<String, TestTensors.Data> base = new LinkedHashMap<>();
    Map<String, TestTensors.Data> model = new LinkedHashMap<>();
    for (int k = 0; k < 9; k++) {
      int count = 1 + random.nextInt(500);
      DType dtype = k % 2 == 0 ? DType.F32 : DType.BF16;
      base.put("t" + k, TestTensors.of(dtype, random.doubles(count).toArray()));
      // The last one keeps the base's values.
      if (k < 8) {
        model.put("t" + k, TestTensors.of(DType.F32, random.doubles(count).toArray()));
      }
    }
    Path baseFile = TestTensors.write(folder.resolve("base.safetensors"), base);
    Path modelFile = TestTensors.write(folder.resolve("model.safetensors"), model);
    Map<String, TestTensors.Data> whole = null;
    for (long bytes : new long[] {CheckpointWriter.UNBOUNDED, 1, 1000, 4000}) {
      Path output = folder.resolve("out" + bytes);
      run(
          MergeRequest.builder(baseFile, output, new Average())
              .model(modelFile)
              .shardBytes(bytes)
              .build(),
          2);
      assertThat(Files.exists(output.resolve("model.safetensors.index.json")))
          .isEqualTo(bytes != CheckpointWriter.UNBOUNDED);
      Map<String, TestTensors.Data> read = TestTensors.read(output);
      whole = whole == null ? read : whole;
      assertThat(read.keySet()).hasSize(9).containsExactlyInAnyOrderElementsOf(whole.keySet());
      for (String name : whole.keySet()) {
        assertThat(values(read, name)).isEqualTo(values(whole, name));
      }
    }
    assertThatThrownBy(() ->
            MergeSession.open(
                MergeRequest.builder(baseFile, folder.resolve("x.safetensors"), new Average())
                    .model(modelFile)
                    .shardBytes(1000)
                    .build()))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("x.safetensors is one file; shards need a folder");
  }

  /** Asked for as task arithmetic, or as an average: what only the base has keeps its values. */
  @Test
  void theBaseMayHaveAShare() {
    Path base =
        TestTensors.write(
            folder.resolve("base.safetensors"),
            Map.of("a", TestTensors.f32(1, 2), "only", TestTensors.f32(7)));
    Path model =
        TestTensors.write(folder.resolve("m.safetensors"), Map.of("a", TestTensors.f32(3, -2)));
    Path output = folder.resolve("out.safetensors");
    MergeRequest average =
        MergeRequest.builder(base, output, new Average())
            .model(MergeSource.of(model).withCoefficient(1.5))
            .model(MergeSource.of(base).withCoefficient(-0.5))
            .overwrite(true)
            .build();
    MergeRequest arithmetic =
        MergeRequest.builder(base, output, new TaskArithmetic(0.75))
            .model(MergeSource.of(model).withCoefficient(2))
            .overwrite(true)
            .build();
    for (MergeRequest request : List.of(average, arithmetic)) {
      MergeResult result = run(request, 1);
      Map<String, TestTensors.Data> read = TestTensors.read(output);
      assertThat(values(read, "a")).containsExactly(4, -4);
      assertThat(values(read, "only")).containsExactly(7);
      assertThat(result.models())
          .extracting(MergeResult.ModelStatistics::weight)
          .containsExactly(1.5, -0.5);
    }
  }

  /** While it is read by the kernels: without a guard that would end the JVM. */
  @ParameterizedTest
  @CsvSource({"auto, model", "auto, fisher", "scalar, model", "scalar, fisher"})
  void anInputThatIsCutShortIsNamedAndNothingIsWritten(String provider, String which)
      throws IOException {
    int count = 500_000;
    double[] some = new Random(5).doubles(count).toArray();
    Path base = write("base", DType.F32, some);
    Path model = write("m", DType.F32, some);
    Path fisher = write("f", DType.F32, some);
    Path cut = which.equals("model") ? model : fisher;
    Path output = folder.resolve("out.safetensors");
    MergeRequest request =
        MergeRequest.builder(base, output, DiagonalFisher.DEFAULT).model(model, fisher).build();
    KernelOptions options =
        KernelOptions.fromSystemProperties().withProvider(provider).withRequire(Optional.empty());
    try (MergeSession session = MergeSession.open(request);
        Kernels kernels = Kernels.open(options)) {
      // The norms are computed first; by the first progress the merge itself has not begun.
      ProgressListener cutting =
          (done, total) -> {
            try (FileChannel file = FileChannel.open(cut, StandardOpenOption.WRITE)) {
              file.truncate(10_000);
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          };
      assertThatThrownBy(() -> session.run(kernels, cutting))
          .isInstanceOf(InputException.class)
          .hasMessageStartingWith(cut + " has changed while it was read; nothing was written");
    }
    assertThat(output).doesNotExist();
  }

  /** What could not be read for a while only: nothing but the guard of the mapping knows. */
  @Test
  void zerosInPlaceOfAnInputAreNoResult() throws IOException {
    int count = 500_000;
    double[] some = new Random(6).doubles(count).toArray();
    Path base = write("base", DType.F32, some);
    Path model = write("m", DType.F32, some);
    Path fisher = write("f", DType.F32, some);
    Path output = folder.resolve("out.safetensors");
    MergeRequest request =
        MergeRequest.builder(base, output, DiagonalFisher.DEFAULT).model(model, fisher).build();
    byte[] whole = Files.readAllBytes(model);
    FileTime time = Files.getLastModifiedTime(model);
    AtomicInteger calls = new AtomicInteger();
    ProgressListener cutting =
        (done, total) -> {
          try (FileChannel file = FileChannel.open(model, StandardOpenOption.WRITE)) {
            if (calls.getAndIncrement() == 0) {
              file.truncate(10_000);
            } else {
              file.write(ByteBuffer.wrap(whole), 0);
            }
            Files.setLastModifiedTime(model, time);
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        };
    try (MergeSession session = MergeSession.open(request);
        Kernels kernels = Kernels.open()) {
      assertThatThrownBy(() -> session.run(kernels, cutting))
          .isInstanceOf(InputException.class)
          .hasMessageStartingWith(model + ": could not be read to the end");
    }
    assertThat(calls.get()).isGreaterThan(1);
    assertThat(output).doesNotExist();
  }

  /** As long as before, and with a time before or after: clocks can go either way. */
  @ParameterizedTest
  @ValueSource(longs = {-86_400, 1, 86_400})
  void anInputThatIsWrittenAgainIsNamedAndNothingIsWritten(long seconds) throws IOException {
    Path base = write("base", DType.F32, new double[] {1, 2});
    Path model = write("m", DType.F32, new double[] {3, 4});
    Path output = folder.resolve("out.safetensors");
    MergeRequest request = MergeRequest.builder(base, output, new Average()).model(model).build();
    FileTime other =
        FileTime.from(Files.getLastModifiedTime(model).toInstant().plusSeconds(seconds));
    try (Kernels kernels = Kernels.open()) {
      try (MergeSession session = MergeSession.open(request)) {
        Files.setLastModifiedTime(model, other);
        assertThatThrownBy(() -> session.run(kernels, ProgressListener.NONE))
            .isInstanceOf(InputException.class)
            .hasMessageStartingWith(model + " has changed since the merge was planned");
      }
      ProgressListener writing =
          (done, total) -> {
            try {
              Files.setLastModifiedTime(
                  model, FileTime.from(other.toInstant().plusSeconds(seconds)));
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          };
      assertThatThrownBy(() -> Merging.run(request, kernels, writing))
          .isInstanceOf(InputException.class)
          .hasMessageStartingWith(model + " has changed while it was read; nothing was written");
    }
    assertThat(output).doesNotExist();
  }

  /** Fishers whose sums and squares are beyond F32. */
  @ParameterizedTest
  @CsvSource({"F32, 3e38", "F32, 1e-45", "F64, 1e150", "F64, 1e-320"})
  void extremeFishersWeighAsAnyOthers(DType dtype, double fisher) {
    Path base = write("base", DType.F32, new double[2]);
    for (Normalization normalization : Normalization.values()) {
      Path output = folder.resolve(normalization + ".safetensors");
      MergeRequest request =
          MergeRequest.builder(base, output, new DiagonalFisher(normalization, 0))
              .model(
                  write("m1", DType.F32, new double[] {1, 3}),
                  write("f1", dtype, new double[] {fisher, fisher}))
              .model(
                  write("m2", DType.F32, new double[] {3, 1}),
                  write("f2", dtype, new double[] {fisher, fisher}))
              .overwrite(true)
              .build();
      run(request, 1);
      assertThat(values(TestTensors.read(output), "w"))
          .as("%s", normalization)
          .containsExactly(2, 2);
      for (String file : List.of("m1", "f1", "m2", "f2")) {
        folder.resolve(file + ".safetensors").toFile().delete();
      }
    }
  }

  private static double[] values(Map<String, TestTensors.Data> read, String name) {
    return Objects.requireNonNull(read.get(name)).values();
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
    MergeRequest request =
        MergeRequest.builder(base, output, new Average())
            .model(m1)
            .model(m2)
            .exclude("vision_model\\.b")
            .exclude("weight")
            .outputDtype(DType.F16)
            .build();
    MergePlan plan = Merging.plan(request);
    assertThat(plan.merged()).containsExactly("vision_model.a.weight");
    assertThat(plan.excluded()).containsExactly("vision_model.b.weight");
    assertThat(plan.carriedOver())
        .containsExactlyInAnyOrder("vision_model.position_ids", "text.weight");
    assertThat(plan.warnings()).singleElement().asString().contains("'weight'", "no tensor");
    assertThat(plan.toString()).contains("merged", "carried over", "excluded", "1 pass");
    List<Long> progress = new ArrayList<>();
    try (Kernels kernels = Kernels.open()) {
      Merging.run(request, kernels, (done, total) -> progress.add(done));
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
    MergeRequest request = MergeRequest.builder(base, output, new Average()).model(model).build();
    try (MergeSession session = MergeSession.open(request);
        Kernels kernels = Kernels.open()) {
      assertThatThrownBy(() ->
              session.run(
                  kernels,
                  (done, total) -> {
                    throw new IllegalStateException("cancelled");
                  }))
          .hasMessage("cancelled");
      assertThat(folder.resolve("sub")).doesNotExist();
      Files.delete(model);
      write("m", DType.F32, new double[] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
      assertThatThrownBy(() -> session.run(kernels, ProgressListener.NONE))
          .hasMessageContaining("m.safetensors has changed");
    }
  }

  @Test
  void warnsWithNumbersWhereFishersAreSmall() {
    Path base = write("base", DType.F32, new double[4]);
    MergeRequest request =
        MergeRequest.builder(base, folder.resolve("out.safetensors"), DiagonalFisher.DEFAULT)
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

  @Test
  void warnsOfFishersOfDifferentRules() {
    Path base = write("base", DType.F32, new double[1]);
    MergeRequest.Builder request =
        MergeRequest.builder(base, folder.resolve("out.safetensors"), DiagonalFisher.DEFAULT);
    for (String rule : List.of("exact", "batch-square:4")) {
      Path fisher =
          TestTensors.write(
              folder.resolve("f" + rule.charAt(0) + ".safetensors"),
              Map.of("w", TestTensors.f32(1)),
              new StatisticMetadata(9, rule, null, null, null, null, null, null).toMap());
      request.model(write("m" + rule.charAt(0), DType.F32, new double[1]), fisher);
    }
    assertThat(Merging.plan(request.build()).warnings())
        .anySatisfy(w ->
            assertThat(w)
                .contains("different ways", "exact (", "batch-square:4 (", "fb.safetensors"));
  }

  // ---- norms that Fisher files state ----

  /** One pass instead of two, and the same bits. */
  @ParameterizedTest
  @EnumSource(Normalization.class)
  void statedSumsOfSquaresSaveAPass(Normalization normalization) throws IOException {
    StatedPool pool = new StatedPool(normalization);
    Outcome bare = pool.merge(List.of(false, false), List.of());
    Outcome stated = pool.merge(List.of(true, true), List.of());
    assertThat(stated.plan.passes()).isEqualTo(1);
    assertThat(stated.plan.bytesRead()).isEqualTo(4L * StatedPool.COUNT * Float.BYTES);
    assertThat(stated.bytes).isEqualTo(bare.bytes);
    assertThat(stated.warnings).isEmpty();
    // With one file that states none they are computed for all.
    Outcome mixed = pool.merge(List.of(true, false), List.of());
    assertThat(mixed.bytes).isEqualTo(bare.bytes);
    assertThat(mixed.plan.passes()).isEqualTo(normalization == Normalization.NONE ? 1 : 2);
  }

  @ParameterizedTest
  @EnumSource(Normalization.class)
  void statedSumsThatAreWrongAreFoundAndNotUsed(Normalization normalization) throws IOException {
    StatedPool pool = new StatedPool(normalization);
    Outcome right = pool.merge(List.of(false, false), List.of());
    Outcome wrong = pool.merge(List.of(true, true), List.of(1.0, 1 + 1e-6));
    assertThat(wrong.bytes).isEqualTo(right.bytes);
    if (normalization == Normalization.NONE) {
      assertThat(wrong.warnings).isEmpty();
    } else {
      assertThat(wrong.warnings)
          .singleElement()
          .asString()
          .contains("stated1", "'w'", "not that of its data");
    }
    Outcome zero = pool.merge(List.of(true, true), List.of(0.0, 1.0));
    assertThat(zero.bytes).isEqualTo(right.bytes);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[] | is no JSON object",
        "{\"w\": -1} | is not a finite number of 0 or more for \"w\"",
        "{\"w\": \"1\"} | is not a finite number",
        "{\"w\": 1e999} | is not a finite number",
        "{\"w\": 1 | is not valid JSON",
      })
  void malformedSumsAreRefused(String text, String message) {
    Path base = write("base", DType.F32, new double[] {1});
    Path fisher =
        TestTensors.write(
            folder.resolve("f.safetensors"),
            Map.of("w", TestTensors.f32(1)),
            Map.of(
                "fisher_format",
                "1",
                "fisher_examples",
                "1",
                "fisher_labels",
                "exact",
                SumsOfSquares.KEY,
                text));
    assertThatThrownBy(() ->
            MergeSession.open(
                MergeRequest.builder(base, folder.resolve("out"), DiagonalFisher.DEFAULT)
                    .model(write("m", DType.F32, new double[] {1}), fisher)
                    .build()))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(fisher.toString())
        .hasMessageContaining(message);
  }

  @SuppressWarnings("ArrayRecordComponent")
  private record Outcome(MergePlan plan, List<String> warnings, byte[] bytes) {}

  /** Two models with Fishers over more than one piece, which state sums of squares or do not. */
  private final class StatedPool {
    private static final int COUNT = (int) (2 * ValueStatistics.PIECE_ELEMENTS + 77);

    /** Written once for all tests. */
    private static final List<Path> MODELS = new ArrayList<>();

    private static final List<double[]> FISHERS = new ArrayList<>();
    private static final List<Double> SUMS_OF_SQUARES = new ArrayList<>();

    private final Normalization normalization;

    StatedPool(Normalization normalization) {
      this.normalization = normalization;
      Random random = new Random(11);
      for (int i = MODELS.size(); i < 2; i++) {
        MODELS.add(
            TestTensors.write(
                shared.resolve("pool" + i + ".safetensors"),
                Map.of("w", TestTensors.f32(random.doubles(COUNT, -1, 1).toArray()))));
        FISHERS.add(random.doubles(COUNT, 0, 1e-4).map(v -> (float) v).toArray());
        SUMS_OF_SQUARES.add(sumOfSquares(FISHERS.get(i)));
      }
    }

    /** The Fisher of a model, with a factor of its true sum of squares, or without any. */
    private static Path fisher(int model, Optional<Double> factor) {
      Path file =
          shared.resolve("stated%d-%s.safetensors".formatted(model, factor.orElse(Double.NaN)));
      if (Files.exists(file)) {
        return file;
      }
      Map<String, String> metadata =
          new LinkedHashMap<>(
              new StatisticMetadata(3, "exact", null, null, null, null, null, null).toMap());
      factor.ifPresent(f ->
          metadata.put(
              SumsOfSquares.KEY, SumsOfSquares.text(Map.of("w", f * SUMS_OF_SQUARES.get(model)))));
      return TestTensors.write(file, Map.of("w", TestTensors.f32(FISHERS.get(model))), metadata);
    }

    Outcome merge(List<Boolean> stated, List<Double> factors) throws IOException {
      try (Kernels kernels = Kernels.open()) {
        Path output = folder.resolve("merged.safetensors");
        MergeRequest.Builder request =
            MergeRequest.builder(MODELS.getFirst(), output, new DiagonalFisher(normalization, 1e-9))
                .overwrite(true);
        for (int i = 0; i < 2; i++) {
          double factor = factors.isEmpty() ? 1 : factors.get(i);
          request.model(
              MODELS.get(i), fisher(i, stated.get(i) ? Optional.of(factor) : Optional.empty()));
        }
        MergePlan plan = Merging.plan(request.build());
        MergeResult result = Merging.run(request.build(), kernels);
        List<String> warnings =
            result.warnings().stream().filter(w -> w.contains("sum of squares")).toList();
        return new Outcome(plan, warnings, Files.readAllBytes(output));
      }
    }

    private static double sumOfSquares(double[] values) {
      try (Kernels kernels = Kernels.open();
          Arena arena = Arena.ofShared()) {
        MemorySegment segment = arena.allocate(4L * values.length, 64);
        for (int j = 0; j < values.length; j++) {
          segment.setAtIndex(ValueLayout.JAVA_FLOAT, j, (float) values[j]);
        }
        return ValueStatistics.ofTensor(kernels, new TypedValues(segment, ElementType.F32), 0)
            .sumOfSquares();
      }
    }
  }

  private static MergeResult run(MergeRequest request, int threads) {
    try (Kernels kernels =
        Kernels.open(KernelOptions.fromSystemProperties().withThreads(threads))) {
      return Merging.run(request, kernels);
    }
  }

  private Path write(String name, DType dtype, double[] values) {
    return TestTensors.write(
        folder.resolve(name + ".safetensors"), Map.of("w", TestTensors.of(dtype, values)));
  }
}
