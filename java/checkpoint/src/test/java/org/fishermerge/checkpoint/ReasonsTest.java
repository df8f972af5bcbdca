package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.EOFException;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What users are told of failures in libraries and the system. */
final class ReasonsTest {
  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{                    | it ends in the middle",
        "{\"a\": nul}         | unexpected word \"nul\"",
        "{'a': 1}             | unexpected character",
        "{\"a\": 1,}          | unexpected character",
        "// comment           | unexpected character",
        "{\"a\": 01}          | a number is not written as JSON has it",
        "{\"a\": .5}          | unexpected character",
        "{\"a\": 1.}          | line 1",
        "{\"a\": -}           | line 1",
        "{\"a\": +1}          | unexpected character",
        "{\"a\": 0x1}         | line 1",
        "{\"a\": \"\\q\"}       | an escape",
        "{\"a\": \"\\u12\"}     | line 1",
        "{\"a\": \"x\ty\"}      | a control character",
        "{\"a\": 1, \"a\": 2}   | duplicate key \"a\"",
        "[1 2]                | unexpected character",
        "[1}                  | line 1",
        "{\"a\" 1}            | unexpected character",
        "{\"x                 | it ends in the middle",
        "<html></html>        | unexpected character",
        "NONE                 | unexpected word",
        "NESTED               | nested too deep",
        "LONG                 | too long",
      })
  void brokenJsonInPlainWords(String text, String reason) {
    String json = text.replace("NESTED", "[".repeat(2000)).replace("LONG", "9".repeat(2000));
    assertThatThrownBy(() -> readAll(json))
        .isInstanceOfSatisfying(
            JsonProcessingException.class,
            e ->
                assertThat(Reasons.of(e))
                    .contains(reason)
                    .doesNotContainPattern(
                        "Feature|[a-z]\\.[A-Z]|CTRL|non-standard|code \\d|Stream"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"{\"a\": NaN}", "[Infinity, -Infinity]", "{\"a\": [1e-3, NaN]}"})
  void whatPythonWritesIsRead(String json) throws IOException {
    assertThat(readAll(json)).isPositive();
  }

  private static int readAll(String json) throws IOException {
    int tokens = 0;
    try (JsonParser parser = InputFiles.JSON.createParser(json)) {
      while (parser.nextToken() != null) {
        if (parser.currentToken().isNumeric()) {
          tokens += Double.isNaN(parser.getDoubleValue()) ? 2 : 1;
        }
      }
    }
    return tokens;
  }

  @Test
  void namesOfClassesAreLeftOut() {
    assertThat(Reasons.of(new EOFException())).isEqualTo("it ends too early");
    assertThat(Reasons.of(new IOException())).isEqualTo("the system reports an error");
    assertThat(Reasons.of(new IOException("No space left on device")))
        .isEqualTo("No space left on device");
    assertThat(Reasons.of(new AccessDeniedException("/x"))).isEqualTo("permission denied");
    assertThat(Reasons.of(new FileSystemException("/x", null, "File name too long")))
        .isEqualTo("File name too long");
    assertThat(Reasons.of(new IllegalStateException("java.io.IOException: page is short")))
        .isEqualTo("page is short");
    assertThat(
            Reasons.of(new RuntimeException("Snappy needs org.x.Snappy, add the dependency x:y")))
        .isEqualTo("Snappy needs");
    assertThat(Reasons.of(new NullPointerException())).isEqualTo("it is damaged");
    assertThat(Reasons.of(new StackOverflowError())).isEqualTo("it is nested too deep");
  }
}
