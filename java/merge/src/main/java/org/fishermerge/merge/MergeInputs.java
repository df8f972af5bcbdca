package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.FisherFile;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelPath;
import org.fishermerge.checkpoint.SafetensorsHeader;

/** All files of a request, opened; sources keep the request's order. */
record MergeInputs(Checkpoint base, List<Checkpoint> models, List<FisherFile> fishers)
    implements AutoCloseable {

  static MergeInputs open(MergeRequest request) {
    List<AutoCloseable> opened = new ArrayList<>();
    try {
      Checkpoint base = Checkpoint.open(request.base());
      opened.add(base);
      List<Checkpoint> models = new ArrayList<>();
      List<FisherFile> fishers = new ArrayList<>();
      for (MergeSource source : request.sources()) {
        Checkpoint model = Checkpoint.open(model(request, source.model()), base);
        opened.add(model);
        models.add(model);
        if (source.fisher() != null) {
          FisherFile fisher = FisherFile.open(source.fisher(), base);
          opened.add(fisher);
          fishers.add(fisher);
        }
      }
      base.requireWeights();
      models.forEach(Checkpoint::requireWeights);
      return new MergeInputs(base, models, fishers);
    } catch (Throwable e) {
      closeAll(opened, e);
      throw e;
    }
  }

  /** A model of a request; an adapter alone may belong to the base. */
  static ModelPath model(MergeRequest request, Path model) {
    return ModelPath.of(model, ModelPath.of(request.base()).base());
  }

  /** Files whose tensor data a merge reads. */
  List<MergePlan.InputFile> files() {
    Stream<Path> checkpoints =
        Stream.concat(Stream.of(base), models.stream())
            .flatMap(checkpoint -> checkpoint.files().stream())
            .map(SafetensorsHeader::file);
    return Stream.concat(checkpoints, fishers.stream().flatMap(fisher -> fisher.files().stream()))
        .distinct()
        .map(MergePlan.InputFile::of)
        .toList();
  }

  /** All files, mapped whole. */
  List<MemorySegment> mappings() {
    Stream<MemorySegment> checkpoints =
        Stream.concat(Stream.of(base), models.stream())
            .flatMap(checkpoint -> checkpoint.mappings().stream());
    return Stream.concat(
            checkpoints, fishers.stream().flatMap(fisher -> fisher.mappings().stream()))
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
    return files().stream().map(MergePlan.InputFile::path).toList();
  }

  @Override
  public void close() {
    fishers.forEach(FisherFile::close);
    models.forEach(Checkpoint::close);
    base.close();
  }

  private static void closeAll(List<AutoCloseable> opened, Throwable cause) {
    for (AutoCloseable resource : opened) {
      try {
        resource.close();
      } catch (Exception e) {
        cause.addSuppressed(Objects.requireNonNull(e));
      }
    }
  }
}
