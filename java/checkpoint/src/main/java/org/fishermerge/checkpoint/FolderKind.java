package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/** Folders that people take for a model that can be read here, and what to tell them. */
final class FolderKind {
  private static final Pattern TRAINER = Pattern.compile("checkpoint-(\\d{1,18})");
  private static final Pattern DEEPSPEED = Pattern.compile("global_step\\d+");
  private static final Pattern NUMBERED =
      Pattern.compile("(?:model|pytorch_model)[-_.]?\\d+(?:-of-\\d+)?\\.safetensors");
  private static final Pattern VARIANT = Pattern.compile("model\\.[^.]+\\.safetensors");
  private static final Pattern STATE =
      Pattern.compile(
          "(?:optimizer|scheduler|scaler|rng_state(?:_\\d+)?|random_states_\\d+|training_args)"
              + "\\.(?:pt|pth|bin|pkl)");

  /** Weights of other programs, by the end of the name, and what they are. */
  private enum Foreign {
    GGUF(".gguf", "a GGUF file (llama.cpp), usually quantised"),
    FLAX(".msgpack", "Flax weights"),
    H5(".h5", "TensorFlow or Keras weights"),
    TENSORFLOW(".ckpt.index", "TensorFlow weights"),
    SAVED_MODEL("saved_model.pb", "a TensorFlow SavedModel"),
    KERAS(".keras", "Keras weights"),
    ONNX(".onnx", "an ONNX graph"),
    OPENVINO("openvino_model.xml", "an OpenVINO model"),
    NPZ(".npz", "NumPy or MLX weights"),
    RUST("rust_model.ot", "weights for Rust"),
    COREML(".mlpackage", "a Core ML model");

    final String ending;
    final String what;

    Foreign(String ending, String what) {
      this.ending = ending;
      this.what = what;
    }
  }

  private FolderKind() {}

  /**
   * Why a folder without model.safetensors and its index is no model.
   *
   * @param names of everything in it, sorted
   */
  static InputException refusal(Path path, List<String> names) {
    return new InputException(path + ": " + reason(path, names));
  }

  private static String reason(Path path, List<String> names) {
    Optional<String> adapter = adapter(names);
    if (adapter.isPresent()) {
      return "is a PEFT adapter ("
          + adapter.get()
          + "), which holds changes to a model and no model."
          + " Give it with its base, as BASE+"
          + path
          + ", where that is taken; or load it with peft, call merge_and_unload() and"
          + " save_pretrained(FOLDER), and give that folder";
    }
    if (names.contains("model_index.json")) {
      return "is a diffusers pipeline (model_index.json), a folder of several models: name one of"
          + " them"
          + example(path, names, n -> weights(path.resolve(n)), "unet");
    }
    if (names.contains("modules.json")) {
      return "is a sentence-transformers model (modules.json) whose weights lie deeper: name the"
          + " folder of its transformer"
          + example(path, names, n -> weights(path.resolve(n)), "0_Transformer");
    }
    List<String> steps = names.stream().filter(n -> TRAINER.matcher(n).matches()).toList();
    if (!steps.isEmpty()) {
      return training(path, steps);
    }
    if (any(names, n -> DEEPSPEED.matcher(n).matches()) || names.contains("zero_to_fp32.py")) {
      return "is a DeepSpeed checkpoint, whose weights are in parts and pickled. Where you trust"
          + " it, run its zero_to_fp32.py with --safe_serialization, or save the model with"
          + " save_pretrained, and give that folder";
    }
    if (any(names, n -> n.endsWith(".distcp") || n.startsWith("pytorch_model_fsdp"))) {
      return "is a distributed checkpoint of PyTorch (FSDP). Put it together where you trust it:"
          + " accelerate merge-weights FOLDER OUTPUT writes model.safetensors";
    }
    Optional<String> foreign = foreign(names);
    List<String> tensors =
        names.stream()
            .filter(n -> n.endsWith(".safetensors"))
            .filter(n -> Files.isRegularFile(path.resolve(n)))
            .toList();
    Optional<String> pickle =
        names.stream()
            .filter(name -> LookAlike.isPickleName(path.resolve(name)))
            .filter(name -> !STATE.matcher(name).matches())
            // The weights rather than what else may lie beside them.
            .min(Comparator.comparing(name -> !name.startsWith("pytorch_model")));
    boolean model = pickle.isPresent() && pickle.get().startsWith("pytorch_model");
    if (pickle.isPresent() && (model || tensors.isEmpty())) {
      return "has no model.safetensors but "
          + path.resolve(pickle.get())
          + (pickle.get().startsWith("consolidated.") ? ", Meta's own layout: " : ": ")
          + LookAlike.PICKLE;
    }
    if (!tensors.isEmpty()) {
      return safetensors(path, tensors);
    }
    if (foreign.isPresent()) {
      return foreign.get();
    }
    Optional<String> state = names.stream().filter(n -> STATE.matcher(n).matches()).findFirst();
    if (state.isPresent()) {
      return "holds the state of a training ("
          + state.get()
          + ") but no weights; name the folder that the model was saved to";
    }
    List<String> below = names.stream().filter(n -> weights(path.resolve(n))).toList();
    return "is no model folder: it has neither "
        + WeightFiles.SINGLE_FILE
        + " nor "
        + WeightFiles.INDEX_FILE
        + (below.isEmpty()
            ? ""
            : "; a folder in it has, name that: " + path.resolve(below.getFirst()));
  }

  private static Optional<String> adapter(List<String> names) {
    if (names.contains("adapter_config.json")) {
      return Optional.of("adapter_config.json");
    }
    return any(names, n -> n.startsWith("pytorch_model"))
        ? Optional.empty()
        : names.stream().filter(n -> n.startsWith("adapter_model.")).findFirst();
  }

  private static boolean any(List<String> names, Predicate<String> test) {
    return names.stream().anyMatch(test);
  }

  private static boolean weights(Path folder) {
    return Files.isRegularFile(folder.resolve(WeightFiles.SINGLE_FILE))
        || Files.isRegularFile(folder.resolve(WeightFiles.INDEX_FILE));
  }

  private static String example(
      Path path, List<String> names, Predicate<String> good, String otherwise) {
    return ", such as " + path.resolve(names.stream().filter(good).findFirst().orElse(otherwise));
  }

  private static String training(Path path, List<String> steps) {
    String last =
        steps.stream()
            .max(
                Comparator.comparingLong(
                    step -> Long.parseLong(step.substring("checkpoint-".length()))))
            .orElseThrow();
    String best =
        best(path.resolve(last).resolve("trainer_state.json"))
            .filter(steps::contains)
            .filter(name -> !name.equals(last))
            .map(name ->
                ", or " + path.resolve(name) + ", which its trainer_state.json calls the best")
            .orElse("");
    return "is the folder of a training run, whose models are in "
        + NameList.of(steps, 4)
        + ": name one of these, such as "
        + path.resolve(last)
        + " (the last)"
        + best;
  }

  /** The name of the folder that the trainer calls its best checkpoint. */
  private static Optional<String> best(Path state) {
    if (!Files.isRegularFile(state)) {
      return Optional.empty();
    }
    try (JsonParser parser = StrictJson.settingsParser(InputFiles.bytes(state))) {
      parser.nextToken();
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String key = parser.currentName();
        if (parser.nextToken() == JsonToken.VALUE_STRING && key.equals("best_model_checkpoint")) {
          String text = parser.getText();
          int slash = Math.max(text.lastIndexOf('/'), text.lastIndexOf('\\'));
          return Optional.of(text.substring(slash + 1));
        }
        parser.skipChildren();
      }
      return Optional.empty();
    } catch (IOException | InputException e) {
      return Optional.empty(); // advice only
    }
  }

  private static Optional<String> foreign(List<String> names) {
    for (Foreign kind : Foreign.values()) {
      Optional<String> file =
          names.stream()
              .filter(name -> name.toLowerCase(Locale.ROOT).endsWith(kind.ending))
              .findFirst();
      if (file.isPresent()) {
        return Optional.of(
            "has no model.safetensors but "
                + file.get()
                + ", "
                + kind.what
                + ": take the safetensors original of the model, or convert it with transformers"
                + " (from_pretrained, then save_pretrained(FOLDER)) and give that folder");
      }
    }
    return Optional.empty();
  }

  private static String safetensors(Path path, List<String> tensors) {
    List<String> parts = tensors.stream().filter(n -> NUMBERED.matcher(n).matches()).toList();
    if (parts.size() > 1) {
      return "holds parts of a model ("
          + NameList.of(parts, 3)
          + ") without "
          + WeightFiles.INDEX_FILE
          + ", which says what is where; download that too, or load the model with what wrote it"
          + " and save it with save_pretrained";
    }
    Optional<String> variant =
        tensors.stream().filter(n -> VARIANT.matcher(n).matches()).findFirst();
    String name = variant.orElse(tensors.getFirst());
    return (variant.isPresent()
            ? "has no model.safetensors but a variant of it, "
            : "is no model folder: it has neither "
                + WeightFiles.SINGLE_FILE
                + " nor "
                + WeightFiles.INDEX_FILE
                + ", but ")
        + NameList.of(tensors, 3)
        + (variant.isPresent() || tensors.size() == 1
            ? "; to open that file, name it: "
            : "; to open a single file, name it: ")
        + path.resolve(name);
  }
}
