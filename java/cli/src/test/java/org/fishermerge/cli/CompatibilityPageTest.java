package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.LoraAdapter;
import org.fishermerge.checkpoint.SettingsKeys;
import org.fishermerge.checkpoint.SettingsKeys.Treatment;
import org.fishermerge.data.ImageProcessor;
import org.fishermerge.data.TokenizerFiles;
import org.fishermerge.merge.Compatibility;
import org.fishermerge.torch.arch.Architectures;
import org.fishermerge.torch.arch.ClipConfig;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * docs/compatibility.md says of every key what the code does about it. A table of the page is made
 * of the lines {@code | treatment | keys |} below the heading that is the file's name here.
 */
final class CompatibilityPageTest {
  private static final Path PAGE = Path.of("../../docs/compatibility.md");

  /** All that readers of settings files state; a new reader adds its own here. */
  private static final List<SettingsKeys> ALL =
      Stream.concat(
              Stream.of(
                  ClipConfig.KEYS,
                  ClipConfig.VISION_KEYS,
                  ClipConfig.TEXT_KEYS,
                  Compatibility.CONFIG_KEYS,
                  Compatibility.PICTURE_KEYS,
                  Compatibility.TOKENIZER_KEYS,
                  ImageProcessor.PROCESSOR_SETTINGS,
                  ImageProcessor.SETTINGS,
                  TokenizerFiles.CONFIG_KEYS,
                  TokenizerFiles.SPECIAL_TOKENS_KEYS,
                  TokenizerFiles.WHOLE_KEYS,
                  LoraAdapter.KEYS),
              Architectures.keys().stream())
          .toList();

  private static final Pattern ROW = Pattern.compile("\\| (honoured|ignored|refused) \\| (.*) \\|");
  private static final Pattern KEY = Pattern.compile("`([^`]+)`");

  static Stream<SettingsKeys> all() {
    return ALL.stream();
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("all")
  void thePageSaysWhatTheCodeDoes(SettingsKeys keys) throws IOException {
    Map<String, String> expected = new TreeMap<>();
    keys.treatments().forEach((key, treatment) -> expected.put(key, treatment.text()));
    assertThat(table(keys.file()))
        .as(
            "docs/compatibility.md below the heading \"## %s\"; the table should be%n%n%s%n",
            keys.file(), expectedTable(keys))
        .isEqualTo(expected);
  }

  @Test
  void everyTableOfThePageIsOfAFile() throws IOException {
    List<String> known = ALL.stream().map(SettingsKeys::file).toList();
    List<String> headings =
        Files.readAllLines(PAGE).stream()
            .filter(line -> line.startsWith("## "))
            .map(line -> line.substring(3))
            .toList();
    assertThat(headings).containsExactlyInAnyOrderElementsOf(known);
  }

  private static Map<String, String> table(String heading) throws IOException {
    Map<String, String> found = new TreeMap<>();
    boolean inside = false;
    for (String line : Files.readAllLines(PAGE)) {
      if (line.startsWith("## ")) {
        inside = line.substring(3).equals(heading);
      }
      Matcher row = ROW.matcher(line);
      if (inside && row.matches()) {
        Matcher key = KEY.matcher(row.group(2));
        while (key.find()) {
          assertThat(found.put(key.group(1), row.group(1))).as("%s twice", key.group(1)).isNull();
        }
      }
    }
    return found;
  }

  private static String expectedTable(SettingsKeys keys) {
    StringBuilder table = new StringBuilder("| | keys |\n|---|---|\n");
    for (Treatment treatment : Treatment.values()) {
      TreeSet<String> names = new TreeSet<>();
      keys.treatments()
          .forEach((key, its) -> {
            if (its == treatment) {
              names.add("`" + key + "`");
            }
          });
      if (!names.isEmpty()) {
        table
            .append("| ")
            .append(treatment.text())
            .append(" | ")
            .append(names.stream().collect(Collectors.joining(", ")))
            .append(" |\n");
      }
    }
    return table.toString();
  }
}
