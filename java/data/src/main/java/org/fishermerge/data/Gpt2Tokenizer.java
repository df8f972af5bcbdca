package org.fishermerge.data;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * GPT-2's tokenizer, run by the Hugging Face tokenizers library: byte-level BPE, nothing added
 * before, between or after texts.
 */
public final class Gpt2Tokenizer implements AutoCloseable {
  private static final String END = "<|endoftext|>";

  private final HuggingFaceTokenizer tokenizer;

  private Gpt2Tokenizer(HuggingFaceTokenizer tokenizer) {
    this.tokenizer = tokenizer;
  }

  /**
   * Opens the tokenizer of a model folder: {@code tokenizer.json}, or else {@code vocab.json} with
   * {@code merges.txt}. Padding and truncation settings inside tokenizer.json are ignored.
   *
   * @param maxLength the most tokens of a text or of a pair; of a pair that is longer, the longer
   *     text loses its last tokens first, as transformers' {@code truncation=True} does
   * @throws InputException if the files are missing or do not make a tokenizer
   */
  public static Gpt2Tokenizer open(Path folder, int maxLength) {
    if (maxLength < 1) {
      throw new IllegalArgumentException("maxLength " + maxLength);
    }
    ObjectNode definition =
        TokenizerFiles.definition(
            folder, "; --tokenizer names another folder", Gpt2Tokenizer::fromVocabularyAndMerges);
    return new Gpt2Tokenizer(TokenizerFiles.tokenizer(folder, definition, maxLength));
  }

  /**
   * Token ids of a text, or of two end to end, each tokenized on its own.
   *
   * @param second null for one text
   */
  public long[] encode(String first, @Nullable String second) {
    Encoding encoding = second == null ? tokenizer.encode(first) : tokenizer.encode(first, second);
    return encoding.getIds();
  }

  @Override
  public void close() {
    tokenizer.close();
  }

  /** What transformers makes of a folder in the older layout. */
  private static ObjectNode fromVocabularyAndMerges(Path folder) {
    Path vocabularyFile = folder.resolve(TokenizerFiles.VOCABULARY);
    ObjectNode vocabulary = Json.object(vocabularyFile);
    ObjectNode root = Json.MAPPER.createObjectNode().put("version", "1.0");
    TokenizerFiles.addSpecial(
        root.putArray("added_tokens"), END, TokenizerFiles.id(vocabularyFile, vocabulary, END));
    root.putNull("normalizer");
    root.putObject("pre_tokenizer")
        .put("type", "ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", true);
    root.putObject("post_processor")
        .put("type", "ByteLevel")
        .put("add_prefix_space", true)
        .put("trim_offsets", false)
        .put("use_regex", true);
    ObjectNode model = root.putObject("model").put("type", "BPE");
    model.putNull("dropout");
    model.putNull("unk_token");
    model.put("continuing_subword_prefix", "").put("end_of_word_suffix", "");
    model.put("fuse_unk", false).put("byte_fallback", false).put("ignore_merges", false);
    model.set("vocab", vocabulary);
    TokenizerFiles.readMerges(folder.resolve(TokenizerFiles.MERGES), model.putArray("merges"));
    return root;
  }
}
