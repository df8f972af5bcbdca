package org.fishermerge.estimate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Parts of a run that were computed apart, joined, have the bits of the whole. */
final class RowRangeTest {
  private static final int ROWS = 256;
  private static final long PIXELS = 3L * 32 * 32;

  @TempDir static Path shared;
  private static Path data = Path.of("");

  @TempDir Path folder;
  private int joins;

  @BeforeAll
  static void drawPictures() {
    data = shared.resolve("data.safetensors");
    Random random = new Random(18);
    try (SafetensorsWriter writer =
        SafetensorsWriter.create(
            data,
            List.of(
                new SafetensorsWriter.Declared(
                    "pixel_values", DType.F32, List.of((long) ROWS, 3L, 32L, 32L)),
                new SafetensorsWriter.Declared("labels", DType.I64, List.of((long) ROWS))),
            Map.of())) {
      MemorySegment pixels = writer.segment("pixel_values");
      for (long j = 0; j < ROWS * PIXELS; j++) {
        pixels.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, j, (float) random.nextGaussian());
      }
      MemorySegment labels = writer.segment("labels");
      for (int i = 0; i < ROWS; i++) {
        labels.setAtIndex(ValueLayout.JAVA_LONG_UNALIGNED, i, random.nextInt(3));
      }
      writer.finish();
    }
  }

  private static Estimation.Builder estimation(String rule, int batch, long examples, long seed) {
    return Estimation.of(TestModels.alpha(data.toString()))
        .labels(rule)
        .batchSize(batch)
        .examples(examples)
        .seed(seed);
  }

  private Path joined(String rule, int batch, long examples, long seed, List<Long> cuts) {
    return joined(() -> estimation(rule, batch, examples, seed), cuts);
  }

  private Path joined(Supplier<Estimation.Builder> estimations, List<Long> cuts) {
    int number = joins++;
    List<Path> parts = new ArrayList<>();
    for (int i = 0; i + 1 < cuts.size(); i++) {
      Path part = folder.resolve("part-%d-%d".formatted(number, i));
      estimations.get().rows(cuts.get(i), cuts.get(i + 1)).output(part).build().run();
      parts.add(part);
    }
    Collections.reverse(parts);
    Path out = folder.resolve("joined-" + number);
    Estimation.Result result = estimations.get().parts(parts).output(out).build().run();
    assertThat(result.examples()).isEqualTo(cuts.getLast());
    return out;
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "exact",
        "adaptive:2",
        "lowrank:1",
        "top:1",
        "rademacher:2",
        "sampled:2",
        "argmax",
        "true"
      })
  void rowsTo99AndFrom100AreRowsTo255(String rule) {
    Path whole = joined(rule, 20, 256, 7, List.of(0L, 256L));
    assertThat(joined(rule, 20, 256, 7, List.of(0L, 100L, 256L))).hasSameBinaryContentAs(whole);
  }

  @Test
  void allKindsOfStatistics() {
    Supplier<Estimation.Builder> all =
        () ->
            estimation("sampled:1", 10, 40, 7)
                .statistics(
                    StatisticKind.DIAGONAL_FISHER, StatisticKind.KRONECKER, StatisticKind.GRAM);
    Path whole = joined(all, List.of(0L, 40L));
    assertThat(joined(all, List.of(0L, 10L, 30L, 40L))).hasSameBinaryContentAs(whole);
    try (StatisticFile file = StatisticFile.open(whole)) {
      assertThat(file.layout().layers()).hasSizeGreaterThan(10);
      // The patches of a picture, and these with the class token.
      assertThat(file.layer("embeddings.patch_embedding.weight").orElseThrow().tokens())
          .isEqualTo(40 * 16);
      assertThat(file.layer("encoder.layers.0.mlp.fc2.weight").orElseThrow().tokens())
          .isEqualTo(40 * 17);
    }
  }

  @Test
  void gramMatricesAlone() {
    Supplier<Estimation.Builder> grams =
        () -> estimation("exact", 10, 40, 7).statistics(StatisticKind.GRAM);
    Path whole = joined(grams, List.of(0L, 40L));
    assertThat(joined(grams, List.of(0L, 20L, 30L, 40L))).hasSameBinaryContentAs(whole);
  }

  @Test
  void anyCutsGiveTheSameBits() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    for (int round = 0; round < 2; round++) {
      int batch = 1 + random.nextInt(7);
      long examples = 10L + random.nextInt(30);
      long blocks = Math.ceilDiv(examples, batch);
      List<Long> cuts = new ArrayList<>(List.of(0L));
      for (long block = 1; block < blocks; block++) {
        if (random.nextInt(3) == 0) {
          cuts.add(block * batch);
        }
      }
      cuts.add(examples);
      Path whole = joined("sampled:1", batch, examples, seed, List.of(0L, examples));
      assertThat(joined("sampled:1", batch, examples, seed, cuts))
          .as("seed %d: %d examples in batches of %d, cut at %s", seed, examples, batch, cuts)
          .hasSameBinaryContentAs(whole);
    }
  }

  /** Places are those in the order in which texts run, the longest first. */
  @Test
  void textsToo() {
    Path model = Golden.path("gpt2-tiny/cola");
    String texts = Golden.path("gpt2-tiny/expected.safetensors") + "#cola.";
    List<Path> joined = new ArrayList<>();
    for (List<Long> cuts : List.of(List.of(0L, 6L), List.of(0L, 2L, 6L), List.of(0L, 4L, 6L))) {
      List<Path> parts = new ArrayList<>();
      for (int i = 0; i + 1 < cuts.size(); i++) {
        parts.add(folder.resolve("texts-" + cuts + "-" + i));
        textEstimation(model, texts)
            .rows(cuts.get(i), cuts.get(i + 1))
            .output(parts.getLast())
            .build()
            .run();
      }
      joined.add(folder.resolve("texts-" + cuts));
      textEstimation(model, texts).parts(parts).output(joined.getLast()).build().run();
    }
    assertThat(joined.get(1)).hasSameBinaryContentAs(joined.get(0));
    assertThat(joined.get(2)).hasSameBinaryContentAs(joined.get(0));
  }

  private static Estimation.Builder textEstimation(Path model, String texts) {
    return Estimation.of(ModelSource.classifier(model, texts)).labels("sampled:2").batchSize(2);
  }

  @Test
  void differsFromTheUnbrokenRunByRoundingOnly() {
    Path plain = folder.resolve("plain.safetensors");
    estimation("sampled:2", 5, 64, 7).output(plain).build().run();
    Path whole = joined("sampled:2", 5, 64, 7, List.of(0L, 25L, 64L));
    try (SafetensorsFile a = SafetensorsFile.open(plain);
        SafetensorsFile b = SafetensorsFile.open(whole)) {
      assertThat(b.header().tensors().keySet()).isEqualTo(a.header().tensors().keySet());
      for (String name : a.header().tensors().keySet()) {
        float[] left = a.segment(name).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
        float[] right = b.segment(name).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
        for (int j = 0; j < left.length; j++) {
          if (!(Math.abs(left[j] - right[j]) <= 1e-5f * left[j])) {
            throw new AssertionError(name + "[" + j + "]: " + left[j] + " and " + right[j]);
          }
        }
      }
    }
  }

  @Test
  void refusesWhatIsNoPartOrDoesNotFit() {
    assertThatThrownBy(() -> estimation("batch-square", 4, 8, 0).rows(0, 4).output(folder).build())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("batch-square");
    assertThatThrownBy(() -> part("exact", 0, 6).run())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("a multiple of the batch size, 4, or at the end");
    assertThatThrownBy(() -> part("exact", 0, 20).run())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("rows 0 to 20: the run has 10");
    part("exact", 0, 4).run();
    part("true", 4, 10).run();
    Path first = folder.resolve("exact-0");
    Path other = folder.resolve("true-4");
    Estimation.Builder join =
        estimation("exact", 4, 10, 0).output(folder.resolve("out.safetensors"));
    assertThatThrownBy(() -> join.parts(List.of(first)).build().run())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("the parts end at row 4 of 10");
    assertThatThrownBy(() -> join.parts(List.of(first, first)).build().run())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("begins with row 0 of the run, where row 4 is due");
    assertThatThrownBy(() -> join.parts(List.of(first, other)).build().run())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("true-4: holds rows of another estimation");
    assertThatThrownBy(() -> join.parts(List.of(data)).build().run())
        .isInstanceOf(InputException.class)
        .hasMessageContaining("holds no rows of an estimation");
    assertThat(folder.resolve("out.safetensors")).doesNotExist();
  }

  private Estimation part(String rule, long first, long end) {
    return estimation(rule, 4, 10, 0)
        .rows(first, end)
        .output(folder.resolve(rule + "-" + first))
        .build();
  }

  @Test
  void blocksAreAddedPairwise() {
    PairwiseSums sums = new PairwiseSums();
    float[] values = {0x1p24f, 1, 1, 1, 1};
    try (Arena arena = Arena.ofConfined()) {
      for (int block = 0; block < values.length; block++) {
        MemorySegment value = arena.allocateFrom(ValueLayout.JAVA_FLOAT, values[block]);
        sums.add(new PairwiseSums.Node(block, 0, Map.of("w", value)));
      }
      assertThat(sums.nodes()).extracting(PairwiseSums.Node::level).containsExactly(2, 0);
      // ((2^24 + 1) + (1 + 1)) + 1: the first 1 is lost, the last one rounds up to even.
      MemorySegment total = Objects.requireNonNull(sums.total().get("w"));
      assertThat(total.get(ValueLayout.JAVA_FLOAT, 0)).isEqualTo(0x1p24f + 4);
    }
  }
}
