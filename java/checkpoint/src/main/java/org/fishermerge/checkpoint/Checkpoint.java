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
import org.jspecify.annotations.Nullable;

/**
 * A model on disk: a Hugging Face folder ({@code model.safetensors}, or else {@code
 * model.safetensors.index.json} with its shards), or one safetensors file. Opening reads and
 * validates headers only; data is mapped when a segment is first asked for. Safe for use by several
 * threads; segments are valid until {@link #close}.
 */
public final class Checkpoint implements AutoCloseable {
  static final String SINGLE_FILE = "model.safetensors";
  static final String INDEX_FILE = "model.safetensors.index.json";

  private static final Pattern SHARD_NAME = Pattern.compile("model-\\d+-of-\\d+\\.safetensors");

  private final Path path;
  private final ModelFolder folder;
  private final List<SafetensorsHeader> files;
  private final List<String> warnings;
  private final Map<String, CheckpointTensor> tensors;
  private final Map<Path, SafetensorsFile> mapped = new HashMap<>();
  private boolean closed;

  private Checkpoint(
      Path path, ModelFolder folder, List<SafetensorsHeader> files, List<String> warnings) {
    this.path = path;
    this.folder = folder;
    this.files = List.copyOf(files);
    this.warnings = List.copyOf(warnings);
    this.tensors = Collections.unmodifiableMap(byCanonicalName(path, files));
  }

  /**
   * Opens a model folder or a single safetensors file.
   *
   * @throws InputException if there is no safetensors model, a header or index is wrong, shards and
   *     index disagree, there are no tensors, or two stored names have one canonical name
   */
  public static Checkpoint open(Path folderOrFile) {
    if (!Files.exists(folderOrFile)) {
      throw Messages.missing(folderOrFile, null);
    }
    if (Files.isDirectory(folderOrFile)) {
      return openFolder(folderOrFile);
    }
    Path parent = Objects.requireNonNullElse(folderOrFile.getParent(), Path.of(""));
    return new Checkpoint(
        folderOrFile,
        new ModelFolder(parent),
        List.of(SafetensorsHeader.read(folderOrFile)),
        List.of());
  }

  private static Checkpoint openFolder(Path path) {
    ModelFolder folder = new ModelFolder(path);
    Optional<Path> single = folder.find(SINGLE_FILE);
    if (single.isPresent()) {
      // As transformers does when both are there.
      return new Checkpoint(path, folder, List.of(SafetensorsHeader.read(single.get())), List.of());
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
   */
  public MemorySegment segment(String canonicalName) {
    CheckpointTensor tensor = tensor(canonicalName);
    return map(tensor.file()).segment(tensor.info().name());
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
    SafetensorsFile file = map(tensor.file());
    try {
      Values.copy(file.segment(info.name()), info.dtype(), target);
    } finally {
      file.requireSize();
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
    return tensors.values().stream()
        .map(tensor ->
            new TensorDigest.Entry(
                tensor.canonicalName(),
                tensor.info().dtype(),
                tensor.info().shape(),
                segment(tensor.canonicalName())))
        .toList();
  }

  /** Unmaps everything: segments become invalid. Closing twice is harmless. */
  @Override
  public synchronized void close() {
    closed = true;
    mapped.values().forEach(SafetensorsFile::close);
    mapped.clear();
  }
}
