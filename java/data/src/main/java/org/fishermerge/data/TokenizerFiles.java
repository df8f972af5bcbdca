package org.fishermerge.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;
import org.fishermerge.checkpoint.ModelFolder;
import org.fishermerge.checkpoint.SettingsKeys;

/** The files of a model folder that say how texts become tokens, and the keys of their settings. */
public final class TokenizerFiles {
  static final String WHOLE = "tokenizer.json";
  static final String CONFIG = "tokenizer_config.json";
  static final String SPECIAL_TOKENS = "special_tokens_map.json";
  static final String ADDED_TOKENS = "added_tokens.json";
  static final String VOCABULARY = "vocab.json";
  static final String MERGES = "merges.txt";

  /** Names the model, and so the class of its tokenizer where the tokenizer's files do not. */
  static final String MODEL_CONFIG = "config.json";

  /** All of them, whose content decides the tokens of every text. */
  public static final List<String> NAMES =
      List.of(WHOLE, CONFIG, SPECIAL_TOKENS, ADDED_TOKENS, VOCABULARY, MERGES, MODEL_CONFIG);

  /** The special tokens that have a name, in the order in which they get their ids. */
  static final List<String> NAMED =
      List.of(
          "bos_token",
          "eos_token",
          "unk_token",
          "sep_token",
          "pad_token",
          "cls_token",
          "mask_token");

  /** Of tokenizer_config.json; every other key that ends in {@code _token} names a token too. */
  public static final SettingsKeys CONFIG_KEYS =
      SettingsKeys.of(
          CONFIG,
          List.of(
              "add_bos_token",
              "add_eos_token",
              "add_prefix_space",
              "added_tokens_decoder",
              "additional_special_tokens",
              "auto_map",
              "bos_token",
              "cls_token",
              "eos_token",
              "extra_special_tokens",
              "mask_token",
              "model_specific_special_tokens",
              "pad_token",
              "padding_side",
              "sep_token",
              "split_special_tokens",
              "tokenizer_class",
              "truncation_side",
              "unk_token"),
          List.of(
              "backend",
              "bos_token_id",
              "chat_template",
              "clean_up_tokenization_spaces",
              "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
              "cls_token_id",
              "do_basic_tokenize",
              "do_lower_case",
              "eos_token_id",
              "errors",
              "files_loaded",
              "is_local",
              "legacy",
              "local_files_only",
              "mask_token_id",
              "max_len",
              "max_length",
              "merges_file",
              "model_input_names",
              "model_max_length",
              "name_or_path",
              "never_split",
              "pad_to_multiple_of",
              "pad_token_id",
              "pad_token_type_id",
              "processor_class",
              "response_schema",
              "response_template",
              "return_token_type_ids",
              "sep_token_id",
              "spaces_between_special_tokens",
              "special_tokens_map_file",
              "stride",
              "strip_accents",
              "tokenize_chinese_chars",
              "tokenizer_file",
              "transformers_version",
              "trim_offsets",
              "truncation_strategy",
              "unk_token_id",
              "use_fast",
              "verbose",
              "vocab_file"),
          List.of(
              "fast_tokenizer_files",
              "fix_mistral_regex",
              "gguf_file",
              "init_inputs",
              "merges",
              "vocab"));

  /** Of special_tokens_map.json; every other key that ends in {@code _token} names a token too. */
  public static final SettingsKeys SPECIAL_TOKENS_KEYS =
      SettingsKeys.of(
          SPECIAL_TOKENS,
          List.of(
              "additional_special_tokens",
              "bos_token",
              "cls_token",
              "eos_token",
              "extra_special_tokens",
              "mask_token",
              "pad_token",
              "sep_token",
              "unk_token"),
          List.of(),
          List.of());

  /** Of tokenizer.json. */
  public static final SettingsKeys WHOLE_KEYS =
      SettingsKeys.of(
          WHOLE,
          List.of(
              "added_tokens",
              "model",
              "normalizer",
              "padding",
              "post_processor",
              "pre_tokenizer",
              "truncation"),
          List.of("decoder", "version"),
          List.of());

  private final ModelFolder folder;
  private final Path path;

  TokenizerFiles(Path path) {
    this.path = path;
    this.folder = new ModelFolder(path);
  }

  Path folder() {
    return path;
  }

  /** How messages name a file of the folder. */
  Path at(String name) {
    return path.resolve(name);
  }

  /**
   * A file of the folder, if it is there.
   *
   * @throws InputException if it is no regular file, or a link that leads out of the folder
   */
  Optional<Path> find(String name) {
    return folder.find(name);
  }

  /** The object in a file of the folder, if it is there. */
  Optional<ObjectNode> object(String name) {
    return find(name).map(Json::object);
  }

  /** Whether the files of the older layout are there. */
  boolean inPieces() {
    return find(VOCABULARY).isPresent() && find(MERGES).isPresent();
  }

  /** The pairs of merges.txt, in order. */
  ArrayNode merges() {
    Path file = at(MERGES);
    ArrayNode merges = Json.MAPPER.createArrayNode();
    int line = 0;
    for (String pair : (Iterable<String>) InputFiles.text(file).lines()::iterator) {
      line++;
      if (pair.isBlank() || pair.startsWith("#version")) {
        continue;
      }
      int space = pair.indexOf(' ');
      if (space <= 0 || space == pair.length() - 1 || pair.indexOf(' ', space + 1) >= 0) {
        throw new InputException(
            "%s: line %d is \"%s\"; expected two symbols with a space between them"
                .formatted(file, line, pair));
      }
      merges.addArray().add(pair.substring(0, space)).add(pair.substring(space + 1));
    }
    return merges;
  }

  /**
   * Ids by token.
   *
   * @param file where the vocabulary was read, for messages
   * @param warnings told of ids that two tokens share
   */
  static Map<String, Long> ids(Path file, JsonNode vocabulary, Consumer<String> warnings) {
    Map<String, Long> ids = new LinkedHashMap<>();
    if (vocabulary.isArray()) { // of a Unigram model: pairs of a token and its score
      for (JsonNode entry : vocabulary) {
        ids.put(entry.path(0).asText(), (long) ids.size());
      }
      return ids;
    }
    Set<Long> taken = new HashSet<>();
    vocabulary
        .properties()
        .forEach(entry -> {
          JsonNode id = entry.getValue();
          if (!id.isIntegralNumber() || !id.canConvertToInt() || id.intValue() < 0) {
            throw new InputException(
                "%s: the id of the token \"%s\" is %s; expected a whole number from 0 on"
                    .formatted(file, entry.getKey(), id));
          }
          if (!taken.add(id.longValue())) {
            warnings.accept(
                "%s: two tokens have the id %d, one of them \"%s\""
                    .formatted(file, id.longValue(), entry.getKey()));
          }
          ids.put(entry.getKey(), id.longValue());
        });
    return ids;
  }
}
