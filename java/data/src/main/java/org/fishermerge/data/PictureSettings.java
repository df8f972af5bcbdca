package org.fishermerge.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.SettingsKeys;
import org.jspecify.annotations.Nullable;

/**
 * How a model's folder says that its pictures are prepared, as {@code
 * AutoImageProcessor.from_pretrained} of transformers 5.18 reads it: {@code image_processor} of
 * {@code processor_config.json} before {@code preprocessor_config.json}, for what is absent the
 * defaults of the class that the settings name. The arithmetic is that of the class's Pillow back
 * end.
 *
 * @param crop what is cut from the middle, or null
 * @param pad to what size pictures are filled up at the right and at the bottom, or null
 * @param rescaleFactor what samples are multiplied by; 1 where they are not rescaled
 * @param mean subtracted from each channel, then divided by {@code std}; null where that is off
 * @param source the file, for messages
 * @param warnings sentences for the user
 */
record PictureSettings(
    Resize resize,
    Resampler resampler,
    @Nullable Size crop,
    @Nullable Size pad,
    boolean convertRgb,
    double rescaleFactor,
    double @Nullable [] mean,
    double @Nullable [] std,
    String source,
    List<String> warnings) {
  private static final String PROCESSOR = "processor_config.json";
  private static final String PREPROCESSOR = "preprocessor_config.json";

  /** The keys of the settings of an image processor. */
  static final SettingsKeys KEYS =
      SettingsKeys.of(
          PREPROCESSOR + ", or image_processor in " + PROCESSOR,
          List.of(
              "crop_size",
              "default_to_square",
              "do_center_crop",
              "do_convert_rgb",
              "do_normalize",
              "do_pad",
              "do_rescale",
              "do_resize",
              "feature_extractor_type",
              "image_mean",
              "image_processor_type",
              "image_std",
              "pad_size",
              "resample",
              "rescale_factor",
              "size",
              "use_square_size"),
          List.of(
              "_processor_class",
              "_valid_kwargs_names",
              "_valid_processor_keys",
              "auto_map",
              "data_format",
              "device",
              "disable_grouping",
              "image_seq_length",
              "model_input_names",
              "processor_class",
              "return_tensors",
              "use_fast"),
          List.of("input_data_format"));

  /** The keys of {@code processor_config.json} itself. */
  static final SettingsKeys PROCESSOR_KEYS =
      SettingsKeys.of(
          PROCESSOR,
          List.of("image_processor"),
          List.of(
              "_processor_class",
              "audio_tokenizer",
              "auto_map",
              "chat_template",
              "feature_extractor",
              "processor_class",
              "tokenizer",
              "video_processor"),
          List.of());

  /** Longest edge of a picture that can be asked for. */
  static final int MAX_EDGE = 16_384;

  static final double[] CLIP_MEAN = {0.48145466, 0.4578275, 0.40821073};
  static final double[] CLIP_STD = {0.26862954, 0.26130258, 0.27577711};
  private static final double[] HALF = {0.5, 0.5, 0.5};

  /** A size in pixels. */
  record Size(int width, int height) {}

  /** How the size after resizing is found. */
  sealed interface Resize {
    /** Not resized. */
    record None() implements Resize {}

    record Exact(Size size) implements Resize {}

    /**
     * The shorter edge gets a length.
     *
     * @param longest the most that the longer edge may then have, or 0
     */
    record ShortestEdge(int edge, int longest) implements Resize {}

    /** As large as fits. */
    record Within(Size size) implements Resize {}
  }

  /** Defaults of the classes of transformers that only resize, crop, rescale and normalise. */
  private enum Processor {
    CLIP(new Resize.ShortestEdge(224, 0), 224, true, 3, CLIP_MEAN, CLIP_STD, true, false),
    ChineseCLIP(new Resize.ShortestEdge(224, 0), 224, true, 3, CLIP_MEAN, CLIP_STD, true, false),
    Bit(new Resize.ShortestEdge(224, 0), 224, true, 3, CLIP_MEAN, CLIP_STD, true, false),
    Blip(square(384), 0, false, 3, CLIP_MEAN, CLIP_STD, true, true),
    DeiT(square(256), 224, true, 3, HALF, HALF, false, true),
    MobileNetV1(new Resize.ShortestEdge(256, 0), 224, true, 2, HALF, HALF, false, false),
    Pvt(
        square(224),
        0,
        false,
        3,
        new double[] {0.485, 0.456, 0.406},
        new double[] {0.229, 0.224, 0.225},
        false,
        true),
    Siglip(square(224), 0, false, 3, HALF, HALF, true, false),
    ViT(square(224), 0, false, 2, HALF, HALF, false, true);

    final Resize resize;
    final @Nullable Size crop;
    final boolean doCenterCrop;
    final Resampler resampler;
    final double[] mean;
    final double[] std;
    final boolean convertRgb;
    final boolean defaultToSquare;

    Processor(
        Resize resize,
        int crop,
        boolean doCenterCrop,
        int resample,
        double[] mean,
        double[] std,
        boolean convertRgb,
        boolean defaultToSquare) {
      this.resize = resize;
      this.crop = crop == 0 ? null : new Size(crop, crop);
      this.doCenterCrop = doCenterCrop;
      this.resampler = Resampler.values()[resample];
      this.mean = mean;
      this.std = std;
      this.convertRgb = convertRgb;
      this.defaultToSquare = defaultToSquare;
    }

    private static Resize square(int edge) {
      return new Resize.Exact(new Size(edge, edge));
    }

    static Optional<Processor> named(String type) {
      for (Processor processor : values()) {
        if (type.matches(processor.name() + "ImageProcessor(|Fast|Pil)")) {
          return Optional.of(processor);
        }
      }
      return Optional.empty();
    }

    static String names() {
      return Arrays.stream(values())
          .map(processor -> processor.name() + "ImageProcessor")
          .collect(Collectors.joining(", "));
    }
  }

  /**
   * The settings in a model's folder, or CLIP's own for pictures of the model's size, with a
   * warning, where it has none.
   *
   * @param files finds the files of the folder by their names
   * @param folder the folder, for messages
   * @param size edge of the pictures that the model takes
   * @throws InputException if a file cannot be read, names another kind of processor, or has a
   *     value that transformers would stumble over
   */
  static PictureSettings of(Function<String, Optional<Path>> files, Path folder, int size) {
    List<String> warnings = new ArrayList<>();
    Optional<Path> processor = files.apply(PROCESSOR);
    Optional<Path> preprocessor = files.apply(PREPROCESSOR);
    JsonNode nested = null;
    if (processor.isPresent()) {
      ObjectNode root = Json.object(processor.get());
      nested = root.get("image_processor");
      if (nested != null && nested.isNull()) {
        nested = null;
      } else if (nested != null && !nested.isObject()) {
        throw new InputException(
            "%s: image_processor = %s; expected an object".formatted(processor.get(), nested));
      }
      PROCESSOR_KEYS.unknown(processor.get(), names(root)).ifPresent(warnings::add);
    }
    String source;
    ObjectNode settings;
    if (processor.isPresent() && nested instanceof ObjectNode object) {
      source = processor.get() + ": image_processor";
      settings = object;
      preprocessor.ifPresent(
          other -> contradiction(source, object, other).ifPresent(warnings::add));
    } else if (preprocessor.isPresent()) {
      source = preprocessor.get().toString();
      settings = Json.object(preprocessor.get());
    } else {
      warnings.add(
          ("%s has no picture settings (%s or %s): pictures are prepared as CLIP's are, resized to"
                  + " %d pixels by bicubic resampling and normalised with CLIP's mean and"
                  + " deviation. If the model was trained otherwise, copy the settings file from"
                  + " the model that it came from")
              .formatted(folder, PREPROCESSOR, PROCESSOR, size));
      return clip(size, folder.toString(), warnings);
    }
    KEYS.unknown(source, names(settings)).ifPresent(warnings::add);
    String type = type(settings, files);
    Processor defaults =
        Processor.named(type)
            .orElseThrow(() ->
                new InputException(
                    "%s: the image processor %s is not supported, which prepares pictures by steps of its own; supported are %s"
                        .formatted(source, type, Processor.names())));
    return new Reader(source, settings, defaults).read(warnings);
  }

  /** The settings of OpenAI's CLIP models for square pictures of some pixels. */
  static PictureSettings clip(int size, String source, List<String> warnings) {
    return new PictureSettings(
        new Resize.ShortestEdge(size, 0),
        Resampler.BICUBIC,
        new Size(size, size),
        null,
        true,
        1.0 / 255,
        CLIP_MEAN,
        CLIP_STD,
        source,
        List.copyOf(warnings));
  }

  private static Set<String> names(ObjectNode object) {
    Set<String> names = new LinkedHashSet<>();
    object.fieldNames().forEachRemaining(names::add);
    return names;
  }

  private static Optional<String> contradiction(String used, ObjectNode settings, Path other) {
    ObjectNode unused = Json.object(other);
    List<String> different =
        names(unused).stream()
            .filter(key -> KEYS.treatments().get(key) == SettingsKeys.Treatment.HONOURED)
            .filter(key -> settings.has(key) && !settings.get(key).equals(unused.get(key)))
            .toList();
    return different.isEmpty()
        ? Optional.empty()
        : Optional.of(
            "%s is used, as transformers does, and %s is not, which says otherwise about %s"
                .formatted(used, other, NameList.of(different, 8)));
  }

  /** The class that transformers would take. */
  private static String type(ObjectNode settings, Function<String, Optional<Path>> files) {
    String type = settings.path("image_processor_type").asText("");
    boolean ownCode = settings.path("auto_map").has("AutoImageProcessor");
    if (type.isEmpty() && !ownCode) {
      String older = settings.path("feature_extractor_type").asText("");
      type = older.replace("FeatureExtractor", "ImageProcessor");
    }
    if (type.isEmpty() || type.equals("null")) {
      Optional<Path> config = files.apply("config.json");
      type =
          config.map(file -> Json.object(file).path("image_processor_type").asText("")).orElse("");
    }
    return type.isEmpty() || type.equals("null") ? "CLIPImageProcessor" : type;
  }

  /**
   * Reads values as transformers does: what is absent is the class's default, but a null is none,
   * with which a step is off, or fails if it needs the value.
   */
  private record Reader(String source, ObjectNode root, Processor defaults) {
    PictureSettings read(List<String> warnings) {
      String format = root.path("input_data_format").asText("null");
      if (!format.equals("null") && !format.equals("channels_last")) {
        throw refused("input_data_format", "decoded pictures have their channels last");
      }
      Size crop = null;
      if (flag("do_center_crop", defaults.doCenterCrop)) {
        crop = root.has("crop_size") ? square("crop_size") : defaults.crop;
        if (crop == null) {
          throw refused("do_center_crop", "it needs crop_size, which is not given");
        }
      }
      Size pad = null;
      if (flag("do_pad", false) && root.hasNonNull("pad_size")) {
        pad = square("pad_size"); // without it a single picture is as large as its batch
      }
      boolean normalize = flag("do_normalize", true);
      boolean doResize = flag("do_resize", true);
      return new PictureSettings(
          doResize ? resize() : new Resize.None(),
          doResize ? resampler() : defaults.resampler,
          crop,
          pad,
          flag("do_convert_rgb", defaults.convertRgb),
          flag("do_rescale", true) ? rescaleFactor() : 1,
          normalize ? channels("image_mean", defaults.mean) : null,
          normalize ? channels("image_std", defaults.std) : null,
          source,
          List.copyOf(warnings));
    }

    private boolean flag(String key, boolean absent) {
      if (!root.has(key)) {
        return absent;
      }
      JsonNode value = root.get(key);
      if (value.isNull()) {
        return false;
      }
      if (value.isBoolean() || (value.isInt() && (value.intValue() | 1) == 1)) {
        return value.asBoolean();
      }
      throw wrong(key, "true or false");
    }

    private Resampler resampler() {
      if (!root.has("resample")) {
        return defaults.resampler;
      }
      JsonNode value = root.get("resample");
      if (!value.isInt() || value.intValue() < 0 || value.intValue() > 5) {
        throw wrong(
            "resample",
            "the number of a filter: 0 (nearest), 1 (Lanczos), 2 (bilinear), 3 (bicubic), 4 (box)"
                + " or 5 (Hamming)");
      }
      return Resampler.values()[value.intValue()];
    }

    private Resize resize() {
      boolean square = flag("default_to_square", defaults.defaultToSquare);
      if (defaults == Processor.CLIP && flag("use_square_size", false)) {
        return new Resize.Exact(new Size(224, 224)); // whatever size says
      }
      if (!root.has("size")) {
        return defaults.resize;
      }
      JsonNode size = root.get("size");
      if (size.isInt() && !square) {
        return new Resize.ShortestEdge(edge("size", size), 0);
      }
      if (!size.isObject()) {
        return new Resize.Exact(square("size"));
      }
      return switch (String.join(" ", new TreeSet<>(names((ObjectNode) size)))) {
        case "height width" -> new Resize.Exact(square("size"));
        case "shortest_edge" -> new Resize.ShortestEdge(edge("size", size.get("shortest_edge")), 0);
        case "longest_edge shortest_edge" ->
            new Resize.ShortestEdge(
                edge("size", size.get("shortest_edge")),
                size.get("longest_edge").isNull() ? 0 : edge("size", size.get("longest_edge")));
        case "max_height max_width" ->
            new Resize.Within(
                new Size(
                    edge("size", size.get("max_width")), edge("size", size.get("max_height"))));
        default ->
            throw wrong(
                "size",
                "a number, [height, width], {\"shortest_edge\"}, {\"shortest_edge\","
                    + " \"longest_edge\"}, {\"height\", \"width\"} or {\"max_height\","
                    + " \"max_width\"}");
      };
    }

    /** One number for both edges, height and width in a list, or both by name. */
    private Size square(String key) {
      JsonNode value = root.get(key);
      if (value.isInt()) {
        return new Size(edge(key, value), edge(key, value));
      }
      if (value.isArray() && value.size() == 2) {
        return new Size(edge(key, value.get(1)), edge(key, value.get(0)));
      }
      if (value.isObject() && value.size() == 2 && value.has("height") && value.has("width")) {
        return new Size(edge(key, value.get("width")), edge(key, value.get("height")));
      }
      throw wrong(key, "a number of pixels, [height, width] or {\"height\", \"width\"}");
    }

    private int edge(String key, JsonNode number) {
      if (!number.isInt() || number.intValue() <= 0 || number.intValue() > MAX_EDGE) {
        throw wrong(key, "whole numbers of pixels from 1 to " + MAX_EDGE);
      }
      return number.intValue();
    }

    private double rescaleFactor() {
      if (!root.has("rescale_factor")) {
        return 1.0 / 255;
      }
      JsonNode value = root.get("rescale_factor");
      if (!value.isNumber()
          || !(value.doubleValue() > 0)
          || Double.isInfinite(value.doubleValue())) {
        throw wrong("rescale_factor", "a positive number");
      }
      return value.doubleValue();
    }

    private double[] channels(String key, double[] absent) {
      if (!root.has(key)) {
        return absent;
      }
      JsonNode value = root.get(key);
      double[] channels = new double[3];
      boolean valid = value.isNumber() || (value.isArray() && value.size() == 3);
      for (int i = 0; valid && i < 3; i++) {
        JsonNode number = value.isNumber() ? value : value.get(i);
        channels[i] = number.doubleValue();
        valid =
            number.isNumber()
                && Double.isFinite(channels[i])
                && (key.equals("image_mean") || channels[i] > 0);
      }
      if (!valid) {
        throw wrong(key, "a number or three of them, for image_std above zero");
      }
      return channels;
    }

    private InputException refused(String key, String why) {
      return new InputException(
          "%s: %s = %s is not supported: %s".formatted(source, key, root.get(key), why));
    }

    private InputException wrong(String key, String expected) {
      return new InputException(
          "%s: %s = %s; expected %s".formatted(source, key, root.get(key), expected));
    }
  }
}
