package org.fishermerge.benchmarks;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.LayerFactor;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.kernels.ElementType;
import org.fishermerge.merge.LinearAlgebra;
import org.fishermerge.merge.LinearAlgebra.Matrix;

/** Merges of models of a published shape by rules that solve for layers, from files. */
final class LayerMerges implements AutoCloseable {
  private static final Pattern ITERATIONS = Pattern.compile("([0-9,]+) iterations");

  private final ScratchFolder folder = new ScratchFolder();
  private final ClipShape shape;
  private final int count;

  /**
   * Writes models of random weights. How far models are apart does not change what a merge takes.
   *
   * @param count of models; the first is the base too
   * @param distinct files are written; the others are links to these
   */
  LayerMerges(ClipShape shape, int count, int distinct) throws IOException {
    this.shape = shape;
    this.count = count;
    for (int i = 0; i < count; i++) {
      if (i < distinct) {
        shape.write(model(i), i + 1L);
      } else {
        link(model(i % distinct), model(i));
      }
    }
  }

  private Path model(int i) {
    return folder.resolve("model" + i);
  }

  private Path statistics(StatisticKind kind, int i) {
    return folder.resolve(kind.label() + i + ".safetensors");
  }

  private static void link(Path from, Path to) throws IOException {
    Files.createDirectories(to);
    try (var files = Files.list(from)) {
      for (Path file : files.toList()) {
        Files.createLink(to.resolve(file.getFileName()), file);
      }
    }
  }

  /** Writes random factors. */
  void writeStatistics(StatisticKind kind, int distinct, LinearAlgebra algebra) throws IOException {
    RandomFactors random = new RandomFactors(algebra);
    for (int i = 0; i < count; i++) {
      if (i < distinct) {
        random.write(statistics(kind, i), kind, shape.linearLayers(), i + 1L);
      } else {
        Files.createLink(statistics(kind, i), statistics(kind, i % distinct));
      }
    }
  }

  /** Deletes them. */
  void deleteStatistics(StatisticKind kind) throws IOException {
    for (int i = 0; i < count; i++) {
      Files.delete(statistics(kind, i));
    }
  }

  /**
   * What a merge took.
   *
   * @param iterations of all layers; 0 for direct solves
   */
  record Run(double seconds, long anonymousBytes, long iterations) {}

  /** Runs the command. */
  Run merge(StatisticKind kind, String... rule) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(TimedCommand.launcher(), "merge"));
    command.addAll(List.of("--base", model(0).toString()));
    for (int i = 0; i < count; i++) {
      command.addAll(List.of("--model", model(i).toString()));
      command.addAll(List.of("--fisher", statistics(kind, i).toString()));
    }
    Path out = folder.resolve("merged");
    command.addAll(List.of("--out", out.toString()));
    command.addAll(List.of(rule));
    TimedCommand.run(List.of("sync", "--file-system", folder.path().toString()));
    TimedCommand.Outcome outcome = TimedCommand.run(command);
    ScratchFolder.delete(out);
    Matcher said = ITERATIONS.matcher(outcome.said());
    long iterations = said.find() ? Long.parseLong(said.group(1).replace(",", "")) : 0;
    return new Run(outcome.seconds(), outcome.anonymousBytes(), iterations);
  }

  /** Seconds of reading the weights and Gram matrices of all models into double. */
  double readGrams(LinearAlgebra algebra) throws IOException {
    return grams(algebra, false);
  }

  /**
   * Seconds of the same and of what regression means cannot do without: a product for each model
   * and layer, a Cholesky factor and a solution for each layer.
   */
  double solveGrams(LinearAlgebra algebra) throws IOException {
    return grams(algebra, true);
  }

  private double grams(LinearAlgebra algebra, boolean solving) throws IOException {
    List<Checkpoint> models = new ArrayList<>();
    List<StatisticFile> files = new ArrayList<>();
    try {
      for (int i = 0; i < count; i++) {
        models.add(Checkpoint.open(model(i)));
        files.add(StatisticFile.open(statistics(StatisticKind.GRAM, i)));
      }
      long start = System.nanoTime();
      for (Map.Entry<String, LinearLayer> each : shape.linearLayers().entrySet()) {
        LinearLayer layer = each.getValue();
        if (each.getKey().contains("patch")) {
          continue; // not solved for
        }
        algebra.run(() -> {
          Matrix sum = algebra.zeros(layer.inputs(), layer.inputs());
          Matrix onData = algebra.zeros(layer.outputs(), layer.inputs());
          for (int i = 0; i < count; i++) {
            Matrix gram =
                algebra.symmetric(
                    files.get(i).factor(each.getKey(), LayerFactor.GRAM), layer.inputs());
            MemorySegment values = models.get(i).segment(each.getKey());
            Matrix weight = algebra.of(values, ElementType.F32, layer.outputs(), layer.inputs());
            if (solving) {
              algebra.add(sum, 1, gram);
              algebra.addProduct(onData, 1, weight, gram);
            }
          }
          if (solving) {
            Matrix factor = algebra.cholesky(sum).orElseThrow();
            algebra.solve(factor, algebra.transposed(onData));
          }
        });
      }
      return (System.nanoTime() - start) / 1e9;
    } finally {
      models.forEach(Checkpoint::close);
      files.forEach(StatisticFile::close);
    }
  }

  @Override
  public void close() throws IOException {
    folder.close();
  }
}
