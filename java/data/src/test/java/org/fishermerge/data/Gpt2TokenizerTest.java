package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.testkit.Golden;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Against transformers' GPT2Tokenizer, called as FusionBench calls it. */
final class Gpt2TokenizerTest {
  static final Path FOLDER = Golden.path("gpt2-tokenizer");

  @TempDir Path folder;

  /** A text or a pair, and its ids. */
  record Case(String first, @Nullable String second, long[] ids) {
    static List<Case> all() {
      List<Case> cases = new ArrayList<>();
      try {
        JsonNode root = Json.MAPPER.readTree(Files.readString(FOLDER.resolve("cases.json")));
        for (JsonNode node : root) {
          long[] ids = new long[node.get("ids").size()];
          for (int i = 0; i < ids.length; i++) {
            ids[i] = node.get("ids").get(i).longValue();
          }
          JsonNode second = node.get("second");
          cases.add(
              new Case(
                  node.get("first").textValue(), second.isNull() ? null : second.textValue(), ids));
        }
      } catch (IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
      return cases;
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tokenizer.json", "vocab.json merges.txt"})
  void matchesTransformers(String files) throws IOException {
    for (String file : files.split(" ", -1)) {
      Files.copy(FOLDER.resolve(file), folder.resolve(file));
    }
    List<Case> cases = Case.all();
    assertThat(cases).hasSize(20);
    assertThat(cases.stream().filter(c -> c.ids().length == 512)).hasSize(5);
    try (Gpt2Tokenizer tokenizer = Gpt2Tokenizer.open(folder, 512)) {
      for (Case one : cases) {
        assertThat(tokenizer.encode(one.first(), one.second()))
            .as("%s + %s", one.first(), one.second())
            .isEqualTo(one.ids());
      }
    }
  }

  @Test
  void aFolderWithoutATokenizerIsRefused() {
    assertThatThrownBy(() -> Gpt2Tokenizer.open(folder, 512))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(folder + ": no tokenizer: neither tokenizer.json nor vocab.json");
  }

  @Test
  void aFileThatIsNoneOrThatADownloadNamesElsewhereIsRefused() throws Exception {
    Path snapshot = Files.createDirectories(folder.resolve("models--org--name/snapshots/0123"));
    Path link = snapshot.resolve("tokenizer.json");
    Files.createSymbolicLink(link, FOLDER.resolve("tokenizer.json").toAbsolutePath());
    assertThatThrownBy(() -> Gpt2Tokenizer.open(snapshot, 512))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(link.toString(), "leads out of its repository");
    Path file = folder.resolve("tokenizer.json");
    Files.createSymbolicLink(file, FOLDER.resolve("tokenizer.json").toAbsolutePath());
    Gpt2Tokenizer.open(folder, 512).close();
    Files.delete(file);
    assertThat(new ProcessBuilder("mkfifo", file.toString()).start().waitFor()).isZero();
    assertThatThrownBy(() -> Gpt2Tokenizer.open(folder, 512))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(file.toString(), "pipe");
    Files.delete(file);
    Files.write(file, new byte[] {'{', '"', (byte) 0xe9, '"', ':', '1', '}'});
    assertThatThrownBy(() -> Gpt2Tokenizer.open(folder, 512))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(file.toString(), "not valid UTF-8");
  }
}
