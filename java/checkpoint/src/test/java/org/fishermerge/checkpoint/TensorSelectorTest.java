package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TensorSelectorTest {
  @ParameterizedTest
  @CsvSource({
    "a.safetensors, a.safetensors, ''",
    "a.safetensors#, a.safetensors, ''",
    "a.safetensors#alpha., a.safetensors, alpha.",
    "a.safetensors#a#b., a.safetensors, a#b.",
    "run#3/a.safetensors#alpha., run#3/a.safetensors, alpha.",
    "run#3/a.safetensors, run#3/a.safetensors, ''",
    "data#3, data#3, ''",
  })
  void splits(String text, String file, String prefix) {
    assertThat(TensorSelector.parse(text)).isEqualTo(new TensorSelector(Path.of(file), prefix));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", " ", "\0"})
  void refusesWhatIsNoPath(String text) {
    assertThatThrownBy(() -> TensorSelector.parse(text)).isInstanceOf(InputException.class);
  }

  @Test
  void selectsByPrefix() {
    Path path = Golden.path("clip-tiny/expected.safetensors");
    SafetensorsHeader header = SafetensorsHeader.read(path);
    assertThat(TensorSelector.parse(path + "#alpha.").select(header))
        .containsKeys("pixel_values", "labels", "logits")
        .hasSizeLessThan(header.tensors().size());
    assertThat(TensorSelector.parse(path.toString()).select(header)).isEqualTo(header.tensors());
    assertThatThrownBy(() -> TensorSelector.parse(path + "#alhpa.").select(header))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll(path.toString(), "\"alhpa.\"", "nearest names are");
  }
}
