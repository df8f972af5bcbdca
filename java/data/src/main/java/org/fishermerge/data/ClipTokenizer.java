package org.fishermerge.data;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
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
    ObjectNode definition =
        TokenizerFiles.definition(folder, "", ClipTokenizer::fromVocabularyAndMerges);
    long padId = padId(folder, definition);
    return new ClipTokenizer(TokenizerFiles.tokenizer(folder, definition, maxLength), padId);
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
    Path vocabularyFile = folder.resolve(TokenizerFiles.VOCABULARY);
    Path mergesFile = folder.resolve(TokenizerFiles.MERGES);
    ObjectNode vocabulary = Json.object(vocabularyFile);
    ObjectNode root = Json.MAPPER.createObjectNode().put("version", "1.0");
    ArrayNode added = root.putArray("added_tokens");
    for (String token : List.of(START, END)) {
      TokenizerFiles.addSpecial(added, token, TokenizerFiles.id(vocabularyFile, vocabulary, token));
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
    frame.putArray("sep").add(END).add(TokenizerFiles.id(vocabularyFile, vocabulary, END));
    frame.putArray("cls").add(START).add(TokenizerFiles.id(vocabularyFile, vocabulary, START));
    frame.put("trim_offsets", false).put("add_prefix_space", false);

    ObjectNode model = root.putObject("model").put("type", "BPE");
    model.putNull("dropout");
    model.put("unk_token", END).put("continuing_subword_prefix", "");
    model.put("end_of_word_suffix", "</w>").put("fuse_unk", false).put("byte_fallback", false);
    model.put("ignore_merges", false);
    model.set("vocab", vocabulary);
    TokenizerFiles.readMerges(mergesFile, model.putArray("merges"));
    return root;
  }

  private static long padId(Path folder, ObjectNode definition) {
    String token = END;
    for (String name : List.of("special_tokens_map.json", "tokenizer_config.json")) {
      String named =
          TokenizerFiles.file(folder, name)
              .map(file -> padToken(Json.object(file).get("pad_token")))
              .orElse(null);
      token = named == null ? token : named;
    }
    for (JsonNode added : definition.path("added_tokens")) {
      if (added.path("content").asText().equals(token)) {
        return added.path("id").asLong();
      }
    }
    return TokenizerFiles.id(
        folder.resolve("tokenizer.json"), definition.path("model").path("vocab"), token);
  }

  /** A token is written as a string, or as an object with its content. */
  private static @Nullable String padToken(@Nullable JsonNode value) {
    JsonNode content = value != null && value.isObject() ? value.get("content") : value;
    return content != null && content.isTextual() ? content.textValue() : null;
  }
}
