package org.fishermerge.estimate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class ClassPromptsTest {
  @TempDir Path folder;

  @Test
  void readsOneTemplateListForAllTasks() {
    ClassPrompts prompts = ClassPrompts.parse(Golden.path("clip-tiny/tasks.json") + ":alpha");
    assertThat(prompts.classNames()).containsExactly("cat", "dog", "big red bus");
    assertThat(prompts.prompts("big red bus"))
        .containsExactly("a photo of a big red bus.", "a blurry picture of the big red bus.");
    assertThat(prompts.origin()).endsWith("tasks.json:alpha");
  }

  @ParameterizedTest(name = "{0}")
  @ValueSource(
      strings = {
        """
        {"classnames": {"one": ["x"], "two": ["red", "blue"]},
         "templates": {"one": ["-{}-"], "two": ["a {}", "{c} and {c}, {}"]}}\
        """,
        """
        {"tasks": {"one": {"classnames": ["x"], "templates": ["-{}-"]},
         "two": {"classnames": ["red", "blue"], "templates": ["a {}", "{c} and {c}, {}"]}}}\
        """
      })
  void readsTemplatesByTask(String json) throws IOException {
    ClassPrompts prompts = ClassPrompts.parse(file(json) + ":two");
    assertThat(prompts.classNames()).containsExactly("red", "blue");
    assertThat(prompts.prompts("blue")).containsExactly("a blue", "blue and blue, blue");
    assertThat(ClassPrompts.parse(file(json) + ":one").prompts("x")).containsExactly("-x-");
  }

  @Test
  void theOnlyTaskNeedsNoName() throws IOException {
    Path file = file("{\"classnames\": {\"only\": [\"a\", \"b\"]}, \"templates\": [\"{}\"]}");
    assertThat(ClassPrompts.parse(file.toString()).origin()).isEqualTo(file + ":only");
  }

  @Test
  void aClassNameMayLookLikeAPlaceholder() throws IOException {
    Path file = file("{\"classnames\": {\"t\": [\"{}x\", \"{c}\"]}, \"templates\": [\"a {c}\"]}");
    ClassPrompts prompts = ClassPrompts.parse(file.toString());
    assertThat(prompts.prompts("{}x")).containsExactly("a {}x");
    assertThat(prompts.prompts("{c}")).containsExactly("a {c}");
  }

  @Test
  void aFileWhoseNameHasAColonIsAFile() throws IOException {
    Path file = folder.resolve("odd:name.json");
    Files.writeString(file, "{\"classnames\": {\"t\": [\"a\"]}, \"templates\": [\"{}\"]}");
    assertThat(ClassPrompts.parse(file.toString()).classNames()).containsExactly("a");
    assertThat(ClassPrompts.parse(file + ":t").classNames()).containsExactly("a");
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{                                                | t    | not readable as JSON",
        "`{\"classnames\": {}, \"classnames\": {}}`       | t    | duplicate key \"classnames\"",
        "[]                                               | t    | \"classnames\" or \"tasks\"",
        "{}                                               | t    | \"classnames\" or \"tasks\"",
        "{\"classnames\": {}}                             | t    | \"classnames\" or \"tasks\"",
        "{\"classnames\": [\"a\"]}                        | t    | \"classnames\" or \"tasks\"",
        "{\"classnames\": {\"a\": [\"x\"], \"b\": [\"y\"]}} | t  | no task \"t\"; it has [a, b]",
        "{\"classnames\": {\"a\": [\"x\"], \"b\": [\"y\"]}} | `` | choose one, as in",
        "{\"classnames\": {\"t\": []}}                    | t    | class names must be",
        "{\"classnames\": {\"t\": [1]}}                   | t    | class names must be",
        "{\"classnames\": {\"t\": \"x\"}}                 | t    | class names must be",
        "{\"classnames\": {\"t\": [\"x\"]}}               | t    | templates must be",
        "{\"classnames\": {\"t\": [\"x\"]}, \"templates\": []}         | t | templates must be",
        "{\"classnames\": {\"t\": [\"x\"]}, \"templates\": {\"u\": [\"{}\"]}} | t | templates must",
        "{\"classnames\": {\"t\": [\"x\"]}, \"templates\": [\"a photo\"]} | t | \"a photo\"",
        "{\"tasks\": {\"t\": {\"classnames\": [\"x\"]}}}  | t    | templates must be",
        "{\"tasks\": {\"t\": {\"templates\": [\"{}\"]}}}  | t    | class names must be",
      })
  void refusesWhatItCannotUse(String json, String task, String fragment) throws IOException {
    Path file = file(json);
    assertThatThrownBy(
            () -> ClassPrompts.parse(task.isEmpty() ? file.toString() : file + ":" + task))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(file.toString())
        .hasMessageContaining(fragment)
        .hasMessageNotContaining("\n")
        .hasMessageNotContaining("REDACTED");
  }

  @Test
  void refusesAFileThatIsNotThere() {
    Path file = folder.resolve("none.json");
    assertThatThrownBy(() -> ClassPrompts.parse(file + ":t"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(file + ": no such file");
  }

  private Path file(String json) throws IOException {
    return Files.writeString(folder.resolve("classes.json"), json);
  }

  /** Hashes of the prompts that FusionBench fills in, class by class, joined by line breaks. */
  @ParameterizedTest(name = "{0}")
  @CsvSource({
    "sun397, 397, 648e692ebcd209857eb05ffaecf281714a51b138a2b84c4144b3ba97c38bdb29",
    "stanford-cars, 196, fa946393ddaf7b191070c96a09986c3b38f29d545077b54f5e26aa9d087e583e",
    "resisc45, 45, a8661b4cd9e8fbfaf2e76e1c46f23a8e09a72d1c5a1e84ac6afae4683ebc2240",
    "eurosat, 10, 99fbe9adf20418346208daf1082fba8c9103c3490705b5cea6669a1ac0155476",
    "svhn, 10, dcc706e3edbf51e4760f723154df228f7d4a11ff369a4ac19e4afba31b8d2723",
    "gtsrb, 43, 083cf4a2e298a13a6170b83ec9319031b63b13f3b7638a26380584c2119fcc02",
    "mnist, 10, dcc706e3edbf51e4760f723154df228f7d4a11ff369a4ac19e4afba31b8d2723",
    "dtd, 47, 8eb97c8c374a2304016e632552b8f95216016804854c58198d3cc59ddbb97662",
  })
  void builtInPromptsAreFusionBenchs(String task, int classes, String sha256) throws Exception {
    ClassPrompts prompts = ClassPrompts.builtIn(task).orElseThrow();
    assertThat(prompts.classNames()).hasSize(classes);
    String all =
        prompts.classNames().stream()
            .flatMap(name -> prompts.prompts(name).stream())
            .collect(Collectors.joining("\n"));
    byte[] hash = MessageDigest.getInstance("SHA-256").digest(all.getBytes(StandardCharsets.UTF_8));
    assertThat(HexFormat.of().formatHex(hash)).isEqualTo(sha256);
    assertThat(ClassPrompts.builtInTasks()).contains(task).hasSize(8);
  }
}
