package org.fishermerge.estimate;

import java.nio.file.Path;

/** Estimates the Fisher information of a CLIP image tower. Run and compared with the README. */
final class EstimationExample {
  private EstimationExample() {}

  static Estimation.Result run(Path model, Path clip, String classes, String data, Path output) {
    // example-begin
    Estimation estimation =
        Estimation.of(ModelSource.zeroShot(model, clip, classes, data))
            .labels("exact")
            .examples(256)
            .output(output)
            .build();
    Estimation.Result result = estimation.run();
    // example-end
    return result;
  }
}
