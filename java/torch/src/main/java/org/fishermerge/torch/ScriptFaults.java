package org.fishermerge.torch;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Block;
import org.bytedeco.pytorch.IValueOptional;
import org.bytedeco.pytorch.JitModule;
import org.bytedeco.pytorch.JitNode;
import org.bytedeco.pytorch.StringVectorOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * Finds modules whose output for an example depends on more than that example, so that its Fisher
 * information is not defined: random operators and batch statistics, which a module saved in
 * training mode has in its graph, and other causes that show when it runs. Also outputs that are no
 * logits.
 */
final class ScriptFaults {
  private static final String EVAL =
      "the module was saved in training mode: call eval() on it before torch.jit.trace or"
          + " torch.jit.script";

  private static final Set<String> BATCH_NORMS =
      Set.of(
          "aten::batch_norm",
          "aten::native_batch_norm",
          "aten::cudnn_batch_norm",
          "aten::miopen_batch_norm",
          "aten::_batch_norm_impl_index",
          "aten::_native_batch_norm_legit");

  /**
   * Names of inputs of random operators; where one is the constant false or 0, the operator draws
   * nothing.
   */
  private static final List<String> SWITCHES =
      List.of("train", "training", "p", "dropout", "dropout_p");

  // Two runs of one batch may differ by rounding, because threads may add in another order.
  private static final double STEADY = 1e-5;
  // An example alone and in a batch may differ by more, because matrix products are blocked
  // otherwise.
  private static final double APART = 1e-3;
  private static final double SUM = 1e-4;

  private static final Set<String> SIGMOIDS =
      Set.of("aten::sigmoid", "aten::sigmoid_", "aten::special_expit", "aten::hardsigmoid");

  /** What hands on the values of its first input. */
  private static final Set<String> UNCHANGED =
      Set.of(
          "aten::to",
          "aten::float",
          "aten::view",
          "aten::reshape",
          "aten::flatten",
          "aten::squeeze",
          "aten::contiguous",
          "aten::clone",
          "aten::detach",
          "prim::TupleUnpack",
          "prim::NumToTensor");

  private static final Set<String> CONTAINERS =
      Set.of("prim::TupleConstruct", "prim::ListConstruct", "prim::DictConstruct");

  private ScriptFaults() {}

  // ---- in the graph ----

  /**
   * Refuses a module in evaluation mode whose graph draws at random or normalises by the batch.
   *
   * @param origin names the module in messages
   */
  static void requireNoneInGraph(JitModule module, String origin) {
    try (PointerScope scope = new PointerScope()) {
      requireNone(block(module), origin);
    }
  }

  private static Block block(JitModule module) {
    JitModule frozen;
    try {
      // Flags become constants, and what only training runs goes away.
      frozen = torch.freeze(module, new StringVectorOptional(), false);
    } catch (RuntimeException e) {
      frozen = module; // what depends on flags then shows when it runs
    }
    return frozen.get_method("forward").graph().block();
  }

  /** Whether what forward returns, or a part of it, comes out of a sigmoid. */
  static boolean endsInSigmoid(JitModule module) {
    try (PointerScope scope = new PointerScope()) {
      return endsInSigmoid(block(module).return_node());
    }
  }

  /** Whether one of a node's inputs does. */
  private static boolean endsInSigmoid(JitNode node) {
    for (long i = 0; i < node.inputs().size(); i++) {
      JitNode from = node.input(i).node();
      String kind = from.kind().toQualString().getString();
      if (SIGMOIDS.contains(kind)
          || (CONTAINERS.contains(kind) && endsInSigmoid(from))
          || (UNCHANGED.contains(kind) && endsInSigmoid(from))) {
        return true;
      }
    }
    return false;
  }

  private static void requireNone(Block block, String origin) {
    long end = block.return_node().address();
    for (JitNode node = block.param_node().next(); node.address() != end; node = node.next()) {
      String kind = node.kind().toQualString().getString();
      if (BATCH_NORMS.contains(kind) && isTrue(node, "training")) {
        throw new InputException(
            origin
                + ": its batch normalisation ("
                + kind
                + ") uses the statistics of the batch, so that the examples of a batch change each"
                + " other's logits and none has a Fisher of its own; "
                + (isNone(node, "running_mean")
                    ? "it keeps no running statistics (track_running_stats=False)"
                    : EVAL));
      }
      if (kind.equals("aten::instance_norm")
          && isTrue(node, "use_input_stats")
          && !isNone(node, "running_mean")) {
        throw new InputException(
            origin
                + ": its instance normalisation uses the statistics of its input and not those"
                + " that it keeps; "
                + EVAL);
      }
      if (isRandom(node, kind)) {
        throw new InputException(
            origin
                + ": it draws at random ("
                + kind
                + "), so that it answers the same example differently each time; "
                + (belongsToTraining(node, kind)
                    ? EVAL
                    : "take that out, or, if it belongs to training, call eval() on the module"
                        + " before torch.jit.trace or torch.jit.script"));
      }
      for (long i = 0; i < node.blocks().size(); i++) {
        requireNone(node.blocks().at(i), origin);
      }
    }
  }

  /** Whether evaluation mode would have turned the operator off. */
  private static boolean belongsToTraining(JitNode node, String kind) {
    return kind.contains("dropout")
        || SWITCHES.stream().anyMatch(name -> !name.equals("p") && node.hasNamedInput(name));
  }

  private static boolean isRandom(JitNode node, String kind) {
    return kind.startsWith("aten::")
        && (kind.contains("dropout") || node.isNondeterministic())
        && SWITCHES.stream().noneMatch(name -> isOff(node, name));
  }

  private static boolean isOff(JitNode node, String name) {
    IValueOptional value = constant(node, name);
    if (value == null || !value.has_value()) {
      // Whether the flag is set is known only in a run, where a random operator then shows.
      return value != null && name.startsWith("train");
    }
    return value.get().isBool()
        ? !value.get().toBool()
        : value.get().isDouble() && value.get().toDouble() == 0;
  }

  private static boolean isTrue(JitNode node, String name) {
    IValueOptional value = constant(node, name);
    return value != null && value.has_value() && value.get().isBool() && value.get().toBool();
  }

  private static boolean isNone(JitNode node, String name) {
    return node.hasNamedInput(name) && node.namedInput(name).mustBeNone();
  }

  /** The value of a constant input: null if there is no such input, empty if it is not constant. */
  private static @Nullable IValueOptional constant(JitNode node, String name) {
    return node.hasNamedInput(name) ? torch.toIValue(node.namedInput(name)) : null;
  }

  // ---- in a run ----

  /** Logits, row-major [examples, classes], of some examples together. */
  @FunctionalInterface
  interface Answers {
    float[] of(List<Tensor> inputs, int examples);
  }

  /**
   * Runs some examples twice, each alone and then together.
   *
   * @param inputs of forward, [examples, ...]
   * @param wholeBatches whether examples run together only, and may change each other's logits
   * @param sigmoid whether the module ends in one, asked where its answers look like it
   * @param warnings told of answers that may be no logits
   * @throws InputException if an example is answered differently, or with probabilities
   */
  static void requireNoneInRun(
      String origin,
      Answers answers,
      List<Tensor> inputs,
      int examples,
      boolean wholeBatches,
      BooleanSupplier sigmoid,
      Consumer<String> warnings) {
    Answers wanted = wholeBatches ? answers : (all, count) -> singly(answers, all, count);
    float[] first = wanted.of(inputs, examples);
    double largest = largest(first);
    double change = difference(first, wanted.of(inputs, examples));
    if (change > STEADY * largest) {
      throw new InputException(
          String.format(
              Locale.ROOT,
              "%s: it answers the same examples differently when it is run again (logits change by"
                  + " %.2g, the largest is %.2g): it draws at random or changes its own state; call"
                  + " eval() on the module before torch.jit.trace or torch.jit.script",
              origin,
              change,
              largest));
    }
    requireLogits(origin, first, first.length / examples);
    requireNoSigmoid(origin, first, examples, sigmoid, warnings);
    if (wholeBatches || examples == 1) {
      return;
    }
    float[] together;
    try {
      together = answers.of(inputs, examples);
    } catch (InputException e) {
      return; // the module takes single examples only, and is run with those
    }
    double mixed = difference(first, together);
    if (mixed > APART * largest) {
      throw new InputException(
          String.format(
              Locale.ROOT,
              "%s: the examples of a batch change each other's logits (alone and beside %d others"
                  + " they differ by %.2g, the largest is %.2g), so that none has a Fisher of its"
                  + " own; if it was saved in training mode, call eval() on the module before"
                  + " torch.jit.trace or torch.jit.script, else take out what mixes the examples"
                  + " (--labels batch-square squares whole batches)",
              origin,
              examples - 1,
              mixed,
              largest));
    }
  }

  private static float[] singly(Answers answers, List<Tensor> inputs, int examples) {
    float[] all = new float[0];
    for (int i = 0; i < examples; i++) {
      int row = i;
      float[] own = answers.of(inputs.stream().map(x -> x.narrow(0, row, 1)).toList(), 1);
      int classes = i == 0 ? own.length : all.length / i;
      all = Arrays.copyOf(all, all.length + classes);
      System.arraycopy(own, 0, all, i * classes, Math.min(classes, own.length));
    }
    return all;
  }

  /** Log-probabilities are logits too; probabilities are not. */
  private static void requireLogits(String origin, float[] answers, int classes) {
    for (int first = 0; first < answers.length; first += classes) {
      double sum = 0;
      for (int c = 0; c < classes; c++) {
        if (!(answers[first + c] >= 0)) {
          return;
        }
        sum += answers[first + c];
      }
      if (!(Math.abs(sum - 1) <= SUM)) {
        return;
      }
    }
    throw new InputException(
        origin
            + ": what it gives are probabilities (none is negative, and those of an example sum to"
            + " 1), where logits are wanted; --logits chooses another output, or save the module"
            + " without its softmax");
  }

  /** Logits between 0 and 1 there are; all of several examples are hardly that by chance. */
  private static void requireNoSigmoid(
      String origin,
      float[] answers,
      int examples,
      BooleanSupplier sigmoid,
      Consumer<String> warnings) {
    for (float value : answers) {
      if (!(value >= 0 && value <= 1)) {
        return;
      }
    }
    if (largest(answers) == 0) {
      return;
    }
    if (sigmoid.getAsBoolean()) {
      throw new InputException(
          origin
              + ": what it gives are probabilities of each class by itself (it ends in a sigmoid),"
              + " where logits of one class out of several are wanted; --logits chooses another"
              + " output, or save the module without its sigmoid");
    }
    warnings.accept(
        "%s: all that it gives for the first %d examples lies between 0 and 1; if these are"
                .formatted(origin, examples)
            + " probabilities, the Fisher is that of another function: logits are wanted"
            + " (--logits chooses another output)");
  }

  private static double largest(float[] values) {
    double largest = 0;
    for (float value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }

  private static double difference(float[] values, float[] others) {
    if (values.length != others.length) {
      return Double.POSITIVE_INFINITY;
    }
    double most = 0;
    for (int i = 0; i < values.length; i++) {
      if (Float.compare(values[i], others[i]) != 0) {
        double difference = Math.abs((double) values[i] - others[i]);
        most = Double.isNaN(difference) ? Double.POSITIVE_INFINITY : Math.max(most, difference);
      }
    }
    return most;
  }
}
