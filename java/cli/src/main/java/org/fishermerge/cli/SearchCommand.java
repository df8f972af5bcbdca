package org.fishermerge.cli;

import java.io.PrintWriter;
import java.io.Writer;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.cli.report.MergeFacts;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.cli.task.Warnings;
import org.fishermerge.cli.tune.Direction;
import org.fishermerge.cli.tune.Directions;
import org.fishermerge.cli.tune.DivergenceSearch;
import org.fishermerge.cli.tune.SearchProgress;
import org.fishermerge.data.Examples;
import org.fishermerge.data.Selection;
import org.fishermerge.estimate.BadRows;
import org.fishermerge.estimate.ClassPrompts;
import org.fishermerge.estimate.Evaluation;
import org.fishermerge.estimate.ProgressPath;
import org.fishermerge.estimate.SkippedRows;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.CoefficientSearch;
import org.fishermerge.merge.MergePlan;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.merge.Merger;
import org.fishermerge.merge.ProgressListener;
import org.fishermerge.torch.Accuracy;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.runtime.LibTorchAlgebra;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code search}: the coefficients with which a merge does best on its tasks. */
@Command(
    name = "search",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Searches the coefficients with which the merged model does best on its tasks, or without"
            + " labels the merge that predicts most like the models themselves, and writes it.",
    footer = {
      "",
      "By accuracy, each try is merged anew and measured on N examples of every task. Equal coefficients come"
          + " first. Two models: a grid. More: random shares, then ever smaller steps from the"
          + " best. What was found is compared with equal coefficients on examples that the search"
          + " has not seen.",
      "",
      "A search that was stopped goes on where it was when it is started again: what it has measured and merged"
          + " lies in OUT.progress until it ends."
    })
final class SearchCommand implements Callable<Integer> {
  private static final int TRIES_BY_ACCURACY = 21;

  @Spec private CommandSpec spec = CommandSpec.create();

  @Mixin private MergeOptions options = new MergeOptions();

  @ArgGroup(exclusive = false, multiplicity = "2..*")
  private final List<Member> members = new ArrayList<>(); // picocli adds to it

  /** A model with the task it was fine-tuned for. */
  static final class Member {
    @Option(
        names = "--model",
        required = true,
        paramLabel = "DIR",
        description =
            "A fine-tuned model, BASE+ADAPTER for a LoRA adapter, followed by its Fisher file and its"
                + " task. Repeat the group.")
    Path model = Path.of("");

    @Option(
        names = "--fisher",
        paramLabel = "FILE",
        description =
            "The file of the statistics of the model before it; without any, models are averaged.")
    @Nullable Path fisher;

    @Option(
        names = "--data",
        required = true,
        paramLabel = "SRC",
        description =
            "Examples of its task, as evaluate takes them; kl and blend look at no labels.")
    String data = "";

    @Option(
        names = "--columns",
        paramLabel = "USUAL=NAME,...",
        description = "What the columns of --data are called, as evaluate takes it.")
    @Nullable String columns;

    @Option(
        names = "--match-classes",
        paramLabel = "auto|name|position",
        description = "How the classes of data and model are matched, as evaluate takes it.")
    @Nullable String matchClasses;

    @Option(
        names = "--heads",
        paramLabel = "FILE.safetensors[#prefix.]",
        description = "For pictures: a ready head, as evaluate takes it.")
    @Nullable String heads;

    @Option(
        names = "--classes",
        paramLabel = "TASK|FILE.json[:task]",
        description = "For pictures: class names and templates, as evaluate takes them.")
    @Nullable String classes;

    @Option(
        names = "--classifier",
        paramLabel = "DIR",
        description = "For texts: the folder whose head classifies (default: the model).")
    @Nullable Path classifier;

    /** Where the model and its Fisher are on this machine. */
    Path modelPlace = Path.of("");

    @Nullable Path fisherPlace;
  }

  @Option(
      names = "--clip",
      paramLabel = "DIR",
      description = "For pictures: the CLIP model that was fine-tuned.")
  private @Nullable Path clip;

  @Option(
      names = "--tokenizer",
      paramLabel = "DIR",
      description = "For texts: the folder of the tokenizer (default: the classifier).")
  private @Nullable Path tokenizer;

  /** What a try is measured by. */
  enum By {
    /** Labels. */
    ACCURACY,
    /** The divergence of predictions from each model's own, with one rule and scale. */
    KL,
    /** The same, with a mixture of rules and models. */
    BLEND
  }

  @Option(
      names = "--by",
      paramLabel = "accuracy|kl|blend",
      description =
          "accuracy searches the models' coefficients by labels. kl searches rule, damping and scale"
              + " without labels, by how far the merged model's predictions diverge from each model's"
              + " own; blend goes on from there and mixes rules and models, tensor by tensor (default:"
              + " accuracy).")
  private By by = By.ACCURACY;

  @Mixin private DivergenceOptions divergence = new DivergenceOptions();

  @Option(
      names = "--tries",
      paramLabel = "N",
      description = "Merges to try (default: 21; 30 by kl and blend).")
  private @Nullable Integer tries;

  @Option(
      names = "--examples",
      paramLabel = "N",
      description = "Examples of each task to measure a try on (default: ${DEFAULT-VALUE}).")
  private long examples = 256;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Of the examples and the random coefficients (default: ${DEFAULT-VALUE}).")
  private long seed = 0;

  @Option(
      names = "--batch-size",
      paramLabel = "N",
      description = "Examples per forward pass (default: ${DEFAULT-VALUE}).")
  private int batchSize = 128;

  @Option(
      names = "--bad-rows",
      paramLabel = "stop|skip[:N]",
      description = "What to do about rows that cannot be used, as evaluate takes it.")
  private @Nullable String badRows;

  @Option(
      names = "--workers",
      paramLabel = "N",
      description = "Threads that decode pictures ahead of the model (default: one per core).")
  private int workers = Runtime.getRuntime().availableProcessors();

  @Mixin private WeightingOptions weighting = new WeightingOptions();
  @Mixin private ScalingOption scaling = new ScalingOption();

  @Mixin private ReportOption reports = new ReportOption();

  /** One for all measurements, which meet the same rows again and again. */
  private Warnings warnings = new Warnings(new PrintWriter(Writer.nullWriter()));

  @Override
  public Integer call() {
    warnings = new Warnings(err());
    BadRows.parse(badRows, "--bad-rows");
    divergence.check(spec.commandLine(), by);
    if (by != By.ACCURACY && scaling.factor != 1) {
      throw new ParameterException(
          spec.commandLine(), "--scaling-factor goes with --by accuracy: kl and blend search it");
    }
    requireAtLeastOne("--tries", tries());
    requireAtLeastOne("--examples", examples);
    requireAtLeastOne("--batch-size", batchSize);
    try (Places places = new Places(spec)) {
      options.locate(places);
      for (Member member : members) {
        member.modelPlace = places.model(member.model);
        member.fisherPlace = member.fisher == null ? null : places.fisher(member.fisher);
      }
      return by == By.ACCURACY ? search(places) : searchByDivergence(places);
    }
  }

  // ---- by divergence ----

  private int searchByDivergence(Places places) {
    List<Direction.Family> families =
        SearchedRules.families(members, divergence.statistic(), weighting);
    List<MergeSource> sources = sources(equalCoefficients());
    MergeRequest widest =
        request(options.request(SearchedRules.widest(families)), equalCoefficients());
    if (options.isDryRun()) {
      return options.run(widest, spec.commandLine(), reports);
    }
    try (MergeSession session = MergeSession.open(widest)) {
      session.plan().warnings().forEach(warning -> err().println("warning: " + warning));
      requireOutputsApart(widest.output());
      options.runModelsThere(err());
      // Its folder is where heads are kept; it is never committed.
      try (AtomicOutput scratch = AtomicOutput.folder(widest.output(), widest.overwrite());
          SearchProgress progress = progress(widest.output());
          CommandReport report = CommandReport.open(reports.files, spec, widest.overwrite());
          Checkpoint base = Checkpoint.open(options.base);
          Kernels kernels = options.openKernels();
          Merger merger = session.merger(kernels, new LibTorchAlgebra());
          Directions directions =
              new Directions(options::request, sources, session, merger, kernels, progress)) {
        DivergenceSearch search =
            new DivergenceSearch(
                settings(families),
                members(scratch.temp(), places),
                directions,
                progress,
                kernels,
                base,
                out(),
                err(),
                warnings);
        if (report != null) {
          report.stages().begin();
        }
        search.run();
        if (report != null) {
          report.builder().seed(seed);
          report.stages().end("search");
        }
        // Before the merge: whatever happens to that, what was found is known.
        search.printComparison();
        search.write(choice ->
            write(
                choice,
                session.plan().modelsText(),
                widest,
                session.statisticFiles(),
                kernels,
                report));
        if (report != null) {
          report.builder().search(search.found(names())).warnings(warnings.said());
          report.publish(search.json());
        }
      }
    }
    return 0;
  }

  private SearchProgress progress(Path output) {
    return new SearchProgress(search -> ProgressPath.of(output), err(), warnings);
  }

  private DivergenceSearch.Settings settings(List<Direction.Family> families) {
    return new DivergenceSearch.Settings(
        families,
        by == By.BLEND ? Optional.of(divergence.blending(seed)) : Optional.empty(),
        tries(),
        divergence.minutes(),
        examples,
        seed,
        batchSize,
        BadRows.parse(badRows, "--bad-rows"));
  }

  private List<DivergenceSearch.Member> members(Path scratch, Places places) {
    List<ClassifierOpener> openers = tasks(scratch, places);
    List<DivergenceSearch.Member> tasks = new ArrayList<>();
    for (int i = 0; i < openers.size(); i++) {
      Path model = members.get(i).modelPlace;
      ClassifierOpener own = openers.get(i);
      // A merged model is measured under the head of the task's own model.
      ClassifierOpener merged = own.head() == null ? own.withClassifier(model) : own;
      tasks.add(
          new DivergenceSearch.Member(
              model,
              (opened, work) -> own.with(opened, spec.commandLine(), work),
              (opened, work) -> merged.with(opened, spec.commandLine(), work)));
    }
    return tasks;
  }

  private List<String> names() {
    return TaskNames.of(members.stream().map(member -> member.model).toList());
  }

  private void write(
      DivergenceSearch.Choice choice,
      String models,
      MergeRequest widest,
      List<StatisticFile> statistics,
      Kernels kernels,
      @Nullable CommandReport report) {
    MergeRequest request = choice.addTo(options.request(choice.rule())).build();
    try (MergeSession last = MergeSession.open(request)) {
      MergeOptions.Merged merged =
          MergeOptions.merge(
              last.plan(),
              kernels,
              models,
              spec.commandLine(),
              report,
              listener -> last.run(kernels, listener));
      if (report != null) {
        // The models are those that the directions were made of.
        MergeFacts.addMerge(report.builder(), request, merged.result(), merged.seconds(), names());
        MergeFacts.addModels(report.builder(), widest, names(), statistics);
      }
    }
  }

  // ---- by accuracy ----

  private int search(Places places) {
    MergeRequest equal = request(options.request(rule()), equalCoefficients());
    if (options.isDryRun()) {
      return options.run(equal, spec.commandLine(), reports);
    }
    try (MergeSession session = MergeSession.open(equal)) {
      MergePlan plan = session.plan();
      plan.warnings().forEach(warning -> err().println("warning: " + warning));
      requireOutputsApart(equal.output());
      // A try and the last merge are there at the same time.
      SafetensorsWriter.requireRoom(equal.output(), 2 * plan.bytesWritten());
      options.runModelsThere(err());
      // Its folder is where tries are merged; it is never committed. The last merge writes the
      // output.
      try (AtomicOutput scratch = AtomicOutput.folder(equal.output(), equal.overwrite());
          CommandReport report = CommandReport.open(reports.files, spec, equal.overwrite());
          SearchProgress progress = progress(equal.output());
          Kernels kernels = options.openKernels();
          Merger merger = session.merger(kernels)) {
        if (kernels.usesGpu()) {
          err().println(merger.describeInputs());
        }
        search(places, session, kernels, merger, scratch.temp(), progress, report);
      }
    }
    return 0;
  }

  private void search(
      Places places,
      MergeSession session,
      Kernels kernels,
      Merger merger,
      Path scratch,
      SearchProgress progress,
      @Nullable CommandReport report) {
    List<ClassifierOpener> tasks = tasks(scratch, places);
    // Every try has the settings of the base.
    try (Checkpoint base = Checkpoint.open(options.base)) {
      tasks.forEach(task -> task.check(base));
    }
    Path tried = scratch.resolve("try");
    List<CoefficientSearch.Try> done = new ArrayList<>();
    if (report != null) {
      report.stages().begin();
    }
    CoefficientSearch.Try best;
    try (Progress shown = new Progress(err(), "Searching", "tries", tries(), 1)) {
      best =
          CoefficientSearch.run(
              members.size(),
              tries(),
              seed,
              coefficients -> {
                Supplier<CoefficientSearch.Score> measure =
                    () -> score(merge(coefficients, tried, session, merger), tasks);
                return done.isEmpty()
                    ? first(measure.get(), session.plan(), progress)
                    : kept(coefficients, measure, progress);
              },
              each -> {
                done.add(each);
                printTry(done.size(), each);
                shown.update(done.size());
              });
    }
    List<Accuracy> equalUnseen =
        measure(merge(equalCoefficients(), tried, session, merger), tasks, true);
    if (report != null) {
      report.builder().seed(seed);
      report.stages().end("search");
    }
    MergePlan found =
        session.plan(
            request(options.request(rule()).measureShares(report != null), best.coefficients()));
    MergeOptions.Merged merged =
        MergeOptions.merge(
            found,
            kernels,
            found.modelsText(),
            spec.commandLine(),
            report,
            listener -> merger.run(found, listener));
    progress.remove();
    List<Accuracy> bestUnseen = measure(found.request().output(), tasks, true);
    printComparison(best, equalUnseen, bestUnseen);
    if (report != null) {
      MergeFacts.add(
          report.builder(),
          found.request(),
          merged.result(),
          merged.seconds(),
          names(),
          session.statisticFiles());
      CoefficientSearchReport told =
          new CoefficientSearchReport(done, best, equalUnseen, bestUnseen);
      report.builder().search(told.search(names())).warnings(warnings.said());
      report.publish(told.json(members).put("seed", seed).put("examples_per_task", examples));
    }
  }

  /** The first try is measured in any case: what it gives says whether others belong to it. */
  private static CoefficientSearch.Score first(
      CoefficientSearch.Score score, MergePlan plan, SearchProgress progress) {
    progress.begin(Directions.key(plan).add(score).hex());
    return score;
  }

  private static CoefficientSearch.Score kept(
      List<Double> coefficients,
      Supplier<CoefficientSearch.Score> measure,
      SearchProgress progress) {
    List<Double> values =
        progress.measured(
            "accuracy and loss at " + coefficients,
            () -> {
              CoefficientSearch.Score score = measure.get();
              return List.of(score.accuracy(), score.loss());
            });
    return new CoefficientSearch.Score(values.getFirst(), values.getLast());
  }

  private void requireOutputsApart(Path output) {
    InputPaths read = new InputPaths().add(options.base).add(clip).add(tokenizer);
    for (Member member : members) {
      read.add(member.model).add(member.fisher).add(member.classifier);
      read.add(member.data).add(member.heads).add(member.classes);
    }
    AtomicOutput.requireNotOver(output, read.all());
    reports.requireApart(output, read.all());
  }

  private int tries() {
    return tries != null ? tries : by == By.ACCURACY ? TRIES_BY_ACCURACY : DivergenceSearch.TRIES;
  }

  static void requireAtLeastOne(String option, long value) {
    if (value < 1) {
      throw new InputException(option + " " + value + ": must be at least 1");
    }
  }

  private PrintWriter out() {
    return spec.commandLine().getOut();
  }

  private PrintWriter err() {
    return spec.commandLine().getErr();
  }

  // ---- merging ----

  private List<Double> equalCoefficients() {
    Double[] equal = new Double[members.size()];
    Arrays.fill(equal, 1.0 / members.size());
    return List.of(equal);
  }

  /** Models without Fisher files are averaged. */
  private MergeRule rule() {
    return members.stream().allMatch(member -> member.fisher == null)
        ? new Average(scaling.factor)
        : weighting.rule(scaling.factor);
  }

  private MergeRequest request(MergeRequest.Builder request, List<Double> coefficients) {
    weighting.apply(request);
    sources(coefficients).forEach(request::model);
    return request.build();
  }

  private List<MergeSource> sources(List<Double> coefficients) {
    List<MergeSource> sources = new ArrayList<>();
    for (int i = 0; i < members.size(); i++) {
      Member member = members.get(i);
      sources.add(
          new MergeSource(
              member.modelPlace, Optional.ofNullable(member.fisherPlace), coefficients.get(i)));
    }
    return sources;
  }

  private Path merge(List<Double> coefficients, Path folder, MergeSession session, Merger merger) {
    MergeRequest.Builder request = options.request(rule(), folder).overwrite(true);
    merger.run(session.plan(request(request, coefficients)), ProgressListener.NONE);
    return folder;
  }

  // ---- measuring ----

  /** Heads of class names are built once, and kept in the scratch folder. */
  private List<ClassifierOpener> tasks(Path scratch, Places places) {
    List<ClassifierOpener> tasks = new ArrayList<>();
    for (Member member : members) {
      DataOptions data = new DataOptions();
      data.source = member.data;
      data.columns = member.columns;
      data.badRows = badRows;
      if (member.matchClasses != null) {
        data.matchClasses = member.matchClasses;
      }
      data.workers = workers;
      TextOptions text = new TextOptions();
      text.classifier = member.classifier;
      text.tokenizer = tokenizer;
      text.locate(places);
      data.locate(places);
      HeadOptions head = head(member, scratch, tasks.size(), places);
      tasks.add(new ClassifierOpener(head, text, data, options.different.keys, warnings));
    }
    return tasks;
  }

  private @Nullable HeadOptions head(Member member, Path scratch, int index, Places places) {
    if (member.heads == null && member.classes == null) {
      return null;
    }
    if (clip == null || (member.heads != null && member.classes != null)) {
      throw new ParameterException(
          spec.commandLine(),
          clip == null
              ? "Missing required option: '--clip=DIR', which --heads and --classes need"
              : "--heads and --classes of one model are mutually exclusive");
    }
    HeadOptions head = new HeadOptions();
    head.clip = clip;
    head.source.heads = member.heads;
    head.source.classes = member.classes;
    head.locate(places);
    if (member.classes != null) {
      Path file = scratch.resolve("head" + index + ".safetensors");
      try (Checkpoint checkpoint = Checkpoint.open(head.clip);
          ZeroShotHead built = head.load(checkpoint, warnings)) {
        write(file, built);
      }
      head.source.names = ClassPrompts.parse(member.classes).classNames();
      head.source.classes = null;
      head.source.heads = file.toString();
    }
    return head;
  }

  private static void write(Path file, ZeroShotHead head) {
    long classes = head.classCount();
    long width = head.weights().length / classes;
    SafetensorsWriter.Declared weights =
        new SafetensorsWriter.Declared(HeadOptions.WEIGHTS, DType.F32, List.of(classes, width));
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, List.of(weights), Map.of())) {
      writer.segment(HeadOptions.WEIGHTS).copyFrom(MemorySegment.ofArray(head.weights()));
      writer.finish();
    }
  }

  private CoefficientSearch.Score score(Path model, List<ClassifierOpener> tasks) {
    List<Accuracy> measured = measure(model, tasks, false);
    return new CoefficientSearch.Score(
        mean(measured), measured.stream().mapToDouble(Accuracy::loss).average().orElseThrow());
  }

  private static double mean(List<Accuracy> measured) {
    return measured.stream().mapToDouble(Accuracy::accuracy).average().orElseThrow();
  }

  /** Of each task; one without examples if all of its data were seen. */
  private List<Accuracy> measure(Path model, List<ClassifierOpener> tasks, boolean unseen) {
    List<Accuracy> measured = new ArrayList<>();
    for (ClassifierOpener each : tasks) {
      each.with(
          model,
          spec.commandLine(),
          task -> {
            long[] rows = unseen ? unseen(task.examples()) : seen(task.examples());
            measured.add(
                rows.length == 0
                    ? new Accuracy()
                    : Evaluation.run(
                        task,
                        rows,
                        batchSize,
                        (logits, labels) -> {},
                        new SkippedRows(each.data().badRows(), warnings),
                        done -> {}));
          });
    }
    return measured;
  }

  private long[] seen(Examples dataset) {
    return new Selection.Shuffled(examples, seed).rows(dataset);
  }

  /** As many others, or what is left. */
  private long[] unseen(Examples dataset) {
    long[] seen = seen(dataset);
    Arrays.sort(seen);
    return Arrays.stream(new Selection.Shuffled(2 * examples, seed).rows(dataset))
        .filter(row -> Arrays.binarySearch(seen, row) < 0)
        .limit(examples)
        .toArray();
  }

  // ---- telling ----

  private static String text(List<Double> coefficients) {
    return coefficients.stream()
        .map(c -> String.format(Locale.ROOT, "%.4f", c))
        .collect(Collectors.joining(","));
  }

  private void printTry(int number, CoefficientSearch.Try tried) {
    if (number == 1) {
      out().printf("%5s  %8s  %9s  %s%n", "try", "accuracy", "loss", "coefficients");
    }
    out()
        .printf(
            Locale.ROOT,
            "%5d  %8.4f  %9.5f  %s%n",
            number,
            tried.score().accuracy(),
            tried.score().loss(),
            text(tried.coefficients()));
    out().flush();
  }

  private void printComparison(
      CoefficientSearch.Try best, List<Accuracy> equal, List<Accuracy> found) {
    out().printf("best coefficients: %s%n", text(best.coefficients()));
    if (equal.stream().anyMatch(accuracy -> accuracy.examples() == 0)) {
      out()
          .println(
              "The search saw all examples of a task, so none are left to tell whether it found"
                  + " more than chance; give fewer with --examples.");
      return;
    }
    out().printf("%n%-40s  %8s  %8s  %8s%n", "accuracy on unseen examples", "equal", "found", "of");
    for (int i = 0; i < members.size(); i++) {
      out()
          .printf(
              Locale.ROOT,
              "%-40s  %8.4f  %8.4f  %8d%n",
              members.get(i).model.getFileName(),
              equal.get(i).accuracy(),
              found.get(i).accuracy(),
              found.get(i).examples());
    }
    out().printf(Locale.ROOT, "%-40s  %8.4f  %8.4f%n", "mean", mean(equal), mean(found));
  }
}
