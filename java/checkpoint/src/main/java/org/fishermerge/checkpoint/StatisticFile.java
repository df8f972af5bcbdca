package org.fishermerge.checkpoint;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A statistic file: a safetensors file, or a folder of shards with an index, that holds
 * <em>sums</em> over examples, so that files of the same model can be added. A Fisher file has
 * tensors named and shaped like the model's, of squared per-example gradients; {@link
 * StatisticLayout} says what else a file may hold. A file without Fisher metadata (a bare one) is
 * taken to hold a mean of squared gradients: a sum over one example.
 */
public final class StatisticFile implements AutoCloseable {
  /** Elements summed at a time; keeps the sums in the processor's cache. */
  private static final int CHUNK = 1 << 14;

  private final Checkpoint checkpoint;
  private final Optional<StatisticMetadata> metadata;
  private final Map<String, Double> sumsOfSquares;
  private final Map<String, Double> traces = new HashMap<>();
  private final StatisticLayout layout;

  /** By the canonical names of their weights. */
  private final Map<String, LinearLayer> layers = new HashMap<>();

  private final Map<String, CheckpointTensor> diagonal;

  private StatisticFile(Checkpoint checkpoint, Optional<StatisticMetadata> metadata) {
    this.checkpoint = checkpoint;
    this.metadata = metadata;
    this.layout = StatisticLayout.from(checkpoint.headers().getFirst());
    layout.layers().forEach((weight, layer) -> layers.put(ParameterNames.canonical(weight), layer));
    this.diagonal = withoutFactors();
    Map<String, Double> sums = new HashMap<>();
    checkpoint.headers().forEach(header -> sums.putAll(SumsOfSquares.from(header)));
    this.sumsOfSquares = sums;
    checkpoint.headers().forEach(header -> traces.putAll(Traces.from(header)));
  }

  /**
   * Opens a Fisher file: header and metadata are validated, data is mapped on first use.
   *
   * @throws InputException if it is neither a safetensors file nor a folder of shards, its metadata
   *     is incomplete or malformed or differs between shards, or a tensor is not F32, F16, BF16 or
   *     F64
   */
  public static StatisticFile open(Path file) {
    return open(file, null);
  }

  /** The same, under the names of the base that it is merged into: {@link Checkpoint#open}. */
  public static StatisticFile open(Path file, @Nullable Checkpoint base) {
    if (Files.isDirectory(file) && !Files.exists(file.resolve(WeightFiles.INDEX_FILE))) {
      throw new InputException(
          file
              + ": is a folder without "
              + WeightFiles.INDEX_FILE
              + ", where a Fisher file is wanted");
    }
    Checkpoint checkpoint =
        base == null ? Checkpoint.open(file) : Checkpoint.open(ModelPath.of(file), base);
    return of(checkpoint);
  }

  /** Tensors in memory, as a file of them would be opened under the names of the base. */
  public static StatisticFile of(NamedTensors tensors, @Nullable Checkpoint base) {
    return of(Checkpoint.of(tensors, base));
  }

  private static StatisticFile of(Checkpoint checkpoint) {
    for (CheckpointTensor tensor : checkpoint.tensors().values()) {
      if (!tensor.info().dtype().isMergeable()) {
        throw new InputException(
            checkpoint.path()
                + ": is no Fisher file: tensor "
                + Messages.quote(tensor.info().name())
                + " is "
                + tensor.info().dtype()
                + ", expected F32, F16, BF16 or F64");
      }
    }
    return new StatisticFile(checkpoint, commonMetadata(checkpoint.headers()));
  }

  private static Optional<StatisticMetadata> commonMetadata(List<SafetensorsHeader> shards) {
    Optional<StatisticMetadata> metadata = StatisticMetadata.from(shards.getFirst());
    StatisticLayout layout = StatisticLayout.from(shards.getFirst());
    for (SafetensorsHeader shard : shards) {
      if (!StatisticMetadata.from(shard).equals(metadata)
          || !StatisticLayout.from(shard).equals(layout)) {
        throw new InputException(
            shard.file()
                + ": has other Fisher metadata than "
                + shards.getFirst().file()
                + "; the shards are not of one Fisher");
      }
    }
    return metadata;
  }

  public Path path() {
    return checkpoint.path();
  }

  /** The file itself, or the shards; none in memory. */
  public List<Path> files() {
    return checkpoint.files().stream().map(SafetensorsHeader::file).toList();
  }

  /** Empty for a bare file. */
  public Optional<StatisticMetadata> metadata() {
    return metadata;
  }

  /** By what to divide for the mean; 1 for a bare file. */
  public long examples() {
    return metadata.map(StatisticMetadata::examples).orElse(1L);
  }

  /** The sum of squares of a tensor's values as the metadata states it; unchecked. */
  public OptionalDouble sumOfSquares(String canonicalName) {
    CheckpointTensor tensor = checkpoint.tensor(canonicalName);
    Double sum = sumsOfSquares.get(tensor.info().name());
    return sum == null ? OptionalDouble.empty() : OptionalDouble.of(sum);
  }

  /**
   * The trace of a layer's factor, of the sum as it is stored, as the metadata states it;
   * unchecked.
   *
   * @param weight the canonical name of the layer's weight
   */
  public OptionalDouble trace(String weight, LayerFactor factor) {
    Double trace = traces.get(checkpoint.tensor(factor.tensorName(weight)).info().name());
    return trace == null ? OptionalDouble.empty() : OptionalDouble.of(trace);
  }

  /** What the file holds. */
  public StatisticLayout layout() {
    return layout;
  }

  /**
   * Refuses a file that does not hold what is needed of it.
   *
   * @param user what needs it, as messages name it
   * @throws InputException if it does not hold that kind
   */
  public void require(StatisticKind kind, String user) {
    if (!layout.kinds().contains(kind)) {
      throw new InputException(
          path()
              + ": holds "
              + layout.kinds().stream().map(StatisticKind::label).collect(Collectors.joining(", "))
              + ", but "
              + user
              + " needs "
              + kind.label()
              + "; estimate it with fisher --statistic "
              + kind.label());
    }
  }

  /** The diagonal Fisher, by canonical name of the parameter, in stored order. */
  public Map<String, CheckpointTensor> tensors() {
    return diagonal;
  }

  private Map<String, CheckpointTensor> withoutFactors() {
    if (layout.layers().isEmpty()) {
      return checkpoint.tensors();
    }
    Map<String, CheckpointTensor> rest = new LinkedHashMap<>(checkpoint.tensors());
    layout
        .layers()
        .forEach((weight, layer) -> {
          for (StatisticKind kind : layout.kinds()) {
            for (LayerFactor factor : kind.factors()) {
              requireTriangle(weight, layer, factor, rest.remove(factorName(weight, factor)));
            }
          }
        });
    if (!rest.isEmpty() && !layout.kinds().contains(StatisticKind.DIAGONAL_FISHER)) {
      throw new InputException(
          path()
              + ": the tensor "
              + Messages.quote(rest.values().iterator().next().info().name())
              + " is none of the layers that "
              + StatisticLayout.LAYERS
              + " names");
    }
    return Collections.unmodifiableMap(rest);
  }

  private static String factorName(String weight, LayerFactor factor) {
    return factor.tensorName(ParameterNames.canonical(weight));
  }

  private void requireTriangle(
      String weight, LinearLayer layer, LayerFactor factor, @Nullable CheckpointTensor found) {
    long expected = LayerFactor.triangle(factor.size(layer));
    if (found == null
        || found.info().dtype() != DType.F32
        || !found.info().shape().equals(List.of(expected))) {
      throw new InputException(
          path()
              + ": of the layer "
              + Messages.quote(weight)
              + " it must have "
              + Messages.quote(factor.tensorName(weight))
              + " as F32 ["
              + expected
              + "], the triangle of "
              + factor.size(layer)
              + " rows, but it has "
              + (found == null ? "none" : found.info().dtype() + " " + found.info().shapeText()));
    }
  }

  /** The layer whose weight has that canonical name, if the file has factors of it. */
  public Optional<LinearLayer> layer(String weight) {
    return Optional.ofNullable(layers.get(weight));
  }

  /**
   * A layer's factor, the sum as it is stored: its lower triangle, row by row, F32; valid until the
   * file is closed.
   *
   * @param weight the canonical name of the layer's weight
   * @throws IllegalStateException as {@link Checkpoint#segment}, of tensors in memory
   */
  public MemorySegment factor(String weight, LayerFactor factor) {
    return checkpoint.segment(factor.tensorName(weight));
  }

  /** The tensors, to be read as those of a model are. */
  public Checkpoint checkpoint() {
    return checkpoint;
  }

  /** As {@link Checkpoint#requireSizes}. */
  public void requireSizes() {
    checkpoint.requireSizes();
  }

  /** As {@link Checkpoint#equal}. */
  public boolean equal(CheckpointTensor one, CheckpointTensor other) {
    return checkpoint.equal(one, other);
  }

  /** All files, as {@link Checkpoint#mappings} gives them. */
  public List<FileMapping> mappings() {
    return checkpoint.mappings();
  }

  /** The data of a tensor, as {@link Checkpoint#segment} gives it. */
  public MemorySegment segment(String canonicalName) {
    return checkpoint.segment(canonicalName);
  }

  @Override
  public void close() {
    checkpoint.close();
  }

  /** Read when two files first have not the same names. */
  private static final class Ties {
    static final TiedWeights ANY = TiedWeights.ofAnyModel();
  }

  /**
   * The tensor that is the same parameter as one of another file: that of its name, or else that of
   * a name which some model type ties to it. Fisher files do not say what is tied, and a tied
   * weight may be stored under either name. Where the other file has both names, they must hold the
   * same data; and where several names here could be meant, these must.
   *
   * @param of the other file
   * @param tensor one of its tensors
   * @return of the same shape, unless it is of the same name; empty if there is none
   */
  public Optional<CheckpointTensor> counterpart(StatisticFile of, CheckpointTensor tensor) {
    CheckpointTensor same = checkpoint.tensors().get(tensor.canonicalName());
    if (same != null) {
      return Optional.of(same);
    }
    List<CheckpointTensor> found = new ArrayList<>();
    for (String name : Ties.ANY.partners(tensor.canonicalName())) {
      CheckpointTensor tied = checkpoint.tensors().get(name);
      CheckpointTensor beside = of.checkpoint.tensors().get(name);
      if (tied != null
          && tied.info().shape().equals(tensor.info().shape())
          && (beside == null || of.equal(beside, tensor))) {
        found.add(tied);
      }
    }
    return found.stream().findFirst().filter(one -> found.stream().allMatch(t -> equal(one, t)));
  }

  /** The other tensors of this file that are one parameter with one: tied, and of the same data. */
  public List<CheckpointTensor> twins(CheckpointTensor tensor) {
    List<CheckpointTensor> twins = new ArrayList<>();
    for (String name : Ties.ANY.partners(tensor.canonicalName())) {
      CheckpointTensor other = tensors().get(name);
      if (other != null && equal(other, tensor)) {
        twins.add(other);
      }
    }
    return twins;
  }

  /**
   * Adds Fisher files of one model: each element is summed in double in the order of the inputs and
   * rounded once to F32; examples add up; data set, selection and seed are joined with {@code +}
   * where they differ. Tensors are stored under the names of the first file. The memory held does
   * not depend on the size of the files. The result states no {@link SumsOfSquares} and no {@link
   * Traces}.
   *
   * @param inputs two or more
   * @param tool recorded as {@code fisher_tool}
   * @throws InputException if a file is given twice or is bare, the files differ in model, label
   *     expectation, tensor names (but for tied ones) or shapes, a sum is negative or not finite,
   *     or the output cannot be written
   */
  public static void add(List<Path> inputs, Path out, boolean overwrite, String tool) {
    if (inputs.size() < 2) {
      throw new InputException("adding takes two or more Fisher files, got " + inputs.size());
    }
    refuseRepeated(inputs);
    AtomicOutput.requireApart(out, inputs);
    List<StatisticFile> files = new ArrayList<>();
    try {
      for (Path input : inputs) {
        files.add(open(input));
      }
      StatisticMetadata sum = addMetadata(files, tool);
      StatisticFile first = files.getFirst();
      for (StatisticFile other : files.subList(1, files.size())) {
        requireSameTensors(first, other);
      }
      List<SafetensorsWriter.Declared> declared =
          first.checkpoint.tensors().values().stream()
              .map(CheckpointTensor::info)
              .map(info -> new SafetensorsWriter.Declared(info.name(), DType.F32, info.shape()))
              .toList();
      try (AtomicOutput output = AtomicOutput.file(out, overwrite)) {
        try (SafetensorsWriter writer =
            SafetensorsWriter.create(output.temp(), declared, sum.toMap(addLayouts(files)))) {
          for (CheckpointTensor tensor : first.checkpoint.tensors().values()) {
            addTensor(files, tensor, writer.segment(tensor.info().name()));
          }
          writer.finish();
        }
        output.commit();
      }
    } finally {
      files.forEach(StatisticFile::close);
    }
  }

  /** The layout of a sum: that of each file, but for the tokens, which add up. */
  private static StatisticLayout addLayouts(List<StatisticFile> files) {
    StatisticFile first = files.getFirst();
    Map<String, LinearLayer> layers = new LinkedHashMap<>();
    first
        .layout
        .layers()
        .forEach((weight, layer) -> {
          String name = ParameterNames.canonical(weight);
          long tokens = 0;
          for (StatisticFile file : files) {
            LinearLayer other = file.layer(name).orElseThrow(() -> otherLayers(file, first));
            if (!other.hasShapeOf(layer)) {
              throw otherLayers(file, first);
            }
            tokens += other.tokens();
          }
          layers.put(weight, layer.withTokens(tokens));
        });
    for (StatisticFile file : files) {
      if (!file.layout.kinds().equals(first.layout.kinds())
          || file.layout.layers().size() != layers.size()) {
        throw otherLayers(file, first);
      }
    }
    return new StatisticLayout(first.layout.kinds(), layers);
  }

  private static InputException otherLayers(StatisticFile file, StatisticFile first) {
    return new InputException(
        file.path()
            + ": holds other kinds of statistics, or of other layers, than "
            + first.path()
            + "; only files of the same kinds can be added");
  }

  private static void refuseRepeated(List<Path> inputs) {
    Map<Path, Path> seen = new HashMap<>();
    for (Path input : inputs) {
      Path real;
      try {
        real = input.toRealPath();
      } catch (IOException e) {
        throw Messages.cannotRead(input, e);
      }
      Path before = seen.put(real, input);
      if (before != null) {
        throw new InputException(
            input
                + ": is given twice"
                + (before.equals(input) ? "" : ", also as " + before)
                + "; its examples would count twice");
      }
    }
  }

  private static StatisticMetadata addMetadata(List<StatisticFile> files, String tool) {
    StatisticFile first = files.getFirst();
    StatisticMetadata reference = known(first);
    long examples = 0;
    for (StatisticFile file : files) {
      StatisticMetadata metadata = known(file);
      if (file != first) {
        requireSameModel(first, reference, file, metadata);
      }
      if (!metadata.labels().equals(reference.labels())) {
        throw new InputException(
            file.path()
                + ": estimates with the labels "
                + Messages.quote(metadata.labels())
                + ", but "
                + first.path()
                + " with "
                + Messages.quote(reference.labels())
                + "; their sum would be neither");
      }
      if (!Objects.equals(metadata.precision(), reference.precision())) {
        throw new InputException(
            "%s: was estimated in %s, but %s in %s; only Fishers of one precision can be added"
                .formatted(file.path(), precision(metadata), first.path(), precision(reference)));
      }
      try {
        examples = Math.addExact(examples, metadata.examples());
      } catch (ArithmeticException e) {
        throw new InputException(file.path() + ": the examples add up to over 2^63-1", e);
      }
    }
    return new StatisticMetadata(
        examples,
        reference.labels(),
        join(files, StatisticMetadata::dataset),
        join(files, StatisticMetadata::selection),
        join(files, StatisticMetadata::seed),
        reference.modelSha256(),
        reference.modelFingerprint(),
        reference.precision(),
        null,
        tool);
  }

  private static String precision(StatisticMetadata metadata) {
    return Objects.requireNonNullElse(metadata.precision(), "fp32");
  }

  private static StatisticMetadata known(StatisticFile file) {
    return file.metadata()
        .orElseThrow(() ->
            new InputException(
                file.path()
                    + ": has no Fisher metadata, so that it is not known over how many"
                    + " examples it is a sum; only files that `fisher` wrote can be added"));
  }

  private static void requireSameModel(
      StatisticFile first,
      StatisticMetadata reference,
      StatisticFile file,
      StatisticMetadata metadata) {
    boolean differ =
        differ(reference.modelSha256(), metadata.modelSha256())
            || differ(reference.modelFingerprint(), metadata.modelFingerprint());
    boolean comparable =
        (reference.modelSha256() != null && metadata.modelSha256() != null)
            || (reference.modelFingerprint() != null && metadata.modelFingerprint() != null);
    if (differ || !comparable) {
      throw new InputException(
          file.path()
              + (differ
                  ? ": is of another model than "
                  : ": does not say that it is of the model of ")
              + first.path()
              + (differ
                  ? " (the hashes of the models differ)"
                  : " (a hash of the model is missing)")
              + "; only Fishers of one model can be added");
    }
  }

  private static boolean differ(@Nullable String a, @Nullable String b) {
    return a != null && b != null && !a.equals(b);
  }

  private static @Nullable String join(
      List<StatisticFile> files, Function<StatisticMetadata, @Nullable String> property) {
    Set<String> distinct = new LinkedHashSet<>();
    for (StatisticFile file : files) {
      String value = property.apply(known(file));
      if (value != null) {
        distinct.add(value);
      }
    }
    return distinct.isEmpty() ? null : String.join("+", distinct);
  }

  private static void requireSameTensors(StatisticFile first, StatisticFile other) {
    for (CheckpointTensor tensor : first.checkpoint.tensors().values()) {
      CheckpointTensor twin =
          other.counterpart(first, tensor).orElseThrow(() -> missing(other, tensor, first));
      if (!twin.info().shape().equals(tensor.info().shape())) {
        throw new InputException(
            other.path()
                + ": tensor "
                + Messages.quote(twin.info().name())
                + " has the shape "
                + twin.info().shapeText()
                + ", but "
                + tensor.info().shapeText()
                + " in "
                + first.path());
      }
    }
    for (CheckpointTensor tensor : other.checkpoint.tensors().values()) {
      if (first.counterpart(other, tensor).isEmpty()) {
        throw missing(first, tensor, other);
      }
    }
  }

  private static InputException missing(
      StatisticFile file, CheckpointTensor tensor, StatisticFile has) {
    return new InputException(
        file.path()
            + ": has no tensor "
            + Messages.quote(tensor.info().name())
            + ", which is in "
            + has.path());
  }

  private static void addTensor(
      List<StatisticFile> files, CheckpointTensor tensor, MemorySegment out) {
    StatisticFile first = files.getFirst();
    List<CheckpointTensor> tensors =
        files.stream().map(file -> file.counterpart(first, tensor).orElseThrow()).toList();
    List<MemorySegment> data = new ArrayList<>();
    for (int i = 0; i < files.size(); i++) {
      data.add(files.get(i).segment(tensors.get(i).canonicalName()));
    }
    List<DType> dtypes = tensors.stream().map(each -> each.info().dtype()).toList();
    long elements = tensor.info().elementCount();
    double[] sums = new double[Math.toIntExact(Math.min(CHUNK, elements))];
    for (long from = 0; from < elements; from += CHUNK) {
      int count = Math.toIntExact(Math.min(CHUNK, elements - from));
      Arrays.fill(sums, 0);
      for (int i = 0; i < data.size(); i++) {
        Values.add(data.get(i), dtypes.get(i), from, sums, count);
      }
      for (int i = 0; i < count; i++) {
        float sum = (float) sums[i];
        // Factors have values of both signs.
        double least =
            files.getFirst().diagonal.containsKey(tensor.canonicalName()) ? 0 : -Float.MAX_VALUE;
        if (!(sum >= least && sum <= Float.MAX_VALUE)) {
          throw new InputException(
              "the sum of "
                  + files.stream().map(file -> file.path().toString()).toList()
                  + " is "
                  + sum
                  + " at element "
                  + (from + i)
                  + " of tensor "
                  + Messages.quote(tensor.info().name())
                  + (least == 0
                      ? "; a Fisher is finite and not negative, so one of the files is damaged"
                      : "; it must be finite, so one of the files is damaged"));
        }
        out.setAtIndex(Values.F32, from + i, sum);
      }
    }
  }
}
