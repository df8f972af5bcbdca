package org.fishermerge.data.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.hub.Repository.Kind;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Names of the hub, told from paths. */
final class HubNameTest {
  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({
    "gpt2, gpt2, main, ''",
    "openai/clip-vit-base-patch32, openai/clip-vit-base-patch32, main, ''",
    "a/b@v1, a/b, v1, ''",
    "a/b@v1/sub/folder, a/b, v1, sub/folder",
    "a/b@v1/sub/, a/b, v1, sub",
    "a/b@v1/f.safetensors, a/b, v1, f.safetensors",
    "a/b@refs/pr/3, a/b, refs/pr/3, ''",
    "a/b@refs/pr/3/sub, a/b, refs/pr/3, sub",
    "a/b@refs/convert/parquet, a/b, refs/convert/parquet, ''",
    "a/b@feature%2Fx/sub, a/b, feature/x, sub",
    "hf://a/b, a/b, main, ''",
    "hf:/a/b/sub, a/b, main, sub",
    "hf://datasets/a/b/sub@x, a/b, main, sub@x",
    "hf://a/b@v2/f.safetensors, a/b, v2, f.safetensors",
    "a/b.c-d_e, a/b.c-d_e, main, ''"
  })
  void names(String text, String id, String revision, String path) {
    Kind kind = text.contains("datasets") ? Kind.DATASET : Kind.MODEL;
    assertThat(HubName.parse(kind, text))
        .contains(new HubName(new Repository(kind, id, revision), path));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        ".",
        "..",
        "./a/b",
        "../a",
        "/a/b",
        "~/a",
        "a/b/c",
        "a/b/",
        "a/.b",
        "a b/c",
        "a.bin",
        "a/b.safetensors",
        "model.GGUF",
        "a/b.parquet",
        "a//b",
        "-a/b",
        "a+b/c"
      })
  void paths(String text) {
    assertThat(HubName.parse(Kind.MODEL, text)).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"a/b@", "a/b@v/../x", "hf://a b", "a/b@v1/sub//x", "a/b@-x", "a--b/c"})
  void mistakes(String text) {
    assertThatThrownBy(() -> HubName.parse(Kind.MODEL, text)).isInstanceOf(InputException.class);
  }

  @Test
  void writtenNamesAreReadAgain() {
    assertThat(HubName.write("a/b", null, null)).isEqualTo("a/b");
    assertThat(HubName.write("a/b", "main", null)).isEqualTo("a/b");
    assertThat(HubName.write("a/b", null, "./sub/")).isEqualTo("a/b@main/sub");
    assertThat(HubName.write("a/b", "refs/pr/3", "sub")).isEqualTo("a/b@refs/pr/3/sub");
    assertThat(HubName.write("a/b", "x/y", null)).isEqualTo("a/b@x%2Fy");
    // A folder on this machine has sub-folders and no revisions.
    assertThat(HubName.write(folder.toString(), "v1", "sub")).isEqualTo(folder + "/sub");
  }
}
