package org.fishermerge.estimate;

import java.nio.file.Path;
import java.util.Optional;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.data.ImageDatasets;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.testkit.Golden;
import org.fishermerge.torch.arch.ZeroShotHead;

/** Models of the golden vectors for tests of what happens to any model. */
final class TestModels {
  private static final Path CLIP = Golden.path("clip-tiny/pretrained");
  private static final Path MODEL = Golden.path("clip-tiny/alpha");
  private static final Path EXPECTED = Golden.path("clip-tiny/expected.safetensors");

  private TestModels() {}

  /**
   * A CLIP model on pictures, with a head that is there already: to read the tokenizer takes longer
   * than any estimate here.
   */
  static ModelSource alpha(String data) {
    return (warnings, work) -> {
      try (Checkpoint model = Checkpoint.open(MODEL);
          Checkpoint expected = Checkpoint.open(EXPECTED)) {
        String name = "alpha.zeroshot_weights";
        float[] rows = expected.floats(name);
        int classes = Math.toIntExact(expected.tensor(name).info().shape().getFirst());
        ImageClassifierOnData.with(
            model,
            CLIP,
            processor -> ImageDatasets.open(data, processor),
            clip ->
                new ImageClassifierOnData.Head(
                    ZeroShotHead.of(clip, rows, classes, "alpha"), Optional.empty(), "alpha"),
            Matching.AUTO,
            1,
            warnings,
            work::accept);
      }
    };
  }
}
