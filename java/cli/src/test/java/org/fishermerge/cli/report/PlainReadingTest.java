package org.fishermerge.cli.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is measured depends on the machine; when it is measured does not. */
final class PlainReadingTest {
  private static final long MUCH = 1_000_000_000;

  @TempDir Path folder;

  private Path file(String name, int bytes) throws IOException {
    return Files.write(folder.resolve(name), new byte[bytes]);
  }

  @Test
  void readsFilesOfLongMerges() throws IOException {
    List<Path> files = List.of(file("a", 3 << 20), file("b", 0), file("c", 3 << 20));
    assertThat(PlainReading.rate(files, MUCH, 1000)).isPositive().isFinite();
  }

  @Test
  void saysNothingOfMergesThatReadLittle() throws IOException {
    assertThat(PlainReading.rate(List.of(file("a", 3 << 20)), MUCH / 10, 1000)).isNull();
  }

  /** A rate of a few bytes would be that of opening a file. */
  @Test
  void saysNothingWhereThereIsLittleToRead() throws IOException {
    assertThat(PlainReading.rate(List.of(file("a", 1000)), MUCH, 1000)).isNull();
    assertThat(PlainReading.rate(List.of(), MUCH, 1000)).isNull();
  }

  @Test
  void saysNothingWhereTimeIsShort() throws IOException {
    assertThat(PlainReading.rate(List.of(file("a", 3 << 20)), MUCH, 0)).isNull();
  }

  @Test
  void saysNothingOfFilesThatAreGone() {
    assertThat(PlainReading.rate(List.of(folder.resolve("gone")), MUCH, 1000)).isNull();
  }
}
