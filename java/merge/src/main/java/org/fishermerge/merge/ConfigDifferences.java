package org.fishermerge.merge;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.SettingsKeys;
import org.jspecify.annotations.Nullable;

/**
 * What differs between the config.json of two models. All keys are compared, of whatever model
 * type, but for those that are known not to matter: models that this program cannot run itself are
 * merged too.
 */
final class ConfigDifferences {
  private static final String MODEL_TYPE = "model_type";
  private static final String ARCHITECTURES = "architectures";
  private static final String PROBLEM_TYPE = "problem_type";
  private static final String ID2LABEL = "id2label";
  private static final String ROPE = "rope_parameters";

  /** What heads answer; compared where heads are merged. */
  private static final List<String> OF_HEADS =
      List.of(ARCHITECTURES, ID2LABEL, "label2id", "num_labels", PROBLEM_TYPE);

  private static final List<String> IGNORED =
      List.of(
          "auto_map",
          // Where texts end is the task's matter; a CLIP's text tower is compared by its own rule.
          "eos_token_id",
          // The shapes of the projections tell.
          "projection_dim",
          // What is quantised is refused by the reader of the weights.
          "quantization_config");

  /** The shapes of tensors tell, or it is computed from other keys. */
  private static final Set<String> COMPUTED =
      Set.of(
          "d_kv",
          "head_dim",
          "inner_dim",
          "layer_types",
          "n_inner",
          "num_key_value_heads",
          "pooler_output_size");

  private static final Pattern DEFAULT_LABEL = Pattern.compile("LABEL_\\d+");

  static final SettingsKeys KEYS =
      SettingsKeys.of(
          "config.json, between models that are merged",
          OF_HEADS,
          Stream.concat(ModelConfig.WITHOUT_EFFECT.stream(), IGNORED.stream()).toList(),
          List.of());

  private ConfigDifferences() {}

  /** All but the heads. */
  static List<Difference> of(ModelConfig one, ModelConfig other) {
    List<Difference> found = new ArrayList<>();
    String a = one.modelType();
    String b = other.modelType();
    if (a.equals(ModelConfig.CLIP) && isTower(b)) {
      compare(found, "", b, group(one, b), other.values(), one, other);
    } else if (b.equals(ModelConfig.CLIP) && isTower(a)) {
      compare(found, "", a, one.values(), group(other, a), one, other);
    } else if (!a.equals(b)) {
      found.add(
          a.isEmpty() || b.isEmpty()
              ? Difference.possible(MODEL_TYPE, stated(a), stated(b))
              : Difference.decisive(MODEL_TYPE, a, b));
    } else {
      compare(found, "", a, one.values(), other.values(), one, other);
    }
    return found;
  }

  private static boolean isTower(String type) {
    return type.equals(ModelConfig.CLIP_VISION) || type.equals(ModelConfig.CLIP_TEXT);
  }

  private static Map<String, @Nullable Object> group(ModelConfig clip, String tower) {
    return ModelConfig.object(
        clip.values()
            .get(
                tower.equals(ModelConfig.CLIP_VISION)
                    ? ModelConfig.VISION_CONFIG
                    : ModelConfig.TEXT_CONFIG));
  }

  private static @Nullable String stated(String type) {
    return type.isEmpty() ? null : type;
  }

  private static void compare(
      List<Difference> found,
      String path,
      String type,
      Map<String, @Nullable Object> one,
      Map<String, @Nullable Object> other,
      ModelConfig first,
      ModelConfig second) {
    boolean inRope = path.endsWith(ROPE + ".");
    Map<String, @Nullable Object> a =
        inRope ? one : withRope(withoutUnused(one), first.defaultRopeTheta());
    Map<String, @Nullable Object> b =
        inRope ? other : withRope(withoutUnused(other), second.defaultRopeTheta());
    Set<String> keys = new TreeSet<>(a.keySet());
    keys.addAll(b.keySet());
    for (String key : keys) {
      boolean compared =
          !KEYS.knows(key) || (key.equals("eos_token_id") && type.equals(ModelConfig.CLIP_TEXT));
      // A tower's own file has the type at the top, a group has it or not.
      if (!compared || key.equals(MODEL_TYPE)) {
        continue;
      }
      Object x = a.get(key);
      Object y = b.get(key);
      String name = path + key;
      if (x instanceof Map<?, ?> && y instanceof Map<?, ?>) {
        Map<String, @Nullable Object> group = ModelConfig.object(x);
        String its = group.get(MODEL_TYPE) instanceof String text ? text : type;
        compare(found, name + ".", typeOf(key, its), group, ModelConfig.object(y), first, second);
      } else if (!ModelConfig.same(type, key, x, y) && !isComputed(key, x, y)) {
        boolean oneSided = !a.containsKey(key) || !b.containsKey(key);
        if (oneSided && (x == null ? y : x) == null) {
          continue;
        }
        found.add(
            oneSided || onlyMayMatter(key, type, x, y, first)
                ? Difference.possible(name, x, y)
                : Difference.decisive(name, x, y));
      }
    }
    found.removeIf(each ->
        each.name().equals("pad_token_id")
            && (type.equals(ModelConfig.GPT2)
                || type.equals(ModelConfig.CLIP_TEXT)
                || each.one().equals("null")
                || each.other().equals("null")));
  }

  private static String typeOf(String key, String type) {
    return switch (key) {
      case ModelConfig.TEXT_CONFIG -> type.equals(ModelConfig.CLIP) ? ModelConfig.CLIP_TEXT : type;
      case ModelConfig.VISION_CONFIG ->
          type.equals(ModelConfig.CLIP) ? ModelConfig.CLIP_VISION : type;
      default -> type;
    };
  }

  private static boolean isComputed(String key, @Nullable Object one, @Nullable Object other) {
    return COMPUTED.contains(key) && (one == null || other == null);
  }

  /** Positions of rotary models have no parameters: the bound says what they were trained on. */
  private static boolean onlyMayMatter(
      String key, String type, @Nullable Object one, @Nullable Object other, ModelConfig first) {
    return (key.equals("pad_token_id") && !type.isEmpty())
        || ((key.equals("max_position_embeddings") || key.equals("max_sequence_length"))
            && one instanceof BigDecimal
            && other instanceof BigDecimal
            && (first.defaultRopeTheta() != null || first.values().get("rope_theta") != null));
  }

  /** Leaves out settings that others switch off. */
  private static Map<String, @Nullable Object> withoutUnused(Map<String, @Nullable Object> values) {
    Map<String, @Nullable Object> used = new TreeMap<>(values);
    if (Boolean.FALSE.equals(used.get("use_sliding_window"))) {
      used.remove("sliding_window");
      used.remove("max_window_layers");
    }
    return used;
  }

  /** Rotary position embeddings in the spelling of transformers 5, whatever that of the file. */
  private static Map<String, @Nullable Object> withRope(
      Map<String, @Nullable Object> values, @Nullable Object defaultTheta) {
    Object theta = values.getOrDefault("rope_theta", defaultTheta);
    Object stated = values.get(ROPE) == null ? values.get("rope_scaling") : values.get(ROPE);
    if (theta == null && stated == null) {
      return values;
    }
    Map<String, @Nullable Object> rope = ModelConfig.object(stated);
    Object type = rope.remove("type");
    rope.putIfAbsent("rope_type", type == null ? "default" : type);
    if (theta != null) {
      rope.putIfAbsent("rope_theta", theta);
    }
    Map<String, @Nullable Object> all = new TreeMap<>(values);
    Object partial = all.remove("partial_rotary_factor");
    if (partial != null) {
      rope.putIfAbsent("partial_rotary_factor", partial);
    }
    all.remove("rope_theta");
    all.remove("rope_scaling");
    all.put(ROPE, rope);
    return all;
  }

  /** What the heads answer. */
  static List<Difference> ofHeads(ModelConfig one, ModelConfig other) {
    List<Difference> found = new ArrayList<>();
    Object a = one.values().get(ARCHITECTURES);
    Object b = other.values().get(ARCHITECTURES);
    if (a != null && b != null && !a.equals(b)) {
      found.add(Difference.decisive(ARCHITECTURES, a, b));
    }
    String problem = problem(one);
    if (!problem.equals(problem(other))) {
      found.add(Difference.decisive(PROBLEM_TYPE, problem, problem(other)));
    }
    List<String> labels = labels(one);
    List<String> others = labels(other);
    if (!labels.isEmpty() && !others.isEmpty() && !labels.equals(others)) {
      found.add(Difference.decisive(ID2LABEL, labels, others));
    }
    return found;
  }

  private static String problem(ModelConfig config) {
    return config.values().get(PROBLEM_TYPE) instanceof String problem
        ? problem
        : "single_label_classification";
  }

  /** Names of classes in their order; none where they only number the classes. */
  private static List<String> labels(ModelConfig config) {
    Map<Integer, String> byNumber = new TreeMap<>();
    ModelConfig.object(config.values().get(ID2LABEL))
        .forEach((number, name) -> {
          if (number.matches("\\d{1,9}")) {
            byNumber.put(Integer.valueOf(number), String.valueOf(name));
          }
        });
    List<String> names = List.copyOf(byNumber.values());
    return names.stream().allMatch(name -> DEFAULT_LABEL.matcher(name).matches())
        ? List.of()
        : names;
  }
}
