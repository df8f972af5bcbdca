package org.fishermerge.torch.arch;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class ArchitecturesTest {
  @TempDir Path folder;

  /** A file that changes in between would otherwise be read as two models. */
  @ParameterizedTest
  @ValueSource(strings = {"bert-tiny/two", "roberta-tiny/four", "vit-tiny/two", "gpt2-tiny/cola"})
  void aConfigurationIsReadOnceForEachModel(String name) throws IOException {
    for (String file : List.of("config.json", "model.safetensors")) {
      Files.copy(Golden.path(name).resolve(file), folder.resolve(file));
    }
    try (Checkpoint model = Checkpoint.open(folder)) {
      boolean text = Architectures.text(model).isPresent();
      Files.delete(folder.resolve("config.json"));
      if (text) {
        try (TextClassifier classifier = Architectures.text(model).orElseThrow().load(model)) {
          assertThat(classifier.classCount()).isGreaterThan(1);
        }
      } else {
        try (ImageClassifier classifier = Architectures.image(model).orElseThrow().load(model)) {
          assertThat(classifier.classCount()).isGreaterThan(1);
        }
      }
      assertThat(Architectures.classNames(model).map(List::size).orElse(2)).isGreaterThan(1);
    }
  }
}
