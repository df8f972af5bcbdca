package org.fishermerge.cli.tune;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.cli.report.RunReport;
import org.fishermerge.cli.report.RunReport.Check;
import org.fishermerge.cli.report.RunReport.CheckRow;
import org.fishermerge.cli.report.RunReport.Search;
import org.fishermerge.cli.task.JsonReport;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.cli.tune.DirectionSearch.Try;
import org.fishermerge.data.Selection;
import org.fishermerge.estimate.BadRows;
import org.fishermerge.estimate.ClassifierOnData;
import org.fishermerge.estimate.ContentKey;
import org.fishermerge.estimate.SkippedRows;
import org.fishermerge.estimate.tune.BlendTuning;
import org.fishermerge.estimate.tune.DivergenceMeter;
import org.fishermerge.estimate.tune.DivergenceMeter.Half;
import org.fishermerge.estimate.tune.OwnPredictions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.OverflowException;
import org.fishermerge.merge.TaskArithmetic;
import org.fishermerge.torch.WeightBlend;
import org.fishermerge.torch.nn.Weights;
import org.jspecify.annotations.Nullable;

/**
 * Finds the merge whose predictions diverge least from each model's own on that model's examples.
 * Rules, their settings and a scale are tried one after the other; a blend then mixes all that was
 * merged, and the models, with coefficients of its own for each tensor. Merges that are tried are
 * only weights of a network in memory.
 */
public final class DivergenceSearch {
  /** Tries of rules, their settings and scales, unless something else is asked for. */
  public static final int TRIES = 30;

  private static final int NAMES_SHOWN = 3;

  private static final Direction AVERAGE =
      new Direction("average", List.of("average"), new Average());

  /** Opens a model under a task's head, on the task's examples. */
  @FunctionalInterface
  public interface Opener {
    /** Opens, works, and closes. */
    void with(Path model, Consumer<ClassifierOnData> work);
  }

  /**
   * A model to be merged, and its task.
   *
   * @param own opens the model itself
   * @param merged opens a merged model under the same head
   */
  public record Member(Path model, Opener own, Opener merged) {}

  /**
   * How a blend is searched.
   *
   * @param group which parameters share coefficients: those with the same value of it
   */
  public record Blending(UnaryOperator<String> group, BlendTuning.Settings settings) {
    /** Coefficients of its own for each tensor, and the usual settings. */
    public static Blending ofTensors(long seed) {
      return new Blending(name -> name, BlendTuning.Settings.usual(seed));
    }
  }

  /**
   * How to search.
   *
   * @param families rules beside the average
   * @param blending if a blend is searched too
   * @param tries of rules, their settings and scales
   * @param minutes after which no try and no step begins; infinite for no limit
   * @param examples of each task
   * @param seed of examples and samples
   * @param batchSize examples of a forward pass
   * @param badRows what becomes of examples that cannot be read
   */
  public record Settings(
      List<Direction.Family> families,
      Optional<Blending> blending,
      int tries,
      double minutes,
      long examples,
      long seed,
      int batchSize,
      BadRows badRows) {}

  /**
   * The merge that was found: of which directions, by which rule.
   *
   * @param name what messages call it
   * @param coefficients of the directions, if not all are 1
   */
  public record Choice(
      String name,
      List<Path> directions,
      MergeRule rule,
      Optional<TensorCoefficients> coefficients) {
    /** Adds all of it to a request by the rule. */
    public MergeRequest.Builder addTo(MergeRequest.Builder request) {
      directions.forEach(request::model);
      return request.coefficients(coefficients.orElse(null));
    }

    private boolean isSameMerge(Choice other) {
      return directions.equals(other.directions)
          && rule.equals(other.rule)
          && coefficients.equals(other.coefficients);
    }
  }

  private final Settings settings;
  private final List<Member> members;
  private final Directions directions;
  private final SearchProgress progress;
  private final Kernels kernels;
  private final Checkpoint base;
  private final PrintWriter out;
  private final PrintWriter err;
  private final Consumer<String> warnings;
  private final long started = System.nanoTime();

  private final List<Try> tries = new ArrayList<>();
  private final Map<String, List<Double>> confirming = new LinkedHashMap<>();
  private final List<String> blended = new ArrayList<>();
  private @Nullable Choice choice;

  /**
   * A search.
   *
   * @param members in the order of the directions' models
   * @param directions merges of them; borrowed
   * @param progress of this search, not begun; borrowed
   * @param kernels borrowed
   * @param base the model that the others were fine-tuned from; borrowed
   * @param out receives what was tried
   * @param err receives progress
   * @param warnings told what the user should know of the result
   */
  public DivergenceSearch(
      Settings settings,
      List<Member> members,
      Directions directions,
      SearchProgress progress,
      Kernels kernels,
      Checkpoint base,
      PrintWriter out,
      PrintWriter err,
      Consumer<String> warnings) {
    this.settings = settings;
    this.members = List.copyOf(members);
    this.directions = directions;
    this.progress = progress;
    this.kernels = kernels;
    this.base = base;
    this.out = out;
    this.err = err;
    this.warnings = warnings;
  }

  /** Searches, from where a search like this one was stopped. */
  public void run() {
    List<OwnPredictions> own = ownPredictions();
    progress.begin(key(own));
    int merges = 1 + settings.families.size() + DirectionSearch.MOST_DAMPINGS;
    directions.requireRoom(merges + (settings.blending.isPresent() ? members.size() : 0), base);
    withTasks(own, new ArrayList<>(), this::search);
  }

  /**
   * Names all that a measurement depends on, but for the merge. Heads and data are known by the
   * rows and what the models themselves predict for them.
   */
  private String key(List<OwnPredictions> own) {
    ContentKey key = directions.key().add(settings.batchSize);
    for (OwnPredictions ofModel : own) {
      key.add(Arrays.toString(ofModel.rows()));
      ofModel.probabilities().forEach(of -> key.add(Arrays.toString(of)));
    }
    return key.hex();
  }

  // ---- what the models themselves predict ----

  private List<OwnPredictions> ownPredictions() {
    List<OwnPredictions> own = new ArrayList<>();
    try (Progress shown =
        new Progress(err, "Models' own predictions", "models", members.size(), 1)) {
      for (Member member : members) {
        try {
          member.own.with(member.model, task -> own.add(ownPredictions(task)));
        } catch (InputException e) {
          throw new InputException(member.model + ": " + e.getMessage(), e);
        }
        shown.update(own.size());
      }
    }
    return own;
  }

  private OwnPredictions ownPredictions(ClassifierOnData task) {
    long[] wanted = new Selection.Shuffled(settings.examples, settings.seed).rows(task.examples());
    SkippedRows skipped = new SkippedRows(settings.badRows, warnings);
    skipped.of(wanted.length);
    long[] rows = task.readable(wanted, skipped);
    if (rows.length < 2) {
      throw new InputException(
          task.examples().description()
              + ": a search by divergence needs two examples or more, for half of them confirm what"
              + " the others chose");
    }
    return OwnPredictions.of(task, rows, settings.batchSize);
  }

  // ---- the tasks under one backbone ----

  private interface Work {
    void on(DivergenceMeter meter);
  }

  /** Opens the tasks one inside the other, all on the first one's backbone. */
  private void withTasks(List<OwnPredictions> own, List<DivergenceMeter.Task> opened, Work work) {
    int next = opened.size();
    if (next == own.size()) {
      work.on(new DivergenceMeter(opened, settings.batchSize));
      return;
    }
    members
        .get(next)
        .merged
        .with(
            base.path(),
            task -> {
              ClassifierOnData shared =
                  next == 0 ? task : task.onBackboneOf(opened.getFirst().merged());
              opened.add(new DivergenceMeter.Task(shared, own.get(next)));
              withTasks(own, opened, work);
            });
  }

  // ---- searching ----

  private boolean timeIsUp() {
    return System.nanoTime() - started > 60e9 * settings.minutes;
  }

  /** Heads, of which each task has been measured under its own, are merged like all else. */
  private void warnOfUnmeasured(DivergenceMeter meter) {
    Set<String> unmeasured = directions.mergedNames();
    for (Weights.Parameter parameter : meter.backbone().weights()) {
      parameter
          .group()
          .parameters()
          .forEach(member -> unmeasured.remove(ParameterNames.canonical(member.name())));
    }
    if (!unmeasured.isEmpty()) {
      warnings.accept(
          "no divergence depends on "
              + NameList.of(List.copyOf(unmeasured), NAMES_SHOWN)
              + ", which are merged like everything else: each task is measured under its own head;"
              + " leave them out with --exclude, or evaluate with the heads of the tasks");
    }
  }

  private void search(DivergenceMeter meter) {
    warnOfUnmeasured(meter);
    try (Progress shown = new Progress(err, "Searching", "tries", settings.tries, 1)) {
      DirectionSearch.run(
          AVERAGE,
          settings.families,
          settings.tries,
          this::timeIsUp,
          (direction, scale) ->
              DivergenceMeter.mean(measure(meter, direction, scale, Half.CHOOSING)),
          tried -> {
            tries.add(tried);
            print(tried);
            shown.update(tries.size());
          });
    }
    Try best = DirectionSearch.best(tries);
    List<Choice> choices = new ArrayList<>();
    choices.add(confirm(meter, "base", AVERAGE, 0));
    choices.add(confirm(meter, "average", AVERAGE, 1));
    choices.add(confirm(meter, "found", best.direction(), best.scale()));
    settings.blending.ifPresent(blending -> choices.add(blend(meter, best, blending)));
    choose(choices);
  }

  private List<Double> measure(
      DivergenceMeter meter, Direction direction, double scale, Half half) {
    return progress.measured(
        half + " of " + direction.rule() + " at scale " + scale,
        () -> {
          set(meter, List.of(directions.of(direction)), new double[] {scale});
          return meter.divergences(half);
        });
  }

  private void set(DivergenceMeter meter, List<Checkpoint> from, double[] ofAll) {
    WeightBlend blend = new WeightBlend(meter.backbone(), base, from, kernels);
    double[][] ofEach = new double[blend.names().size()][];
    Arrays.fill(ofEach, ofAll);
    blend.set(ofEach);
  }

  private Choice confirm(DivergenceMeter meter, String name, Direction direction, double scale) {
    confirming.put(name, measure(meter, direction, scale, Half.CONFIRMING));
    return choice(name, direction, scale);
  }

  private Choice choice(String name, Direction direction, double scale) {
    return new Choice(
        name, List.of(directions.of(direction).path()), new Average(scale), Optional.empty());
  }

  /** Mixes all that was merged, and the models, from the best try on. */
  private Choice blend(DivergenceMeter meter, Try best, Blending blending) {
    Set<Direction> merged = new LinkedHashSet<>();
    tries.forEach(each -> merged.add(each.direction()));
    List<Checkpoint> from = new ArrayList<>();
    List<String> names = new ArrayList<>();
    for (Direction direction : merged) {
      from.add(directions.of(direction));
      names.add(direction.name());
    }
    double[] start = new double[from.size() + members.size()];
    start[names.indexOf(best.direction().name())] = best.scale();
    from.addAll(directions.models());
    members.forEach(member -> names.add(member.model.toString()));
    WeightBlend blend = new WeightBlend(meter.backbone(), base, from, kernels);
    out.printf("%n%5s  %13s  %16s%n", "step", "KL of samples", "KL of confirming");
    BlendTuning.Result result;
    try (Progress shown = new Progress(err, "Blending", "steps", blending.settings.steps(), 1)) {
      result =
          BlendTuning.run(
              blend,
              meter,
              blending.group,
              start,
              blending.settings,
              this::timeIsUp,
              (step, sampled, confirmed) -> {
                out.printf(
                    Locale.ROOT,
                    "%5d  %13s  %16.5f%n",
                    step,
                    step == 0 ? "" : String.format(Locale.ROOT, "%.5f", sampled),
                    confirmed);
                out.flush();
                shown.update(step);
              },
              progress.blend(key(blend, blending, names, start)));
    }
    Map<String, List<Double>> byName = new LinkedHashMap<>();
    for (int t = 0; t < blend.names().size(); t++) {
      byName.put(blend.names().get(t), Arrays.stream(result.coefficients()[t]).boxed().toList());
    }
    blended.addAll(names);
    confirming.put("blend", result.confirming());
    return new Choice(
        "blend",
        from.stream().map(Checkpoint::path).toList(),
        new TaskArithmetic(1),
        Optional.of(new TensorCoefficients(byName, Arrays.stream(start).boxed().toList())));
  }

  /** Names all that a blend depends on besides the search. */
  private static String key(
      WeightBlend blend, Blending blending, List<String> names, double[] start) {
    ContentKey key =
        new ContentKey("blend").add(blending.settings).add(names).add(Arrays.toString(start));
    blend.names().forEach(name -> key.add(name).add(blending.group.apply(name)));
    return key.hex();
  }

  /** The last and most tuned one, unless the other half of the examples says that it is worse. */
  private void choose(List<Choice> choices) {
    Choice chosen = choices.getLast();
    for (Choice each : choices) {
      if (mean(each) < mean(chosen)) {
        warnings.accept(
            "on examples that did not choose it, the %s is no better than the %s, which is written"
                    .formatted(chosen.name.equals("found") ? "merge found" : chosen.name, each.name)
                + " in its place");
        chosen = each;
      }
    }
    if (chosen.name.equals("base")) {
      warnings.accept(
          "these models cannot be merged well: no merge that was tried is closer to their"
              + " predictions than the untouched base");
    }
    choice = chosen;
  }

  private double mean(Choice each) {
    return DivergenceMeter.mean(confirming.getOrDefault(each.name, List.of()));
  }

  // ---- the result ----

  /**
   * Writes what was chosen, which ends the search's progress. Where the output's dtype cannot hold
   * that, it is the next best of what was tried.
   *
   * @param merge writes a choice, or nothing
   * @throws OverflowException if nothing that was tried can be written
   */
  public void write(Consumer<Choice> merge) {
    Deque<Choice> left = new ArrayDeque<>(List.of(choice()));
    tries.stream()
        .sorted(Comparator.comparingDouble(Try::divergence))
        .forEach(each -> left.add(choice(title(each), each.direction(), each.scale())));
    while (true) {
      Choice best = left.removeFirst();
      try {
        merge.accept(best);
        choice = best;
        progress.remove();
        return;
      } catch (OverflowException e) {
        // The choice may stand among the tries once more.
        left.removeIf(each -> each.isSameMerge(best));
        if (left.isEmpty()) {
          throw e;
        }
        warnings.accept(
            "the %s cannot be written: %s The next best, %s, is written in its place."
                .formatted(best.name, e.getMessage(), left.getFirst().name));
      }
    }
  }

  private static String title(Try tried) {
    return tried.scale() == 0 ? "base" : name(tried) + ", scale " + tried.scale();
  }

  private Choice choice() {
    if (choice == null) {
      throw new IllegalStateException("nothing was searched");
    }
    return choice;
  }

  private void print(Try tried) {
    if (tries.size() == 1) {
      out.printf("%5s  %10s  %7s  %s%n", "try", "KL, nats", "scale", "merge");
    }
    out.printf(
        Locale.ROOT,
        "%5d  %10.5f  %7.3f  %s%n",
        tries.size(),
        tried.divergence(),
        tried.scale(),
        name(tried));
    out.flush();
  }

  private static String name(Try tried) {
    return tried.scale() == 0 ? "base" : tried.direction().name();
  }

  /** Says what was found, and how it does on the examples that confirm. */
  public void printComparison() {
    Try best = DirectionSearch.best(tries);
    out.printf(
        "%nfound: %s (fisher-merge %s --scaling-factor %s)%nwritten: %s%n%n",
        name(best), String.join(" ", best.direction().command()), best.scale(), choice().name);
    out.printf("%-40s", "mean KL of confirming examples, nats");
    confirming.keySet().forEach(name -> out.printf("  %9s", name));
    out.println();
    for (int i = 0; i < members.size(); i++) {
      out.printf("%-40s", members.get(i).model.getFileName());
      for (List<Double> values : confirming.values()) {
        out.printf(Locale.ROOT, "  %9.5f", values.get(i));
      }
      out.println();
    }
    out.printf("%-40s", "mean");
    for (List<Double> values : confirming.values()) {
      out.printf(Locale.ROOT, "  %9.5f", DivergenceMeter.mean(values));
    }
    out.println();
  }

  /** All that was tried, as JSON. */
  public ObjectNode json() {
    ObjectNode json = JsonReport.object();
    json.put("seed", settings.seed).put("examples_per_task", settings.examples);
    put(json.putObject("found"), DirectionSearch.best(tries));
    json.put("written", choice().name);
    ArrayNode all = json.putArray("tries");
    tries.forEach(each -> put(all.addObject(), each));
    ObjectNode kl = json.putObject("confirming_kl");
    confirming.forEach(
        (name, values) -> values.forEach(value -> kl.withArray(name).add(finite(value))));
    choice()
        .coefficients
        .ifPresent(found -> {
          ObjectNode node = json.putObject("blend");
          blended.forEach(node.putArray("directions")::add);
          ObjectNode byName = node.putObject("coefficients");
          found.byName().forEach((name, values) -> values.forEach(byName.withArray(name)::add));
        });
    return json;
  }

  /**
   * The search, as reports have it.
   *
   * @param names of the models, in their order
   */
  public Search found(List<String> names) {
    List<RunReport.Try> all =
        tries.stream()
            .map(each ->
                new RunReport.Try(name(each), each.scale(), null, finite(each.divergence()), null))
            .toList();
    List<CheckRow> rows = new ArrayList<>();
    for (int i = 0; i < members.size(); i++) {
      List<@Nullable Double> values = new ArrayList<>();
      for (List<Double> ofChoice : confirming.values()) {
        values.add(finite(ofChoice.get(i)));
      }
      rows.add(new CheckRow(names.get(i), null, values));
    }
    return new Search(
        "kl",
        List.of(),
        all,
        tries.indexOf(DirectionSearch.best(tries)),
        new Check(List.copyOf(confirming.keySet()), rows));
  }

  /** JSON has no number for infinity. */
  private static @Nullable Double finite(double value) {
    return Double.isFinite(value) ? value : null;
  }

  private static void put(ObjectNode json, Try tried) {
    json.put("merge", name(tried));
    tried.direction().command().forEach(json.putArray("command")::add);
    json.put("scale", tried.scale()).put("kl", finite(tried.divergence()));
  }
}
