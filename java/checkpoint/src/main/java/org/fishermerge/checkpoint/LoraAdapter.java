package org.fishermerge.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A LoRA adapter as PEFT saves it: {@code adapter_config.json} and {@code
 * adapter_model.safetensors}. Opening reads and checks the configuration and the header; {@link
 * #applyTo} checks that the adapter fits a base, all of it. Immutable and safe for any number of
 * threads.
 */
public final class LoraAdapter {
  static final String WEIGHTS = "adapter_model.safetensors";
  private static final String PICKLE = "adapter_model.bin";

  /** The keys of {@code adapter_config.json}. */
  public static final SettingsKeys KEYS = AdapterConfig.KEYS;

  private final AdapterConfig config;
  private final SafetensorsHeader header;
  private final AdapterTensors tensors;

  private LoraAdapter(AdapterConfig config, SafetensorsHeader header) {
    this.config = config;
    this.header = header;
    this.tensors = AdapterTensors.of(header, config);
  }

  /**
   * Whether this is the folder of an adapter and of no whole model, or an adapter's file.
   *
   * @param path need not exist
   */
  public static boolean isAdapter(Path path) {
    if (Files.isDirectory(path)) {
      return Files.exists(path.resolve(AdapterConfig.FILE))
          && (hasWeights(path) || !hasModel(path));
    }
    return path.endsWith(WEIGHTS)
        && Files.exists(path.resolveSibling(AdapterConfig.FILE))
        && Files.isRegularFile(path);
  }

  private static boolean hasWeights(Path folder) {
    return Files.exists(folder.resolve(WEIGHTS)) || Files.exists(folder.resolve(PICKLE));
  }

  /** Whether a folder holds a whole model. */
  static boolean hasModel(Path folder) {
    return Files.exists(folder.resolve(WeightFiles.SINGLE_FILE))
        || Files.exists(folder.resolve(WeightFiles.INDEX_FILE));
  }

  /**
   * Opens an adapter.
   *
   * @param path its folder, or its {@code adapter_model.safetensors}
   * @throws InputException if a file is missing or malformed, or the configuration asks for what is
   *     not applied here
   */
  public static LoraAdapter open(Path path) {
    ModelFolder folder = new ModelFolder(Files.isDirectory(path) ? path : path.resolveSibling(""));
    Path config =
        folder
            .find(AdapterConfig.FILE)
            .orElseThrow(() ->
                new InputException(
                    path
                        + ": is no LoRA adapter: it has no "
                        + AdapterConfig.FILE
                        + ", as PEFT's save_pretrained writes it"));
    Optional<Path> weights = folder.find(WEIGHTS);
    if (weights.isEmpty()) {
      Optional<Path> pickle = folder.find(PICKLE);
      throw new InputException(
          pickle.isPresent()
              ? pickle.get()
                  + ": is a PyTorch pickle by its name; pickle files can run code when loaded and"
                  + " are never read here. Where you trust it, load the adapter with PEFT and call"
                  + " save_pretrained(folder), which writes "
                  + WEIGHTS
              : path + ": is a LoRA adapter without its weights, " + WEIGHTS + "; download it too");
    }
    return new LoraAdapter(AdapterConfig.read(config), SafetensorsHeader.read(weights.get()));
  }

  /**
   * Refuses a file of a model with adapters in it that are not merged, or of an adapter alone.
   *
   * @throws InputException if a tensor's name tells that this is one
   */
  static void refuseUnapplied(Path path, Collection<SafetensorsHeader> files) {
    for (SafetensorsHeader file : files) {
      for (String name : file.tensors().keySet()) {
        if (name.contains(".lora_A.") || name.contains(".lora_embedding_A")) {
          boolean alone = file.tensors().keySet().stream().noneMatch(n -> n.contains("base_layer"));
          throw new InputException(
              path
                  + ": holds LoRA matrices, such as "
                  + Messages.quote(name)
                  + ", and no "
                  + AdapterConfig.FILE
                  + (alone
                      ? " beside them, without which their scale is not known. Keep the file as "
                          + WEIGHTS
                          + " beside the "
                          + AdapterConfig.FILE
                          + " that PEFT wrote, and give BASE+ADAPTER"
                      : ": the model was saved with an adapter that is not merged into it. Load it"
                          + " where it was trained, merge (merge_and_unload) and save it again"));
        }
        if (name.contains(".lora_down.") || name.contains(".lora_up.")) {
          throw new InputException(
              path
                  + ": holds LoRA matrices that are not in PEFT's format, such as "
                  + Messages.quote(name)
                  + "; convert the adapter to PEFT's, or merge it into its model where it is used");
        }
      }
    }
  }

  /** The header of the file of weights. */
  public SafetensorsHeader header() {
    return header;
  }

  /** The model that it was trained on, as its configuration names it. */
  public Optional<String> baseModel() {
    return config.baseModel();
  }

  /** What is odd about the adapter but does not stop its use; sentences for users. */
  public List<String> warnings() {
    return config.warnings();
  }

  /** What it does, in lines for people. */
  public List<String> describe() {
    Map<String, Integer> kinds = new TreeMap<>();
    for (String module : tensors.pairs().keySet()) {
      kinds.merge(module.substring(module.lastIndexOf('.') + 1), 1, Integer::sum);
    }
    Set<String> settings = new TreeSet<>();
    tensors
        .pairs()
        .keySet()
        .forEach(module ->
            settings.add(
                "rank %d, alpha %s".formatted(config.rank(module), plain(config.alpha(module)))));
    List<String> lines = new ArrayList<>();
    lines.add(
        "base model: "
            + config.baseModel().orElse("not named")
            + "; apply it as BASE+ADAPTER wherever a model is named");
    lines.add(
        "adapts %d %s: %s"
            .formatted(
                tensors.pairs().size(),
                tensors.pairs().size() == 1 ? "layer" : "layers",
                kinds.entrySet().stream()
                    .map(kind -> kind.getKey() + " (" + kind.getValue() + ")")
                    .collect(Collectors.joining(", "))));
    lines.add(
        String.join("; ", settings.stream().limit(8).toList())
            + (settings.size() > 8 ? " and more" : "")
            + (config.rankStabilised() ? ", scaled by the root of the rank (rslora)" : "")
            + (config.magnitudes() ? ", with magnitudes (DoRA)" : ""));
    if (!tensors.whole().isEmpty()) {
      lines.add("replaces whole: " + NameList.of(tensors.whole().keySet(), 8));
    }
    return lines;
  }

  private static String plain(double value) {
    return value == Math.rint(value) ? Long.toString((long) value) : Double.toString(value);
  }

  // ---- on a base ----

  /**
   * The tensors of a model that the adapter changes or adds, by canonical name.
   *
   * @param base what messages call the base
   * @param stored the base's tensors by canonical name
   * @param conv1d which layers store their weights as [in, out]
   * @throws InputException if a tensor of the adapter has no place in the base, or does not fit
   *     there
   */
  Map<String, AdaptedTensor> applyTo(
      Path base, Map<String, CheckpointTensor> stored, Conv1dLayers conv1d) {
    UnaryOperator<String> inBase = names(base, stored);
    Map<String, AdaptedTensor> adapted = new LinkedHashMap<>();
    tensors
        .whole()
        .forEach((name, info) -> {
          AdaptedTensor tensor = whole(base, stored, inBase.apply(name), name, info);
          if (adapted.put(tensor.tensor().canonicalName(), tensor) != null) {
            throw twice(name);
          }
        });
    tensors
        .pairs()
        .forEach((module, pair) -> {
          String weight = inBase.apply(module + ".weight");
          AdaptedTensor before = adapted.get(weight);
          CheckpointTensor from = before == null ? stored.get(weight) : before.stored();
          if (from == null) {
            throw noPlace(base, stored, module + ".weight");
          }
          if (before != null && before.update() != null) {
            throw twice(module);
          }
          CheckpointTensor result = before == null ? from : before.tensor();
          requireMergeable(result);
          adapted.put(
              weight,
              new AdaptedTensor(result, from, pair.update(header, config, module, result, conv1d)));
          biased(stored, inBase, module, pair, adapted);
        });
    return adapted;
  }

  /** A bias of the second matrix is added to the layer's own, as often as the product. */
  private void biased(
      Map<String, CheckpointTensor> stored,
      UnaryOperator<String> inBase,
      String module,
      AdapterTensors.Pair pair,
      Map<String, AdaptedTensor> adapted) {
    TensorInfo bias = pair.bias();
    if (bias == null) {
      return;
    }
    String name = inBase.apply(module + ".bias");
    AdaptedTensor before = adapted.get(name);
    CheckpointTensor from = before == null ? stored.get(name) : before.stored();
    if (from == null) {
      throw new InputException(
          header.file()
              + ": "
              + Messages.quote(bias.name())
              + " is to be added to a bias that the base's layer does not have");
    }
    CheckpointTensor result = before == null ? from : before.tensor();
    requireMergeable(result);
    adapted.put(
        name, new AdaptedTensor(result, from, pair.biasUpdate(header, config, module, result)));
  }

  private AdaptedTensor whole(
      Path base,
      Map<String, CheckpointTensor> stored,
      String canonical,
      String name,
      TensorInfo info) {
    CheckpointTensor before = stored.get(canonical);
    CheckpointTensor here = new CheckpointTensor(canonical, canonical, info, header.file());
    if (before == null) {
      boolean head =
          config.modulesToSave().stream()
              .anyMatch(
                  module -> name.startsWith(module + ".") || name.contains("." + module + "."));
      if (!head) {
        throw noPlace(base, stored, name);
      }
      TensorInfo renamed =
          new TensorInfo(name, info.dtype(), info.shape(), info.begin(), info.end());
      return new AdaptedTensor(
          new CheckpointTensor(canonical, canonical, renamed, header.file()), here, null);
    }
    // PEFT loads it into a copy of the base's module, in that one's dtype.
    boolean cast = before.info().dtype() != info.dtype();
    if (cast) {
      requireMergeable(before);
      requireMergeable(here);
    }
    TensorInfo result =
        new TensorInfo(
            before.info().name(), before.info().dtype(), info.shape(), info.begin(), info.end());
    return new AdaptedTensor(
        new CheckpointTensor(canonical, before.name(), result, header.file()), here, null);
  }

  private static void requireMergeable(CheckpointTensor tensor) {
    if (!tensor.info().dtype().isMergeable()) {
      throw new InputException(
          tensor.file()
              + ": tensor "
              + Messages.quote(tensor.info().name())
              + " is "
              + tensor.info().dtype()
              + ", which an adapter cannot be applied to (F32, F16, BF16 and F64 can): take the"
              + " model that is not quantised");
    }
  }

  private InputException twice(String name) {
    return new InputException(
        header.file()
            + ": two of its tensors are about the same parameter of the base, one of them "
            + Messages.quote(name));
  }

  private InputException noPlace(Path base, Map<String, CheckpointTensor> stored, String name) {
    return new InputException(
        header.file()
            + ": adapts "
            + Messages.quote(name)
            + ", but the base "
            + base
            + " has no such tensor"
            + NearestNames.of(ParameterNames.canonical(name), stored.keySet())
            + ". Is it the model that the adapter was trained on ("
            + config.baseModel().orElse("its configuration names none")
            + ")?");
  }

  /**
   * How names in the adapter become canonical names of the base: as they are, or with {@code
   * model.} put before them or taken off, if only then all adapted layers are there. That is what a
   * language model has and its backbone alone has not.
   */
  private UnaryOperator<String> names(Path base, Map<String, CheckpointTensor> stored) {
    String head = "model.";
    List<UnaryOperator<String>> ways =
        List.of(
            ParameterNames::canonical,
            name -> ParameterNames.canonical(head + name),
            name ->
                ParameterNames.canonical(
                    name.startsWith(head) ? name.substring(head.length()) : name));
    for (UnaryOperator<String> way : ways) {
      if (tensors.pairs().keySet().stream()
          .allMatch(module -> stored.containsKey(way.apply(module + ".weight")))) {
        return way;
      }
    }
    for (String module : tensors.pairs().keySet()) {
      if (!stored.containsKey(ParameterNames.canonical(module + ".weight"))) {
        throw noPlace(base, stored, module + ".weight");
      }
    }
    return ParameterNames::canonical;
  }

  /**
   * What the configuration asks for and the file does not have, as a sentence for the user: PEFT
   * leaves it as it is in the base, with a warning.
   */
  Optional<String> missing(Path base, Map<String, CheckpointTensor> stored) {
    Targets targets = config.targets().orElse(null);
    if (targets == null || tensors.pairs().isEmpty()) {
      return Optional.empty();
    }
    UnaryOperator<String> inBase = names(base, stored);
    Set<String> parts = new TreeSet<>();
    Set<String> prefixes = new TreeSet<>();
    Set<String> adapted = new TreeSet<>();
    for (String module : tensors.pairs().keySet()) {
      String canonical = inBase.apply(module + ".weight");
      adapted.add(canonical);
      parts.add(part(canonical));
      int shared = (module + ".weight").lastIndexOf(canonical);
      prefixes.add(shared < 0 ? "" : module.substring(0, shared));
    }
    List<String> missing =
        stored.values().stream()
            .filter(tensor -> tensor.info().shape().size() > 1)
            .map(CheckpointTensor::canonicalName)
            .filter(name -> name.endsWith(".weight") && !adapted.contains(name))
            .filter(name -> parts.contains(part(name)))
            .map(name -> name.substring(0, name.length() - ".weight".length()))
            .filter(module -> prefixes.stream().anyMatch(p -> targets.include(p + module)))
            .toList();
    return missing.isEmpty()
        ? Optional.empty()
        : Optional.of(
            header.file()
                + ": holds nothing for "
                + NameList.of(missing.stream().map(Messages::quote).toList(), 3)
                + ", which target_modules of "
                + AdapterConfig.FILE
                + (missing.size() == 1 ? " asks for; it stays" : " asks for; they stay")
                + " as in the base");
  }

  /** The part of a model that a tensor is in: an image tower, say, beside a text tower. */
  private static String part(String canonicalName) {
    int dot = canonicalName.indexOf('.');
    return dot < 0 ? canonicalName : canonicalName.substring(0, dot);
  }

  /**
   * A tensor of an adapted model.
   *
   * @param tensor as others see it
   * @param stored what it is computed from, or where it is
   * @param update what is done to it, if anything but a change of dtype
   */
  record AdaptedTensor(CheckpointTensor tensor, CheckpointTensor stored, @Nullable LowRank update) {
    boolean isComputed() {
      return update != null || tensor.info().dtype() != stored.info().dtype();
    }
  }
}
