package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.DoublePredicate;
import java.util.function.ToLongFunction;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.FisherFile;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.MappedData;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TypedValues;
import org.fishermerge.kernels.ValueStatistics;
import org.fishermerge.kernels.WeightedAverage;
import org.fishermerge.kernels.WeightedInput;
import org.fishermerge.merge.MergeResult.ModelStatistics;

/**
 * Executes plans. Data streams from mapped inputs to the output mapped in place; the output appears
 * whole or not at all. Tensors are cut into {@link Piece}s, and pieces gathered into chunks of
 * equal size whose elements all threads share, so that neither one large tensor nor a thousand
 * small ones leave a thread idle. While a chunk is worked on, the next one is read and the last one
 * written. The result has the same bits for any number of threads, for any order and sharding of
 * the inputs' tensors.
 */
public final class Merger {
  /** Elements at most of a piece; sums of squares are added piece by piece. */
  private static final long PIECE_ELEMENTS = ValueStatistics.PIECE_ELEMENTS;

  /** How far a stated sum of squares may be from ours: another order of adding, no other values. */
  private static final double SUM_TOLERANCE = 1e-9;

  /** Input bytes of a chunk: long enough for threads to meet rarely, short beside any memory. */
  private static final long CHUNK_BYTES = 128L << 20;

  /** The same for a GPU, whose pipeline of copies and kernels runs empty at the end of a chunk. */
  private static final long GPU_CHUNK_BYTES = 1L << 30;

  /**
   * Chunks are as much shorter where values are computed: they are written before they are read.
   */
  private static final long COMPUTED_SHARE = 4;

  private final MergePlan plan;
  private final MergeRequest request;
  private final MergeInputs inputs;
  private final Kernels kernels;

  /** Whether the inputs are read from their files, and not known to be on a GPU. */
  private final boolean streamed;

  private final ProgressListener listener;
  private final double[] norms;
  private final ValueStatistics[] scans;
  private final Map<String, double[]> tensorNorms = new HashMap<>();
  private final List<CheckpointTensor> disproved = new ArrayList<>();

  /** Whether the Fishers are looked at before the merge, and not while it reads them. */
  private boolean scanFirst;

  private long bytesDone;

  private Merger(
      MergePlan plan,
      MergeInputs inputs,
      Kernels kernels,
      boolean streamed,
      ProgressListener listener) {
    this.plan = plan;
    this.request = plan.request();
    this.inputs = inputs;
    this.kernels = kernels;
    this.streamed = streamed;
    this.listener = listener;
    this.norms = new double[inputs.fishers().size()];
    this.scans = new ValueStatistics[inputs.fishers().size()];
    this.scanFirst = plan.normPass();
    Arrays.fill(norms, Double.NaN);
    Arrays.fill(scans, ValueStatistics.EMPTY);
  }

  /**
   * Runs a plan.
   *
   * @param kernels used by this thread only while this runs; not closed
   * @throws InputException if an input has changed since it was planned, a model is not the one its
   *     Fisher file names, or a value is not acceptable: a Fisher that is negative or not finite, a
   *     parameter that is not finite, a result that overflows the output's dtype. Nothing is left
   *     behind then.
   */
  public static MergeResult run(MergePlan plan, Kernels kernels, ProgressListener listener) {
    try (MergeSession session = MergeSession.openOnce(plan, kernels)) {
      return session.run(plan, listener);
    }
  }

  /**
   * Runs a plan on inputs that are open and guarded.
   *
   * @param streamed whether the inputs are read from their files
   */
  static MergeResult run(
      MergePlan plan,
      MergeInputs inputs,
      Kernels kernels,
      boolean streamed,
      ProgressListener listener) {
    MergeRequest request = plan.request();
    boolean single = OutputTarget.isSingleFile(request);
    try (AtomicOutput output =
        single
            ? AtomicOutput.file(request.output(), request.overwrite())
            : AtomicOutput.folder(request.output(), request.overwrite())) {
      Merger merger = new Merger(plan, inputs, kernels, streamed, listener);
      try {
        merger.verifyModels();
        merger.computeNorms();
        merger.write(output.temp());
      } catch (InternalError | InputException e) {
        // A file that is cut short reads as zeros, or fails with an InternalError in Java.
        plan.files().forEach(file -> file.requireUnchanged("while it was read"));
        throw e;
      }
      OutputTarget.copySidecars(plan.sidecars(), output.temp(), request);
      plan.files().forEach(file -> file.requireUnchanged("while it was read"));
      output.commit();
      return merger.result();
    }
  }

  // ---- pass: are these the models the Fishers were computed from? ----

  private void verifyModels() {
    Map<Integer, String> known = new HashMap<>();
    for (int index : plan.verifiedModels()) {
      FisherFile fisher = inputs.fishers().get(index);
      String wanted = fisher.metadata().map(FisherMetadata::modelSha256).orElseThrow();
      if (!wanted.equals(sha256(known, index))) {
        for (int other = 0; other < inputs.models().size(); other++) {
          if (other != index && wanted.equals(sha256(known, other))) {
            throw new InputException(
                fisher.path()
                    + " was not computed from "
                    + inputs.models().get(index).path()
                    + " but from "
                    + inputs.models().get(other).path()
                    + ": the pairs of model and Fisher file are swapped");
          }
        }
        throw new InputException(
            fisher.path()
                + " was not computed from "
                + inputs.models().get(index).path()
                + ": the SHA-256 of the model's tensors is "
                + sha256(known, index)
                + ", but the Fisher file names "
                + wanted);
      }
      advance(Planner.dataBytes(inputs.models().get(index)));
    }
  }

  private String sha256(Map<Integer, String> known, int model) {
    return known.computeIfAbsent(model, i -> inputs.models().get(i).tensorSha256());
  }

  // ---- pieces and chunks ----

  /** A stretch of a tensor. */
  private record Piece(Parameter parameter, long from, long count) {
    CheckpointTensor tensor() {
      return parameter.tensor();
    }

    boolean endsTensor() {
      return from + count == tensor().info().elementCount();
    }

    MemorySegment of(MemorySegment data, DType dtype) {
      long bytes = dtype.bits() / 8;
      return data.asSlice(from * bytes, count * bytes);
    }
  }

  /** Pieces in order, gathered until their input bytes reach {@code chunkBytes}. */
  private static List<List<Piece>> chunks(
      List<Parameter> parameters, ToLongFunction<Parameter> bytesPerElement, long chunkBytes) {
    List<List<Piece>> chunks = new ArrayList<>();
    List<Piece> chunk = new ArrayList<>();
    long bytes = 0;
    for (Parameter parameter : parameters) {
      long width = bytesPerElement.applyAsLong(parameter);
      long elements = parameter.tensor().info().elementCount();
      long from = 0;
      do {
        long count = Math.min(PIECE_ELEMENTS, elements - from);
        chunk.add(new Piece(parameter, from, count));
        bytes += count * width;
        if (bytes >= chunkBytes) {
          chunks.add(chunk);
          chunk = new ArrayList<>();
          bytes = 0;
        }
        from += count;
      } while (from < elements);
    }
    if (!chunk.isEmpty()) {
      chunks.add(chunk);
    }
    return chunks;
  }

  // ---- pass: norms of the Fishers ----

  private void computeNorms() {
    if (!plan.isNormalized()) {
      return;
    }
    for (int i = 0; i < inputs.fishers().size(); i++) {
      FisherFile fisher = inputs.fishers().get(i);
      SortedMap<String, Double> squares = scanFirst ? sumsOfSquares(i) : statedSumsOfSquares(i);
      double total = 0;
      for (Map.Entry<String, Double> entry : squares.entrySet()) {
        double ofTensor = entry.getValue();
        total += ofTensor;
        tensorNorms.computeIfAbsent(entry.getKey(), any -> new double[inputs.fishers().size()])[i] =
            Math.sqrt(ofTensor) / fisher.examples();
      }
      norms[i] = Math.sqrt(total) / fisher.examples();
      if (!Double.isFinite(norms[i])) {
        throw FisherValues.overflows(fisher);
      }
    }
  }

  private double statedSum(int model, Parameter parameter) {
    return inputs
        .fishers()
        .get(model)
        .sumOfSquares(inputs.fisherOf(model, parameter).canonicalName())
        .orElseThrow();
  }

  private SortedMap<String, Double> statedSumsOfSquares(int model) {
    SortedMap<String, Double> squares = new TreeMap<>();
    for (Parameter parameter : plan.mergedParameters()) {
      squares.put(parameter.name(), statedSum(model, parameter));
    }
    return squares;
  }

  /**
   * Of one model's Fisher, by canonical name and in the order of names, so that a sum over tensors
   * has the same bits for any layout of the files.
   */
  private SortedMap<String, Double> sumsOfSquares(int model) {
    SortedMap<String, Double> squares = new TreeMap<>();
    ValueStatistics ofTensor = ValueStatistics.EMPTY;
    List<List<Piece>> chunks =
        chunks(
            plan.mergedParameters(),
            parameter -> fisherOperand(model, parameter).bytesPerElement(),
            CHUNK_BYTES);
    for (List<Piece> chunk : chunks) {
      List<TypedValues> ranges = new ArrayList<>();
      for (Piece piece : chunk) {
        Operand operand = fisherOperand(model, piece.parameter());
        ranges.add(new TypedValues(piece.of(operand.segment(), operand.dtype()), operand.type()));
      }
      List<ValueStatistics> found = kernels.statistics(ranges, threshold(model));
      for (int k = 0; k < chunk.size(); k++) {
        Piece piece = chunk.get(k);
        ofTensor = ofTensor.plus(found.get(k));
        if (piece.endsTensor()) {
          scanned(model, piece.parameter(), ofTensor);
          squares.put(piece.parameter().name(), ofTensor.sumOfSquares());
          ofTensor = ValueStatistics.EMPTY;
        }
        advance(ranges.get(k).data().byteSize());
        MappedData.release(ranges.get(k).data());
      }
    }
    return squares;
  }

  /** Below what a model's Fisher, as stored, counts for less than the minimal Fisher. */
  private double threshold(int model) {
    return request.minimalFisher() * inputs.fishers().get(model).examples();
  }

  private void scanned(int model, Parameter parameter, ValueStatistics found) {
    if (found.minimum() < 0 || !found.finite()) {
      throw FisherValues.invalid(
          inputs.fishers().get(model), fisherOperand(model, parameter).tensor());
    }
    scans[model] = scans[model].plus(found);
    if (plan.isNormalized() && !scanFirst) {
      double stated = statedSum(model, parameter);
      if (!(Math.abs(stated - found.sumOfSquares()) <= SUM_TOLERANCE * stated)) {
        disproved.add(fisherOperand(model, parameter).tensor());
      }
    }
  }

  // ---- pass: the merge ----

  private void write(Path target) {
    try (CheckpointWriter writer = create(target)) {
      merge(writer);
      if (!disproved.isEmpty()) {
        // The norms were not those of the data, so neither is the result.
        scanFirst = true;
        Arrays.fill(scans, ValueStatistics.EMPTY);
        computeNorms();
        merge(writer);
      }
      for (Parameter parameter : plan.mergedParameters()) {
        for (CheckpointTensor copy : parameter.copies()) {
          writer.segment(copy.name()).copyFrom(writer.segment(parameter.tensor().name()));
        }
      }
      for (CheckpointTensor tensor : plan.keptTensors()) {
        keep(tensor, writer.segment(tensor.name()));
      }
      writer.finish();
    }
  }

  private CheckpointWriter create(Path target) {
    Map<String, String> metadata = Map.of("format", "pt");
    return OutputTarget.isSingleFile(request)
        ? CheckpointWriter.file(target, plan.written(), metadata)
        : CheckpointWriter.folder(target, plan.written(), metadata, request.shardBytes());
  }

  private void merge(CheckpointWriter writer) {
    long chunkBytes = kernels.usesGpu() ? GPU_CHUNK_BYTES : CHUNK_BYTES;
    boolean computes =
        plan.mergedParameters().stream().anyMatch(parameter -> computedBytes(parameter, 1) > 0);
    List<List<Piece>> chunks =
        chunks(
            plan.mergedParameters(),
            this::bytesPerElement,
            computes ? chunkBytes / COMPUTED_SHARE : chunkBytes);
    long mostComputed = chunks.stream().mapToLong(this::computedBytes).max().orElse(0);
    try (ComputedValues computed = new ComputedValues(mostComputed)) {
      merge(chunks, computed, writer);
    }
  }

  private long computedBytes(List<Piece> chunk) {
    return chunk.stream().mapToLong(p -> computedBytes(p.parameter(), p.count())).sum();
  }

  /** Memory for a stretch of a parameter's values, of the models that compute them. */
  private long computedBytes(Parameter parameter, long count) {
    long bytes = 0;
    for (int i = 0; i < inputs.models().size(); i++) {
      String name = inputs.valueOf(i, parameter).canonicalName();
      bytes += ComputedValues.alignedBytes(inputs.models().get(i), name, count);
    }
    return bytes;
  }

  /** What a chunk's kernels are to do, and the values that are computed before. */
  private record Work(List<WeightedAverage> averages, ComputedValues.Chunk computed) {
    List<MemorySegment> operands() {
      return averages.stream().flatMap(average -> Merger.operands(average).stream()).toList();
    }
  }

  private void merge(List<List<Piece>> chunks, ComputedValues computed, CheckpointWriter writer) {
    // With a pass for the norms, the Fishers have been looked at there.
    List<Double> thresholds = new ArrayList<>();
    if (!plan.isAverage() && !scanFirst) {
      for (int i = 0; i < inputs.fishers().size(); i++) {
        thresholds.add(threshold(i));
      }
    }
    ValueStatistics[] ofTensor = new ValueStatistics[thresholds.size() + 1];
    Arrays.fill(ofTensor, ValueStatistics.EMPTY);
    Work next =
        chunks.isEmpty()
            ? new Work(List.of(), computed.chunk())
            : work(chunks.getFirst(), computed.chunk(), writer);
    for (int c = 0; c < chunks.size(); c++) {
      List<Piece> chunk = chunks.get(c);
      List<WeightedAverage> averages = next.averages();
      ComputedValues.Chunk values = next.computed();
      if (c + 1 < chunks.size()) {
        next = work(chunks.get(c + 1), computed.chunk(), writer);
        next.computed().readAhead();
        if (streamed) {
          next.operands().forEach(MappedData::readAhead);
        }
      }
      values.compute();
      List<WeightedAverage.Statistics> found = kernels.weightedAverages(averages, thresholds);
      for (int k = 0; k < chunk.size(); k++) {
        WeightedAverage average = averages.get(k);
        Parameter parameter = chunk.get(k).parameter();
        CheckpointTensor tensor = parameter.tensor();
        for (int i = 0; i < thresholds.size(); i++) {
          ofTensor[i] = ofTensor[i].plus(found.get(k).fishers().get(i));
        }
        ofTensor[thresholds.size()] = ofTensor[thresholds.size()].plus(found.get(k).out());
        if (chunk.get(k).endsTensor()) {
          for (int i = 0; i < thresholds.size(); i++) {
            scanned(i, parameter, ofTensor[i]);
          }
          if (!ofTensor[thresholds.size()].finite()) {
            requireFinite(parameter, writer.segment(tensor.name()));
          }
          Arrays.fill(ofTensor, ValueStatistics.EMPTY);
        }
        for (MemorySegment operand : operands(average)) {
          advance(operand.byteSize());
          if (streamed) {
            MappedData.release(operand);
          }
        }
        writer.writeBehind(tensor.name(), average.out());
      }
    }
  }

  private long bytesPerElement(Parameter parameter) {
    long bytes = 0;
    for (int i = 0; i < inputs.models().size(); i++) {
      bytes += inputs.valueOf(i, parameter).info().dtype().bits() / Byte.SIZE;
      bytes += plan.isAverage() ? 0 : fisherOperand(i, parameter).bytesPerElement();
    }
    return bytes;
  }

  private Work work(List<Piece> chunk, ComputedValues.Chunk computed, CheckpointWriter writer) {
    List<WeightedAverage> averages = new ArrayList<>(chunk.size());
    for (Piece piece : chunk) {
      CheckpointTensor tensor = piece.tensor();
      List<Share> shares = shares(tensor.canonicalName());
      List<WeightedInput> operands = new ArrayList<>(shares.size());
      for (int i = 0; i < shares.size(); i++) {
        Checkpoint model = inputs.models().get(i);
        CheckpointTensor value = inputs.valueOf(i, piece.parameter());
        String name = value.canonicalName();
        Operand fisher = plan.isAverage() ? null : fisherOperand(i, piece.parameter());
        operands.add(
            new WeightedInput(
                model.isComputed(name)
                    ? computed.place(model, name, piece.from(), piece.count())
                    : model.source(name, piece.from(), piece.count()),
                FisherValues.elementType(value.info().dtype()),
                fisher == null ? null : piece.of(fisher.segment(), fisher.dtype()),
                fisher == null ? ElementType.F32 : fisher.type(),
                shares.get(i).scale(),
                shares.get(i).offset()));
      }
      DType dtype = plan.outputDtype(tensor);
      averages.add(
          new WeightedAverage(
              operands,
              piece.of(writer.segment(tensor.name()), dtype),
              FisherValues.elementType(dtype),
              piece.count()));
    }
    return new Work(averages, computed);
  }

  private static List<MemorySegment> operands(WeightedAverage average) {
    List<MemorySegment> operands = new ArrayList<>();
    for (WeightedInput input : average.inputs()) {
      operands.add(input.values());
      if (input.fisher() != null) {
        operands.add(input.fisher());
      }
    }
    return operands;
  }

  /** Writes a tensor that keeps the base's values, in the output's dtype. */
  private void keep(CheckpointTensor tensor, MemorySegment out) {
    Checkpoint base = inputs.base();
    String name = tensor.canonicalName();
    if (!base.isComputed(name)) {
      keep(tensor, 0, tensor.info().elementCount(), base.segment(name), out);
      return;
    }
    long width = plan.outputDtype(tensor).bits() / Byte.SIZE;
    long count = tensor.info().elementCount();
    long most = ComputedValues.alignedBytes(base, name, Math.min(PIECE_ELEMENTS, count));
    try (ComputedValues computed = new ComputedValues(most)) {
      for (long at = 0; at < count; at += PIECE_ELEMENTS) {
        long length = Math.min(PIECE_ELEMENTS, count - at);
        ComputedValues.Chunk chunk = computed.chunk();
        MemorySegment values = chunk.place(base, name, at, length);
        chunk.compute();
        keep(tensor, at, length, values, out.asSlice(at * width, length * width));
      }
    }
  }

  /** The same for elements from {@code first} on. */
  private void keep(
      CheckpointTensor tensor, long first, long count, MemorySegment values, MemorySegment out) {
    DType from = tensor.info().dtype();
    DType to = plan.outputDtype(tensor);
    if (from == to) {
      out.copyFrom(values);
    } else {
      WeightedInput whole =
          new WeightedInput(values, FisherValues.elementType(from), null, ElementType.F32, 0, 1);
      WeightedAverage cast =
          new WeightedAverage(List.of(whole), out, FisherValues.elementType(to), count);
      if (!kernels.weightedAverages(List.of(cast), List.of()).getFirst().out().finite()) {
        // Attention masks may hold infinities on purpose; a finite value must stay one.
        for (long j = 0; j < count; j++) {
          double value = Values.get(values, from, j);
          if (Double.isFinite(value) && !Double.isFinite(Values.get(out, to, j))) {
            throw overflow(tensor, to, first + j, value);
          }
        }
      }
    }
    advance(values.byteSize());
  }

  // ---- weights ----

  /** A model's weight of an element is {@code scale * F + offset}, F as stored in its file. */
  record Share(double scale, double offset) {}

  private List<Share> shares(String canonicalName) {
    double[] coefficients =
        request.sources().stream().mapToDouble(MergeSource::coefficient).toArray();
    if (plan.isAverage()) {
      return Arrays.stream(coefficients).mapToObj(c -> new Share(0, c)).toList();
    }
    long[] examples = inputs.fishers().stream().mapToLong(FisherFile::examples).toArray();
    double[] by =
        switch (request.normalization()) {
          case NONE -> null;
          case MODEL -> norms;
          case TENSOR -> Objects.requireNonNull(tensorNorms.get(canonicalName));
        };
    return Weights.shares(coefficients, examples, by, request.minimalFisher());
  }

  // ---- what is wrong with the values ----

  private void requireFinite(Parameter parameter, MemorySegment out) {
    CheckpointTensor tensor = parameter.tensor();
    DoublePredicate notFinite = v -> !Double.isFinite(v);
    long count = tensor.info().elementCount();
    DType dtype = plan.outputDtype(tensor);
    long firstOut = Values.firstWhere(out, dtype, count, notFinite);
    if (firstOut < 0) {
      return; // values whose squares overflow
    }
    double largest = 0;
    for (int i = 0; i < inputs.models().size(); i++) {
      Checkpoint model = inputs.models().get(i);
      CheckpointTensor found = inputs.valueOf(i, parameter);
      String name = found.canonicalName();
      DType stored = found.info().dtype();
      long first = -1;
      long bad = 0;
      double value = 0;
      for (long at = 0; at < count; at += PIECE_ELEMENTS) {
        long length = Math.min(PIECE_ELEMENTS, count - at);
        MemorySegment values = ComputedValues.read(model, name, at, length);
        long firstHere = Values.firstWhere(values, stored, length, notFinite);
        if (firstHere >= 0) {
          bad += Values.countWhere(values, stored, length, notFinite);
          if (first < 0) {
            first = at + firstHere;
            value = Values.get(values, stored, firstHere);
          }
        }
      }
      if (first >= 0) {
        throw new InputException(
            String.format(
                Locale.ROOT,
                "%s: tensor '%s' holds %d values that are not finite, the first at element %d: %s."
                    + " The model is damaged or its training diverged; exclude the tensor to keep"
                    + " the base's.",
                model.isComputed(name) ? model.path() : found.file(),
                found.info().name(),
                bad,
                first,
                value));
      }
      value = Values.get(ComputedValues.read(model, name, firstOut, 1), stored, 0);
      largest = Math.abs(value) > Math.abs(largest) ? value : largest;
    }
    throw new InputException(
        String.format(
            Locale.ROOT,
            "the merged tensor '%s' overflows %s in %d values, the first at element %d, where the"
                + " largest input is %s. Write another dtype, --dtype bf16 or f32.",
            tensor.info().name(),
            dtype,
            Values.countWhere(out, dtype, count, notFinite),
            firstOut,
            largest));
  }

  private static InputException overflow(
      CheckpointTensor tensor, DType to, long index, double value) {
    return new InputException(
        String.format(
            Locale.ROOT,
            "%s: tensor '%s' overflows %s, first at element %d: %s. Write another dtype,"
                + " --dtype bf16 or f32.",
            tensor.file(),
            tensor.info().name(),
            to,
            index,
            value));
  }

  // ---- the result ----

  private MergeResult result() {
    List<String> warnings = new ArrayList<>(plan.warnings());
    List<ModelStatistics> statistics = new ArrayList<>();
    double[] coefficients =
        request.sources().stream().mapToDouble(MergeSource::coefficient).toArray();
    for (CheckpointTensor tensor : disproved) {
      warnings.add(
          tensor.file()
              + ": the sum of squares that its metadata states for '"
              + tensor.info().name()
              + "' is not that of its data, so norms were computed from the data; the file was"
              + " changed after it was written");
    }
    boolean byModel = plan.isNormalized() && request.normalization() == Normalization.MODEL;
    double[] weights =
        Weights.relative(coefficients, byModel ? norms : null, request.minimalFisher());
    for (int i = 0; i < weights.length; i++) {
      Path model = request.sources().get(i).model();
      if (plan.isAverage()) {
        statistics.add(new ModelStatistics(model, Double.NaN, weights[i], 0));
        continue;
      }
      long below = scans[i].below();
      statistics.add(new ModelStatistics(model, norms[i], weights[i], below));
      if (scans[i].sumOfSquares() == 0) {
        warnings.add(
            inputs.fishers().get(i).path()
                + " is zero everywhere: "
                + model
                + " counts as in a plain average wherever the others are near zero too, and hardly"
                + " elsewhere");
      } else if (below * 2 > plan.mergedElements()) {
        warnings.add(
            String.format(
                Locale.ROOT,
                "model %s: %.0f %% of its Fisher values are below minimal-fisher %s, so it counts"
                    + " there as in a plain average",
                model,
                Math.floor(100.0 * below / plan.mergedElements()),
                request.minimalFisher()));
      }
    }
    return new MergeResult(
        request.output(),
        plan.mergedElements(),
        bytesDone,
        plan.bytesWritten(),
        List.copyOf(statistics),
        List.copyOf(warnings));
  }

  private void advance(long bytes) {
    bytesDone += bytes;
    listener.progress(bytesDone, Math.max(bytesDone, plan.bytesRead()));
  }

  /** A tensor of an input with its data. */
  private record Operand(MemorySegment segment, CheckpointTensor tensor) {
    DType dtype() {
      return tensor.info().dtype();
    }

    ElementType type() {
      return FisherValues.elementType(dtype());
    }

    long bytesPerElement() {
      return dtype().bits() / 8;
    }
  }

  private Operand fisherOperand(int model, Parameter parameter) {
    CheckpointTensor found = inputs.fisherOf(model, parameter);
    return new Operand(inputs.fishers().get(model).segment(found.canonicalName()), found);
  }
}
