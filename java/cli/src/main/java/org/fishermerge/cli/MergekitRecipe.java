package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelPath;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.cli.config.ConfigValue;
import org.fishermerge.cli.config.ConfigValue.Mapping;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;
import org.fishermerge.cli.config.YamlFile;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.merge.Slerp;
import org.fishermerge.merge.SparseTaskArithmetic;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;
import org.fishermerge.merge.TaskArithmetic;
import org.fishermerge.merge.TensorSetting;
import org.fishermerge.merge.WeightedSum;
import org.jspecify.annotations.Nullable;

/**
 * A recipe in mergekit's format, of the methods that are done here. A parameter is looked up as
 * mergekit does: of the model in its slice, of the slice, of the recipe, and then its default; a
 * list of numbers runs over the layers of a slice, a list of filters gives the first whose text is
 * in the tensor's name.
 */
final class MergekitRecipe {
  /** What a method is made of, and mergekit's defaults for it. */
  private enum Method {
    LINEAR(Trim.NONE, false, true, false),
    SLERP(Trim.NONE, false, false, false),
    TASK_ARITHMETIC(Trim.NONE, false, false, false),
    TIES(Trim.MAGNITUDE, true, true, false),
    DARE_LINEAR(Trim.RANDOM, false, false, true),
    DARE_TIES(Trim.RANDOM, true, false, true),
    BREADCRUMBS(Trim.OUTLIERS, false, false, false),
    BREADCRUMBS_TIES(Trim.OUTLIERS, true, false, false);

    private final Trim trim;
    private final boolean electsSigns;
    private final boolean normalizes;
    private final boolean rescales;

    Method(Trim trim, boolean electsSigns, boolean normalizes, boolean rescales) {
      this.trim = trim;
      this.electsSigns = electsSigns;
      this.normalizes = normalizes;
      this.rescales = rescales;
    }

    String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  private static final List<String> KEYS =
      List.of(
          "merge_method",
          "models",
          "slices",
          "base_model",
          "parameters",
          "dtype",
          "out_dtype",
          "tokenizer_source");

  private static final List<String> OTHER_KEYS = List.of("modules", "tokenizer", "chat_template");

  private static final List<String> PARAMETERS =
      List.of(
          "weight",
          "density",
          "gamma",
          "epsilon",
          "lambda",
          "normalize",
          "rescale",
          "int8_mask",
          "t");

  private static final String FILTER_FORM =
      "expected a number, a list of numbers over the layers, or a list of {filter, value}";

  private static final Pattern LAYER =
      Pattern.compile("(.*?(?:^|\\.)(?:layers?|h|blocks?)\\.)(\\d+)\\..*");

  /** Weights before the layers, which belong to the first slice; others belong to the last. */
  private static final Pattern BEFORE_LAYERS = Pattern.compile(".*(?:embed|\\bwte\\b|\\bwpe\\b).*");

  /** A model in a slice. */
  private record Source(String model, Mapping parameters) {}

  /**
   * Layers and the models they are merged from.
   *
   * @param begin the first layer
   * @param end behind the last; negative where it is the last of the model
   */
  private record Slice(List<Source> sources, Mapping parameters, int begin, int end) {}

  /** Where a tensor lies: in which slice, how far in it from 0 to 1. */
  private record Position(Slice slice, double t) {}

  private final String file;
  private final Mapping root;
  private final Method method;
  private final List<Slice> slices;
  private final Optional<String> base;
  private final Mapping parameters;

  /** Layers of each stack of them, by what their names begin with. */
  private final Map<String, Integer> layers = new HashMap<>();

  private MergekitRecipe(String file, Mapping root) {
    this.file = file;
    this.root = root;
    checkKeys("", root, KEYS, OTHER_KEYS);
    this.method = method();
    this.base = text("base_model", root);
    this.slices = slices();
    this.parameters = parameters("parameters", root);
    if (method != Method.LINEAR && base.isEmpty()) {
      throw wrong("base_model", "is missing; " + method.text() + " needs the model it starts from");
    }
    checkTokenizer();
  }

  /**
   * Reads a recipe.
   *
   * @throws InputException if it asks for what is not done here, or is wrong
   */
  static MergekitRecipe read(Path file) {
    return new MergekitRecipe(file.toString(), YamlFile.read(file));
  }

  private InputException wrong(String key, String problem) {
    return new InputException(file + ": " + key + ": " + problem);
  }

  private void checkKeys(String path, Mapping mapping, List<String> known, List<String> notDone) {
    for (Map.Entry<String, ConfigValue> entry : mapping.entries().entrySet()) {
      String key = entry.getKey();
      boolean empty = entry.getValue() instanceof Scalar scalar && scalar.value() == null;
      if (notDone.contains(key) && !empty) {
        throw wrong(path + key, "fisher-merge does not do that; leave it out, or use mergekit");
      }
      if (!known.contains(key) && !notDone.contains(key)) {
        throw wrong(path + key, "is no key of mergekit's here" + NearestNames.of(key, known));
      }
    }
  }

  private Optional<ConfigValue> child(Mapping mapping, String key) {
    return Optional.ofNullable(mapping.entries().get(key))
        .filter(value -> !(value instanceof Scalar scalar && scalar.value() == null));
  }

  private Optional<String> text(String key, Mapping mapping) {
    return child(mapping, key)
        .map(value -> {
          if (value instanceof Scalar scalar && scalar.value() instanceof String text) {
            return text;
          }
          throw wrong(key, "expected a text, such as a folder or a name on the hub");
        });
  }

  private Method method() {
    String name = text("merge_method", root).orElseThrow(() -> wrong("merge_method", "is missing"));
    List<String> known = new ArrayList<>();
    for (Method each : Method.values()) {
      if (each.text().equals(name)) {
        return each;
      }
      known.add(each.text());
    }
    throw wrong(
        "merge_method", name + " is not done here; expected one of " + String.join(", ", known));
  }

  private List<Slice> slices() {
    Optional<ConfigValue> models = child(root, "models");
    Optional<ConfigValue> sliced = child(root, "slices");
    if (models.isPresent() == sliced.isPresent()) {
      throw wrong("models", "expected exactly one of models and slices");
    }
    if (models.isPresent()) {
      return List.of(
          new Slice(
              sources("models", models.get(), List.of("model", "parameters")), empty(), 0, -1));
    }
    List<Slice> all = new ArrayList<>();
    int next = 0;
    for (Map.Entry<String, Mapping> item : items("slices", sliced.orElseThrow()).entrySet()) {
      String path = item.getKey();
      checkKeys(
          path + ".",
          item.getValue(),
          List.of("sources", "parameters"),
          List.of("base_model", "residual_weight"));
      ConfigValue list =
          child(item.getValue(), "sources")
              .orElseThrow(() -> wrong(path + ".sources", "is missing"));
      List<Source> sources =
          sources(path + ".sources", list, List.of("model", "layer_range", "parameters"));
      int end = next;
      int k = 0;
      for (Map.Entry<String, Mapping> source : items(path + ".sources", list).entrySet()) {
        List<Integer> range = range(source.getKey() + ".layer_range", source.getValue());
        if (range.get(0) != next || (k++ > 0 && range.get(1) != end)) {
          throw wrong(
              source.getKey() + ".layer_range",
              "is %s; layers stay where they are here, so slices follow on each other from layer 0"
                      .formatted(range)
                  + " and all sources of one have the same range");
        }
        end = range.get(1);
      }
      if (!all.isEmpty() && !names(all.getFirst()).equals(names(sources))) {
        throw wrong(path + ".sources", "all slices must have the same models in the same order");
      }
      all.add(new Slice(sources, parameters(path + ".parameters", item.getValue()), next, end));
      next = end;
    }
    return all;
  }

  private static List<String> names(Slice slice) {
    return names(slice.sources());
  }

  private static List<String> names(List<Source> sources) {
    return sources.stream().map(Source::model).toList();
  }

  private static Mapping empty() {
    return new Mapping(Map.of());
  }

  /** The mappings of a list, by their paths. */
  private Map<String, Mapping> items(String path, ConfigValue list) {
    Map<String, Mapping> items = new LinkedHashMap<>();
    if (list instanceof Sequence sequence && !sequence.items().isEmpty()) {
      for (ConfigValue item : sequence.items()) {
        String at = path + "[" + items.size() + "]";
        if (!(item instanceof Mapping mapping)) {
          throw wrong(at, "expected keys with values");
        }
        items.put(at, mapping);
      }
      return items;
    }
    throw wrong(path, "expected a list that is not empty");
  }

  private List<Source> sources(String path, ConfigValue list, List<String> keys) {
    List<Source> sources = new ArrayList<>();
    for (Map.Entry<String, Mapping> item : items(path, list).entrySet()) {
      checkKeys(item.getKey() + ".", item.getValue(), keys, List.of());
      String model =
          child(item.getValue(), "model")
              .filter(value -> value instanceof Scalar s && s.value() instanceof String)
              .map(value -> String.valueOf(((Scalar) value).value()))
              .orElseThrow(
                  () -> wrong(item.getKey() + ".model", "expected a folder or a name on the hub"));
      sources.add(new Source(model, parameters(item.getKey() + ".parameters", item.getValue())));
    }
    return sources;
  }

  private List<Integer> range(String path, Mapping source) {
    List<Integer> range = new ArrayList<>();
    if (child(source, "layer_range").orElse(new Scalar(null)) instanceof Sequence sequence) {
      for (ConfigValue item : sequence.items()) {
        if (item instanceof Scalar scalar
            && scalar.value() instanceof Number number
            && number.doubleValue() == number.intValue()) {
          range.add(number.intValue());
        }
      }
    }
    if (range.size() != 2 || range.get(0) < 0 || range.get(1) <= range.get(0)) {
      throw wrong(path, "expected [FIRST, BEHIND_THE_LAST] layers");
    }
    return range;
  }

  /** The parameters of a mapping, of forms that are known. */
  private Mapping parameters(String path, Mapping of) {
    ConfigValue value = child(of, "parameters").orElse(empty());
    if (!(value instanceof Mapping parameters)) {
      throw wrong(path, "expected keys with values");
    }
    checkKeys(path + ".", parameters, PARAMETERS, List.of());
    parameters.entries().forEach((name, setting) -> checkSetting(path + "." + name, setting));
    return parameters;
  }

  private void checkSetting(String path, ConfigValue setting) {
    if (setting instanceof Scalar scalar) {
      Object value = scalar.value();
      boolean flag = path.matches(".*\\.(normalize|rescale|int8_mask)");
      if (!(value == null || (flag ? value instanceof Boolean : value instanceof Number))) {
        throw wrong(path, "is " + value + (flag ? "; expected true or false" : "; " + FILTER_FORM));
      }
      return;
    }
    if (!(setting instanceof Sequence list) || list.items().isEmpty()) {
      throw wrong(path, FILTER_FORM);
    }
    if (list.items().stream().allMatch(MergekitRecipe::isNumber)) {
      return;
    }
    for (int k = 0; k < list.items().size(); k++) {
      String at = path + "[" + k + "]";
      if (!(list.items().get(k) instanceof Mapping filter)) {
        throw wrong(at, FILTER_FORM);
      }
      checkKeys(at + ".", filter, List.of("filter", "value"), List.of());
      text(at + ".filter", new Mapping(Map.of(at + ".filter", filterOf(filter))));
      ConfigValue value =
          child(filter, "value").orElseThrow(() -> wrong(at + ".value", "is missing"));
      boolean numbers =
          value instanceof Sequence values
              && !values.items().isEmpty()
              && values.items().stream().allMatch(MergekitRecipe::isNumber);
      if (!isNumber(value) && !numbers) {
        throw wrong(at + ".value", "expected a number or a list of numbers over the layers");
      }
    }
  }

  private static ConfigValue filterOf(Mapping filter) {
    return filter.entries().getOrDefault("filter", new Scalar(null));
  }

  private static boolean isNumber(ConfigValue value) {
    return value instanceof Scalar scalar && scalar.value() instanceof Number;
  }

  private void checkTokenizer() {
    String source = text("tokenizer_source", root).orElse("base");
    String own = base.orElse(slices.getFirst().sources().getFirst().model());
    if (!List.of("base", "union", own).contains(source)) {
      throw wrong(
          "tokenizer_source",
          source
              + " is another model's; here all models read the same tokens, and the tokenizer of "
              + own
              + " goes with the output");
    }
  }

  // ---- evaluation ----

  private void findLayers(Iterable<CheckpointTensor> tensors) {
    for (CheckpointTensor tensor : tensors) {
      Matcher matcher = LAYER.matcher(tensor.name());
      if (matcher.matches()) {
        layers.merge(matcher.group(1), Integer.parseInt(matcher.group(2)) + 1, Math::max);
      }
    }
    Slice last = slices.getLast();
    int most = layers.values().stream().mapToInt(Integer::intValue).max().orElse(0);
    if (last.end() >= 0 && last.end() != most) {
      throw wrong(
          "slices",
          "end at layer %d, but the base has %d layers; all of them stay"
              .formatted(last.end(), most));
    }
  }

  private Position position(String tensor) {
    Matcher matcher = LAYER.matcher(tensor);
    if (!matcher.matches()) {
      boolean before = BEFORE_LAYERS.matcher(tensor).matches();
      return new Position(before ? slices.getFirst() : slices.getLast(), 0);
    }
    int layer = Integer.parseInt(matcher.group(2));
    for (Slice slice : slices) {
      int end = slice.end() < 0 ? layers.getOrDefault(matcher.group(1), layer + 1) : slice.end();
      if (layer < end) {
        int count = end - slice.begin();
        return new Position(slice, count > 1 ? (double) (layer - slice.begin()) / (count - 1) : 1);
      }
    }
    return new Position(slices.getLast(), 0); // of a shorter stack beside the sliced one
  }

  private static Optional<Double> evaluate(ConfigValue setting, String tensor, double t) {
    if (setting instanceof Scalar scalar) {
      return scalar.value() instanceof Number number
          ? Optional.of(number.doubleValue())
          : Optional.empty();
    }
    List<ConfigValue> items = ((Sequence) setting).items();
    if (isNumber(items.getFirst())) {
      double scaled = t * (items.size() - 1);
      int from = (int) scaled;
      double share = scaled - from;
      return Optional.of(
          (1 - share) * number(items.get(from))
              + share * number(items.get(Math.min(items.size() - 1, from + 1))));
    }
    for (ConfigValue item : items) {
      Mapping filter = (Mapping) item;
      Object text = filterOf(filter) instanceof Scalar scalar ? scalar.value() : null;
      if (text == null || text.equals("*") || tensor.contains(String.valueOf(text))) {
        return evaluate(filter.entries().getOrDefault("value", new Scalar(null)), tensor, t);
      }
    }
    return Optional.empty();
  }

  private static double number(ConfigValue value) {
    return ((Number) Objects.requireNonNull(((Scalar) value).value())).doubleValue();
  }

  /** A parameter's value for a tensor, of one model or of none in particular. */
  private double value(
      String name, @Nullable String model, String tensor, Optional<Double> otherwise) {
    Position at = position(tensor);
    List<Mapping> places = new ArrayList<>();
    for (Source source : at.slice().sources()) {
      if (source.model().equals(model)) {
        places.add(source.parameters());
      }
    }
    places.add(at.slice().parameters());
    places.add(parameters);
    return places.stream()
        .flatMap(place -> child(place, name).stream())
        .flatMap(setting -> evaluate(setting, tensor, at.t()).stream())
        .findFirst()
        .or(() -> otherwise)
        .orElseThrow(() ->
            wrong(
                "parameters." + name,
                "%s needs it%s for '%s'"
                    .formatted(method.text(), model == null ? "" : " of " + model, tensor)));
  }

  private TensorSetting setting(String name, List<String> models, Optional<Double> otherwise) {
    return new TensorSetting() {
      @Override
      public double of(String tensor, int model) {
        return value(name, models.get(model), tensor, otherwise);
      }

      @Override
      public String text() {
        return "by the recipe";
      }
    };
  }

  /** A parameter that is the same for all tensors. */
  private Object single(String name, Object otherwise) {
    List<Mapping> places = new ArrayList<>();
    slices.forEach(slice -> places.add(slice.parameters()));
    places.add(parameters);
    List<Object> values = new ArrayList<>();
    for (Mapping place : places) {
      child(place, name)
          .ifPresent(setting -> {
            if (setting instanceof Scalar scalar && scalar.value() != null) {
              values.add(scalar.value());
            } else {
              throw wrong("parameters." + name, "must be one value for all tensors here");
            }
          });
    }
    if (values.stream().distinct().count() > 1) {
      throw wrong("parameters." + name, "must be the same in all slices here");
    }
    return values.isEmpty() ? otherwise : values.getFirst();
  }

  private boolean flag(String name, boolean otherwise) {
    return (Boolean) single(name, otherwise);
  }

  /**
   * The merge that the recipe asks for.
   *
   * @param place finds a model by its name in the recipe
   * @param seed of what is dropped at random
   */
  MergeRequest.Builder request(Function<String, Path> place, Path out, long seed) {
    List<String> models = new ArrayList<>(names(slices.getFirst()));
    String basis = base.orElse(models.getFirst());
    switch (method) {
      case LINEAR -> {
        if (!models.contains(basis)) {
          throw wrong("base_model", basis + " must be among the models of linear, with a weight");
        }
      }
      case SLERP -> {
        models.remove(basis);
        models.addFirst(basis);
        if (models.size() != 2) {
          throw wrong(
              "models", "slerp takes two models, the base one of them, and not " + models.size());
        }
      }
      default -> models.remove(basis);
    }
    if (models.isEmpty()) {
      throw wrong("models", "there is none but the base");
    }
    Map<String, Path> places = new HashMap<>();
    models.forEach(model -> places.computeIfAbsent(model, place));
    Path basePlace = places.computeIfAbsent(basis, place);
    try (Checkpoint checkpoint = Checkpoint.open(ModelPath.of(basePlace).base())) {
      findLayers(checkpoint.tensors().values());
    }
    MergeRequest.Builder request =
        MergeRequest.builder(basePlace, out, rule(models, seed)).outputDtype(dtype());
    if (method != Method.SLERP) {
      request.coefficients(setting("weight", models, Optional.empty()));
    }
    models.forEach(
        model -> request.model(MergeSource.of(Objects.requireNonNull(places.get(model)))));
    return request;
  }

  private MergeRule rule(List<String> models, long seed) {
    boolean normalizes = flag("normalize", method.normalizes);
    double lambda = ((Number) single("lambda", 1.0)).doubleValue();
    return switch (method) {
      case LINEAR -> normalizes ? new Average() : new WeightedSum();
      case SLERP -> new Slerp(t());
      default -> {
        if (method == Method.TASK_ARITHMETIC && !normalizes) {
          yield new TaskArithmetic(lambda);
        }
        yield new SparseTaskArithmetic(
            method.trim,
            setting("density", models, Optional.of(1.0)),
            setting("gamma", models, Optional.of(SparseTaskArithmetic.DEFAULT_GAMMA)),
            method.electsSigns,
            normalizes,
            flag("rescale", method.rescales) ? Rescale.L1 : Rescale.NONE,
            lambda,
            seed);
      }
    };
  }

  private TensorSetting t() {
    return new TensorSetting() {
      @Override
      public double of(String tensor, int model) {
        return value("t", null, tensor, Optional.empty());
      }

      @Override
      public String text() {
        return "by the recipe";
      }
    };
  }

  private @Nullable DType dtype() {
    for (String key : List.of("out_dtype", "dtype")) {
      Optional<String> text = text(key, root);
      if (text.isPresent()) {
        return DType.ofFloats(text.get())
            .orElseThrow(
                () -> wrong(key, text.get() + ": expected float32, float16, bfloat16 or float64"));
      }
    }
    return null;
  }
}
