package org.fishermerge.estimate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.regex.Pattern;
import org.fishermerge.data.files.DatasetSplit;
import org.fishermerge.data.files.LocalData;
import org.fishermerge.data.files.SplitSlice;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What docs/data.md shows is so. */
final class DataPageTest {
  private static final Path PAGE = Path.of("../../docs/data.md");

  @TempDir Path folder;

  private static List<String> blocks(String language) throws IOException {
    return Pattern.compile("(?s)```(\\w*)\\n(.*?)```")
        .matcher(Files.readString(PAGE))
        .results()
        .filter(block -> block.group(1).equals(language))
        .map(block -> block.group(2))
        .toList();
  }

  private static List<String> code(String pattern) throws IOException {
    return Pattern.compile("`(" + pattern + ")`")
        .matcher(Files.readString(PAGE))
        .results()
        .map(match -> match.group(1))
        .toList();
  }

  @Test
  void classFiles() throws IOException {
    List<String> blocks = blocks("json");
    assertThat(blocks).hasSize(2);
    for (String block : blocks) {
      Path file = Files.writeString(folder.resolve("classes.json"), block);
      ClassPrompts prompts = ClassPrompts.parse(file + ":pets");
      assertThat(prompts.classNames()).containsExactly("cat", "dog", "guinea pig");
      assertThat(prompts.prompts("cat")).startsWith("a photo of a cat.");
    }
  }

  @Test
  void builtInLists() throws IOException {
    assertThat(Files.readString(PAGE))
        .contains(String.join(", ", ClassPrompts.builtInTasks()) + ".");
  }

  @Test
  void partsOfSplits() throws IOException {
    List<String> written = code("#(?:all|[a-z]+\\[[^`]*)");
    assertThat(written).hasSize(5);
    written.forEach(text -> assertThat(SplitSlice.parse(text.substring(1))).isNotEmpty());
    assertThat(code("train\\[[^`]*")).allSatisfy(text -> SplitSlice.parse(text));
    assertThat(LocalData.Named.parse("FOLDER#mnli/train").configuration()).isEqualTo("mnli");
  }

  @Test
  void foldersOfPictures() throws IOException {
    String tree =
        blocks("").stream()
            .filter(block -> block.startsWith("pictures/"))
            .findFirst()
            .orElseThrow();
    for (String name : tree.strip().lines().toList()) {
      Path file = folder.resolve(name);
      Files.createDirectories(Objects.requireNonNull(file.getParent()));
      Files.writeString(file, "");
    }
    assertThat(
            new DatasetSplit("pictures", null, "test")
                .inFolder(folder.resolve("pictures"))
                .splits()
                .getFirst()
                .classes())
        .containsExactly("cat", "dog");
    assertThat(blocks("csv")).singleElement().asString().startsWith("file_name,label\n");
  }
}
