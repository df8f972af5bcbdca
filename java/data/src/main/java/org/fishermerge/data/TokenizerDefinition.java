package org.fishermerge.data;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.ServiceLoader;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.slf4j.LoggerFactory;
import org.slf4j.spi.SLF4JServiceProvider;

/**
 * A tokenizer as the Hugging Face tokenizers library takes it, in the form of tokenizer.json, made
 * of what the files of a folder say.
 */
final class TokenizerDefinition {
  /** CLIP's words: contractions, runs of letters, single digits, runs of anything else. */
  private static final String CLIP_WORDS =
      "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

  private static final String CLIP_SPECIAL = "<\\|startoftext\\|>|<\\|endoftext\\|>|";

  private final TokenizerSettings settings;
  private final ObjectNode root;
  private final Map<String, Long> vocabulary;
  private final Map<String, Long> addedIds = new LinkedHashMap<>();

  private TokenizerDefinition(TokenizerSettings settings) {
    this.settings = settings;
    Optional<ObjectNode> whole = settings.whole();
    ObjectNode given = whole.orElseGet(Json.MAPPER::createObjectNode);
    JsonNode model = whole.isPresent() ? given.path("model") : pieces();
    if (!model.isObject()) {
      throw new InputException(file() + ": key model is missing; expected the tokenizer's model");
    }
    this.vocabulary = TokenizerFiles.ids(file(), model.path("vocab"), settings.warnings()::add);
    this.root = Json.MAPPER.createObjectNode().put("version", "1.0");
    List<AddedToken> existing = new ArrayList<>();
    if (settings.kind() == TokenizerSettings.Kind.WHOLE_FILE) {
      given.properties().stream()
          .filter(entry -> TokenizerFiles.WHOLE_KEYS.knows(entry.getKey()))
          .forEach(entry -> root.set(entry.getKey(), entry.getValue()));
      given
          .path("added_tokens")
          .forEach(token ->
              existing.add(AddedToken.of(token, settings.where(TokenizerFiles.WHOLE, "added"))));
      if (model.path("dropout").asDouble() != 0) {
        throw new InputException(
            file() + ": model.dropout is set, so that each text is cut at random; set it to null");
      }
    } else {
      root.set("model", bpe(model));
    }
    addTokens(existing);
    switch (settings.kind()) {
      case GPT2 -> completeGpt2(given);
      case CLIP -> completeClip(given);
      case WHOLE_FILE -> {}
    }
    root.putNull("padding");
  }

  /** Builds the definition of a folder's tokenizer, with neither padding nor truncation. */
  static TokenizerDefinition of(TokenizerSettings settings) {
    return new TokenizerDefinition(settings);
  }

  /** The file that holds the vocabulary. */
  private Path file() {
    return settings
        .files()
        .at(settings.whole().isPresent() ? TokenizerFiles.WHOLE : TokenizerFiles.VOCABULARY);
  }

  private ObjectNode pieces() {
    ObjectNode model = Json.MAPPER.createObjectNode();
    model.set("vocab", Json.object(settings.files().at(TokenizerFiles.VOCABULARY)));
    model.set("merges", settings.files().merges());
    return model;
  }

  /** Vocabulary and merges, in the model that GPT-2's and CLIP's classes build of them. */
  private ObjectNode bpe(JsonNode given) {
    boolean clip = settings.kind() == TokenizerSettings.Kind.CLIP;
    String type = given.path("type").asText("BPE");
    if (!type.equals("BPE") || !given.path("vocab").isObject() || !given.path("merges").isArray()) {
      throw new InputException(
          "%s: the model is %s; a %s needs BPE with vocab and merges"
              .formatted(
                  file(),
                  type.equals("BPE") ? "without vocab or merges" : type,
                  settings.kind().className));
    }
    ObjectNode model = Json.MAPPER.createObjectNode().put("type", "BPE");
    model.putNull("dropout");
    if (clip) {
      model.put("unk_token", settings.named("unk_token").map(AddedToken::content).orElse("None"));
    } else {
      model.putNull("unk_token");
    }
    model
        .put("continuing_subword_prefix", "")
        .put("end_of_word_suffix", clip ? "</w>" : "")
        .put("fuse_unk", false)
        .put("byte_fallback", false)
        .put("ignore_merges", false);
    if (settings.whole().isPresent()) {
      for (String key : List.of("continuing_subword_prefix", "end_of_word_suffix")) {
        warnIfUnused("model." + key, given.path(key).asText(""), model.path(key).asText());
      }
      for (String key : List.of("byte_fallback", "ignore_merges")) {
        warnIfUnused("model." + key, given.path(key).asBoolean(), false);
      }
    }
    model.set("vocab", given.path("vocab"));
    model.set("merges", given.path("merges"));
    return model;
  }

  private void warnIfUnused(String key, Object given, Object ours) {
    if (!given.equals(ours)) {
      settings
          .warnings()
          .add(
              "%s: key %s is not used: a %s has its own, as in transformers 5; tokenizer_class %s"
                      .formatted(
                          file(),
                          key,
                          settings.kind().className,
                          TokenizerSettings.Kind.WHOLE_FILE.className)
                  + " in tokenizer_config.json takes tokenizer.json as it is");
    }
  }

  /** Adds the tokens and numbers them as the library does: in order, after all others. */
  private void addTokens(List<AddedToken> existing) {
    Map<String, AddedToken> tokens = new LinkedHashMap<>();
    existing.forEach(token -> tokens.put(token.content(), token));
    settings.toAdd(existing).forEach(token -> tokens.put(token.content(), token));
    tokens.remove("");
    long next = vocabulary.size();
    for (String content : tokens.keySet()) {
      Long known = vocabulary.get(content);
      long id = known == null ? next : known;
      next = Math.max(next, id + 1);
      addedIds.put(content, id);
    }
    Map<String, Long> stated = settings.statedIds();
    addedIds.forEach((content, id) -> {
      Long other = stated.get(content);
      if (other == null ? !vocabulary.containsKey(content) : !other.equals(id)) {
        settings
            .warnings()
            .add(
                "%s: the token %s is %s and gets the id %d, as in transformers"
                    .formatted(
                        settings.files().folder(),
                        content,
                        other == null ? "not in the vocabulary" : "stated with the id " + other,
                        id));
      }
    });
    ArrayNode list = root.putArray("added_tokens");
    boolean split = settings.splitSpecialTokens();
    tokens.forEach((content, token) -> {
      long id = Objects.requireNonNull(addedIds.get(content));
      if (!split || !token.special()) {
        list.add(token.json(id));
      }
      if (split && !vocabulary.containsKey(content)) {
        // What is not found in texts holds its id, and what is found keeps its own.
        if (!(root.path("model").path("vocab") instanceof ObjectNode ids)) {
          throw new InputException(
              settings.where(TokenizerFiles.CONFIG, "split_special_tokens")
                  + " is not supported for the model of this tokenizer.json");
        }
        ids.put(content, id);
      }
    });
  }

  private void completeGpt2(ObjectNode given) {
    root.putNull("normalizer");
    ObjectNode byteLevel = byteLevel(settings.addPrefixSpace());
    root.set("pre_tokenizer", byteLevel);
    if (settings.whole().isPresent()) {
      boolean space = given.path("pre_tokenizer").path("add_prefix_space").asBoolean();
      JsonNode theirs = given.path("pre_tokenizer");
      warnIfUnused("normalizer", given.path("normalizer").isObject(), false);
      warnIfUnused("pre_tokenizer", theirs.path("type").asText(), "ByteLevel");
      if (theirs.path("type").asText().equals("ByteLevel")) {
        warnIfUnused("pre_tokenizer.add_prefix_space", space, settings.addPrefixSpace());
        warnIfUnused("pre_tokenizer.use_regex", theirs.path("use_regex").asBoolean(true), true);
      }
    }
    JsonNode processor = given.path("post_processor");
    boolean bos = settings.adds("add_bos_token");
    boolean eos = settings.adds("add_eos_token");
    root.set("post_processor", processor.isObject() ? processor : template(bos, eos));
  }

  private static ObjectNode byteLevel(boolean addPrefixSpace) {
    return Json.MAPPER
        .createObjectNode()
        .put("type", "ByteLevel")
        .put("add_prefix_space", addPrefixSpace)
        .put("trim_offsets", true)
        .put("use_regex", true);
  }

  /** Puts a token before and after each text, where there is one of that name. */
  private ObjectNode template(boolean bos, boolean eos) {
    ObjectNode template = Json.MAPPER.createObjectNode().put("type", "TemplateProcessing");
    ObjectNode special = Json.MAPPER.createObjectNode();
    Optional<AddedToken> before = bos ? settings.named("bos_token") : Optional.empty();
    Optional<AddedToken> after = eos ? settings.named("eos_token") : Optional.empty();
    for (String texts : List.of("single", "pair")) {
      ArrayNode pieces = template.putArray(texts);
      for (String text : texts.equals("pair") ? List.of("A", "B") : List.of("A")) {
        before.ifPresent(token -> piece(pieces, "SpecialToken", token.content()));
        piece(pieces, "Sequence", text);
        after.ifPresent(token -> piece(pieces, "SpecialToken", token.content()));
      }
    }
    for (Optional<AddedToken> token : List.of(before, after)) {
      token.ifPresent(used -> {
        ObjectNode entry = special.putObject(used.content()).put("id", used.content());
        entry.putArray("ids").add(id(used.content()).orElseThrow());
        entry.putArray("tokens").add(used.content());
      });
    }
    template.set("special_tokens", special);
    return template;
  }

  private static void piece(ArrayNode pieces, String type, String id) {
    pieces.addObject().putObject(type).put("id", id).put("type_id", 0);
  }

  private void completeClip(ObjectNode given) {
    ArrayNode normalizers =
        root.putObject("normalizer").put("type", "Sequence").putArray("normalizers");
    normalizers.addObject().put("type", "NFC");
    ObjectNode spaces = normalizers.addObject().put("type", "Replace").put("content", " ");
    spaces.putObject("pattern").put("Regex", "\\s+");
    normalizers.addObject().put("type", "Lowercase");
    ArrayNode preTokenizers =
        root.putObject("pre_tokenizer").put("type", "Sequence").putArray("pretokenizers");
    ObjectNode words = preTokenizers.addObject().put("type", "Split");
    words.putObject("pattern").put("Regex", CLIP_SPECIAL + CLIP_WORDS);
    words.put("behavior", "Removed").put("invert", true);
    preTokenizers.add(byteLevel(false));
    if (settings.whole().isPresent()) {
      JsonNode theirs = given.path("normalizer").path("normalizers");
      warnIfUnused("normalizer", theirs, normalizers);
      // What is special is found before words are, and so left out of older files' words.
      String regex =
          given
              .path("pre_tokenizer")
              .path("pretokenizers")
              .path(0)
              .path("pattern")
              .path("Regex")
              .asText();
      warnIfUnused("pre_tokenizer", regex.replace(CLIP_SPECIAL, ""), CLIP_WORDS);
    }
    ObjectNode frame = root.putObject("post_processor").put("type", "RobertaProcessing");
    frame.set("sep", framing("eos_token"));
    frame.set("cls", framing("bos_token"));
    frame.put("trim_offsets", false).put("add_prefix_space", false);
  }

  private ArrayNode framing(String name) {
    String content =
        settings
            .named(name)
            .map(AddedToken::content)
            .orElseThrow(() ->
                new InputException(
                    settings.where(TokenizerFiles.CONFIG, name)
                        + " is null; CLIP's texts stand between a bos_token and an eos_token"));
    return Json.MAPPER.createArrayNode().add(content).add(id(content).orElseThrow());
  }

  /** The id of a token, be it added or the vocabulary's. */
  OptionalLong id(String token) {
    Long id = addedIds.containsKey(token) ? addedIds.get(token) : vocabulary.get(token);
    return id == null ? OptionalLong.empty() : OptionalLong.of(id);
  }

  /** The id of the token of that name, such as pad_token. */
  OptionalLong named(String name) {
    return settings.named(name).map(token -> id(token.content())).orElseGet(OptionalLong::empty);
  }

  /**
   * The library's tokenizer of it.
   *
   * @param maxLength the most tokens of a text or pair; the longer text of a pair is cut first, on
   *     the side that the settings say
   * @throws InputException if the library does not take it
   */
  HuggingFaceTokenizer open(int maxLength) {
    root.putObject("truncation")
        .put("direction", settings.truncatesLeft() ? "Left" : "Right")
        .put("max_length", maxLength)
        .put("strategy", "LongestFirst")
        .put("stride", 0);
    prepareLibrary();
    try {
      return HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(Json.MAPPER.writeValueAsBytes(root)),
          Map.of(
              "addSpecialTokens", "true",
              "padding", "false",
              "truncation", "true",
              "maxLength", Integer.toString(maxLength)));
    } catch (IOException | RuntimeException e) {
      throw new InputException(
          settings.files().folder() + ": not a usable tokenizer: " + Reasons.of(e), e);
    }
  }

  /** Sets what the library reads when it is loaded, where the program has not. */
  private static void prepareLibrary() {
    // It would otherwise look for CUDA builds of itself on the network.
    setUnlessSet("ai.djl.offline", "true");
    ServiceLoader<SLF4JServiceProvider> loggers =
        ServiceLoader.load(SLF4JServiceProvider.class, LoggerFactory.class.getClassLoader());
    if (loggers.findFirst().isEmpty()) {
      // SLF4J, through which it logs, would say so on standard error.
      setUnlessSet("slf4j.internal.verbosity", "ERROR");
    }
  }

  private static void setUnlessSet(String property, String value) {
    if (System.getProperty(property) == null) {
      System.setProperty(property, value);
    }
  }
}
