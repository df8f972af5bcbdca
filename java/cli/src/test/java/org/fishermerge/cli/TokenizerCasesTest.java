package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Folders of GPT-2 whose tokenizers have settings of their own. */
final class TokenizerCasesTest {
  private static final Pattern LOSS = Pattern.compile("loss (\\d\\.\\d{6})\\b");

  @TempDir Path folder;

  private Path copy() {
    return Cases.copy("case-07", folder);
  }

  private static CommandResult evaluate(Path copy, String model) {
    return CommandResult.run("evaluate", "--model", copy + "/" + model, "--data", copy + "/texts");
  }

  /** Losses by transformers; the last digit is that of fp32's sums, whose order is libtorch's. */
  @ParameterizedTest
  @CsvSource({
    "prefix-space, 1.178131",
    "bos, 0.540009",
    "truncate-left, 1.059646",
    "added-token, 1.055353"
  })
  void settingsCountAsInTransformers(String model, double loss) {
    Matcher found = LOSS.matcher(evaluate(copy(), model).succeeds().out());
    assertThat(found.find()).isTrue();
    assertThat(Double.parseDouble(found.group(1))).isCloseTo(loss, within(2e-6));
  }

  @Test
  void aTokenBeyondTheEmbeddingsIsNamed() throws IOException {
    Path copy = copy();
    Path model = copy.resolve("added-token");
    // [SEP] is the second of two tokens then, and the model has an embedding for one.
    Files.writeString(model.resolve("added_tokens.json"), "{\"[ABC]\": 265, \"[SEP]\": 266}");
    evaluate(copy, "added-token")
        .fails(1, "has id 266", "vocabulary is 0 to 265", "added tokens", "texts");
  }

  @Test
  void paddingOnTheLeftIsRefused() throws IOException {
    Path copy = copy();
    Path config = copy.resolve("bos/tokenizer_config.json");
    Files.writeString(config, "{\"padding_side\": \"left\"}");
    evaluate(copy, "bos").fails(1, config + ": padding_side is left");
  }

  @Test
  void anotherPadTokenThanTheModelsIsSaid() throws IOException {
    Path copy = copy();
    Files.writeString(
        copy.resolve("bos/tokenizer_config.json"), "{\"pad_token\": \"!\", \"my_key\": 1}");
    CommandResult result = evaluate(copy, "bos");
    assertThat(result.code()).isZero();
    assertThat(result.err())
        .contains("warning: " + copy + "/bos: pad_token_id is 264, the tokenizer pads with 33")
        .contains("a key is not known here and taken not to matter: \"my_key\"");
  }
}
