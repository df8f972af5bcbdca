package org.fishermerge.checkpoint;

import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * A config.json as transformers 5.18 takes it: keys under the name that the model's class has for
 * them, values of older spellings in their order of precedence, and the class's defaults for keys
 * that are absent, where the model type is among those that {@link ConfigDefaults} knows.
 *
 * @param file where it was read
 * @param modelType "" if the file does not tell
 * @param stated all that the file says
 * @param values as transformers takes them; a CLIP's groups are resolved below {@code
 *     vision_config} and {@code text_config}, while an image or text tower alone has its keys at
 *     the top
 * @param warnings what is odd about the file but does not stop its use, each a sentence for the
 *     user
 */
public record ModelConfig(
    Path file,
    String modelType,
    Map<String, @Nullable Object> stated,
    Map<String, @Nullable Object> values,
    List<String> warnings) {
  /** Model types with settings of their own here. */
  public static final String CLIP = "clip";

  public static final String CLIP_VISION = "clip_vision_model";
  public static final String CLIP_TEXT = "clip_text_model";
  public static final String GPT2 = "gpt2";

  public static final String VISION_CONFIG = "vision_config";
  public static final String TEXT_CONFIG = "text_config";
  private static final String MODEL_TYPE = "model_type";

  /**
   * Keys that have no bearing on what any model computes of its inputs outside training: records of
   * how the file came about, settings of training and of text generation, and of what is returned.
   */
  public static final List<String> WITHOUT_EFFECT =
      List.of(
          // records
          "_commit_hash",
          "_name_or_path",
          "name_or_path",
          "finetuning_task",
          "prefix",
          "task_specific_params",
          "tokenizer_class",
          "transformers_version",
          // how it is computed and what is returned
          "_attn_implementation",
          "_attn_implementation_autoset",
          "_attn_implementation_internal",
          "attn_implementation",
          "chunk_size_feed_forward",
          "dtype",
          "experts_implementation",
          "gradient_checkpointing",
          "output_attentions",
          "output_hidden_states",
          "return_dict",
          "torch_dtype",
          "torchscript",
          "use_bfloat16",
          "use_cache",
          // training
          "activation_dropout",
          "attention_dropout",
          "attention_probs_dropout_prob",
          "attn_dropout",
          "attn_pdrop",
          "classifier_dropout",
          "classifier_dropout_prob",
          "decoder_layerdrop",
          "drop_path_rate",
          "dropout",
          "dropout_rate",
          "embd_dropout",
          "embd_pdrop",
          "embed_dropout",
          "encoder_layerdrop",
          "ffn_dropout",
          "hidden_dropout",
          "hidden_dropout_prob",
          "init_std",
          "initializer_factor",
          "initializer_range",
          "layerdrop",
          "logit_scale_init_value",
          "output_router_logits",
          "pooler_dropout",
          "qa_dropout",
          "resid_dropout",
          "resid_pdrop",
          "router_aux_loss_coef",
          "seq_classif_dropout",
          "summary_first_dropout",
          "summary_last_dropout",
          // text generation
          "assistant_confidence_threshold",
          "assistant_lookbehind",
          "bad_words_ids",
          "begin_suppress_tokens",
          "bos_token_id",
          "decoder_start_token_id",
          "diversity_penalty",
          "do_sample",
          "early_stopping",
          "encoder_no_repeat_ngram_size",
          "encoder_repetition_penalty",
          "epsilon_cutoff",
          "eta_cutoff",
          "exponential_decay_length_penalty",
          "forced_bos_token_id",
          "forced_eos_token_id",
          "length_penalty",
          "max_length",
          "min_length",
          "no_repeat_ngram_size",
          "num_assistant_tokens",
          "num_assistant_tokens_schedule",
          "num_beam_groups",
          "num_beams",
          "num_return_sequences",
          "output_scores",
          "remove_invalid_values",
          "repetition_penalty",
          "return_dict_in_generate",
          "sep_token_id",
          "suppress_tokens",
          "target_lookbehind",
          "temperature",
          "top_k",
          "top_p",
          "typical_p");

  private static final Set<String> NO_EFFECT = Set.copyOf(WITHOUT_EFFECT);

  /** Names of one function each. */
  private static final Map<String, String> ACTIVATIONS =
      Map.of(
          "gelu_python", "gelu",
          "gelu_accurate", "gelu_new",
          "gelu_fast", "gelu_new",
          "gelu_python_tanh", "gelu_new",
          "gelu_pytorch_tanh", "gelu_new",
          "swish", "silu");

  public ModelConfig {
    warnings = List.copyOf(warnings);
  }

  /**
   * Reads a config.json.
   *
   * @throws InputException if it is no JSON object, or a group of a CLIP's settings is none
   */
  public static ModelConfig read(Path file) {
    Map<String, @Nullable Object> stated = JsonFile.object(file);
    String type = modelType(file, stated);
    List<String> warnings = new ArrayList<>();
    Map<String, @Nullable Object> values =
        switch (type) {
          case CLIP -> {
            Map<String, @Nullable Object> all = resolve(type, stated);
            all.put(VISION_CONFIG, group(file, stated, VISION_CONFIG, CLIP_VISION, warnings));
            all.put(TEXT_CONFIG, group(file, stated, TEXT_CONFIG, CLIP_TEXT, warnings));
            all.remove(VISION_CONFIG + "_dict");
            all.remove(TEXT_CONFIG + "_dict");
            yield all;
          }
          // A tower's class looks for its group first.
          case CLIP_VISION -> resolve(type, nested(stated, VISION_CONFIG));
          case CLIP_TEXT -> resolve(type, nested(stated, TEXT_CONFIG));
          default -> resolve(type, stated);
        };
    return new ModelConfig(
        file,
        type,
        Collections.unmodifiableMap(stated),
        Collections.unmodifiableMap(values),
        warnings);
  }

  /** What the file says, or what the names of its classes tell where it says nothing. */
  private static String modelType(Path file, Map<String, @Nullable Object> stated) {
    Object type = stated.get(MODEL_TYPE);
    if (type instanceof String text) {
      // The class of that name has the tower's configuration.
      return text.equals("clip_vision_model_with_projection") ? CLIP_VISION : text;
    }
    if (type != null) {
      throw new InputException(
          file + ": key " + MODEL_TYPE + " is " + JsonFile.text(type) + "; expected a string");
    }
    String name =
        stated.get("architectures") instanceof List<?> list && !list.isEmpty()
            ? String.valueOf(list.getFirst())
            : "";
    return name.startsWith("CLIPVision")
        ? CLIP_VISION
        : name.startsWith("CLIPText")
            ? CLIP_TEXT
            : name.startsWith("CLIPModel") ? CLIP : name.startsWith("GPT2") ? GPT2 : "";
  }

  private static Map<String, @Nullable Object> nested(
      Map<String, @Nullable Object> stated, String key) {
    return stated.get(key) instanceof Map<?, ?> group ? object(group) : stated;
  }

  /**
   * A tower's settings in the file of a whole CLIP. What {@code *_config_dict} says counts before
   * {@code *_config}, and so do the defaults of what it leaves out: that is how transformers reads
   * the files of its first CLIPs.
   */
  private static Map<String, @Nullable Object> group(
      Path file,
      Map<String, @Nullable Object> stated,
      String key,
      String type,
      List<String> warnings) {
    Map<String, @Nullable Object> plain = groupOf(file, stated, key);
    if (stated.get(key + "_dict") == null) {
      if (stated.get(key) == null) {
        warnings.add(
            "%s: has neither %s nor %s_dict; the defaults of transformers are taken"
                .formatted(file, key, key));
      }
      return resolve(type, plain);
    }
    Map<String, @Nullable Object> dict = groupOf(file, stated, key + "_dict");
    Map<String, @Nullable Object> before = resolve(type, plain);
    Map<String, @Nullable Object> counts = resolve(type, dict);
    for (Map.Entry<String, @Nullable Object> entry : plain.entrySet()) {
      String name = entry.getKey();
      if (counts.containsKey(name)
          && !NO_EFFECT.contains(name)
          && !same(type, name, before.get(name), counts.get(name))) {
        warnings.add(
            "%s: %s is %s in %s, but %s in %s_dict%s, which counts, as in transformers"
                .formatted(
                    file,
                    name,
                    JsonFile.text(entry.getValue()),
                    key,
                    JsonFile.text(counts.get(name)),
                    key,
                    dict.containsKey(name) ? "" : " by default"));
      }
    }
    Map<String, @Nullable Object> both = new LinkedHashMap<>(plain);
    both.putAll(counts);
    return resolve(type, both);
  }

  private static Map<String, @Nullable Object> groupOf(
      Path file, Map<String, @Nullable Object> stated, String key) {
    Object group = stated.get(key);
    if (group != null && !(group instanceof Map)) {
      throw new InputException(
          file + ": key " + key + " is " + JsonFile.text(group) + "; expected an object");
    }
    return object(group);
  }

  /** Fills in defaults; another name of a key counts before the key itself, as in transformers. */
  private static Map<String, @Nullable Object> resolve(
      String type, Map<String, @Nullable Object> stated) {
    Map<String, @Nullable Object> values = new LinkedHashMap<>();
    ConfigDefaults known = ConfigDefaults.of(type).orElse(null);
    Map<String, @Nullable Object> aliases = known == null ? Map.of() : known.aliases();
    if (known != null) {
      values.putAll(known.defaults());
    }
    stated.forEach((key, value) -> {
      if (!aliases.containsKey(key)) {
        // A group of settings that says whose they are, as in models of several parts.
        Map<String, @Nullable Object> group = object(value);
        values.put(key, group.get(MODEL_TYPE) instanceof String its ? resolve(its, group) : value);
      }
    });
    stated.forEach((key, value) -> {
      if (aliases.get(key) instanceof String name) {
        values.put(name, value);
      }
    });
    return values;
  }

  /** A JSON object; an empty one in the place of anything else. */
  public static Map<String, @Nullable Object> object(@Nullable Object value) {
    Map<String, @Nullable Object> object = new LinkedHashMap<>();
    if (value instanceof Map<?, ?> map) {
      map.forEach((key, each) -> object.put(String.valueOf(key), each));
    }
    return object;
  }

  /** The name that this program has for an activation function. */
  public static String activation(String name) {
    return ACTIVATIONS.getOrDefault(name, name);
  }

  /** The base of rotary position embeddings where the file has none; null for other models. */
  public @Nullable Object defaultRopeTheta() {
    return ConfigDefaults.of(modelType).map(ConfigDefaults::ropeTheta).orElse(null);
  }

  /**
   * Whether two values of a key make the same function: numbers by value, floating-point ones to
   * the digits that F32 keeps, and activation functions whatever their name.
   *
   * @param type of the model
   */
  public static boolean same(
      String type, String key, @Nullable Object one, @Nullable Object other) {
    return switch (one) {
      case BigDecimal a when other instanceof BigDecimal b ->
          a.compareTo(b) == 0
              || close(a.doubleValue(), b.doubleValue())
              // In files from before they were corrected, 2 means the largest id, which is 49407.
              || (type.equals(CLIP_TEXT)
                  && key.equals("eos_token_id")
                  && Set.of(2, 49407).containsAll(List.of(a.intValue(), b.intValue())));
      case String a when other instanceof String b ->
          a.equals(b) || (isActivation(key) && activation(a).equals(activation(b)));
      case List<?> a when other instanceof List<?> b -> {
        boolean same = a.size() == b.size();
        for (int i = 0; same && i < a.size(); i++) {
          same = same(type, key, a.get(i), b.get(i));
        }
        yield same;
      }
      case Map<?, ?> a when other instanceof Map<?, ?> b ->
          a.keySet().equals(b.keySet())
              && new TreeMap<>(object(a))
                  .entrySet().stream()
                      .allMatch(e -> same(type, e.getKey(), e.getValue(), b.get(e.getKey())));
      case null, default -> Objects.equals(one, other);
    };
  }

  /** Files that went through F32 hold 9.999999747378752e-06 in the place of 1e-05. */
  private static boolean close(double a, double b) {
    return a != Math.rint(a)
        && b != Math.rint(b)
        && Math.abs(a - b) <= 1e-6 * Math.max(Math.abs(a), Math.abs(b));
  }

  private static boolean isActivation(String key) {
    return key.endsWith("_act") || key.contains("activation");
  }
}
