package org.fishermerge.cli.report;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.DoubleSupplier;
import org.fishermerge.cli.report.RunReport.Check;
import org.fishermerge.cli.report.RunReport.CheckRow;
import org.fishermerge.cli.report.RunReport.FisherLayer;
import org.fishermerge.cli.report.RunReport.FisherSizes;
import org.fishermerge.cli.report.RunReport.Interval;
import org.fishermerge.cli.report.RunReport.Measure;
import org.fishermerge.cli.report.RunReport.Merge;
import org.fishermerge.cli.report.RunReport.Model;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.report.RunReport.Row;
import org.fishermerge.cli.report.RunReport.Search;
import org.fishermerge.cli.report.RunReport.Shares;
import org.fishermerge.cli.report.RunReport.Similarities;
import org.fishermerge.cli.report.RunReport.Stage;
import org.fishermerge.cli.report.RunReport.Statistic;
import org.fishermerge.cli.report.RunReport.Try;
import org.fishermerge.merge.TensorShares;
import org.jspecify.annotations.Nullable;

/** Reports for tests, with everything that a report can have. */
final class ReportSamples {
  /** Kinds of parameters of a layer of a vision transformer, weight and bias each. */
  private static final List<String> KINDS =
      List.of(
          "self_attn.q_proj",
          "self_attn.k_proj",
          "self_attn.v_proj",
          "self_attn.out_proj",
          "mlp.fc1",
          "mlp.fc2",
          "layer_norm1",
          "layer_norm2");

  private ReportSamples() {}

  /** Shares of the tensors of that many layers. */
  static List<TensorShares> shares(int layers, int models, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    List<TensorShares> all = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      for (String kind : KINDS) {
        for (String part : List.of("weight", "bias")) {
          double[] raw = random.doubles(models, 0.1, 1).toArray();
          double sum = 0;
          for (double value : raw) {
            sum += value;
          }
          List<Double> shares = new ArrayList<>();
          for (double value : raw) {
            shares.add(value / sum);
          }
          all.add(
              new TensorShares(
                  "vision_model.encoder.layers." + layer + "." + kind + "." + part,
                  part.equals("bias") ? 1024 : 1024 * 1024,
                  1021,
                  shares));
        }
      }
    }
    return all;
  }

  private static Measure measure(SplittableRandom random) {
    double accuracy = random.nextInt(100, 900) / 1000.0;
    return new Measure(
        accuracy,
        new Interval(accuracy, accuracy - 0.03, accuracy + 0.03),
        Math.round(1000 * accuracy),
        1000L,
        random.nextDouble(3));
  }

  /** A report of models with these names, with everything in it. */
  static RunReport whole(List<String> names, int layers, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    ReportBuilder report =
        new ReportBuilder("run", List.of("run", "modelpool=" + names.getFirst())).seed(seed);
    report.model(ReportBuilder.model("pretrained", Path.of("base"), true));
    List<Row> rows = new ArrayList<>();
    for (Role role : Role.values()) {
      rows.add(
          Intervals.row(
              role == Role.OTHER ? names.getLast() : role.text(),
              role,
              names.stream().map(name -> measure(random)).toList()));
    }
    List<List<Double>> matrix = new ArrayList<>();
    List<CheckRow> checked = new ArrayList<>();
    for (String name : names) {
      report.model(
          new Model(
              name,
              false,
              "owner/" + name,
              "/models/" + name,
              "0123456789abcdef".repeat(4),
              1.0,
              1.0 / names.size(),
              random.nextDouble(100),
              random.nextDouble(),
              new Statistic("/f/" + name, 256L, "exact", name + "#train", "shuffled", 0.25)));
      matrix.add(names.stream().map(other -> random.nextDouble()).toList());
      checked.add(new CheckRow(name, 256L, List.of(random.nextDouble(), random.nextDouble())));
    }
    List<FisherLayer> sizes = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      sizes.add(
          new FisherLayer(
              "encoder.layers." + layer,
              12_345_678,
              doubles(names.size(), () -> Math.exp(-10 * random.nextDouble()))));
    }
    List<Try> tries = new ArrayList<>();
    for (int k = 0; k < 21; k++) {
      tries.add(
          new Try(
              null,
              null,
              doubles(names.size(), random::nextDouble),
              random.nextDouble(),
              random.nextDouble(3)));
    }
    return report
        .merge(
            new Merge(
                "Fisher merge of " + names.getFirst(),
                "minimal Fisher 1e-6",
                "/out/" + names.getFirst(),
                303_179_776L,
                19_400_000_000L,
                1_200_000_000L,
                2.7,
                1e-8))
        .accuracies(Intervals.complete(names, rows))
        .shares(
            List.of(
                new Shares(
                    "Fisher merge", names, MergeFacts.cells(shares(layers, names.size(), seed)))))
        .fishers(new FisherSizes(names, sizes))
        .similarity(new Similarities(names, List.copyOf(matrix), List.copyOf(matrix)))
        .search(
            new Search("accuracy", names, tries, 3, new Check(List.of("equal", "found"), checked)))
        .stage(
            new Stage(
                "Fishers of " + names.getFirst(),
                61.5,
                null,
                null,
                5_000_000L,
                null,
                3_000_000_000L,
                3_100_000_000L))
        .stage(
            new Stage(
                "merge", 2.7, 19_400_000_000L, 1_200_000_000L, 0L, 8.1e9, 81_000_000L, 90_000_000L))
        .warnings(List.of("model " + names.getFirst() + ": odd"))
        .build();
  }

  private static List<@Nullable Double> doubles(int count, DoubleSupplier next) {
    List<@Nullable Double> doubles = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      doubles.add(next.getAsDouble());
    }
    return doubles;
  }
}
