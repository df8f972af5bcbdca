package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/** The README shows the very lines that EmbeddedJarIT runs. */
final class ReadmeTest {
  @Test
  void quotesTheEmbeddingExample() throws IOException {
    String example;
    try (InputStream in =
        Objects.requireNonNull(ReadmeTest.class.getResourceAsStream("EmbeddingExample.java"))) {
      example = new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
    String begin = "// example-begin\n";
    String lines =
        example
            .substring(
                example.indexOf(begin) + begin.length(), example.indexOf("    // example-end"))
            .stripTrailing()
            .stripIndent();
    Path readme = Path.of(System.getProperty("basedir", ".")).resolve("../../README.md");
    assertThat(lines).contains("MergeSession.open");
    assertThat(Files.readString(readme)).contains("```java\n" + lines + "\n```");
  }
}
