package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.LoraAdapter.AdaptedTensor;
import org.jspecify.annotations.Nullable;

/**
 * A model on disk: a Hugging Face folder ({@code model.safetensors}, or else {@code
 * model.safetensors.index.json} with its shards), or one safetensors file; or one of them with a
 * LoRA adapter, {@code BASE+ADAPTER} ({@link ModelPath}), applied where a tensor is read. Opening
 * reads and validates headers only; data is mapped when a segment is first asked for. Safe for use
 * by several threads; segments are valid until {@link #close}.
 */
public final class Checkpoint implements AutoCloseable {
  static final String SINGLE_FILE = "model.safetensors";
  static final String INDEX_FILE = "model.safetensors.index.json";

  /** Elements that are computed at once where memory for them is needed. */
  private static final int STRETCH = 1 << 20;

  private static final Pattern SHARD_NAME = Pattern.compile("model-\\d+-of-\\d+\\.safetensors");

  private final Path path;
  private final ModelFolder folder;
  private final List<SafetensorsHeader> files;
  private final List<String> warnings;
  private final Map<String, CheckpointTensor> tensors;

  /** What an adapter changes or adds; empty without one. */
  private final Map<String, AdaptedTensor> adapted;

  private final Path basePath;
  private final Map<Path, SafetensorsFile> mapped = new HashMap<>();
  private boolean closed;

  private Checkpoint(
      Path path, ModelFolder folder, List<SafetensorsHeader> files, List<String> warnings) {
    this.path = path;
    this.folder = folder;
    this.files = List.copyOf(files);
    this.warnings = List.copyOf(warnings);
    this.tensors = Collections.unmodifiableMap(byCanonicalName(path, files));
    this.adapted = Map.of();
    this.basePath = path;
  }

  private Checkpoint(Path path, Checkpoint base, LoraAdapter adapter) {
    this.path = path;
    this.basePath = base.path;
    this.folder = base.folder;
    this.files = concat(base.files, List.of(adapter.header()));
    this.warnings = concat(base.warnings, adapter.warnings());
    this.adapted =
        adapter.applyTo(base.path, base.tensors, new Conv1dLayers(base.config()));
    Map<String, CheckpointTensor> all = new LinkedHashMap<>(base.tensors);
    adapted.forEach((name, tensor) -> all.put(name, tensor.tensor()));
    this.tensors = Collections.unmodifiableMap(all);
  }

  private static <T> List<T> concat(List<T> first, List<T> second) {
    return Stream.concat(first.stream(), second.stream()).toList();
  }

  /**
   * Opens a model folder, a single safetensors file, or one of them with an adapter.
   *
   * @param model as {@link ModelPath#of(Path)} takes it
   * @throws InputException if there is no safetensors model, a header or index is wrong, shards and
   *     index disagree, there are no tensors, two stored names have one canonical name, or an
   *     adapter cannot be applied
   */
  public static Checkpoint open(Path model) {
    return open(ModelPath.of(model));
  }

  /** The same for a name that has been taken apart. */
  public static Checkpoint open(ModelPath model) {
    if (model.adapter() == null) {
      return openStored(model.base());
    }
    try (Checkpoint base = openStored(model.base())) { // headers only: nothing is mapped yet
      return new Checkpoint(model.given(), base, LoraAdapter.open(model.adapter()));
    }
  }

  private static Checkpoint openStored(Path folderOrFile) {
    if (!Files.exists(folderOrFile)) {
      throw Messages.missing(folderOrFile, null);
    }
    if (Files.isDirectory(folderOrFile)) {
      return openFolder(folderOrFile);
    }
    Path parent = Objects.requireNonNullElse(folderOrFile.getParent(), Path.of(""));
    List<SafetensorsHeader> files = List.of(SafetensorsHeader.read(folderOrFile));
    LoraAdapter.refuseUnapplied(folderOrFile, files);
    return new Checkpoint(folderOrFile, new ModelFolder(parent), files, List.of());
  }

  private static Checkpoint openFolder(Path path) {
    ModelFolder folder = new ModelFolder(path);
    Optional<Path> single = folder.find(SINGLE_FILE);
    if (single.isPresent()) {
      // As transformers does when both are there.
      List<SafetensorsHeader> files = List.of(SafetensorsHeader.read(single.get()));
      LoraAdapter.refuseUnapplied(path, files);
      return new Checkpoint(path, folder, files, List.of());
    }
    Path index = folder.find(INDEX_FILE).orElseThrow(() -> noModel(path, folder));
    return openShards(path, folder, ShardIndex.read(index));
  }

  private static InputException noModel(Path path, ModelFolder folder) {
    List<String> names = folder.names();
    Optional<String> pickle =
        names.stream()
            .filter(name -> LookAlike.isPickleName(path.resolve(name)))
            // The weights rather than training_args.bin or optimizer.pt beside them.
            .min(Comparator.comparing(name -> !name.startsWith("pytorch_model")));
    if (pickle.isPresent()) {
      return LookAlike.pickleRefusal(path.resolve(pickle.get()));
    }
    List<String> others = names.stream().filter(name -> name.endsWith(".safetensors")).toList();
    return new InputException(
        path
            + ": is no model folder: it has neither "
            + SINGLE_FILE
            + " nor "
            + INDEX_FILE
            + (others.isEmpty()
                ? ""
                : "; to open a single file, name it: " + path.resolve(others.getFirst())));
  }

  private static Checkpoint openShards(Path path, ModelFolder folder, ShardIndex index) {
    List<SafetensorsHeader> files = new ArrayList<>();
    Map<String, String> shardOf = new HashMap<>();
    long totalSize = 0;
    for (String shard : index.shards()) {
      Path file =
          folder
              .find(shard)
              .orElseThrow(() ->
                  new InputException(
                      index.file()
                          + ": names the shard "
                          + Messages.quote(shard)
                          + ", which is not in the folder; download it too"));
      SafetensorsHeader header = SafetensorsHeader.read(file);
      for (TensorInfo tensor : header.tensors().values()) {
        checkPlace(index, shard, tensor.name(), shardOf.put(tensor.name(), shard));
        totalSize += tensor.byteCount();
      }
      files.add(header);
    }
    index
        .weightMap()
        .forEach((tensor, shard) -> {
          if (!shardOf.containsKey(tensor)) {
            throw new InputException(
                index.file()
                    + ": puts the tensor "
                    + Messages.quote(tensor)
                    + " into "
                    + Messages.quote(shard)
                    + ", which does not hold it; index and shards do not belong together,"
                    + " download all of them again");
          }
        });
    LoraAdapter.refuseUnapplied(path, files);
    return new Checkpoint(path, folder, files, warnings(folder, index, totalSize));
  }

  private static void checkPlace(
      ShardIndex index, String shard, String tensor, @Nullable String before) {
    if (before != null) {
      throw new InputException(
          index.file()
              + ": the tensor "
              + Messages.quote(tensor)
              + " is in two shards, "
              + Messages.quote(before)
              + " and "
              + Messages.quote(shard));
    }
    String expected = index.weightMap().get(tensor);
    if (!shard.equals(expected)) {
      throw new InputException(
          index.file()
              + ": the tensor "
              + Messages.quote(tensor)
              + " is in the shard "
              + Messages.quote(shard)
              + ", but the index "
              + (expected == null ? "does not list it" : "puts it into " + Messages.quote(expected))
              + "; index and shards do not belong together, download all of them again");
    }
  }

  private static List<String> warnings(ModelFolder folder, ShardIndex index, long totalSize) {
    List<String> warnings = new ArrayList<>();
    if (index.totalSize() != null && !isNumber(index.totalSize(), totalSize)) {
      warnings.add(
          index.file()
              + ": total_size is "
              + Messages.firstLine(index.totalSize())
              + ", the shards hold "
              + totalSize
              + " bytes");
    }
    Set<String> strays = new TreeSet<>(folder.names());
    strays.removeIf(name -> !SHARD_NAME.matcher(name).matches());
    strays.removeAll(index.shards());
    for (String stray : strays) {
      warnings.add(index.file() + ": does not list the shard " + stray + ", which is left out");
    }
    return warnings;
  }

  /** Some writers give the size as a floating-point number. */
  private static boolean isNumber(String text, long value) {
    try {
      return new BigDecimal(text).compareTo(BigDecimal.valueOf(value)) == 0;
    } catch (NumberFormatException e) {
      return false;
    }
  }

  private static Map<String, CheckpointTensor> byCanonicalName(
      Path path, List<SafetensorsHeader> files) {
    Map<String, CheckpointTensor> tensors = new LinkedHashMap<>();
    for (SafetensorsHeader header : files) {
      for (TensorInfo info : header.tensors().values()) {
        String name = ParameterNames.canonical(info.name());
        CheckpointTensor before =
            tensors.put(name, new CheckpointTensor(name, info, header.file()));
        if (before != null) {
          throw new InputException(
              path
                  + ": the tensors "
                  + Messages.quote(before.info().name())
                  + " and "
                  + Messages.quote(info.name())
                  + " are the same parameter "
                  + Messages.quote(name)
                  + "; remove one of them");
        }
      }
    }
    if (tensors.isEmpty()) {
      throw new InputException(path + ": holds no tensors");
    }
    return tensors;
  }

  /** The path as the user gave it. */
  public Path path() {
    return path;
  }

  /** The path of the stored model: where an adapter is applied, of its base. */
  public Path basePath() {
    return basePath;
  }

  /** Every tensor by canonical name, in stored order, shard after shard. */
  public Map<String, CheckpointTensor> tensors() {
    return tensors;
  }

  public boolean has(String canonicalName) {
    return tensors.containsKey(canonicalName);
  }

  /**
   * The tensor of that name.
   *
   * @throws InputException if there is no such tensor; the message gives the nearest names
   */
  public CheckpointTensor tensor(String canonicalName) {
    CheckpointTensor tensor = tensors.get(canonicalName);
    if (tensor == null) {
      throw new InputException(
          path
              + ": has no tensor "
              + Messages.quote(canonicalName)
              + NearestNames.of(canonicalName, tensors.keySet()));
    }
    return tensor;
  }

  /**
   * The data of a tensor, read-only, little-endian, possibly unaligned, valid until {@link #close}.
   * Maps the file on first use.
   *
   * @throws InputException if there is no such tensor or its file cannot be mapped any more
   * @throws IllegalStateException if the tensor {@link #isComputed}
   */
  public MemorySegment segment(String canonicalName) {
    if (isComputed(canonicalName)) {
      throw new IllegalStateException(canonicalName + " is computed, not stored");
    }
    return map(stored(canonicalName));
  }

  /** Whether the values are not stored but computed as they are read, with {@link #copy}. */
  public boolean isComputed(String canonicalName) {
    AdaptedTensor tensor = adapted.get(canonicalName);
    return tensor != null && tensor.isComputed();
  }

  /**
   * The data that elements {@code from} to {@code from + count} of a tensor are read or computed
   * from, for hints to the system about mapped files.
   *
   * @throws InputException as {@link #segment}
   */
  public MemorySegment source(String canonicalName, long from, long count) {
    CheckpointTensor tensor = stored(canonicalName);
    long width = tensor.info().dtype().bits() / Byte.SIZE;
    return map(tensor).asSlice(from * width, count * width);
  }

  /**
   * Writes elements {@code from} to {@code from + count} of a tensor in row-major order, in its
   * dtype, little-endian. What is computed has the same bits for any choice of stretches and any
   * number of threads; several are used.
   *
   * @throws InputException if there is no such tensor or its file cannot be mapped any more
   * @throws IllegalArgumentException if {@code target} has not exactly room for them
   */
  public void copy(String canonicalName, long from, long count, MemorySegment target) {
    DType dtype = tensor(canonicalName).info().dtype();
    if (target.byteSize() * Byte.SIZE != count * dtype.bits()) {
      throw new IllegalArgumentException(count + " elements into " + target.byteSize() + " bytes");
    }
    AdaptedTensor tensor = adapted.get(canonicalName);
    if (tensor == null || !tensor.isComputed()) {
      target.copyFrom(source(canonicalName, from, count));
      return;
    }
    LowRank.Source source = source(tensor);
    LowRank update = tensor.update();
    if (update != null) {
      update.apply(source, dtype, factor -> map(factor.tensor()), from, count, target);
      return;
    }
    long width = dtype.bits() / Byte.SIZE;
    for (long at = 0; at < count; at += STRETCH) {
      int length = (int) Math.min(STRETCH, count - at);
      target.asSlice(at * width, length * width).copyFrom(source.read(from + at, length));
    }
  }

  /** What a computed tensor is computed from, in its dtype. */
  private LowRank.Source source(AdaptedTensor tensor) {
    MemorySegment data = map(tensor.stored());
    DType found = tensor.stored().info().dtype();
    DType wanted = tensor.tensor().info().dtype();
    long width = found.bits() / Byte.SIZE;
    return (from, count) ->
        Values.cast(data.asSlice(from * width, count * width), found, wanted, count);
  }

  /** The tensor of a file that this one is, or is computed from. */
  private CheckpointTensor stored(String canonicalName) {
    AdaptedTensor tensor = adapted.get(canonicalName);
    return tensor == null ? tensor(canonicalName) : tensor.stored();
  }

  private MemorySegment map(CheckpointTensor stored) {
    return map(stored.file()).segment(stored.info().name());
  }

  /**
   * Whether all files are as long as when they were opened.
   *
   * @throws InputException if one is not: what was read of it may be anything
   */
  public void requireSizes() {
    files.forEach(SafetensorsFile::requireSize);
  }

  /** All files, mapped whole, header included. */
  public List<MemorySegment> mappings() {
    return files.stream().map(header -> map(header.file()).mapping()).toList();
  }

  private synchronized SafetensorsFile map(Path file) {
    if (closed) {
      throw new IllegalStateException("the checkpoint is closed");
    }
    SafetensorsFile open = mapped.get(file);
    if (open == null) {
      SafetensorsHeader header =
          files.stream().filter(h -> h.file().equals(file)).findFirst().orElseThrow();
      open = SafetensorsFile.open(header);
      mapped.put(file, open);
    }
    return open;
  }

  /**
   * The values of an F32, F16, BF16 or F64 tensor as a new array in row-major order; F64 is rounded
   * to nearest.
   *
   * @throws InputException if there is no such tensor, it has another dtype, it has more elements
   *     than an array, or its file was cut short
   */
  public float[] floats(String canonicalName) {
    TensorInfo info = mergeable(canonicalName).info();
    if (info.elementCount() > Integer.MAX_VALUE - 8) {
      throw new InputException(
          tensor(canonicalName).file()
              + ": tensor "
              + Messages.quote(info.name())
              + " is "
              + info.shapeText()
              + "; expected fewer than 2^31 elements");
    }
    float[] values = new float[(int) info.elementCount()];
    copyFloats(canonicalName, MemorySegment.ofArray(values));
    return values;
  }

  /**
   * Writes the same values to {@code target}, F32 in native byte order, of any number of elements
   * and without a copy between.
   *
   * @throws InputException if there is no such tensor, it has another dtype, or its file was cut
   *     short
   * @throws IllegalArgumentException if {@code target} has not exactly room for them
   */
  public void copyFloats(String canonicalName, MemorySegment target) {
    CheckpointTensor tensor = mergeable(canonicalName);
    TensorInfo info = tensor.info();
    if (target.byteSize() != info.elementCount() * Float.BYTES) {
      throw new IllegalArgumentException(
          canonicalName + " " + info.shapeText() + " into " + target.byteSize() + " bytes");
    }
    if (isComputed(canonicalName)) {
      computeFloats(canonicalName, info, target);
      return;
    }
    SafetensorsFile file = map(tensor.file());
    try {
      Values.copy(file.segment(info.name()), info.dtype(), target);
    } finally {
      file.requireSize();
    }
  }

  private void computeFloats(String canonicalName, TensorInfo info, MemorySegment target) {
    long count = info.elementCount();
    long width = info.dtype().bits() / Byte.SIZE;
    MemorySegment part = MemorySegment.ofArray(new byte[(int) (Math.min(STRETCH, count) * width)]);
    try {
      for (long at = 0; at < count; at += STRETCH) {
        long length = Math.min(STRETCH, count - at);
        MemorySegment values = part.asSlice(0, length * width);
        copy(canonicalName, at, length, values);
        Values.copy(
            values, info.dtype(), target.asSlice(at * Float.BYTES, length * Float.BYTES));
        MappedData.release(source(canonicalName, at, length));
      }
    } finally {
      requireSizes();
    }
  }

  private CheckpointTensor mergeable(String canonicalName) {
    CheckpointTensor tensor = tensor(canonicalName);
    if (!tensor.info().dtype().isMergeable()) {
      throw new InputException(
          tensor.file()
              + ": tensor "
              + Messages.quote(tensor.info().name())
              + " is "
              + tensor.info().dtype()
              + " "
              + tensor.info().shapeText()
              + "; expected F32, F16, BF16 or F64");
    }
    return tensor;
  }

  /** The folder's {@code config.json}; of a single file, the one beside it. */
  public Optional<Path> config() {
    return sibling("config.json");
  }

  /**
   * A file of the model's folder, for example {@code tokenizer.json}; of a single file, one beside
   * it.
   *
   * @throws InputException if it is there but no regular file, or a link that leads out of the
   *     folder
   */
  public Optional<Path> sibling(String fileName) {
    if (!ModelFolder.isPlainName(fileName)) {
      throw new IllegalArgumentException("not a plain file name: " + fileName);
    }
    return folder.find(fileName);
  }

  /** The headers, one per shard, in order of the shards' names. */
  public List<SafetensorsHeader> files() {
    return files;
  }

  /** What is odd about the checkpoint but does not stop its use; complete sentences for users. */
  public List<String> warnings() {
    return warnings;
  }

  /**
   * SHA-256 of every tensor that is no integer buffer, independent of prefix, sharding and order:
   * over the ASCII text {@code fisher-merge tensors 1} and a zero byte, then for each tensor in
   * order of the canonical names' UTF-8 bytes: name, dtype (each as length and UTF-8 bytes), rank,
   * every size, the number of data bytes, the data bytes. Numbers are 8 bytes, little-endian.
   *
   * @return 64 lower-case hexadecimal digits
   * @throws InputException if a file cannot be mapped any more
   */
  public String tensorSha256() {
    return TensorDigest.sha256(entries());
  }

  /**
   * As {@link #tensorSha256}, but of the first 4096 data bytes of each tensor at most, and with the
   * text {@code fisher-merge fingerprint 1}: costs about one page per tensor instead of the whole
   * model, and tells models apart, though not every edit of one.
   *
   * @return 64 lower-case hexadecimal digits
   */
  public String fingerprint() {
    return TensorDigest.fingerprint(entries());
  }

  private List<TensorDigest.Entry> entries() {
    return tensors.keySet().stream().map(this::entry).toList();
  }

  private TensorDigest.Entry entry(String name) {
    TensorInfo info = tensor(name).info();
    if (!isComputed(name)) {
      return new TensorDigest.Entry(name, info.dtype(), info.shape(), segment(name));
    }
    long width = info.dtype().bits() / Byte.SIZE;
    return new TensorDigest.Entry(
        name,
        info.dtype(),
        info.shape(),
        Math.multiplyExact(info.elementCount(), width),
        (from, bytes) -> {
          MemorySegment part = MemorySegment.ofArray(new byte[(int) bytes]);
          copy(name, from / width, bytes / width, part);
          return part;
        });
  }

  /** Unmaps everything: segments become invalid. Closing twice is harmless. */
  @Override
  public synchronized void close() {
    closed = true;
    mapped.values().forEach(SafetensorsFile::close);
    mapped.clear();
  }
}
