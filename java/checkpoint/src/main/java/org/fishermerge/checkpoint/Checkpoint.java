package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.fishermerge.checkpoint.LoraAdapter.AdaptedTensor;
import org.jspecify.annotations.Nullable;

/**
 * A model, on disk or in memory ({@link NamedTensors}). On disk it is a Hugging Face folder ({@code
 * model.safetensors}, or else {@code model.safetensors.index.json} with its shards), or one
 * safetensors file; or one of them with a LoRA adapter, {@code BASE+ADAPTER} ({@link ModelPath}),
 * applied where a tensor is read. Opening reads and validates headers only; data is mapped when a
 * segment is first asked for. Safe for use by several threads; segments are valid until {@link
 * #close}.
 */
public final class Checkpoint implements AutoCloseable {
  private static final String CONFIG = "config.json";

  /** Elements that are computed at once where memory for them is needed. */
  private static final int STRETCH = 1 << 20;

  private final Path path;
  private final Path basePath;
  private final TensorStore store;
  private final List<String> warnings;

  /** By the names that this checkpoint alone implies. */
  private final Map<String, CheckpointTensor> own;

  /** What an adapter changes or adds, by the names of {@link #own}; empty without one. */
  private final Map<String, AdaptedTensor> adapted;

  /** By the names that the checkpoint it was opened like has. */
  private final Map<String, CheckpointTensor> tensors;

  private final SharedNames shared;
  private @Nullable ModelConfig modelConfig;

  private Checkpoint(ModelPath model, @Nullable Checkpoint like) {
    this.path = model.given();
    this.basePath = model.base();
    WeightFiles stored = WeightFiles.find(basePath);
    LoraAdapter.refuseUnapplied(basePath, stored.headers());
    List<String> notes = new ArrayList<>(stored.warnings());
    Map<String, CheckpointTensor> base = byCanonicalName(basePath, stored.headers(), notes);
    if (model.adapter() == null) {
      this.store = new MappedFiles(stored);
      this.adapted = Map.of();
      this.own = base;
    } else {
      LoraAdapter adapter = LoraAdapter.open(model.adapter());
      this.store = new MappedFiles(stored.with(adapter.header()));
      this.adapted = adapter.applyTo(basePath, base, new Conv1dLayers(config()));
      Map<String, CheckpointTensor> all = new LinkedHashMap<>(base);
      adapted.forEach((name, tensor) -> all.put(name, tensor.tensor()));
      this.own = Collections.unmodifiableMap(all);
      notes.addAll(adapter.warnings());
      adapter.missing(basePath, base).ifPresent(notes::add);
    }
    this.tensors = like == null ? own : OuterPrefix.match(path, own, like.own, notes);
    this.warnings = List.copyOf(notes);
    this.shared = new SharedNames(this, like == null ? null : like.shared);
  }

  private Checkpoint(NamedTensors tensors, @Nullable Checkpoint like) {
    this.path = tensors.path();
    this.basePath = path;
    this.store = new MemoryStore(tensors);
    List<String> notes = new ArrayList<>();
    this.own = byCanonicalName(path, store.headers(), notes);
    this.adapted = Map.of();
    this.tensors = like == null ? own : OuterPrefix.match(path, own, like.own, notes);
    this.warnings = List.copyOf(notes);
    this.shared = new SharedNames(this, like == null ? null : like.shared);
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
    return new Checkpoint(ModelPath.of(model), null);
  }

  /**
   * The same for a name that has been taken apart, under another checkpoint's names: where all
   * names of one have a prefix that the other's lack ({@code model.}, {@code bert.}, ...), the
   * tensors go by the other's names, and a warning says so. What is tied is the other's matter too,
   * if there is no config.json here.
   */
  public static Checkpoint open(ModelPath model, Checkpoint like) {
    return new Checkpoint(model, like);
  }

  /**
   * Tensors in memory, as a file of them would be opened.
   *
   * @param like a checkpoint whose names they go by, as {@link #open(ModelPath, Checkpoint)} has
   *     it; null for none
   * @throws InputException as {@link #open(Path)} for what is in a file
   */
  public static Checkpoint of(NamedTensors tensors, @Nullable Checkpoint like) {
    return new Checkpoint(tensors, like);
  }

  private static Map<String, CheckpointTensor> byCanonicalName(
      Path path, List<SafetensorsHeader> files, List<String> notes) {
    List<TensorInfo> all = new ArrayList<>();
    files.forEach(header -> all.addAll(header.tensors().values()));
    Map<String, String> plain = Wrappers.plainNames(path, all, notes);
    Map<String, CheckpointTensor> tensors = new LinkedHashMap<>();
    for (SafetensorsHeader header : files) {
      for (TensorInfo info : header.tensors().values()) {
        String own = plain.getOrDefault(info.name(), info.name());
        String name = ParameterNames.canonical(own);
        CheckpointTensor before =
            tensors.put(name, new CheckpointTensor(name, own, info, header.file()));
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
    return Collections.unmodifiableMap(tensors);
  }

  /** The path as the user gave it; of tensors in memory, the name that stands for it. */
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

  /** Whether a tensor is stored under that canonical name itself. */
  public boolean has(String canonicalName) {
    return tensors.containsKey(canonicalName);
  }

  /**
   * The tensor of that name, or the one that is the same parameter under another name, where
   * weights are tied.
   */
  public Optional<CheckpointTensor> find(String canonicalName) {
    CheckpointTensor tensor = tensors.get(canonicalName);
    return tensor != null ? Optional.of(tensor) : shared.storedAs(canonicalName);
  }

  /**
   * As {@link #find}.
   *
   * @throws InputException if there is no such tensor; the message gives the nearest names
   */
  public CheckpointTensor tensor(String canonicalName) {
    return find(canonicalName)
        .orElseThrow(() ->
            new InputException(
                path
                    + ": has no tensor "
                    + Messages.quote(canonicalName)
                    + problem()
                        .map(problem -> ", for it " + problem)
                        .orElseGet(() -> NearestNames.of(canonicalName, tensors.keySet()))));
  }

  /**
   * All canonical names, stored or not, of the parameter that a name is of, itself included: more
   * than one where the configuration ties weights and the data do not contradict it. Where both
   * names of a tie are stored, this compares their data.
   *
   * @throws InputException if a file cannot be mapped any more
   */
  public Set<String> namesOf(String canonicalName) {
    return shared.namesOf(canonicalName);
  }

  /**
   * Sentences for users about names that the configuration ties and that are stored with different
   * values; of those that {@link #namesOf} has looked at.
   */
  public List<String> untied() {
    return shared.untied();
  }

  /**
   * Whether there may be tied weights of which {@link #namesOf} does not know, because there is no
   * config.json or it is of an unknown model type.
   */
  public boolean mayTieMore() {
    return shared.tied().open();
  }

  /** Whether two tensors have the same dtype, shape and data. */
  public boolean equal(CheckpointTensor one, CheckpointTensor other) {
    return one.equals(other) || equal(one, this, other);
  }

  /** The same of a tensor of another checkpoint. */
  public boolean equal(CheckpointTensor one, Checkpoint others, CheckpointTensor other) {
    boolean alike =
        one.info().dtype() == other.info().dtype()
            && one.info().shape().equals(other.info().shape());
    return alike && sameValues(one, others, other);
  }

  private boolean sameValues(CheckpointTensor one, Checkpoint others, CheckpointTensor other) {
    if (!isComputed(one) && !others.isComputed(other)) {
      return data(stored(one)).mismatch(others.data(others.stored(other))) < 0;
    }
    long count = one.info().elementCount();
    long width = one.info().dtype().bits() / Byte.SIZE;
    for (long at = 0; at < count; at += STRETCH) {
      long length = Math.min(STRETCH, count - at);
      MemorySegment first = MemorySegment.ofArray(new byte[(int) (length * width)]);
      MemorySegment second = MemorySegment.ofArray(new byte[(int) (length * width)]);
      copy(one, at, length, first);
      others.copy(other, at, length, second);
      if (first.mismatch(second) >= 0) {
        return false;
      }
    }
    return true;
  }

  /**
   * Refuses what is no set of weights that can be averaged or run: quantised weights, an adapter,
   * an optimizer's state, a Fisher file.
   *
   * @throws InputException saying what it is and what to do
   */
  public void requireWeights() {
    Optional<String> problem = problem();
    if (problem.isPresent()) {
      throw new InputException(path + ": " + problem.get());
    }
  }

  /** A sentence for the user where config.json calls weights quantised that are not. */
  public Optional<String> wronglyCalledQuantised() {
    return weightConfig()
        .filter(config -> config.quantization() != null && problem().isEmpty())
        .map(config ->
            config.file()
                + ": has a quantization_config, but the weights beside it are not quantised; they"
                + " are taken as they are. Take the entry out, or the merged model may be loaded"
                + " as if it were");
  }

  /** What config.json says of the weights, read when it matters. */
  Optional<WeightConfig> weightConfig() {
    return config().map(WeightConfig::read);
  }

  /** What the tensors are, where {@link #requireWeights} refuses them. */
  public Optional<String> problem() {
    return WeightKind.problem(
        own.values().stream().map(CheckpointTensor::info).toList(),
        store.headers().getFirst().metadata(),
        weightConfig().map(WeightConfig::quantization).orElse(null));
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
    return data(stored(tensor(canonicalName)));
  }

  private MemorySegment data(CheckpointTensor stored) {
    return store.segment(stored);
  }

  /** What an adapter makes of a tensor; null where it leaves it alone. */
  private @Nullable AdaptedTensor adapted(CheckpointTensor tensor) {
    return adapted.get(ParameterNames.canonical(tensor.name()));
  }

  /** The tensor of a file that this one is, or is computed from. */
  private CheckpointTensor stored(CheckpointTensor tensor) {
    AdaptedTensor found = adapted(tensor);
    return found == null ? tensor : found.stored();
  }

  /**
   * Whether the values lie nowhere where kernels could read them, and are made as they are read,
   * with {@link #copy}: those that an adapter changes, those of Java arrays, and what a {@link
   * TensorReader} gives.
   */
  public boolean isComputed(String canonicalName) {
    return find(canonicalName).map(this::isComputed).orElse(false);
  }

  private boolean isComputed(CheckpointTensor tensor) {
    AdaptedTensor found = adapted(tensor);
    return (found != null && found.isComputed()) || !store.isInPlace(stored(tensor));
  }

  /**
   * The data that elements {@code from} to {@code from + count} of a tensor are read or computed
   * from, for hints to the system about mapped files; empty where there is none.
   *
   * @throws InputException as {@link #segment}
   */
  public MemorySegment source(String canonicalName, long from, long count) {
    return source(tensor(canonicalName), from, count);
  }

  private MemorySegment source(CheckpointTensor tensor, long from, long count) {
    CheckpointTensor stored = stored(tensor);
    if (!store.isInPlace(stored)) {
      return MemorySegment.NULL;
    }
    long width = stored.info().dtype().bits() / Byte.SIZE;
    return data(stored).asSlice(from * width, count * width);
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
    copy(tensor(canonicalName), from, count, target);
  }

  private void copy(CheckpointTensor tensor, long from, long count, MemorySegment target) {
    DType dtype = tensor.info().dtype();
    if (target.byteSize() * Byte.SIZE != count * dtype.bits()) {
      throw new IllegalArgumentException(count + " elements into " + target.byteSize() + " bytes");
    }
    AdaptedTensor found = adapted(tensor);
    if (found == null || !found.isComputed()) {
      store.copy(stored(tensor), from, count, target);
      return;
    }
    LowRank.Source source = source(found);
    LowRank update = found.update();
    if (update != null) {
      update.apply(source, dtype, factor -> data(factor.tensor()), from, count, target);
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
    MemorySegment data = data(tensor.stored());
    DType found = tensor.stored().info().dtype();
    DType wanted = tensor.tensor().info().dtype();
    long width = found.bits() / Byte.SIZE;
    return (from, count) ->
        Values.cast(data.asSlice(from * width, count * width), found, wanted, count);
  }

  /**
   * Whether all files are as long as when they were opened.
   *
   * @throws InputException if one is not: what was read of it may be anything
   */
  public void requireSizes() {
    store.requireSizes();
  }

  /** All files, mapped whole, header included. */
  public List<FileMapping> mappings() {
    return store.mappings();
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
    try {
      Values.copy(data(stored(tensor)), info.dtype(), target);
    } finally {
      requireSizes();
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
        Values.copy(values, info.dtype(), target.asSlice(at * Float.BYTES, length * Float.BYTES));
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
              + "; expected F32, F16, BF16 or F64"
              + problem().map(problem -> "; the file " + problem).orElse(""));
    }
    return tensor;
  }

  /** The folder's {@code config.json}; of a single file, the one beside it. */
  public Optional<Path> config() {
    return sibling(CONFIG);
  }

  /**
   * What {@link #config} says, read when first asked for; empty if there is none.
   *
   * @throws InputException as {@link ModelConfig#read}
   */
  public synchronized Optional<ModelConfig> modelConfig() {
    ModelConfig known = modelConfig;
    if (known == null) {
      known = config().map(ModelConfig::read).orElse(null);
      modelConfig = known;
    }
    return Optional.ofNullable(known);
  }

  /**
   * A file of the model's folder, for example {@code tokenizer.json}; of a single file, one beside
   * it.
   *
   * @throws InputException if it is there but no regular file, or a link as {@link
   *     ModelFolder#find} refuses it
   */
  public Optional<Path> sibling(String fileName) {
    if (!ModelFolder.isPlainName(fileName)) {
      throw new IllegalArgumentException("not a plain file name: " + fileName);
    }
    return store.sibling(fileName);
  }

  /** The headers of the files, one per shard, in order of the shards' names; none in memory. */
  public List<SafetensorsHeader> files() {
    return store.files();
  }

  /** The same; of tensors in memory, that of a file of them. */
  List<SafetensorsHeader> headers() {
    return store.headers();
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
    return own.values().stream().map(this::entry).toList();
  }

  private TensorDigest.Entry entry(CheckpointTensor tensor) {
    TensorInfo info = tensor.info();
    if (!isComputed(tensor)) {
      return new TensorDigest.Entry(
          tensor.canonicalName(), info.dtype(), info.shape(), data(stored(tensor)));
    }
    long width = info.dtype().bits() / Byte.SIZE;
    return new TensorDigest.Entry(
        tensor.canonicalName(),
        info.dtype(),
        info.shape(),
        Math.multiplyExact(info.elementCount(), width),
        (from, bytes) -> {
          MemorySegment part = MemorySegment.ofArray(new byte[(int) bytes]);
          copy(tensor, from / width, bytes / width, part);
          return part;
        });
  }

  /** Unmaps all files: segments become invalid. Closing twice is harmless. */
  @Override
  public void close() {
    store.close();
  }
}
