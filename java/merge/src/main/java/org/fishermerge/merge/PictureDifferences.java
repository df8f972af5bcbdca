package org.fishermerge.merge;

import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.fishermerge.checkpoint.JsonFile;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.SettingsKeys;
import org.jspecify.annotations.Nullable;

/** What differs between the ways in which two models want their pictures. */
final class PictureDifferences {
  private static final String TYPE = "image_processor_type";

  /** In the order in which they count. */
  static final List<String> FILES = List.of("processor_config.json", "preprocessor_config.json");

  private static final List<String> IGNORED =
      List.of(
          "_processor_class",
          "_valid_processor_keys",
          "auto_map",
          "data_format",
          "default_to_square",
          "device",
          "disable_grouping",
          "feature_extractor_type",
          "input_data_format",
          "processor_class",
          "return_tensors");

  /** Keys that a step has to itself. */
  private static final Map<String, List<String>> STEPS =
      Map.of(
          "do_resize", List.of("size", "resample"),
          "do_center_crop", List.of("crop_size"),
          "do_rescale", List.of("rescale_factor"),
          "do_normalize", List.of("image_mean", "image_std"));

  /** What transformers' CLIPImageProcessor takes for absent keys. */
  private static final Map<String, Object> CLIP =
      Map.ofEntries(
          Map.entry("do_resize", true),
          Map.entry("size", number("224")),
          Map.entry("resample", number("3")),
          Map.entry("do_center_crop", true),
          Map.entry("crop_size", number("224")),
          Map.entry("do_rescale", true),
          Map.entry("rescale_factor", number("0.00392156862745098")),
          Map.entry("do_normalize", true),
          Map.entry("image_mean", numbers("0.48145466", "0.4578275", "0.40821073")),
          Map.entry("image_std", numbers("0.26862954", "0.26130258", "0.27577711")),
          Map.entry("do_convert_rgb", true));

  static final SettingsKeys KEYS =
      SettingsKeys.of(
          "preprocessor_config.json and processor_config.json, between models that are merged",
          List.of(),
          IGNORED,
          List.of());

  private PictureDifferences() {}

  private static BigDecimal number(String text) {
    return new BigDecimal(text);
  }

  private static List<BigDecimal> numbers(String... texts) {
    return List.of(texts).stream().map(PictureDifferences::number).toList();
  }

  /** The settings of one model. */
  record Pictures(Path path, Map<String, @Nullable Object> settings) {}

  static Optional<Pictures> read(Compatibility.Member member) {
    Optional<Path> processor = member.file().apply(FILES.getFirst());
    if (processor.isPresent()
        && JsonFile.object(processor.get()).get("image_processor") instanceof Map<?, ?> pictures) {
      return Optional.of(new Pictures(processor.get(), withDefaults(ModelConfig.object(pictures))));
    }
    return member
        .file()
        .apply(FILES.getLast())
        .map(path -> new Pictures(path, withDefaults(JsonFile.object(path))));
  }

  private static Map<String, @Nullable Object> withDefaults(Map<String, @Nullable Object> stated) {
    Map<String, @Nullable Object> all = new TreeMap<>(stated);
    Object type = all.getOrDefault(TYPE, all.get("feature_extractor_type"));
    if (type != null) {
      // Classes that came before, or compute the same in another library.
      String name =
          String.valueOf(type)
              .replaceAll("(Fast|Pil)$", "")
              .replace("FeatureExtractor", "ImageProcessor");
      all.put(TYPE, name);
      if (name.equals("CLIPImageProcessor")) {
        CLIP.forEach(all::putIfAbsent);
      }
    }
    STEPS.forEach((step, keys) -> {
      if (Boolean.FALSE.equals(all.get(step))) {
        keys.forEach(all::remove);
      }
    });
    IGNORED.forEach(all::remove);
    return all;
  }

  static List<Difference> of(Pictures one, Pictures other) {
    List<Difference> found = new ArrayList<>();
    Set<String> keys = new TreeSet<>(one.settings.keySet());
    keys.addAll(other.settings.keySet());
    for (String key : keys) {
      Object a = one.settings.get(key);
      Object b = other.settings.get(key);
      if (same(key, a, b)) {
        continue;
      }
      found.add(
          a == null || b == null ? Difference.possible(key, a, b) : Difference.decisive(key, a, b));
    }
    return found;
  }

  private static boolean same(String key, @Nullable Object one, @Nullable Object other) {
    return ModelConfig.same("", key, one, other)
        || isSide(key, one, other)
        || isSide(key, other, one);
  }

  /** One number for a size means its shortest edge, or a square. */
  private static boolean isSide(String key, @Nullable Object one, @Nullable Object other) {
    return one instanceof BigDecimal
        && other instanceof Map<?, ?> size
        && (key.equals("size")
                ? List.of(Set.of("shortest_edge"), Set.of("height", "width"))
                : List.of(Set.of("height", "width")))
            .contains(size.keySet())
        && size.values().stream().allMatch(side -> ModelConfig.same("", key, one, side));
  }
}
