package org.fishermerge.merge;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.checkpoint.SafetensorsWriter;

/**
 * A merge that has been checked against the headers of all its files and can be run. It holds no
 * file open; {@link Merger#run} refuses to run it once an input has changed. Printing it is the dry
 * run.
 */
public final class MergePlan {
  static final String SINCE_PLANNED = "since the merge was planned";

  private final MergeRequest request;
  private final List<Parameter> merged;
  private final List<CheckpointTensor> carriedOver;
  private final List<CheckpointTensor> excluded;
  private final List<String> warnings;
  private final List<InputFile> files;
  private final List<Path> sidecars;
  private final List<Integer> verifiedModels;
  private final List<SafetensorsWriter.Declared> written;
  private final long mergedElements;
  private final long hashedBytes;
  private final long bytesRead;
  private final long bytesWritten;
  private final long tensorsHeld;
  private final boolean sumsStated;

  /** A file as it was when the plan was made. */
  record InputFile(Path path, long size, FileTime modified) {
    static InputFile of(Path path) {
      try {
        return new InputFile(path, Files.size(path), Files.getLastModifiedTime(path));
      } catch (IOException e) {
        throw new InputException("cannot read " + path + ": " + Reasons.of(e), e);
      }
    }

    void requireUnchanged(String since) {
      if (!of(path).equals(this)) {
        throw changed(since);
      }
    }

    InputException changed(String since) {
      return new InputException(
          path + " has changed " + since + "; nothing was written. Merge again.");
    }
  }

  MergePlan(
      MergeRequest request,
      List<Parameter> merged,
      List<CheckpointTensor> carriedOver,
      List<CheckpointTensor> excluded,
      Collection<CheckpointTensor> all,
      List<String> warnings,
      List<InputFile> files,
      List<Path> sidecars,
      List<Integer> verifiedModels,
      long hashedBytes,
      long fisherBytes,
      long mergedBytes,
      long tensorsHeld,
      boolean sumsStated) {
    this.sumsStated = sumsStated;
    this.request = request;
    this.merged = List.copyOf(merged);
    this.carriedOver = List.copyOf(carriedOver);
    this.excluded = List.copyOf(excluded);
    this.warnings = List.copyOf(warnings);
    this.files = List.copyOf(files);
    this.sidecars = List.copyOf(sidecars);
    this.verifiedModels = List.copyOf(verifiedModels);
    this.written =
        all.stream()
            .map(tensor ->
                new SafetensorsWriter.Declared(
                    tensor.name(), outputDtype(tensor), tensor.info().shape()))
            .toList();
    this.mergedElements = tensors(merged).stream().mapToLong(t -> t.info().elementCount()).sum();
    this.hashedBytes = hashedBytes;
    long kept = bytes(carriedOver) + bytes(excluded);
    this.bytesRead = hashedBytes + (normPass() ? fisherBytes : 0) + mergedBytes + kept;
    this.bytesWritten =
        written(tensors(merged))
            + written(copies(merged))
            + written(carriedOver)
            + written(excluded);
    this.tensorsHeld = tensorsHeld;
  }

  /**
   * Checks everything that can be checked without reading tensor data, but for the first page of
   * each tensor where a Fisher file tells its model by fingerprint.
   *
   * @throws InputException for the first thing that is wrong
   */
  public static MergePlan of(MergeRequest request) {
    return Planner.plan(request);
  }

  /** What was asked for. */
  public MergeRequest request() {
    return request;
  }

  /** The base's names of the parameters that are merged, in file order; each once. */
  public List<String> merged() {
    return names(tensors(merged));
  }

  /**
   * The base's further names of parameters that are merged: of tied weights that it stores more
   * than once. They get the same bits.
   */
  public List<String> tied() {
    return names(copies(merged));
  }

  private static List<CheckpointTensor> tensors(List<Parameter> parameters) {
    return parameters.stream().map(Parameter::tensor).toList();
  }

  private static List<CheckpointTensor> copies(List<Parameter> parameters) {
    return parameters.stream().flatMap(parameter -> parameter.copies().stream()).toList();
  }

  /** The base's names of the tensors that no model has a say in; they keep the base's values. */
  public List<String> carriedOver() {
    return names(carriedOver);
  }

  /** The base's names of the parameters that an exclusion keeps at the base's values. */
  public List<String> excluded() {
    return names(excluded);
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

  /** Passes over data: verifying models, norms of Fishers, merging. */
  public int passes() {
    return (hashedBytes > 0 ? 1 : 0) + (normPass() ? 1 : 0) + 1;
  }

  /**
   * Anonymous memory needed beyond the JVM's own, an upper estimate in bytes. It grows with the
   * number of tensors, not with their size: data is mapped in and out.
   */
  public long memoryBytes() {
    return (7L << 20) + tensorsHeld * 2048;
  }

  /** The plan as text of several lines, for a dry run. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    boolean average = isAverage();
    text.append(
        String.format(
            Locale.ROOT,
            "%s of %s into %s%n",
            average ? "average" : "Fisher merge",
            modelsText(),
            request.output()));
    text.append(String.format(Locale.ROOT, "  base        %s%n", request.base()));
    for (MergeSource source : request.sources()) {
      text.append(String.format(Locale.ROOT, "  model       %s", source.model()));
      if (source.fisher() != null) {
        text.append("  fisher ").append(source.fisher());
      }
      text.append(String.format(Locale.ROOT, "  coefficient %s%n", source.coefficient()));
    }
    if (!average) {
      text.append(
          String.format(
              Locale.ROOT,
              "  formula     normalisation %s, minimal Fisher %s%n",
              request.normalization().name().toLowerCase(Locale.ROOT),
              request.minimalFisher()));
    }
    DType outputDtype = request.outputDtype();
    text.append(
        String.format(
            Locale.ROOT,
            "  output      %s%n",
            outputDtype == null ? "dtypes of the base" : outputDtype.name()));
    count(text, "merged", tensors(merged));
    if (!tied().isEmpty()) {
      count(text, "tied to them", copies(merged));
    }
    count(text, "carried over", carriedOver);
    count(text, "excluded", excluded);
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

  /** How many models are merged, for messages; the base counts apart where it has a share. */
  public String modelsText() {
    return request.models()
        + (request.models() == 1 ? " model" : " models")
        + (request.models() < request.sources().size() ? " and the base" : "");
  }

  List<Parameter> mergedParameters() {
    return merged;
  }

  /** Carried over and excluded: the tensors that keep the base's values, in file order of each. */
  List<CheckpointTensor> keptTensors() {
    return java.util.stream.Stream.concat(carriedOver.stream(), excluded.stream()).toList();
  }

  List<InputFile> files() {
    return files;
  }

  /** Files of the base's folder that go with the weights. */
  List<Path> sidecars() {
    return sidecars;
  }

  /** Indices of the sources whose model is compared with the SHA-256 in its Fisher file. */
  List<Integer> verifiedModels() {
    return verifiedModels;
  }

  boolean isAverage() {
    return request.sources().getFirst().fisher() == null;
  }

  boolean isNormalized() {
    return !isAverage() && request.normalization() != Normalization.NONE;
  }

  /** Whether norms are needed that not all Fisher files state. */
  boolean normPass() {
    return isNormalized() && !sumsStated;
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

  private long written(List<CheckpointTensor> tensors) {
    return tensors.stream()
        .mapToLong(t ->
            t.info().dtype().isMergeable()
                ? t.info().elementCount() * outputDtype(t).bits() / 8
                : t.info().byteCount())
        .sum();
  }

  private static long bytes(List<CheckpointTensor> tensors) {
    return tensors.stream().mapToLong(t -> t.info().byteCount()).sum();
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
