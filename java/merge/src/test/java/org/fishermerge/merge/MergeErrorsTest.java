package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.kernels.Kernels;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every way to ask for a merge that cannot be: one message that names what is wrong, no output. */
final class MergeErrorsTest {
  @TempDir Path folder;

  /** One wrong merge: a change to files, a change to the request, and what the message names. */
  record Case(
      String name,
      Map<String, Map<String, TestTensors.@Nullable Data>> changes,
      MergeRule rule,
      UnaryOperator<MergeRequest.Builder> request,
      List<String> named) {
    Case(
        String name,
        Map<String, Map<String, TestTensors.@Nullable Data>> changes,
        UnaryOperator<MergeRequest.Builder> request,
        List<String> named) {
      this(name, changes, DiagonalFisher.DEFAULT, request, named);
    }

    @Override
    public String toString() {
      return name;
    }
  }

  static Stream<Case> cases() {
    MergeRule unnormalised = new DiagonalFisher(Normalization.NONE, 1e-6);
    TestTensors.Data negative = TestTensors.f32(1, -0.5, 1);
    return Stream.of(
        change("Fisher lacks a tensor", "f2", "b", null, "f2.safetensors", "'b'", "exclude"),
        change("model lacks a tensor", "m2", "b", null, "m2.safetensors", "'b'", "exclude"),
        change(
            "model of another shape", "m1", "b", TestTensors.f32(1, 2), "m1", "'b'", "[2]", "[3]"),
        change("Fisher of another shape", "f1", "b", TestTensors.f32(1, 2), "f1", "'b'", "[2]"),
        change(
            "transposed",
            "m2",
            "w",
            TestTensors.shaped(List.of(2L, 3L)),
            "m2",
            "'w'",
            "[2, 3]",
            "[3, 2]",
            "transposed"),
        change(
            "model of integers", "m1", "b", TestTensors.of(DType.I64, 1, 2, 3), "m1", "'b'", "I64"),
        change(
            "negative Fisher", "f2", "b", negative, "f2", "'b'", "1 values", "element 1", "-0.5"),
        new Case(
            "negative Fisher without norms",
            Map.of("f2", Map.of("b", negative)),
            unnormalised,
            b -> b,
            List.of("f2", "'b'", "element 1")),
        change(
            "Fisher of NaN",
            "f1",
            "b",
            TestTensors.f32(0, 0, Double.NaN),
            "f1",
            "'b'",
            "element 2"),
        new Case(
            "infinite Fisher",
            Map.of("f1", Map.of("b", TestTensors.f32(0, Double.POSITIVE_INFINITY, 0))),
            unnormalised,
            b -> b,
            List.of("f1", "'b'", "element 1", "Infinity")),
        change(
            "Fisher whose square is beyond F64",
            "f2",
            "b",
            TestTensors.of(DType.F64, 1, 1e300, 1),
            "f2",
            "norm",
            "overflows"),
        change(
            "parameters of NaN",
            "m2",
            "b",
            TestTensors.f32(Double.NaN, 1, Double.NaN),
            "m2",
            "'b'",
            "2 values",
            "element 0"),
        new Case(
            "overflow of F16",
            Map.of(
                "m1", Map.of("b", TestTensors.f32(1, 1e6, 1)),
                "m2", Map.of("b", TestTensors.f32(1, 1e6, 1))),
            b -> b.outputDtype(DType.F16),
            List.of("'b'", "F16", "element 1", "1000000")),
        new Case(
            "overflow of a carried tensor",
            Map.of("base", Map.of("extra", TestTensors.f32(1e6))),
            b -> b.outputDtype(DType.F16),
            List.of("base", "'extra'", "F16", "element 0")),
        request("bad regex", b -> b.exclude("a("), "'a('", "regular expression"),
        request("all excluded", b -> b.exclude(".*"), "nothing is left"),
        request("integer output", b -> b.outputDtype(DType.I64), "I64"),
        nothing());
  }

  private static Case nothing() {
    Map<String, TestTensors.@Nullable Data> other = new LinkedHashMap<>();
    other.put("w", null);
    other.put("b", null);
    other.put("zzz", TestTensors.f32(1));
    return new Case(
        "nothing matches",
        Map.of("f1", other, "f2", other),
        b -> b,
        List.of("f1", "'zzz'", "'w'", "'b'", "same architecture"));
  }

  private static Case request(
      String name, UnaryOperator<MergeRequest.Builder> request, String... named) {
    return new Case(name, Map.of(), request, List.of(named));
  }

  private static Case change(
      String name, String file, String tensor, TestTensors.@Nullable Data data, String... named) {
    Map<String, TestTensors.@Nullable Data> changed = new LinkedHashMap<>();
    changed.put(tensor, data);
    return new Case(name, Map.of(file, changed), b -> b, List.of(named));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("cases")
  void namesWhatIsWrongAndLeavesNothing(Case wrong) throws IOException {
    for (String file : List.of("base", "m1", "m2", "f1", "f2")) {
      Map<String, TestTensors.Data> tensors = new LinkedHashMap<>();
      tensors.put(
          "w", new TestTensors.Data(DType.F32, List.of(3L, 2L), new double[] {1, 2, 3, 4, 5, 6}));
      tensors.put("b", TestTensors.f32(1, 2, 3));
      wrong
          .changes()
          .getOrDefault(file, Map.of())
          .forEach((name, data) -> {
            if (data == null) {
              tensors.remove(name);
            } else {
              tensors.put(name, data);
            }
          });
      TestTensors.write(path(file), tensors);
    }
    MergeRequest.Builder request =
        MergeRequest.builder(path("base"), folder.resolve("out"), wrong.rule())
            .model(path("m1"), path("f1"))
            .model(path("m2"), path("f2"));
    assertFails(wrong.request().apply(request).build(), wrong.named());
  }

  private void assertFails(MergeRequest request, List<String> named) throws IOException {
    List<Path> before = list();
    try (Kernels kernels = Kernels.open()) {
      assertThatThrownBy(() -> Merging.run(request, kernels))
          .isInstanceOf(InputException.class)
          .satisfies(e -> assertThat(e.getMessage()).contains(named));
    }
    assertThat(list()).isEqualTo(before);
  }

  @Test
  void pairsAreChecked() throws IOException {
    for (String name : List.of("base", "m1", "m2")) {
      TestTensors.write(path(name), Map.of("w", TestTensors.f32(name.hashCode() % 97, 2)));
    }
    for (boolean cheap : List.of(true, false)) {
      writeFisher("f1", "m1", cheap);
      writeFisher("f2", "m2", cheap);
      writeFisher("f0", "base", cheap);
      assertFails(pair("f2", "f1"), List.of("f2", "m1", "m2", "swapped"));
      assertFails(pair("f1", "f0"), List.of("f0", "m2"));
      assertFails(pair("f1", "f1"), List.of("f1", "twice"));
      try (Kernels kernels = Kernels.open()) {
        Files.delete(Merging.run(pair("f1", "f2"), kernels).output());
      }
    }
  }

  private MergeRequest pair(String first, String second) {
    return MergeRequest.builder(
            path("base"), folder.resolve("pair.safetensors"), DiagonalFisher.DEFAULT)
        .model(path("m1"), path(first))
        .model(path("m2"), path(second))
        .build();
  }

  private void writeFisher(String name, String model, boolean cheap) throws IOException {
    Files.deleteIfExists(path(name));
    try (Checkpoint checkpoint = Checkpoint.open(path(model))) {
      StatisticMetadata metadata =
          new StatisticMetadata(
              4,
              "exact",
              null,
              null,
              null,
              cheap ? null : checkpoint.tensorSha256(),
              cheap ? checkpoint.fingerprint() : null,
              null);
      TestTensors.write(path(name), Map.of("w", TestTensors.f32(4, 8)), metadata.toMap());
    }
  }

  @Test
  void refusesRequestsThatMakeNoSense() throws IOException {
    for (String name : List.of("base", "m1", "m2", "f1")) {
      TestTensors.write(path(name), Map.of("w", TestTensors.f32(1, 2)));
    }
    Path out = folder.resolve("out");
    Average average = new Average();
    assertFails(MergeRequest.builder(path("base"), out, average).build(), List.of("no model"));
    assertFails(
        MergeRequest.builder(path("base"), out, average).model(path("m1"), path("f1")).build(),
        List.of("average", "m1", "no Fisher file"));
    assertFails(
        MergeRequest.builder(path("base"), out, DiagonalFisher.DEFAULT).model(path("m1")).build(),
        List.of("no model has a Fisher file", "m1"));
    assertFails(
        MergeRequest.builder(path("base"), out, DiagonalFisher.DEFAULT)
            .model(path("m1"), path("f1"))
            .model(path("m2"))
            .build(),
        List.of("m2", "Fisher"));
    assertFails(
        MergeRequest.builder(path("base"), out, average)
            .model(path("m1"))
            .model(path("m1"))
            .build(),
        List.of("m1", "twice"));
    for (double coefficient : new double[] {-1, Double.NaN, Double.POSITIVE_INFINITY, 0}) {
      assertFails(
          MergeRequest.builder(path("base"), out, average)
              .model(MergeSource.of(path("m1")).withCoefficient(coefficient))
              .build(),
          List.of("coefficient"));
    }
    for (Path target : List.of(path("m1"), path("base"), folder)) {
      assertFails(
          MergeRequest.builder(path("base"), target, average)
              .overwrite(true)
              .model(path("m1"))
              .build(),
          List.of(target.toString()));
    }
    assertFails(
        MergeRequest.builder(path("base"), path("f1"), average).model(path("m1")).build(),
        List.of("f1", "exists"));
  }

  @Test
  void rulesCheckTheirSettings() {
    for (double wrong : new double[] {-1, Double.NaN, Double.POSITIVE_INFINITY}) {
      assertThatThrownBy(() -> new DiagonalFisher(Normalization.MODEL, wrong))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("--minimal-fisher is " + wrong);
    }
    for (double wrong : new double[] {Double.NaN, Double.NEGATIVE_INFINITY}) {
      assertThatThrownBy(() -> new TaskArithmetic(wrong))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("--scaling-factor " + wrong);
    }
  }

  /** With Fishers a sum of weights could cross zero. */
  @Test
  void onlyAnAverageExtrapolates() throws IOException {
    for (String name : List.of("base", "m1", "m2", "f1", "f2")) {
      TestTensors.write(path(name), Map.of("w", TestTensors.f32(1, 2)));
    }
    assertFails(
        MergeRequest.builder(path("base"), folder.resolve("out"), DiagonalFisher.DEFAULT)
            .model(MergeSource.of(path("m1"), path("f1")).withCoefficient(-0.1))
            .model(path("m2"), path("f2"))
            .build(),
        List.of("m1", "-0.1", "not negative"));
  }

  private Path path(String name) {
    return folder.resolve(name + ".safetensors");
  }

  private List<Path> list() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.sorted().toList();
    }
  }
}
