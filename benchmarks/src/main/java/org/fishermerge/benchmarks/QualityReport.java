package org.fishermerge.benchmarks;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.fishermerge.benchmarks.QualityPool.Merge;
import org.fishermerge.benchmarks.QualityPool.Statistics;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.demo.DemoRecipe;
import org.fishermerge.cli.demo.PicturePool;

/**
 * {@code benchmarks/run quality}: accuracies of merged models, over pools of small CLIP towers that
 * are trained here as the demo's are, from several seeds and with learning rates that leave the
 * models near their base, as far from it as the demo's, farther, or too far apart to average. The
 * tasks of {@code drawn} pools are the demo's; those of {@code mixed} ones are of domains that have
 * little in common: clothes, digits, three alphabets and stripes. Every rule is measured on
 * pictures that no model has seen. Then merges by many settings are measured twice, by divergence
 * from the models' own predictions and by accuracy, for the rank correlation of the two.
 */
public final class QualityReport {
  private static final String BASE = "base";
  private static final String AVERAGE = "simple average";
  private static final String TUNED = "best rule by KL";
  private static final String BLEND = "blend by KL";
  private static final int FASHION_HELD_BACK = 1000;

  private record Kind(String name, double rate) {}

  private static final List<Kind> KINDS =
      List.of(
          new Kind("near", 1e-4),
          new Kind("as-shipped", 5e-4),
          new Kind("far", 1.5e-3),
          new Kind("too-far", 5e-3));

  private static final List<Merge> RULES =
      List.of(
          new Merge(AVERAGE, "average", Optional.empty()),
          new Merge("task arithmetic", "task-arithmetic", Optional.empty()),
          new Merge("TIES, density 0.2", "ties --density 0.2", Optional.empty()),
          new Merge(
              "Fisher, batch-square", "merge --rule fisher", Optional.of(Statistics.BATCH_SQUARE)),
          new Merge("Fisher, exact", "merge --rule fisher", Optional.of(Statistics.EXACT)),
          new Merge("RegMean", "merge --rule regmean", Optional.of(Statistics.EXACT)),
          new Merge(
              "Kronecker-factored Fisher",
              "merge --rule kronecker",
              Optional.of(Statistics.EXACT)));

  /** A model, or one for each task, on held-back pictures. */
  private record Row(String name, List<double[]> correct, double seconds) {
    MeanOverTasks accuracy() {
      return MeanOverTasks.of(correct);
    }
  }

  /** A merge measured in two ways. */
  private record Candidate(
      String name, double divergence, double accuracy, double ofStatisticsExamples) {}

  private final Report report = new Report();
  private final QualityOptions options;
  private final Path scratch;

  private QualityReport(QualityOptions options, Path scratch) {
    this.options = options;
    this.scratch = scratch;
  }

  /** Prints the report. */
  public static void main(String[] args) throws IOException {
    try {
      report(QualityOptions.of(args));
    } catch (InputException e) {
      System.err.println("benchmarks/run quality: " + e.getMessage());
      System.exit(1);
    }
  }

  private static void report(QualityOptions options) throws IOException {
    try (ScratchFolder scratch = new ScratchFolder()) {
      QualityReport quality = new QualityReport(options, scratch.path());
      quality.pools("drawn", drawn());
      Optional<List<QualityTask>> mixed = quality.mixed();
      if (mixed.isPresent()) {
        quality.pools("mixed", mixed.get());
      }
      quality.report.finish();
    }
  }

  private static List<QualityTask> drawn() {
    return PicturePool.drawn().tasks().stream().map(QualityTask::drawn).toList();
  }

  /** Empty where the data sets are not there. */
  private Optional<List<QualityTask>> mixed() throws IOException {
    for (Path needed : List.of(options.fashion(), options.digits(), options.omniglot())) {
      if (!Files.exists(needed)) {
        report.line(
            "left out: pools of mixed domains, for %s is not there (--fashion-mnist, --digits,"
                + " --omniglot say where data are)",
            needed);
        return Optional.empty();
      }
    }
    List<QualityTask> tasks = new ArrayList<>();
    tasks.add(QualityTask.stored(PictureData.fashion(options.fashion(), FASHION_HELD_BACK)));
    tasks.add(QualityTask.stored(PictureData.digits(options.digits())));
    for (String alphabet : List.of("Balinese", "Korean", "Latin")) {
      tasks.add(QualityTask.stored(PictureData.omniglot(options.omniglot(), alphabet)));
    }
    PicturePool.drawn().tasks().stream()
        .filter(task -> task.key().equals("stripes"))
        .map(QualityTask::drawn)
        .forEach(tasks::add);
    return Optional.of(tasks);
  }

  private void pools(String domain, List<QualityTask> tasks) throws IOException {
    for (int seed = 1; seed <= options.seeds(); seed++) {
      List<Pool> wanted = wanted(domain, seed);
      train(wanted, tasks, seed);
      for (Pool pool : wanted) {
        report.line("%n%s: learning rate %s, seed %d", pool.name, pool.rate, seed);
        Path folder = scratch.resolve(pool.name);
        measure(pool.name, new QualityPool(tasks, pool.trained, folder));
        ScratchFolder.delete(folder);
      }
    }
  }

  /** Models of a pool, trained or to be trained. */
  private record Pool(String name, double rate, Path trained) {}

  private List<Pool> wanted(String domain, int seed) throws IOException {
    Path folder = options.keep().orElse(scratch);
    Files.createDirectories(folder);
    return KINDS.stream()
        .map(kind -> {
          String name = domain + "-" + kind.name + "-" + seed;
          return new Pool(name, kind.rate, folder.resolve(name + ".safetensors"));
        })
        .filter(pool -> options.only().matcher(pool.name).find())
        .toList();
  }

  /** Whatever is not there yet. */
  private static void train(List<Pool> pools, List<QualityTask> tasks, int seed) {
    Map<Path, Double> rates = new LinkedHashMap<>();
    pools.stream()
        .filter(pool -> !Files.exists(pool.trained))
        .forEach(pool -> rates.put(pool.trained, pool.rate));
    if (!rates.isEmpty()) {
      new PicturePool(tasks.stream().map(QualityTask::training).toList())
          .train(
              rates,
              new PrintWriter(System.err, true, StandardCharsets.UTF_8),
              DemoRecipe.SHIPPED.with(seed, DemoRecipe.SHIPPED.taskRate()));
    }
  }

  // ---- one pool ----

  private void measure(String name, QualityPool pool) throws IOException {
    Map<String, Row> rows = rows(pool);
    Row average = Objects.requireNonNull(rows.get(AVERAGE));
    Row base = Objects.requireNonNull(rows.get(BASE));
    Row floor = average.accuracy().mean() >= base.accuracy().mean() ? average : base;
    report.line(
        "%-28s %14s %8s  %s  %s",
        "accuracy, %", "95 % interval", "seconds", "less the " + floor.name, "by task");
    rows.values().forEach(row -> print(row, floor));
    for (String chosen : List.of(TUNED, BLEND)) {
      MeanOverTasks gain =
          MeanOverTasks.ofDifferences(
              Objects.requireNonNull(rows.get(chosen)).correct, floor.correct);
      report.ratio(key(name, chosen) + "_points", 100 * gain.mean());
    }
    correlation(name, pool);
  }

  private Map<String, Row> rows(QualityPool pool) throws IOException {
    Map<String, Row> rows = new LinkedHashMap<>();
    add(rows, pool, BASE, pool.model(BASE), 0);
    rows.put(
        "own",
        new Row(
            "fine-tuned, each its own",
            correct(pool.onHeldBack(task -> pool.model(task.key()))),
            0));
    Map<Statistics, Double> estimation = new LinkedHashMap<>();
    for (Statistics which : Statistics.values()) {
      long start = System.nanoTime();
      pool.estimate(which);
      estimation.put(which, secondsSince(start));
    }
    for (Merge rule : RULES) {
      long start = System.nanoTime();
      Path merged = pool.merge(rule);
      double seconds =
          secondsSince(start)
              + rule.statistics().map(which -> estimation.getOrDefault(which, 0.0)).orElse(0.0);
      add(rows, pool, rule.name(), merged, seconds);
    }
    Map<String, String> searches = new LinkedHashMap<>();
    searches.put(TUNED, "--by kl");
    searches.put(BLEND, "--by blend");
    for (Map.Entry<String, String> search : searches.entrySet()) {
      long start = System.nanoTime();
      QualityPool.Found found = pool.search(search.getValue());
      double seconds = secondsSince(start) + estimation.getOrDefault(Statistics.EXACT, 0.0);
      add(rows, pool, search.getKey(), found.merged(), seconds);
      report.line(
          "search %s: found %s at scale %s, wrote the %s",
          search.getValue(),
          found.report().at("/found/merge").asText(),
          found.report().at("/found/scale").asText(),
          found.report().path("written").asText());
    }
    return rows;
  }

  private static double secondsSince(long start) {
    return (System.nanoTime() - start) / 1e9;
  }

  private static void add(
      Map<String, Row> rows, QualityPool pool, String name, Path model, double seconds) {
    rows.put(name, new Row(name, correct(pool.onHeldBack(task -> model)), seconds));
  }

  private static List<double[]> correct(List<Predictions> predictions) {
    return predictions.stream().map(Predictions::correct).toList();
  }

  private void print(Row row, Row floor) {
    MeanOverTasks accuracy = row.accuracy();
    MeanOverTasks gain = MeanOverTasks.ofDifferences(row.correct, floor.correct);
    StringBuilder byTask = new StringBuilder();
    row.correct.forEach(task ->
        byTask.append(String.format(" %5.1f", 100 * MeanOverTasks.of(List.of(task)).mean())));
    report.line(
        "%-28s %5.1f +- %4.1f %8.1f  %+5.1f +- %3.1f  %s",
        row.name,
        100 * accuracy.mean(),
        100 * accuracy.margin(),
        row.seconds,
        100 * gain.mean(),
        100 * gain.margin(),
        byTask);
  }

  private static String key(String pool, String what) {
    return (pool + "_" + what).replaceAll("[^a-zA-Z0-9]+", "_");
  }

  // ---- divergence and accuracy ----

  private static List<Merge> candidates() {
    List<Merge> candidates = new ArrayList<>();
    candidates.add(new Merge("average", "average", Optional.empty()));
    for (String scale : List.of("0.2", "0.3", "0.5")) {
      candidates.add(
          new Merge(
              "task arithmetic x " + scale,
              "task-arithmetic --scaling-factor " + scale,
              Optional.empty()));
    }
    for (String scale : List.of("0.8", "1", "1.2", "1.6")) {
      candidates.add(layers("diagonal Fisher", "merge --rule fisher", scale));
    }
    for (String scale : List.of("1", "1.2")) {
      candidates.add(layers("RegMean", "merge --rule regmean", scale));
    }
    for (String damping : List.of("0.01", "0.1", "1", "10")) {
      for (String scale : List.of("0.8", "1", "1.2", "1.6")) {
        candidates.add(
            layers(
                "Kronecker, damping " + damping,
                "merge --rule kronecker --damping " + damping,
                scale));
      }
    }
    return candidates;
  }

  private static Merge layers(String name, String words, String scale) {
    return new Merge(
        name + " x " + scale, words + " --scaling-factor " + scale, Optional.of(Statistics.EXACT));
  }

  private void correlation(String name, QualityPool pool) {
    List<Predictions> own = pool.onStatistics(task -> pool.model(task.key()));
    List<Candidate> measured = new ArrayList<>();
    measured.add(measure(pool, BASE, pool.model(BASE), own));
    for (Merge candidate : candidates()) {
      measured.add(measure(pool, candidate.name(), pool.merge(candidate), own));
    }
    measured.sort(Comparator.comparingDouble(Candidate::divergence));
    report.line("%8s %12s %12s  %s", "KL, nats", "held back, %", "examples, %", "candidate");
    for (Candidate each : measured) {
      report.line(
          "%8.4f %12.1f %12.1f  %s",
          each.divergence, 100 * each.accuracy, 100 * each.ofStatisticsExamples, each.name);
    }
    double correlation =
        -RankCorrelation.of(
            measured.stream().map(Candidate::divergence).toList(),
            measured.stream().map(Candidate::accuracy).toList());
    Candidate byLabels = max(measured, Comparator.comparingDouble(Candidate::ofStatisticsExamples));
    Candidate best = max(measured, Comparator.comparingDouble(Candidate::accuracy));
    report.line(
        "rank correlation of less divergence and more accuracy: %.2f over %d merges; chosen by"
            + " divergence %.1f %%, by labels of the same examples %.1f %%, best of all %.1f %%",
        correlation,
        measured.size(),
        100 * measured.getFirst().accuracy,
        100 * byLabels.accuracy,
        100 * best.accuracy);
    report.ratio(key(name, "rank_correlation"), correlation);
  }

  private static Candidate max(List<Candidate> candidates, Comparator<Candidate> by) {
    return candidates.stream().max(by).orElseThrow();
  }

  private static Candidate measure(
      QualityPool pool, String name, Path model, List<Predictions> own) {
    List<Predictions> examples = pool.onStatistics(task -> model);
    return new Candidate(
        name,
        QualityPool.divergence(examples, own),
        MeanOverTasks.of(correct(pool.onHeldBack(task -> model))).mean(),
        MeanOverTasks.of(correct(examples)).mean());
  }
}
