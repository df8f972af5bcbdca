package org.fishermerge.data;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.fishermerge.checkpoint.InputException;

/**
 * The tokenizer of a CLIP model folder, read as transformers reads it and run by the Hugging Face
 * tokenizers library: NFC, white space collapsed, lower case, byte-level BPE, between a token for
 * the start and one for the end. Not thread-safe.
 */
public final class ClipTokenizer implements AutoCloseable {
  private final HuggingFaceTokenizer tokenizer;
  private final long padId;
  private final int maxLength;
  private final List<String> warnings;

  private ClipTokenizer(
      HuggingFaceTokenizer tokenizer, long padId, int maxLength, List<String> warnings) {
    this.tokenizer = tokenizer;
    this.padId = padId;
    this.maxLength = maxLength;
    this.warnings = warnings;
  }

  /**
   * Opens the tokenizer of a model folder: {@code tokenizer.json}, or else {@code vocab.json} with
   * {@code merges.txt}, with the settings in {@code tokenizer_config.json}, {@code
   * special_tokens_map.json} and {@code added_tokens.json}. The lengths inside tokenizer.json do
   * not count: a head's prompts are not cut, and padded to the longest.
   *
   * @param maxLength the most tokens of a text, start and end included; longer texts lose their
   *     last words, not the end token, with a warning (77 for OpenAI's models)
   * @throws InputException if the files are missing or do not make a tokenizer, or say what is not
   *     supported
   */
  public static ClipTokenizer open(Path folder, int maxLength) {
    if (maxLength < 2) {
      throw new IllegalArgumentException("maxLength " + maxLength + " leaves no room for a text");
    }
    TokenizerSettings settings =
        new TokenizerSettings(new TokenizerFiles(folder), TokenizerSettings.Kind.CLIP, "clip", "");
    settings.requirePaddingOnTheRight();
    TokenizerDefinition definition = TokenizerDefinition.of(settings);
    long padId =
        definition
            .named("pad_token")
            .orElseThrow(() ->
                new InputException(
                    settings.where(TokenizerFiles.CONFIG, "pad_token")
                        + " is missing; prompts of a class are padded to one length"));
    return new ClipTokenizer(
        definition.open(maxLength), padId, maxLength, new ArrayList<>(settings.warnings()));
  }

  /** Token ids of the texts, padded to the longest of them; an empty list is refused. */
  public TokenIds encode(List<String> texts) {
    if (texts.isEmpty()) {
      throw new IllegalArgumentException("no texts");
    }
    Encoding[] encodings = tokenizer.batchEncode(texts);
    int longest = 0;
    for (int i = 0; i < encodings.length; i++) {
      longest = Math.max(longest, encodings[i].getIds().length);
      if (encodings[i].exceedMaxLength()) {
        warnings.add(
            "the prompt \"%s\" is longer than the %d tokens that the text tower takes; it was cut"
                .formatted(shortened(texts.get(i)), maxLength));
      }
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

  private static String shortened(String text) {
    return text.length() <= 60 ? text : text.substring(0, 60) + "...";
  }

  /**
   * Sentences for the user about what is odd about the files, or about texts encoded so far, but
   * does not stop their use.
   */
  public List<String> warnings() {
    return List.copyOf(warnings);
  }

  @Override
  public void close() {
    tokenizer.close();
  }
}
