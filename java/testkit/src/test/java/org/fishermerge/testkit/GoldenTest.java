package org.fishermerge.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

final class GoldenTest {
  @Test
  void unpacksFilesAndFolders() {
    assertThat(Golden.path("clip-tiny/alpha/model.safetensors")).isRegularFile();
    assertThat(Golden.path("clip-tiny/pretrained/tokenizer.json")).content().startsWith("{");
  }

  @Test
  void namesWhatIsMissing() {
    assertThatThrownBy(() -> Golden.path("clip-tiny/delta"))
        .hasMessageContaining("clip-tiny/delta");
  }
}
