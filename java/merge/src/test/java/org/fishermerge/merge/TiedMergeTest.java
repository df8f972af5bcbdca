package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.Kernels;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Weights under several names are one parameter, whichever names an input stores them under. */
final class TiedMergeTest {
  private static final String GPT2 = "{\"model_type\": \"gpt2\", \"x\": NaN}";
  private static final String HEAD = "lm_head.weight";
  private static final String WORDS = "transformer.wte.weight";
  private static final double[] BASE = {1, 2, 3, 4};
  private static final double[] ONE = {2, 4, 8, 16};
  private static final double[] TWO = {-2, 3, 5, 7};

  @TempDir Path folder;

  /** A model folder with a config.json, unless that is empty, and 2 x 2 matrices. */
  private Path model(String name, String config, Object... tensors) throws IOException {
    Map<String, TestTensors.Data> data = new LinkedHashMap<>();
    for (int i = 0; i < tensors.length; i += 2) {
      data.put(
          (String) tensors[i],
          new TestTensors.Data(DType.F32, List.of(2L, 2L), (double[]) tensors[i + 1]));
    }
    Path path = folder.resolve(name);
    TestTensors.write(path.resolve("model.safetensors"), data);
    if (!config.isEmpty()) {
      Files.writeString(path.resolve("config.json"), config);
    }
    return path;
  }

  private Path fisher(String name, Object... tensors) throws IOException {
    return model(name, "", tensors).resolve("model.safetensors");
  }

  private MergeRequest.Builder request(Path base) {
    return request(base, new Average());
  }

  private MergeRequest.Builder request(Path base, MergeRule rule) {
    return MergeRequest.builder(base, folder.resolve("out"), rule).overwrite(true);
  }

  private MergePlan merge(MergeRequest.Builder request) {
    try (MergeSession session = MergeSession.open(request.build());
        Kernels kernels = Kernels.open()) {
      session.run(kernels, ProgressListener.NONE);
      return session.plan();
    }
  }

  private double[] out(String tensor) {
    TestTensors.Data data = TestTensors.read(folder.resolve("out")).get(tensor);
    if (data == null) {
      throw new AssertionError("no " + tensor);
    }
    return data.values();
  }

  @Test
  void theBaseStoresBothNamesAndModelsEither() throws IOException {
    Path base = model("base", GPT2, HEAD, BASE, WORDS, BASE);
    MergePlan plan =
        merge(
            request(base)
                .model(model("one", GPT2, WORDS, ONE))
                .model(model("two", GPT2, HEAD, TWO)));
    assertThat(out(HEAD)).containsExactly(0, 3.5, 6.5, 11.5).isEqualTo(out(WORDS));
    assertThat(plan.warnings()).isEmpty();
    assertThat(plan.mergedElements()).isEqualTo(4);
    assertThat(plan.merged()).containsExactly(HEAD);
    assertThat(plan.tied()).containsExactly(WORDS);
    assertThat(plan.toString()).contains("tied to them 1 tensor, 4 elements: " + WORDS);
  }

  @Test
  void theBaseStoresOneName() throws IOException {
    Path base = model("base", GPT2, WORDS, BASE);
    MergePlan plan = merge(request(base).model(model("one", "", HEAD, ONE, WORDS, ONE)));
    assertThat(out(WORDS)).containsExactly(ONE);
    assertThat(TestTensors.read(folder.resolve("out"))).containsOnlyKeys(WORDS);
    assertThat(plan.warnings())
        .singleElement()
        .asString()
        .startsWith(folder.resolve("one") + ": no config.json there");
  }

  @Test
  void aFisherCoversAParameterUnderEitherName() throws IOException {
    Path base = model("base", GPT2, HEAD, BASE, WORDS, BASE);
    MergeRule rule = new DiagonalFisher(Normalization.MODEL, 0);
    double[] f1 = {1, 2, 3, 4};
    double[] f2 = {3, 1, 0, 2};
    Path one = model("one", GPT2, WORDS, ONE);
    Path two = model("two", GPT2, HEAD, TWO);
    Path second = fisher("f2", HEAD, f2);
    merge(request(base, rule).model(one, fisher("f1", WORDS, f1)).model(two, second));
    double n1 = Math.sqrt(30);
    double n2 = Math.sqrt(14);
    for (int i = 0; i < 4; i++) {
      double expected = (f1[i] / n1 * ONE[i] + f2[i] / n2 * TWO[i]) / (f1[i] / n1 + f2[i] / n2);
      assertThat(out(HEAD)[i]).isCloseTo(expected, within(1e-6));
    }
    assertThat(out(WORDS)).isEqualTo(out(HEAD));

    double[] once = out(HEAD);
    merge(request(base, rule).model(one, fisher("both", HEAD, f1, WORDS, f1)).model(two, second));
    assertThat(out(HEAD)).as("a Fisher under both names counts once").isEqualTo(once);

    MergeRequest.Builder differing =
        request(base, rule).model(one, fisher("different", HEAD, f1, WORDS, f2)).model(two, second);
    assertThatThrownBy(() -> MergeSession.open(differing.build()))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("different", HEAD, WORDS, "one parameter");
  }

  @Test
  void excludingOneNameKeepsBoth() throws IOException {
    Path base = model("base", GPT2, HEAD, BASE, WORDS, BASE, "wpe.weight", BASE);
    Path one = model("one", GPT2, WORDS, ONE, "wpe.weight", ONE);
    MergePlan plan = merge(request(base).model(one).exclude("lm_head"));
    assertThat(out(HEAD)).containsExactly(BASE);
    assertThat(out(WORDS)).containsExactly(BASE);
    assertThat(out("wpe.weight")).containsExactly(ONE);
    assertThat(plan.warnings())
        .singleElement()
        .asString()
        .contains("'lm_head.weight'", "'wte.weight'");
    assertThat(merge(request(base).model(one).exclude("lm_head").exclude("wte")).warnings())
        .isEmpty();
  }

  @Test
  void aModelThatIsUntiedIsRefusedByName() throws IOException {
    Path base = model("base", GPT2, WORDS, BASE);
    Path one = model("one", GPT2, HEAD, TWO, WORDS, ONE);
    assertThatThrownBy(() -> MergeSession.open(request(base).model(one).build()))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(
            one.toString(),
            HEAD,
            WORDS,
            "different values",
            "--exclude 'transformer\\.wte\\.weight$'");
  }

  @Test
  void aBaseThatIsUntiedStaysSo() throws IOException {
    Path base = model("base", GPT2, HEAD, TWO, WORDS, BASE);
    MergePlan plan =
        merge(
            request(base)
                .model(model("one", GPT2, HEAD, ONE, WORDS, TWO))
                .model(model("two", GPT2, WORDS, BASE)));
    assertThat(out(HEAD)).containsExactly(1.5, 3, 5.5, 10);
    assertThat(out(WORDS)).containsExactly(-0.5, 2.5, 4, 5.5);
    assertThat(plan.warnings())
        .anySatisfy(w -> assertThat(w).contains("base", HEAD, WORDS, "ties"));
  }

  @Test
  void whatIsNotTiedIsTwoParameters() throws IOException {
    String llama = "{\"model_type\": \"llama\"}";
    Path base = model("base", llama, HEAD, BASE, "model.embed_tokens.weight", BASE);
    Path one = model("one", llama, HEAD, ONE, "model.embed_tokens.weight", TWO);
    merge(request(base).model(one));
    assertThat(out(HEAD)).containsExactly(ONE);
    assertThat(out("model.embed_tokens.weight")).containsExactly(TWO);
    Path bare = model("two", llama, "model.embed_tokens.weight", TWO);
    assertThatThrownBy(() -> MergeSession.open(request(base).model(one).model(bare).build()))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("two", HEAD, "--exclude");
    String tied = "{\"model_type\": \"llama\", \"tie_word_embeddings\": true}";
    Path small = model("small", tied, "model.embed_tokens.weight", BASE);
    merge(request(small).model(model("three", tied, HEAD, TWO)));
    assertThat(out("model.embed_tokens.weight")).containsExactly(TWO);
  }

  @Test
  void nestedConfigurationsTieUnderTheirPrefix() throws IOException {
    String config =
        "{\"model_type\": \"vision-encoder-decoder\", \"decoder\": {\"model_type\": \"gpt2\"},"
            + " \"encoder\": {\"model_type\": \"vit\"}}";
    String head = "decoder.lm_head.weight";
    String words = "decoder.transformer.wte.weight";
    Path base = model("base", config, head, BASE, words, BASE);
    merge(request(base).model(model("one", config, words, ONE)));
    assertThat(out(head)).containsExactly(ONE).isEqualTo(out(words));
  }

  @Test
  void withoutAConfigurationEqualMatricesStayEqual() throws IOException {
    Path base = model("base", "", "head", BASE, "words", BASE, "zero", new double[4]);
    Path one = model("one", "", "words", ONE);
    merge(request(base).model(one));
    assertThat(out("head")).containsExactly(ONE).isEqualTo(out("words"));
    assertThat(out("zero")).containsExactly(new double[4]);
    // Where a model stores both, and they differ, they are two.
    merge(
        request(base)
            .model(model("two", "", "words", ONE, "head", TWO, "zero", BASE))
            .exclude("head"));
    assertThat(out("head")).containsExactly(BASE);
    assertThat(out("words")).containsExactly(ONE);
  }

  @Test
  void matricesOfOneValueAreNotTakenForTied() throws IOException {
    double[] ones = {1, 1, 1, 1};
    Path base = model("base", "", "a", ones, "b", ones);
    merge(request(base).model(model("one", "", "a", ONE)));
    assertThat(out("a")).containsExactly(ONE);
    assertThat(out("b")).containsExactly(ones);
  }

  @Test
  void prefixesOfOuterModulesAreSeenThrough() throws IOException {
    Path base = model("base", "", "bert.a.weight", BASE, "bert.b.weight", TWO, "cls.weight", ONE);
    Path one = model("one", "", "a.weight", ONE, "b.weight", BASE);
    MergePlan plan = merge(request(base).model(one));
    assertThat(out("bert.a.weight")).containsExactly(ONE);
    assertThat(out("bert.b.weight")).containsExactly(BASE);
    assertThat(plan.warnings()).singleElement().asString().contains("lack the \"bert.\"");

    Path plain = model("plain", "", "a.weight", BASE, "b.weight", BASE);
    Path wrapped = model("wrapped", "", "model.net.a.weight", ONE, "model.net.b.weight", TWO);
    plan =
        merge(
            request(plain, DiagonalFisher.DEFAULT)
                .model(
                    wrapped, fisher("f", "model.net.a.weight", BASE, "model.net.b.weight", BASE)));
    assertThat(out("a.weight")).containsExactly(ONE);
    assertThat(out("b.weight")).containsExactly(TWO);
    assertThat(plan.warnings())
        .anySatisfy(w -> assertThat(w).contains("begin with \"model.net.\""));
  }

  @Test
  void manyMissingTensorsAreNoMatterOfExclusions() throws IOException {
    double[] other4 = {9, 8, 7, 6};
    Path base = model("base", "", "a.w", BASE, "b.w", ONE, "c.w", TWO, "head.w", other4);
    Path good = model("good", "", "a.w", ONE, "b.w", ONE, "c.w", ONE, "head.w", ONE);
    Path other = model("other", "", "x.w", ONE, "y.w", ONE, "z.w", ONE, "c.w", ONE);
    assertThatThrownBy(() -> MergeSession.open(request(base).model(good).model(other).build()))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("other", "lacks 3 of the 4", "'x.w'", "'a.w'")
        .hasMessageNotContaining("--exclude");
    Path headless = model("headless", "", "a.w", ONE, "b.w", ONE, "c.w", ONE);
    assertThatThrownBy(() -> MergeSession.open(request(base).model(good).model(headless).build()))
        .hasMessageContaining("--exclude 'head\\.w$'");
  }

  @Test
  void anOutputOverTheDataThatALinkLeadsToIsRefused() throws IOException {
    Path store = model("store", "", "a", ONE);
    Path linked = Files.createDirectory(folder.resolve("linked"));
    Files.createSymbolicLink(
        linked.resolve("model.safetensors"), store.resolve("model.safetensors"));
    Path base = model("base", "", "a", BASE);
    MergeRequest request =
        MergeRequest.builder(base, store, new Average()).overwrite(true).model(linked).build();
    assertThatThrownBy(() -> MergeSession.open(request))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("must lie apart", "linked");
    merge(request(base).model(linked));
    assertThat(out("a")).containsExactly(ONE);
  }
}
