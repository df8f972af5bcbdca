package org.fishermerge.cli;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.SafetensorsHeader;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code inspect}: what a checkpoint or Fisher file holds, validated. */
@Command(
    name = "inspect",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = "Validates a checkpoint or Fisher file and says what it holds.")
final class InspectCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(paramLabel = "PATH", description = "A model folder or a .safetensors file.")
  private Path path = Path.of("");

  @Option(names = "--tensors", description = "List every tensor.")
  private boolean listTensors;

  @Option(names = "--hash", description = "Also hash the tensor data (reads the whole file).")
  private boolean hash;

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    try (Checkpoint checkpoint = Checkpoint.open(path)) {
      List<SafetensorsHeader> files = checkpoint.files();
      Map<DType, Long> counts = new TreeMap<>();
      long elements = 0;
      long bytes = 0;
      for (CheckpointTensor tensor : checkpoint.tensors().values()) {
        counts.merge(tensor.info().dtype(), 1L, Long::sum);
        elements += tensor.info().elementCount();
        bytes += tensor.info().byteCount();
      }
      FisherMetadata fisher =
          files.size() == 1 ? FisherMetadata.from(files.get(0)).orElse(null) : null;
      out.printf(
          "%s: %s, %s%n",
          path,
          fisher == null
              ? (Files.isDirectory(path) ? "model folder" : "safetensors file")
              : "Fisher file",
          files.size() == 1 ? "1 file" : files.size() + " shards");
      out.printf(
          Locale.ROOT,
          "  %,d tensors %s, %,d values, %,d bytes%n",
          checkpoint.tensors().size(),
          counts,
          elements,
          bytes);
      if (fisher != null) {
        fisher.toMap().forEach((key, value) -> out.printf("  %s: %s%n", key, value));
      } else {
        for (SafetensorsHeader file : files) {
          if (!file.metadata().isEmpty()) {
            out.printf("  %s metadata %s%n", file.file().getFileName(), file.metadata());
          }
        }
      }
      checkpoint.warnings().forEach(warning -> out.printf("  warning: %s%n", warning));
      if (hash) {
        out.printf("  sha256 %s%n", checkpoint.tensorSha256());
      }
      if (listTensors) {
        checkpoint.tensors().values().stream()
            .sorted(Comparator.comparing((CheckpointTensor t) -> t.info().name()))
            .forEach(t ->
                out.printf(
                    "  %s %s %s%n", t.info().name(), t.info().dtype(), t.info().shapeText()));
      }
    }
    return 0;
  }
}
