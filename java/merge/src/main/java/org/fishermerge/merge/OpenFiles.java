package org.fishermerge.merge;

import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.FileMapping;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelPath;
import org.fishermerge.checkpoint.NamedTensors;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.kernels.MappedFile;
import org.fishermerge.kernels.MappedGuard;
import org.jspecify.annotations.Nullable;

/**
 * The inputs of a session, files or tensors in memory: the base, the models in the request's order,
 * and their statistic files, all of them or none.
 */
record OpenFiles(Checkpoint base, List<Checkpoint> models, List<StatisticFile> statistics)
    implements AutoCloseable {

  static OpenFiles open(MergeRequest request) {
    List<AutoCloseable> opened = new ArrayList<>();
    try {
      Checkpoint base = open(request, request.base(), null);
      opened.add(base);
      List<Checkpoint> models = new ArrayList<>();
      List<StatisticFile> statistics = new ArrayList<>();
      for (MergeSource source : request.models()) {
        Checkpoint model = open(request, source.model(), base);
        opened.add(model);
        models.add(model);
        source
            .statistic()
            .map(file -> statistic(request, file, base))
            .ifPresent(file -> {
              opened.add(file);
              statistics.add(file);
            });
      }
      base.requireWeights();
      models.forEach(Checkpoint::requireWeights);
      return new OpenFiles(base, List.copyOf(models), List.copyOf(statistics));
    } catch (Throwable e) {
      closeAll(opened, e);
      throw e;
    }
  }

  private static Checkpoint open(MergeRequest request, Path model, @Nullable Checkpoint base) {
    NamedTensors tensors = request.inMemory().get(model);
    if (tensors != null) {
      return Checkpoint.of(tensors, base);
    }
    return base == null ? Checkpoint.open(model) : Checkpoint.open(modelPath(request, model), base);
  }

  private static StatisticFile statistic(MergeRequest request, Path file, Checkpoint base) {
    NamedTensors tensors = request.inMemory().get(file);
    return tensors == null ? StatisticFile.open(file, base) : StatisticFile.of(tensors, base);
  }

  /** A model of a request, in files; an adapter alone may belong to the base. */
  static ModelPath modelPath(MergeRequest request, Path model) {
    return ModelPath.of(
        model,
        request.inMemory().containsKey(request.base())
            ? null
            : ModelPath.of(request.base()).base());
  }

  /** What a merge by this request reads of them. */
  MergeInputs inputs(MergeRequest request) {
    List<Checkpoint> operands = new ArrayList<>(models);
    for (int i = models.size(); i < request.operands().size(); i++) {
      operands.add(base);
    }
    boolean elementwise = !request.rule().elementwise().statistics().isEmpty();
    boolean any = !request.rule().statistics().isEmpty();
    return new MergeInputs(
        base, operands, elementwise ? statistics : List.of(), any ? statistics : List.of());
  }

  /** All files, as kernels know them. */
  List<MappedFile> mappedFiles() {
    Stream<FileMapping> checkpoints =
        Stream.concat(Stream.of(base), models.stream())
            .flatMap(checkpoint -> checkpoint.mappings().stream());
    return mappedFiles(
        Stream.concat(checkpoints, statistics.stream().flatMap(file -> file.mappings().stream())));
  }

  static List<MappedFile> mappedFiles(Stream<FileMapping> mappings) {
    return mappings.map(file -> new MappedFile(file.data(), file.descriptor())).toList();
  }

  /**
   * Nothing that was computed counts where zeros were read in place of a file.
   *
   * @throws InputException naming the files
   */
  static void requireUndamaged(MappedGuard guard) {
    if (!guard.damaged().isEmpty()) {
      throw new InputException(
          String.join(", ", guard.damaged())
              + ": could not be read to the end: it was cut short, or its disk failed; nothing was"
              + " written");
    }
  }

  /** What the system says of a file that kernels read or write. */
  static InputException failed(UncheckedIOException e) {
    return new InputException(
        e.getMessage()
            + ": "
            + Reasons.of(Objects.requireNonNull(e.getCause()))
            + "; nothing was written",
        e);
  }

  @Override
  public void close() {
    statistics.forEach(StatisticFile::close);
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
