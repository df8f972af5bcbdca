package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.kernels.Kernels;

/**
 * A merge that has been checked against the headers of all its files and that its {@link
 * MergeSession} can run, as long as no input changes. Immutable. Printing it is the dry run.
 */
public final class MergePlan {
  private final MergeRequest request;
  private final TensorChoice choice;
  private final List<String> warnings;
  private final List<InputFile> files;
  private final List<Path> sidecars;
  private final List<Integer> verifiedModels;
  private final List<SafetensorsWriter.Declared> written;
  private final long mergedElements;
  private final long hashedBytes;
  private final long bytesRead;
  private final long bytesWritten;
  private final long tensorsKnown;
  private final long solvingBytes;
  private final long heldBytes;
  private final int operands;
  private final String largestLayer;
  private final boolean scansFirst;

  MergePlan(
      MergeRequest request,
      TensorChoice choice,
      List<String> warnings,
      MergeInputs inputs,
      List<Path> sidecars,
      List<Integer> verifiedModels) {
    this.request = request;
    this.choice = choice;
    this.warnings = List.copyOf(warnings);
    this.files = inputs.files();
    this.sidecars = List.copyOf(sidecars);
    this.verifiedModels = List.copyOf(verifiedModels);
    this.written =
        inputs.base().tensors().values().stream()
            .map(tensor ->
                new SafetensorsWriter.Declared(
                    tensor.name(), outputDtype(tensor), tensor.info().shape()))
            .toList();
    this.mergedElements =
        choice.mergedTensors().stream().mapToLong(t -> t.info().elementCount()).sum();
    this.scansFirst =
        isNormalized() && !choice.streamed().stream().allMatch(p -> sumsAreStated(inputs, p));
    this.hashedBytes =
        verifiedModels.stream()
            .mapToLong(i -> StatisticPairs.dataBytes(inputs.models().get(i)))
            .sum();
    long values = 0;
    long statistics = 0;
    for (Parameter parameter : choice.streamed()) {
      for (int i = 0; i < inputs.models().size(); i++) {
        values += inputs.valueOf(i, parameter).info().byteCount();
      }
      for (int i = 0; i < inputs.fishers().size(); i++) {
        statistics += inputs.fisherOf(i, parameter).info().byteCount();
      }
    }
    long factors = 0;
    long solving = 0;
    String largest = "";
    if (request.rule() instanceof LayerRule rule) {
      for (SolvedLayer layer : choice.layers()) {
        factors += layer.factorBytes(rule) * inputs.statistics().size();
        for (int i = 0; i < inputs.statistics().size(); i++) {
          values += inputs.valueOf(i, layer.parameter()).info().byteCount();
        }
        if (rule.scalingFactor() != 1) {
          values += layer.parameter().tensor().info().byteCount();
        }
        long ofLayer = layer.solvingBytes(rule, inputs.statistics().size());
        if (ofLayer > solving) {
          solving = ofLayer;
          largest = layer.name();
        }
      }
    }
    this.solvingBytes = solving;
    // Models and Fishers, the base and the result.
    this.operands = inputs.models().size() + inputs.fishers().size() + 2;
    this.heldBytes =
        request.rule() instanceof TensorRule rule
            ? TensorMerge.heldBytes(rule, request.models().size(), inputs, choice.streamed())
            : StreamingAverage.heldBytes(inputs, choice.streamed());
    this.largestLayer = largest;
    long kept = choice.kept().stream().mapToLong(t -> t.info().byteCount()).sum();
    int passes = request.rule() instanceof TensorRule rule ? rule.passes() : 1;
    this.bytesRead =
        hashedBytes + (scansFirst ? 2 : 1) * statistics + factors + passes * values + kept;
    this.bytesWritten =
        writtenBytes(choice.mergedTensors())
            + writtenBytes(choice.copies())
            + writtenBytes(choice.kept());
    long known = inputs.base().tensors().size();
    for (Checkpoint model : inputs.models()) {
      known += model.tensors().size();
    }
    for (StatisticFile fisher : inputs.fishers()) {
      known += fisher.tensors().size();
    }
    this.tensorsKnown = known;
  }

  private static boolean sumsAreStated(MergeInputs inputs, Parameter parameter) {
    for (int i = 0; i < inputs.fishers().size(); i++) {
      String name = inputs.fisherOf(i, parameter).canonicalName();
      if (inputs.fishers().get(i).sumOfSquares(name).isEmpty()) {
        return false;
      }
    }
    return true;
  }

  /** What was asked for. */
  public MergeRequest request() {
    return request;
  }

  /** The base's names of the parameters that are merged, in file order; each once. */
  public List<String> merged() {
    return names(choice.mergedTensors());
  }

  /**
   * The base's further names of parameters that are merged: of tied weights that it stores more
   * than once. They get the same bits.
   */
  public List<String> tied() {
    return names(choice.copies());
  }

  /** The base's names of the tensors that no model has a say in; they keep the base's values. */
  public List<String> carriedOver() {
    return names(choice.carriedOver());
  }

  /** The base's names of the parameters that an exclusion keeps at the base's values. */
  public List<String> excluded() {
    return names(choice.excluded());
  }

  /** Things that are probably not meant, each a sentence for the user. */
  public List<String> warnings() {
    return warnings;
  }

  /** Parameters merged. */
  public long mergedElements() {
    return mergedElements;
  }

  /** Input bytes to read, over all passes. */
  public long bytesRead() {
    return bytesRead;
  }

  /** Bytes of tensor data to write. */
  public long bytesWritten() {
    return bytesWritten;
  }

  /** Passes over data: verifying models, norms of Fishers, what a tensor's rule asks, merging. */
  public int passes() {
    int merging = request.rule() instanceof TensorRule rule ? rule.passes() : 1;
    return (hashedBytes > 0 ? 1 : 0) + (scansFirst ? 1 : 0) + merging;
  }

  /**
   * Anonymous memory needed beyond the JVM's own, an upper estimate in bytes. It grows with the
   * number of tensors, not with their size: data is mapped in and out. A {@link LayerRule} takes
   * the factors of the largest layer besides, of all models. Values that are made as they are read,
   * by an adapter or from a Java array or a reader, take a chunk, of a {@link TensorRule} whole
   * tensors, which also takes what ranking magnitudes does. What a sink gives no memory for is not
   * counted.
   */
  public long memoryBytes() {
    return (7L << 20)
        + tensorsKnown * 2048
        + Kernels.mostBytesForFiles(operands)
        + solvingBytes
        + heldBytes;
  }

  /**
   * Refuses a merge that would end for want of memory.
   *
   * @param free bytes, where layers are solved
   * @throws InputException if it needs more
   */
  void requireMemory(long free) {
    if (memoryBytes() > free) {
      throw new InputException(
          String.format(
              Locale.ROOT,
              "a %s of %s takes %,d bytes of memory at the layer '%s', and %,d are free: merge fewer"
                  + " models, leave layers out with --exclude, end other programs, or take a larger"
                  + " machine",
              request.rule().title(),
              modelsText(),
              memoryBytes(),
              largestLayer,
              free));
    }
  }

  /** The plan as text of several lines, for a dry run. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    text.append(
        String.format(
            Locale.ROOT,
            "%s of %s into %s%n",
            request.rule().title(),
            modelsText(),
            request.output() + (request.sink() == null ? "" : ", in memory")));
    text.append(String.format(Locale.ROOT, "  base        %s%n", named(request.base())));
    List<MergeSource> shown =
        request.rule() instanceof TensorRule ? request.models() : request.operands();
    for (MergeSource source : shown) {
      text.append(String.format(Locale.ROOT, "  model       %s", named(source.model())));
      source.statistic().ifPresent(file -> text.append("  fisher ").append(named(file)));
      text.append(
          request.coefficients() == null
              ? String.format(Locale.ROOT, "  coefficient %s%n", source.coefficient())
              : String.format(Locale.ROOT, "  coefficient %s%n", request.coefficients().text()));
    }
    request
        .rule()
        .settings()
        .ifPresent(
            settings -> text.append(String.format(Locale.ROOT, "  formula     %s%n", settings)));
    DType outputDtype = request.outputDtype();
    text.append(
        String.format(
            Locale.ROOT,
            "  output      %s%n",
            outputDtype == null ? "dtypes of the base" : outputDtype.name()));
    count(text, "merged", choice.mergedTensors());
    if (!choice.layers().isEmpty()) {
      count(
          text,
          "layers solved",
          choice.layers().stream().map(layer -> layer.parameter().tensor()).toList());
    }
    if (!tied().isEmpty()) {
      count(text, "tied to them", choice.copies());
    }
    count(text, "carried over", choice.carriedOver());
    count(text, "excluded", choice.excluded());
    text.append(
        String.format(
            Locale.ROOT,
            "  reads       %,d bytes in %d %s%n",
            bytesRead,
            passes(),
            passes() == 1 ? "pass" : "passes"));
    text.append(String.format(Locale.ROOT, "  writes      %,d bytes", bytesWritten));
    int shards = CheckpointWriter.shards(written, request.shardBytes()).size();
    text.append(shards == 1 ? "" : " in " + shards + " shards").append(System.lineSeparator());
    text.append(
        String.format(
            Locale.ROOT,
            "  memory      %,d bytes beyond the JVM's own; data is mapped%n",
            memoryBytes()));
    for (String warning : warnings) {
      text.append("  warning: ").append(warning).append(System.lineSeparator());
    }
    return text.toString();
  }

  private String named(Path input) {
    return input + (request.inMemory().containsKey(input) ? ", in memory" : "");
  }

  /** How many models are merged, for messages; the base counts apart where it has a share. */
  public String modelsText() {
    int models = request.models().size();
    return models
        + (models == 1 ? " model" : " models")
        + (models < request.operands().size() ? " and the base" : "");
  }

  TensorChoice choice() {
    return choice;
  }

  /** Files whose tensors the merge reads, each once: of the base, the models and the statistics. */
  public List<Path> inputFiles() {
    return files.stream().map(InputFile::path).toList();
  }

  List<InputFile> files() {
    return files;
  }

  /** Files of the base's folder that go with the weights. */
  List<Path> sidecars() {
    return sidecars;
  }

  /** Places of the models that are compared with the SHA-256 in their statistic files. */
  List<Integer> verifiedModels() {
    return verifiedModels;
  }

  ElementwiseRule rule() {
    return request.rule().elementwise();
  }

  boolean isNormalized() {
    return rule().normalization() != Normalization.NONE;
  }

  /** Whether the statistics are read once before the merge, for norms that no file states. */
  boolean scansFirst() {
    return scansFirst;
  }

  /** What the output holds, in the order of the base. */
  List<SafetensorsWriter.Declared> written() {
    return written;
  }

  /** Dtype that a tensor of the base is written in. */
  DType outputDtype(CheckpointTensor tensor) {
    DType wanted = request.outputDtype();
    DType own = tensor.info().dtype();
    return wanted != null && own.isMergeable() ? wanted : own;
  }

  private long writtenBytes(List<CheckpointTensor> tensors) {
    return tensors.stream()
        .mapToLong(t ->
            t.info().dtype().isMergeable()
                ? t.info().elementCount() * outputDtype(t).bits() / 8
                : t.info().byteCount())
        .sum();
  }

  private static List<String> names(List<CheckpointTensor> tensors) {
    return tensors.stream().map(CheckpointTensor::name).toList();
  }

  private static void count(StringBuilder text, String label, List<CheckpointTensor> tensors) {
    long elements = tensors.stream().mapToLong(t -> t.info().elementCount()).sum();
    text.append(
        String.format(
            Locale.ROOT,
            "  %-13s%,d %s, %,d elements",
            label,
            tensors.size(),
            tensors.size() == 1 ? "tensor" : "tensors",
            elements));
    if (!label.equals("merged") && !tensors.isEmpty()) {
      text.append(
          tensors.stream()
              .limit(3)
              .map(CheckpointTensor::name)
              .collect(Collectors.joining(", ", ": ", tensors.size() > 3 ? ", ..." : "")));
    }
    text.append(System.lineSeparator());
  }
}
