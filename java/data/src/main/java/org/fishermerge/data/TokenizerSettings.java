package org.fishermerge.data;

import static org.fishermerge.data.TokenizerFiles.ADDED_TOKENS;
import static org.fishermerge.data.TokenizerFiles.CONFIG;
import static org.fishermerge.data.TokenizerFiles.MODEL_CONFIG;
import static org.fishermerge.data.TokenizerFiles.NAMED;
import static org.fishermerge.data.TokenizerFiles.SPECIAL_TOKENS;
import static org.fishermerge.data.TokenizerFiles.WHOLE;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SettingsKeys;
import org.jspecify.annotations.Nullable;

/**
 * What all files of a folder together say of its tokenizer, in the order of precedence of
 * transformers 5.18 (AutoTokenizer.from_pretrained): an {@code added_tokens_decoder} in
 * tokenizer_config.json stands for special_tokens_map.json, added_tokens.json and the added tokens
 * of tokenizer.json; without it these are read, and special_tokens_map.json wins over
 * tokenizer_config.json. Which class reads the files decides what of tokenizer.json counts.
 */
final class TokenizerSettings {
  /** The classes of transformers that can be stood in for. */
  enum Kind {
    /** Takes vocabulary, merges, added tokens and post-processor from its files. */
    GPT2(
        "GPT2Tokenizer",
        Map.of("bos_token", GPT2_END, "eos_token", GPT2_END, "unk_token", GPT2_END)),
    /** Takes vocabulary, merges and added tokens from its files. */
    CLIP(
        "CLIPTokenizer",
        Map.of(
            "bos_token", "<|startoftext|>",
            "eos_token", GPT2_END,
            "unk_token", GPT2_END,
            "pad_token", GPT2_END)),
    /** Takes tokenizer.json as it is. */
    WHOLE_FILE("PreTrainedTokenizerFast", Map.of());

    final String className;
    final Map<String, String> defaults;

    Kind(String className, Map<String, String> defaults) {
      this.className = className;
      this.defaults = defaults;
    }
  }

  private static final String GPT2_END = "<|endoftext|>";

  /** Names under which transformers 5 knows the class that takes tokenizer.json as it is. */
  private static final Set<String> WHOLE_FILE_CLASSES =
      Set.of("TokenizersBackend", "PreTrainedTokenizer", "PythonBackend");

  private static final String ADDITIONAL = "additional_special_tokens";
  private static final String EXTRA = "extra_special_tokens";
  private static final String DECODER = "added_tokens_decoder";

  private final TokenizerFiles files;
  private final ObjectNode config;
  private final Optional<ObjectNode> whole;
  private final Kind kind;
  private final Map<String, Optional<AddedToken>> named = new LinkedHashMap<>();
  private final SortedMap<Long, AddedToken> added = new TreeMap<>();
  private List<AddedToken> extra = List.of();
  private final List<String> warnings = new ArrayList<>();

  /**
   * Reads the settings of a folder.
   *
   * @param expected the class of the model's tokenizer where no file names one
   * @param modelType of the config.json of such a model
   * @param advice what to do if there is no tokenizer, for the message
   * @throws InputException if there is no tokenizer, or a setting is not as expected
   */
  TokenizerSettings(TokenizerFiles files, Kind expected, String modelType, String advice) {
    this.files = files;
    this.config = files.object(CONFIG).orElseGet(Json.MAPPER::createObjectNode);
    this.whole = files.object(WHOLE);
    if (whole.isEmpty() && !files.inPieces()) {
      throw new InputException(
          files.folder()
              + ": no tokenizer: neither tokenizer.json nor vocab.json with merges.txt"
              + advice);
    }
    this.kind = kind(expected, modelType, advice);
    if (kind == Kind.WHOLE_FILE && whole.isEmpty()) {
      throw new InputException(
          "%s: tokenizer_class %s reads tokenizer.json, which is not there"
              .formatted(files.at(CONFIG), className()));
    }
    refuse();
    readTokens();
    checkKeys();
  }

  private @Nullable String className() {
    JsonNode stated = config.path("tokenizer_class");
    if (!stated.isMissingNode() && !stated.isNull()) {
      if (!stated.isTextual()) {
        throw wrong(CONFIG, "tokenizer_class", stated, "the name of a class");
      }
      return stated.textValue();
    }
    return files
        .object(MODEL_CONFIG)
        .map(model -> model.path("tokenizer_class").textValue())
        .orElse(null);
  }

  private Kind kind(Kind expected, String modelType, String advice) {
    String name = className();
    if (name == null) {
      String type =
          files
              .object(MODEL_CONFIG)
              .map(model -> model.path("model_type").asText(modelType))
              .orElse(modelType);
      if (!type.equals(modelType)) {
        throw new InputException(
            "%s: model_type is %s, and no tokenizer_class is named; expected the tokenizer of a %s%s"
                .formatted(files.at(MODEL_CONFIG), type, modelType, advice));
      }
      return expected;
    }
    String bare = name.endsWith("Fast") ? name.substring(0, name.length() - 4) : name;
    if (bare.equals(expected.className)) {
      return expected;
    }
    if (WHOLE_FILE_CLASSES.contains(bare)) {
      return Kind.WHOLE_FILE;
    }
    throw new InputException(
        "%s: tokenizer_class %s is not supported; expected %s, or %s with a tokenizer.json%s"
            .formatted(
                files.at(config.hasNonNull("tokenizer_class") ? CONFIG : MODEL_CONFIG),
                name,
                expected.className,
                Kind.WHOLE_FILE.className,
                advice));
  }

  private void refuse() {
    TokenizerFiles.CONFIG_KEYS
        .treatments()
        .forEach((key, treatment) -> {
          JsonNode value = config.path(key);
          boolean idle =
              value.isMissingNode()
                  || value.isNull()
                  || (value.isBoolean() && !value.booleanValue())
                  || (value.isContainerNode() && value.isEmpty());
          if (treatment == SettingsKeys.Treatment.REFUSED && !idle) {
            throw new InputException(
                "%s: %s is %s, which is not supported; remove the key, or save the tokenizer again"
                    .formatted(files.at(CONFIG), key, shortened(value)));
          }
        });
    if (config.path("auto_map").has("AutoTokenizer")) {
      warnings.add(
          "%s: auto_map names a tokenizer with its own code, which is not run; read as %s"
              .formatted(files.at(CONFIG), kind.className));
    }
    boolean lower = flag("do_lower_case", kind == Kind.CLIP);
    if (lower != (kind == Kind.CLIP) && kind != Kind.WHOLE_FILE) {
      warnings.add(
          "%s: do_lower_case has no effect on a %s, as in transformers 5"
              .formatted(files.at(CONFIG), kind.className));
    }
  }

  /** Tokens by name, further special tokens, and added tokens by the ids that the files state. */
  private void readTokens() {
    Map<String, AddedToken> custom = new LinkedHashMap<>(); // names of the model's own
    Map<String, AddedToken> customOfMap = new LinkedHashMap<>();
    readNamed(CONFIG, config, custom);
    JsonNode model = config.path("model_specific_special_tokens");
    JsonNode listed = config.path(EXTRA);
    JsonNode older = config.path(ADDITIONAL);
    String oldersFile = CONFIG;
    if (!older.isMissingNode() && (listed.isEmpty() || listed.isNull())) {
      listed = older;
      older = config.path(""); // used
    }
    @Nullable List<AddedToken> extras = null;
    for (JsonNode byName : List.of(model, listed)) {
      if (byName.isObject()) {
        byName
            .properties()
            .forEach(entry ->
                custom.put(
                    entry.getKey(),
                    AddedToken.ofTextOrObject(
                        entry.getValue(), where(CONFIG, EXTRA + "." + entry.getKey()))));
      }
    }
    if (!listed.isObject() && !listed.isMissingNode()) {
      extras = tokens(CONFIG, EXTRA, listed);
    }

    if (config.has(DECODER)) {
      readDecoder();
    } else {
      Optional<ObjectNode> map = files.object(SPECIAL_TOKENS);
      if (map.isPresent()) {
        readNamed(SPECIAL_TOKENS, map.get(), customOfMap);
        JsonNode more = map.get().path(EXTRA);
        if (more.isArray()) {
          List<AddedToken> both = new ArrayList<>(extras == null ? List.of() : extras);
          tokens(SPECIAL_TOKENS, EXTRA, more).stream()
              .filter(token -> !both.contains(token))
              .forEach(both::add);
          extras = both;
        }
        if (map.get().has(ADDITIONAL)) {
          older = map.get().path(ADDITIONAL);
          oldersFile = SPECIAL_TOKENS;
        }
      }
      List<AddedToken> soFar = extras == null ? List.of() : extras;
      readAddedTokens(soFar);
      readWholesTokens();
    }
    if (extras == null && !older.isMissingNode()) {
      extras = tokens(oldersFile, ADDITIONAL, older);
    }
    extra = extras == null ? List.of() : extras;
    orderNames(customOfMap, custom);
  }

  /** Standard names, and where the file has them, others that end in _token. */
  private void readNamed(String file, ObjectNode from, Map<String, AddedToken> custom) {
    from.properties()
        .forEach(entry -> {
          String key = entry.getKey();
          JsonNode value = entry.getValue();
          boolean token = value.isTextual() || value.isObject();
          if (NAMED.contains(key)) {
            if (!token && !value.isNull()) {
              throw wrong(file, key, value, "a token, as text or as an object with content");
            }
            named.put(
                key,
                value.isNull()
                    ? Optional.empty()
                    : Optional.of(AddedToken.ofTextOrObject(value, where(file, key)))
                        .map(read -> file.equals(SPECIAL_TOKENS) ? read.asSpecial() : read));
          } else if (key.endsWith("_token") && token) {
            custom.put(key, AddedToken.ofTextOrObject(value, where(file, key)));
          }
        });
  }

  private List<AddedToken> tokens(String file, String key, JsonNode list) {
    if (list.isNull()) {
      return List.of();
    }
    if (!list.isArray()) {
      throw wrong(file, key, list, "a list of tokens");
    }
    List<AddedToken> tokens = new ArrayList<>();
    for (JsonNode node : list) {
      AddedToken token = AddedToken.ofTextOrObject(node, where(file, key));
      tokens.add(file.equals(SPECIAL_TOKENS) ? token.asSpecial() : token);
    }
    return tokens;
  }

  private void readDecoder() {
    JsonNode decoder = config.path(DECODER);
    if (!decoder.isObject()) {
      throw wrong(CONFIG, DECODER, decoder, "an object of tokens by id");
    }
    decoder
        .properties()
        .forEach(entry -> {
          String where = where(CONFIG, DECODER + "." + entry.getKey());
          long id;
          try {
            id = Integer.parseInt(entry.getKey().strip());
          } catch (NumberFormatException e) {
            throw new InputException(where + ": expected an id, a whole number", e);
          }
          added.put(id, AddedToken.of(entry.getValue(), where));
        });
  }

  private void readAddedTokens(List<AddedToken> extras) {
    Set<String> special = extras.stream().map(AddedToken::content).collect(Collectors.toSet());
    named.values().forEach(token -> token.map(AddedToken::content).ifPresent(special::add));
    files
        .object(ADDED_TOKENS)
        .ifPresent(tokens ->
            tokens
                .properties()
                .forEach(entry ->
                    added.put(
                        id(ADDED_TOKENS, entry.getKey(), entry.getValue()),
                        AddedToken.plain(entry.getKey(), special.contains(entry.getKey())))));
  }

  private void readWholesTokens() {
    for (JsonNode token : wholesTokens()) {
      AddedToken read = AddedToken.of(token, where(WHOLE, "added_tokens"));
      added.put(id(WHOLE, read.content(), token.path("id")), read);
    }
  }

  private JsonNode wholesTokens() {
    JsonNode tokens =
        whole.map(root -> root.path("added_tokens")).orElseGet(Json.MAPPER::createArrayNode);
    if (!tokens.isArray() && !tokens.isMissingNode() && !tokens.isNull()) {
      throw wrong(WHOLE, "added_tokens", tokens, "a list");
    }
    return tokens;
  }

  private long id(String file, String token, JsonNode id) {
    if (!id.isIntegralNumber() || !id.canConvertToInt() || id.intValue() < 0) {
      throw new InputException(
          "%s: the id of the token \"%s\" is %s; expected a whole number from 0 on"
              .formatted(files.at(file), token, id.isMissingNode() ? "missing" : id));
    }
    return id.longValue();
  }

  private void orderNames(Map<String, AddedToken> ofMap, Map<String, AddedToken> own) {
    Map<String, AddedToken> byContent = new HashMap<>();
    added.values().forEach(token -> byContent.put(token.content(), token));
    Map<String, Optional<AddedToken>> ordered = new LinkedHashMap<>();
    for (String key : NAMED) {
      Optional<AddedToken> stated = named.get(key);
      if (stated == null) {
        stated = Optional.ofNullable(kind.defaults.get(key)).map(AddedToken::special);
        if (kind == Kind.WHOLE_FILE && key.equals("pad_token")) {
          stated =
              whole
                  .map(root -> root.path("padding").path("pad_token").textValue())
                  .map(AddedToken::special);
        }
      } else {
        stated = stated.map(token -> byContent.getOrDefault(token.content(), token));
      }
      ordered.put(key, stated);
    }
    ofMap.forEach((key, token) -> ordered.put(key, Optional.of(own.getOrDefault(key, token))));
    own.forEach((key, token) -> ordered.put(key, Optional.of(token)));
    named.clear();
    named.putAll(ordered);
  }

  private void checkKeys() {
    unknown(TokenizerFiles.CONFIG_KEYS, CONFIG, Optional.of(config));
    if (!config.has(DECODER)) {
      unknown(TokenizerFiles.SPECIAL_TOKENS_KEYS, SPECIAL_TOKENS, files.object(SPECIAL_TOKENS));
    }
    unknown(TokenizerFiles.WHOLE_KEYS, WHOLE, whole);
  }

  private void unknown(SettingsKeys keys, String file, Optional<ObjectNode> object) {
    object.ifPresent(root -> {
      List<String> present = new ArrayList<>();
      root.properties()
          .forEach(entry -> {
            boolean token = entry.getValue().isTextual() || entry.getValue().isObject();
            if (!(entry.getKey().endsWith("_token") && token)) {
              present.add(entry.getKey());
            }
          });
      keys.unknown(files.at(file), present).ifPresent(warnings::add);
    });
  }

  // ---- what they say ----

  TokenizerFiles files() {
    return files;
  }

  Kind kind() {
    return kind;
  }

  /** tokenizer.json, if it is there: then vocab.json and merges.txt are not read. */
  Optional<ObjectNode> whole() {
    return whole;
  }

  /** A token by its name, such as bos_token. */
  Optional<AddedToken> named(String name) {
    return named.getOrDefault(name, Optional.empty());
  }

  /**
   * The tokens that are added to a tokenizer, in order. Of those with the same content the last one
   * says how it is found.
   *
   * @param existing tokens that it has already
   */
  List<AddedToken> toAdd(List<AddedToken> existing) {
    Set<String> names =
        named.values().stream()
            .flatMap(Optional::stream)
            .map(AddedToken::content)
            .collect(Collectors.toSet());
    List<AddedToken> tokens = new ArrayList<>();
    Set<String> known = existing.stream().map(AddedToken::content).collect(Collectors.toSet());
    for (AddedToken token : added.values()) {
      if (existing.stream().noneMatch(token::sameAs)) {
        tokens.add(names.contains(token.content()) ? token.asSpecial() : token);
        known.add(token.content());
      }
    }
    named.values().stream()
        .flatMap(Optional::stream)
        .map(AddedToken::asSpecial)
        .filter(token -> !known.contains(token.content()))
        .forEach(tokens::add);
    extra.stream().filter(token -> !known.contains(token.content())).forEach(tokens::add);
    return tokens;
  }

  /** The id that a file states for an added token; the vocabulary's order may give it another. */
  Map<String, Long> statedIds() {
    Map<String, Long> ids = new HashMap<>();
    added.forEach((id, token) -> ids.put(token.content(), id));
    return ids;
  }

  boolean addPrefixSpace() {
    return flag("add_prefix_space", false);
  }

  boolean splitSpecialTokens() {
    return flag("split_special_tokens", false);
  }

  /** Whether a token is put before or after each text. Beside a tokenizer.json it says so alone. */
  boolean adds(String name) {
    boolean stated = flag(name, false);
    if (stated && whole.isPresent()) {
      warnings.add(
          "%s: %s has no effect beside tokenizer.json, whose post_processor decides, as in"
                  .formatted(files.at(CONFIG), name)
              + " transformers 5");
    }
    return stated && whole.isEmpty();
  }

  boolean truncatesLeft() {
    return left("truncation_side", "truncation");
  }

  /** Refuses padding on the left, which shifts the positions of a text's tokens. */
  void requirePaddingOnTheRight() {
    if (left("padding_side", "padding")) {
      boolean inConfig = config.hasNonNull("padding_side");
      throw new InputException(
          "%s: %s is left, which is not supported: the positions of a text's tokens, and so the"
                  .formatted(
                      files.at(inConfig ? CONFIG : WHOLE),
                      inConfig ? "padding_side" : "padding.direction")
              + " model's answer, would depend on the padding; if the model was trained with"
              + " padding on the right, write right there");
    }
  }

  private boolean left(String key, String ofWhole) {
    JsonNode side = config.path(key);
    if (side.isMissingNode()) {
      JsonNode direction = whole.map(root -> root.path(ofWhole).path("direction")).orElse(side);
      return direction.asText().equalsIgnoreCase("left");
    }
    if (!side.asText().equals("left") && !side.asText().equals("right")) {
      throw wrong(CONFIG, key, side, "\"left\" or \"right\"");
    }
    return side.asText().equals("left");
  }

  /** The most tokens that the tokenizer's settings state; infinite if they do not. */
  double modelMaxLength() {
    for (String key : List.of("model_max_length", "max_len")) {
      JsonNode stated = config.path(key);
      if (stated.isNumber()) {
        return stated.doubleValue();
      }
      if (!stated.isMissingNode() && !stated.isNull()) {
        throw wrong(CONFIG, key, stated, "a number");
      }
    }
    return Double.POSITIVE_INFINITY;
  }

  private boolean flag(String key, boolean absent) {
    JsonNode value = config.path(key);
    if (value.isMissingNode() || value.isNull()) {
      return absent;
    }
    if (!value.isBoolean()) {
      throw wrong(CONFIG, key, value, "true or false");
    }
    return value.booleanValue();
  }

  /** Sentences for the user; may grow while the tokenizer is built. */
  List<String> warnings() {
    return warnings;
  }

  String where(String file, String key) {
    return files.at(file) + ": key " + key;
  }

  private InputException wrong(String file, String key, JsonNode value, String expected) {
    return new InputException(
        "%s is %s; expected %s".formatted(where(file, key), shortened(value), expected));
  }

  private static String shortened(JsonNode value) {
    String text = value.toString();
    return text.length() <= 80 ? text : text.substring(0, 80) + "...";
  }
}
