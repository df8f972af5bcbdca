package org.fishermerge.cli.report;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.cli.report.RunReport.FisherLayer;
import org.fishermerge.cli.report.RunReport.FisherSizes;
import org.fishermerge.cli.report.RunReport.Merge;
import org.fishermerge.cli.report.RunReport.Model;
import org.fishermerge.cli.report.RunReport.ShareCell;
import org.fishermerge.cli.report.RunReport.Shares;
import org.fishermerge.cli.report.RunReport.Stage;
import org.fishermerge.cli.report.RunReport.Statistic;
import org.fishermerge.merge.Layers;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeResult;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.merge.TensorShares;
import org.jspecify.annotations.Nullable;

/** What a report has of a merge: from its request, its result, and the headers of its files. */
public final class MergeFacts {
  /** Parameters that no other layer has of the same kind. */
  static final String OTHER = "other";

  private MergeFacts() {}

  /**
   * Adds a merge: its models, its shares, the sizes of its Fishers, and the stage.
   *
   * @param names of the models, in the request's order
   */
  public static void add(
      ReportBuilder report,
      MergeRequest request,
      MergeResult result,
      double seconds,
      List<String> names) {
    addMerge(report, request, result, seconds, names);
    addModels(report, request, result, names);
    report.warnings(result.warnings());
  }

  /** Adds the models of a request of which no merge was written itself. */
  public static void addModels(ReportBuilder report, MergeRequest request, List<String> names) {
    addModels(report, request, null, names);
  }

  private static void addModels(
      ReportBuilder report,
      MergeRequest request,
      @Nullable MergeResult result,
      List<String> names) {
    report.model(ReportBuilder.model(name(request.base()), request.base(), true));
    for (int i = 0; i < request.models().size(); i++) {
      report.model(model(names.get(i), request, i, result));
    }
    report.fishers(sizes(request, names));
  }

  /** The same without the models and their statistics. */
  public static void addMerge(
      ReportBuilder report,
      MergeRequest request,
      MergeResult result,
      double seconds,
      List<String> names) {
    report.merge(
        new Merge(
            request.rule().title(),
            request.rule().settings().orElse(null),
            result.output().toString(),
            result.mergedElements(),
            result.bytesRead(),
            result.bytesWritten(),
            seconds,
            result.worstResidual() > 0 ? result.worstResidual() : null));
    List<ShareCell> cells = cells(result.shares());
    if (!cells.isEmpty()) {
      report.shares(
          List.of(new Shares(request.rule().title(), names(names, cells.getFirst()), cells)));
    }
    report.stage(
        new Stage("merge", seconds, result.bytesRead(), result.bytesWritten(), null, null));
  }

  /** The base has a share of its own by some rules. */
  private static List<String> names(List<String> models, ShareCell cell) {
    return cell.shares().size() > models.size()
        ? Stream.concat(models.stream(), Stream.of("base")).toList()
        : models;
  }

  private static String name(Path path) {
    Path last = path.getFileName();
    return last == null ? path.toString() : last.toString();
  }

  private static Model model(
      String name, MergeRequest request, int i, @Nullable MergeResult result) {
    MergeSource source = request.models().get(i);
    MergeResult.ModelStatistics found =
        result != null && i < result.models().size() ? result.models().get(i) : null;
    Statistic statistic = null;
    String sha256 = null;
    if (source.statistic().isPresent()) {
      Path file = source.statistic().get();
      try (StatisticFile opened = StatisticFile.open(file)) {
        StatisticMetadata metadata = opened.metadata().orElse(null);
        statistic = statistic(file, metadata);
        sha256 = metadata == null ? null : metadata.modelSha256();
      }
    }
    Double norm = found == null || Double.isNaN(found.norm()) ? null : (Double) found.norm();
    Double below = null;
    if (found != null && norm != null && result != null && result.mergedElements() > 0) {
      below = (double) found.belowMinimal() / result.mergedElements();
    }
    return new Model(
        name,
        false,
        null,
        source.model().toString(),
        sha256,
        result != null && request.coefficients() == null ? source.coefficient() : null,
        found == null ? null : found.weight(),
        norm,
        below,
        statistic);
  }

  /** What a statistic file says of itself. */
  public static Statistic statistic(Path file, @Nullable StatisticMetadata metadata) {
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

  // ---- shares ----

  private static final class Sum {
    private long values;
    private double[] weighted = new double[0];

    void add(TensorShares shares) {
      if (weighted.length == 0) {
        weighted = new double[shares.shares().size()];
      }
      for (int i = 0; i < weighted.length; i++) {
        weighted[i] += shares.values() * shares.shares().get(i);
      }
      values += shares.values();
    }
  }

  /** What a parameter is called in its layer, without weight and bias. */
  static String kind(String canonical) {
    String layer = Layers.layerOf(canonical);
    String rest =
        canonical.length() > layer.length() ? canonical.substring(layer.length() + 1) : "";
    return rest.replaceFirst("(^|\\.)(weight|bias)$", "");
  }

  /** Means over the parameters of each layer and kind, weighted by how many values they have. */
  static List<ShareCell> cells(List<TensorShares> all) {
    Map<String, Set<String>> layersOf = new LinkedHashMap<>();
    for (TensorShares shares : all) {
      String name = ParameterNames.canonical(shares.tensor());
      layersOf.computeIfAbsent(kind(name), any -> new HashSet<>()).add(Layers.layerOf(name));
    }
    Map<String, Map<String, Sum>> sums = new TreeMap<>(Layers.ORDER);
    for (TensorShares shares : all) {
      String name = ParameterNames.canonical(shares.tensor());
      String kind = kind(name);
      boolean alone = kind.isEmpty() || layersOf.getOrDefault(kind, Set.of()).size() < 2;
      sums.computeIfAbsent(Layers.layerOf(name), any -> new TreeMap<>())
          .computeIfAbsent(alone ? OTHER : kind, any -> new Sum())
          .add(shares);
    }
    List<ShareCell> cells = new ArrayList<>();
    sums.forEach((layer, kinds) ->
        kinds.forEach((kind, sum) -> {
          List<Double> shares = new ArrayList<>();
          for (double weighted : sum.weighted) {
            shares.add(weighted / sum.values);
          }
          cells.add(new ShareCell(layer, kind, sum.values, shares));
        }));
    return cells;
  }

  // ---- sizes of Fishers ----

  /** By layer, from the sums of squares that the files state; null unless all do. */
  static @Nullable FisherSizes sizes(MergeRequest request, List<String> names) {
    List<Path> files = new ArrayList<>();
    for (MergeSource source : request.models()) {
      source.statistic().ifPresent(files::add);
    }
    return files.isEmpty() || files.size() < request.models().size() ? null : sizes(files, names);
  }

  /** The same of files, with the names of their tasks. */
  public static @Nullable FisherSizes sizes(List<Path> files, List<String> names) {
    Map<String, double[]> squares = new TreeMap<>(Layers.ORDER);
    Map<String, Long> values = new TreeMap<>(Layers.ORDER);
    for (int i = 0; i < files.size(); i++) {
      try (StatisticFile file = StatisticFile.open(files.get(i))) {
        for (Map.Entry<String, CheckpointTensor> tensor : file.tensors().entrySet()) {
          OptionalDouble sum = file.sumOfSquares(tensor.getKey());
          if (sum.isPresent()) {
            String layer = Layers.layerOf(ParameterNames.canonical(tensor.getKey()));
            double mean = sum.getAsDouble() / Math.pow((double) file.examples(), 2);
            squares.computeIfAbsent(layer, any -> new double[files.size()])[i] += mean;
            if (i == 0) {
              values.merge(layer, tensor.getValue().info().elementCount(), Long::sum);
            }
          }
        }
      }
    }
    List<FisherLayer> layers = new ArrayList<>();
    values.forEach((layer, count) -> {
      List<Double> rms = new ArrayList<>();
      for (double square : squares.getOrDefault(layer, new double[0])) {
        rms.add(Math.sqrt(square / count));
      }
      layers.add(new FisherLayer(layer, count, rms));
    });
    return layers.isEmpty() ? null : new FisherSizes(names, layers);
  }
}
