package org.fishermerge.cli.report;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.cli.report.RunReport.Merge;
import org.fishermerge.cli.report.RunReport.Model;
import org.fishermerge.cli.report.RunReport.ShareCell;
import org.fishermerge.cli.report.RunReport.Shares;
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
   * Adds a merge: its models, its shares, and the sizes of its Fishers.
   *
   * @param seconds that it took
   * @param names of the models, in the request's order
   * @param files the statistics of those that have one, as {@code MergeSession} has them
   */
  public static void add(
      ReportBuilder report,
      MergeRequest request,
      MergeResult result,
      double seconds,
      List<String> names,
      List<StatisticFile> files) {
    addMerge(report, request, result, seconds, names);
    addModels(report, request, result, names, files);
  }

  /** Adds the models of a request of which no merge was written itself. */
  public static void addModels(
      ReportBuilder report, MergeRequest request, List<String> names, List<StatisticFile> files) {
    addModels(report, request, null, names, files);
  }

  private static void addModels(
      ReportBuilder report,
      MergeRequest request,
      @Nullable MergeResult result,
      List<String> names,
      List<StatisticFile> files) {
    report.model(ReportBuilder.model(name(request.base()), request.base(), true));
    List<StatisticFacts> all = new ArrayList<>();
    for (int i = 0; i < request.models().size(); i++) {
      StatisticFacts file = null;
      if (request.models().get(i).statistic().isPresent()) {
        file = StatisticFacts.of(files.get(all.size()));
        all.add(file);
      }
      report.model(model(names.get(i), request, i, result, file));
    }
    if (all.size() == request.models().size()) {
      report.fishers(StatisticFacts.sizes(all, names));
    }
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
    report.warnings(result.warnings());
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
      String name,
      MergeRequest request,
      int i,
      @Nullable MergeResult result,
      @Nullable StatisticFacts file) {
    MergeSource source = request.models().get(i);
    MergeResult.ModelStatistics found =
        result != null && i < result.models().size() ? result.models().get(i) : null;
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
        file == null ? null : file.modelSha256(),
        result != null && request.coefficients() == null ? source.coefficient() : null,
        found == null ? null : found.weight(),
        norm,
        below,
        file == null ? null : file.statistic());
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

  /** A parameter's layer, and what it is called in it without weight and bias. */
  private record Place(String layer, String kind) {
    static Place of(String tensor) {
      String name = ParameterNames.canonical(tensor);
      String layer = Layers.layerOf(name);
      String rest = name.length() > layer.length() ? name.substring(layer.length() + 1) : "";
      int last = rest.lastIndexOf('.') + 1;
      boolean usual = List.of("weight", "bias").contains(rest.substring(last));
      return new Place(layer, usual ? rest.substring(0, Math.max(0, last - 1)) : rest);
    }
  }

  /** Means over the parameters of each layer and kind, weighted by how many values they have. */
  static List<ShareCell> cells(List<TensorShares> all) {
    List<Place> places = all.stream().map(shares -> Place.of(shares.tensor())).toList();
    Map<String, Set<String>> layersOf = new HashMap<>();
    places.forEach(
        place -> layersOf.computeIfAbsent(place.kind, any -> new HashSet<>()).add(place.layer));
    Map<String, Map<String, Sum>> sums = new HashMap<>();
    for (int i = 0; i < all.size(); i++) {
      Place place = places.get(i);
      boolean alone =
          place.kind.isEmpty() || layersOf.getOrDefault(place.kind, Set.of()).size() < 2;
      sums.computeIfAbsent(place.layer, any -> new TreeMap<>())
          .computeIfAbsent(alone ? OTHER : place.kind, any -> new Sum())
          .add(all.get(i));
    }
    List<ShareCell> cells = new ArrayList<>();
    for (String layer : sums.keySet().stream().sorted(Layers.ORDER).toList()) {
      sums.getOrDefault(layer, Map.of())
          .forEach((kind, sum) -> {
            List<@Nullable Double> shares = new ArrayList<>();
            for (double weighted : sum.weighted) {
              shares.add(weighted / sum.values);
            }
            cells.add(new ShareCell(layer, kind, sum.values, shares));
          });
    }
    return cells;
  }
}
