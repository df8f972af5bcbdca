package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsHeader;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.kernels.TypedValues;

/**
 * What one merge reads of a session's open files.
 *
 * @param models in the order of {@link MergeRequest#operands}
 * @param fishers those whose values weight elements, one for each model, or none
 * @param statistics all files that the rule needs, one for each model, or none
 */
record MergeInputs(
    Checkpoint base,
    List<Checkpoint> models,
    List<StatisticFile> fishers,
    List<StatisticFile> statistics) {
  /** The base and the models, each once. */
  List<Checkpoint> checkpoints() {
    return Stream.concat(Stream.of(base), models.stream()).distinct().toList();
  }

  /** Files whose tensor data a merge reads. */
  List<InputFile> files() {
    Stream<Path> checkpoints =
        checkpoints().stream()
            .flatMap(checkpoint -> checkpoint.files().stream())
            .map(SafetensorsHeader::file);
    return Stream.concat(checkpoints, statistics.stream().flatMap(file -> file.files().stream()))
        .distinct()
        .map(InputFile::of)
        .toList();
  }

  /** A model's tensor of a parameter, under whichever of its names. */
  Optional<CheckpointTensor> findValue(int model, Parameter parameter) {
    Checkpoint checkpoint = models.get(model);
    return stored(checkpoint.tensors(), parameter)
        .or(() -> parameter.names().stream().flatMap(n -> checkpoint.find(n).stream()).findFirst());
  }

  /** The same of a Fisher file. */
  Optional<CheckpointTensor> findFisher(int model, Parameter parameter) {
    return stored(fishers.get(model).tensors(), parameter);
  }

  private static Optional<CheckpointTensor> stored(
      Map<String, CheckpointTensor> tensors, Parameter parameter) {
    return parameter.names().stream()
        .filter(tensors::containsKey)
        .findFirst()
        .map(name -> Objects.requireNonNull(tensors.get(name)));
  }

  /** As {@link #findValue}, of what a plan has checked. */
  CheckpointTensor valueOf(int model, Parameter parameter) {
    return findValue(model, parameter)
        .orElseThrow(() -> lacks(models.get(model).path(), parameter));
  }

  /** A stretch of a model's values as its file has them: what a computed one is computed from. */
  MemorySegment source(int model, Parameter parameter, long from, long count) {
    return models.get(model).source(valueOf(model, parameter).canonicalName(), from, count);
  }

  /** The same as a kernel takes it: where it lies, or where the chunk will compute it. */
  TypedValues values(
      int model, Parameter parameter, long from, long count, ComputedValues.Chunk computed) {
    return computed.values(models.get(model), valueOf(model, parameter), from, count);
  }

  /** The same of a Fisher. */
  TypedValues fisher(
      int model, Parameter parameter, long from, long count, ComputedValues.Chunk computed) {
    return computed.values(
        fishers.get(model).checkpoint(), fisherOf(model, parameter), from, count);
  }

  /** Memory for a stretch of a parameter's values and Fishers, of those that are computed. */
  long computedBytes(Parameter parameter, long count) {
    long bytes = 0;
    for (int i = 0; i < models.size(); i++) {
      String name = valueOf(i, parameter).canonicalName();
      bytes += ComputedValues.alignedBytes(models.get(i), name, count);
    }
    for (int i = 0; i < fishers.size(); i++) {
      bytes += computedFisherBytes(i, parameter, count);
    }
    return bytes;
  }

  /** The same of one model's Fisher. */
  long computedFisherBytes(int model, Parameter parameter, long count) {
    String name = fisherOf(model, parameter).canonicalName();
    return ComputedValues.alignedBytes(fishers.get(model).checkpoint(), name, count);
  }

  /** As {@link #findFisher}, of what a plan has checked. */
  CheckpointTensor fisherOf(int model, Parameter parameter) {
    return findFisher(model, parameter)
        .orElseThrow(() -> lacks(fishers.get(model).path(), parameter));
  }

  private static InputException lacks(Path path, Parameter parameter) {
    return new InputException(path + " has no tensor '" + parameter.name() + "'");
  }

  /** The first input that says that this parameter is merged: a Fisher file, or else a model. */
  Path coveringFile(Parameter parameter) {
    for (int i = 0; i < models.size(); i++) {
      boolean covers =
          fishers.isEmpty()
              ? findValue(i, parameter).isPresent()
              : findFisher(i, parameter).isPresent();
      if (covers) {
        return fishers.isEmpty() ? models.get(i).path() : fishers.get(i).path();
      }
    }
    return base.path();
  }

  /** The files of weights and Fishers. */
  List<Path> paths() {
    return files().stream().map(InputFile::path).toList();
  }
}
