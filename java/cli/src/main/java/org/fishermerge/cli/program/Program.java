package org.fishermerge.cli.program;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.ModelPath;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.cli.config.Composition;
import org.fishermerge.cli.config.Section;
import org.fishermerge.cli.program.ModelPool.Family;
import org.fishermerge.cli.report.MergeFacts;
import org.fishermerge.cli.report.ReportBuilder;
import org.fishermerge.cli.report.ReportFile;
import org.fishermerge.cli.report.ReportFiles;
import org.fishermerge.cli.report.RunReport;
import org.fishermerge.cli.report.RunReport.Similarities;
import org.fishermerge.cli.report.Stages;
import org.fishermerge.cli.report.StatisticFacts;
import org.fishermerge.cli.task.EstimationPrinter;
import org.fishermerge.cli.task.Folders;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.cli.task.Repositories;
import org.fishermerge.cli.task.Repositories.Model;
import org.fishermerge.cli.task.SkippedRowsReport;
import org.fishermerge.cli.task.Warnings;
import org.fishermerge.cli.tune.Directions;
import org.fishermerge.cli.tune.DivergenceSearch;
import org.fishermerge.cli.tune.SearchProgress;
import org.fishermerge.data.Selection;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.estimate.CommandDevice;
import org.fishermerge.estimate.DevicePool;
import org.fishermerge.estimate.Estimation;
import org.fishermerge.estimate.EstimationSettings;
import org.fishermerge.estimate.Evaluation;
import org.fishermerge.estimate.FisherCache;
import org.fishermerge.estimate.ModelHashes;
import org.fishermerge.estimate.SharedDevice;
import org.fishermerge.estimate.SkippedRows;
import org.fishermerge.estimate.Tool;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.Compatibility;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.KroneckerFisher;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeResult;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.merge.Merger;
import org.fishermerge.merge.Normalization;
import org.fishermerge.merge.RegMean;
import org.fishermerge.merge.Similarity;
import org.fishermerge.torch.Accuracy;
import org.fishermerge.torch.arch.Architectures;
import org.fishermerge.torch.arch.ClipConfig;
import org.fishermerge.torch.runtime.LibTorchAlgebra;
import org.jspecify.annotations.Nullable;

/**
 * FusionBench's program: makes one model of a pool, saves it, measures it on the tasks and reports.
 * What can be wrong with the configuration is found before a model is fetched, and what can be
 * wrong with models, data and places to write before the first statistic.
 */
public final class Program {
  private static final Pattern ARCHITECTURE =
      Pattern.compile("clip-vit-[a-z]+-patch\\d+", Pattern.CASE_INSENSITIVE);
  private static final int TASKS_SHOWN = 5;

  /** Of what names a search, in the name of its progress. */
  private static final int KEY_DIGITS = 16;

  private final Composition composition;
  private final RunSettings settings;
  private final Method method;
  private final ModelPool models;
  private final CommandDevice device;

  /** Where statistics are estimated: the device, and other GPUs. */
  private final List<SharedDevice> pool;

  private final Optional<TaskPool> tasks;
  private final String resolvedYaml;
  private final PrintWriter out;
  private final PrintWriter err;
  private final Warnings warnings;
  private final ModelHashes hashes = new ModelHashes();
  private final Report report = new Report();
  private final ReportBuilder page;
  private final Stages stages;

  /**
   * Reads and checks a configuration.
   *
   * @param now when the run begins
   * @param environment variables that the configuration may ask for
   * @param line the words of the command line, for the report
   * @param out receives results
   * @param err receives progress
   * @throws InputException for the first thing that is wrong
   */
  public Program(
      Composition composition,
      LocalDateTime now,
      UnaryOperator<@Nullable String> environment,
      List<String> line,
      PrintWriter out,
      PrintWriter err) {
    this.composition = composition;
    this.page = new ReportBuilder("run", line);
    this.stages = new Stages(page);
    this.out = out;
    this.err = err;
    this.warnings = new Warnings(err);
    Section root = composition.resolved(now, environment);
    resolvedYaml = composition.resolvedYaml(null, now, environment);
    settings = RunSettings.of(root);
    device =
        CommandDevice.forModels(settings.device().orElse(null), settings.precision(), warnings);
    pool = device.withOthers(settings.gpus()).stream().map(SharedDevice::new).toList();
    method =
        Method.of(
            root.requiredSection("method"),
            settings.seed(),
            device.precision(),
            settings.badRows());
    models = ModelPool.of(root.requiredSection("modelpool"));
    tasks = root.section("taskpool").map(TaskPool::of);
    checkMethod();
    checkTasks();
    checkArchitectures();
  }

  // ---- what the configuration alone shows ----

  private void checkMethod() {
    boolean onlyPretrained = method instanceof Method.Dummy;
    if (models.models().isEmpty() && !(onlyPretrained && models.pretrained().isPresent())) {
      throw new InputException(
          "modelpool.models holds no model to merge; names that begin and end with _ are none");
    }
    if (!onlyPretrained) {
      models.requirePretrained("gives what is not merged");
    }
    if (!models.factored().isEmpty() && models.models().size() > 1 && !onlyPretrained) {
      throw new InputException(
          "modelpool.models."
              + models.factored().getFirst()
              + ".merge_and_unload is not true: FusionBench would merge the two factors of each"
              + " adapter apart from each other, and not their products, which is not done here;"
              + " set merge_and_unload: true for "
              + NameList.of(models.factored(), TASKS_SHOWN));
    }
    if (method instanceof Method.WeightedAverage average) {
      requireOneEach("weights", average.weights());
    }
    if (!(method instanceof Method.StatisticMerging merging)) {
      return;
    }
    if (merging.family() != models.family()) {
      throw new InputException(
          "method._target_ "
              + merging.target()
              + " does not go with modelpool._target_ "
              + models.family().target);
    }
    List<String> without =
        models.models().keySet().stream()
            .filter(name -> !models.trainData().containsKey(name))
            .toList();
    if (!without.isEmpty()) {
      throw new InputException(
          "modelpool.train_datasets has no data for "
              + NameList.of(without, TASKS_SHOWN)
              + ", which statistics are estimated on; a model pool with model_only in its name is for"
              + " methods without data");
    }
    if (!merging.coefficients().isEmpty()) {
      requireOneEach("coefficients", merging.coefficients());
    }
    if (models.family() == Family.CLIP) {
      models.models().keySet().forEach(task -> ClipOpener.prompts(task, settings.classNames()));
    }
  }

  private void requireOneEach(String key, List<Double> values) {
    if (values.size() != models.models().size()) {
      throw new InputException(
          "method.%s has %d values for %d models"
              .formatted(key, values.size(), models.models().size()));
    }
  }

  private void checkTasks() {
    TaskPool pool = tasks.orElse(null);
    if (pool == null || pool.family().isEmpty()) {
      return;
    }
    if (pool.family().get() != models.family()) {
      throw new InputException(
          "the taskpool measures models of "
              + pool.family().get()
              + ", the modelpool holds models of "
              + models.family());
    }
    if (models.family() == Family.CLIP) {
      pool.testData().keySet().forEach(task -> ClipOpener.prompts(task, settings.classNames()));
    }
  }

  /** Names tell a wrong base model before anything is fetched. */
  private void checkArchitectures() {
    Map<String, String> ids = new LinkedHashMap<>();
    models.pretrained().ifPresent(id -> ids.put("modelpool.models._pretrained_", id));
    models.models().forEach((name, id) -> ids.put("modelpool.models." + name, id));
    tasks.flatMap(TaskPool::base).ifPresent(id -> ids.put("taskpool.clip_model", id));
    String firstKey = null;
    String first = null;
    for (Map.Entry<String, String> entry : ids.entrySet()) {
      Matcher matcher = ARCHITECTURE.matcher(entry.getValue());
      if (!matcher.find()) {
        continue;
      }
      String architecture = matcher.group().toLowerCase(Locale.ROOT);
      if (first == null) {
        first = architecture;
        firstKey = entry.getKey();
      } else if (!first.equals(architecture)) {
        throw new InputException(
            entry.getKey()
                + " is "
                + entry.getValue()
                + ", but "
                + firstKey
                + " is a "
                + first
                + (entry.getKey().startsWith("taskpool")
                    ? "; give taskpool.base_model=" + ids.get(firstKey)
                    : "; models of one architecture are merged"));
      }
    }
  }

  // ---- the run ----

  /** Everything that a run needs, found and fitting. */
  private record Inputs(
      Optional<Path> pretrained,
      Map<String, Path> models,
      Map<String, DataSource> trainData,
      Map<String, DataSource> testData,
      @Nullable ModelOpener fisherOpener,
      @Nullable ModelOpener testOpener) {}

  /** Does it all, or prints the configuration if this is a dry run. */
  public void run(Repositories repositories) {
    if (settings.dryRun()) {
      out.print(resolvedYaml);
      out.println("# dry_run: nothing was loaded");
      return;
    }
    if (settings.printConfig()) {
      err.print(resolvedYaml);
    }
    long start = System.nanoTime();
    stages.begin();
    LogFolder.tidyEarlierOnes(settings.log());
    // Places that cannot be written are found before the work, not after it.
    try (stages;
        AtomicOutput logged = AtomicOutput.file(settings.log().resolve("config.yaml"), true);
        ReportFiles places =
            ReportFiles.open(settings.report().map(Program::places).orElse(List.of()), true)) {
      settings.save().ifPresent(folder -> AtomicOutput.folder(folder, true).close());
      Inputs inputs = find(repositories);
      stages.end("finding models and data");
      logged.write(composition.yaml(null));
      logged.commit();
      Path merged = merge(inputs);
      try {
        evaluate(merged, inputs);
      } finally {
        if (settings.save().isEmpty() && !(method instanceof Method.Dummy)) {
          deleteTree(merged);
        }
      }
      facts(inputs, (System.nanoTime() - start) / 1e9);
      // Before the files: whatever happens to these, the numbers are there.
      report.print(out);
      publish(inputs, places);
    }
    settings.save().ifPresent(folder -> out.println("merged model  " + folder));
    Path json = settings.report().orElse(settings.log().resolve("report.json"));
    out.println("report        " + json);
    if (!ReportFile.isPage(json)) {
      out.println("page          " + ReportFiles.pageBeside(json));
    }
  }

  /** JSON where it was asked for, and the page beside it. */
  private static List<Path> places(Path report) {
    return ReportFile.isPage(report)
        ? List.of(report)
        : List.of(report, ReportFiles.pageBeside(report));
  }

  /** Finds all of it before anything large is downloaded. */
  private Inputs find(Repositories repositories) {
    Optional<Model> pretrained = models.pretrained().map(repositories::model);
    Map<String, Model> regular = new LinkedHashMap<>();
    if (!(method instanceof Method.Dummy)
        || pretrained.isEmpty()
        || models.family() == Family.GPT2) {
      models.models().forEach((name, id) -> regular.put(name, repositories.model(id)));
    }
    Optional<Model> base = tasks.flatMap(TaskPool::base).map(repositories::model);
    Map<String, Model> all = new LinkedHashMap<>();
    models.pretrained().ifPresent(id -> all.put(id, pretrained.orElseThrow()));
    regular.forEach((name, model) -> all.put(models.models().getOrDefault(name, name), model));
    tasks.flatMap(TaskPool::base).ifPresent(id -> all.put(id, base.orElseThrow()));
    checkConfigs(all);
    Map<String, Supplier<DataSource>> trainData = new LinkedHashMap<>();
    if (method instanceof Method.StatisticMerging) {
      regular
          .keySet()
          .forEach(task -> trainData.put(task, repositories.dataset(trainData(task).split())));
    }
    Map<String, Supplier<DataSource>> testData = new LinkedHashMap<>();
    Optional<TaskPool> measured = tasks.filter(pool -> pool.family().isPresent());
    measured.ifPresent(pool ->
        pool.testData()
            .forEach((task, id) -> testData.put(task, repositories.dataset(id.split()))));
    return fetch(
        pretrained.map(model -> model.folder().get()),
        fetched(regular, Model::folder),
        base.map(model -> model.folder().get()),
        measured,
        trainData,
        testData);
  }

  private static <F, T> Map<String, T> fetched(
      Map<String, F> found, Function<F, Supplier<T>> fetch) {
    Map<String, T> all = new LinkedHashMap<>();
    found.forEach((name, one) -> all.put(name, fetch.apply(one).get()));
    return all;
  }

  /** What the configurations alone tell of models that do not belong together. */
  private void checkConfigs(Map<String, Model> found) {
    List<Compatibility.Member> members = new ArrayList<>();
    found.forEach((id, model) -> {
      model
          .config()
          .ifPresent(config -> {
            switch (models.family()) {
              case CLIP -> ClipConfig.of(config);
              case GPT2 -> Architectures.text(ModelConfig.GPT2).orElseThrow().check(config);
            }
          });
      members.add(Compatibility.Member.of(id, model.config()));
    });
    Compatibility.check(members, settings.allowDifferent());
  }

  /** The same of all that is in their folders, which are all there now. */
  private void checkFolders(List<Path> folders) {
    List<Compatibility.Member> members = new ArrayList<>();
    for (Path folder : folders) {
      try (Checkpoint model = Checkpoint.open(folder)) {
        members.add(Compatibility.Member.of(model));
      }
    }
    Compatibility.check(members, settings.allowDifferent()).forEach(warnings);
  }

  /** Downloads what is not here yet, and checks what the weights' headers show. */
  private Inputs fetch(
      Optional<Path> pretrained,
      Map<String, Path> folders,
      Optional<Path> base,
      Optional<TaskPool> measured,
      Map<String, Supplier<DataSource>> trainData,
      Map<String, Supplier<DataSource>> testData) {
    List<Path> all = new ArrayList<>();
    pretrained.ifPresent(folder -> all.addAll(ModelPath.of(folder).parts()));
    base.ifPresent(all::add);
    folders.values().forEach(folder -> all.addAll(ModelPath.of(folder).parts()));
    settings.save().ifPresent(folder -> AtomicOutput.requireApart(folder, all));
    pretrained.ifPresent(this::requireRoom);
    List<Path> models = new ArrayList<>(folders.values());
    base.ifPresent(model -> models.addFirst(model));
    pretrained.ifPresent(model -> models.addFirst(model));
    checkFolders(models.stream().distinct().toList());

    ModelOpener fisherOpener = null;
    if (method instanceof Method.StatisticMerging merging) {
      fisherOpener =
          openerOf(
              pretrained.orElseThrow(), folders.keySet(), folders, pretrained, merging.workers());
      folders.forEach(fisherOpener::check);
    }
    ModelOpener testOpener = null;
    if (measured.isPresent()) {
      Path model = pretrained.orElseGet(() -> folders.values().iterator().next());
      testOpener =
          openerOf(
              base.orElse(model), testData.keySet(), folders, pretrained, measured.get().workers());
      for (String task : testData.keySet()) {
        testOpener.check(task, model);
      }
    }
    return new Inputs(
        pretrained,
        folders,
        fetched(trainData, Function.identity()),
        fetched(testData, Function.identity()),
        fisherOpener,
        testOpener);
  }

  /** A disk that cannot hold the merged model is found before the Fishers. */
  private void requireRoom(Path pretrained) {
    if (!(method instanceof Method.Dummy) || settings.save().isPresent()) {
      Path output = settings.save().orElseGet(settings::log);
      try (Checkpoint base = Checkpoint.open(pretrained)) {
        SafetensorsWriter.requireRoom(
            output, base.tensors().values().stream().mapToLong(t -> t.info().byteCount()).sum());
      }
    }
  }

  private ModelOpener openerOf(
      Path base,
      Set<String> tasks,
      Map<String, Path> folders,
      Optional<Path> pretrained,
      int workers) {
    return switch (models.family()) {
      case CLIP ->
          new ClipOpener(
              base,
              tasks,
              settings.classNames(),
              settings.cache().resolve("heads"),
              settings.matching(),
              workers,
              hashes,
              warnings);
      case GPT2 -> new Gpt2Opener(folders, pretrained.orElse(base), settings.matching(), warnings);
    };
  }

  private static DataSource found(Map<String, DataSource> data, String task) {
    DataSource found = data.get(task);
    if (found == null) {
      throw new IllegalStateException("found before: " + task);
    }
    return found;
  }

  private DatasetId trainData(String task) {
    DatasetId data = models.trainData().get(task);
    if (data == null) {
      throw new IllegalStateException("checked before: " + task);
    }
    return data;
  }

  // ---- merging ----

  /** The folder of the merged model. */
  private Path merge(Inputs inputs) {
    if (method instanceof Method.Dummy && settings.save().isEmpty()) {
      return single(inputs);
    }
    Path output = settings.save().orElseGet(() -> settings.log().resolve("merged"));
    MergeRequest.Builder request = request(inputs, method.rule(), output);
    switch (method) {
      case Method.Dummy dummy -> request.model(single(inputs));
      case Method.SimpleAverage average -> inputs.models.values().forEach(request::model);
      case Method.WeightedAverage average -> {
        List<Path> all = List.copyOf(inputs.models.values());
        for (int i = 0; i < all.size(); i++) {
          request.model(MergeSource.of(all.get(i)).withCoefficient(average.weights().get(i)));
        }
      }
      case Method.TaskVectors vectors -> {
        double coefficient = vectors.averages() ? 1.0 / inputs.models.size() : 1;
        inputs
            .models
            .values()
            .forEach(model -> request.model(MergeSource.of(model).withCoefficient(coefficient)));
        Path first = inputs.models.values().iterator().next();
        notIn(base(inputs), first).forEach(request::exclude);
      }
      case Method.StatisticMerging merging -> {
        List<MergeSource> sources = estimate(merging, inputs);
        sources.forEach(request::model);
        if (merging.tuning().isPresent()) {
          tune(merging.tuning().get(), inputs, sources, request.build());
          return output;
        }
      }
    }
    err.println("merging " + models.models().size() + " models");
    err.flush();
    try (Kernels kernels = device.open()) {
      merge(request.build(), kernels, List.copyOf(inputs.models.keySet()));
    }
    return output;
  }

  /** The last merge. */
  private @Nullable MergeResult merged;

  private void merge(MergeRequest request, Kernels kernels, List<String> names) {
    try (MergeSession session = MergeSession.open(request)) {
      stages.beginMerge(session.plan(), kernels);
      long start = System.nanoTime();
      MergeResult result;
      try (Progress progress =
          new Progress(err, "Merging", "GB", session.plan().bytesRead(), 1e9)) {
        result =
            session.run(kernels, new LibTorchAlgebra(), (done, total) -> progress.update(done));
      }
      double seconds = (System.nanoTime() - start) / 1e9;
      describe(result, seconds);
      boolean ofModels = request.models().size() == names.size();
      stages.endMerge(session.plan(), result, seconds);
      MergeFacts.addMerge(page, request, result, seconds, ofModels ? names : List.of());
      result.warnings().forEach(warnings);
      merged = result;
    }
  }

  private static Path base(Inputs inputs) {
    return inputs.pretrained.orElseGet(() -> single(inputs));
  }

  /** A merge of the pool's models without the models. */
  private MergeRequest.Builder request(Inputs inputs, MergeRule rule, Path output) {
    Path base = base(inputs);
    MergeRequest.Builder request =
        MergeRequest.builder(base, output, rule).overwrite(true).measureShares(true);
    settings.allowDifferent().forEach(request::allowDifferent);
    if (models.family() == Family.GPT2 && !(method instanceof Method.Dummy)) {
      headsOf(base).forEach(request::exclude);
    }
    if (method instanceof Method.StatisticMerging merging) {
      merging.exclude().forEach(request::exclude);
    }
    return request;
  }

  /** Merges by what is closest to the models' own predictions. */
  private void tune(
      DivergenceSearch.Settings tuning,
      Inputs inputs,
      List<MergeSource> sources,
      MergeRequest widest) {
    ModelOpener opener = Objects.requireNonNull(inputs.fisherOpener, "found before");
    List<DivergenceSearch.Member> members = new ArrayList<>();
    inputs.models.forEach((task, model) -> {
      DivergenceSearch.Opener opened =
          (path, work) ->
              opener.open(task, path, trainData(task), found(inputs.trainData, task), work);
      members.add(new DivergenceSearch.Member(model, opened, opened));
    });
    err.println("searching the merge of " + members.size() + " models by divergence");
    err.flush();
    try (MergeSession session = MergeSession.open(widest);
        // The folder of the log is another one in every run.
        SearchProgress progress =
            new SearchProgress(
                search ->
                    settings.cache().resolve("search").resolve(search.substring(0, KEY_DIGITS)),
                err,
                warnings);
        Checkpoint base = Checkpoint.open(widest.base());
        Kernels kernels = device.open();
        Merger merger = session.merger(kernels, new LibTorchAlgebra());
        Directions directions =
            new Directions(
                (rule, folder) -> request(inputs, rule, folder),
                sources,
                session,
                merger,
                kernels,
                progress)) {
      DivergenceSearch search =
          new DivergenceSearch(
              tuning, members, directions, progress, kernels, base, out, err, warnings);
      stages.begin();
      search.run();
      stages.end("search");
      // Before the merge: whatever happens to that, what was found is known.
      search.printComparison();
      search.write(choice ->
          merge(
              choice.addTo(request(inputs, choice.rule(), widest.output())).build(),
              kernels,
              List.of()));
      report.own().set("tuning", search.json());
      page.search(search.found(List.copyOf(inputs.models.keySet())));
    }
  }

  private static Path single(Inputs inputs) {
    return inputs.pretrained.orElseGet(() -> inputs.models.values().iterator().next());
  }

  /**
   * FusionBench merges backbones: the pre-trained folder may have a head that tasks do not share.
   */
  private static List<String> headsOf(Path base) {
    try (Checkpoint model = Checkpoint.open(base)) {
      return model.tensors().keySet().stream()
          .filter(name -> name.startsWith("score."))
          .map(name -> Pattern.quote(name) + "$")
          .toList();
    }
  }

  /** What is in one model only: it takes no part in a difference of models. */
  private static List<String> notIn(Path base, Path model) {
    try (Checkpoint whole = Checkpoint.open(base);
        Checkpoint part = Checkpoint.open(ModelPath.of(model), whole)) {
      return whole.tensors().keySet().stream()
          .filter(name -> part.find(name).isEmpty())
          .map(name -> Pattern.quote(name) + "$")
          .toList();
    }
  }

  /** Estimates what is not kept yet; the models with their statistics. */
  private List<MergeSource> estimate(Method.StatisticMerging merging, Inputs inputs) {
    stages.begin();
    List<MergeSource> sources = new ArrayList<>();
    ModelOpener opener = Objects.requireNonNull(inputs.fisherOpener, "found before");
    Path folder =
        merging.keep()
            ? merging
                .cache()
                .map(Path::of)
                .orElseGet(() -> settings.cache().resolve(merging.statistics()))
            : settings.log().resolve(merging.statistics());
    FisherCache cache = new FisherCache(folder, merging.estimate(), settings.matching());
    List<Map.Entry<String, Path>> all = List.copyOf(inputs.models.entrySet());
    List<FisherCache.Entry> entries =
        DevicePool.run(
            pool,
            merging.atOnce(),
            all.size(),
            (index, where) -> {
              String task = all.get(index).getKey();
              Path model = all.get(index).getValue();
              DatasetId data = trainData(task);
              DataSource files = found(inputs.trainData, task);
              FisherCache.Subject subject =
                  new FisherCache.Subject(
                      task,
                      hashes.of(model),
                      opener.identity(task),
                      files,
                      data.columns(),
                      (odd, work) -> opener.open(task, model, data, files, work::accept));
              PrintWriter lines = Progress.lines(err, task);
              FisherCache.Entry entry =
                  cache.get(subject, where, new EstimationPrinter(cache.title(), lines, lines));
              entry.estimated().ifPresent(result -> describe(merging, result, lines));
              return entry;
            });
    stages.end(
        FisherCache.title(merging.estimate().statistics()),
        entries.stream()
            .flatMap(entry -> entry.estimated().stream())
            .flatMapToLong(result -> result.plannedBytes().stream())
            .boxed()
            .max(Long::compare)
            .orElse(null));
    ArrayNode described = report.own().putArray(merging.statistics() + "s");
    for (int i = 0; i < entries.size(); i++) {
      String task = all.get(i).getKey();
      FisherCache.Entry entry = entries.get(i);
      double coefficient = merging.coefficients().isEmpty() ? 1 : merging.coefficients().get(i);
      sources.add(MergeSource.of(all.get(i).getValue(), entry.file()).withCoefficient(coefficient));
      statistics.put(task, entry.file());
      ObjectNode node = described.addObject();
      node.put("task", task)
          .put("data", trainData(task).description())
          .put("examples", entry.examples())
          .put("labels", entry.labels())
          .put("coefficient", coefficient)
          .put("reused", entry.estimated().isEmpty())
          .put("seconds", entry.estimated().map(Estimation.Result::seconds).orElse(0.0))
          .put("file", entry.file().toString());
      entry
          .estimated()
          .map(Estimation.Result::skipped)
          .filter(rows -> rows.count() > 0)
          .ifPresent(rows -> SkippedRowsReport.add(rows, node));
    }
    return sources;
  }

  /** By the names of models. */
  private final Map<String, Path> statistics = new LinkedHashMap<>();

  private static void describe(
      Method.StatisticMerging merging, Estimation.Result result, PrintWriter lines) {
    lines.printf(
        Locale.ROOT,
        "%s over %d examples%s%s in %s, %.2f examples/s%n",
        FisherCache.title(merging.estimate().statistics()),
        result.examples(),
        result.skipped().text(),
        merging.dependsOnLabels() ? " (" + result.rule().text() + ")" : "",
        Progress.duration(result.seconds()),
        result.examples() / result.seconds());
  }

  private void describe(MergeResult result, double seconds) {
    ObjectNode merge =
        report
            .own()
            .putObject("merge")
            .put("parameters", result.mergedElements())
            .put("bytes_read", result.bytesRead())
            .put("bytes_written", result.bytesWritten())
            .put("seconds", seconds);
    ArrayNode weights = merge.putArray("models");
    result
        .models()
        .forEach(model -> {
          ObjectNode node = weights.addObject().put("model", model.model().toString());
          node.put("weight", model.weight());
          if (!Double.isNaN(model.norm())) {
            node.put("fisher_norm", model.norm()).put("below_minimal", model.belowMinimal());
          }
        });
  }

  // ---- measuring ----

  private void evaluate(Path merged, Inputs inputs) {
    TaskPool pool = tasks.orElse(null);
    if (models.family() == Family.CLIP) {
      report.modelInfo(merged);
    }
    ModelOpener opener = inputs.testOpener;
    if (pool == null || opener == null) {
      return;
    }
    long start = System.nanoTime();
    stages.begin();
    long[] examples = {0};
    for (Map.Entry<String, DatasetId> test : pool.testData().entrySet()) {
      String task = test.getKey();
      opener.open(
          task,
          merged,
          test.getValue(),
          found(inputs.testData, task),
          opened -> {
            long[] rows =
                new Selection.First(settings.fastDevRun() ? pool.batchSize() : Long.MAX_VALUE)
                    .rows(opened.examples());
            SkippedRows skipped = new SkippedRows(settings.badRows(), warnings);
            Accuracy accuracy;
            try (Progress progress =
                new Progress(err, "Evaluating " + task, "examples", rows.length, 1)) {
              accuracy =
                  Evaluation.run(
                      opened,
                      rows,
                      pool.batchSize(),
                      (logits, labels) -> {},
                      skipped,
                      progress::update);
            }
            examples[0] += accuracy.examples();
            report.task(task, accuracy, skipped);
            err.printf(
                Locale.ROOT,
                "%s: accuracy %.4f (%d of %d%s), loss %.6f%n",
                task,
                accuracy.accuracy(),
                accuracy.correct(),
                accuracy.examples(),
                skipped.text(),
                accuracy.loss());
            err.flush();
          });
    }
    report.average();
    stages.end("evaluation");
    report
        .own()
        .putObject("evaluation")
        .put("examples", examples[0])
        .put("seconds", (System.nanoTime() - start) / 1e9);
  }

  // ---- reporting ----

  private void facts(Inputs inputs, double seconds) {
    ObjectNode own = report.own();
    own.put("method", method.target());
    own.put("seed", settings.seed());
    switch (method) {
      case Method.WeightedAverage average ->
          average.weights().forEach(own.putArray("weights")::add);
      case Method.TaskVectors vectors -> own.put("scaling_factor", vectors.scalingFactor());
      case Method.StatisticMerging merging -> facts(merging, own);
      default -> {}
    }
    ObjectNode read = own.putObject("models");
    inputs.pretrained.ifPresent(
        path -> model(read, "_pretrained_", models.pretrained().orElseThrow(), path));
    inputs.models.forEach(
        (name, path) -> model(read, name, models.models().getOrDefault(name, name), path));
    own.put("seconds", seconds);
    own.put("tool", Tool.nameAndVersion());
    own.put("java", Runtime.version().toString());
  }

  private static void facts(Method.StatisticMerging merging, ObjectNode own) {
    EstimationSettings estimate = merging.estimate();
    if (merging.dependsOnLabels()) {
      own.put("labels", estimate.rule().text());
    }
    own.put("selection", estimate.chosenOrder().text());
    String examples =
        merging.rule() instanceof RegMean ? "num_regmean_examples" : "num_fisher_examples";
    own.put(examples, estimate.examples().most());
    switch (merging.rule()) {
      case RegMean regMean ->
          own.put("reduce_non_diagonal_ratio", regMean.offDiagonal())
              .put("scaling_factor", regMean.scalingFactor());
      case KroneckerFisher kronecker ->
          own.put("normalize_fisher_weight", kronecker.scale() != KroneckerFisher.Scale.NONE)
              .put("damping", kronecker.damping())
              .put("scaling_factor", kronecker.scalingFactor());
      default -> {}
    }
    if (merging.rule().elementwise() instanceof DiagonalFisher diagonal) {
      own.put("normalize_fisher_weight", diagonal.normalization() != Normalization.NONE)
          .put("minimal_fisher_weight", diagonal.minimalFisher());
    }
  }

  private void model(ObjectNode read, String name, String id, Path path) {
    read.putObject(name).put("id", id).put("path", path.toString()).put("sha256", hashes.of(path));
  }

  /** FusionBench leaves a CLIP report in the log folder, and one where it is asked to. */
  private void publish(Inputs inputs, ReportFiles places) {
    RunReport whole = page(inputs);
    if (models.family() == Family.CLIP) {
      Path file = settings.log().resolve("report.json");
      for (int i = 1; Files.exists(file); i++) {
        file = settings.log().resolve("report_" + i + ".json");
      }
      try (ReportFiles logged =
          ReportFiles.open(List.of(file, ReportFiles.pageBeside(file)), true)) {
        logged.publish(report.json(), whole);
      }
    }
    places.publish(report.json(), whole);
  }

  private RunReport page(Inputs inputs) {
    page.seed(settings.seed());
    Map<String, StatisticFacts> facts = new LinkedHashMap<>();
    statistics.forEach((name, file) -> facts.put(name, StatisticFacts.of(file)));
    inputs.pretrained.ifPresent(path ->
        page.model(
            model(
                "pretrained",
                true,
                models.pretrained().orElseThrow(),
                path,
                null,
                Optional.empty())));
    List<String> names = List.copyOf(inputs.models.keySet());
    for (int i = 0; i < names.size(); i++) {
      String name = names.get(i);
      Path path = Objects.requireNonNull(inputs.models.get(name));
      String id = models.models().getOrDefault(name, name);
      MergeResult found = merged;
      page.model(
          model(
              name,
              false,
              id,
              path,
              facts.get(name),
              found == null || found.models().size() < names.size()
                  ? Optional.empty()
                  : Optional.of(found.models().get(i)).filter(each -> each.model().equals(path))));
    }
    if (!statistics.isEmpty()) {
      List<Path> files = List.copyOf(statistics.values());
      page.fishers(StatisticFacts.sizes(List.copyOf(facts.values()), names));
      if (files.size() > 1 && estimatesDiagonals()) {
        // Not the GPU: what is compared passes once.
        try (Kernels kernels = CommandDevice.forMerging(null).open();
            Progress progress = new Progress(err, "Comparing", "GB", 0, 1e9)) {
          page.similarity(
              Similarities.of(
                  Similarity.of(files, kernels, (done, total) -> progress.update(done, total)),
                  names));
        }
      }
    }
    report.addTo(page);
    return page.warnings(warnings.said()).build();
  }

  private boolean estimatesDiagonals() {
    return method instanceof Method.StatisticMerging merging
        && merging.estimate().statistics().contains(StatisticKind.DIAGONAL_FISHER);
  }

  private RunReport.Model model(
      String name,
      boolean base,
      String id,
      Path path,
      @Nullable StatisticFacts facts,
      Optional<MergeResult.ModelStatistics> found) {
    List<Double> coefficients =
        method instanceof Method.StatisticMerging merging ? merging.coefficients() : List.of();
    int at = List.copyOf(statistics.keySet()).indexOf(name);
    Optional<MergeResult.ModelStatistics> normed = found.filter(each -> !Double.isNaN(each.norm()));
    MergeResult of = merged;
    return new RunReport.Model(
        name,
        base,
        id,
        path.toString(),
        hashes.of(path),
        at >= 0 && at < coefficients.size() ? coefficients.get(at) : null,
        found.map(MergeResult.ModelStatistics::weight).orElse(null),
        normed.map(MergeResult.ModelStatistics::norm).orElse(null),
        of == null || of.mergedElements() == 0
            ? null
            : normed.map(each -> (double) each.belowMinimal() / of.mergedElements()).orElse(null),
        facts == null ? null : facts.statistic());
  }

  /** Of no use any more; the run has done its work. */
  private void deleteTree(Path folder) {
    try {
      Folders.delete(folder);
    } catch (InputException e) {
      warnings.accept(e.getMessage() + "; it is of no use any more");
    }
  }
}
