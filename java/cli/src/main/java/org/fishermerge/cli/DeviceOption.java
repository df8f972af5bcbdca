package org.fishermerge.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Where a command computes. */
final class DeviceOption {
  @Option(
      names = "--device",
      paramLabel = "cpu|cuda",
      description =
          "Compute on the CPU, or on an NVIDIA GPU where there is one (default: cpu). A GPU that"
              + " cannot be used is a warning; with -Dfishermerge.require=cuda a failure.")
  @Nullable String name;
}
