package org.fishermerge.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Where a command computes. */
final class DeviceOption {
  @Option(
      names = "--device",
      paramLabel = "cpu|cuda|cuda:N",
      description =
          "Compute on the CPU, on the NVIDIA GPU with the most free memory, or on GPU N (default:"
              + " cpu). A GPU that cannot be used is a warning; with -Dfishermerge.require=cuda a"
              + " failure.")
  @Nullable String name;
}
