package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.FisherFile;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.MappedGuard;
import org.fishermerge.kernels.PairSums;
import org.fishermerge.kernels.TypedValues;

/**
 * How alike the Fishers of several tasks are, over the whole model and layer by layer. They are
 * compared over the tensors that every file holds in the same shape. One pass over all files at
 * once reads each value once for all pairs; data is mapped, not held. The result has the same bits
 * for any number of threads and for any order and sharding of the files' tensors.
 */
public final class Similarity {
  /**
   * A multiple of the kernels' block of sums, and fixed: where the chunks end decides the order of
   * the sums.
   */
  private static final long CHUNK = 1L << 21;

  private static final int EXAMPLES_SHOWN = 3;

  private final List<FisherFile> files;
  private final List<String> common;
  private final long bytes;
  private final List<String> warnings = new ArrayList<>();
  private final SimilarityMatrix model;
  private final Map<String, SimilarityMatrix> layers = new TreeMap<>(Layers.ORDER);

  /**
   * A compared file.
   *
   * @param metadata empty for a bare file
   */
  public record Source(Path path, Optional<FisherMetadata> metadata) {}

  private Similarity(List<FisherFile> files) {
    this.files = files;
    this.common = commonTensors(files);
    this.bytes = common.stream().mapToLong(this::byteCount).sum();
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
    List<FisherFile> files = new ArrayList<>();
    try {
      for (Path path : paths) {
        files.add(FisherFile.open(path));
      }
      Similarity similarity = new Similarity(files);
      similarity.warnAboutFiles();
      similarity.run(kernels, listener);
      similarity.warnAboutZeros();
      return similarity;
    } finally {
      files.forEach(FisherFile::close);
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
  private static List<String> commonTensors(List<FisherFile> files) {
    Map<String, CheckpointTensor> first = files.getFirst().tensors();
    List<String> common =
        first.values().stream()
            .filter(tensor -> files.stream().allMatch(file -> hasSame(file, tensor)))
            .map(CheckpointTensor::canonicalName)
            .sorted()
            .toList();
    if (common.isEmpty()) {
      FisherFile other =
          files.stream()
              .filter(file -> first.values().stream().noneMatch(tensor -> hasSame(file, tensor)))
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

  private static boolean hasSame(FisherFile file, CheckpointTensor tensor) {
    CheckpointTensor twin = file.tensors().get(tensor.canonicalName());
    return twin != null && twin.info().shape().equals(tensor.info().shape());
  }

  private static String examples(Collection<CheckpointTensor> tensors) {
    return NameList.of(
        tensors.stream().map(t -> "'" + t.info().name() + "' " + t.info().shapeText()).toList(),
        EXAMPLES_SHOWN);
  }

  private long byteCount(String name) {
    return files.stream().mapToLong(f -> tensorOf(f, name).info().byteCount()).sum();
  }

  // ---- the pass ----

  private void run(Kernels kernels, ProgressListener listener) {
    List<MemorySegment> mapped = files.stream().flatMap(file -> file.mappings().stream()).toList();
    try (MappedGuard _ = kernels.guard(mapped)) {
      pass(kernels, listener);
    } catch (InternalError | InputException e) {
      // A file that is cut short reads as zeros, or fails with an InternalError in Java.
      files.forEach(FisherFile::requireSizes);
      throw e;
    }
    files.forEach(FisherFile::requireSizes);
  }

  private void pass(Kernels kernels, ProgressListener listener) {
    long done = 0;
    for (String name : common) {
      List<CheckpointTensor> tensors = files.stream().map(f -> tensorOf(f, name)).toList();
      List<MemorySegment> data = files.stream().map(file -> file.segment(name)).toList();
      long count = tensors.getFirst().info().elementCount();
      PairSums sums = new PairSums(files.size());
      for (long from = 0; from < count; from += CHUNK) {
        long n = Math.min(CHUNK, count - from);
        List<TypedValues> rows = new ArrayList<>(files.size());
        for (int i = 0; i < files.size(); i++) {
          long size = tensors.get(i).info().dtype().bits() / 8;
          MemorySegment chunk = data.get(i).asSlice(from * size, n * size);
          rows.add(new TypedValues(chunk, FisherValues.elementType(tensors.get(i).info().dtype())));
          done += chunk.byteSize();
        }
        sums.add(kernels.pairSums(rows, n));
        listener.progress(done, bytes);
      }
      requireValid(tensors, sums);
      model.add(sums, count);
      layers
          .computeIfAbsent(Layers.layerOf(name), layer -> new SimilarityMatrix(layer, files.size()))
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
    for (FisherFile file : files) {
      Path before = seen.putIfAbsent(RequestChecks.real(file.path()), file.path());
      if (before != null) {
        warnings.add(
            file.path()
                + " is given twice"
                + (before.equals(file.path()) ? "" : ", also as " + before));
      }
    }
    Set<String> compared = new LinkedHashSet<>(common);
    for (FisherFile file : files) {
      List<CheckpointTensor> left =
          file.tensors().values().stream()
              .filter(tensor -> !compared.contains(tensor.canonicalName()))
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

  private void warnAboutLabels() {
    Map<String, List<String>> byLabels = new LinkedHashMap<>();
    for (FisherFile file : files) {
      String labels = file.metadata().map(FisherMetadata::labels).orElse("no metadata");
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

  private static CheckpointTensor tensorOf(FisherFile fisher, String canonicalName) {
    CheckpointTensor tensor = fisher.tensors().get(canonicalName);
    if (tensor == null) {
      throw new InputException(fisher.path() + " has no tensor '" + canonicalName + "'");
    }
    return tensor;
  }
}
