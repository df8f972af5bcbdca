package org.fishermerge.merge;

import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.MappedFile;
import org.fishermerge.kernels.MappedGuard;
import org.fishermerge.kernels.PairSums;
import org.fishermerge.kernels.TypedValues;

/**
 * How alike the Fishers of several tasks are, over the whole model and layer by layer. They are
 * compared over the tensors that every file holds in the same shape; a tied weight counts once,
 * under whichever of its names. One pass over all files at once reads each value once for all
 * pairs; data is mapped, not held. The result has the same bits for any number of threads and for
 * any order and sharding of the files' tensors.
 */
public final class Similarity {
  /**
   * A multiple of the kernels' block of sums, and fixed: where the chunks end decides the order of
   * the sums.
   */
  private static final long CHUNK = 1L << 21;

  private static final int EXAMPLES_SHOWN = 3;

  private final List<StatisticFile> files;
  private final List<Compared> common;
  private final long bytes;
  private final List<String> warnings = new ArrayList<>();
  private final SimilarityMatrix model;
  private final Map<String, SimilarityMatrix> layers = new TreeMap<>(Layers.ORDER);

  /**
   * A compared file.
   *
   * @param metadata empty for a bare file
   */
  public record Source(Path path, Optional<StatisticMetadata> metadata) {}

  /**
   * A parameter that all files hold.
   *
   * @param name the smallest of its names, so that the files' order changes nothing
   * @param tensors of it, one of each file
   */
  private record Compared(String name, List<CheckpointTensor> tensors) {}

  private Similarity(List<StatisticFile> files) {
    this.files = files;
    this.common = commonTensors(files);
    this.bytes =
        common.stream()
            .flatMap(parameter -> parameter.tensors.stream())
            .mapToLong(tensor -> tensor.info().byteCount())
            .sum();
    this.model = new SimilarityMatrix("", files.size());
  }

  /**
   * Compares Fisher files.
   *
   * @param paths two or more
   * @param kernels used by this thread only while this runs; not closed
   * @throws InputException if there are fewer than two files, one cannot be read, no tensor is in
   *     all of them in the same shape, or a value is negative or not finite
   */
  public static Similarity of(List<Path> paths, Kernels kernels, ProgressListener listener) {
    if (paths.size() < 2) {
      throw new InputException("similarity compares two or more Fisher files, got " + paths.size());
    }
    List<StatisticFile> files = new ArrayList<>();
    try {
      for (Path path : paths) {
        StatisticFile file = StatisticFile.open(path);
        files.add(file);
        file.require(StatisticKind.DIAGONAL_FISHER, "similarity");
      }
      Similarity similarity = new Similarity(files);
      similarity.warnAboutFiles();
      similarity.run(kernels, listener);
      similarity.warnAboutZeros();
      return similarity;
    } finally {
      files.forEach(StatisticFile::close);
    }
  }

  /** The files, in the order given. */
  public List<Source> sources() {
    return files.stream().map(file -> new Source(file.path(), file.metadata())).toList();
  }

  /** Over all tensors compared. */
  public SimilarityMatrix model() {
    return model;
  }

  /**
   * Layer by layer, in natural order of their names. A tensor's layer is its name up to the first
   * part that is a number or speaks of embeddings, or without its last part where there is none.
   */
  public List<SimilarityMatrix> layers() {
    return List.copyOf(layers.values());
  }

  /** What may mislead, each a sentence for the user. */
  public List<String> warnings() {
    return List.copyOf(warnings);
  }

  // ---- what is compared ----

  /** By name, so that the sums have the same bits for any layout of the files. */
  private static List<Compared> commonTensors(List<StatisticFile> files) {
    Map<String, CheckpointTensor> first = files.getFirst().tensors();
    List<Compared> found = new ArrayList<>();
    for (CheckpointTensor tensor : first.values()) {
      List<CheckpointTensor> tensors =
          files.stream().flatMap(file -> same(file, files.getFirst(), tensor).stream()).toList();
      if (tensors.size() == files.size()) {
        String name =
            tensors.stream().map(CheckpointTensor::canonicalName).min(String::compareTo).get();
        found.add(new Compared(name, tensors));
      }
    }
    found.sort(Comparator.comparing(Compared::name));
    List<Compared> common = new ArrayList<>();
    for (Compared parameter : found) {
      if (!isKnown(files, common, parameter)) {
        common.add(parameter);
      }
    }
    if (common.isEmpty()) {
      StatisticFile other =
          files.stream()
              .filter(file ->
                  first.values().stream()
                      .noneMatch(t -> same(file, files.getFirst(), t).isPresent()))
              .findFirst()
              .orElse(files.getLast());
      throw new InputException(
          "no tensor is in every file in the same shape: "
              + files.getFirst().path()
              + " has "
              + examples(first.values())
              + "; "
              + other.path()
              + " has "
              + examples(other.tensors().values())
              + ". Compare Fishers of one architecture.");
    }
    return common;
  }

  private static Optional<CheckpointTensor> same(
      StatisticFile file, StatisticFile first, CheckpointTensor tensor) {
    return file.counterpart(first, tensor)
        .filter(twin -> twin.info().shape().equals(tensor.info().shape()));
  }

  /** Whether a parameter is, in every file, one of those before under another name that is tied. */
  private static boolean isKnown(
      List<StatisticFile> files, List<Compared> before, Compared parameter) {
    List<List<CheckpointTensor>> twins = new ArrayList<>();
    for (int i = 0; i < files.size(); i++) {
      CheckpointTensor tensor = parameter.tensors.get(i);
      List<CheckpointTensor> ofFile = new ArrayList<>(files.get(i).twins(tensor));
      ofFile.add(tensor);
      twins.add(ofFile);
    }
    return twins.stream().anyMatch(ofFile -> ofFile.size() > 1)
        && before.stream()
            .anyMatch(known ->
                IntStream.range(0, files.size())
                    .allMatch(i -> twins.get(i).contains(known.tensors.get(i))));
  }

  private static String examples(Collection<CheckpointTensor> tensors) {
    return NameList.of(
        tensors.stream().map(t -> "'" + t.info().name() + "' " + t.info().shapeText()).toList(),
        EXAMPLES_SHOWN);
  }

  // ---- the pass ----

  private void run(Kernels kernels, ProgressListener listener) {
    List<MappedFile> mapped =
        OpenFiles.mappedFiles(files.stream().flatMap(file -> file.mappings().stream()));
    MappedGuard guard = kernels.guard(mapped);
    try (guard) {
      pass(kernels, listener);
    } catch (InternalError | InputException e) {
      // A file that is cut short reads as zeros, or fails with an InternalError in Java.
      files.forEach(StatisticFile::requireSizes);
      throw e;
    } catch (UncheckedIOException e) {
      throw OpenFiles.failed(e);
    }
    files.forEach(StatisticFile::requireSizes);
    OpenFiles.requireUndamaged(guard);
  }

  private void pass(Kernels kernels, ProgressListener listener) {
    long done = 0;
    for (Compared parameter : common) {
      List<CheckpointTensor> tensors = parameter.tensors;
      List<MemorySegment> data = new ArrayList<>();
      for (int i = 0; i < files.size(); i++) {
        data.add(files.get(i).segment(tensors.get(i).canonicalName()));
      }
      long count = tensors.getFirst().info().elementCount();
      PairSums sums = new PairSums(files.size());
      for (long from = 0; from < count; from += CHUNK) {
        long n = Math.min(CHUNK, count - from);
        List<TypedValues> rows = new ArrayList<>(files.size());
        for (int i = 0; i < files.size(); i++) {
          long size = tensors.get(i).info().dtype().bits() / 8;
          MemorySegment chunk = data.get(i).asSlice(from * size, n * size);
          rows.add(new TypedValues(chunk, ElementTypes.of(tensors.get(i).info().dtype())));
          done += chunk.byteSize();
        }
        sums.add(kernels.pairSums(rows, n));
        listener.progress(done, bytes);
      }
      requireValid(tensors, sums);
      model.add(sums, count);
      layers
          .computeIfAbsent(
              Layers.layerOf(parameter.name), layer -> new SimilarityMatrix(layer, files.size()))
          .add(sums, count);
    }
  }

  /** The sums of a Fisher with itself show what must not be in it. */
  private void requireValid(List<CheckpointTensor> tensors, PairSums sums) {
    for (int i = 0; i < files.size(); i++) {
      if (!Double.isFinite(sums.root(i, i)) || !Double.isFinite(sums.product(i, i))) {
        throw FisherValues.invalid(files.get(i), tensors.get(i));
      }
    }
  }

  // ---- warnings ----

  private void warnAboutFiles() {
    Map<Path, Path> seen = new HashMap<>();
    for (StatisticFile file : files) {
      Path before = seen.putIfAbsent(RequestChecks.real(file.path()), file.path());
      if (before != null) {
        warnings.add(
            file.path()
                + " is given twice"
                + (before.equals(file.path()) ? "" : ", also as " + before));
      }
    }
    warnAboutTies();
    for (int i = 0; i < files.size(); i++) {
      StatisticFile file = files.get(i);
      int at = i;
      Set<CheckpointTensor> compared =
          common.stream().map(parameter -> parameter.tensors.get(at)).collect(Collectors.toSet());
      List<CheckpointTensor> left =
          file.tensors().values().stream()
              .filter(tensor -> !compared.contains(tensor))
              .filter(tensor -> file.twins(tensor).stream().noneMatch(compared::contains))
              .toList();
      if (!left.isEmpty()) {
        warnings.add(
            String.format(
                Locale.ROOT,
                "%s: %d of its %d tensors %s left out because not every file has %s in the same"
                    + " shape: %s",
                file.path(),
                left.size(),
                file.tensors().size(),
                left.size() == 1 ? "is" : "are",
                left.size() == 1 ? "it" : "them",
                examples(left)));
      }
    }
    warnAboutLabels();
  }

  /** Nothing but their names says so. */
  private void warnAboutTies() {
    for (Compared parameter : common) {
      Map<String, List<String>> byName = new TreeMap<>();
      for (int i = 0; i < files.size(); i++) {
        byName
            .computeIfAbsent(parameter.tensors.get(i).info().name(), any -> new ArrayList<>())
            .add(files.get(i).path().toString());
      }
      if (parameter.tensors.stream().map(CheckpointTensor::canonicalName).distinct().count() > 1) {
        warnings.add(
            "taken for one parameter, whose names models tie: "
                + byName.entrySet().stream()
                    .map(
                        e -> "'" + e.getKey() + "' of " + NameList.of(e.getValue(), EXAMPLES_SHOWN))
                    .collect(Collectors.joining(", ")));
      }
    }
  }

  private void warnAboutLabels() {
    Map<String, List<String>> byLabels = new LinkedHashMap<>();
    for (StatisticFile file : files) {
      String labels = file.metadata().map(StatisticMetadata::labels).orElse("no metadata");
      byLabels.computeIfAbsent(labels, l -> new ArrayList<>()).add(file.path().toString());
    }
    if (byLabels.size() > 1) {
      warnings.add(
          "the Fishers were estimated in different ways, which makes them less alike: "
              + byLabels.entrySet().stream()
                  .map(e -> e.getKey() + " (" + NameList.of(e.getValue(), EXAMPLES_SHOWN) + ")")
                  .collect(Collectors.joining(", ")));
    }
  }

  private void warnAboutZeros() {
    for (int i = 0; i < files.size(); i++) {
      if (model.isZero(i)) {
        warnings.add(files.get(i).path() + " is zero everywhere: nothing is similar to it");
      }
    }
  }
}
