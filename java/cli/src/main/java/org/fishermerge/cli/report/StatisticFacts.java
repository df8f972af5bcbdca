package org.fishermerge.cli.report;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.cli.report.RunReport.FisherLayer;
import org.fishermerge.cli.report.RunReport.FisherSizes;
import org.fishermerge.cli.report.RunReport.Statistic;
import org.fishermerge.merge.Layers;
import org.jspecify.annotations.Nullable;

/**
 * What the header of a statistic file says.
 *
 * @param modelSha256 of the model's weights
 * @param layers by name, of those whose tensors state sums of squares
 */
public record StatisticFacts(
    Statistic statistic, @Nullable String modelSha256, Map<String, Squares> layers) {
  /**
   * Of a layer.
   *
   * @param values how many
   * @param sum of the squares of the mean Fisher
   */
  public record Squares(long values, double sum) {
    Squares plus(Squares other) {
      return new Squares(values + other.values, sum + other.sum);
    }
  }

  private static final Squares NONE = new Squares(0, 0);

  /** Reads them. */
  public static StatisticFacts of(Path file) {
    try (StatisticFile opened = StatisticFile.open(file)) {
      return of(opened);
    }
  }

  /** The same of a file that is open. */
  static StatisticFacts of(StatisticFile file) {
    StatisticMetadata metadata = file.metadata().orElse(null);
    return new StatisticFacts(
        statistic(file.path(), metadata),
        metadata == null ? null : metadata.modelSha256(),
        layers(file));
  }

  private static Statistic statistic(Path file, @Nullable StatisticMetadata metadata) {
    if (metadata == null) {
      return new Statistic(file.toString(), null, null, null, null, null);
    }
    String error = metadata.samplingError();
    return new Statistic(
        file.toString(),
        metadata.examples(),
        metadata.labels(),
        metadata.dataset(),
        metadata.selection(),
        error == null ? null : Double.valueOf(error));
  }

  private static Map<String, Squares> layers(StatisticFile file) {
    Map<String, Squares> layers = new HashMap<>();
    for (Map.Entry<String, CheckpointTensor> tensor : file.tensors().entrySet()) {
      OptionalDouble sum = file.sumOfSquares(tensor.getKey());
      if (sum.isPresent()) {
        layers.merge(
            Layers.layerOf(ParameterNames.canonical(tensor.getKey())),
            new Squares(
                tensor.getValue().info().elementCount(),
                sum.getAsDouble() / Math.pow((double) file.examples(), 2)),
            Squares::plus);
      }
    }
    return layers;
  }

  /**
   * Root mean squares by layer of several files, of the layers of which all state sums; null if
   * there is none.
   *
   * @param tasks their names, in the order of the files
   */
  public static @Nullable FisherSizes sizes(List<StatisticFacts> files, List<String> tasks) {
    if (files.isEmpty()) {
      return null;
    }
    List<FisherLayer> sizes = new ArrayList<>();
    Map<String, Squares> first = files.getFirst().layers;
    for (String layer : first.keySet().stream().sorted(Layers.ORDER).toList()) {
      if (!files.stream().allMatch(file -> file.layers.containsKey(layer))) {
        continue;
      }
      Squares squares = first.getOrDefault(layer, NONE);
      List<@Nullable Double> rms = new ArrayList<>();
      for (StatisticFacts file : files) {
        rms.add(Math.sqrt(file.layers.getOrDefault(layer, NONE).sum / squares.values));
      }
      sizes.add(new FisherLayer(layer, squares.values, rms));
    }
    return sizes.isEmpty() ? null : new FisherSizes(tasks, sizes);
  }
}
