package org.fishermerge.torch;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.IntFunction;
import java.util.function.LongUnaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.SumsOfSquares;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.kernels.ValueStatistics;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.NativeHeap;
import org.fishermerge.torch.runtime.Tensors;
import org.fishermerge.torch.statistic.DiagonalFisher;
import org.fishermerge.torch.statistic.Statistic;
import org.jspecify.annotations.Nullable;

/**
 * Accumulates the diagonal Fisher information of every parameter of a classifier, batch by batch:
 * {@code F = sum over examples x of E_y (d log p(y|x) / d theta)^2}, the square taken per example.
 *
 * <p>Each batch runs forward once; the label expectation gives V cotangents of every example's
 * logits, which are pulled back together. The result does not depend on how examples are cut into
 * batches, except for {@link LabelExpectation.BatchSquare}, whose definition does.
 *
 * <p>Borrows classifier and kernels. Not thread-safe.
 */
public final class FisherEstimator implements AutoCloseable {
  // Cotangents of probes are pulled back in groups whose largest activation stays under this.
  private static final long PROBE_BYTES = 64L << 20;
  // Columns of an exact factor whose squared norm is below this share of the example's trace are
  // dropped: they lie under the rounding of the fp32 sum that they would join.
  private static final double NEGLIGIBLE = 0x1p-40;
  private static final int MAX_PROBES = 1024;
  private static final int MAX_SCALE_EXPONENT = 60;

  private final Classifier classifier;
  private final LabelExpectation labels;
  private final long seed;
  private final Kernels kernels;
  private final Statistic sums;
  private LongUnaryOperator rowOf = LongUnaryOperator.identity();
  private long examples;
  private long probes;
  private boolean finished;
  private long first;

  /**
   * @param seed of labels that are drawn; estimators that draw none ignore it
   * @param kernels run the accumulation; one estimator at a time
   */
  public FisherEstimator(
      Classifier classifier, LabelExpectation labels, long seed, Kernels kernels) {
    this.classifier = classifier;
    this.labels = labels;
    this.seed = seed;
    this.kernels = kernels;
    this.sums =
        new DiagonalFisher(
            kernels,
            labels.squaresBatches()
                ? DiagonalFisher.Squares.PER_BATCH
                : DiagonalFisher.Squares.PER_EXAMPLE,
            classifier.parameterGroups());
  }

  /**
   * Measures the memory of a batch by running small ones: forwards, and back with probes of zeros,
   * which add nothing to the sums.
   *
   * @param forward runs a batch of that many examples; its passes are closed here
   * @param examples to measure with: 1 for batches of one, which more would overstate; else 2, or
   *     some more on a GPU, whose memory is handed out in pieces of up to 20 MB
   * @return empty where the C library does not say how much it has handed out
   */
  public Optional<BatchMemory> measure(IntFunction<ForwardPass> forward, int examples) {
    if (kernels.gpuFreeBytes().isPresent()) {
      return Optional.of(measureOnGpu(forward, examples));
    }
    if (NativeHeap.used().isEmpty()) {
      return Optional.empty();
    }
    int classes = classifier.classCount();
    int probes = labels.probes(classes);
    // The JVM's compilers use the same heap, now and then: the median is free of them.
    int[] sizes = {1, examples, examples};
    // With a second pair the kernels' workspace is seen to grow: of another example, or of a probe.
    int together = examples == 1 ? Math.min(2, probes) : 1;
    int[] probesBack = {1, together, together};
    long[] perExample = new long[sizes.length];
    long[] perPair = new long[sizes.length];
    long[] workspace = new long[sizes.length];
    long pairsTogether = 0;
    for (int i = 0; i < sizes.length; i++) {
      long before = NativeHeap.used().orElseThrow();
      try (ForwardPass pass = forward.apply(sizes[i]);
          PointerScope scope = new PointerScope()) {
        long saved = NativeHeap.used().orElseThrow();
        // An example's last probes go back while what was saved is freed on the way.
        int pairs = sizes[i] * probesBack[i];
        Tensor seed = Tensors.copyOf(new float[pairs * classes], probesBack[i], sizes[i], classes);
        long peak = sums.peakOf(() -> pass.backward(seed, null, sums, probes == 1));
        perExample[i] = (saved - before) / sizes[i];
        perPair[i] = (peak - saved) / pairs;
        workspace[i] = sums.workspaceBytes();
        pairsTogether = pairsTogether(pass);
      }
    }
    LibTorch.releaseMemory();
    long cotangents = (long) probes * classes * Double.BYTES;
    long workspacePerPair = (workspace[1] - workspace[0]) / Math.max(1, examples * together - 1);
    return Optional.of(
        new BatchMemory(
            median(perExample) + cotangents,
            median(perPair) + workspacePerPair,
            probes,
            pairsTogether));
  }

  /** libtorch keeps what it has had of a GPU until it is told to give it back: that is the peak. */
  private BatchMemory measureOnGpu(IntFunction<ForwardPass> forward, int examples) {
    int classes = classifier.classCount();
    int probes = labels.probes(classes);
    long saved = 0;
    long back = 0;
    long pairsTogether = 0;
    // The first time the driver loads kernels, and libraries take workspaces that they keep.
    for (int run = 0; run < 2; run++) {
      LibTorch.releaseMemory();
      long before = kernels.gpuFreeBytes().orElseThrow();
      try (ForwardPass pass = forward.apply(examples);
          PointerScope scope = new PointerScope()) {
        long between = kernels.gpuFreeBytes().orElseThrow();
        Tensor seed = Tensors.copyOf(new float[examples * classes], 1, examples, classes);
        pass.backward(seed, null, sums, probes == 1);
        saved = before - between;
        back = between - kernels.gpuFreeBytes().orElseThrow();
        pairsTogether = pairsTogether(pass);
      }
    }
    LibTorch.releaseMemory();
    return new BatchMemory(
        Math.max(0, Math.ceilDiv(saved, examples)),
        Math.max(0, Math.ceilDiv(back + sums.workspaceBytes(), examples)),
        probes,
        pairsTogether);
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
   * The sums so far, without the expectation's weight, by canonical parameter name, fp32; valid
   * until this estimator is closed.
   */
  public Map<String, MemorySegment> sums() {
    return sums.byName();
  }

  /**
   * Takes sums that were computed apart.
   *
   * @param computed by the names of {@link #sums}, of the same sizes
   * @param examples and probes that are in them
   * @throws IllegalStateException if examples were added already
   * @throws InputException if names or sizes differ
   */
  public void restore(Map<String, MemorySegment> computed, long examples, long probes) {
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
    this.examples = examples;
    this.probes = probes;
  }

  /** Memory of the sums: four bytes for each weight. */
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
   * Accumulates one batch. Uses the pass up; the caller closes it.
   *
   * @param pass a forward pass of the classifier given to the constructor
   * @param trueLabels the examples' own labels [B]; may be null unless the expectation needs them
   * @throws InputException if a logit is not finite or a needed label is missing or out of range;
   *     names the example by its position in the run
   */
  public void add(ForwardPass pass, long @Nullable [] trueLabels) {
    if (labels.needsLabels() && trueLabels == null) {
      throw new InputException(
          "labels \"" + labels.text() + "\" needs labelled data, and this data has no labels");
    }
    pullBack(cotangents(pass, trueLabels), pass);
    examples += pass.examples();
  }

  /** The cotangents of each example's probes, [B][V of that example][K]. */
  private double[][][] cotangents(ForwardPass pass, long @Nullable [] trueLabels) {
    float[] logits = pass.logits();
    int classes = classifier.classCount();
    double[][][] byExample = new double[pass.examples()][][];
    for (int b = 0; b < byExample.length; b++) {
      long example = first + examples + b;
      long row = rowOf.applyAsLong(example);
      Logits.requireFinite(logits, b, classes, row);
      long label = trueLabels == null ? -1 : trueLabels[b];
      if (labels.needsLabels()) {
        Logits.requireLabel(label, classes, row);
      }
      double[] p = Logits.probabilities(logits, b, classes);
      byExample[b] = relevant(labels.cotangents(p, label, new ExampleRandom(seed, example)));
      probes += byExample[b].length;
    }
    return byExample;
  }

  /** Without the cotangents that would vanish in the sum: a certain example costs nothing. */
  private static double[][] relevant(double[][] cotangents) {
    double trace = 0;
    for (double[] cotangent : cotangents) {
      trace += squaredNorm(cotangent);
    }
    double least = NEGLIGIBLE * trace;
    return Arrays.stream(cotangents)
        .filter(cotangent -> squaredNorm(cotangent) > least)
        .toArray(double[][]::new);
  }

  private static double squaredNorm(double[] values) {
    double sum = 0;
    for (double value : values) {
      sum += value * value;
    }
    return sum;
  }

  /** Probes [first, end) of some examples, of which each has its own number. */
  private record ProbeGroup(int first, int end, int[] examples) {}

  /**
   * Cuts the probes of a batch into groups that go back together: as many as memory allows, and no
   * further than three quarters of a group's examples need.
   */
  private static List<ProbeGroup> groups(double[][][] cotangents, ForwardPass pass) {
    List<ProbeGroup> groups = new ArrayList<>();
    int[] active = withMoreThan(0, cotangents);
    for (int first = 0; active.length > 0; ) {
      int[] taken =
          pass.takesSomeExamples() ? active : IntStream.range(0, pass.examples()).toArray();
      long bytes = Math.max(1, pass.bytesPerProbe() * taken.length / pass.examples());
      int atOnce = Math.toIntExact(Math.clamp(PROBE_BYTES / bytes, 1, MAX_PROBES));
      int end = first + 1;
      while (end - first < atOnce
          && 4 * withMoreThan(end, cotangents).length >= 3 * active.length) {
        end++;
      }
      groups.add(new ProbeGroup(first, end, taken));
      first = end;
      active = withMoreThan(first, cotangents);
    }
    return groups;
  }

  private static int[] withMoreThan(int probes, double[][][] cotangents) {
    return IntStream.range(0, cotangents.length)
        .filter(b -> cotangents[b].length > probes)
        .toArray();
  }

  private void pullBack(double[][][] cotangents, ForwardPass pass) {
    List<ProbeGroup> groups = groups(cotangents, pass);
    for (int g = 0; g < groups.size(); g++) {
      pullBack(cotangents, groups.get(g), pass, g == groups.size() - 1);
    }
  }

  private void pullBack(double[][][] cotangents, ProbeGroup group, ForwardPass pass, boolean last) {
    int probes = group.end - group.first;
    int count = group.examples.length;
    int classes = classifier.classCount();
    try (PointerScope scope = new PointerScope();
        Arena arena = Arena.ofConfined()) {
      float[] seeds = new float[probes * count * classes];
      MemorySegment weights = arena.allocate((long) probes * count * Float.BYTES, 64);
      for (int v = 0; v < probes; v++) {
        for (int n = 0; n < count; n++) {
          double[][] ofExample = cotangents[group.examples[n]];
          if (group.first + v < ofExample.length) {
            double[] cotangent = ofExample[group.first + v];
            int at = v * count + n;
            int exponent = scaleExponent(cotangent);
            weights.setAtIndex(ValueLayout.JAVA_FLOAT, at, (float) Math.scalb(1.0, -2 * exponent));
            for (int c = 0; c < classes; c++) {
              seeds[at * classes + c] = (float) Math.scalb(cotangent[c], exponent);
            }
          }
        }
      }
      sums.weights(weights);
      Tensor seed = Tensors.copyOf(seeds, probes, count, classes);
      Tensor examples = count == pass.examples() ? null : Tensors.copyOf(group.examples);
      pass.backward(seed, examples, sums, last);
    }
  }

  /**
   * The power of two that brings a cotangent's largest entry near one. Gradients are linear in it,
   * so the square is put right by a weight of an exact power of two, and the small gradients of
   * confident examples keep clear of fp32 underflow. Batch squares add gradients of different
   * examples, which must keep their scale.
   */
  private int scaleExponent(double[] cotangent) {
    if (labels.squaresBatches()) {
      return 0;
    }
    double largest = 0;
    for (double value : cotangent) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest == 0 ? 0 : Math.min(MAX_SCALE_EXPONENT, -Math.getExponent(largest));
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
    new FisherProgress(run, batch, examples, probes).write(file, sums.byName());
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
    if (!progress.load(file, sums.byName())) {
      return false;
    }
    sums.store();
    examples = progress.examples();
    probes = progress.probes();
    return true;
  }

  /**
   * Ends the run: applies the expectation's weight and returns the sums over examples by canonical
   * parameter name, fp32, valid until this estimator is closed.
   *
   * @throws InputException if no example was added
   */
  public Map<String, MemorySegment> finish() {
    if (examples == 0) {
      throw new InputException("no examples: a Fisher information needs at least one");
    }
    if (!finished && labels.weight() != 1) {
      sums.scale(labels.weight());
    }
    finished = true;
    return sums.byName();
  }

  /**
   * Writes the finished sums as a Fisher file whose tensors are named as {@code model} names them.
   *
   * @param file a new file; the caller makes it appear under its final name
   */
  public void write(Path file, Checkpoint model, FisherMetadata metadata) {
    Map<String, MemorySegment> byName = finish();
    List<SafetensorsWriter.Declared> tensors = new ArrayList<>();
    List<MemorySegment> values = new ArrayList<>();
    byName.forEach((name, sum) -> {
      CheckpointTensor stored = model.tensor(name);
      tensors.add(
          new SafetensorsWriter.Declared(stored.info().name(), DType.F32, stored.info().shape()));
      values.add(sum);
    });
    write(file, tensors, values, metadata);
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
      Path file, ScriptClassifier model, @Nullable Checkpoint source, FisherMetadata metadata) {
    Map<String, MemorySegment> byName = finish();
    List<SafetensorsWriter.Declared> tensors = new ArrayList<>();
    List<MemorySegment> values = new ArrayList<>();
    for (ParameterGroup group : model.parameterGroups()) {
      ParameterGroup.Member parameter = group.parameters().getFirst();
      List<String> names = source == null ? model.namesOf(group) : model.namesIn(source, group);
      for (String name : names) {
        tensors.add(new SafetensorsWriter.Declared(name, DType.F32, parameter.shape()));
        values.add(Objects.requireNonNull(byName.get(parameter.name())));
      }
    }
    write(file, tensors, values, metadata);
  }

  private void write(
      Path file,
      List<SafetensorsWriter.Declared> tensors,
      List<MemorySegment> values,
      FisherMetadata metadata) {
    Map<String, Double> squares = new LinkedHashMap<>();
    for (int i = 0; i < values.size(); i++) {
      TypedValues sums = new TypedValues(values.get(i), ElementType.F32);
      squares.put(tensors.get(i).name(), ValueStatistics.ofTensor(kernels, sums, 0).sumOfSquares());
    }
    Map<String, String> entries = new LinkedHashMap<>(metadata.toMap());
    entries.put(SumsOfSquares.KEY, SumsOfSquares.text(squares));
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, tensors, entries)) {
      for (int i = 0; i < values.size(); i++) {
        writer.segment(tensors.get(i).name()).copyFrom(values.get(i));
      }
      writer.finish();
    }
  }

  @Override
  public void close() {
    sums.close();
  }
}
