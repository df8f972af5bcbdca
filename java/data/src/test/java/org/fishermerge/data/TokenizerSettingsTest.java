package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SettingsKeys;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What of a folder's settings is refused, and what is said. */
final class TokenizerSettingsTest {
  private static final Path FROM = Gpt2TokenizerTest.FOLDER;

  /** Tokens of the vocabulary; others are numbered from here. */
  private static final int SIZE = Json.object(FROM.resolve("vocab.json")).size();

  @TempDir Path folder;

  @BeforeEach
  void pieces() throws IOException {
    for (String name : List.of("vocab.json", "merges.txt")) {
      Files.copy(FROM.resolve(name), folder.resolve(name));
    }
  }

  private List<String> warnings() {
    try (Gpt2Tokenizer tokenizer = Gpt2Tokenizer.open(folder, 512)) {
      return tokenizer.warnings();
    }
  }

  private long[] encode(String text) {
    try (Gpt2Tokenizer tokenizer = Gpt2Tokenizer.open(folder, 512)) {
      return tokenizer.encode(text, null);
    }
  }

  @ParameterizedTest(name = "{0}: {1}")
  @CsvSource(
      delimiter = '|',
      value = {
        "tokenizer_config.json | {\"padding_side\": \"left\"} | padding_side is left",
        "tokenizer_config.json | {\"padding_side\": \"up\"} | key padding_side is \"up\"",
        "tokenizer_config.json | {\"truncation_side\": \"up\"} | key truncation_side is \"up\"",
        "tokenizer_config.json | {\"add_prefix_space\": \"yes\"} | expected true or false",
        "tokenizer_config.json | {\"model_max_length\": \"512\"} | expected a number",
        "tokenizer_config.json | {\"pad_token\": 3} | key pad_token is 3",
        "tokenizer_config.json | {\"pad_token\": {\"text\": \"x\"}} | an object with content",
        "tokenizer_config.json | {\"pad_token\": {\"content\": \"x\", \"lstrip\": 1}} | lstrip is 1",
        "tokenizer_config.json | {\"extra_special_tokens\": \"x\"} | expected a list of tokens",
        "tokenizer_config.json | {\"added_tokens_decoder\": {\"x\": {}}} | expected an id",
        "tokenizer_config.json | {\"added_tokens_decoder\": [1]} | expected an object of tokens",
        "tokenizer_config.json | {\"tokenizer_class\": \"BertTokenizer\"} | BertTokenizer is not",
        "tokenizer_config.json | {\"tokenizer_class\": \"CLIPTokenizer\"} | CLIPTokenizer is not",
        "tokenizer_config.json | {\"tokenizer_class\": \"PreTrainedTokenizerFast\"} | not there",
        "tokenizer_config.json | {\"tokenizer_class\": 1} | expected the name of a class",
        "tokenizer_config.json | {\"fast_tokenizer_files\": [\"t.json\"]} | fast_tokenizer_files",
        "tokenizer_config.json | {\"vocab\": {\"a\": 1}} | vocab is",
        "tokenizer_config.json | [] | expected a JSON object",
        "special_tokens_map.json | {\"pad_token\": [\"x\"]} | key pad_token is",
        "special_tokens_map.json | {\"additional_special_tokens\": 5} | expected a list",
        "added_tokens.json | {\"x\": \"5\"} | the id of the token \"x\" is \"5\"",
        "added_tokens.json | {\"x\": -1} | the id of the token \"x\" is -1",
        "added_tokens.json | {\"x\": 99999999999} | the id of the token \"x\" is 99999999999",
        "config.json | {\"model_type\": \"bert\"} | model_type is bert",
        "config.json | {\"model_type\": \"gpt2\", \"tokenizer_class\": \"BertTokenizer\"} | Bert",
        "vocab.json | {\"a\": 1.5} | the id of the token \"a\" is 1.5",
        "vocab.json | {\"a\": -3} | expected a whole number",
      })
  void whatIsNotAsExpectedIsRefused(String file, String json, String message) throws IOException {
    Files.writeString(folder.resolve(file), json);
    assertThatThrownBy(this::warnings)
        .isInstanceOf(InputException.class)
        .hasMessageContaining(message)
        .hasMessageContaining(folder.resolve(file).toString());
  }

  @ParameterizedTest(name = "{0}: {1}")
  @CsvSource(
      delimiter = '|',
      value = {
        "tokenizer_config.json | {\"chat_template\": \"x\", \"my_setting\": 1} | \"my_setting\"",
        "special_tokens_map.json | {\"color\": \"red\"} | a key is not known here",
        "tokenizer_config.json | {\"model_max_length\": 128} | cut to 512 tokens",
        "tokenizer_config.json | {\"do_lower_case\": true} | do_lower_case has no effect",
        "tokenizer_config.json | {\"auto_map\": {\"AutoTokenizer\": [\"x.Y\", null]}} | not run",
        "tokenizer_config.json | {\"pad_token\": \"[PAD]\"} | not in the vocabulary",
        "added_tokens.json | {\"[SEP]\": 999} | stated with the id 999",
      })
  void whatIsOddIsSaidInOneLine(String file, String json, String message) throws IOException {
    Files.writeString(folder.resolve(file), json);
    assertThat(warnings()).singleElement().asString().contains(folder.toString(), message);
  }

  @Test
  void twoTokensOfOneIdAreSaid() throws IOException {
    ObjectNode vocabulary = Json.object(FROM.resolve("vocab.json"));
    vocabulary.put("zzz", 5);
    Files.writeString(folder.resolve("vocab.json"), vocabulary.toString());
    assertThat(warnings()).singleElement().asString().contains("two tokens have the id 5");
  }

  @Test
  void aFolderWithOrdinarySettingsIsSilent() throws IOException {
    assertThat(warnings()).isEmpty();
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        """
        {"add_bos_token": false, "add_prefix_space": false, "model_max_length": 1024,
         "bos_token": {"__type": "AddedToken", "content": "<|endoftext|>", "normalized": true},
         "clean_up_tokenization_spaces": false, "errors": "replace", "pad_token": null,
         "tokenizer_class": "GPT2Tokenizer", "chat_template": "{{ x }}", "backend": "tokenizers"}
        """);
    Files.writeString(
        folder.resolve("special_tokens_map.json"), "{\"unk_token\": \"<|endoftext|>\"}");
    Files.writeString(folder.resolve("added_tokens.json"), "{\"[SEP]\": %d}".formatted(SIZE));
    assertThat(warnings()).isEmpty();
    assertThat(encode("[SEP]")).containsExactly(SIZE);
  }

  @Test
  void anEmptyTextHasNoTokensButThoseAroundIt() throws IOException {
    assertThat(encode("")).isEmpty();
    Files.writeString(
        folder.resolve("tokenizer_config.json"), "{\"add_bos_token\": true, \"bos_token\": \"!\"}");
    assertThat(encode("")).containsExactly(0);
  }

  @Test
  void whatOfTokenizerJsonIsNotUsedIsSaid() throws IOException {
    ObjectNode whole = Json.object(FROM.resolve("tokenizer.json"));
    whole.withObject("pre_tokenizer").put("add_prefix_space", true);
    whole.putObject("normalizer").put("type", "Lowercase");
    whole.withObject("model").put("ignore_merges", true);
    whole.put("extra", 1);
    Files.writeString(folder.resolve("tokenizer.json"), whole.toString());
    Files.writeString(folder.resolve("tokenizer_config.json"), "{\"add_bos_token\": true}");
    assertThat(warnings())
        .hasSize(5)
        .anyMatch(line -> line.contains("\"extra\""))
        .anyMatch(line -> line.contains("key model.ignore_merges is not used"))
        .anyMatch(line -> line.contains("key normalizer is not used"))
        .anyMatch(line -> line.contains("key pre_tokenizer.add_prefix_space is not used"))
        .anyMatch(line -> line.contains("add_bos_token has no effect beside tokenizer.json"));
    // As it is, nothing of it is left out.
    Files.writeString(
        folder.resolve("tokenizer_config.json"), "{\"tokenizer_class\": \"TokenizersBackend\"}");
    assertThat(warnings())
        .hasSize(2)
        .anyMatch(line -> line.contains("\"extra\""))
        .anyMatch(line -> line.contains("[PAD] is not in the vocabulary")); // of its padding
    assertThat(encode("THE")).isEqualTo(encode(" the"));
  }

  @Test
  void tokenizerJsonOfOtherModelsIsRefused() throws IOException {
    ObjectNode whole = Json.object(FROM.resolve("tokenizer.json"));
    whole.withObject("model").put("type", "WordPiece");
    Files.writeString(folder.resolve("tokenizer.json"), whole.toString());
    assertRefused("the model is WordPiece");
    whole.withObject("model").put("type", "BPE").remove("merges");
    Files.writeString(folder.resolve("tokenizer.json"), whole.toString());
    assertRefused("without vocab or merges");
    whole = Json.object(FROM.resolve("tokenizer.json"));
    whole.withObject("model").put("dropout", 0.1);
    Files.writeString(folder.resolve("tokenizer.json"), whole.toString());
    Files.writeString(
        folder.resolve("tokenizer_config.json"), "{\"tokenizer_class\": \"TokenizersBackend\"}");
    assertRefused("model.dropout is set");
    whole.withObject("model").putNull("dropout");
    whole.putArray("added_tokens").addObject().put("content", "x");
    Files.writeString(folder.resolve("tokenizer.json"), whole.toString());
    assertRefused("the id of the token \"x\" is missing");
  }

  private void assertRefused(String message) {
    assertThatThrownBy(this::warnings)
        .isInstanceOf(InputException.class)
        .hasMessageContaining(message)
        .hasMessageContaining(folder.toString());
  }

  @Test
  void aPromptThatIsCutIsSaid() throws IOException {
    ObjectNode vocabulary = Json.object(FROM.resolve("vocab.json"));
    new ArrayList<>(vocabulary.properties())
        .forEach(entry -> vocabulary.put(entry.getKey() + "</w>", vocabulary.size()));
    Files.writeString(folder.resolve("vocab.json"), vocabulary.toString());
    try (ClipTokenizer tokenizer = ClipTokenizer.open(folder, 5)) {
      assertThat(tokenizer.warnings()).singleElement().asString().contains("<|startoftext|>");
      tokenizer.encode(List.of("! ! !"));
      assertThat(tokenizer.warnings()).hasSize(1);
      tokenizer.encode(List.of("! ! ! ?"));
      assertThat(tokenizer.warnings().getLast())
          .contains("\"! ! ! ?\" is longer than the 5 tokens");
    }
  }

  @Test
  void everyKeyIsStatedOnce() {
    assertThat(
            List.of(
                TokenizerFiles.CONFIG_KEYS,
                TokenizerFiles.SPECIAL_TOKENS_KEYS,
                TokenizerFiles.WHOLE_KEYS))
        .allSatisfy(keys -> assertThat(keys.treatments()).isNotEmpty())
        .extracting(SettingsKeys::file)
        .isSubsetOf(TokenizerFiles.NAMES);
    assertThat(TokenizerFiles.CONFIG_KEYS.treatments())
        .containsKeys(TokenizerFiles.NAMED.toArray(String[]::new));
  }
}
