package org.fishermerge.embedded;

import static org.assertj.core.api.Assertions.assertThat;

import org.fishermerge.testkit.ReadmeExample;
import org.junit.jupiter.api.Test;

/** The README shows the very lines that EmbeddedJarIT runs. */
final class ReadmeTest {
  @Test
  void quotesTheEmbeddingExample() {
    assertThat(
            ReadmeExample.quoted(
                "src/test/resources/org/fishermerge/embedded/EmbeddingExample.java"))
        .contains("MergeSession.open");
  }
}
