package org.fishermerge.cli;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LoraAdapter;
import org.fishermerge.checkpoint.SafetensorsHeader;
import org.fishermerge.checkpoint.StatisticLayout;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.checkpoint.TensorInfo;
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

  @Parameters(
      paramLabel = "PATH",
      description = "A model folder, a .safetensors file, or a LoRA adapter.")
  private Path path = Path.of("");

  @Option(names = "--tensors", description = "List every tensor.")
  private boolean listTensors;

  @Option(names = "--hash", description = "Also hash the tensor data (reads the whole file).")
  private boolean hash;

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    try (Places places = new Places(spec)) {
      Path found = places.tensors(path);
      if (LoraAdapter.isAdapter(found)) {
        inspect(LoraAdapter.open(found), out);
      } else {
        inspect(found, out);
      }
    }
    return 0;
  }

  private void inspect(Path found, PrintWriter out) {
    try (Checkpoint checkpoint = Checkpoint.open(found)) {
      List<SafetensorsHeader> files = checkpoint.files();
      Map<DType, Long> counts = new TreeMap<>();
      long elements = 0;
      long bytes = 0;
      for (CheckpointTensor tensor : checkpoint.tensors().values()) {
        counts.merge(tensor.info().dtype(), 1L, Long::sum);
        elements += tensor.info().elementCount();
        bytes += tensor.info().byteCount();
      }
      StatisticMetadata fisher =
          files.size() == 1 ? StatisticMetadata.from(files.get(0)).orElse(null) : null;
      out.printf(
          "%s: %s, %s%n",
          path,
          fisher == null ? kind(checkpoint) : StatisticLayout.from(files.get(0)).fileTitle(),
          files.size() == 1
              ? "1 file"
              : files.size() + (isWhole(checkpoint) ? " shards" : " files"));
      out.printf(
          Locale.ROOT,
          "  %,d tensors %s, %,d values, %,d bytes%n",
          checkpoint.tensors().size(),
          counts,
          elements,
          bytes);
      if (fisher != null) {
        StatisticLayout layout = StatisticLayout.from(files.get(0));
        Map<String, String> entries = fisher.toMap(layout);
        entries.computeIfPresent(
            StatisticLayout.LAYERS, (key, value) -> layout.layers().size() + " layers");
        entries.forEach((key, value) -> out.printf("  %s: %s%n", key, value));
      } else {
        for (SafetensorsHeader file : files) {
          if (!file.metadata().isEmpty()) {
            out.printf("  %s metadata %s%n", file.file().getFileName(), file.metadata());
          }
        }
      }
      if (fisher == null) {
        checkpoint.problem().ifPresent(problem -> out.printf("  %s%n", problem));
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
  }

  private static boolean isWhole(Checkpoint checkpoint) {
    return checkpoint.basePath().equals(checkpoint.path());
  }

  private static String kind(Checkpoint checkpoint) {
    return !isWhole(checkpoint)
        ? "model with a LoRA adapter applied"
        : Files.isDirectory(checkpoint.path()) ? "model folder" : "safetensors file";
  }

  private void inspect(LoraAdapter adapter, PrintWriter out) {
    if (hash) {
      throw new InputException(
          path + ": is a LoRA adapter; --hash is of models: name it as BASE+" + path);
    }
    Collection<TensorInfo> tensors = adapter.header().tensors().values();
    Map<DType, Long> counts = new TreeMap<>();
    tensors.forEach(tensor -> counts.merge(tensor.dtype(), 1L, Long::sum));
    out.printf("%s: LoRA adapter, 1 file%n", path);
    out.printf(
        Locale.ROOT,
        "  %,d tensors %s, %,d values, %,d bytes%n",
        tensors.size(),
        counts,
        tensors.stream().mapToLong(TensorInfo::elementCount).sum(),
        tensors.stream().mapToLong(TensorInfo::byteCount).sum());
    adapter.describe().forEach(line -> out.printf("  %s%n", line));
    adapter.warnings().forEach(warning -> out.printf("  warning: %s%n", warning));
    if (listTensors) {
      tensors.stream()
          .sorted(Comparator.comparing(TensorInfo::name))
          .forEach(t -> out.printf("  %s %s %s%n", t.name(), t.dtype(), t.shapeText()));
    }
  }
}
