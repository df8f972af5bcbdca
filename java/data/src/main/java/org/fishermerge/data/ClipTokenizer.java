package org.fishermerge.data;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * CLIP's tokenizer, run by the Hugging Face tokenizers library: NFC, white space collapsed, lower
 * case, byte-level BPE, between {@code <|startoftext|>} and {@code <|endoftext|>}.
 */
public final class ClipTokenizer implements AutoCloseable {
  private static final String START = "<|startoftext|>";
  private static final String END = "<|endoftext|>";

  /** CLIP's words: contractions, runs of letters, single digits, runs of anything else. */
  private static final String WORDS =
      "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]"
          + "|[^\\s\\p{L}\\p{N}]+";

  private final HuggingFaceTokenizer tokenizer;
  private final long padId;

  private ClipTokenizer(HuggingFaceTokenizer tokenizer, long padId) {
    this.tokenizer = tokenizer;
    this.padId = padId;
  }

  /**
   * Opens the tokenizer of a model folder: {@code tokenizer.json}, or else {@code vocab.json} with
   * {@code merges.txt}. The pad token is the one that {@code tokenizer_config.json} or {@code
   * special_tokens_map.json} names, else {@code <|endoftext|>}. Padding and truncation settings
   * inside tokenizer.json are ignored.
   *
   * @param maxLength the most tokens of a text, start and end included; longer texts lose their
   *     last words, not the end token (77 for OpenAI's models)
   * @throws InputException if the files are missing or do not make a tokenizer
   */
  public static ClipTokenizer open(Path folder, int maxLength) {
    if (maxLength < 2) {
      throw new IllegalArgumentException("maxLength " + maxLength + " leaves no room for a text");
    }
    Path whole = folder.resolve("tokenizer.json");
    ObjectNode definition =
        Files.exists(whole) ? Json.object(whole) : fromVocabularyAndMerges(folder);
    definition.putNull("padding");
    definition.putNull("truncation");
    long padId = padId(folder, definition);
    // The library would otherwise look for CUDA builds of itself on the network.
    if (System.getProperty("ai.djl.offline") == null) {
      System.setProperty("ai.djl.offline", "true");
    }
    try {
      HuggingFaceTokenizer tokenizer =
          HuggingFaceTokenizer.newInstance(
              new ByteArrayInputStream(Json.MAPPER.writeValueAsBytes(definition)),
              Map.of(
                  "addSpecialTokens", "true",
                  "padding", "false",
                  "truncation", "true",
                  "maxLength", Integer.toString(maxLength)));
      return new ClipTokenizer(tokenizer, padId);
    } catch (IOException | RuntimeException e) {
      throw new InputException(folder + ": not a usable tokenizer: " + e.getMessage(), e);
    }
  }

  /** Token ids of the texts, padded to the longest of them; an empty list is refused. */
  public TokenIds encode(List<String> texts) {
    if (texts.isEmpty()) {
      throw new IllegalArgumentException("no texts");
    }
    Encoding[] encodings = tokenizer.batchEncode(texts);
    int longest = 0;
    for (Encoding encoding : encodings) {
      longest = Math.max(longest, encoding.getIds().length);
    }
    long[][] ids = new long[encodings.length][longest];
    long[][] attentionMask = new long[encodings.length][longest];
    for (int i = 0; i < encodings.length; i++) {
      long[] tokens = encodings[i].getIds();
      System.arraycopy(tokens, 0, ids[i], 0, tokens.length);
      Arrays.fill(ids[i], tokens.length, longest, padId);
      Arrays.fill(attentionMask[i], 0, tokens.length, 1);
    }
    return new TokenIds(ids, attentionMask);
  }

  @Override
  public void close() {
    tokenizer.close();
  }

  /** What transformers makes of a folder in the older layout. */
  private static ObjectNode fromVocabularyAndMerges(Path folder) {
    Path vocabularyFile = folder.resolve("vocab.json");
    Path mergesFile = folder.resolve("merges.txt");
    if (!Files.exists(vocabularyFile) || !Files.exists(mergesFile)) {
      throw new InputException(
          folder + ": no tokenizer: neither tokenizer.json nor vocab.json with merges.txt");
    }
    ObjectNode vocabulary = Json.object(vocabularyFile);
    ObjectNode root = Json.MAPPER.createObjectNode().put("version", "1.0");
    ArrayNode added = root.putArray("added_tokens");
    for (String token : List.of(START, END)) {
      added
          .addObject()
          .put("id", id(vocabularyFile, vocabulary, token))
          .put("content", token)
          .put("single_word", false)
          .put("lstrip", false)
          .put("rstrip", false)
          .put("normalized", false)
          .put("special", true);
    }
    ObjectNode normalizer = root.putObject("normalizer").put("type", "Sequence");
    ArrayNode normalizers = normalizer.putArray("normalizers");
    normalizers.addObject().put("type", "NFC");
    ObjectNode spaces = normalizers.addObject().put("type", "Replace").put("content", " ");
    spaces.putObject("pattern").put("Regex", "\\s+");
    normalizers.addObject().put("type", "Lowercase");

    ObjectNode preTokenizer = root.putObject("pre_tokenizer").put("type", "Sequence");
    ArrayNode preTokenizers = preTokenizer.putArray("pretokenizers");
    ObjectNode split = preTokenizers.addObject().put("type", "Split");
    split.putObject("pattern").put("Regex", WORDS);
    split.put("behavior", "Removed").put("invert", true);
    preTokenizers
        .addObject()
        .put("type", "ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", true);

    ObjectNode frame = root.putObject("post_processor").put("type", "RobertaProcessing");
    frame.putArray("sep").add(END).add(id(vocabularyFile, vocabulary, END));
    frame.putArray("cls").add(START).add(id(vocabularyFile, vocabulary, START));
    frame.put("trim_offsets", false).put("add_prefix_space", false);

    ObjectNode model = root.putObject("model").put("type", "BPE");
    model.putNull("dropout");
    model.put("unk_token", END).put("continuing_subword_prefix", "");
    model.put("end_of_word_suffix", "</w>").put("fuse_unk", false).put("byte_fallback", false);
    model.put("ignore_merges", false);
    model.set("vocab", vocabulary);
    ArrayNode merges = model.putArray("merges");
    try {
      int line = 0;
      for (String pair : Files.readAllLines(mergesFile)) {
        line++;
        if (pair.isBlank() || (line == 1 && pair.startsWith("#version"))) {
          continue;
        }
        int space = pair.indexOf(' ');
        if (space <= 0 || space == pair.length() - 1 || pair.indexOf(' ', space + 1) >= 0) {
          throw new InputException(
              "%s: line %d is \"%s\"; expected two symbols with a space between them"
                  .formatted(mergesFile, line, pair));
        }
        merges.addArray().add(pair.substring(0, space)).add(pair.substring(space + 1));
      }
    } catch (IOException e) {
      throw new InputException(mergesFile + ": not readable: " + e.getMessage(), e);
    }
    return root;
  }

  private static long padId(Path folder, ObjectNode definition) {
    String token = END;
    for (String name : List.of("special_tokens_map.json", "tokenizer_config.json")) {
      Path file = folder.resolve(name);
      String named = Files.exists(file) ? padToken(Json.object(file).get("pad_token")) : null;
      token = named == null ? token : named;
    }
    for (JsonNode added : definition.path("added_tokens")) {
      if (added.path("content").asText().equals(token)) {
        return added.path("id").asLong();
      }
    }
    return id(folder.resolve("tokenizer.json"), definition.path("model").path("vocab"), token);
  }

  /** A token is written as a string, or as an object with its content. */
  private static @Nullable String padToken(@Nullable JsonNode value) {
    JsonNode content = value != null && value.isObject() ? value.get("content") : value;
    return content != null && content.isTextual() ? content.textValue() : null;
  }

  private static long id(Path file, JsonNode vocabulary, String token) {
    JsonNode id = vocabulary.get(token);
    if (id == null || !id.isIntegralNumber()) {
      throw new InputException("%s: the vocabulary has no token %s".formatted(file, token));
    }
    return id.longValue();
  }
}
