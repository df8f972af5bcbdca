package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.DType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Batch normalisation's running statistics in a merge: a warning says whose they are. */
final class RunningStatisticsTest {
  @TempDir Path folder;

  private Path model(String name) {
    return TestTensors.write(
        folder.resolve(name + ".safetensors"),
        Map.of(
            "n.weight", TestTensors.f32(1, 2),
            "n.running_mean", TestTensors.f32(3, 4),
            "n.running_var", TestTensors.f32(5, 6),
            "n.num_batches_tracked", TestTensors.of(DType.I64, 7)));
  }

  private Path fisher(String name) {
    return TestTensors.write(
        folder.resolve(name + ".safetensors"), Map.of("n.weight", TestTensors.f32(1, 1)));
  }

  private List<String> warnings(MergeRule rule, MergeSource... sources) {
    MergeRequest.Builder request =
        MergeRequest.builder(model("base"), folder.resolve("out.safetensors"), rule);
    List.of(sources).forEach(request::model);
    return Merging.plan(request.build()).warnings();
  }

  @Test
  void thoseThatNoFisherCoversAreTheBases() {
    assertThat(
            warnings(
                DiagonalFisher.DEFAULT,
                MergeSource.of(model("a"), fisher("fa")),
                MergeSource.of(model("b"), fisher("fb"))))
        .filteredOn(line -> line.contains("running statistics"))
        .singleElement()
        .asString()
        .contains("are the base's", "n.running_mean, n.running_var", "anew")
        .doesNotContain("num_batches");
  }

  @Test
  void thoseOfAnAverageAreAverages() {
    assertThat(warnings(new Average(), MergeSource.of(model("a")), MergeSource.of(model("b"))))
        .filteredOn(line -> line.contains("running statistics"))
        .singleElement()
        .asString()
        .contains("are averages of the models'");
  }
}
