package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.DoublePredicate;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.FisherFile;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.WeightedInput;
import org.fishermerge.merge.MergeResult.ModelStatistics;

/**
 * Executes plans. Data streams from mapped inputs to the output mapped in place, a chunk of all
 * models at a time; the output appears whole or not at all. The result has the same bits for any
 * number of threads, for any order and sharding of the inputs' tensors.
 */
public final class Merger {
  private final MergePlan plan;
  private final MergeRequest request;
  private final MergeInputs inputs;
  private final Kernels kernels;
  private final ProgressListener listener;
  private final boolean parallel;
  private final double[] norms;
  private final Values.FisherScan[] scans;
  private final Map<String, double[]> tensorNorms = new HashMap<>();
  private long bytesDone;

  private Merger(MergePlan plan, MergeInputs inputs, Kernels kernels, ProgressListener listener) {
    this.plan = plan;
    this.request = plan.request();
    this.inputs = inputs;
    this.kernels = kernels;
    this.listener = listener;
    this.parallel = kernels.info().threads() > 1;
    this.norms = new double[inputs.fishers().size()];
    this.scans = new Values.FisherScan[inputs.fishers().size()];
    Arrays.fill(norms, Double.NaN);
    Arrays.fill(scans, Values.FisherScan.EMPTY);
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
    plan.files().forEach(file -> file.requireUnchanged("since the merge was planned"));
    MergeRequest request = plan.request();
    boolean single = OutputTarget.isSingleFile(request);
    try (AtomicOutput output =
            single
                ? AtomicOutput.file(request.output(), request.overwrite())
                : AtomicOutput.folder(request.output(), request.overwrite());
        MergeInputs inputs = MergeInputs.open(request)) {
      Merger merger = new Merger(plan, inputs, kernels, listener);
      merger.verifyModels();
      merger.computeNorms();
      merger.write(single ? output.temp() : output.temp().resolve(OutputTarget.WEIGHTS));
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

  // ---- pass: norms of the Fishers ----

  private void computeNorms() {
    if (!plan.normPass()) {
      return;
    }
    // By name, so that the sum over tensors has the same bits for any layout of the files.
    List<CheckpointTensor> tensors =
        plan.mergedTensors().stream()
            .sorted(Comparator.comparing(CheckpointTensor::canonicalName))
            .toList();
    for (int i = 0; i < inputs.fishers().size(); i++) {
      FisherFile fisher = inputs.fishers().get(i);
      double squares = 0;
      for (CheckpointTensor tensor : tensors) {
        double ofTensor = sumOfSquares(i, tensor);
        squares += ofTensor;
        tensorNorms
                .computeIfAbsent(
                    tensor.canonicalName(), name -> new double[inputs.fishers().size()])[i] =
            Math.sqrt(ofTensor) / fisher.examples();
      }
      norms[i] = Math.sqrt(squares) / fisher.examples();
      if (!Double.isFinite(norms[i])) {
        throw FisherValues.overflows(fisher);
      }
    }
  }

  private double sumOfSquares(int model, CheckpointTensor tensor) {
    FisherFile fisher = inputs.fishers().get(model);
    CheckpointTensor found = Planner.tensorOf(fisher, tensor.canonicalName());
    DType dtype = found.info().dtype();
    MemorySegment values = fisher.segment(tensor.canonicalName());
    Values.FisherScan scan = Values.FisherScan.EMPTY;
    double sum = 0;
    long count = found.info().elementCount();
    for (long from = 0; from < count; from += plan.chunkElements()) {
      long n = Math.min(plan.chunkElements(), count - from);
      MemorySegment chunk = slice(values, dtype, from, n);
      sum += kernels.sumOfSquares(chunk, FisherValues.elementType(dtype), n);
      scan = scan.plus(scan(model, chunk, dtype, n));
      advance(chunk.byteSize());
    }
    requireValid(fisher, found, scan);
    scans[model] = scans[model].plus(scan);
    return sum;
  }

  private Values.FisherScan scan(int model, MemorySegment chunk, DType dtype, long count) {
    double threshold = request.minimalFisher() * inputs.fishers().get(model).examples();
    return Values.scanFisher(chunk, dtype, count, threshold, parallel);
  }

  // ---- pass: the merge ----

  private void write(Path file) {
    List<SafetensorsWriter.Declared> declared = new ArrayList<>();
    for (CheckpointTensor tensor : inputs.base().tensors().values()) {
      declared.add(
          new SafetensorsWriter.Declared(
              tensor.info().name(), plan.outputDtype(tensor), tensor.info().shape()));
    }
    try (SafetensorsWriter writer =
        SafetensorsWriter.create(file, declared, Map.of("format", "pt"))) {
      for (CheckpointTensor tensor : plan.mergedTensors()) {
        merge(tensor, writer.segment(tensor.info().name()));
      }
      for (CheckpointTensor tensor : plan.keptTensors()) {
        keep(tensor, writer.segment(tensor.info().name()));
      }
      writer.finish();
    }
  }

  private void merge(CheckpointTensor tensor, MemorySegment out) {
    String name = tensor.canonicalName();
    int models = inputs.models().size();
    List<Share> shares = shares(name);
    List<Operand> values = new ArrayList<>();
    List<Operand> fishers = new ArrayList<>();
    for (int i = 0; i < models; i++) {
      Checkpoint model = inputs.models().get(i);
      values.add(new Operand(model.segment(name), model.tensor(name)));
      if (!plan.isAverage()) {
        FisherFile fisher = inputs.fishers().get(i);
        fishers.add(new Operand(fisher.segment(name), Planner.tensorOf(fisher, name)));
      }
    }
    // With a pass for the norms, the Fishers have been scanned there.
    boolean scanFishers = !plan.isAverage() && !plan.normPass();
    Values.FisherScan[] found = new Values.FisherScan[models];
    Arrays.fill(found, Values.FisherScan.EMPTY);
    DType outDtype = plan.outputDtype(tensor);
    boolean finite = true;
    long count = tensor.info().elementCount();
    for (long from = 0; from < count; from += plan.chunkElements()) {
      long n = Math.min(plan.chunkElements(), count - from);
      List<WeightedInput> chunk = new ArrayList<>(models);
      long bytes = 0;
      for (int i = 0; i < models; i++) {
        MemorySegment value = values.get(i).slice(from, n);
        MemorySegment fisher = fishers.isEmpty() ? null : fishers.get(i).slice(from, n);
        bytes += value.byteSize() + (fisher == null ? 0 : fisher.byteSize());
        chunk.add(
            new WeightedInput(
                value,
                FisherValues.elementType(values.get(i).dtype()),
                fisher,
                fishers.isEmpty()
                    ? ElementType.F32
                    : FisherValues.elementType(fishers.get(i).dtype()),
                shares.get(i).scale(),
                shares.get(i).offset()));
      }
      MemorySegment outChunk = slice(out, outDtype, from, n);
      kernels.weightedAverage(chunk, outChunk, FisherValues.elementType(outDtype), n);
      if (scanFishers) {
        for (int i = 0; i < models; i++) {
          Operand fisher = fishers.get(i);
          found[i] = found[i].plus(scan(i, fisher.slice(from, n), fisher.dtype(), n));
        }
      }
      finite &= Values.allFinite(outChunk, outDtype, n);
      advance(bytes);
    }
    if (scanFishers) {
      for (int i = 0; i < models; i++) {
        requireValid(inputs.fishers().get(i), fishers.get(i).tensor(), found[i]);
        scans[i] = scans[i].plus(found[i]);
      }
    }
    if (!finite) {
      throw notFinite(tensor, values, out);
    }
  }

  /** Writes a tensor that keeps the base's values, in the output's dtype. */
  private void keep(CheckpointTensor tensor, MemorySegment out) {
    MemorySegment values = inputs.base().segment(tensor.canonicalName());
    DType from = tensor.info().dtype();
    DType to = plan.outputDtype(tensor);
    if (from == to) {
      out.copyFrom(values);
    } else {
      long count = tensor.info().elementCount();
      for (long at = 0; at < count; at += plan.chunkElements()) {
        long n = Math.min(plan.chunkElements(), count - at);
        MemorySegment chunk = slice(values, from, at, n);
        MemorySegment outChunk = slice(out, to, at, n);
        kernels.weightedAverage(
            List.of(
                new WeightedInput(
                    chunk, FisherValues.elementType(from), null, ElementType.F32, 0, 1)),
            outChunk,
            FisherValues.elementType(to),
            n);
        // Attention masks may hold infinities on purpose; a finite value must stay one.
        if (!Values.allFinite(outChunk, to, n)) {
          for (long j = 0; j < n; j++) {
            double value = Values.get(chunk, from, j);
            if (Double.isFinite(value) && !Double.isFinite(Values.get(outChunk, to, j))) {
              throw overflow(tensor, to, at + j, value);
            }
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

  private void requireValid(FisherFile file, CheckpointTensor tensor, Values.FisherScan scan) {
    if (scan.invalid()) {
      throw FisherValues.invalid(file, tensor);
    }
  }

  private InputException notFinite(
      CheckpointTensor tensor, List<Operand> values, MemorySegment out) {
    DoublePredicate notFinite = v -> !Double.isFinite(v);
    long count = tensor.info().elementCount();
    for (Operand operand : values) {
      MemorySegment segment = operand.segment();
      long first = Values.firstWhere(segment, operand.dtype(), count, notFinite);
      if (first >= 0) {
        return new InputException(
            String.format(
                Locale.ROOT,
                "%s: tensor '%s' holds %d values that are not finite, the first at element %d: %s."
                    + " The model is damaged or its training diverged; exclude the tensor to keep"
                    + " the base's.",
                operand.tensor().file(),
                operand.tensor().info().name(),
                Values.countWhere(segment, operand.dtype(), count, notFinite),
                first,
                Values.get(segment, operand.dtype(), first)));
      }
    }
    DType dtype = plan.outputDtype(tensor);
    long first = Values.firstWhere(out, dtype, count, notFinite);
    double largest = 0;
    for (Operand operand : values) {
      double value = Values.get(operand.segment(), operand.dtype(), first);
      largest = Math.abs(value) > Math.abs(largest) ? value : largest;
    }
    return new InputException(
        String.format(
            Locale.ROOT,
            "the merged tensor '%s' overflows %s in %d values, the first at element %d, where the"
                + " largest input is %s. Write another dtype, BF16 or F32.",
            tensor.info().name(),
            dtype,
            Values.countWhere(out, dtype, count, notFinite),
            first,
            largest));
  }

  private static InputException overflow(
      CheckpointTensor tensor, DType to, long index, double value) {
    return new InputException(
        String.format(
            Locale.ROOT,
            "%s: tensor '%s' overflows %s, first at element %d: %s. Write another dtype, BF16 or"
                + " F32.",
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
    boolean byModel = plan.normPass() && request.normalization() == Normalization.MODEL;
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
      if (!scans[i].nonZero()) {
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
    listener.progress(bytesDone, plan.bytesRead());
  }

  /** A tensor of an input with its data. */
  private record Operand(MemorySegment segment, CheckpointTensor tensor) {
    DType dtype() {
      return tensor.info().dtype();
    }

    MemorySegment slice(long from, long count) {
      return Merger.slice(segment, dtype(), from, count);
    }
  }

  private static MemorySegment slice(MemorySegment segment, DType dtype, long from, long count) {
    long bytes = dtype.bits() / 8;
    return segment.asSlice(from * bytes, count * bytes);
  }
}
