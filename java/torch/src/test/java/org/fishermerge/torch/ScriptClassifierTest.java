package org.fishermerge.torch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.BoolType;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.JitModule;
import org.bytedeco.pytorch.QualifiedName;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Type;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.objective.ExampleRandom;
import org.fishermerge.torch.objective.LabelRule;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Modules are written here in TorchScript, so no file and no hook is shared with the oracle:
 * float64 autograd of log p for one example and class at a time.
 */
final class ScriptClassifierTest {
  private static final int EXAMPLES = 5;
  private static final Objective EXACT = new LabelRule.Exact();

  /**
   * A module to be estimated.
   *
   * @param parameters shapes by dotted name
   * @param forward the body, in which {@code self.a__b} is the parameter a.b
   * @param input [examples, ...]
   * @param fallback parameters that must take the autograd fallback; all others must be fused
   */
  record Case(
      String name,
      Map<String, long[]> parameters,
      String forward,
      InputTensor input,
      List<String> fallback) {
    @Override
    public String toString() {
      return name;
    }

    JitModule module() {
      return build(parameters, forward);
    }
  }

  static Stream<Case> cases() {
    return Stream.of(
        new Case(
            "MLP",
            shapes("w1", 7, 6, "b1", 7, "w2", 4, 7, "b2", 4),
            """
            h = torch.relu(torch.linear(x, self.w1, self.b1))
            return torch.linear(h, self.w2, self.b2)
            """,
            floats(6),
            List.of()),
        new Case(
            "in place after a linear layer",
            shapes("w1", 7, 6, "b1", 7, "w2", 4, 7),
            """
            h = torch.linear(x, self.w1, self.b1)
            torch.relu_(h)
            return torch.linear(h, self.w2)
            """,
            floats(6),
            List.of()),
        new Case(
            "layer norm over tokens",
            shapes("w1", 6, 5, "g", 6, "c", 6, "w2", 3, 6, "b2", 3),
            """
            h = torch.linear(x, self.w1)
            h = torch.tanh(torch.layer_norm(h, [6], self.g, self.c, 1e-5))
            return torch.linear(h.mean(1), self.w2, self.b2)
            """,
            floats(4, 5),
            List.of()),
        new Case(
            "layer norm without shift",
            shapes("g", 5, "w2", 3, 5),
            """
            h = torch.layer_norm(x, [5], self.g, None, 1e-5)
            return torch.linear(h.mean(1), self.w2)
            """,
            floats(4, 5),
            List.of("g")),
        new Case(
            "convolution with stride, padding and dilation",
            shapes("k1", 4, 3, 3, 3, "b1", 4, "k2", 5, 4, 2, 3, "w", 3, 5, "b", 3),
            """
            h = torch.relu(torch.conv2d(x, self.k1, self.b1, [2, 1], [1, 1], [1, 2]))
            h = torch.relu(torch.conv2d(h, self.k2, None, 2))
            return torch.linear(h.mean([2, 3]), self.w, self.b)
            """,
            floats(3, 8, 9),
            List.of()),
        new Case(
            "grouped convolution",
            shapes("k1", 4, 2, 3, "w", 3, 4),
            """
            h = torch.tanh(torch.conv1d(x, self.k1, None, 1, 0, 1, 2))
            return torch.linear(h.mean(2), self.w)
            """,
            floats(4, 7),
            List.of("k1")),
        new Case(
            "convolution in one dimension",
            shapes("k1", 4, 3, 3, "b1", 4, "w", 3, 4),
            """
            h = torch.tanh(torch.conv1d(x, self.k1, self.b1, 2, 1, 1))
            return torch.linear(h.mean(2), self.w)
            """,
            floats(3, 8),
            List.of()),
        new Case(
            "embedding, positions and mean pooling",
            shapes("words", 9, 6, "places", 7, 6, "w", 3, 6),
            """
            at = torch.arange(x.size(1)).unsqueeze(0)
            h = torch.embedding(self.words, x) + torch.embedding(self.places, at)
            return torch.linear(torch.tanh(h).mean(1), self.w)
            """,
            ids(9, 5),
            List.of()),
        new Case(
            "positions without an example dimension, and padding",
            shapes("words", 9, 6, "places", 7, 6, "w", 3, 6),
            """
            at = torch.arange(x.size(1))
            h = torch.embedding(self.words, x, 3) + torch.embedding(self.places, at)
            return torch.linear(torch.tanh(h).mean(1), self.w)
            """,
            ids(9, 4),
            List.of()),
        new Case(
            "class token and position embedding",
            shapes("token", 1, 1, 6, "places", 1, 5, 6, "w", 3, 6),
            """
            h = torch.cat([self.token.expand(x.size(0), -1, -1), x], 1) + self.places
            return torch.linear(torch.tanh(h * h.mean(1, True)).mean(1), self.w)
            """,
            floats(4, 6),
            List.of()),
        new Case(
            "a parameter [1, D] that copies would break",
            shapes("v", 1, 6, "w", 3, 6),
            """
            h = torch.tanh(x * self.v.view(6))
            return torch.linear(h, self.w)
            """,
            floats(6),
            List.of("v")),
        new Case(
            "reused linear layer",
            shapes("w", 6, 6, "b", 6, "w2", 3, 6),
            """
            h = torch.tanh(torch.linear(x, self.w, self.b))
            h = torch.tanh(torch.linear(h, self.w, self.b))
            return torch.linear(h, self.w2)
            """,
            floats(6),
            List.of("w", "b")),
        new Case(
            "embedding tied to the output",
            shapes("words", 4, 6, "w", 6, 6),
            """
            h = torch.tanh(torch.linear(torch.embedding(self.words, x).mean(1), self.w))
            return torch.linear(h, self.words)
            """,
            ids(4, 5),
            List.of("words")),
        new Case(
            "products with matrices as they stand and transposed",
            shapes("w1", 6, 7, "b1", 7, "w2", 5, 7, "w3", 5, 3),
            """
            h = torch.tanh(torch.addmm(self.b1, x.view(-1, 6), self.w1)).view(-1, 4, 7)
            h = torch.tanh(torch.matmul(h, self.w2.t()))
            return torch.matmul(h, self.w3).sum(1)
            """,
            floats(4, 6),
            List.of()),
        new Case(
            "scaled product",
            shapes("w1", 6, 7, "b1", 7, "w2", 3, 7),
            """
            h = torch.addmm(self.b1, x, self.w1, beta=0.5, alpha=2)
            return torch.linear(torch.tanh(h), self.w2)
            """,
            floats(6),
            List.of("w1", "b1")),
        new Case(
            "time before examples",
            shapes("w1", 6, 5, "b1", 6, "g", 6, "c", 6, "w2", 3, 6),
            """
            h = torch.tanh(torch.linear(x.transpose(0, 1), self.w1, self.b1))
            h = torch.layer_norm(h, [6], self.g, self.c, 1e-5)
            return torch.linear(torch.tanh(h).mean(0), self.w2)
            """,
            floats(3, 5),
            List.of()),
        new Case(
            "as many steps of time as examples of the proof",
            shapes("w1", 6, 5, "w2", 3, 6),
            """
            h = torch.tanh(torch.linear(x.transpose(0, 1), self.w1))
            return torch.linear(h.mean(0), self.w2)
            """,
            floats(2, 5),
            List.of()),
        new Case(
            "time before examples, both in one dimension",
            shapes("w1", 6, 5, "b1", 6, "w2", 3, 6),
            """
            h = torch.linear(x.transpose(0, 1).reshape(-1, 5), self.w1, self.b1)
            return torch.linear(torch.tanh(h).view(3, -1, 6).mean(0), self.w2)
            """,
            floats(3, 5),
            List.of()),
        new Case(
            "embedding of time before examples",
            shapes("words", 9, 6, "w", 3, 6),
            """
            h = torch.tanh(torch.embedding(self.words, x.t(), 2))
            return torch.linear((h * h.mean(0)).mean(0), self.w)
            """,
            ids(9, 3),
            List.of()),
        new Case(
            "a parameter that changes nothing",
            shapes("q", 6, 6, "k", 6, 6, "kb", 6, "w2", 3, 6),
            """
            scores = torch.matmul(torch.linear(x, self.q), torch.linear(x, self.k, self.kb).mT)
            h = torch.matmul(torch.softmax(scores, -1), x)
            return torch.linear(torch.tanh(h).mean(1), self.w2)
            """,
            floats(4, 6),
            List.of()),
        new Case(
            "class token without an example dimension",
            shapes("token", 6, "w", 3, 6),
            """
            h = torch.cat([self.token.expand(x.size(0), 1, -1), x], 1)
            return torch.linear(torch.tanh(h * h.mean(1, True)).mean(1), self.w)
            """,
            floats(4, 6),
            List.of()),
        new Case(
            "channels normalised by fixed statistics, after an assertion",
            shapes("k1", 4, 3, 3, "g", 4, "c", 4, "w", 3, 4),
            """
            assert x.dim() == 3, "expected 3 dimensions"
            h = torch.conv1d(x, self.k1)
            m = torch.arange(4, dtype=x.dtype)
            h = torch.batch_norm(h, self.g, self.c, m, m + 1, False, 0.1, 0.01, False)
            return torch.linear(torch.tanh(h).mean(2), self.w)
            """,
            floats(3, 8),
            List.of()),
        new Case(
            "control flow",
            shapes("w1", 6, 5, "w2", 3, 6),
            """
            h = torch.linear(x, self.w1)
            if float(self.w2.sum()) > 0:
              h = torch.tanh(h)
            else:
              h = torch.relu(h)
            return torch.linear(h, self.w2)
            """,
            floats(5),
            List.of("w1", "w2")),
        new Case(
            "modules inside modules, flags and operators without kernels",
            shapes("a.b.w", 6, 5, "a.b.s", 6, "a.w", 3, 6, "scale", 1),
            """
            h = torch.linear(x, self.a__b__w) * self.a__b__s
            if self.training:
              h = h + 1
            return torch.linear(torch.tanh(h), self.a__w) * self.scale
            """,
            floats(5),
            List.of("a.b.s", "scale")));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void agreesWithAutogradOfEachExampleAndClass(Case example) {
    Map<String, double[]> expected = oracle(example.module(), example.input());
    for (int threads : new int[] {1, 2}) {
      for (int batch : new int[] {1, 2, 5}) {
        ScriptClassifier classifier = classifier(example.module(), null);
        Map<String, float[]> found =
            estimate(classifier, EXACT, example.input(), null, batch, threads);
        assertThat(found.keySet()).isEqualTo(expected.keySet());
        expected.forEach(
            (name, values) -> assertClose(name + ", batches of " + batch, found.get(name), values));
        if (batch > 1) {
          assertThat(classifier.fallback()).containsExactlyInAnyOrderElementsOf(example.fallback());
        }
      }
    }
  }

  private static final Case MIXED =
      new Case(
          "examples that mix",
          shapes("w1", 6, 5, "b1", 6, "w2", 3, 6),
          """
          h = torch.linear(x, self.w1, self.b1)
          h = torch.tanh(h - 0.5 * h.mean(0))
          return torch.linear(h, self.w2)
          """,
          floats(5),
          List.of());

  /** Bodies of forward(x [B, 5]) with w1 [6, 5] and w2 [3, 6], and what is said of them. */
  static Stream<Arguments> faults() {
    String mixes = "examples of a batch change each other's logits";
    String random = "draws at random";
    String training = "saved in training mode: call eval()";
    String head = "return torch.linear(torch.tanh(h), self.w2)\n";
    String layer = "h = torch.linear(x, self.w1)\n";
    return Stream.of(
        Arguments.of(MIXED.forward().replace(", self.b1", ""), mixes),
        // Of the first two examples alone one would not know.
        Arguments.of(layer + "h = h + (x.size(0) // 3)\n" + head, mixes),
        Arguments.of(layer + "if float(h.sum()) > 0:\n  h = h * 2\n" + head, mixes),
        Arguments.of(layer + "h = h.cumsum(0)\n" + head, mixes),
        Arguments.of(layer + "h = torch.dropout(h, 0.1, True)\n" + head, training),
        Arguments.of(layer + "h = torch.alpha_dropout(h, 0.1, True)\n" + head, training),
        Arguments.of(layer + "h = torch.feature_dropout(h, 0.1, True)\n" + head, training),
        Arguments.of(layer + "h = torch.rrelu(h, 0.1, 0.3, True)\n" + head, random),
        Arguments.of(layer + "h = h + 0.1 * torch.rand_like(h)\n" + head, random),
        Arguments.of(layer + "h = h * torch.bernoulli(torch.ones_like(h) / 2)\n" + head, random),
        Arguments.of(
            layer + "if float(h.sum()) > 1e9:\n  h = torch.randn_like(h)\n" + head, random),
        Arguments.of(
            layer
                + "h = torch.batch_norm(h, None, None, None, None, True, 0.1, 1e-5, False)\n"
                + head,
            "track_running_stats=False"),
        Arguments.of(
            layer
                + "m = torch.zeros(6)\nh = torch.batch_norm(h, None, None, m, m + 1, True, 0.1,"
                + " 1e-5, False)\n"
                + head,
            training),
        Arguments.of(
            layer
                + "m = torch.zeros(6)\nh = torch.instance_norm(h.unsqueeze(2).expand(-1, -1, 2),"
                + " None, None, m, m + 1, True, 0.1, 1e-5, False).mean(2) + h\n"
                + head,
            training),
        Arguments.of(layer + head.replace("\n", ".softmax(1)\n"), "--logits"),
        Arguments.of(layer + "return {'logits': torch.softmax(h, 1), 'h': h}\n", "--logits"));
  }

  @ParameterizedTest
  @MethodSource("faults")
  void aModuleWithoutAFisherPerExampleIsRefused(String body, String message) {
    JitModule module = build(shapes("w1", 6, 5, "w2", 3, 6), body);
    assertThatThrownBy(
            () -> estimate(classifier(module, null), EXACT, floats(5), null, EXAMPLES, 1))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("module.pt: ", message);
  }

  /** What looks like those and is none of them. */
  static Stream<String> soundBodies() {
    return Stream.of(
        """
        return torch.log_softmax(torch.linear(torch.linear(x, self.w1), self.w2), 1)
        """,
        """
        h = torch.dropout(torch.linear(x, self.w1), 0.5, self.training)
        return torch.linear(h, self.w2)
        """,
        """
        h = torch.dropout(torch.linear(x, self.w1), 0.0, True)
        return torch.linear(h, self.w2)
        """,
        """
        h = torch.linear(x, self.w1)
        if self.training:
          h = h + torch.rand_like(h)
        return torch.linear(h, self.w2)
        """,
        """
        h = torch.linear(x, self.w1).unsqueeze(1)
        h = torch.instance_norm(h, None, None, None, None, True, 0.1, 1e-5, False)
        return torch.linear(h.squeeze(1), self.w2)
        """,
        """
        h = torch.linear(x, self.w1).unsqueeze(1)
        h = torch.scaled_dot_product_attention(h, h, h).squeeze(1)
        return torch.linear(h, self.w2)
        """,
        """
        h = torch.linear(x.view(1, 5), self.w1)
        return torch.linear(h, self.w2)
        """);
  }

  @ParameterizedTest
  @MethodSource("soundBodies")
  void aModuleThatAnswersEachExampleByItselfIsTaken(String body) {
    Map<String, long[]> parameters = shapes("w1", 6, 5, "w2", 3, 6);
    JitModule module = build(parameters, body);
    Map<String, float[]> found = estimate(classifier(module, null), EXACT, floats(5), null, 5, 1);
    oracle(build(parameters, body), floats(5))
        .forEach((name, values) -> assertClose(name, found.get(name), values));
  }

  @Test
  void squaresTheGradientOfABatchForBatchSquare() {
    Case example = MIXED;
    Objective labels = new LabelRule.BatchSquare();
    ScriptClassifier classifier = classifier(example.module(), null, labels);
    Map<String, float[]> found = estimate(classifier, labels, example.input(), null, 2, 2);
    Map<String, double[]> expected = batchSquares(example.module(), example.input(), 2);
    expected.forEach((name, values) -> assertClose(name, found.get(name), values));
  }

  @Test
  void addsUpTheUsesOfAParameterWithTwoNames() {
    JitModule module = build(shapes("a", 4, 4, "b", 4, 4, "w", 3, 4), TIED);
    module.setattr("b", module.attr("a"));
    JitModule one = build(shapes("a", 4, 4, "w", 3, 4), TIED.replace("self.b", "self.a"));
    InputTensor input = floats(4);
    ScriptClassifier classifier = classifier(module, null);
    Map<String, float[]> found = estimate(classifier, EXACT, input, null, 3, 1);
    assertClose("a", found.get("a"), value(oracle(one, input), "a"));
    assertThat(found.keySet()).containsExactly("a", "w");
    assertThat(classifier.namesOf(classifier.parameterGroups().getFirst()))
        .containsExactly("a", "b");
    assertThat(classifier.fallback()).containsExactly("a");
  }

  private static final String TIED =
      """
      h = torch.tanh(torch.linear(x, self.a))
      return torch.linear(torch.tanh(torch.linear(h, self.b)), self.w)
      """;

  @Test
  void leavesFrozenAndUnusedParametersAtZero() {
    Map<String, long[]> parameters = shapes("frozen", 4, 4, "unused", 2, "w", 3, 4);
    String body = "return torch.linear(torch.tanh(torch.linear(x, self.frozen)), self.w)\n";
    JitModule module = build(parameters, body);
    module.attr("w").toTensor().set_requires_grad(true);
    module.attr("unused").toTensor().set_requires_grad(true);
    ScriptClassifier classifier = classifier(module, null);
    Map<String, float[]> found = estimate(classifier, EXACT, floats(4), null, 5, 1);
    assertThat(found.get("frozen")).containsOnly(0);
    assertThat(found.get("unused")).containsOnly(0);
    Map<String, MemorySegment> sums = new LinkedHashMap<>();
    found.forEach((name, values) -> sums.put(name, MemorySegment.ofArray(values)));
    assertThat(classifier.zeros(sums))
        .containsExactly("frozen (frozen)", "unused (no gradient reaches it)");
    assertClose("w", found.get("w"), value(oracle(build(parameters, body), floats(4)), "w"));
  }

  @Test
  void saysWhichParametersAreSlowAndWhy() {
    Case example =
        cases().filter(c -> c.name().equals("reused linear layer")).findFirst().orElseThrow();
    ScriptClassifier classifier = classifier(example.module(), null);
    estimate(classifier, EXACT, example.input(), null, 2, 1);
    assertThat(classifier.plan())
        .isEqualTo(
            "TorchScript: 1 parameters in 1 layers are fused; 2 by autograd, one example at a time (w,"
                + " b: used 2 times)");
  }

  @Test
  void findsTheLogitsInTuplesListsAndDicts() {
    Map<String, long[]> parameters = shapes("w", 3, 4);
    String product = "torch.linear(x, self.w)";
    Map<String, @Nullable String> keys = new LinkedHashMap<>();
    keys.put("return x, " + product + "\n", "1");
    keys.put("return " + product + ", x\n", null);
    keys.put("return [x, " + product + "]\n", "1");
    keys.put("return {'logits': " + product + ", 'x': x}\n", null);
    keys.put("return {'scores': " + product + ", 'x': x}\n", "scores");
    double[] expected =
        value(oracle(build(parameters, "return " + product + "\n"), floats(4)), "w");
    keys.forEach((body, key) -> {
      ScriptClassifier classifier = classifier(build(parameters, body), key);
      Map<String, float[]> found = estimate(classifier, EXACT, floats(4), null, 5, 1);
      assertClose(body, found.get("w"), expected);
    });
  }

  @Test
  void refusesLogitsThatAreNotThere() {
    refuses("return {'a': x, 'scores': x}\n", "logits", "--logits logits", "scores", "a");
    refuses("return x, x\n", "2", "--logits 2", "returns 2 values", "0 to 1");
    refuses("return x, x\n", "scores", "--logits scores", "returns 2 values");
    refuses("return x\n", "0", "--logits 0", "leave the option out");
    refuses("return x.sum(1)\n", null, "Float[2] for 2 examples", "Float[examples, classes]");
    refuses("return x.double()\n", null, "Double[2, 4]", "Float[examples, classes]");
    refuses("return x[:1]\n", null, "Float[1, 4] for 2 examples");
    refuses("return 'x'\n", null, "String", "not a tensor");
  }

  private static void refuses(String body, @Nullable String key, String... message) {
    JitModule module = build(shapes("w", 3, 4), body);
    Objective wholeBatch = new LabelRule.BatchSquare();
    assertThatThrownBy(
            () -> estimate(classifier(module, key, wholeBatch), wholeBatch, floats(4), null, 2, 1))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(message);
  }

  @Test
  void refusesInputsThatForwardCannotTake() {
    JitModule module = build(shapes("w", 3, 4), "return torch.linear(x, self.w)\n");
    assertThatThrownBy(() -> estimate(classifier(module, null), EXACT, floats(5), null, 2, 1))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("forward fails on inputs Float[1, 5]", "shapes");
    List<InputTensor> two = List.of(floats(4), floats(4));
    try (Kernels kernels = kernels(1)) {
      ScriptClassifier classifier = classifier(module, null);
      assertThatThrownBy(() -> classifier.prepare(two, kernels, warning -> {}))
          .isInstanceOf(InputException.class)
          .hasMessageContainingAll("takes 1 inputs and was given 2", "--inputs");
    }
  }

  @Test
  void namesTheExampleWhoseLogitsOrLabelsAreWrong() {
    JitModule module = build(shapes("w", 3, 4), "return torch.linear(x, self.w)\n");
    InputTensor input = floats(4);
    input.data().setAtIndex(ValueLayout.JAVA_FLOAT, 3 * 4 + 1, Float.NaN);
    assertThatThrownBy(() -> estimate(classifier(module, null), EXACT, input, null, 2, 1))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("example 3", "NaN");
    Objective labels = new LabelRule.TrueLabel();
    long[] wrong = {0, 1, 3, 0, 0};
    assertThatThrownBy(
            () -> estimate(classifier(module, null, labels), labels, floats(4), wrong, 2, 1))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("example 2", "label 3", "3 classes");
  }

  @Test
  void loadsWhatTorchSavedAndNothingElse(@TempDir Path folder) throws Exception {
    Case example = cases().findFirst().orElseThrow();
    Path file = folder.resolve("mlp.pt");
    example.module().save(file.toString());
    ScriptClassifier classifier = ScriptClassifier.load(file, null, EXACT);
    Map<String, float[]> found = estimate(classifier, EXACT, example.input(), null, 5, 1);
    oracle(example.module(), example.input())
        .forEach((name, values) -> assertClose(name, found.get(name), values));

    Path text = Files.writeString(folder.resolve("text.pt"), "no module");
    assertThatThrownBy(() -> ScriptClassifier.load(text, null, EXACT))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(text.toString(), "TorchScript", "torch.jit.save");
    Path absent = folder.resolve("absent.pt");
    assertThatThrownBy(() -> ScriptClassifier.load(absent, null, EXACT))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(absent.toString(), "no such file");
  }

  @Test
  void refusesModulesWithoutFloatParameters() {
    assertThatThrownBy(() -> classifier(build(Map.of(), "return x\n"), null))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("has no parameters");
    JitModule twice = build(shapes("w", 3, 4), "return torch.linear(x, self.w)\n");
    twice.to(ScalarType.Double);
    assertThatThrownBy(() -> classifier(twice, null))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("parameter w is Double", ".float()");
  }

  // ---- the code under test ----

  private static ScriptClassifier classifier(JitModule module, @Nullable String logits) {
    return classifier(module, logits, EXACT);
  }

  private static ScriptClassifier classifier(
      JitModule module, @Nullable String logits, Objective labels) {
    return ScriptClassifier.of(ScriptModule.of(module, "module.pt"), logits, labels);
  }

  private static Kernels kernels(int threads) {
    return Kernels.open(KernelOptions.fromSystemProperties().withThreads(threads));
  }

  private static Map<String, float[]> estimate(
      ScriptClassifier classifier,
      Objective expectation,
      InputTensor input,
      long @Nullable [] labels,
      int batch,
      int threads) {
    int before = LibTorch.threads();
    LibTorch.setThreads(threads);
    try (Kernels kernels = kernels(threads);
        FisherEstimator estimator = new FisherEstimator(classifier, expectation, 0, kernels)) {
      classifier.prepare(List.of(rows(input, 0, batch)), kernels, warning -> {});
      for (int first = 0; first < EXAMPLES; first += batch) {
        int count = Math.min(batch, EXAMPLES - first);
        try (ForwardPass pass = classifier.forward(List.of(rows(input, first, count)))) {
          estimator.add(
              pass, labels == null ? null : Arrays.copyOfRange(labels, first, first + count));
        }
      }
      Map<String, float[]> copies = new LinkedHashMap<>();
      estimator
          .finish()
          .forEach((name, sum) -> copies.put(name, sum.toArray(ValueLayout.JAVA_FLOAT)));
      return copies;
    } finally {
      LibTorch.setThreads(before);
    }
  }

  private static InputTensor rows(InputTensor input, int first, int count) {
    List<Long> shape = new ArrayList<>(input.shape());
    long bytes = input.data().byteSize() / shape.getFirst();
    shape.set(0, (long) count);
    return new InputTensor(
        input.name(), input.dtype(), shape, input.data().asSlice(first * bytes, count * bytes));
  }

  // ---- the oracle ----

  private static Map<String, double[]> oracle(JitModule module, InputTensor input) {
    Map<String, double[]> sums = new LinkedHashMap<>();
    inDouble(
        module,
        (twice, parameters) -> {
          for (int b = 0; b < EXAMPLES; b++) {
            Tensor logP = logP(twice, rows(input, b, 1));
            for (long c = 0; c < logP.size(1); c++) {
              Tensor term = logP.select(1, c).sum();
              addSquares(term, Math.exp(term.item_double()), parameters, sums);
            }
          }
        });
    return sums;
  }

  /** FusionBench's formula, batch by batch. */
  private static Map<String, double[]> batchSquares(
      JitModule module, InputTensor input, int batch) {
    Map<String, double[]> sums = new LinkedHashMap<>();
    inDouble(
        module,
        (twice, parameters) -> {
          for (int first = 0; first < EXAMPLES; first += batch) {
            Tensor logP = logP(twice, rows(input, first, Math.min(batch, EXAMPLES - first)));
            Tensor roots = logP.detach().exp().sqrt();
            addSquares(logP.mul(roots).sum(), 1, parameters, sums);
          }
        });
    return sums;
  }

  private interface Differentiated {
    void with(JitModule module, Map<String, Tensor> parameters);
  }

  private static void inDouble(JitModule module, Differentiated body) {
    try (PointerScope scope = new PointerScope()) {
      GradMode.set_enabled(true);
      JitModule twice = module.deepcopy();
      twice.to(ScalarType.Double);
      Map<String, Tensor> parameters = new LinkedHashMap<>();
      var list = twice.named_parameters();
      for (var it = list.begin(); it.notEquals(list.end()); it.increment()) {
        Tensor tensor = new Tensor(it.multiply().value());
        tensor.set_requires_grad(true);
        parameters.put(it.multiply().name().getString(), tensor);
      }
      body.with(twice, parameters);
    } finally {
      GradMode.set_enabled(false);
    }
  }

  private static Tensor logP(JitModule module, InputTensor rows) {
    Tensor x = rows.toTensor();
    if (rows.dtype() == DType.F32) {
      x = x.to(ScalarType.Double);
    }
    IValue output = module.forward(new IValueVector(new IValue(x)));
    return torch.log_softmax(new Tensor(output.toTensor()), 1);
  }

  private static void addSquares(
      Tensor scalar, double weight, Map<String, Tensor> parameters, Map<String, double[]> sums) {
    TensorVector inputs = new TensorVector();
    parameters.values().forEach(inputs::push_back);
    TensorVector gradients =
        torch.grad(
            new TensorVector(scalar),
            inputs,
            new TensorVector(torch.ones_like(scalar)),
            new BoolOptional(true),
            false,
            true);
    int i = 0;
    for (Map.Entry<String, Tensor> parameter : parameters.entrySet()) {
      int count = Math.toIntExact(parameter.getValue().numel());
      double[] sum = sums.computeIfAbsent(parameter.getKey(), any -> new double[count]);
      Tensor gradient = gradients.get(i++);
      if (gradient.defined()) {
        double[] values = Tensors.segment(gradient.contiguous()).toArray(ValueLayout.JAVA_DOUBLE);
        for (int j = 0; j < count; j++) {
          sum[j] += weight * values[j] * values[j];
        }
      }
    }
  }

  private static <T> T value(Map<String, T> map, String name) {
    return Objects.requireNonNull(map.get(name), name);
  }

  private static void assertClose(String what, float @Nullable [] values, double[] expected) {
    float[] found = Objects.requireNonNull(values, what);
    assertThat(found).as(what).hasSize(expected.length);
    // The Fisher values of these modules are around 1, so the second bound is that of rounding.
    double bound = Math.max(1e-4 * Arrays.stream(expected).max().orElse(0), 1e-13);
    for (int i = 0; i < expected.length; i++) {
      assertThat((double) found[i])
          .as("%s, element %d", what, i)
          .isCloseTo(expected[i], within(bound));
    }
  }

  // ---- modules and inputs ----

  /** Name, sizes, name, sizes, ... */
  private static Map<String, long[]> shapes(Object... parts) {
    Map<String, long[]> shapes = new LinkedHashMap<>();
    for (int i = 0; i < parts.length; ) {
      String name = (String) parts[i++];
      List<Long> shape = new ArrayList<>();
      while (i < parts.length && parts[i] instanceof Integer size) {
        shape.add(size.longValue());
        i++;
      }
      shapes.put(name, shape.stream().mapToLong(Long::longValue).toArray());
    }
    return shapes;
  }

  private static JitModule build(Map<String, long[]> parameters, String forward) {
    LibTorch.initialize();
    JitModule root = new JitModule(new QualifiedName("Model"));
    root.register_attribute("training", new Type.TypePtr(BoolType.get().get()), new IValue(false));
    Map<String, JitModule> modules = new LinkedHashMap<>();
    parameters.keySet().forEach(name -> submodule(name, modules));
    parameters.forEach((name, shape) -> {
      float[] values = new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
      fill(values, new ExampleRandom(1, name.hashCode()), 0.7);
      JitModule owner = name.contains(".") ? value(modules, parent(name)) : root;
      owner.register_parameter(
          name.substring(name.lastIndexOf('.') + 1), Tensors.copyOf(values, shape), false);
    });
    // Innermost first: a module's type must be whole before another holds it.
    modules.entrySet().stream()
        .sorted((a, b) -> Integer.compare(b.getKey().length(), a.getKey().length()))
        .forEach(entry -> {
          String path = entry.getKey();
          JitModule owner = path.contains(".") ? value(modules, parent(path)) : root;
          owner.register_module(path.substring(path.lastIndexOf('.') + 1), entry.getValue());
        });
    String body = forward.replaceAll("(?<=\\w)__(?=\\w)", ".").indent(2);
    root.define("def forward(self, x):\n" + body);
    return root;
  }

  private static void submodule(String name, Map<String, JitModule> modules) {
    for (String path = name; path.contains("."); ) {
      path = parent(path);
      modules.computeIfAbsent(path, any -> new JitModule(new QualifiedName("Part")));
    }
  }

  private static String parent(String name) {
    return name.substring(0, name.lastIndexOf('.'));
  }

  private static InputTensor floats(long... shape) {
    int row = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
    float[] values = new float[EXAMPLES * row];
    fill(values, new ExampleRandom(2, 2), 1);
    MemorySegment data = MemorySegment.ofBuffer(direct(values.length * Float.BYTES));
    data.copyFrom(MemorySegment.ofArray(values));
    return new InputTensor("x", DType.F32, batched(shape), data);
  }

  private static InputTensor ids(int rows, int tokens) {
    long[] values = new long[EXAMPLES * tokens];
    ExampleRandom random = new ExampleRandom(3, 3);
    Arrays.setAll(values, i -> (long) (random.nextDouble() * rows));
    MemorySegment data = MemorySegment.ofBuffer(direct(values.length * Long.BYTES));
    data.copyFrom(MemorySegment.ofArray(values));
    return new InputTensor("x", DType.I64, batched(tokens), data);
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
  }

  private static List<Long> batched(long... shape) {
    List<Long> batched = new ArrayList<>(List.of((long) EXAMPLES));
    Arrays.stream(shape).forEach(batched::add);
    return batched;
  }

  private static void fill(float[] values, ExampleRandom random, double scale) {
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (scale * (2 * random.nextDouble() - 1));
    }
  }
}
