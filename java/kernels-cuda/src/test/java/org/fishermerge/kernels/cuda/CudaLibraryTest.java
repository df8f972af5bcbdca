package org.fishermerge.kernels.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import org.fishermerge.kernels.Kernels;
import org.junit.jupiter.api.Test;

/** The kernels find this artefact's library where it is on the class path. */
final class CudaLibraryTest {
  /** It names the GPU, or says in one sentence why there is none that it can use. */
  @Test
  void itSaysWhatThereIs() {
    Path built =
        Path.of(Objects.requireNonNull(System.getProperty("fishermerge.test.cuda-library")));
    boolean wanted = !Objects.equals(System.getProperty("fishermerge.test.cuda"), "OFF");
    assumeTrue(wanted && Files.exists(built), "built without nvcc: there is no library to find");
    assertThat(Kernels.describeGpu())
        .matches(
            ".+ \\([\\d.]+ GiB, [\\d.]+ GiB free\\)"
                + "|none: no NVIDIA driver is installed \\(libcuda.so.1 was not found\\)"
                + "|none: the NVIDIA driver .+"
                + "|none: .+ has compute capability .+");
  }
}
