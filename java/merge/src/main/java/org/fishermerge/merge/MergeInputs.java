package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.FisherFile;
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
        Checkpoint model = Checkpoint.open(model(request, source.model()));
        opened.add(model);
        models.add(model);
        if (source.fisher() != null) {
          FisherFile fisher = FisherFile.open(source.fisher());
          opened.add(fisher);
          fishers.add(fisher);
        }
      }
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

  /** The first input that says that this parameter is merged: a Fisher file, or else a model. */
  Path coveringFile(String canonicalName) {
    Stream<Path> covering =
        fishers.isEmpty()
            ? models.stream().filter(m -> m.has(canonicalName)).map(Checkpoint::path)
            : fishers.stream()
                .filter(f -> f.tensors().containsKey(canonicalName))
                .map(FisherFile::path);
    return covering.findFirst().orElseThrow();
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
