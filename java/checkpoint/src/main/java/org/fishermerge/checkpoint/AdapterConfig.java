package org.fishermerge.checkpoint;

import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The {@code adapter_config.json} of a LoRA adapter, as PEFT reads it: ranks and scales, and which
 * modules are adapted. What changes a merged weight in a way that is not reproduced here is refused
 * by name. Immutable.
 */
final class AdapterConfig {
  static final String FILE = "adapter_config.json";

  /** How a user applies what is not applied here. */
  static final String MERGE_THERE =
      "apply it with PEFT (merge_and_unload, then save_pretrained) and give the resulting model";

  static final SettingsKeys KEYS =
      SettingsKeys.of(
          FILE,
          List.of(
              "peft_type",
              "task_type",
              "base_model_name_or_path",
              "r",
              "lora_alpha",
              "rank_pattern",
              "alpha_pattern",
              "use_rslora",
              "use_dora",
              "lora_bias",
              "fan_in_fan_out",
              "target_modules",
              "exclude_modules",
              "layers_to_transform",
              "layers_pattern",
              "modules_to_save"),
          List.of(
              "auto_mapping",
              "bias", // what was trained of biases is in the file, whatever it says
              "corda_config",
              "ensure_weight_tying",
              "eva_config",
              "inference_mode",
              "loftq_config",
              "lora_dropout",
              "lora_ga_config",
              "megatron_core",
              "merge_weights",
              "peft_version",
              "qalora_group_size",
              "revision",
              "runtime_config"),
          List.of(
              "alora_invocation_tokens",
              "arrow_config",
              "enable_lora",
              "init_lora_weights",
              "kasa_config",
              "layer_replication",
              "megatron_config",
              "monteclora_config",
              "target_parameters",
              "trainable_token_indices",
              "use_bdlora",
              "use_qalora",
              "velora_config"));

  /** A rank or a scale for the modules whose names a pattern matches. */
  private record Setting(Pattern modules, double value) {}

  private final Path file;
  private final Map<String, @Nullable Object> values;
  private final List<Setting> ranks;
  private final List<Setting> alphas;
  private final Optional<Targets> targets;
  private final List<String> warnings = new ArrayList<>();

  private AdapterConfig(Path file, Map<String, @Nullable Object> values) {
    this.file = file;
    this.values = values;
    KEYS.unknown(file, values.keySet()).ifPresent(warnings::add);
    requireLora();
    requirePlain();
    this.ranks = overrides("rank_pattern");
    this.alphas = overrides("alpha_pattern");
    rank(number("r", 8), "r");
    number("lora_alpha", 8);
    flag("use_rslora");
    flag("use_dora");
    flag("lora_bias");
    flag("fan_in_fan_out");
    this.targets =
        Targets.of(
            file,
            values.get("target_modules"),
            values.get("exclude_modules"),
            modulesToSave(),
            values.get("layers_to_transform"),
            values.get("layers_pattern"));
  }

  /**
   * Reads the file.
   *
   * @throws InputException if it is no JSON object, a key has a value of a wrong kind, or asks for
   *     what cannot be applied
   */
  static AdapterConfig read(Path file) {
    return new AdapterConfig(file, JsonFile.object(file));
  }

  // ---- what is refused ----

  private void requireLora() {
    Object type = values.get("peft_type");
    if (!"LORA".equals(type)) {
      throw wrong(
          "peft_type", "only LORA adapters are applied here: for another kind, " + MERGE_THERE);
    }
  }

  private void requirePlain() {
    for (String key : KEYS.treatments().keySet()) {
      if (KEYS.treatments().get(key) == SettingsKeys.Treatment.REFUSED
          && !key.equals("init_lora_weights")
          && isSet(values.get(key))) {
        throw wrong(key, "it is not applied here: " + MERGE_THERE);
      }
    }
    // Those other ways to begin are plain LoRA afterwards; PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA
    // take a part out of the base's own weights, when an adapter is loaded too.
    Object begin = values.get("init_lora_weights");
    if (begin instanceof String text
        && !List.of("gaussian", "eva", "orthogonal", "mica", "true", "false")
            .contains(text.toLowerCase(Locale.ROOT))) {
      throw wrong(
          "init_lora_weights",
          "this changes the base's weights too, which is not done here: "
              + MERGE_THERE
              + ", or convert it to plain LoRA (path_initial_model_for_weight_conversion)");
    }
  }

  private static boolean isSet(@Nullable Object value) {
    return !(value == null
        || Boolean.FALSE.equals(value)
        || (value instanceof List<?> list && list.isEmpty())
        || (value instanceof Map<?, ?> map && map.isEmpty()));
  }

  private InputException wrong(String key, String advice) {
    Object value = values.get(key);
    return new InputException(file + ": " + key + " is " + JsonFile.text(value) + "; " + advice);
  }

  // ---- values ----

  private double number(String key, double byDefault) {
    Object value = values.get(key);
    if (value == null) {
      if (values.containsKey(key)) {
        throw wrong(key, "expected a number");
      }
      return byDefault;
    }
    if (value instanceof BigDecimal number && Double.isFinite(number.doubleValue())) {
      return number.doubleValue();
    }
    throw wrong(key, "expected a finite number");
  }

  private boolean flag(String key) {
    Object value = values.get(key);
    if (value == null) {
      return false;
    }
    if (value instanceof Boolean flag) {
      return flag;
    }
    throw wrong(key, "expected true or false");
  }

  private Optional<String> text(String key) {
    Object value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value instanceof String text) {
      return Optional.of(text).filter(t -> !t.isBlank());
    }
    throw wrong(key, "expected a text");
  }

  private long rank(double value, String key) {
    if (value >= 1 && value <= Integer.MAX_VALUE && value == Math.rint(value)) {
      return (long) value;
    }
    throw new InputException(
        file + ": " + key + " holds the rank " + value + "; expected a whole number of at least 1");
  }

  private List<Setting> overrides(String key) {
    Object value = values.get(key);
    if (value == null) {
      return List.of();
    }
    if (!(value instanceof Map<?, ?> map)) {
      throw wrong(key, "expected an object of module names or patterns and numbers");
    }
    List<Setting> overrides = new ArrayList<>();
    map.forEach((name, number) -> {
      if (!(number instanceof BigDecimal n) || !Double.isFinite(n.doubleValue())) {
        throw wrong(key, "the value of " + Messages.quote(String.valueOf(name)) + " is no number");
      }
      overrides.add(
          new Setting(Targets.pattern(file, key, "(.*\\.)?(" + name + ")$"), n.doubleValue()));
    });
    return overrides;
  }

  /** The first pattern counts that matches from the start to the end, as in PEFT. */
  private static double of(List<Setting> overrides, String module, double otherwise) {
    return overrides.stream()
        .filter(setting -> setting.modules.matcher(module).lookingAt())
        .map(Setting::value)
        .findFirst()
        .orElse(otherwise);
  }

  /** The rank of a module's adapter, at least 1; the module named as in the adapter's file. */
  long rank(String module) {
    return rank(of(ranks, module, number("r", 8)), ranks.isEmpty() ? "r" : "rank_pattern");
  }

  double alpha(String module) {
    return of(alphas, module, number("lora_alpha", 8));
  }

  /** What the product of a module's two matrices is multiplied by. */
  double scaling(String module) {
    double rank = rank(module);
    return alpha(module) / (flag("use_rslora") ? Math.sqrt(rank) : rank);
  }

  boolean rankStabilised() {
    return flag("use_rslora");
  }

  /** Whether magnitudes of rows were trained apart from their directions (DoRA). */
  boolean magnitudes() {
    return flag("use_dora");
  }

  /** Whether the second of a module's matrices has a bias of its own. */
  boolean biases() {
    return flag("lora_bias");
  }

  /** Whether adapted matrices are said to be stored as [in, out]. */
  boolean fanInFanOut() {
    return flag("fan_in_fan_out");
  }

  /** Modules that were trained whole, heads of the task included. */
  List<String> modulesToSave() {
    List<String> modules = new ArrayList<>();
    Object value = values.get("modules_to_save");
    if (value instanceof List<?> list) {
      list.forEach(name -> modules.add(String.valueOf(name)));
    } else if (value != null) {
      throw wrong("modules_to_save", "expected a list of module names");
    }
    switch (text("task_type").orElse("")) {
      case "SEQ_CLS", "TOKEN_CLS" -> modules.addAll(List.of("classifier", "score"));
      case "QUESTION_ANS" -> modules.add("qa_outputs");
      default -> {}
    }
    return List.copyOf(modules);
  }

  /** Which modules were adapted; empty where that is not told by names. */
  Optional<Targets> targets() {
    return targets;
  }

  /** The model that the adapter was trained on: a folder, or an id on the hub. */
  Optional<String> baseModel() {
    return text("base_model_name_or_path");
  }

  Path file() {
    return file;
  }

  List<String> warnings() {
    return List.copyOf(warnings);
  }
}
