package org.fishermerge.torch;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Argument;
import org.bytedeco.pytorch.ExecutorExecutionModeOptional;
import org.bytedeco.pytorch.Graph;
import org.bytedeco.pytorch.GraphFunction;
import org.bytedeco.pytorch.GraphFunctionCreator;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueOptional;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.JitModule;
import org.bytedeco.pytorch.Method;
import org.bytedeco.pytorch.NamedTensor;
import org.bytedeco.pytorch.QualifiedName;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ExecutorExecutionMode;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.bytedeco.pytorch.named_buffer_iterator;
import org.bytedeco.pytorch.named_buffer_list;
import org.bytedeco.pytorch.named_parameter_iterator;
import org.bytedeco.pytorch.named_parameter_list;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.torch.nn.ParameterGroup;
import org.jspecify.annotations.Nullable;

/**
 * A TorchScript module in evaluation mode: its parameters, and graphs of its {@code forward} as
 * functions.
 */
final class ScriptModule {
  /**
   * A parameter; modules that share one have several names for it.
   *
   * @param group where its Fisher values go
   * @param names in the module's order
   * @param wanted whether its Fisher information is asked for: it is not frozen
   */
  record Parameter(ParameterGroup group, List<String> names, Tensor tensor, boolean wanted) {
    String name() {
      return names.getFirst();
    }
  }

  // GraphFunction's constructor requires a creator even when the graph is given.
  private static final GraphFunctionCreator NOTHING_TO_CREATE =
      new GraphFunctionCreator() {
        @Override
        public void call(GraphFunction function) {}
      };

  private final String origin;
  private final JitModule module;
  private final Method forward;
  private final List<Parameter> parameters;
  private final Map<String, Parameter> byName = new LinkedHashMap<>();

  private ScriptModule(String origin, JitModule module, Method forward) {
    this.origin = origin;
    this.module = module;
    this.forward = forward;
    this.parameters = readParameters();
    for (Parameter parameter : parameters) {
      parameter.names().forEach(name -> byName.put(name, parameter));
    }
  }

  /**
   * Loads a file that {@code torch.jit.save} wrote.
   *
   * @throws InputException if it is none, has no {@code forward} or no fp32 parameters, or draws at
   *     random or normalises by the batch in evaluation mode too
   */
  static ScriptModule load(Path file) {
    if (!Files.isRegularFile(file)) {
      throw new InputException(file + ": no such file");
    }
    JitModule module;
    try {
      module = torch.load(file.toString());
    } catch (RuntimeException e) {
      throw new InputException(
          file
              + ": libtorch cannot load it as a TorchScript module ("
              + reason(e)
              + "); write it with torch.jit.trace or torch.jit.script and then torch.jit.save",
          e);
    }
    return of(module, file.toString());
  }

  /**
   * @param origin names the module in messages
   */
  static ScriptModule of(JitModule module, String origin) {
    if (!module.find_method("forward").has_value()) {
      throw new InputException(origin + ": the module has no method forward");
    }
    module.eval();
    ScriptFaults.requireNoneInGraph(module, origin);
    ScriptModule script = new ScriptModule(origin, module, module.get_method("forward"));
    if (script.parameters.isEmpty()) {
      throw new InputException(
          origin
              + ": the module has no parameters; torch.jit.freeze turns them into constants, so"
              + " save the module before it");
    }
    return script;
  }

  /** Whether what forward returns, or a part of it, comes out of a sigmoid. */
  boolean endsInSigmoid() {
    return ScriptFaults.endsInSigmoid(module);
  }

  String origin() {
    return origin;
  }

  List<Parameter> parameters() {
    return parameters;
  }

  /** Those whose Fisher information is asked for. */
  List<Parameter> wanted() {
    return parameters.stream().filter(Parameter::wanted).toList();
  }

  /** What each parameter is summed into. */
  List<ParameterGroup> groups() {
    return parameters.stream().map(Parameter::group).toList();
  }

  /** The parameter of one of these groups. */
  Parameter parameter(ParameterGroup group) {
    return parameters.stream()
        .filter(parameter -> parameter.group() == group)
        .findFirst()
        .orElseThrow(() -> new IllegalArgumentException("a parameter group of another model"));
  }

  @Nullable Parameter parameter(String name) {
    return byName.get(name);
  }

  private List<Parameter> readParameters() {
    Map<String, Tensor> named = namedParameters();
    // If no parameter has requires_grad, the module was saved for inference, and none counts as
    // frozen.
    boolean flagged = named.values().stream().anyMatch(Tensor::requires_grad);
    Map<Long, Parameter> byMemory = new LinkedHashMap<>();
    named.forEach((name, tensor) -> {
      if (tensor.scalar_type().intern() != ScalarType.Float) {
        throw new InputException(
            origin
                + ": parameter "
                + name
                + " is "
                + tensor.scalar_type().intern()
                + "; expected Float: convert the module with .float() before it is saved");
      }
      long address = tensor.numel() == 0 ? -byMemory.size() - 1 : tensor.data_ptr().address();
      Parameter before = byMemory.get(address);
      if (before == null) {
        List<Long> shape = Arrays.stream(tensor.sizes().vec().get()).boxed().toList();
        boolean wanted = !flagged || tensor.requires_grad();
        tensor.set_requires_grad(wanted);
        byMemory.put(
            address,
            new Parameter(
                new ParameterGroup(new ParameterGroup.Member(name, shape)),
                new ArrayList<>(List.of(name)),
                tensor,
                wanted));
      } else {
        tie(before, name, tensor);
      }
    });
    return List.copyOf(byMemory.values());
  }

  /** Another name for the same memory: one tensor under both, so that autograd adds their uses. */
  private void tie(Parameter parameter, String name, Tensor tensor) {
    if (!tensor.is_same(parameter.tensor())) {
      if (!Arrays.equals(tensor.sizes().vec().get(), parameter.tensor().sizes().vec().get())
          || !Arrays.equals(
              tensor.strides().vec().get(), parameter.tensor().strides().vec().get())) {
        throw new InputException(
            origin
                + ": parameters "
                + parameter.name()
                + " and "
                + name
                + " share memory in different shapes; tie them by using one parameter twice");
      }
      int dot = name.lastIndexOf('.');
      JitModule owner =
          dot < 0 ? module : new JitModule(attribute(name.substring(0, dot)).toObject());
      owner.setattr(name.substring(dot + 1), new IValue(parameter.tensor()));
    }
    parameter.names().add(name);
  }

  private Map<String, Tensor> namedParameters() {
    Map<String, Tensor> named = new LinkedHashMap<>();
    named_parameter_list list = module.named_parameters();
    for (named_parameter_iterator it = list.begin(); it.notEquals(list.end()); it.increment()) {
      NamedTensor entry = it.multiply();
      named.put(entry.name().getString(), new Tensor(entry.value()));
    }
    return named;
  }

  /** Every parameter and buffer under every name: what Python calls the state dict. */
  Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>(namedParameters());
    named_buffer_list list = module.named_buffers();
    for (named_buffer_iterator it = list.begin(); it.notEquals(list.end()); it.increment()) {
      NamedTensor entry = it.multiply();
      state.put(entry.name().getString(), new Tensor(entry.value()));
    }
    return Collections.unmodifiableMap(state);
  }

  /** The value of an attribute of a submodule, by its dotted path. */
  IValue attribute(String path) {
    IValue value = new IValue(module._ivalue());
    for (String name : path.split("\\.", -1)) {
      value = value.toObject().getAttr(name);
    }
    return value;
  }

  /** A copy of the graph of {@code forward}, with every submodule's inlined. */
  Graph inlinedGraph() {
    Graph graph = forward.graph().copy();
    torch.preoptimizeGraph(graph);
    return graph;
  }

  /** {@code forward} itself. */
  GraphFunction forwardFunction() {
    return function(forward.graph().copy());
  }

  /**
   * A graph as a function that is run as it stands: the profiling executor would fuse values away
   * and change its mind between runs.
   */
  static GraphFunction function(Graph graph) {
    GraphFunction function =
        new GraphFunction(
            new QualifiedName("forward"),
            graph,
            NOTHING_TO_CREATE,
            new ExecutorExecutionModeOptional(ExecutorExecutionMode.SIMPLE));
    function.retainReference(); // it outlives the scope that it is made in
    return function;
  }

  /**
   * Runs a function of this module.
   *
   * @param inputs of {@code forward}; those that have defaults may be left out at the end
   * @param further inputs after all of forward's
   * @throws InputException if the number of inputs is wrong or libtorch refuses to run
   */
  IValue run(GraphFunction function, List<Tensor> inputs, List<Tensor> further) {
    int declared = Math.toIntExact(forward.num_inputs()) - 1;
    IValueVector stack = new IValueVector();
    stack.push_back(new IValue(module._ivalue()));
    for (Tensor input : inputs) {
      stack.push_back(new IValue(input));
    }
    Argument arguments = forward.function().getSchema().arguments();
    for (int i = inputs.size(); i < declared; i++) {
      IValueOptional value = arguments.getPointer(i + 1L).default_value();
      if (!value.has_value()) {
        throw wrongInputs(inputs.size(), declared);
      }
      stack.push_back(value.get());
    }
    if (inputs.size() > declared) {
      throw wrongInputs(inputs.size(), declared);
    }
    for (Tensor input : further) {
      stack.push_back(new IValue(input));
    }
    try {
      function.run(stack);
    } catch (RuntimeException e) {
      StringBuilder shapes = new StringBuilder();
      for (Tensor input : inputs) {
        shapes
            .append(shapes.isEmpty() ? "" : ", ")
            .append(input.scalar_type().intern())
            .append(Arrays.toString(input.sizes().vec().get()));
      }
      throw new InputException(
          origin + ": forward fails on inputs " + shapes + ": " + reason(e), e);
    }
    return new IValue(stack.get(0));
  }

  private InputException wrongInputs(int given, int declared) {
    return new InputException(
        origin
            + ": forward takes "
            + declared
            + " inputs and was given "
            + given
            + "; name the data's tensors for each with --inputs, in order");
  }

  /** The one line of libtorch's message that says what went wrong. */
  static String reason(RuntimeException e) {
    String last = "";
    for (String line : String.valueOf(e.getMessage()).split("\n", -1)) {
      String text = line.strip();
      if (text.startsWith("Exception raised from")) {
        break;
      }
      if (text.contains("Error: ")) {
        return text.substring(text.indexOf("Error: ") + "Error: ".length());
      }
      if (!text.isEmpty() && !text.startsWith("~") && !text.endsWith("<--- HERE")) {
        last = text;
      }
    }
    // libtorch puts the name of its reader class before the message, which tells the user nothing.
    return last.isEmpty() ? Reasons.of(e) : last.replace("PytorchStreamReader ", "");
  }
}
