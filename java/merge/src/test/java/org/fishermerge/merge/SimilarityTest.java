package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.TestTensors.Data;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Against the formulas, in loops over all values, and what may be wrong with the files. */
final class SimilarityTest {
  private static final long SEED = 20261123;

  @TempDir Path folder = Path.of("");

  private static Map<String, String> metadata(String labels) {
    return Map.of("fisher_format", "1", "fisher_examples", "7", "fisher_labels", labels);
  }

  private static Similarity compare(int threads, List<Path> files) {
    try (Kernels kernels =
        Kernels.open(KernelOptions.fromSystemProperties().withThreads(threads))) {
      return Similarity.of(files, kernels, ProgressListener.NONE);
    }
  }

  private static Similarity compare(Path... files) {
    return compare(2, List.of(files));
  }

  private Path write(String name, Map<String, Data> tensors) {
    return TestTensors.write(folder.resolve(name), tensors, metadata("exact"));
  }

  private static Data random(SplittableRandom random, DType dtype, int size, double spread) {
    double[] values = new double[size];
    for (int j = 0; j < size; j++) {
      double value = Math.exp(spread * random.nextGaussian() - 4);
      values[j] = TestTensors.stored(dtype, value);
    }
    return TestTensors.of(dtype, values);
  }

  /** Layers of odd sizes, one longer than a block of the sums. */
  private static Map<String, Data> model(SplittableRandom random, DType dtype, boolean small) {
    Map<String, Data> tensors = new LinkedHashMap<>();
    tensors.put("vision_model.encoder.layers.10.b", random(random, dtype, 33, 1));
    tensors.put("vision_model.encoder.layers.2.w", random(random, dtype, small ? 301 : 140_003, 3));
    tensors.put("vision_model.encoder.layers.2.b", random(random, dtype, 1, 1));
    tensors.put("vision_model.embeddings.patch.weight", random(random, dtype, 257, 2));
    tensors.put("vision_model.post_layernorm.weight", random(random, dtype, 19, 2));
    return tensors;
  }

  /** The definitions: over all values end to end, each Fisher divided by its norm or trace. */
  private static double expected(SimilarityMetric metric, List<Double> f, List<Double> g) {
    double first = 0;
    double second = 0;
    for (int j = 0; j < f.size(); j++) {
      boolean cosine = metric == SimilarityMetric.COSINE;
      first += cosine ? f.get(j) * f.get(j) : f.get(j);
      second += cosine ? g.get(j) * g.get(j) : g.get(j);
    }
    double sum = 0;
    for (int j = 0; j < f.size(); j++) {
      if (metric == SimilarityMetric.COSINE) {
        sum += f.get(j) / Math.sqrt(first) * (g.get(j) / Math.sqrt(second));
      } else {
        double difference = Math.sqrt(f.get(j) / first) - Math.sqrt(g.get(j) / second);
        sum += difference * difference / 2;
      }
    }
    return metric == SimilarityMetric.COSINE ? sum : 1 - sum;
  }

  private static List<Double> values(Map<String, Data> tensors, String prefix) {
    List<Double> values = new ArrayList<>();
    tensors.forEach((name, data) -> {
      if (name.startsWith(prefix)) {
        for (double value : data.values()) {
          values.add(value);
        }
      }
    });
    return values;
  }

  private static void assertMatches(
      SimilarityMatrix matrix, List<Map<String, Data>> models, String prefix) {
    for (SimilarityMetric metric : SimilarityMetric.values()) {
      for (int p = 0; p < models.size(); p++) {
        for (int q = 0; q < models.size(); q++) {
          List<Double> f = values(models.get(p), prefix);
          assertThat(matrix.values()).isEqualTo(f.size());
          assertThat(matrix.get(metric, p, q))
              .as("%s of %d and %d in '%s', seed %d", metric, p, q, matrix.name(), SEED)
              .isCloseTo(expected(metric, f, values(models.get(q), prefix)), within(1e-10))
              .isBetween(0.0, 1.0);
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"2, false", "3, false", "5, true", "9, true"})
  void followsTheDefinitions(int count, boolean small) {
    SplittableRandom random = new SplittableRandom(SEED + count);
    DType[] dtypes = {DType.F32, DType.F64, DType.F16, DType.BF16};
    List<Map<String, Data>> models = new ArrayList<>();
    List<Path> files = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      models.add(model(random, small ? dtypes[i % 4] : DType.F32, small));
      files.add(write(i + ".safetensors", models.getLast()));
    }
    Similarity similarity = compare(2, files);
    assertThat(similarity.warnings()).isEmpty();
    assertThat(similarity.sources()).extracting(Similarity.Source::path).isEqualTo(files);
    assertThat(similarity.model().tensors()).isEqualTo(5);
    assertMatches(similarity.model(), models, "");
    assertThat(similarity.layers())
        .extracting(SimilarityMatrix::name)
        .containsExactly("embeddings", "encoder.layers.2", "encoder.layers.10", "post_layernorm");
    for (SimilarityMatrix layer : similarity.layers()) {
      assertMatches(layer, models, "vision_model." + layer.name() + ".");
    }
  }

  @Test
  void hasTheSameBitsForAnyThreadsAndAnyLayout() {
    SplittableRandom random = new SplittableRandom(SEED);
    List<Path> files = new ArrayList<>();
    List<Path> sorted = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      Map<String, Data> model = model(random, DType.F32, false);
      files.add(write(i + ".safetensors", model));
      // Without the prefix, in another order.
      Map<String, Data> renamed = new TreeMap<>(Collections.reverseOrder());
      model.forEach((name, data) -> renamed.put(name.replace("vision_model.", ""), data));
      sorted.add(write("sorted" + i + ".safetensors", renamed));
    }
    Similarity one = compare(1, files);
    for (Similarity other : List.of(compare(2, files), compare(5, files), compare(1, sorted))) {
      for (SimilarityMetric metric : SimilarityMetric.values()) {
        assertThat(other.model().get(metric, 0, 2)).isEqualTo(one.model().get(metric, 0, 2));
        assertThat(other.model().get(metric, 1, 2)).isEqualTo(one.model().get(metric, 1, 2));
      }
    }
  }

  @Test
  void scaleDoesNotMatterAndDisjointFishersHaveNothingInCommon() {
    Path f = write("f", Map.of("w", TestTensors.f32(1, 0, 4, 0)));
    Path scaled = write("scaled", Map.of("w", TestTensors.f32(1e-6, 0, 4e-6, 0)));
    Path other = write("other", Map.of("w", TestTensors.f32(0, 3, 0, -0.0)));
    SimilarityMatrix matrix = compare(f, scaled, other).model();
    for (SimilarityMetric metric : SimilarityMetric.values()) {
      assertThat(matrix.get(metric, 0, 1)).isCloseTo(1, within(1e-7));
      assertThat(matrix.get(metric, 0, 2)).isZero();
      assertThat(matrix.get(metric, 2, 2)).isEqualTo(1);
    }
  }

  @Test
  void aFisherOfZerosIsSimilarToNothing() {
    Path zero = write("zero", Map.of("a.w", TestTensors.f32(0, 0), "b.w", TestTensors.f32(0)));
    Path part = write("part", Map.of("a.w", TestTensors.f32(0, 0), "b.w", TestTensors.f32(2)));
    Path full = write("full", Map.of("a.w", TestTensors.f32(1, 2), "b.w", TestTensors.f32(2)));
    Similarity similarity = compare(zero, part, full);
    assertThat(similarity.warnings())
        .containsExactly(zero + " is zero everywhere: nothing is similar to it");
    for (SimilarityMetric metric : SimilarityMetric.values()) {
      assertThat(similarity.model().get(metric, 0, 0)).isNaN();
      assertThat(similarity.model().get(metric, 0, 2)).isNaN();
      assertThat(similarity.model().get(metric, 1, 2)).isPositive();
      assertThat(similarity.layers().getFirst().get(metric, 1, 2)).isNaN();
      assertThat(similarity.layers().getLast().get(metric, 1, 2)).isCloseTo(1, within(1e-15));
    }
  }

  @Test
  void comparesWhatAllFilesHoldInTheSameShape() {
    Path a =
        write(
            "a.safetensors",
            Map.of(
                "w",
                TestTensors.f32(1, 2),
                "head",
                TestTensors.f32(1, 2, 3),
                "x",
                TestTensors.f32(1)));
    Path b =
        write("b.safetensors", Map.of("w", TestTensors.f32(1, 2), "head", TestTensors.f32(9, 9)));
    Similarity similarity = compare(a, b);
    assertThat(similarity.model().values()).isEqualTo(2);
    assertThat(similarity.model().get(SimilarityMetric.OVERLAP, 0, 1)).isCloseTo(1, within(1e-15));
    assertThat(similarity.warnings()).hasSize(2);
    assertThat(similarity.warnings().getFirst())
        .startsWith(a + ": 2 of its 3 tensors are left out because not every file has them in the")
        .contains("'head' [3]", "'x' [1]");
    assertThat(similarity.warnings().getLast())
        .startsWith(b + ": 1 of its 2 tensors is left out because not every file has it in the")
        .contains("'head' [2]");
  }

  @Test
  void refusesFilesWithNothingInCommon() {
    Path a = write("a.safetensors", Map.of("w", TestTensors.f32(1, 2)));
    Path b = write("b.safetensors", Map.of("w", TestTensors.f32(1, 2, 3)));
    assertThatThrownBy(() -> compare(a, b))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(a.toString(), "'w' [2]", b.toString(), "'w' [3]", "architecture");
    assertThatThrownBy(() -> compare(a))
        .isInstanceOf(InputException.class)
        .hasMessage("similarity compares two or more Fisher files, got 1");
  }

  @ParameterizedTest
  @ValueSource(strings = {"-1e-9", "NaN", "Infinity", "-Infinity"})
  void namesTheFileAndTensorOfAValueThatNoFisherHas(String value) {
    Path good = write("good", Map.of("a", TestTensors.f32(1), "w", TestTensors.f32(1, 2, 3)));
    Path bad =
        write(
            "bad",
            Map.of("a", TestTensors.f32(1), "w", TestTensors.f32(1, Double.parseDouble(value), 3)));
    assertThatThrownBy(() -> compare(good, bad))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(bad.toString(), "'w'", "1 values", "element 1");
  }

  @Test
  void saysWhereASumOverflows() {
    Path huge = write("huge", Map.of("w", TestTensors.of(DType.F64, 1e200, 1)));
    Path good = write("good", Map.of("w", TestTensors.f32(1, 1)));
    assertThatThrownBy(() -> compare(good, huge))
        .isInstanceOf(InputException.class)
        .hasMessage(
            huge
                + ": the norm of its values overflows; a Fisher is far smaller, so this one is"
                + " damaged or was scaled");
  }

  @Test
  void warnsOfAFileGivenTwiceAndOfDifferentEstimators() {
    Path a = write("a", Map.of("w", TestTensors.f32(1, 2)));
    Path b =
        TestTensors.write(
            folder.resolve("b"), Map.of("w", TestTensors.f32(2, 1)), metadata("sampled:1"));
    Path bare = TestTensors.write(folder.resolve("bare"), Map.of("w", TestTensors.f32(2, 1)));
    Path again = folder.resolve("x").resolve("..").resolve("a");
    TestTensors.write(folder.resolve("x/y"), Map.of("w", TestTensors.f32(2, 1)));
    assertThat(compare(a, again).model().get(SimilarityMetric.COSINE, 0, 1))
        .isCloseTo(1, within(1e-15));
    assertThat(compare(a, again).warnings())
        .containsExactly(again + " is given twice, also as " + a);
    assertThat(compare(a, a).warnings()).containsExactly(a + " is given twice");
    assertThat(compare(a, b, bare).warnings())
        .singleElement()
        .asString()
        .contains("different ways", "exact (" + a, "sampled:1 (" + b, "no metadata (" + bare);
  }

  @Test
  void readsAFisherInShards() throws Exception {
    Map<String, Data> tensors = Map.of("a", TestTensors.f32(1, 2), "b", TestTensors.f32(3, 0.5));
    Path whole = write("whole.safetensors", tensors);
    Path shards = folder.resolve("shards");
    Map<String, Data> first = new HashMap<>(tensors);
    first.remove("b");
    Map<String, Data> second = new HashMap<>(tensors);
    second.remove("a");
    TestTensors.write(shards.resolve("model-00001-of-00002.safetensors"), first, metadata("exact"));
    Path last = shards.resolve("model-00002-of-00002.safetensors");
    TestTensors.write(last, second, metadata("exact"));
    Files.writeString(
        shards.resolve("model.safetensors.index.json"),
        "{\"metadata\": {\"total_size\": 16}, \"weight_map\": {\"a\":"
            + " \"model-00001-of-00002.safetensors\", \"b\":"
            + " \"model-00002-of-00002.safetensors\"}}");
    Similarity similarity = compare(whole, shards);
    assertThat(similarity.warnings()).isEmpty();
    assertThat(similarity.model().values()).isEqualTo(4);
    assertThat(similarity.model().get(SimilarityMetric.OVERLAP, 0, 1)).isCloseTo(1, within(1e-15));
    assertThat(similarity.sources().getLast().metadata().orElseThrow().examples()).isEqualTo(7);

    Files.delete(last);
    TestTensors.write(last, second, metadata("true"));
    assertThatThrownBy(() -> compare(whole, shards))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("has other Fisher metadata than");
    Files.createDirectory(folder.resolve("empty"));
    assertThatThrownBy(() -> compare(whole, folder.resolve("empty")))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("is a folder without model.safetensors.index.json");
  }

  @ParameterizedTest
  @CsvSource({
    "encoder.layers.11.mlp.fc1.weight, encoder.layers.11",
    "h.3.attn.c_attn.weight, h.3",
    "wte.weight, wte",
    "embeddings.class_embedding, embeddings",
    "embeddings.patch_embedding.weight, embeddings",
    "bert.embeddings.word_embeddings.weight, bert.embeddings",
    "bert.pooler.dense.weight, bert.pooler.dense",
    "layer1.0.conv1.weight, layer1.0",
    "post_layernorm.bias, post_layernorm",
    "class_embedding, class_embedding",
    "weight, weight",
    "0.weight, 0",
    ".w, .w",
  })
  void aLayerIsTheNameUpToANumberOrEmbeddings(String tensor, String layer) {
    assertThat(Layers.layerOf(tensor)).isEqualTo(layer);
  }

  @Test
  void layersAreInNaturalOrder() {
    List<String> names =
        new ArrayList<>(
            List.of("h.10", "h.9", "h.100", "h.09", "a", "h", "h.2.x10", "h.2.x9", "1"));
    names.sort(Layers.ORDER);
    assertThat(names)
        .containsExactly("1", "a", "h", "h.2.x9", "h.2.x10", "h.09", "h.9", "h.10", "h.100");
  }

  /** Fishers of a GPT-2's words under either of the two names, or both; as if under one. */
  @Test
  void aTiedWeightCountsOnceUnderWhicheverName() {
    SplittableRandom random = new SplittableRandom(SEED);
    List<Data> words = new ArrayList<>();
    List<Data> others = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      words.add(random(random, DType.F32, 91, 2));
      others.add(random(random, DType.F32, 40, 1));
    }
    String in = "transformer.wte.weight";
    String out = "lm_head.weight";
    String own = "transformer.h.0.ln_1.weight";
    Path a = write("a.safetensors", Map.of(in, words.get(0), own, others.get(0)));
    Path b = write("b.safetensors", Map.of(out, words.get(1), own, others.get(1)));
    Path c =
        write("c.safetensors", Map.of(in, words.get(2), out, words.get(2), own, others.get(2)));
    Path plainB = write("plain-b.safetensors", Map.of(in, words.get(1), own, others.get(1)));
    Path plainC = write("plain-c.safetensors", Map.of(in, words.get(2), own, others.get(2)));
    Similarity plain = compare(a, plainB, plainC);
    for (List<Path> order :
        List.of(List.of(a, b, c), List.of(a, b, plainC), List.of(a, plainB, c))) {
      Similarity tied = compare(2, order);
      for (SimilarityMetric metric : SimilarityMetric.values()) {
        for (int i = 0; i < 3; i++) {
          for (int j = 0; j < 3; j++) {
            assertThat(tied.model().get(metric, i, j))
                .as("%s %s %d %d", order, metric, i, j)
                .isCloseTo(plain.model().get(metric, i, j), within(1e-12));
          }
        }
      }
      assertThat(tied.warnings()).noneMatch(warning -> warning.contains("left out"));
      assertThat(tied.warnings().stream().anyMatch(w -> w.contains("whose names models tie")))
          .isEqualTo(order.contains(b));
    }
    assertThat(compare(c, b).model().get(SimilarityMetric.COSINE, 0, 1))
        .isCloseTo(plain.model().get(SimilarityMetric.COSINE, 2, 1), within(1e-12));
  }

  /** With data of their own, the names are two parameters. */
  @Test
  void tiedNamesOfOtherDataAreTwoParameters() {
    SplittableRandom random = new SplittableRandom(SEED);
    Data shared = random(random, DType.F32, 9, 1);
    Path both =
        write(
            "both.safetensors",
            Map.of(
                "transformer.wte.weight", random(random, DType.F32, 91, 2),
                "lm_head.weight", random(random, DType.F32, 91, 2),
                "transformer.h.0.ln_1.weight", shared));
    Path one =
        write(
            "one.safetensors",
            Map.of(
                "lm_head.weight",
                random(random, DType.F32, 91, 2),
                "transformer.h.0.ln_1.weight",
                shared));
    assertThat(compare(both, one).warnings())
        .singleElement()
        .asString()
        .contains("both.safetensors: 1 of its 3 tensors is left out", "wte.weight");
  }
}
