package org.fishermerge.data.files;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Patterns of data set cards. */
final class GlobTest {
  @ParameterizedTest
  @CsvSource({
    "data/train-*, data/train-0.parquet, true",
    "data/train-*, data/train-0/x.parquet, false",
    "**, a/b/c, true",
    "**/x, x, true",
    "**/x, a/b/x, true",
    "a/**/x, a/x, true",
    "a.b, axb, false",
    "a?b, a/b, false",
    "[ab]x, bx, true",
    "[!ab]x, bx, false",
    "[a-c]x, bx, true",
    "[x, [x, true",
    "a(b)+, a(b)+, true"
  })
  void globs(String glob, String name, boolean matches) {
    assertThat(Glob.compile(glob).matcher(name).matches()).isEqualTo(matches);
  }
}
