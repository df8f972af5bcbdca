package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.pytorch.Block;
import org.bytedeco.pytorch.Graph;
import org.bytedeco.pytorch.GraphFunction;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.JitNode;
import org.bytedeco.pytorch.Symbol;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.Value;
import org.bytedeco.pytorch.ValueVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.TypeKind;
import org.fishermerge.torch.ScriptModule.Parameter;
import org.fishermerge.torch.nn.ParameterGroup;
import org.jspecify.annotations.Nullable;

/**
 * A module's {@code forward} that also returns what its {@link ScriptLayer layers} saw: the tuple
 * of forward's own result and the values that the hooks point into.
 *
 * <p>A parameter gets a hook where one operator that a kernel understands is its only use. A
 * parameter [1, ...] that is used in other ways is taken from a further input of the function,
 * which the caller fills with one copy for each example; the copies' gradients are the examples'.
 */
final class ScriptHooks {
  /**
   * One hook.
   *
   * @param operator a number that stays the same when a module is hooked anew; -1 for the copies of
   *     a parameter
   * @param output where the operator's output is in the tuple, or the copies among the copied
   * @param arguments where its arguments are, -1 for parameters
   */
  record Hook(ScriptLayer layer, int operator, int output, int[] arguments) {
    boolean ofCopies() {
      return operator < 0;
    }
  }

  /** Why a graph cannot be hooked at all. */
  static final class Unhookable extends Exception {
    private static final long serialVersionUID = 1;

    Unhookable(String message) {
      super(message);
    }
  }

  /** A parameter as an operator sees it. */
  private record Operand(Parameter parameter, boolean transposed) {}

  // Kinds of nodes in the blocks of assertions, which do nothing but raise an exception.
  private static final Set<String> WITHOUT_EFFECT =
      Set.of(
          "prim::Constant",
          "prim::RaiseException",
          "prim::ListConstruct",
          "prim::TupleConstruct",
          "aten::__getitem__",
          "aten::dim",
          "aten::format",
          "aten::len",
          "aten::size");

  private static final Pattern ATTRIBUTE =
      Pattern.compile("^  %\\S+ : .* = prim::GetAttr\\[name=\"([^\"]*)\"\\]\\(.*");

  private final ScriptModule module;
  private final Graph graph;
  private final Map<Long, Operand> operands = new HashMap<>(); // by address of the value
  private final Map<Parameter, List<Value>> reads = new LinkedHashMap<>();
  private final Map<Parameter, Integer> uses = new HashMap<>();
  private final Set<Parameter> transposed = new HashSet<>();
  private final ValueVector results = new ValueVector();
  private final List<Hook> hooks = new ArrayList<>();
  private final List<Parameter> copied = new ArrayList<>();
  private final boolean spreads;
  private final GraphFunction function;

  /**
   * Hooks a module.
   *
   * @param copies whether parameters [1, ...] are to be copied for each example
   * @param spread operators whose output, [T, D] or [1, T, D], all examples share: it is spread
   *     over them by adding zeros [B, 1, 1], the function's first further input
   * @throws Unhookable if the graph is not a plain list of operators
   */
  ScriptHooks(ScriptModule module, boolean copies, Set<Integer> spread) throws Unhookable {
    this.module = module;
    this.graph = module.inlinedGraph();
    foldConstants();
    List<JitNode> nodes = nodes();
    requirePlain(nodes);
    findParameters(nodes);
    results.push_back(graph.outputs().at(0));
    this.spreads = !spread.isEmpty();
    Value zeros = spreads ? graph.addInput() : null;
    for (int i = 0; i < nodes.size(); i++) {
      ScriptLayer layer = layer(nodes.get(i));
      if (layer != null) {
        hook(layer, i, nodes.get(i), spread.contains(i) ? zeros : null);
      }
    }
    if (copies) {
      copyParameters();
    }
    results.put(0, graph.outputs().at(0)); // a hook may have put a copy in its place
    JitNode tuple = graph.createTuple(results);
    graph.appendNode(tuple);
    graph.eraseOutput(0);
    graph.registerOutput(tuple.output());
    this.function = ScriptModule.function(graph);
  }

  /** Returns the tuple. Takes forward's inputs, zeros if an output is spread, and the copies. */
  GraphFunction function() {
    return function;
  }

  /** Whether the function takes zeros to spread shared outputs with. */
  boolean spreads() {
    return spreads;
  }

  List<Hook> hooks() {
    return hooks;
  }

  /** The parameters [1, ...] that the function takes as [B, ...]. */
  List<Parameter> copied() {
    return copied;
  }

  /** Whether any operator takes a parameter. */
  boolean uses(Parameter parameter) {
    return uses.getOrDefault(parameter, 0) > 0;
  }

  /** Why a parameter that is used has no hook. */
  String reason(Parameter parameter) {
    int count = uses.getOrDefault(parameter, 0);
    return count == 1 ? "used by an operator that has no kernel" : "used " + count + " times";
  }

  /** Flags and numbers that modules keep as attributes, such as whether they are training. */
  private void foldConstants() {
    List<JitNode> nodes = nodes();
    if (nodes.stream().anyMatch(node -> kind(node).equals("prim::SetAttr"))) {
      return;
    }
    graph.setInsertPoint(graph.param_node().next());
    attributePaths(nodes)
        .forEach((node, path) -> {
          TypeKind type = node.output().type().get().kind().intern();
          if (type == TypeKind.BoolType || type == TypeKind.IntType || type == TypeKind.FloatType) {
            Value constant = graph.insertConstant(module.attribute(path));
            node.output().replaceAllUsesWith(constant);
          }
        });
    torch.preoptimizeGraph(graph);
  }

  private List<JitNode> nodes() {
    List<JitNode> nodes = new ArrayList<>();
    long end = graph.return_node().address();
    for (JitNode node = graph.param_node().next(); node.address() != end; node = node.next()) {
      nodes.add(node);
    }
    return nodes;
  }

  private static String kind(JitNode node) {
    return node.kind().toQualString().getString();
  }

  /**
   * Every read of an attribute with its dotted path. The names are taken from the graph's text,
   * whose lines come in the order of the nodes: the binding's accessor of string attributes returns
   * freed memory.
   */
  private Map<JitNode, String> attributePaths(List<JitNode> nodes) {
    List<String> names = new ArrayList<>();
    for (String line : graph.toString().split("\n", -1)) {
      Matcher matcher = ATTRIBUTE.matcher(line);
      if (matcher.matches()) {
        names.add(matcher.group(1));
      }
    }
    List<JitNode> reads = nodes.stream().filter(n -> kind(n).equals("prim::GetAttr")).toList();
    Map<JitNode, String> paths = new LinkedHashMap<>();
    if (names.size() != reads.size()) {
      return paths;
    }
    Map<Long, String> modules = new HashMap<>(); // by address of the value
    modules.put(graph.inputs().at(0).address(), "");
    for (int i = 0; i < names.size(); i++) {
      JitNode node = reads.get(i);
      String owner = modules.get(node.input(0).address());
      if (owner != null) {
        String path = owner.isEmpty() ? names.get(i) : owner + "." + names.get(i);
        modules.put(node.output().address(), path);
        paths.put(node, path);
      }
    }
    return paths;
  }

  private void requirePlain(List<JitNode> nodes) throws Unhookable {
    long attributes = nodes.stream().filter(n -> kind(n).equals("prim::GetAttr")).count();
    if (attributePaths(nodes).size() != attributes) {
      throw new Unhookable("its parameters are not plain attributes of modules");
    }
    for (JitNode node : nodes) {
      String kind = kind(node);
      if (isAssertion(node)) {
        continue;
      }
      switch (kind) {
        case "prim::If", "prim::Loop" -> throw new Unhookable("it has control flow");
        case "prim::SetAttr" -> throw new Unhookable("it changes its own attributes");
        default -> {
          if (kind.startsWith("prim::Call") || node.blocks().size() > 0) {
            throw new Unhookable("it has a node " + kind);
          }
        }
      }
    }
  }

  /** Whether a node does nothing but perhaps raise an exception. */
  private static boolean isAssertion(JitNode node) {
    if (!kind(node).equals("prim::If") || node.outputs().size() > 0) {
      return false;
    }
    for (long i = 0; i < node.blocks().size(); i++) {
      Block block = node.blocks().at(i);
      long end = block.return_node().address();
      for (JitNode n = block.param_node().next(); n.address() != end; n = n.next()) {
        if (!WITHOUT_EFFECT.contains(kind(n))) {
          return false;
        }
      }
    }
    return true;
  }

  private void findParameters(List<JitNode> nodes) {
    Map<JitNode, String> paths = attributePaths(nodes);
    for (JitNode node : nodes) {
      String path = paths.get(node);
      Parameter parameter = path == null ? null : module.parameter(path);
      if (parameter != null) {
        operands.put(node.output().address(), new Operand(parameter, false));
        reads.computeIfAbsent(parameter, any -> new ArrayList<>()).add(node.output());
        continue;
      }
      Operand matrix = isTranspose(node) ? operand(node, 0) : null;
      if (matrix != null && matrix.parameter().tensor().dim() == 2) {
        operands.put(
            node.output().address(), new Operand(matrix.parameter(), !matrix.transposed()));
        transposed.add(matrix.parameter());
      } else {
        countUses(node);
      }
    }
    countUses(graph.return_node());
  }

  private static boolean isTranspose(JitNode node) {
    return kind(node).equals("aten::t") || kind(node).equals("aten::numpy_T");
  }

  private void countUses(JitNode node) {
    for (int i = 0; i < inputs(node); i++) {
      Operand operand = operand(node, i);
      if (operand != null) {
        uses.merge(operand.parameter(), 1, Integer::sum);
      }
    }
  }

  private static int inputs(JitNode node) {
    return Math.toIntExact(node.inputs().size());
  }

  private @Nullable Operand operand(JitNode node, int input) {
    return input < inputs(node) ? operands.get(node.input(input).address()) : null;
  }

  /** A parameter as that argument, if it is wanted, untransposed and used nowhere else. */
  private @Nullable Parameter only(JitNode node, int input) {
    Operand operand = operand(node, input);
    if (operand == null || operand.transposed()) {
      return null;
    }
    Parameter parameter = operand.parameter();
    return parameter.wanted() && uses.getOrDefault(parameter, 0) == 1 ? parameter : null;
  }

  private static @Nullable ParameterGroup group(@Nullable Parameter parameter) {
    return parameter == null ? null : parameter.group();
  }

  private @Nullable ScriptLayer layer(JitNode node) {
    return switch (kind(node)) {
      case "aten::linear" -> linear(node);
      case "aten::addmm" -> product(node, 1, 2, only(node, 0));
      case "aten::mm", "aten::matmul" -> product(node, 0, 1, null);
      case "aten::conv1d", "aten::conv2d", "aten::convolution", "aten::_convolution" ->
          convolution(node);
      case "aten::layer_norm" -> {
        Parameter scale = only(node, 2);
        Parameter shift = only(node, 3);
        yield scale == null || shift == null
            ? null
            : new ScriptLayer.Normalization(scale.group(), shift.group());
      }
      case "aten::batch_norm" -> {
        Parameter scale = only(node, 1);
        Parameter shift = only(node, 2);
        yield scale == null && shift == null
            ? null
            : new ScriptLayer.ChannelNormalization(group(scale), group(shift));
      }
      case "aten::embedding" -> {
        Parameter table = only(node, 0);
        yield table == null
            ? null
            : new ScriptLayer.Embedding(table.group(), table.tensor().size(0));
      }
      case "aten::expand", "aten::expand_as", "aten::repeat" -> {
        Parameter parameter = only(node, 0);
        yield parameter == null ? null : new ScriptLayer.Copied(parameter.group());
      }
      default -> null;
    };
  }

  private @Nullable ScriptLayer linear(JitNode node) {
    Parameter weight = only(node, 1);
    Parameter bias = only(node, 2);
    return weight == null && bias == null
        ? null
        : new ScriptLayer.Product(0, group(weight), false, group(bias));
  }

  /** x W + b, where W is a parameter [I, O] or the transpose of one [O, I]. */
  private @Nullable ScriptLayer product(
      JitNode node, int input, int matrix, @Nullable Parameter bias) {
    Operand operand = operand(node, matrix);
    boolean hooked =
        operand != null
            && operand.parameter().wanted()
            && operand.parameter().tensor().dim() == 2
            && uses.getOrDefault(operand.parameter(), 0) == 1;
    if (bias != null && bias.tensor().dim() != 1) {
      bias = null;
    }
    if (!hooked || operand == null) {
      return bias == null ? null : new ScriptLayer.Product(input, null, false, bias.group());
    }
    return new ScriptLayer.Product(
        input, operand.parameter().group(), !operand.transposed(), group(bias));
  }

  private @Nullable ScriptLayer convolution(JitNode node) {
    Operand operand = operand(node, 1);
    if (operand == null || operand.parameter().tensor().dim() < 3) {
      return null;
    }
    long[] shape = operand.parameter().tensor().sizes().vec().get();
    Parameter weight = only(node, 1);
    Parameter bias = only(node, 2);
    if (shape.length > 4 || (weight == null && bias == null)) {
      return null;
    }
    boolean twoDimensional = shape.length == 4;
    long[] kernel = {twoDimensional ? shape[2] : 1, shape[shape.length - 1]};
    return new ScriptLayer.Convolution(group(weight), group(bias), twoDimensional, kernel);
  }

  private void hook(ScriptLayer layer, int operator, JitNode node, @Nullable Value zeros) {
    int[] arguments = new int[inputs(node)];
    for (int i = 0; i < arguments.length; i++) {
      arguments[i] = operand(node, i) == null ? result(node.input(i)) : -1;
    }
    Value output = node.output();
    JitNode last = node;
    if (zeros != null) {
      graph.setInsertPoint(node);
      Value one = graph.insertConstant(new IValue(1));
      last = graph.create(Symbol.aten("add"), new ValueVector(output, zeros, one));
      last.insertAfter(node);
      output.replaceAllUsesAfterNodeWith(last, last.output());
      output = last.output();
    }
    if (writesInto(output)) {
      graph.setInsertPoint(node);
      Value none = graph.insertConstant(new IValue());
      JitNode copy = graph.create(Symbol.aten("clone"), new ValueVector(output, none));
      copy.insertAfter(last);
      output.replaceAllUsesAfterNodeWith(copy, copy.output());
    }
    hooks.add(new Hook(layer, operator, result(output), arguments));
  }

  /**
   * Whether an in-place operator overwrites the value. Autograd would then give the cotangent of
   * the new value, not of the operator's output.
   */
  private boolean writesInto(Value value) {
    for (JitNode node : nodes()) {
      String kind = kind(node);
      if (kind.endsWith("_") && !kind.endsWith("__")) {
        for (int i = 0; i < inputs(node); i++) {
          if (node.input(i).address() == value.address()) {
            return true;
          }
        }
      }
    }
    return false;
  }

  private int result(Value value) {
    results.push_back(value);
    return Math.toIntExact(results.size() - 1);
  }

  private void copyParameters() {
    Set<ParameterGroup> hooked = new HashSet<>();
    hooks.forEach(hook -> hook.layer().parameters().forEach(hooked::add));
    reads.forEach((parameter, values) -> {
      Tensor tensor = parameter.tensor();
      if (parameter.wanted()
          && !hooked.contains(parameter.group())
          && !transposed.contains(parameter)
          && tensor.dim() > 1
          && tensor.size(0) == 1) {
        Value copies = graph.addInput();
        values.forEach(value -> value.replaceAllUsesWith(copies));
        hooks.add(
            new Hook(new ScriptLayer.Copied(parameter.group()), -1, copied.size(), new int[0]));
        copied.add(parameter);
      }
    });
  }
}
