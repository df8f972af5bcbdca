package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.NamedTensors;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.checkpoint.StatisticLayout;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.checkpoint.SumsOfSquares;
import org.fishermerge.checkpoint.TensorInfo;
import org.fishermerge.checkpoint.TensorSink;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Merges in memory have the bits, and the errors, of the same merges through files. */
final class InMemoryMergeTest {
  private static final long SEED = 2207;
  private static final int EXAMPLES = 5;
  private static final List<DType> DTYPES = List.of(DType.F32, DType.F16, DType.BF16, DType.F64);
  private static final LinearLayer LAYER = new LinearLayer(3, 5, false, 11);
  private static final String KEPT = "kept";

  private static Kernels kernels;

  @TempDir Path folder;
  private final Arena arena = Arena.ofShared();

  @BeforeAll
  static void openKernels() {
    kernels = Kernels.open();
  }

  @AfterAll
  static void closeKernels() {
    kernels.close();
  }

  @AfterEach
  void freeMemory() {
    arena.close();
  }

  // ---- the same bits ----

  private static SparseTaskArithmetic sparse(Trim trim, Rescale rescale, boolean elects) {
    return new SparseTaskArithmetic(
        trim,
        TensorSetting.of(List.of(0.6, 0.3)),
        TensorSetting.of(0.05),
        elects,
        true,
        rescale,
        0.8,
        7);
  }

  private static List<MergeRule> rules() {
    return List.of(
        new Average(),
        new Average(0.7),
        new TaskArithmetic(0.4),
        new DiagonalFisher(Normalization.MODEL, 1e-6),
        new DiagonalFisher(Normalization.TENSOR, 0.25, 0.5),
        new DiagonalFisher(Normalization.NONE, 0),
        sparse(Trim.MAGNITUDE, Rescale.NONE, true),
        sparse(Trim.RANDOM, Rescale.L1, false),
        sparse(Trim.OUTLIERS, Rescale.NONE, false),
        new Slerp(TensorSetting.of(0.3)),
        new WeightedSum(),
        new KroneckerFisher(
            0.1,
            KroneckerFisher.Scale.TRACE,
            KroneckerFisher.Tolerance.ofAll(1e-9),
            200,
            new DiagonalFisher(Normalization.MODEL, 1e-6),
            0.9),
        new RegMean(0.9, new Average(), 1));
  }

  /** All dtypes, as odd in length and place as they come; the tied pair is stored twice. */
  private Path model(String name, int index, List<DType> dtypes) {
    Random random = new Random(SEED + index);
    Map<String, TestTensors.Data> tensors = new LinkedHashMap<>();
    tensors.put("l.weight", values(random, dtypes.getFirst(), 3, 5));
    for (int k = 0; k < dtypes.size(); k++) {
      DType dtype = dtypes.get(k);
      tensors.put("odd" + k, values(random, dtype, 7, 13, 3));
      tensors.put("scalar" + k, values(random, dtype));
      tensors.put("empty" + k, values(random, dtype, 0, 4));
    }
    // Longer than a kernel's blocks; of 16 bits, which take long to write, than its vectors.
    DType last = dtypes.getLast();
    tensors.put("longer", values(random, last, last.bits() == 16 ? 4_099 : 66_001));
    TestTensors.Data tied = values(random, dtypes.getFirst(), 4, 6);
    tensors.put("tied", tied);
    if (index != 1) {
      // The first model stores it once, so that the base's two are one parameter.
      tensors.put("tied.too", tied);
    }
    tensors.put(KEPT, values(random, dtypes.getFirst(), 9));
    tensors.put("positions", new TestTensors.Data(DType.I64, List.of(3L), new double[] {0, 1, 2}));
    return TestTensors.write(folder.resolve(name + ".safetensors"), tensors);
  }

  private static TestTensors.Data values(Random random, DType dtype, long... shape) {
    int count = 1;
    List<Long> sizes = new ArrayList<>();
    for (long size : shape) {
      count *= (int) size;
      sizes.add(size);
    }
    return new TestTensors.Data(dtype, sizes, random.doubles(count, -2, 2).toArray());
  }

  /** Fisher, Kronecker factors and Gram matrices of a model. */
  private Path statistic(String name, int index, Path model, List<DType> dtypes) {
    Random random = new Random(SEED + 100 + index);
    Map<String, TestTensors.Data> tensors = new LinkedHashMap<>();
    TestTensors.read(model)
        .forEach((tensor, data) -> {
          if (data.dtype() != DType.I64 && !tensor.equals(KEPT)) {
            double[] squares = random.doubles(data.values().length, 0, 3).toArray();
            DType dtype = dtypes.get((index + tensors.size()) % dtypes.size());
            tensors.put(tensor, new TestTensors.Data(dtype, data.shape(), squares));
          }
        });
    if (tensors.containsKey("tied.too")) {
      tensors.put("tied.too", Objects.requireNonNull(tensors.get("tied")));
    }
    tensors.put(LayerFactor.INPUTS.tensorName("l.weight"), triangle(random, 5));
    tensors.put(LayerFactor.GRADIENTS.tensorName("l.weight"), triangle(random, 3));
    tensors.put(LayerFactor.GRAM.tensorName("l.weight"), triangle(random, 5));
    Map<String, String> metadata;
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      metadata =
          new StatisticMetadata(
                  EXAMPLES,
                  "exact",
                  null,
                  null,
                  null,
                  checkpoint.tensorSha256(),
                  checkpoint.fingerprint(),
                  null)
              .toMap(
                  new StatisticLayout(
                      EnumSet.allOf(StatisticKind.class), Map.of("l.weight", LAYER)));
    }
    return TestTensors.write(folder.resolve(name + ".safetensors"), tensors, metadata);
  }

  /** The lower triangle of a random positive definite matrix. */
  private static TestTensors.Data triangle(Random random, int n) {
    double[][] root = new double[n][n];
    for (double[] row : root) {
      for (int j = 0; j < n; j++) {
        row[j] = random.nextGaussian();
      }
    }
    List<Double> values = new ArrayList<>();
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        double sum = i == j ? 1 : 0;
        for (int k = 0; k < n; k++) {
          sum += root[i][k] * root[j][k];
        }
        values.add(sum);
      }
    }
    return TestTensors.f32(values.stream().mapToDouble(Double::doubleValue).toArray());
  }

  /** What is merged, in files. */
  private record Files3(Path base, List<Path> models, List<Path> statistics) {}

  private Files3 files(List<DType> dtypes) {
    Path base = model("base", 0, dtypes);
    List<Path> models = List.of(model("one", 1, dtypes), model("two", 2, dtypes));
    List<Path> statistics = new ArrayList<>();
    for (int i = 0; i < models.size(); i++) {
      statistics.add(statistic("statistic" + i, i, models.get(i), dtypes));
    }
    return new Files3(base, models, statistics);
  }

  private MergeRequest.Builder request(Files3 files, MergeRule rule, Path output) {
    MergeRequest.Builder request =
        MergeRequest.builder(files.base(), output, rule)
            .exclude(KEPT)
            .verifyHashes(rule instanceof RegMean) // once: hashing takes long
            .measureShares(true);
    for (int i = 0; i < files.models().size(); i++) {
      Path model = files.models().get(i);
      MergeSource source =
          rule.statistics().isEmpty()
              ? MergeSource.of(model)
              : MergeSource.of(model, files.statistics().get(i));
      boolean weighs = !(rule instanceof Slerp);
      request.model(weighs ? source.withCoefficient(0.4 + i) : source);
    }
    return request;
  }

  private MergeRequest.Builder inMemory(Files3 files, MergeRule rule, InMemory.Kind kind) {
    MergeRequest.Builder request =
        request(files, rule, Path.of("merged")).inMemory(InMemory.of(files.base(), kind, arena));
    files.models().forEach(model -> request.inMemory(InMemory.of(model, kind, arena)));
    if (!rule.statistics().isEmpty()) {
      files.statistics().forEach(file -> request.inMemory(InMemory.of(file, kind, arena)));
    }
    return request;
  }

  private static MergeResult run(MergeRequest request) {
    try (MergeSession session = MergeSession.open(request)) {
      return session.run(kernels, new PlainAlgebra(), ProgressListener.NONE);
    }
  }

  /** Collects what it is handed, and sees that each tensor comes once. */
  private static TensorSink collect(Map<String, String> into) {
    return (tensor, values) -> {
      assertThat(values.isReadOnly()).isTrue();
      assertThat(values.byteSize()).isEqualTo(tensor.byteCount());
      assertThat(into.put(tensor.name(), InMemory.text(values))).as(tensor.name()).isNull();
    };
  }

  static Stream<List<DType>> dtypes() {
    return Stream.concat(DTYPES.stream().map(List::of), Stream.of(DTYPES));
  }

  @ParameterizedTest
  @MethodSource("dtypes")
  void hasTheBitsOfTheMergeThroughFiles(List<DType> dtypes) {
    Files3 files = files(dtypes);
    DType output = dtypes.size() > 1 ? DType.BF16 : null;
    Path merged = folder.resolve("merged.safetensors");
    List<MergeRule> rules = rules();
    boolean all = dtypes.size() > 1 || dtypes.contains(DType.F32);
    for (int k = 0; k < rules.size(); k += all ? 1 : 3) {
      MergeRule rule = rules.get(k);
      MergeResult expected =
          run(request(files, rule, merged).outputDtype(output).overwrite(true).build());
      Map<String, String> bits = InMemory.bytes(merged);
      assertThat(bits).containsKeys("l.weight", "longer", "tied.too", "positions", KEPT);
      for (InMemory.Kind kind : InMemory.Kind.values()) {
        MergeRequest.Builder request = inMemory(files, rule, kind).outputDtype(output);
        String what = rule + ", " + kind + ", seed " + SEED;

        Map<String, String> handed = new HashMap<>();
        MergeResult result = run(request.sink(collect(handed)).build());
        assertThat(handed.equals(bits)).as(what).isTrue();
        assertThat(result.models()).as(what).isEqualTo(expected.models());
        assertThat(result.warnings()).as(what).isEqualTo(expected.warnings());
        assertThat(result.shares()).as(what).isEqualTo(expected.shares());
        assertThat(result.bytesRead()).as(what).isEqualTo(expected.bytesRead());
        assertThat(result.output()).isEqualTo(Path.of("merged"));

        if (kind == InMemory.Kind.SEGMENTS || kind == InMemory.Kind.ARRAYS) {
          NamedTensors memory = InMemory.like(merged, kind, arena);
          run(request.sink(memory).build());
          assertThat(InMemory.bytes(memory).equals(bits)).as(what).isTrue();
        }
      }
    }
  }

  /** Each input and the output by itself. */
  @Test
  void filesAndMemoryMayBeMixed() {
    Files3 files = files(List.of(DType.F32, DType.BF16));
    MergeRule rule = new DiagonalFisher(Normalization.MODEL, 1e-6, 0.9);
    Path merged = folder.resolve("merged.safetensors");
    run(request(files, rule, merged).build());
    List<Path> all = new ArrayList<>(List.of(files.base()));
    all.addAll(files.models());
    all.addAll(files.statistics());
    for (Path one : all) {
      Path other = folder.resolve("other.safetensors");
      run(
          request(files, rule, other)
              .overwrite(true)
              .inMemory(InMemory.of(one, InMemory.Kind.MIXED, arena))
              .build());
      assertThat(other).as(one.toString()).hasSameBinaryContentAs(merged);
    }
    Map<String, String> handed = new HashMap<>();
    run(request(files, rule, Path.of("merged")).sink(collect(handed)).build());
    assertThat(handed).isEqualTo(InMemory.bytes(merged));
  }

  /** Pieces of a tensor that no chunk holds at once. */
  @Test
  void tensorsOfSeveralPieces() {
    int count = (int) (Piece.ELEMENTS + 4097);
    List<Path> models = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      Random random = new Random(SEED + i);
      models.add(
          TestTensors.write(
              folder.resolve("m" + i + ".safetensors"),
              Map.of(
                  "w",
                  new TestTensors.Data(
                      DType.F32, List.of((long) count), random.doubles(count).toArray()))));
    }
    Path merged = folder.resolve("merged.safetensors");
    MergeRule rule = new DiagonalFisher(Normalization.MODEL, 1e-6);
    MergeRequest.Builder inFiles = MergeRequest.builder(models.get(0), merged, rule);
    inFiles.model(models.get(1), models.get(2)).model(models.get(2), models.get(1));
    MergeRequest request = inFiles.build();
    run(request);
    Map<String, String> bits = InMemory.bytes(merged);
    for (InMemory.Kind kind : InMemory.Kind.values()) {
      Map<String, String> handed = new HashMap<>();
      MergeRequest.Builder inMemory =
          MergeRequest.builder(request.base(), merged, rule).sink(collect(handed));
      request.models().forEach(inMemory::model);
      models.forEach(model -> inMemory.inMemory(InMemory.of(model, kind, arena)));
      run(inMemory.build());
      assertThat(handed.equals(bits)).as(kind.name()).isTrue();
    }
  }

  @Test
  void severalMergesOfOneSession() {
    Files3 files = files(List.of(DType.F32));
    Map<String, String> first = new HashMap<>();
    Map<String, String> second = new HashMap<>();
    NamedTensors base = InMemory.of(files.base(), "base", InMemory.Kind.SEGMENTS, arena);
    NamedTensors one = InMemory.of(files.models().getFirst(), "one", InMemory.Kind.ARRAYS, arena);
    MergeRequest.Builder request =
        MergeRequest.builder(base.path(), Path.of("merged"), new Average())
            .model(one.path())
            .inMemory(base, one);
    try (MergeSession session = MergeSession.open(request.sink(collect(first)).build());
        Merger merger = session.merger(kernels)) {
      merger.run(session.plan(), ProgressListener.NONE);
      merger.run(session.plan(request.sink(collect(second)).build()), ProgressListener.NONE);
      NamedTensors other =
          InMemory.of(files.models().getLast(), "one", InMemory.Kind.ARRAYS, arena);
      MergeRequest of =
          MergeRequest.builder(base.path(), Path.of("merged"), new Average())
              .model(one.path())
              .inMemory(base, other)
              .sink(collect(new HashMap<>()))
              .build();
      assertThatThrownBy(() -> session.plan(of))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("other inputs");
    }
    assertThat(first).isEqualTo(second).isNotEmpty();
  }

  /** A statistic that states wrong sums has its merge done again; the last values count. */
  @Test
  void tensorsComeAgainWhereStatedSumsWereWrong() {
    Path base =
        TestTensors.write(folder.resolve("base.safetensors"), Map.of("w", TestTensors.f32(0, 0)));
    Path one =
        TestTensors.write(folder.resolve("one.safetensors"), Map.of("w", TestTensors.f32(1, 2)));
    Path two =
        TestTensors.write(folder.resolve("two.safetensors"), Map.of("w", TestTensors.f32(5, 3)));
    Map<String, String> metadata =
        new HashMap<>(
            new StatisticMetadata(2, "exact", null, null, null, null, null, null).toMap());
    List<Path> fishers = new ArrayList<>();
    for (double stated : new double[] {20, 99}) {
      metadata.put(SumsOfSquares.KEY, SumsOfSquares.text(Map.of("w", stated)));
      fishers.add(
          TestTensors.write(
              folder.resolve("fisher" + stated), Map.of("w", TestTensors.f32(4, 2)), metadata));
    }
    Path merged = folder.resolve("merged.safetensors");
    MergeRequest.Builder request =
        MergeRequest.builder(base, merged, DiagonalFisher.DEFAULT)
            .model(one, fishers.get(0))
            .model(two, fishers.get(1));
    List<String> expected = run(request.build()).warnings();
    List<String> handed = new ArrayList<>();
    MergeResult result =
        run(
            request
                .inMemory(InMemory.of(fishers.get(0), InMemory.Kind.ARRAYS, arena))
                .inMemory(InMemory.of(fishers.get(1), InMemory.Kind.READERS, arena))
                .sink((tensor, values) -> handed.add(InMemory.text(values)))
                .build());
    assertThat(result.warnings()).isEqualTo(expected).anyMatch(w -> w.contains("sum of squares"));
    assertThat(handed).hasSize(2);
    assertThat(handed.getLast()).isEqualTo(InMemory.bytes(merged).get("w"));
  }

  // ---- the same errors ----

  private static Map<String, TestTensors.Data> small() {
    Map<String, TestTensors.Data> tensors = new LinkedHashMap<>();
    tensors.put(
        "w", new TestTensors.Data(DType.F32, List.of(3L, 2L), new double[] {1, 2, 3, 4, 5, 6}));
    tensors.put("b", TestTensors.f32(1, 2, 3));
    return tensors;
  }

  /** A wrong merge: what stands in place of a tensor in one input. */
  record Wrong(
      String input,
      String tensor,
      TestTensors.Data data,
      UnaryOperator<MergeRequest.Builder> request) {
    Wrong(String input, TestTensors.Data data) {
      this(input, "b", data, r -> r);
    }
  }

  static Stream<Wrong> wrongs() {
    return Stream.of(
        new Wrong("m2", "gone", TestTensors.f32(1), r -> r),
        new Wrong("f2", "gone", TestTensors.f32(1), r -> r),
        new Wrong("m1", TestTensors.f32(1, 2)),
        new Wrong("f1", TestTensors.f32(1, 2)),
        new Wrong("m1", TestTensors.of(DType.I64, 1, 2, 3)),
        new Wrong("f1", TestTensors.of(DType.I64, 1, 2, 3)),
        new Wrong("m2", TestTensors.f32(Double.NaN, 1, Double.NaN)),
        new Wrong("f2", TestTensors.f32(1, -0.5, 1)),
        new Wrong("f2", TestTensors.f32(1, 1, Double.POSITIVE_INFINITY)),
        new Wrong("f2", TestTensors.of(DType.F64, 1, 1e300, 1)),
        new Wrong("m1", "b", TestTensors.f32(1e30, 1, 1e30), r -> r.outputDtype(DType.F16)),
        new Wrong("base", "extra", TestTensors.f32(1, 1e6), r -> r.outputDtype(DType.F16)),
        new Wrong("base", "lora_A.weight", TestTensors.f32(1), r -> r),
        new Wrong("m1", "b", TestTensors.f32(1, 2, 3), r -> r.exclude(".*")),
        new Wrong("m1", "b", TestTensors.f32(1, 2, 3), r -> r.exclude("a(")));
  }

  @ParameterizedTest
  @MethodSource("wrongs")
  void hasTheMessagesOfTheMergeThroughFiles(Wrong wrong) {
    Map<String, Path> files = new LinkedHashMap<>();
    for (String input : List.of("base", "m1", "m2", "f1", "f2")) {
      Map<String, TestTensors.Data> tensors = small();
      if (input.equals(wrong.input())) {
        if (wrong.tensor().equals("gone")) {
          tensors.remove("b");
        } else {
          tensors.put(wrong.tensor(), wrong.data());
        }
      }
      files.put(input, TestTensors.write(folder.resolve(input + ".safetensors"), tensors));
    }
    MergeRequest.Builder request =
        MergeRequest.builder(
                path(files, "base"), folder.resolve("out.safetensors"), DiagonalFisher.DEFAULT)
            .model(path(files, "m1"), path(files, "f1"))
            .model(path(files, "m2"), path(files, "f2"));
    String expected = messageOf(wrong.request().apply(request).build());
    for (InMemory.Kind kind : InMemory.Kind.values()) {
      MergeRequest.Builder memory =
          MergeRequest.builder(path(files, "base"), Path.of("out"), DiagonalFisher.DEFAULT)
              .model(path(files, "m1"), path(files, "f1"))
              .model(path(files, "m2"), path(files, "f2"));
      files.values().forEach(file -> memory.inMemory(InMemory.of(file, kind, arena)));
      memory.sink((tensor, values) -> {});
      assertThat(messageOf(wrong.request().apply(memory).build()))
          .as(kind.name())
          .isEqualTo(expected);
    }
  }

  private static Path path(Map<String, Path> files, String name) {
    return Objects.requireNonNull(files.get(name));
  }

  private static String messageOf(MergeRequest request) {
    try {
      run(request);
      throw new AssertionError("no error");
    } catch (InputException e) {
      return Objects.requireNonNull(e.getMessage());
    }
  }

  @Test
  void pairsAreChecked() {
    Files3 files = files(List.of(DType.F32));
    MergeRule rule = new DiagonalFisher(Normalization.NONE, 1e-6);
    Files3 swapped = new Files3(files.base(), files.models(), files.statistics().reversed());
    assertThat(messageOf(inMemory(swapped, rule, InMemory.Kind.MIXED).build()))
        .contains("statistic1", "one", "swapped");
    NamedTensors one = InMemory.of(files.models().getFirst(), "alpha", InMemory.Kind.ARRAYS, arena);
    MergeRequest twice =
        MergeRequest.builder(files.base(), Path.of("out"), new Average())
            .model(one.path())
            .model(one.path())
            .inMemory(one)
            .sink((tensor, values) -> {})
            .build();
    assertThat(messageOf(twice)).contains("the model alpha is given twice");
  }

  // ---- what only memory has ----

  private NamedTensors two(String name, MemorySegment values) {
    return NamedTensors.builder(name).add("w", DType.F32, List.of(2L), values).build();
  }

  private static MergeRequest.Builder average(NamedTensors base, NamedTensors model) {
    return MergeRequest.builder(base.path(), Path.of("merged"), new Average())
        .model(model.path())
        .inMemory(base, model)
        .sink((tensor, values) -> {});
  }

  private static NamedTensors floats(String name, float... values) {
    return NamedTensors.builder(name).add("w", values, values.length).build();
  }

  @Test
  void memoryThatCannotBeReadIsNamed() throws InterruptedException {
    NamedTensors model;
    try (Arena freed = Arena.ofShared()) {
      model = two("alpha", freed.allocate(8));
    }
    assertThat(messageOf(average(floats("base", 1, 2), model).build()))
        .contains("alpha", "\"w\"", "was freed");

    List<String> messages = new ArrayList<>();
    try (Arena confined = Arena.ofConfined()) {
      NamedTensors own = two("beta", confined.allocate(8));
      run(average(floats("base", 1, 2), own).build());
      Thread other =
          new Thread(() -> messages.add(messageOf(average(floats("base", 1, 2), own).build())));
      other.start();
      other.join();
    }
    assertThat(messages.getFirst()).contains("beta", "\"w\"", "confined to another thread");
  }

  @Test
  void memoryThatCannotBeWrittenIsNamed() {
    NamedTensors base = floats("base", 1, 2);
    NamedTensors model = floats("alpha", 3, 4);
    Map<String, MemorySegment> wrongs = new LinkedHashMap<>();
    wrongs.put("has 4 bytes, but 8 are written", arena.allocate(4));
    wrongs.put("is read-only", arena.allocate(8).asReadOnly());
    wrongs.forEach((message, memory) -> {
      TensorSink sink =
          new TensorSink() {
            @Override
            public MemorySegment memory(TensorInfo tensor) {
              return memory;
            }

            @Override
            public void accept(TensorInfo tensor, MemorySegment values) {
              throw new AssertionError("nothing may be written");
            }
          };
      assertThat(messageOf(average(base, model).sink(sink).build()))
          .contains("the merged tensor \"w\"", message);
    });
    assertThat(messageOf(average(base, model).sink(floats("out", 1, 2, 3)).build()))
        .contains("out", "\"w\"", "F32 [2]", "F32 [3]");
    assertThat(messageOf(average(base, model).sink(NamedTensors.builder("out").build()).build()))
        .contains("out", "\"w\"", "no memory of that name");
    NamedTensors reader =
        NamedTensors.builder("out").add("w", DType.F32, List.of(2L), (from, target) -> {}).build();
    assertThat(messageOf(average(base, model).sink(reader).build())).contains("out", "reader");
    assertThat(
            messageOf(
                average(base, model).outputDtype(DType.F16).sink(floats("out", 1, 2)).build()))
        .contains("F16 [2]", "F32 [2]");
    assertThat(messageOf(average(base, model).shardBytes(4).build())).contains("merged", "sink");
  }

  /** Reading inputs may take long. */
  @Test
  void aSinkIsAskedBeforeInputsAreRead() {
    NamedTensors base = floats("base", 1, 2);
    NamedTensors model = floats("alpha", 3, 4);
    NamedTensors fisher =
        NamedTensors.builder("fisher")
            .add(
                "w",
                DType.F32,
                List.of(2L),
                (from, target) -> {
                  throw new IllegalStateException("the Fisher is read");
                })
            .build();
    MergeRequest.Builder request =
        MergeRequest.builder(base.path(), Path.of("merged"), DiagonalFisher.DEFAULT)
            .model(model.path(), fisher.path())
            .inMemory(base, model, fisher);
    assertThat(messageOf(request.sink(floats("out", 1, 2, 3)).build())).contains("F32 [3]");
    assertThatThrownBy(() -> run(request.sink(floats("out", 1, 2)).build()))
        .hasMessage("the Fisher is read");
  }

  /** Of arrays and off the heap, whole and in part, inputs and outputs. */
  @Test
  void whatIsWrittenLiesApartFromWhatIsRead() {
    MemorySegment shared = arena.allocate(12);
    float[] array = {3, 4};
    MemorySegment floats = MemorySegment.ofArray(new float[3]);
    Map<NamedTensors, NamedTensors> overlapping = new LinkedHashMap<>();
    overlapping.put(two("alpha", shared.asSlice(0, 8)), two("out", shared.asSlice(4, 8)));
    overlapping.put(two("alpha", shared.asSlice(4, 8)), two("out", shared.asSlice(0, 8)));
    overlapping.put(two("alpha", shared.asSlice(0, 8)), two("out", shared.asSlice(0, 8)));
    overlapping.put(floats("alpha", array), floats("out", array));
    overlapping.put(two("alpha", floats.asSlice(0, 8)), two("out", floats.asSlice(4, 8)));
    overlapping.put(
        two("alpha", floats.asReadOnly().asSlice(0, 8)), two("out", floats.asSlice(4, 8)));
    overlapping.forEach((model, out) ->
        assertThat(messageOf(average(floats("base", 1, 2), model).sink(out).build()))
            .contains("alpha, \"w\"", "the merged tensor \"w\"", "overlap"));
    // Side by side, and inputs of the same memory.
    MemorySegment parts = arena.allocate(16);
    run(
        average(two("base", parts.asSlice(0, 8)), two("alpha", parts.asSlice(0, 8)))
            .sink(two("out", parts.asSlice(8, 8)))
            .build());
    NamedTensors base =
        NamedTensors.builder("base").add("a", new float[2], 2).add("b", new float[2], 2).build();
    NamedTensors out =
        NamedTensors.builder("out")
            .add("a", DType.F32, List.of(2L), shared.asSlice(0, 8))
            .add("b", DType.F32, List.of(2L), shared.asSlice(4, 8))
            .build();
    MergeRequest.Builder request =
        MergeRequest.builder(base.path(), Path.of("merged"), new Average())
            .model(base.path())
            .inMemory(base)
            .sink(out);
    assertThat(messageOf(request.build())).contains("\"a\"", "\"b\"", "overlap");
  }

  @Test
  void tensorsAreCheckedWhenTheyAreAdded() {
    NamedTensors.Builder builder = NamedTensors.builder("alpha").add("w", new float[6], 2, 3);
    assertThatThrownBy(() -> builder.add("w", new float[1], 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("alpha: the tensor \"w\" is added twice");
    assertThatThrownBy(() -> builder.add("b", DType.BF16, new short[5], 2, 3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("alpha: the tensor \"b\" is BF16 [2, 3], 12 bytes, but its memory has 10");
    assertThatThrownBy(() -> builder.add("b", new double[0], -1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("alpha: the tensor \"b\" cannot have the shape [-1]");
    assertThatThrownBy(() -> builder.add("b", new double[0], 1L << 62, 4))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("alpha: the tensor \"b\" is too large");
    assertThatThrownBy(() -> NamedTensors.builder(" "))
        .isInstanceOf(IllegalArgumentException.class);
    assertThat(builder.build().tensors().keySet()).containsExactly("w");
  }

  @Test
  void namesAreToBeUsedAndDistinct() {
    NamedTensors base = floats("base", 1, 2);
    MergeRequest.Builder request = average(base, floats("alpha", 3, 4));
    assertThatThrownBy(() -> request.inMemory(floats("alpha", 5, 6)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("alpha");
    assertThat(messageOf(request.inMemory(floats("alhpa", 5, 6)).build()))
        .contains("'alhpa'", "neither the base nor a model nor a statistic");
  }

  /** In words, and as memory that copies take. */
  @Test
  void thePlanTellsOfMemory() {
    int count = 100_000;
    NamedTensors base = floats("base", new float[count]);
    MergePlan copied = Merging.plan(average(base, floats("alpha", new float[count])).build());
    assertThat(copied.toString())
        .contains("into merged, in memory", "base        base, in memory", "alpha, in memory");
    NamedTensors inPlace =
        NamedTensors.builder("alpha")
            .add("w", DType.F32, List.of((long) count), arena.allocate(4L * count))
            .build();
    MergePlan read = Merging.plan(average(base, inPlace).build());
    assertThat(copied.memoryBytes() - read.memoryBytes()).isEqualTo(4L * count);
  }

  @Test
  void aClosedSessionReadsNothing() {
    MergeSession session =
        MergeSession.open(average(floats("base", 1, 2), floats("alpha", 3, 4)).build());
    session.close();
    assertThatThrownBy(() -> session.run(kernels, ProgressListener.NONE))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
  }

  /** A file of the name does not matter, whatever it is. */
  @Test
  void theNameIsNotLookedForOnTheDisk() throws IOException {
    Path name = Files.createDirectory(folder.resolve("alpha"));
    Files.writeString(name.resolve("config.json"), "{broken");
    NamedTensors model = floats(name.toString(), 3, 4);
    assertThat(run(average(floats("base", 1, 2), model).build()).warnings()).isEmpty();
  }

  /** Its pages are the caller's: what was changed in them stays. */
  @Test
  void memoryThatTheCallerMappedKeepsItsChanges() throws IOException {
    Path file = folder.resolve("mapped");
    Files.write(file, new byte[1 << 16]);
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      MemorySegment mapped = channel.map(MapMode.PRIVATE, 0, 1 << 16, arena);
      mapped.setAtIndex(ValueLayout.JAVA_FLOAT, 3, 42);
      long count = mapped.byteSize() / Float.BYTES;
      NamedTensors base =
          NamedTensors.builder("base").add("w", new float[Math.toIntExact(count)], count).build();
      NamedTensors model =
          NamedTensors.builder("alpha").add("w", DType.F32, List.of(count), mapped).build();
      float[] merged = new float[Math.toIntExact(count)];
      for (MergeRule rule : List.of(new Average(), new WeightedSum(), new TaskArithmetic(1))) {
        run(
            MergeRequest.builder(base.path(), Path.of("merged"), rule)
                .model(model.path())
                .inMemory(base, model)
                .sink(NamedTensors.builder("out").add("w", merged, count).build())
                .build());
        assertThat(merged[3]).isEqualTo(42);
        assertThat(mapped.getAtIndex(ValueLayout.JAVA_FLOAT, 3)).isEqualTo(42);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void whatCallbacksThrowReachesTheCaller(boolean reading) {
    IllegalStateException thrown = new IllegalStateException("out of order");
    NamedTensors base = floats("base", 1, 2);
    NamedTensors model =
        NamedTensors.builder("alpha")
            .add(
                "w",
                DType.F32,
                List.of(2L),
                (from, target) -> {
                  if (reading) {
                    throw thrown;
                  }
                })
            .build();
    MergeRequest request =
        average(base, model)
            .sink((tensor, values) -> {
              throw thrown;
            })
            .build();
    assertThatThrownBy(() -> run(request)).isSameAs(thrown);
  }

  /** At the next step, as through files; and callbacks run on the merge's own thread. */
  @Test
  void anInterruptedMergeEndsAsCancelled() {
    Thread thread = Thread.currentThread();
    NamedTensors.Builder base = NamedTensors.builder("base");
    NamedTensors.Builder model = NamedTensors.builder("alpha");
    for (int k = 0; k < 4; k++) {
      base.add("w" + k, new float[2], 2);
      model.add(
          "w" + k,
          DType.F32,
          List.of(2L),
          (from, target) -> assertThat(Thread.currentThread()).isSameAs(thread));
    }
    List<String> handed = new ArrayList<>();
    MergeRequest request =
        average(base.build(), model.build())
            .sink((tensor, values) -> {
              handed.add(tensor.name());
              assertThat(Thread.currentThread()).isSameAs(thread);
              thread.interrupt();
            })
            .build();
    assertThatThrownBy(() -> run(request)).isInstanceOf(CancellationException.class);
    assertThat(handed).hasSize(1);
    assertThatThrownBy(() -> run(request)).isInstanceOf(CancellationException.class);
    assertThat(handed).hasSize(1);
    assertThat(Thread.interrupted()).isTrue();
  }
}
