package org.fishermerge.torch;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.IntFunction;
import java.util.function.LongSupplier;
import java.util.function.LongUnaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.checkpoint.StatisticLayout;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.checkpoint.SumsOfSquares;
import org.fishermerge.checkpoint.Traces;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.kernels.ValueStatistics;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.objective.BatchExamples;
import org.fishermerge.torch.objective.Logits;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.objective.Probes;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.NativeHeap;
import org.fishermerge.torch.runtime.Tensors;
import org.fishermerge.torch.statistic.DiagonalFisher;
import org.fishermerge.torch.statistic.GramMatrices;
import org.fishermerge.torch.statistic.KroneckerFactors;
import org.fishermerge.torch.statistic.LinearLayers;
import org.fishermerge.torch.statistic.Statistic;
import org.fishermerge.torch.statistic.Statistics;
import org.jspecify.annotations.Nullable;

/**
 * Accumulates statistics of a classifier, batch by batch: the diagonal Fisher information of every
 * parameter, {@code F = sum over examples x of E_y (d log p(y|x) / d theta)^2} with the square
 * taken per example, the Kronecker factors or the Gram matrices of its linear layers, or several of
 * them.
 *
 * <p>Each batch runs forward once; unless Gram matrices are all that is estimated, the objective
 * gives V cotangents of every example's logits, which are pulled back together. The result does not
 * depend on how examples are cut into batches, except for batch squares, whose definition does.
 *
 * <p>Borrows classifier and kernels. Not thread-safe.
 */
public final class FisherEstimator implements AutoCloseable {
  // Cotangents of probes are pulled back in groups whose largest activation stays under this.
  private static final long PROBE_BYTES = 64L << 20;
  private static final int MAX_PROBES = 1024;

  private static final String ERROR_STATE = "sampling error";

  private final Classifier classifier;
  private final Objective objective;
  private final long seed;
  private final Kernels kernels;
  private final Set<StatisticKind> kinds;
  private final LinearLayers layers;
  private final Optional<GramMatrices> grams;
  private final Statistic sums;
  private @Nullable SamplingError error;
  private LongUnaryOperator rowOf = LongUnaryOperator.identity();
  private long examples;
  private long probes;
  private boolean finished;
  private long first;

  /**
   * @param seed of labels that are drawn; estimators that draw none ignore it
   * @param kernels run the accumulation; one estimator at a time
   */
  public FisherEstimator(Classifier classifier, Objective objective, long seed, Kernels kernels) {
    this(
        classifier,
        objective,
        seed,
        kernels,
        Set.of(StatisticKind.DIAGONAL_FISHER),
        LinearLayers.NONE);
  }

  /**
   * The same of chosen statistics.
   *
   * @param layers of which factors are estimated, see {@link #linearLayers}; for the diagonal alone
   *     {@link LinearLayers#NONE}
   * @throws IllegalArgumentException if Kronecker factors are asked for with a rule that squares
   *     batches, which has none
   */
  public FisherEstimator(
      Classifier classifier,
      Objective objective,
      long seed,
      Kernels kernels,
      Set<StatisticKind> kinds,
      LinearLayers layers) {
    this.classifier = classifier;
    this.objective = objective;
    this.seed = seed;
    this.kernels = kernels;
    this.kinds = EnumSet.copyOf(kinds);
    this.layers = layers;
    List<Statistic> all = new ArrayList<>();
    boolean ofBatches = objective.squaresBatches();
    if (kinds.contains(StatisticKind.DIAGONAL_FISHER)) {
      all.add(
          new DiagonalFisher(
              kernels,
              ofBatches ? DiagonalFisher.Squares.PER_BATCH : DiagonalFisher.Squares.PER_EXAMPLE,
              classifier.parameterGroups()));
    }
    this.grams =
        kinds.contains(StatisticKind.GRAM)
            ? Optional.of(new GramMatrices(layers))
            : Optional.empty();
    grams.ifPresent(all::add);
    if (kinds.contains(StatisticKind.KRONECKER)) {
      if (ofBatches) {
        throw new IllegalArgumentException("Kronecker factors are sums over examples");
      }
      all.add(new KroneckerFactors(layers));
    }
    this.sums = all.size() == 1 ? all.getFirst() : new Statistics(all);
  }

  /**
   * The linear layers that a classifier's factors are of, found by running an example.
   *
   * @param kinds what is estimated; where that has no factors nothing runs
   */
  public static LinearLayers linearLayers(
      Classifier classifier, Set<StatisticKind> kinds, ForwardPass.Source example) {
    if (kinds.stream().allMatch(kind -> kind.factors().isEmpty())) {
      return LinearLayers.NONE;
    }
    return LinearLayers.shown(
        classifier.parameterGroups(),
        visitor -> example.forward(new ForwardPass.Wanted(false, visitor)).close());
  }

  /** Memory that sums take, before they are made. */
  public static long bytes(Classifier classifier, Set<StatisticKind> kinds, LinearLayers layers) {
    return kinds.stream()
        .mapToLong(kind -> kind.factors().isEmpty() ? weightBytes(classifier) : layers.bytes(kind))
        .sum();
  }

  /** Bytes of the tensors that {@link #write} writes. */
  public static long fileBytes(
      Classifier classifier, Set<StatisticKind> kinds, LinearLayers layers) {
    long bytes = 0;
    for (StatisticKind kind : kinds) {
      if (kind.factors().isEmpty()) {
        bytes += weightBytes(classifier);
      }
      for (LayerFactor factor : kind.factors()) {
        for (LinearLayer layer : layers.shapes().values()) {
          bytes += factor.storedValues(layer) * Float.BYTES;
        }
      }
    }
    return bytes;
  }

  /** Memory of the weights that are studied, in fp32. */
  public static long weightBytes(Classifier classifier) {
    return classifier.parameterGroups().stream()
        .mapToLong(group -> group.elementCount() * Float.BYTES)
        .sum();
  }

  /** Memory of the model's own weights. */
  public long weightBytes() {
    return weightBytes(classifier);
  }

  private ForwardPass.Wanted wanted() {
    return new ForwardPass.Wanted(sums.takesGradients(), sums.takesInputs() ? sums : null);
  }

  /**
   * Measures the memory of a batch by running small ones, which add nothing to the sums: forwards,
   * and back with probes of zeros where there are backward passes.
   *
   * @param forward gives a batch of that many examples
   * @param examples to measure with: 1 for batches of one, which more would overstate; else 2, or
   *     some more on a GPU, whose memory is handed out in pieces of up to 20 MB
   * @return empty where the C library does not say how much it has handed out
   */
  public Optional<BatchMemory> measure(IntFunction<ForwardPass.Source> forward, int examples) {
    if (kernels.gpuFreeBytes().isPresent()) {
      return Optional.of(measureOnGpu(forward, examples));
    }
    if (NativeHeap.used().isEmpty()) {
      return Optional.empty();
    }
    int classes = classifier.classCount();
    int probes = mostProbes();
    // The JVM's compilers allocate from the same heap now and then; the median leaves that out.
    int[] sizes = {1, examples, examples};
    // A pair is one probe of one example. Runs with one pair and with several show how the kernels'
    // workspace grows with each pair.
    int together = examples == 1 ? Math.min(2, probes) : 1;
    int[] probesBack = {1, together, together};
    long[] perExample = new long[sizes.length];
    long[] perPair = new long[sizes.length];
    long[] workspace = new long[sizes.length];
    long pairsTogether = 0;
    for (int i = 0; i < sizes.length; i++) {
      long before = NativeHeap.used().orElseThrow();
      // The last backward pass of an example frees its activations while it runs, as here.
      int pairs = sizes[i] * probesBack[i];
      Trial trial =
          trial(
              forward.apply(sizes[i]),
              probesBack[i],
              probes == 1,
              () -> NativeHeap.used().orElseThrow());
      perExample[i] = (trial.saved - before) / sizes[i];
      perPair[i] = (trial.peak - trial.saved) / pairs;
      workspace[i] = sums.workspaceBytes();
      pairsTogether = trial.pairsTogether;
    }
    LibTorch.releaseMemory();
    long cotangents = cotangentBytes(probes, classes);
    long workspacePerPair = (workspace[1] - workspace[0]) / Math.max(1, examples * together - 1);
    return Optional.of(
        new BatchMemory(
            median(perExample) + cotangents,
            median(perPair) + workspacePerPair,
            probes,
            pairsTogether));
  }

  /**
   * What a trial found, in bytes.
   *
   * @param saved in use after the forward pass
   * @param after in use after the backward pass, while the forward pass is kept
   * @param peak the most that malloc had handed out at any layer, forwards or back
   */
  private record Trial(long saved, long after, long peak, long pairsTogether) {}

  /**
   * Runs a batch forward, and back with probes of zeros where there are backward passes, without
   * adding anything.
   *
   * @param used bytes in use where the model is
   */
  private Trial trial(ForwardPass.Source batch, int probesBack, boolean last, LongSupplier used) {
    long[] found = new long[3];
    long peak =
        sums.trial(() -> {
          try (ForwardPass pass = batch.forward(wanted());
              PointerScope scope = new PointerScope()) {
            found[0] = used.getAsLong();
            if (sums.takesGradients()) {
              int classes = classifier.classCount();
              int pairs = probesBack * pass.examples();
              Tensor zeros =
                  Tensors.copyOf(new float[pairs * classes], probesBack, pass.examples(), classes);
              pass.backward(zeros, null, sums, last);
            }
            found[1] = used.getAsLong();
            found[2] = pairsTogether(pass);
          }
        });
    return new Trial(found[0], found[1], peak, found[2]);
  }

  /** The most probes that an example is pulled back with; the way forward alone counts as one. */
  private int mostProbes() {
    return sums.takesGradients() ? objective.mostProbes(classifier.classCount()) : 1;
  }

  /**
   * libtorch keeps GPU memory once allocated until it is released, so what it holds is the peak.
   */
  private BatchMemory measureOnGpu(IntFunction<ForwardPass.Source> forward, int examples) {
    int classes = classifier.classCount();
    int probes = mostProbes();
    long saved = 0;
    long back = 0;
    long pairsTogether = 0;
    // In the first run the driver loads kernels and libraries allocate workspaces that they keep.
    for (int run = 0; run < 2; run++) {
      LibTorch.releaseMemory();
      long before = kernels.gpuFreeBytes().orElseThrow();
      Trial trial =
          trial(
              forward.apply(examples), 1, probes == 1, () -> -kernels.gpuFreeBytes().orElseThrow());
      saved = before + trial.saved;
      back = trial.after - trial.saved;
      pairsTogether = trial.pairsTogether;
    }
    LibTorch.releaseMemory();
    return new BatchMemory(
        Math.max(0, Math.ceilDiv(saved, examples)) + cotangentBytes(probes, classes),
        Math.max(0, Math.ceilDiv(back + sums.workspaceBytes(), examples)),
        probes,
        pairsTogether);
  }

  /** Of one example's cotangents, by rank and by class. */
  private static long cotangentBytes(int probes, int classes) {
    return 2L * probes * classes * Double.BYTES;
  }

  private static long pairsTogether(ForwardPass pass) {
    return PROBE_BYTES * pass.examples() / Math.max(1, pass.bytesPerProbe());
  }

  private static long median(long[] values) {
    Arrays.sort(values);
    return Math.max(0, values[values.length / 2]);
  }

  /**
   * How errors name an example: what {@code rowOf} makes of its position in the run, by default
   * that position itself. What an example draws depends on its position alone.
   */
  public void nameExamples(LongUnaryOperator rowOf) {
    this.rowOf = rowOf;
  }

  /**
   * Makes the next example the one at a position of the run, whose earlier ones are summed up
   * elsewhere: what it draws is what it draws in the whole run.
   *
   * @throws IllegalStateException if examples were added already
   */
  public void beginAt(long position) {
    if (examples > 0) {
      throw new IllegalStateException("begun already");
    }
    first = position;
  }

  /**
   * From now on the error that comes from the choice of examples is estimated, see {@link
   * SamplingError}. Of batch squares there is none.
   *
   * @throws IllegalStateException if examples were added already
   */
  public void trackSamplingError() {
    if (examples > 0 || finished) {
      throw new IllegalStateException("begun already");
    }
    if (!objective.squaresBatches() && error == null) {
      error = new SamplingError(sums.byName());
    }
  }

  /**
   * The relative standard error of what is summed up, at the end of the last block, or at the end
   * of the run once that is finished; empty unless it is tracked and there are two blocks.
   */
  public OptionalDouble samplingError() {
    return error == null ? OptionalDouble.empty() : error.relative();
  }

  /**
   * The sums so far, without the objective's weight, by canonical parameter name, fp32; valid until
   * this estimator is closed.
   */
  public Map<String, MemorySegment> sums() {
    return sums.byName();
  }

  /**
   * What the sums are of: the layers by the canonical names of their weights, with the tokens so
   * far.
   */
  public StatisticLayout layout() {
    Map<String, Long> tokens = grams.map(GramMatrices::tokens).orElse(Map.of());
    Map<String, LinearLayer> counted = new LinkedHashMap<>();
    layers
        .shapes()
        .forEach((weight, layer) ->
            counted.put(weight, layer.withTokens(tokens.getOrDefault(weight, 0L))));
    return new StatisticLayout(kinds, counted);
  }

  private void restoreTokens(StatisticLayout layout) {
    Map<String, Long> tokens = new LinkedHashMap<>();
    layout.layers().forEach((weight, layer) -> tokens.put(weight, layer.tokens()));
    grams.ifPresent(of -> of.setTokens(tokens));
  }

  /**
   * Takes sums that were computed apart.
   *
   * @param computed by the names of {@link #sums}, of the same sizes
   * @param layout as {@link #layout} gave it for them
   * @param examples and probes that are in them
   * @throws IllegalStateException if examples were added already
   * @throws InputException if names or sizes differ
   */
  public void restore(
      Map<String, MemorySegment> computed, StatisticLayout layout, long examples, long probes) {
    if (this.examples > 0 || finished) {
      throw new IllegalStateException("begun already");
    }
    Map<String, MemorySegment> into = sums.byName();
    if (!into.keySet().equals(computed.keySet())) {
      throw new InputException("the sums are those of another model");
    }
    computed.forEach((name, sum) -> {
      MemorySegment own = Objects.requireNonNull(into.get(name));
      if (own.byteSize() != sum.byteSize()) {
        throw new InputException("the sums are those of another model: " + name);
      }
      own.copyFrom(sum);
    });
    sums.store();
    restoreTokens(layout);
    this.examples = examples;
    this.probes = probes;
  }

  /** Memory of the sums. */
  public long bytes() {
    return sums.bytes();
  }

  /** Memory that the GPU has left on which this runs; empty on the CPU. */
  public OptionalLong gpuFreeBytes() {
    return kernels.gpuFreeBytes();
  }

  /** Examples accumulated so far. */
  public long examples() {
    return examples;
  }

  /** Backward passes taken so far, counted per example. */
  public long probes() {
    return probes;
  }

  /**
   * Runs one batch and accumulates it.
   *
   * @param batch of the classifier given to the constructor
   * @param trueLabels the examples' own labels [B]; may be null unless the objective needs them
   * @throws InputException if a logit is not finite or a needed label is missing or out of range;
   *     names the example by its position in the run
   */
  public void add(ForwardPass.Source batch, long @Nullable [] trueLabels) {
    requireNeededLabels(trueLabels);
    try (ForwardPass pass = batch.forward(wanted())) {
      accumulate(pass, trueLabels);
    }
  }

  /**
   * The same of a batch that has run, for estimates that take nothing but backward passes.
   *
   * @param pass used up; the caller closes it
   * @throws IllegalStateException if the inputs of layers were to be shown while it ran
   */
  public void add(ForwardPass pass, long @Nullable [] trueLabels) {
    if (sums.takesInputs()) {
      throw new IllegalStateException("the pass has shown no inputs");
    }
    requireNeededLabels(trueLabels);
    accumulate(pass, trueLabels);
  }

  private void requireNeededLabels(long @Nullable [] trueLabels) {
    if (objective.needsLabels() && trueLabels == null) {
      throw new InputException(
          "labels \"" + objective.text() + "\" needs labelled data, and this data has no labels");
    }
  }

  private void accumulate(ForwardPass pass, long @Nullable [] trueLabels) {
    long begin = first + examples;
    Logits.requireFinite(pass.logits(), b -> rowOf.applyAsLong(begin + b));
    if (sums.takesGradients()) {
      try (PointerScope scope = new PointerScope()) {
        pullBack(probes(pass, trueLabels), pass);
      }
    }
    examples += pass.examples();
    if (error != null && examples >= SamplingError.blockEnd(error.examples())) {
      error.endBlock(examples, sums.byName());
    }
  }

  private Probes probes(ForwardPass pass, long @Nullable [] trueLabels) {
    long begin = first + examples;
    if (objective.needsLabels() && trueLabels != null) {
      for (int b = 0; b < trueLabels.length; b++) {
        Logits.requireLabel(trueLabels[b], classifier.classCount(), rowOf.applyAsLong(begin + b));
      }
    }
    Probes found =
        objective.probes(
            pass.logits(), BatchExamples.from(seed, begin, pass.examples(), trueLabels));
    probes += Arrays.stream(found.counts()).asLongStream().sum();
    return found;
  }

  /** Probes [first, end) of some examples, of which each has its own number. */
  private record ProbeGroup(int first, int end, int[] examples) {}

  /**
   * Cuts the probes of a batch into groups that go back together: as many as memory allows, and no
   * further than three quarters of a group's examples need.
   *
   * @param allInputs whether the first group must have all examples, also those without probes
   */
  private static List<ProbeGroup> groups(int[] counts, ForwardPass pass, boolean allInputs) {
    List<ProbeGroup> groups = new ArrayList<>();
    int[] all = IntStream.range(0, pass.examples()).toArray();
    int[] active = withMoreThan(0, counts);
    for (int first = 0; active.length > 0 || (allInputs && first == 0); ) {
      boolean whole = !pass.takesSomeExamples() || (allInputs && first == 0);
      int[] taken = whole ? all : active;
      long bytes = Math.max(1, pass.bytesPerProbe() * taken.length / pass.examples());
      int atOnce = Math.toIntExact(Math.clamp(PROBE_BYTES / bytes, 1, MAX_PROBES));
      int end = first + 1;
      while (end - first < atOnce
          && active.length > 0
          && 4 * withMoreThan(end, counts).length >= 3 * active.length) {
        end++;
      }
      groups.add(new ProbeGroup(first, end, taken));
      first = end;
      active = withMoreThan(first, counts);
    }
    return groups;
  }

  private static int[] withMoreThan(int probes, int[] counts) {
    return IntStream.range(0, counts.length).filter(b -> counts[b] > probes).toArray();
  }

  private void pullBack(Probes found, ForwardPass pass) {
    List<ProbeGroup> groups = groups(found.counts(), pass, sums.needsAllInputs());
    for (int g = 0; g < groups.size(); g++) {
      ProbeGroup group = groups.get(g);
      try (PointerScope scope = new PointerScope()) {
        Tensor some =
            group.examples.length == pass.examples() ? null : Tensors.copyOf(group.examples);
        Probes.Group together = found.group(group.first, group.end, some);
        sums.begin(new Statistic.Pass(together.weights(), g == 0, pass.realTokens()));
        pass.backward(together.cotangents(), some, sums, g == groups.size() - 1);
        sums.end();
      }
    }
  }

  /**
   * Saves what was summed up so far.
   *
   * @param run names all that the estimate depends on
   * @param batch the batch size
   */
  public void save(Path file, String run, int batch) {
    if (finished) {
      throw new IllegalStateException("finished already");
    }
    new FisherProgress(run, batch, examples, probes, layout()).write(file, state());
  }

  /** All that a run goes on from. */
  private Map<String, MemorySegment> state() {
    Map<String, MemorySegment> state = new LinkedHashMap<>(sums.byName());
    if (error != null) {
      state.put(ERROR_STATE, error.state());
    }
    return state;
  }

  /**
   * Goes on from what was saved: the next batch is the one after.
   *
   * @param progress as read from the file
   * @return false, with nothing changed, if the file is damaged or that of another model
   * @throws IllegalStateException if examples were added already
   */
  public boolean resume(Path file, FisherProgress progress) {
    if (examples > 0 || finished) {
      throw new IllegalStateException("begun already");
    }
    if (!progress.layout().hasShapeOf(layout()) || !progress.load(file, state())) {
      return false;
    }
    sums.store();
    restoreTokens(progress.layout());
    examples = progress.examples();
    probes = progress.probes();
    return true;
  }

  /**
   * Ends the run: applies the objective's weight and returns the sums over examples by canonical
   * parameter name, fp32, valid until this estimator is closed.
   *
   * @throws InputException if no example was added
   */
  public Map<String, MemorySegment> finish() {
    if (examples == 0) {
      throw new InputException("no examples: a Fisher information needs at least one");
    }
    if (!finished && error != null && examples > error.examples()) {
      error.endBlock(examples, sums.byName());
    }
    if (!finished && objective.weight() != 1) {
      sums.scale(objective.weight());
    }
    finished = true;
    return sums.byName();
  }

  /**
   * Writes the finished sums as a statistic file whose tensors are named as {@code model} names
   * them.
   *
   * @param file a new file; the caller makes it appear under its final name
   */
  public void write(Path file, Checkpoint model, StatisticMetadata metadata) {
    Map<String, MemorySegment> byName = finish();
    List<Written> tensors = new ArrayList<>();
    byName.forEach((name, sum) -> {
      if (model.has(name)) {
        CheckpointTensor stored = model.tensor(name);
        tensors.add(Written.values(stored.info().name(), stored.info().shape(), sum));
      }
    });
    Map<String, LinearLayer> stored = new LinkedHashMap<>();
    Map<String, Double> traces = new LinkedHashMap<>();
    layout()
        .layers()
        .forEach((weight, layer) -> {
          String name = model.tensor(weight).info().name();
          stored.put(name, layer);
          for (LayerFactor factor : factors()) {
            String tensor = factor.tensorName(name);
            long n = factor.size(layer);
            MemorySegment sum = Objects.requireNonNull(byName.get(factor.tensorName(weight)));
            tensors.add(Written.triangle(tensor, n, sum));
            if (StatisticKind.KRONECKER.factors().contains(factor)) {
              traces.put(tensor, trace(sum, n));
            }
          }
        });
    write(file, tensors, metadata, new StatisticLayout(kinds, stored), traces);
  }

  /**
   * Writes the finished sums as a Fisher file whose tensors are named as a module names them; a
   * parameter with several names is there under each.
   *
   * @param file a new file; the caller makes it appear under its final name
   * @param source the checkpoint that the module was made from, whose names alone are written; null
   *     for all names
   */
  public void write(
      Path file, ScriptClassifier model, @Nullable Checkpoint source, StatisticMetadata metadata) {
    Map<String, MemorySegment> byName = finish();
    List<Written> tensors = new ArrayList<>();
    for (ParameterGroup group : model.parameterGroups()) {
      ParameterGroup.Member parameter = group.parameters().getFirst();
      List<String> names = source == null ? model.namesOf(group) : model.namesIn(source, group);
      for (String name : names) {
        MemorySegment sum = Objects.requireNonNull(byName.get(parameter.name()));
        tensors.add(Written.values(name, parameter.shape(), sum));
      }
    }
    write(file, tensors, metadata, StatisticLayout.DIAGONAL, Map.of());
  }

  /**
   * A tensor of the file.
   *
   * @param rows of the matrix whose lower triangle is written, row by row; 0 if all values are
   * @param sum in the process's memory
   */
  private record Written(SafetensorsWriter.Declared declared, long rows, MemorySegment sum) {
    static Written values(String name, List<Long> shape, MemorySegment sum) {
      return new Written(new SafetensorsWriter.Declared(name, DType.F32, shape), 0, sum);
    }

    static Written triangle(String name, long n, MemorySegment matrix) {
      return new Written(
          new SafetensorsWriter.Declared(name, DType.F32, List.of(LayerFactor.triangle(n))),
          n,
          matrix);
    }

    void to(MemorySegment file) {
      if (rows == 0) {
        file.copyFrom(sum);
        return;
      }
      long to = 0;
      for (long row = 0; row < rows; row++) {
        long bytes = (row + 1) * Float.BYTES;
        MemorySegment.copy(sum, row * rows * Float.BYTES, file, to, bytes);
        to += bytes;
      }
    }
  }

  private List<LayerFactor> factors() {
    return kinds.stream().flatMap(kind -> kind.factors().stream()).toList();
  }

  /** Of a matrix [n, n], summed as {@link Traces#of} sums that of the stored triangle. */
  private static double trace(MemorySegment matrix, long n) {
    double trace = 0;
    for (long k = 0; k < n; k++) {
      trace += matrix.getAtIndex(ValueLayout.JAVA_FLOAT, k * (n + 1));
    }
    return trace;
  }

  private void write(
      Path file,
      List<Written> tensors,
      StatisticMetadata metadata,
      StatisticLayout layout,
      Map<String, Double> traces) {
    Map<String, String> entries = new LinkedHashMap<>(metadata.toMap(layout));
    if (layout.kinds().contains(StatisticKind.DIAGONAL_FISHER)) {
      Map<String, Double> squares = new LinkedHashMap<>();
      for (Written tensor : tensors) {
        if (tensor.rows == 0) {
          TypedValues values = new TypedValues(tensor.sum, ElementType.F32);
          squares.put(
              tensor.declared.name(), ValueStatistics.ofTensor(kernels, values, 0).sumOfSquares());
        }
      }
      entries.put(SumsOfSquares.KEY, SumsOfSquares.text(squares));
    }
    if (!traces.isEmpty()) {
      entries.put(Traces.KEY, Traces.text(traces));
    }
    try (SafetensorsWriter writer =
        SafetensorsWriter.create(file, tensors.stream().map(Written::declared).toList(), entries)) {
      for (Written tensor : tensors) {
        tensor.to(writer.segment(tensor.declared.name()));
      }
      writer.finish();
    }
  }

  @Override
  public void close() {
    if (error != null) {
      error.close();
    }
    sums.close();
  }
}
