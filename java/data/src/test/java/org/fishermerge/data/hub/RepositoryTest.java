package org.fishermerge.data.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import org.fishermerge.checkpoint.InputException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class RepositoryTest {
  @ParameterizedTest
  @ValueSource(
      strings = {"gpt2", "openai/clip-vit-base-patch32", "tanganke/gpt2_cola", "a/B.c_d-1", "0/1"})
  void idsOfTheHub(String id) {
    assertThat(Repository.model(id)).isEqualTo(new Repository(Repository.Kind.MODEL, id, "main"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "/",
        "a/",
        "/a",
        "a/b/c",
        "../a",
        "a/..",
        "a--b",
        "a b",
        "a\\b",
        "-a",
        "a-",
        "a/.b",
        "C:a",
        "a@",
        "a@../b",
        "a@b//c",
        "a@/b",
        "a@b\\c",
        "a@-b",
        "datasets/a/b",
        "https://x/a"
      })
  void whatCannotBeOne(String id) {
    assertThatThrownBy(() -> Repository.model(id))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("'");
  }

  @Test
  void revisions() {
    assertThat(Repository.dataset("org/name@refs/convert/parquet"))
        .isEqualTo(new Repository(Repository.Kind.DATASET, "org/name", "refs/convert/parquet"))
        .hasToString("data set org/name (revision refs/convert/parquet)");
    assertThat(Repository.model("a").at("v1.0").isCommit()).isFalse();
    assertThat(Repository.model("a").at("0123456789abcdef0123456789abcdef01234567").isCommit())
        .isTrue();
  }

  @ParameterizedTest
  @CsvSource({
    "a, true",
    "a/b.c, true",
    "a..b, true",
    "'', false",
    "., false",
    ".., false",
    "/a, false",
    "a//b, false",
    "a/, false",
    "a/../b, false",
    "a/../../b, false",
    "..\\a, false",
    "a\\b, false",
    "C:a, false",
    "C:/a, false",
    "//host/a, false"
  })
  void namesOfFiles(String name, boolean safe) {
    Path folder = Path.of("folder");
    if (safe) {
      assertThat(FileNames.resolve(folder, name)).isEqualTo(folder.resolve(name));
    } else {
      assertThatThrownBy(() -> FileNames.resolve(folder, name))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("'" + name + "'");
    }
  }
}
