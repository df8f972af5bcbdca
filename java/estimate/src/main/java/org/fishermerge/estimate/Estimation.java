package org.fishermerge.estimate;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.checkpoint.StatisticLayout;
import org.fishermerge.data.ClassCoverage;
import org.fishermerge.data.Examples;
import org.fishermerge.estimate.EstimationSettings.Order;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.BatchSizeCheck;
import org.fishermerge.torch.Classifier;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.FisherProgress;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.SamplingError;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.Precision;
import org.fishermerge.torch.statistic.LinearLayers;
import org.jspecify.annotations.Nullable;

/**
 * Estimates statistics of one model and writes them as a statistic file: for every parameter the
 * fp32 sum over examples of {@code E_y (d log p(y|x) / d theta)^2}, the square taken per example;
 * for every linear layer the sums of its Kronecker factors; for every linear layer the Gram matrix
 * of its inputs; or several of these.
 *
 * <p>What is summed up is saved at intervals beside the output as {@code OUTPUT.progress}; the same
 * estimation, started again after it was stopped or killed, goes on from there to the same bits.
 * The output appears whole or not at all.
 *
 * <p>An estimation runs once, on the thread that calls {@link #run}; {@link #cancel} may be called
 * by any thread. Several estimations may run at the same time on different threads; those on one
 * device should share a {@link SharedDevice}, so that their memory is planned together.
 */
public final class Estimation {
  /** Examples that the memory of a batch is measured with. */
  private static final int MEASURED = 2;

  private static final int MEASURED_ON_GPU = 8;

  /**
   * What a run did.
   *
   * @param samplingError the relative standard error that comes from the choice of examples, see
   *     {@link SamplingError}; empty of batch squares, of parts, and of too few examples to tell
   * @param plannedBytes the most memory of the process that was planned; empty on a GPU, where
   *     others share the memory, and where the system does not say
   */
  public record Result(
      long examples,
      OptionalDouble samplingError,
      SkippedRows skipped,
      Objective rule,
      double probesPerExample,
      int batch,
      OptionalLong plannedBytes,
      double seconds) {}

  /** Rows of a run by their places in it, from the first to before the end. */
  private record Range(long first, long end) {}

  private final ModelSource source;
  private final EstimationSettings settings;
  private final SharedDevice device;
  private final EstimationListener listener;
  private final Path output;
  private final boolean overwrite;
  private final @Nullable Range range;
  private final List<Path> parts;
  private volatile boolean cancelled;

  /** Whether the thread that runs was interrupted, which would stop it from saving. */
  private boolean interrupted;

  private Estimation(Builder builder, SharedDevice device, Path output) {
    this.source = builder.source;
    this.settings = builder.settings();
    this.device = device;
    this.listener = builder.listener;
    this.output = output;
    this.overwrite = builder.overwrite;
    this.range = builder.range;
    this.parts = builder.parts;
  }

  /** Of a classifier and its examples, with defaults for everything else. */
  public static Builder of(ModelSource source) {
    return new Builder(source);
  }

  /** With settings that are known already. */
  static Builder of(ModelSource source, EstimationSettings settings) {
    return new Builder(source).settings(settings);
  }

  /**
   * Estimates and writes the Fisher file.
   *
   * @throws InputException if the input cannot be used, memory does not suffice, or the output
   *     cannot be written or is there already; the message names the file, tensor or setting
   * @throws CancellationException after {@link #cancel}, or if this thread is interrupted, which
   *     does the same and leaves it interrupted
   */
  public Result run() {
    AtomicReference<@Nullable Result> result = new AtomicReference<>();
    // An output that cannot be written is refused before the work, not after it.
    try (AtomicOutput written = AtomicOutput.file(output, overwrite)) {
      device.run(
          () -> source.with(listener::warning, onData -> result.set(run(onData, written.temp()))));
      written.commit();
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
    SavedProgress.remove(output, listener);
    return Objects.requireNonNull(result.get(), "the source opened nothing");
  }

  /**
   * Ends the run after the batch in hand, with what is summed up saved, so that the same estimation
   * goes on from there. Does nothing after the last batch.
   */
  public void cancel() {
    cancelled = true;
  }

  private boolean isCancelled() {
    interrupted |= Thread.interrupted();
    return cancelled || interrupted;
  }

  private Result run(ModelOnData onData, Path file) {
    try {
      return estimate(onData, file);
    } finally {
      listener.ended();
    }
  }

  private Result estimate(ModelOnData onData, Path file) {
    Objective rule = settings.rule();
    Order order = settings.chosenOrder();
    if (!(onData instanceof ClassifierOnData)) {
      requireNoFactors();
    }
    if (rule.needsLabels()) {
      onData.requireLabels(settings.spelling().of("labels", rule.text()));
    }
    if (order == Order.STRATIFIED) {
      onData.requireLabels(settings.spelling().of("selection", order.text()));
    }
    SkippedRows skipped = new SkippedRows(settings.badRows(), listener::warning);
    long[] chosen = usable(onData, order, skipped);
    if (order == Order.FIRST) {
      warnOfClassOrder(onData.examples(), chosen);
    }
    long[] rows = inRunOrder(onData, chosen, rule);
    listener.preparing();
    try (Kernels kernels = device.device().open();
        ProcessMemory memory = new ProcessMemory()) {
      long start = System.nanoTime();
      onData.prepare(rows, kernels, listener::remark, listener::warning);
      LinearLayers layers =
          FisherEstimator.linearLayers(
              onData.classifier(),
              settings.statistics(),
              wanted -> onData.forward(new long[] {rows[0]}, wanted));
      long fileBytes =
          FisherEstimator.fileBytes(onData.classifier(), settings.statistics(), layers);
      SafetensorsWriter.requireRoom(output, fileBytes);
      EstimateInputs inputs = new EstimateInputs(onData.modelSha256(), settings);
      String dataset = onData.examples().description();
      String known = inputs.progressKey(dataset, rows);
      SavedProgress saved = new SavedProgress(ProgressPath.of(output), listener);
      Batch chosenBatch =
          batch(
              savedBatch(saved, known),
              rows.length,
              () -> memoryPlan(onData, rows, kernels, layers));
      int batch = chosenBatch.size;
      int largest = chosenBatch.largest;
      Optional<MemoryPlan> shown = chosenBatch.plan.filter(plan -> plan.matters(largest));
      shown.ifPresent(plan -> {
        listener.memoryPlanned(plan, largest);
        listener.diskPlanned(
            fileBytes,
            SavedProgress.mostBytes(
                FisherEstimator.bytes(onData.classifier(), settings.statistics(), layers)),
            SafetensorsWriter.room(output));
        plan.requireFits(largest, settings.spelling());
      });
      Objective objective = calibrated(onData, chosen, batch);
      Supplier<FisherEstimator> estimators =
          () -> {
            FisherEstimator estimator = estimator(onData, objective, kernels, layers);
            estimator.nameExamples(position -> rows[Math.toIntExact(position)]);
            return estimator;
          };
      if (settings.check()) {
        long before = System.nanoTime();
        check(onData, estimators, Arrays.copyOf(rows, largest));
        start += System.nanoTime() - before;
      }
      String run = known + predictions(onData, rows, objective);
      if (range != null) {
        return someRows(range, onData, rows, objective, batch, run, estimators, skipped, file);
      }
      try (FisherEstimator estimator = estimators.get()) {
        listener.running(rows.length);
        if (parts.isEmpty()) {
          estimator.trackSamplingError();
          saved.resume(estimator, run, batch, rows.length);
        } else {
          PairwiseSums sums = new PairwiseSums();
          PartialFisher whole =
              PartialFisher.join(
                  parts,
                  new PartialFisher(run, 0, rows.length, rows.length, batch, 0, estimator.layout()),
                  sums);
          estimator.restore(sums.total(), whole.layout(), rows.length, whole.probes());
        }
        while (estimator.examples() < rows.length && !sufficient(estimator)) {
          long begin = estimator.examples();
          // Batches of auto do not go beyond a block, so that they have no say in where it ends.
          long end =
              settings.examples().isAuto()
                  ? Math.min(SamplingError.blockEnd(begin), rows.length)
                  : rows.length;
          try {
            onData.accumulate(
                Arrays.copyOfRange(rows, Math.toIntExact(begin), Math.toIntExact(end)),
                batch,
                objective,
                estimator,
                done -> {
                  listener.advanced(done);
                  if (isCancelled() && done < rows.length) {
                    saved.save(estimator, run, batch);
                    throw new CancellationException("cancelled after %d examples".formatted(done));
                  }
                  saved.afterBatch(estimator, run, batch);
                  device.betweenBatches();
                });
          } catch (CancellationException e) {
            if (Thread.interrupted()) { // while it waited for a batch
              interrupted = true;
              saved.save(estimator, run, batch);
            }
            throw e;
          }
        }
        estimator.finish();
        onData.remark(estimator, listener::remark);
        onData.write(
            estimator,
            file,
            inputs.metadata(estimator, objective, batch, dataset, onData.modelFingerprint()));
        OptionalLong planned =
            chosenBatch.plan.filter(plan -> !plan.gpu() && device.wasNotShared()).stream()
                .mapToLong(plan -> plan.peak(largest))
                .findFirst();
        if (shown.isPresent() && planned.isPresent()) {
          memory.peak().ifPresent(peak -> listener.memoryUsed(peak, planned.getAsLong()));
        }
        return new Result(
            estimator.examples(),
            estimator.samplingError(),
            skipped,
            objective,
            (double) estimator.probes() / estimator.examples(),
            batch,
            planned,
            (System.nanoTime() - start) / 1e9);
      }
    }
  }

  /** Whether examples are as many as was asked for by their error. */
  private boolean sufficient(FisherEstimator estimator) {
    ExampleCount count = settings.examples();
    return count.isAuto()
        && estimator.examples() >= ExampleCount.AUTO_LEAST
        && estimator.examples() == SamplingError.blockEnd(estimator.examples() - 1)
        && estimator.samplingError().orElse(Double.POSITIVE_INFINITY) <= count.error();
  }

  /**
   * The order in which chosen rows run: within each block of {@link SamplingError} what is best for
   * the model, so that blocks stay alike but for chance.
   */
  private static long[] inRunOrder(ModelOnData onData, long[] chosen, Objective rule) {
    long[] ordered = new long[chosen.length];
    for (int begin = 0; begin < chosen.length; ) {
      int end = Math.toIntExact(Math.min(SamplingError.blockEnd(begin), chosen.length));
      long[] block = onData.inRunOrder(Arrays.copyOfRange(chosen, begin, end), rule);
      System.arraycopy(block, 0, ordered, begin, block.length);
      begin = end;
    }
    return ordered;
  }

  /** Writes what some rows of the run add up to. */
  private Result someRows(
      Range some,
      ModelOnData onData,
      long[] rows,
      Objective objective,
      int batch,
      String run,
      Supplier<FisherEstimator> estimators,
      SkippedRows skipped,
      Path file) {
    long start = System.nanoTime();
    requireBlocks(some, rows.length, batch);
    listener.running(some.end - some.first);
    PairwiseSums sums = new PairwiseSums();
    long probes = 0;
    @Nullable StatisticLayout layout = null;
    for (long first = some.first; first < some.end; first += batch) {
      long begin = first;
      long end = Math.min(first + batch, some.end);
      try (FisherEstimator estimator = estimators.get()) {
        estimator.beginAt(first);
        onData.accumulate(
            Arrays.copyOfRange(rows, Math.toIntExact(first), Math.toIntExact(end)),
            batch,
            objective,
            estimator,
            done -> {
              listener.advanced(begin - some.first + done);
              if (isCancelled() && end < some.end) {
                throw new CancellationException("cancelled at row " + (begin + done));
              }
              device.betweenBatches();
            });
        sums.add(new PairwiseSums.Node(first / batch, 0, estimator.sums()));
        probes += estimator.probes();
        layout = layout == null ? estimator.layout() : layout.plus(estimator.layout());
      }
    }
    long count = some.end - some.first;
    new PartialFisher(
            run,
            some.first,
            some.end,
            rows.length,
            batch,
            probes,
            Objects.requireNonNull(layout, "a range has rows"))
        .write(file, sums);
    return new Result(
        count,
        OptionalDouble.empty(),
        skipped,
        objective,
        (double) probes / count,
        batch,
        OptionalLong.empty(),
        (System.nanoTime() - start) / 1e9);
  }

  private static void requireBlocks(Range some, long rows, int batch) {
    if (some.end > rows) {
      throw new InputException(
          "rows %d to %d: the run has %d".formatted(some.first, some.end, rows));
    }
    if (some.first % batch != 0 || (some.end % batch != 0 && some.end != rows)) {
      throw new InputException(
          "rows %d to %d of %d: must begin and end at a multiple of the batch size, %d, or at the"
                  .formatted(some.first, some.end, rows, batch)
              + " end");
    }
  }

  /**
   * The rows that are chosen, without those that cannot be used. All are looked at before the first
   * one runs, so that nothing else about the run depends on them.
   */
  private long[] usable(ModelOnData onData, Order order, SkippedRows skipped) {
    boolean byLabel = settings.rule().needsLabels() || order == Order.STRATIFIED;
    if (byLabel) {
      onData.withLabels(new long[0], skipped); // says so where there is no label at all
    }
    long[] chosen =
        order.selection(settings.examples().most(), settings.seed()).rows(onData.examples());
    skipped.of(chosen.length);
    long[] usable = onData.readable(byLabel ? onData.withLabels(chosen, skipped) : chosen, skipped);
    skipped.requireSome(usable.length);
    return usable;
  }

  /**
   * The examples of a forward pass.
   *
   * @param largest the most that the run or its check ever has
   * @param plan of the memory that they take
   */
  private record Batch(int size, int largest, Optional<MemoryPlan> plan) {}

  /** What fits the device, beside what other models were promised there. */
  private Batch batch(OptionalInt saved, int rows, Supplier<Optional<MemoryPlan>> measurement) {
    Batch batch;
    do {
      Optional<MemoryPlan> plan = device.plan(measurement);
      int size =
          saved.isPresent()
              ? saved.getAsInt()
              : BatchSize.choose(
                  settings.batchSize(), plan, Math.min(rows, settings.atMost()), settings.rule());
      batch = new Batch(size, Math.min(settings.check() ? Math.max(size, 2) : size, rows), plan);
    } while (batch.plan.isPresent()
        && !batch.plan.get().fits(batch.largest)
        && device.awaitAnother());
    device.promise(batch.plan, batch.largest);
    return batch;
  }

  private void requireNoFactors() {
    for (StatisticKind kind : settings.statistics()) {
      if (!kind.factors().isEmpty()) {
        throw new InputException(
            settings.spelling().of("statistic", kind.label())
                + ": is not estimated of TorchScript modules, whose parameters are not known to be"
                + " whole layers; give the model's folder");
      }
    }
  }

  private Optional<MemoryPlan> memoryPlan(
      ModelOnData onData, long[] rows, Kernels kernels, LinearLayers layers) {
    // Sums that leave no room for anything else are refused before they are made.
    int atOnce = settings.check() ? 2 : 1;
    Classifier classifier = onData.classifier();
    long sums = FisherEstimator.bytes(classifier, settings.statistics(), layers);
    Optional<MemoryPlan> before =
        MemoryPlan.before(
            FisherEstimator.weightBytes(classifier), atOnce * sums, kernels.gpuFreeBytes());
    if (before.isPresent() && !before.get().fits(1)) {
      return before;
    }
    int several = kernels.gpuFreeBytes().isPresent() ? MEASURED_ON_GPU : MEASURED;
    return onData.memoryPlan(
        rows,
        () -> estimator(onData, settings.rule(), kernels, layers),
        atOnce,
        BatchSize.isOne(settings.batchSize()) && !settings.check() ? 1 : several);
  }

  private FisherEstimator estimator(
      ModelOnData onData, Objective objective, Kernels kernels, LinearLayers layers) {
    return new FisherEstimator(
        onData.classifier(), objective, settings.seed(), kernels, settings.statistics(), layers);
  }

  /** A choice by free memory is that of the run that is taken up. */
  private OptionalInt savedBatch(SavedProgress saved, String known) {
    if (!settings.batchSize().equals(BatchSize.AUTO)) {
      return OptionalInt.empty();
    }
    return saved.read().stream()
        .filter(progress -> progress.run().startsWith(known))
        .mapToInt(FisherProgress::batch)
        .findFirst();
  }

  /** Of the first and the last row. */
  private static String predictions(ModelOnData onData, long[] rows, Objective objective) {
    try (ForwardPass pass =
        onData.forward(new long[] {rows[0], rows[rows.length - 1]}, ForwardPass.Wanted.LOGITS)) {
      return EstimateInputs.predictionsKey(pass, objective);
    }
  }

  /** Fits a rule that asks for it to the model's predictions of the first examples chosen. */
  private Objective calibrated(ModelOnData onData, long[] chosen, int batch) {
    Objective rule = settings.rule();
    int wanted = Math.min(rule.calibrationExamples(), chosen.length);
    List<double[]> predictions = new ArrayList<>();
    onData.forEachBatch(
        onData.inRunOrder(Arrays.copyOf(chosen, wanted), rule),
        batch,
        rule,
        (some, labels) -> {
          try (ForwardPass pass = some.forward(ForwardPass.Wanted.LOGITS)) {
            predictions.addAll(pass.predictions());
          }
        });
    return rule.calibrated(predictions);
  }

  private void check(ModelOnData onData, Supplier<FisherEstimator> estimators, long[] rows) {
    if (rows.length < 2) {
      throw new InputException(
          settings.spelling().of("check", "")
              + ": compares batch sizes, which takes at least two examples");
    }
    BatchSizeCheck.Deviation deviation =
        BatchSizeCheck.run(
            estimators,
            (first, count) ->
                wanted -> onData.forward(Arrays.copyOfRange(rows, first, first + count), wanted),
            rows.length,
            onData.labels(rows, settings.rule()));
    listener.checked(rows.length, deviation);
  }

  /** Data is often stored class by class, and then its first rows stand for few classes. */
  private void warnOfClassOrder(Examples dataset, long[] first) {
    if (!dataset.labelled()) {
      return;
    }
    ClassCoverage coverage;
    try {
      coverage = ClassCoverage.of(dataset.labels(), first);
    } catch (InputException e) {
      // A label that cannot be read may be one that the run does not need.
      return;
    }
    if (coverage.poor()) {
      listener.warning(
          String.format(
              Locale.ROOT,
              "%s: the first %d examples hold %d of its %d classes, where a random choice holds"
                  + " %.1f on average; the data seems to be in order of class: %s takes a random"
                  + " choice",
              dataset.description(),
              first.length,
              coverage.held(),
              coverage.classes(),
              coverage.classes() - coverage.missedAtRandom(),
              settings.spelling().of("selection", Order.SHUFFLED.text())));
    }
  }

  /** Says what an {@link Estimation} is to do. For one thread. */
  public static final class Builder {
    private final ModelSource source;
    private Objective rule = Objective.parse(EstimationSettings.DEFAULT_LABELS);
    private @Nullable Order order;
    private ExampleCount examples = ExampleCount.of(EstimationSettings.DEFAULT_EXAMPLES);
    private long seed;
    private String batchSize = BatchSize.AUTO;
    private Precision precision = Precision.FP32;
    private Set<StatisticKind> statistics = Set.of(StatisticKind.DIAGONAL_FISHER);
    private BadRows badRows = BadRows.USUAL;
    private @Nullable EstimationSettings settings;
    private @Nullable String deviceName = "cpu";
    private @Nullable SharedDevice device;
    private EstimationListener listener = EstimationListener.NONE;
    private @Nullable Path output;
    private boolean overwrite;
    private @Nullable Range range;
    private List<Path> parts = List.of();

    private Builder(ModelSource source) {
      this.source = source;
    }

    /**
     * How labels are averaged over, such as {@code exact}, {@code lowrank:3} or {@code true}; by
     * default {@code adaptive:2}.
     *
     * @throws InputException if there is no such rule
     */
    public Builder labels(String rule) {
      this.rule = Objective.parse(rule);
      return this;
    }

    /** Which examples; by default a random choice, with {@code batch-square} the first ones. */
    public Builder selection(Order order) {
      this.order = order;
      return this;
    }

    /** How many examples; all where the data has fewer. By default 256. */
    public Builder examples(long examples) {
      return examples(ExampleCount.of(examples));
    }

    /** The same, or as many as an error asks for. */
    public Builder examples(ExampleCount examples) {
      this.examples = examples;
      return this;
    }

    /** Of the selection and of drawn labels; by default 0. */
    public Builder seed(long seed) {
      this.seed = seed;
      return this;
    }

    /** Examples of a forward pass, at least 1; by default as many as fit free memory, up to 32. */
    public Builder batchSize(int examples) {
      this.batchSize = Integer.toString(examples);
      return this;
    }

    /**
     * What is estimated, all in the same passes and in one file: the diagonal Fisher (the default),
     * its Kronecker factors, Gram matrices of inputs, or several of them.
     */
    public Builder statistics(StatisticKind first, StatisticKind... others) {
      this.statistics = EnumSet.of(first, others);
      return this;
    }

    /** What becomes of rows that cannot be used; by default a few are left out. */
    public Builder badRows(BadRows badRows) {
      this.badRows = badRows;
      return this;
    }

    /**
     * Takes all of the above at once, as they are written elsewhere.
     *
     * @param settings with the precision of the device that is given to {@link #device}
     */
    public Builder settings(EstimationSettings settings) {
      this.settings = settings;
      return this;
    }

    /**
     * Where model and kernels run: {@code cpu} (the default), {@code cuda}, or {@code cuda:N}. A
     * GPU that cannot be used is a warning, and the CPU does the work.
     */
    public Builder device(String name) {
      this.deviceName = name;
      this.device = null;
      return this;
    }

    /** A device that other estimations run on too. */
    public Builder device(SharedDevice device) {
      this.device = device;
      return this;
    }

    /** What the model is multiplied in on a device given by name; by default fp32. */
    public Builder precision(Precision precision) {
      this.precision = precision;
      return this;
    }

    /** Told of what happens; by default nobody is. */
    public Builder listener(EstimationListener listener) {
      this.listener = listener;
      return this;
    }

    /** Where the Fisher file goes; its folder is created. Required. */
    public Builder output(Path file) {
      this.output = file;
      return this;
    }

    /** Whether an existing output is replaced; by default it is refused. */
    public Builder overwrite(boolean overwrite) {
      this.overwrite = overwrite;
      return this;
    }

    /**
     * Estimates some rows of the run only; the output is then a part, to be joined by {@link
     * #parts}. Every part has the same settings, examples and seed among them, and the same batch
     * size: which rows the run has, the order in which they run, what they draw and how an adaptive
     * rule is calibrated is that of the whole run.
     *
     * <p>Parts joined give the same bits wherever the run was cut, and those of one part with all
     * rows: each batch is summed up by itself, from zero, and the sums of batches are added
     * pairwise in fp32, in an order that their places in the run determine. An estimate that is not
     * made of parts adds one batch to the next, and may differ from the joined one in the last
     * bits. The machines must compute the same, as those of equal processors and builds do.
     *
     * <p>With n batches a part takes memory, and room in its file, for up to 2 log2(n) Fishers in
     * place of one; a few passes over the memory of a Fisher are added to the time of each batch,
     * and pictures of the next batch are not decoded ahead. Progress is not saved: a part that is
     * cancelled begins again.
     *
     * @param first place in the run of the first row, from 0; a multiple of the batch size
     * @param end the place after the last row; a multiple of the batch size, or the run's end
     * @throws InputException if it is no range
     */
    public Builder rows(long first, long end) {
      if (first < 0 || end <= first) {
        throw new InputException("rows %d to %d: is no range".formatted(first, end));
      }
      this.range = new Range(first, end);
      return this;
    }

    /**
     * Joins parts that {@link #rows} made with these settings to the Fisher of the whole run; no
     * batch runs.
     *
     * @param files in any order; together they have each row of the run once
     */
    public Builder parts(List<Path> files) {
      this.parts = List.copyOf(files);
      return this;
    }

    private EstimationSettings settings() {
      return settings != null
          ? settings
          : new EstimationSettings(
              rule,
              order,
              examples,
              seed,
              batchSize,
              Integer.MAX_VALUE,
              false,
              precision,
              statistics,
              badRows,
              (setting, value) -> (setting + " " + value).strip());
    }

    private void requireParts(EstimationSettings whole) {
      if (range != null && !parts.isEmpty()) {
        throw new IllegalStateException("rows makes a part, parts joins them: give one of the two");
      }
      if (whole.rule().squaresBatches()) {
        throw new InputException(
            whole.spelling().of("labels", whole.rule().text())
                + ": is defined by batches, not by rows; it cannot be estimated in parts");
      }
      if (whole.examples().isAuto()) {
        throw new InputException(
            whole.spelling().of("examples", whole.examples().text())
                + ": parts do not know each other's error; give a number of examples");
      }
      if (whole.batchSize().equals(BatchSize.AUTO)) {
        throw new InputException(
            whole.spelling().of("batch-size", BatchSize.AUTO)
                + ": parts need a number, which is the same for all of them");
      }
    }

    /**
     * Opens the device; models and data are opened by {@link Estimation#run}.
     *
     * @throws InputException if a setting is out of range or the device does not exist
     * @throws IllegalStateException if there is no output
     */
    public Estimation build() {
      if (range != null || !parts.isEmpty()) {
        requireParts(settings());
      }
      if (output == null) {
        throw new IllegalStateException("output(file) says where the Fisher file goes");
      }
      SharedDevice where = device;
      if (where == null) {
        CommandDevice named = CommandDevice.forModels(deviceName, precision, listener::warning);
        precision = named.precision();
        where = new SharedDevice(named);
      }
      return new Estimation(this, where, output);
    }
  }
}
