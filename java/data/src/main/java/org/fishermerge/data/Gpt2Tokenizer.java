package org.fishermerge.data;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * The tokenizer of a GPT-2 model folder, read as transformers reads it and run by the Hugging Face
 * tokenizers library: byte-level BPE, with nothing before, between or after texts unless the
 * folder's files say so.
 */
public final class Gpt2Tokenizer implements AutoCloseable {
  private final HuggingFaceTokenizer tokenizer;
  private final OptionalLong padToken;
  private final List<String> warnings;

  private Gpt2Tokenizer(
      HuggingFaceTokenizer tokenizer, OptionalLong padToken, List<String> warnings) {
    this.tokenizer = tokenizer;
    this.padToken = padToken;
    this.warnings = List.copyOf(warnings);
  }

  /**
   * Opens the tokenizer of a model folder: {@code tokenizer.json}, or else {@code vocab.json} with
   * {@code merges.txt}, with the settings in {@code tokenizer_config.json}, {@code
   * special_tokens_map.json} and {@code added_tokens.json}. How long texts become is the caller's
   * choice: neither {@code model_max_length} nor the lengths inside tokenizer.json count, as
   * FusionBench sets them itself.
   *
   * @param maxLength the most tokens of a text or of a pair; of a pair that is longer, the longer
   *     text loses its last tokens first, as transformers' {@code truncation=True} does, or its
   *     first ones where {@code truncation_side} is left
   * @throws InputException if the files are missing or do not make a tokenizer, or say what is not
   *     supported
   */
  public static Gpt2Tokenizer open(Path folder, int maxLength) {
    if (maxLength < 1) {
      throw new IllegalArgumentException("maxLength " + maxLength);
    }
    TokenizerSettings settings =
        new TokenizerSettings(
            new TokenizerFiles(folder),
            TokenizerSettings.Kind.GPT2,
            "gpt2",
            "; --tokenizer names another folder");
    settings.requirePaddingOnTheRight();
    if (settings.modelMaxLength() < maxLength) {
      settings
          .warnings()
          .add(
              "%s: model_max_length is not used: texts are cut to %d tokens, as FusionBench does"
                  .formatted(settings.files().at(TokenizerFiles.CONFIG), maxLength));
    }
    TokenizerDefinition definition = TokenizerDefinition.of(settings);
    // As FusionBench chooses it.
    OptionalLong padToken =
        Stream.of("pad_token", "unk_token", "eos_token")
            .map(definition::named)
            .filter(OptionalLong::isPresent)
            .findFirst()
            .orElseGet(OptionalLong::empty);
    return new Gpt2Tokenizer(definition.open(maxLength), padToken, settings.warnings());
  }

  /**
   * Token ids of a text, or of two end to end, each tokenized on its own. An empty text has no
   * tokens but those that the folder's files put around every text.
   *
   * @param second null for one text
   */
  public long[] encode(String first, @Nullable String second) {
    Encoding encoding = second == null ? tokenizer.encode(first) : tokenizer.encode(first, second);
    return encoding.getIds();
  }

  /** What FusionBench fills texts up with: the pad token, or else the unknown or the end token. */
  public OptionalLong padToken() {
    return padToken;
  }

  /** Sentences for the user about what is odd about the files but does not stop their use. */
  public List<String> warnings() {
    return warnings;
  }

  @Override
  public void close() {
    tokenizer.close();
  }
}
