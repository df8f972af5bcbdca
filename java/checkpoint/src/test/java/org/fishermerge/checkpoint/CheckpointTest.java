package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import org.fishermerge.testkit.Golden;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "clip-tiny/alpha",
        "clip-tiny/beta",
        "clip-tiny/gamma",
        "clip-tiny/pretrained",
        "clip-tiny/expected.safetensors",
        "clip-tiny/expected_merged.safetensors",
        "clip_pixel_values.safetensors",
        "gpt2-tiny/cola",
        "gpt2-tiny/mnli",
        "gpt2-tiny/pretrained",
        "gpt2-tiny/expected.safetensors",
        "gpt2-tiny/expected_merged.safetensors"
      })
  void goldenFilesOpen(String path) {
    try (Checkpoint checkpoint = Checkpoint.open(Golden.path(path))) {
      assertThat(checkpoint.warnings()).isEmpty();
      assertThat(checkpoint.tensorSha256()).matches("[0-9a-f]{64}");
      assertThat(checkpoint.fingerprint()).matches("[0-9a-f]{64}");
      checkpoint
          .tensors()
          .forEach((name, tensor) ->
              assertThat(checkpoint.segment(name).byteSize())
                  .as(name)
                  .isEqualTo(tensor.info().byteCount()));
    }
  }
}
