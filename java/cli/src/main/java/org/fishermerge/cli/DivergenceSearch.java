package org.fishermerge.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.BooleanSupplier;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.DirectionSearch.Try;
import org.fishermerge.cli.task.JsonReport;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.cli.task.Warnings;
import org.fishermerge.data.Selection;
import org.fishermerge.estimate.ClassifierOnData;
import org.fishermerge.estimate.SkippedRows;
import org.fishermerge.estimate.tune.BlendTuning;
import org.fishermerge.estimate.tune.DivergenceMeter;
import org.fishermerge.estimate.tune.DivergenceMeter.Half;
import org.fishermerge.estimate.tune.OwnPredictions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.Blend;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.torch.WeightBlend;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;

/**
 * {@code search --by kl} and {@code --by blend}: the merge whose predictions diverge least from each
 * model's own on that model's examples. Rules, their settings and a scale are tried one after the
 * other; a blend then mixes all that was merged, and the models, with coefficients of its own for
 * each tensor. Merges that are tried are only weights of a network in memory.
 */
final class DivergenceSearch {
  private static final Direction AVERAGE = new Direction("average", List.of("average"), new Average());

  /** What the search needs of the command. */
  record Setup(
      CommandLine command,
      MergeOptions options,
      DivergenceOptions settings,
      boolean blends,
      List<MergeSource> sources,
      List<Direction.Family> families,
      List<ClassifierOpener> own,
      List<ClassifierOpener> merged,
      int tries,
      long examples,
      long seed,
      int batchSize,
      Warnings warnings) {}

  /** A merge of directions: which, by which rule, and what messages call it. */
  private record Choice(String name, List<Checkpoint> directions, MergeRule rule) {}

  private final Setup setup;
  private final Directions directions;
  private final Kernels kernels;
  private final Checkpoint base;
  private final long started = System.nanoTime();

  private final List<Try> tries = new ArrayList<>();
  private final Map<String, List<Double>> confirming = new LinkedHashMap<>();
  private final List<String> blended = new ArrayList<>();
  private @Nullable Choice choice;

  /** A search; borrows all but the setup. */
  DivergenceSearch(Setup setup, Directions directions, Kernels kernels, Checkpoint base) {
    this.setup = setup;
    this.directions = directions;
    this.kernels = kernels;
    this.base = base;
  }

  /** Searches, and writes the merge that was found. */
  void run() {
    withTasks(ownPredictions(), new ArrayList<>(), this::search);
    write();
    printComparison();
  }

  // ---- what the models themselves predict ----

  private List<OwnPredictions> ownPredictions() {
    List<OwnPredictions> own = new ArrayList<>();
    try (Progress progress =
        new Progress(err(), "Models' own predictions", "models", setup.sources.size(), 1)) {
      for (int i = 0; i < setup.sources.size(); i++) {
        ClassifierOpener opener = setup.own.get(i);
        opener.with(
            setup.sources.get(i).model(),
            setup.command,
            task -> own.add(ownPredictions(task, opener)));
        progress.update(own.size());
      }
    }
    return own;
  }

  private OwnPredictions ownPredictions(ClassifierOnData task, ClassifierOpener opener) {
    long[] wanted = new Selection.Shuffled(setup.examples, setup.seed).rows(task.examples());
    SkippedRows skipped = new SkippedRows(opener.data().badRows(), setup.warnings);
    skipped.of(wanted.length);
    long[] rows = task.readable(wanted, skipped);
    if (rows.length < 2) {
      throw new InputException(
          task.examples().description()
              + ": a search by divergence needs two examples or more, for half of them confirm what"
              + " the others chose");
    }
    return OwnPredictions.of(task, rows, setup.batchSize);
  }

  // ---- the tasks under one backbone ----

  private interface Work {
    void on(DivergenceMeter meter);
  }

  /** Opens the tasks one inside the other, all on the first one's backbone. */
  private void withTasks(List<OwnPredictions> own, List<DivergenceMeter.Task> opened, Work work) {
    int next = opened.size();
    if (next == own.size()) {
      work.on(new DivergenceMeter(opened, setup.batchSize));
      return;
    }
    setup
        .merged
        .get(next)
        .with(
            setup.options.base,
            setup.command,
            task -> {
              ClassifierOnData shared =
                  next == 0 ? task : task.onBackboneOf(opened.getFirst().merged());
              opened.add(new DivergenceMeter.Task(shared, own.get(next)));
              withTasks(own, opened, work);
            });
  }

  // ---- searching ----

  private BooleanSupplier timeIsUp() {
    double most = setup.settings.nanoseconds().orElse(Double.POSITIVE_INFINITY);
    return () -> System.nanoTime() - started > most;
  }

  private void search(DivergenceMeter meter) {
    try (Progress progress = new Progress(err(), "Searching", "tries", setup.tries, 1)) {
      DirectionSearch.run(
          AVERAGE,
          setup.families,
          setup.tries,
          timeIsUp(),
          (direction, scale) ->
              DivergenceMeter.mean(measure(meter, direction, scale, Half.CHOOSING)),
          tried -> {
            tries.add(tried);
            print(tried);
            progress.update(tries.size());
          });
    }
    Try best = DirectionSearch.best(tries);
    List<Choice> choices = new ArrayList<>();
    choices.add(confirm(meter, "base", AVERAGE, 0));
    choices.add(confirm(meter, "average", AVERAGE, 1));
    choices.add(confirm(meter, "found", best.direction(), best.scale()));
    if (setup.blends) {
      choices.add(blend(meter, best));
    }
    choose(choices);
  }

  private List<Double> measure(
      DivergenceMeter meter, Direction direction, double scale, Half half) {
    set(meter, List.of(directions.of(direction)), new double[] {scale});
    return meter.divergences(half);
  }

  private void set(DivergenceMeter meter, List<Checkpoint> from, double[] ofAll) {
    WeightBlend blend = new WeightBlend(meter.backbone(), base, from, kernels);
    double[][] ofEach = new double[blend.names().size()][];
    Arrays.fill(ofEach, ofAll);
    blend.set(ofEach);
  }

  private Choice confirm(DivergenceMeter meter, String name, Direction direction, double scale) {
    confirming.put(name, measure(meter, direction, scale, Half.CONFIRMING));
    return new Choice(name, List.of(directions.of(direction)), new Average(scale));
  }

  /** Mixes all that was merged, and the models, from the best try on. */
  private Choice blend(DivergenceMeter meter, Try best) {
    Set<Direction> merged = new LinkedHashSet<>();
    tries.forEach(each -> merged.add(each.direction()));
    List<Checkpoint> from = new ArrayList<>();
    List<String> names = new ArrayList<>();
    for (Direction direction : merged) {
      from.add(directions.of(direction));
      names.add(direction.name());
    }
    double[] start = new double[from.size() + setup.sources.size()];
    start[names.indexOf(best.direction().name())] = best.scale();
    from.addAll(directions.models());
    setup.sources.forEach(source -> names.add(source.model().toString()));
    WeightBlend blend = new WeightBlend(meter.backbone(), base, from, kernels);
    BlendTuning.Settings settings = setup.settings.blend(setup.seed);
    out().printf("%n%5s  %13s  %16s%n", "step", "KL of samples", "KL of confirming");
    BlendTuning.Result result;
    try (Progress progress = new Progress(err(), "Blending", "steps", settings.steps(), 1)) {
      result =
          BlendTuning.run(
              blend,
              meter,
              setup.settings.group(),
              start,
              settings,
              timeIsUp(),
              (step, sampled, confirmed) -> {
                out()
                    .printf(
                        Locale.ROOT,
                        "%5d  %13s  %16.5f%n",
                        step,
                        step == 0 ? "" : String.format(Locale.ROOT, "%.5f", sampled),
                        confirmed);
                out().flush();
                progress.update(step);
              });
    }
    Map<String, List<Double>> byName = new LinkedHashMap<>();
    for (int t = 0; t < blend.names().size(); t++) {
      byName.put(blend.names().get(t), Arrays.stream(result.coefficients()[t]).boxed().toList());
    }
    blended.addAll(names);
    blend.set(result.coefficients());
    confirming.put("blend", meter.divergences(Half.CONFIRMING));
    return new Choice(
        "blend", from, new Blend(byName, Arrays.stream(start).boxed().toList()));
  }

  /** The last and most tuned one, unless the other half of the examples says that it is worse. */
  private void choose(List<Choice> choices) {
    Choice chosen = choices.getLast();
    for (Choice each : choices) {
      if (mean(each) < mean(chosen)) {
        setup.warnings.accept(
            "on examples that did not choose it, the %s is no better than the %s, which is written"
                    .formatted(chosen.name.equals("found") ? "merge found" : chosen.name, each.name)
                + " in its place");
        chosen = each;
      }
    }
    if (chosen.name.equals("base")) {
      setup.warnings.accept(
          "these models cannot be merged well: no merge that was tried is closer to their"
              + " predictions than the untouched base");
    }
    choice = chosen;
  }

  private double mean(Choice each) {
    return DivergenceMeter.mean(confirming.getOrDefault(each.name, List.of()));
  }

  // ---- the result ----

  private Choice choice() {
    if (choice == null) {
      throw new IllegalStateException("nothing was searched");
    }
    return choice;
  }

  private void write() {
    MergeRequest.Builder request = setup.options.request(choice().rule);
    choice().directions.forEach(direction -> request.model(direction.path()));
    try (MergeSession last = MergeSession.open(request.build())) {
      MergeOptions.merge(
          last.plan(), setup.command, listener -> last.run(kernels, listener));
    }
  }

  private PrintWriter out() {
    return setup.command.getOut();
  }

  private PrintWriter err() {
    return setup.command.getErr();
  }

  private void print(Try tried) {
    if (tries.size() == 1) {
      out().printf("%5s  %10s  %7s  %s%n", "try", "KL, nats", "scale", "merge");
    }
    out()
        .printf(
            Locale.ROOT,
            "%5d  %10.5f  %7.3f  %s%n",
            tries.size(),
            tried.divergence(),
            tried.scale(),
            name(tried));
    out().flush();
  }

  private static String name(Try tried) {
    return tried.scale() == 0 ? "base" : tried.direction().name();
  }

  private void printComparison() {
    Try best = DirectionSearch.best(tries);
    out()
        .printf(
            "%nfound: %s (fisher-merge %s --scaling-factor %s)%nwritten: %s%n%n",
            name(best), String.join(" ", best.direction().command()), best.scale(), choice().name);
    out().printf("%-40s", "mean KL of confirming examples, nats");
    confirming.keySet().forEach(name -> out().printf("  %9s", name));
    out().println();
    for (int i = 0; i < setup.sources.size(); i++) {
      out().printf("%-40s", setup.sources.get(i).model().getFileName());
      for (List<Double> values : confirming.values()) {
        out().printf(Locale.ROOT, "  %9.5f", values.get(i));
      }
      out().println();
    }
    out().printf("%-40s", "mean");
    for (List<Double> values : confirming.values()) {
      out().printf(Locale.ROOT, "  %9.5f", DivergenceMeter.mean(values));
    }
    out().println();
  }

  /** All that was tried, as JSON. */
  ObjectNode json() {
    ObjectNode json = JsonReport.object();
    json.put("seed", setup.seed).put("examples_per_task", setup.examples);
    put(json.putObject("found"), DirectionSearch.best(tries));
    json.put("written", choice().name);
    ArrayNode all = json.putArray("tries");
    tries.forEach(each -> put(all.addObject(), each));
    ObjectNode kl = json.putObject("confirming_kl");
    confirming.forEach((name, values) -> values.forEach(kl.withArray(name)::add));
    if (choice().rule instanceof Blend blend) {
      ObjectNode node = json.putObject("blend");
      blended.forEach(node.putArray("directions")::add);
      ObjectNode byName = node.putObject("coefficients");
      blend.coefficients()
          .forEach((name, values) -> values.forEach(byName.withArray(name)::add));
    }
    return json;
  }

  private static void put(ObjectNode json, Try tried) {
    json.put("merge", name(tried));
    tried.direction().command().forEach(json.putArray("command")::add);
    json.put("scale", tried.scale()).put("kl", tried.divergence());
  }
}
