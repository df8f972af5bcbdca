package org.fishermerge.merge;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The jar that others embed works alone, from another folder, with the README's example. */
final class EmbeddedJarIT {
  private static final long MAX_BYTES = 5_000_000;

  @TempDir Path folder;

  @Test
  void mergesFromAnotherFolder() throws IOException, InterruptedException {
    Path jar = Path.of(Objects.requireNonNull(System.getProperty("fishermerge.embedded.jar")));
    assertThat(Files.size(jar)).isLessThan(MAX_BYTES);
    Path moved = Files.copy(jar, folder.resolve("moved.jar"));
    Path example = folder.resolve("EmbeddingExample.java");
    try (var in = Objects.requireNonNull(getClass().getResourceAsStream("EmbeddingExample.java"))) {
      Files.copy(in, example);
    }
    Path base = Golden.path("clip-tiny/pretrained");
    Path alpha = Golden.path("clip-tiny/alpha");
    Path beta = Golden.path("clip-tiny/beta");
    Path alphaFisher = fisher("alpha");
    Path betaFisher = fisher("beta");
    Path output = folder.resolve("merged");
    Path log = folder.resolve("log.txt");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                moved.toString(),
                example.toString(),
                base.toString(),
                output.toString(),
                alpha.toString(),
                alphaFisher.toString(),
                beta.toString(),
                betaFisher.toString())
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    assertThat(process.waitFor()).as(Files.readString(log)).isZero();

    Path expected = folder.resolve("expected");
    try (Kernels kernels = Kernels.open()) {
      Merging.run(
          MergeRequest.builder(base, expected, DiagonalFisher.DEFAULT)
              .model(alpha, alphaFisher)
              .model(beta, betaFisher)
              .build(),
          kernels);
    }
    assertThat(output.resolve("model.safetensors"))
        .hasSameBinaryContentAs(expected.resolve("model.safetensors"));
  }

  private Path fisher(String model) {
    return TestTensors.extract(
        Golden.path("clip-tiny/expected.safetensors"),
        model + ".fisher.exact.",
        folder.resolve(model + ".fisher.safetensors"));
  }
}
