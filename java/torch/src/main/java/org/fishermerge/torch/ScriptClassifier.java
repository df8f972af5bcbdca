package org.fishermerge.torch;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.GraphFunction;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.TupleElements;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.checkpoint.TensorDigest;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.ScriptHooks.Hook;
import org.fishermerge.torch.ScriptHooks.Unhookable;
import org.fishermerge.torch.ScriptLayer.Call;
import org.fishermerge.torch.ScriptLayer.Layout;
import org.fishermerge.torch.ScriptModule.Parameter;
import org.fishermerge.torch.nn.LayerVisit;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;
import org.fishermerge.torch.statistic.DiagonalFisher;
import org.jspecify.annotations.Nullable;

/**
 * Any TorchScript module that gives class logits. Parameters whose only use is an operator that a
 * kernel understands go the fast way: the batch runs forward once, autograd pulls cotangents back
 * to the operators' outputs, and the kernels do the rest. All other parameters, or all of them
 * where the module cannot be hooked, go the slow way: autograd's total gradient of one example
 * alone, squared. So the uses of a tied or reused parameter are summed before squaring.
 *
 * <p>A hook assumes that the examples of a batch do not mix and where they lie. {@link #prepare}
 * proves it on the first examples: a cotangent of one example's logits reaches that example's part
 * of the operator's output only, and the squares are those of the slow way.
 *
 * <p>Not thread-safe.
 */
public final class ScriptClassifier implements Classifier {
  /** Examples that {@link #prepare} looks at. */
  public static final int FIRST_EXAMPLES = 5;

  /** Those of them that the hooks are held against autograd on. */
  private static final int PROOF_EXAMPLES = 2;

  private static final int NAMES_SHOWN = 3;
  // Above fp32 rounding through a deep network, below any wrong hook.
  private static final double TOLERANCE = 1e-3;
  // Parameters that change nothing, as the bias of attention's keys, have rounding for a Fisher:
  // about the square of fp32's, relative to the largest.
  private static final double NOISE = 1e-12;
  private static final long PROOF_SEED = 0x5eed;

  private final ScriptModule module;
  private final @Nullable String logitsKey;
  private final boolean batchSquares;
  private final GraphFunction forward;
  private final List<Parameter> wanted;
  private final Map<ParameterGroup, Parameter> byGroup = new LinkedHashMap<>(); // by identity
  private final Map<Parameter, String> slowReasons = new LinkedHashMap<>();
  private final Set<Parameter> unused = new HashSet<>(); // F = 0: nothing is run for them
  private @Nullable ScriptHooks hooks;
  private List<Hook> provenHooks = List.of();
  private final Map<Integer, Layout> layouts = new LinkedHashMap<>(); // of operators
  private int classes;

  private ScriptClassifier(ScriptModule module, @Nullable String logits, LabelExpectation labels) {
    this.module = module;
    this.logitsKey = logits;
    this.batchSquares = labels.squaresBatches();
    this.forward = module.forwardFunction();
    this.wanted = module.parameters().stream().filter(Parameter::wanted).toList();
    module.parameters().forEach(parameter -> byGroup.put(parameter.group(), parameter));
  }

  /**
   * Loads a module, in evaluation mode, on the CPU.
   *
   * @param file as {@code torch.jit.save} writes it
   * @param logits where forward's output has the logits: an index into a tuple or list, or a key of
   *     a dict; null for the output itself, the first element, or the key {@code logits}
   * @param labels batch squares need no hooks
   * @throws InputException if the file is no such module or a parameter is not fp32
   */
  public static ScriptClassifier load(Path file, @Nullable String logits, LabelExpectation labels) {
    LibTorch.initialize();
    return of(ScriptModule.load(file), logits, labels);
  }

  static ScriptClassifier of(
      ScriptModule module, @Nullable String logits, LabelExpectation labels) {
    return new ScriptClassifier(module, logits, labels);
  }

  /**
   * Decides how each parameter goes, by running a first batch; must come before {@link #forward}.
   *
   * @param batch at least one example; the first {@link #FIRST_EXAMPLES} are used
   * @param warnings told of outputs that may be no logits
   * @throws InputException if forward fails on them or gives no logits, if it answers them
   *     differently when it is run again, or, but for batch squares, alone and together
   */
  public void prepare(List<InputTensor> batch, Kernels kernels, Consumer<String> warnings) {
    LibTorch.initialize();
    try (PointerScope scope = new PointerScope()) {
      List<Tensor> inputs = tensors(batch);
      int given = Math.toIntExact(Math.min(FIRST_EXAMPLES, inputs.getFirst().size(0)));
      ScriptFaults.requireNoneInRun(
          module.origin(),
          (some, count) -> Tensors.floats(logits(run(forward, some), count).detach()),
          inputs.stream().map(input -> input.narrow(0, 0, given)).toList(),
          given,
          batchSquares,
          module::endsInSigmoid,
          warnings);
      int examples = Math.min(PROOF_EXAMPLES, given);
      List<Tensor> first = inputs.stream().map(input -> input.narrow(0, 0, examples)).toList();
      try (Pass alone = batchSquares ? together(first, examples) : singly(first, examples)) {
        classes = alone.logits().length / examples;
        Tensor cotangents = randomCotangents(examples);
        if (batchSquares) {
          allSlow("batch squares are of the whole batch's gradient");
        } else {
          prove(first, examples, alone, cotangents, kernels);
        }
      }
    }
  }

  /** Both examples' squares by autograd, then by the hooks; hooks that differ are dropped. */
  private void prove(
      List<Tensor> inputs, int examples, Pass alone, Tensor cotangents, Kernels kernels) {
    try (DiagonalFisher expected =
        new DiagonalFisher(kernels, DiagonalFisher.Squares.PER_EXAMPLE, parameterGroups())) {
      alone.backward(cotangents, null, expected, false);
      // What every example is given of its own may not suit an operator; without it less is hooked.
      String failure = "";
      for (int attempt = 0; attempt < 4; attempt++) {
        boolean copies = attempt < 2;
        boolean spread = attempt % 2 == 0;
        try {
          hook(inputs, examples, copies, spread);
          provenHooks = proven(inputs, examples, alone, cotangents, expected, kernels);
          return;
        } catch (Unhookable e) {
          failure = String.valueOf(e.getMessage());
        } catch (InputException e) {
          failure = "its hooked graph fails";
        }
      }
      allSlow(failure);
    }
  }

  private void allSlow(String reason) {
    hooks = null;
    provenHooks = List.of();
    slowReasons.clear();
    unused.clear();
    wanted.forEach(parameter -> slowReasons.put(parameter, reason));
  }

  /** Hooks the module and finds in a run which embeddings look the same up for all examples. */
  private void hook(List<Tensor> inputs, int examples, boolean copies, boolean mayShare)
      throws Unhookable {
    layouts.clear();
    hooks = new ScriptHooks(module, copies, Set.of());
    if (!mayShare) {
      return;
    }
    try (Run run = new Run(hooks, inputs, examples)) {
      for (Hook hook : hooks.hooks()) {
        Tensor output = run.output(hook);
        if (hook.layer() instanceof ScriptLayer.Embedding
            && output.size(0) != examples
            && (output.dim() == 2 || (output.dim() == 3 && output.size(0) == 1))) {
          layouts.put(hook.operator(), Layout.SHARED);
        }
      }
    }
    if (!layouts.isEmpty()) {
      hooks = new ScriptHooks(module, copies, Set.copyOf(layouts.keySet()));
    }
  }

  private List<Hook> proven(
      List<Tensor> inputs,
      int examples,
      Pass alone,
      Tensor cotangents,
      DiagonalFisher expected,
      Kernels kernels)
      throws Unhookable {
    ScriptHooks candidate = requireHooks();
    slowReasons.clear();
    unused.clear();
    Set<ParameterGroup> good = new HashSet<>();
    List<Hook> kept = new ArrayList<>();
    try (Run run = new Run(candidate, inputs, examples);
        DiagonalFisher found =
            new DiagonalFisher(kernels, DiagonalFisher.Squares.PER_EXAMPLE, parameterGroups())) {
      float[] together = Tensors.floats(run.logits.detach());
      if (!close(alone.logits(), together, 0)) {
        throw new Unhookable("its hooked graph gives other logits");
      }
      double noise = NOISE * largest(expected);
      for (Hook hook : candidate.hooks()) {
        if (!run.output(hook).requires_grad()) {
          continue;
        }
        if (agrees(hook, run, cotangents, expected, found, noise)) {
          kept.add(hook);
          hook.layer().parameters().forEach(good::add);
        } else {
          hook.layer()
              .parameters()
              .forEach(group ->
                  slowReasons.put(parameter(group), "its examples are not apart in a batch"));
        }
      }
    }
    for (Parameter parameter : wanted) {
      if (!candidate.uses(parameter)) {
        unused.add(parameter);
      } else if (!good.contains(parameter.group())) {
        slowReasons.putIfAbsent(parameter, candidate.reason(parameter));
      }
    }
    return kept;
  }

  private double largest(DiagonalFisher sums) {
    double largest = 0;
    for (Parameter parameter : wanted) {
      for (float value : sums.values(parameter.group())) {
        largest = Math.max(largest, value);
      }
    }
    return largest;
  }

  /** Whether a hook gives what autograd does, in some layout, which is then remembered. */
  private boolean agrees(
      Hook hook,
      Run run,
      Tensor cotangents,
      DiagonalFisher expected,
      DiagonalFisher found,
      double noise) {
    boolean shared = layouts.get(hook.operator()) == Layout.SHARED;
    List<Layout> candidates =
        shared
            ? List.of(Layout.SHARED)
            : hook.ofCopies()
                ? List.of(Layout.EXAMPLES_FIRST)
                : List.of(Layout.EXAMPLES_FIRST, Layout.TIME_FIRST);
    for (Layout layout : candidates) {
      layouts.put(hook.operator(), layout);
      hook.layer().parameters().forEach(found::clear);
      try {
        Call call = run.calls(List.of(hook), cotangents, true).getFirst();
        if (call != null && !call.examplesAreApart()) {
          continue;
        }
        if (call != null) {
          hook.layer().accumulate(call, found);
        }
      } catch (RuntimeException e) {
        continue; // shapes that do not fit this layout, or the kernel
      }
      if (hook.layer()
          .parameters()
          .allMatch(group -> close(expected.values(group), found.values(group), noise))) {
        return true;
      }
    }
    return false;
  }

  private static boolean close(float[] expected, float[] found, double noise) {
    if (expected.length != found.length) {
      return false;
    }
    double largest = 0;
    for (float value : expected) {
      largest = Math.max(largest, Math.abs(value));
    }
    for (int i = 0; i < expected.length; i++) {
      // Not-a-number differs from everything, unless both are.
      if (!(Math.abs(expected[i] - found[i]) <= Math.max(TOLERANCE * largest, noise))
          && Float.compare(expected[i], found[i]) != 0) {
        return false;
      }
    }
    return true;
  }

  /** [V, B, K] with as many probes as examples: probe v is of example v alone. */
  private Tensor randomCotangents(int examples) {
    float[] values = new float[examples * examples * classes];
    ExampleRandom random = new ExampleRandom(PROOF_SEED, 0);
    for (int b = 0; b < examples; b++) {
      for (int c = 0; c < classes; c++) {
        values[(b * examples + b) * classes + c] = (float) (2 * random.nextDouble() - 1);
      }
    }
    return Tensors.copyOf(values, examples, examples, classes);
  }

  private ScriptHooks requireHooks() {
    if (hooks == null) {
      throw new IllegalStateException("the module is not hooked");
    }
    return hooks;
  }

  private Parameter parameter(ParameterGroup group) {
    Parameter parameter = byGroup.get(group);
    if (parameter == null) {
      throw new IllegalArgumentException("a parameter group of another model");
    }
    return parameter;
  }

  /** One line that says how many parameters go which way, and why some are slow. */
  public String plan() {
    int fast = wanted.size() - slowReasons.size() - unused.size();
    StringBuilder text = new StringBuilder("TorchScript: ");
    if (batchSquares) {
      return text.append(wanted.size())
          .append(" parameters by the gradient of each whole batch")
          .toString();
    }
    text.append(fast)
        .append(" parameters in ")
        .append(provenHooks.size())
        .append(" layers go the fast way");
    if (!slowReasons.isEmpty()) {
      Map<String, List<String>> byReason = new LinkedHashMap<>();
      slowReasons.forEach((parameter, reason) ->
          byReason.computeIfAbsent(reason, any -> new ArrayList<>()).add(parameter.name()));
      text.append("; ").append(slowReasons.size()).append(" one example at a time (");
      text.append(
          byReason.entrySet().stream()
              .map(entry -> NameList.of(entry.getValue(), NAMES_SHOWN) + ": " + entry.getKey())
              .collect(Collectors.joining("; ")));
      text.append(")");
    }
    return text.toString();
  }

  /**
   * The parameters whose Fisher information is zero everywhere, with the reason.
   *
   * @param sums by {@link FisherEstimator#finish}
   */
  public List<String> zeros(Map<String, MemorySegment> sums) {
    List<String> zeros = new ArrayList<>();
    for (Parameter parameter : module.parameters()) {
      MemorySegment sum = sums.get(parameter.name());
      if (sum != null && isZero(sum)) {
        zeros.add(
            parameter.name() + (parameter.wanted() ? " (no gradient reaches it)" : " (frozen)"));
      }
    }
    return zeros;
  }

  private static boolean isZero(MemorySegment floats) {
    for (long i = 0; i < floats.byteSize() / Float.BYTES; i++) {
      if (floats.getAtIndex(ValueLayout.JAVA_FLOAT, i) != 0) {
        return false;
      }
    }
    return true;
  }

  /**
   * Refuses a checkpoint that the module was not made from: each parameter must be there, under one
   * of its names, with the same values.
   */
  public void requireParametersOf(Checkpoint checkpoint) {
    for (Parameter parameter : module.parameters()) {
      List<String> stored = namesIn(checkpoint, parameter.group());
      if (stored.isEmpty()) {
        throw new InputException(
            checkpoint.path()
                + ": has no tensor "
                + parameter.name()
                + ", a parameter of "
                + module.origin()
                + "; --model must be the checkpoint that the module was made from");
      }
      float[] values = Tensors.floats(parameter.tensor().detach());
      for (String name : stored) {
        if (!Arrays.equals(values, checkpoint.floats(ParameterNames.canonical(name)))) {
          throw new InputException(
              checkpoint.path()
                  + ": tensor "
                  + name
                  + " differs from that of "
                  + module.origin()
                  + "; --model must be the checkpoint that the module was made from");
        }
      }
    }
  }

  /** Those names of a parameter that a checkpoint has. */
  List<String> namesIn(Checkpoint checkpoint, ParameterGroup group) {
    return namesOf(group).stream()
        .filter(name -> checkpoint.has(ParameterNames.canonical(name)))
        .toList();
  }

  /** The module's parameters and buffers as a checkpoint would hold them. */
  private List<TensorDigest.Entry> state() {
    List<TensorDigest.Entry> state = new ArrayList<>();
    module
        .state()
        .forEach((name, tensor) -> {
          DType dtype = InputTensor.dtype(tensor);
          if (dtype != null) {
            List<Long> shape = Arrays.stream(tensor.sizes().vec().get()).boxed().toList();
            state.add(
                new TensorDigest.Entry(
                    ParameterNames.canonical(name), dtype, shape, Tensors.bytes(tensor)));
          }
        });
    return state;
  }

  /** What {@link Checkpoint#tensorSha256} is of a checkpoint with this module's tensors. */
  public String tensorSha256() {
    return TensorDigest.sha256(state());
  }

  /** What {@link Checkpoint#fingerprint} is of a checkpoint with this module's tensors. */
  public String fingerprint() {
    return TensorDigest.fingerprint(state());
  }

  /** The parameters that go the slow way. */
  List<String> slow() {
    return wanted.stream().filter(slowReasons::containsKey).map(Parameter::name).toList();
  }

  /** Every name of a parameter in the module. */
  List<String> namesOf(ParameterGroup group) {
    return parameter(group).names();
  }

  @Override
  public int classCount() {
    return classes;
  }

  @Override
  public List<ParameterGroup> parameterGroups() {
    return module.parameters().stream().map(Parameter::group).toList();
  }

  /**
   * Runs a batch and keeps what its backward passes need.
   *
   * @param batch forward's inputs in order, each [B, ...]
   * @return to be closed by the caller
   * @throws InputException if forward fails
   */
  public ForwardPass forward(List<InputTensor> batch) {
    LibTorch.initialize();
    try (PointerScope scope = new PointerScope()) {
      List<Tensor> inputs = tensors(batch);
      int examples = Math.toIntExact(inputs.getFirst().size(0));
      if (provenHooks.isEmpty()) {
        return batchSquares ? together(inputs, examples) : singly(inputs, examples);
      }
      Run run = new Run(requireHooks(), inputs, examples);
      List<Part> parts = List.of();
      try {
        if (!slowReasons.isEmpty()) {
          parts = parts(inputs, examples, 1);
        }
        return new Pass(Tensors.floats(run.logits.detach()), examples, run, parts);
      } catch (RuntimeException | Error e) {
        run.close();
        throw e;
      }
    }
  }

  private static List<Tensor> tensors(List<InputTensor> batch) {
    if (batch.isEmpty()) {
      throw new IllegalArgumentException("a batch without inputs");
    }
    return batch.stream().map(InputTensor::toTensor).toList();
  }

  private Pass singly(List<Tensor> inputs, int examples) {
    return pass(parts(inputs, examples, 1), examples);
  }

  private Pass together(List<Tensor> inputs, int examples) {
    return pass(parts(inputs, examples, examples), examples);
  }

  private Pass pass(List<Part> parts, int examples) {
    int columns = Math.toIntExact(parts.getFirst().logits.size(1));
    float[] logits = new float[examples * columns];
    for (Part part : parts) {
      float[] rows = Tensors.floats(part.logits.detach());
      if (part.logits.size(1) != columns) {
        throw new InputException(
            module.origin() + ": the number of logits changes from example to example");
      }
      System.arraycopy(rows, 0, logits, part.first * columns, rows.length);
    }
    return new Pass(logits, examples, null, parts);
  }

  private List<Part> parts(List<Tensor> inputs, int examples, int size) {
    List<Part> parts = new ArrayList<>();
    try {
      for (int first = 0; first < examples; first += size) {
        int from = first;
        List<Tensor> own = inputs.stream().map(input -> input.narrow(0, from, size)).toList();
        parts.add(new Part(first, size, recorded(() -> logits(run(forward, own), size))));
      }
      return parts;
    } catch (RuntimeException | Error e) {
      parts.forEach(Part::close);
      throw e;
    }
  }

  private IValue run(GraphFunction function, List<Tensor> inputs) {
    return module.run(function, inputs, List.of());
  }

  private static <T> T recorded(Supplier<T> body) {
    GradMode.set_enabled(true);
    try {
      return body.get();
    } finally {
      GradMode.set_enabled(false);
    }
  }

  /** Finds the logits in forward's output and checks them. */
  private Tensor logits(IValue output, int examples) {
    IValue found = element(output);
    if (!found.isTensor()) {
      throw notLogits("is " + found.tagKind().getString() + ", not a tensor");
    }
    Tensor logits = new Tensor(found.toTensor());
    if (logits.scalar_type().intern() != torch.ScalarType.Float
        || logits.dim() != 2
        || logits.size(0) != examples
        || logits.size(1) < 2) {
      throw notLogits(
          "is "
              + logits.scalar_type().intern()
              + Arrays.toString(logits.sizes().vec().get())
              + " for "
              + examples
              + (examples == 1 ? " example" : " examples")
              + "; expected Float[examples, classes]");
    }
    return logits;
  }

  private InputException notLogits(String what) {
    return new InputException(
        module.origin()
            + ": "
            + (logitsKey == null ? "forward's output " : "forward's output " + logitsKey + " ")
            + what
            + "; --logits says where in the output the logits are");
  }

  private IValue element(IValue output) {
    if (output.isTuple() || output.isList()) {
      List<IValue> elements = elements(output);
      int index = logitsKey == null ? 0 : index(logitsKey);
      if (index < 0 || index >= elements.size()) {
        throw new InputException(
            "--logits "
                + logitsKey
                + ": the module returns "
                + elements.size()
                + " values; expected an index from 0 to "
                + (elements.size() - 1));
      }
      return elements.get(index);
    }
    if (output.isGenericDict()) {
      IValue key = new IValue(logitsKey == null ? "logits" : logitsKey);
      if (!output.toGenericDict().contains(key)) {
        throw new InputException(
            (logitsKey == null ? "--logits is missing" : "--logits " + logitsKey)
                + ": the module returns a dict with the keys "
                + keys(output));
      }
      return output.toGenericDict().at(key);
    }
    if (logitsKey != null) {
      throw new InputException(
          "--logits "
              + logitsKey
              + ": the module returns one "
              + output.tagKind().getString()
              + "; leave the option out");
    }
    return output;
  }

  private static int index(String text) {
    try {
      return Integer.parseInt(text);
    } catch (NumberFormatException e) {
      return -1;
    }
  }

  private static List<IValue> elements(IValue output) {
    List<IValue> elements = new ArrayList<>();
    if (output.isTuple()) {
      TupleElements tuple = output.toTuple().elements();
      for (long i = 0; i < tuple.size(); i++) {
        elements.add(tuple.get(i));
      }
    } else if (output.isTensorList()) {
      TensorVector list = output.toTensorVector();
      for (long i = 0; i < list.size(); i++) {
        elements.add(new IValue(list.get(i)));
      }
    }
    return elements;
  }

  private static String keys(IValue dict) {
    List<String> keys = new ArrayList<>();
    var entries = dict.toGenericDict();
    for (var it = entries.begin(); it.notEquals(entries.end()); it.increment()) {
      IValue key = it.access().key();
      keys.add(key.isString() ? key.toConstantString().toString() : key.tagKind().getString());
    }
    return String.join(", ", keys);
  }

  /** Gradients of the logits, weighted by a cotangent; undefined where there is no path. */
  private static TensorVector gradients(
      Tensor logits, TensorVector inputs, Tensor cotangent, boolean retain) {
    return torch.grad(
        new TensorVector(logits),
        inputs,
        new TensorVector(cotangent),
        new BoolOptional(retain),
        false,
        true);
  }

  /** The recorded forward pass of some examples of a batch, run as a batch of their own. */
  private static final class Part implements AutoCloseable {
    final int first;
    final int count;
    final Tensor logits;

    Part(int first, int count, Tensor logits) {
      this.first = first;
      this.count = count;
      this.logits = Tensors.retain(logits);
    }

    @Override
    public void close() {
      logits.close();
    }
  }

  /** A recorded run of the hooked function over a batch. */
  private final class Run implements AutoCloseable {
    final int examples;
    final Tensor logits;
    private final List<IValue> values = new ArrayList<>();
    private final List<Tensor> outputs = new ArrayList<>(); // of copied parameters
    private final List<Pointer> kept = new ArrayList<>();

    Run(ScriptHooks hooks, List<Tensor> inputs, int examples) {
      this.examples = examples;
      List<Tensor> further = new ArrayList<>();
      if (hooks.spreads()) {
        further.add(torch.zeros(new long[] {examples, 1, 1}));
      }
      for (Parameter parameter : hooks.copied()) {
        long[] shape = parameter.tensor().sizes().vec().get();
        shape[0] = examples;
        Tensor copies = parameter.tensor().detach().expand(shape);
        copies.set_requires_grad(true);
        outputs.add(keep(copies));
      }
      further.addAll(outputs);
      try (PointerScope scope = new PointerScope()) {
        IValue result = recorded(() -> module.run(hooks.function(), inputs, further));
        TupleElements elements = result.toTuple().elements();
        for (long i = 0; i < elements.size(); i++) {
          values.add(keep(new IValue(elements.get(i))));
        }
        this.logits = keep(ScriptClassifier.this.logits(values.getFirst(), examples));
      } catch (RuntimeException | Error e) {
        close();
        throw e;
      }
    }

    private <P extends Pointer> P keep(P pointer) {
      pointer.retainReference();
      kept.add(pointer);
      return pointer;
    }

    Tensor output(Hook hook) {
      return hook.ofCopies()
          ? outputs.get(hook.output())
          : new Tensor(values.get(hook.output()).toTensor());
    }

    long outputBytes() {
      return hooks == null
          ? 0
          : hooks.hooks().stream().mapToLong(hook -> output(hook).numel() * Float.BYTES).sum();
    }

    /** Pulls cotangents [V, B, K] back to the outputs of {@code hooks} and shows them. */
    void backward(List<Hook> hooks, Tensor cotangents, LayerVisitor visitor, boolean retain) {
      List<@Nullable Call> calls = calls(hooks, cotangents, retain);
      for (int i = 0; i < calls.size(); i++) {
        Call call = calls.get(i);
        if (call != null) {
          hooks.get(i).layer().accumulate(call, visitor);
        }
      }
    }

    /** What each hook's operator saw; null where no cotangent reaches it. */
    List<@Nullable Call> calls(List<Hook> hooks, Tensor cotangents, boolean retain) {
      TensorVector outputs = new TensorVector();
      hooks.forEach(hook -> outputs.push_back(output(hook)));
      List<TensorVector> stacks = new ArrayList<>();
      hooks.forEach(hook -> stacks.add(new TensorVector()));
      long probes = cotangents.size(0);
      for (long v = 0; v < probes; v++) {
        TensorVector gradients =
            gradients(logits, outputs, cotangents.select(0, v), retain || v < probes - 1);
        for (int i = 0; i < stacks.size(); i++) {
          Tensor gradient = gradients.get(i);
          if (gradient.defined()) {
            stacks.get(i).push_back(new Tensor(gradient));
          }
        }
      }
      List<@Nullable Call> calls = new ArrayList<>();
      for (int i = 0; i < stacks.size(); i++) {
        Hook hook = hooks.get(i);
        calls.add(stacks.get(i).empty() ? null : call(hook, torch.stack(stacks.get(i), 0)));
      }
      return calls;
    }

    private Call call(Hook hook, Tensor cotangent) {
      @Nullable IValue[] arguments = new @Nullable IValue[hook.arguments().length];
      for (int i = 0; i < arguments.length; i++) {
        int at = hook.arguments()[i];
        arguments[i] = at < 0 ? null : values.get(at);
      }
      return new Call(
          examples,
          arguments,
          cotangent,
          layouts.getOrDefault(hook.operator(), Layout.EXAMPLES_FIRST));
    }

    @Override
    public void close() {
      kept.forEach(Pointer::close);
      kept.clear();
    }
  }

  private final class Pass extends ForwardPass {
    private final @Nullable Run run;
    private final List<Part> parts;

    Pass(float[] logits, int examples, @Nullable Run run, List<Part> parts) {
      super(logits, examples);
      this.run = run;
      this.parts = parts;
    }

    @Override
    public long bytesPerProbe() {
      // A cotangent and its place in the stack of all probes' for each hook.
      return Math.max(1, run == null ? 0 : 2 * run.outputBytes());
    }

    @Override
    public boolean takesSomeExamples() {
      return false; // autograd goes through the whole batch
    }

    @Override
    public void backward(
        Tensor logitCotangents, @Nullable Tensor examples, LayerVisitor visitor, boolean last) {
      LibTorch.initialize();
      try (PointerScope scope = new PointerScope()) {
        if (run != null) {
          run.backward(provenHooks, logitCotangents, visitor, !last);
        }
        TensorVector parameters = new TensorVector();
        List<Parameter> slow = run == null ? wanted : List.copyOf(slowReasons.keySet());
        slow.forEach(parameter -> parameters.push_back(parameter.tensor()));
        for (Part part : parts) {
          for (long v = 0; v < logitCotangents.size(0); v++) {
            boolean retain = !last || v < logitCotangents.size(0) - 1;
            backward(part, v, logitCotangents, parameters, slow, visitor, retain);
          }
        }
      }
    }

    private void backward(
        Part part,
        long probe,
        Tensor logitCotangents,
        TensorVector parameters,
        List<Parameter> slow,
        LayerVisitor visitor,
        boolean retain) {
      try (PointerScope scope = new PointerScope()) {
        Tensor cotangent = logitCotangents.select(0, probe).narrow(0, part.first, part.count);
        if (!part.logits.requires_grad() || isZero(Tensors.segment(cotangent))) {
          return;
        }
        TensorVector gradients = gradients(part.logits, parameters, cotangent, retain);
        for (int i = 0; i < slow.size(); i++) {
          Tensor gradient = gradients.get(i);
          if (gradient.defined()) {
            Tensor dense = gradient.is_sparse() ? gradient.to_dense() : gradient;
            visitor.visit(
                new LayerVisit.Gradient(
                    slow.get(i).group(), dense.contiguous(), probe * examples() + part.first));
          }
        }
      }
    }

    @Override
    public void close() {
      if (run != null) {
        run.close();
      }
      parts.forEach(Part::close);
    }
  }
}
