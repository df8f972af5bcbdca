package org.fishermerge.cli;

import org.fishermerge.checkpoint.CheckpointWriter;
import picocli.CommandLine.Option;

/** How a merge writes its output, or that it does not. */
final class OutputOptions {
  @Option(
      names = "--shard-size",
      paramLabel = "SIZE",
      converter = ByteSize.class,
      description =
          "Cut the output into files of at most this size, such as 5GB, with an index (default: one"
              + " file).")
  long shardBytes = CheckpointWriter.UNBOUNDED;

  @Option(names = "--dry-run", description = "Validate, print the plan, write nothing.")
  boolean dryRun;

  @Option(names = "--overwrite", description = "Replace an existing output.")
  boolean overwrite;
}
