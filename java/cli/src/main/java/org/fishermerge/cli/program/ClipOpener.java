package org.fishermerge.cli.program;

import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.data.ImageDatasets;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.data.TokenizerFiles;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.estimate.ClassPrompts;
import org.fishermerge.estimate.ClassifierOnData;
import org.fishermerge.estimate.ContentKey;
import org.fishermerge.estimate.ImageClassifierOnData;
import org.fishermerge.estimate.ModelHashes;
import org.fishermerge.estimate.ZeroShotHeads;
import org.fishermerge.torch.arch.ClipConfig;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.jspecify.annotations.Nullable;

/** CLIP image towers under zero-shot heads, which are computed once and kept. */
final class ClipOpener implements ModelOpener {
  private static final String WEIGHTS = "zeroshot_weights";

  /** Whatever else of a CLIP folder heads and pixels depend on. */
  private static final List<String> SETTINGS =
      Stream.concat(
              Stream.of("preprocessor_config.json", "processor_config.json"),
              TokenizerFiles.NAMES.stream())
          .toList();

  private final Path base;
  private final Set<String> tasks;
  private final Optional<Path> classNames;
  private final Path cache;
  private final Matching matching;
  private final int workers;
  private final ModelHashes hashes;
  private final Consumer<String> warnings;
  private @Nullable ContentKey baseKey;

  /**
   * @param base the folder of the CLIP model that gives heads and says how pictures are prepared
   * @param tasks all that will be opened
   * @param classNames a JSON file with prompts, before the built-in ones
   * @param cache where heads are kept
   * @param matching how the classes of data and prompts are matched
   * @param warnings told what is odd about the files but does not stop their use
   */
  ClipOpener(
      Path base,
      Set<String> tasks,
      Optional<Path> classNames,
      Path cache,
      Matching matching,
      int workers,
      ModelHashes hashes,
      Consumer<String> warnings) {
    this.base = base;
    this.tasks = Set.copyOf(tasks);
    this.classNames = classNames;
    this.cache = cache;
    this.matching = matching;
    this.workers = workers;
    this.hashes = hashes;
    this.warnings = warnings;
  }

  /**
   * The class names and templates of a task.
   *
   * @throws InputException if nobody knows the task
   */
  static ClassPrompts prompts(String task, Optional<Path> classNames) {
    Set<String> known = new LinkedHashSet<>();
    if (classNames.isPresent()) {
      List<String> own = ClassPrompts.tasksIn(classNames.get());
      if (own.contains(task)) {
        return ClassPrompts.parse(classNames.get() + ":" + task);
      }
      known.addAll(own);
    }
    known.addAll(ClassPrompts.builtInTasks());
    return ClassPrompts.builtIn(task)
        .orElseThrow(() ->
            new InputException(
                "the task "
                    + task
                    + " has no class names"
                    + NearestNames.of(task, known)
                    + "; give them with class_names=FILE.json"));
  }

  @Override
  public void check(String task, Path model) {
    prompts(task, classNames);
    try (Checkpoint clip = Checkpoint.open(base);
        Checkpoint tower = Checkpoint.open(model)) {
      ClipConfig.of(tower);
      for (String needed : List.of("visual_projection.weight", "logit_scale")) {
        if (!clip.has(needed)) {
          throw new InputException(
              base
                  + ": holds no "
                  + needed
                  + "; heads need the whole CLIP model that the others were fine-tuned from");
        }
      }
    }
  }

  /** What the heads of all tasks depend on, which are megabytes of a tokenizer: read once. */
  private synchronized ContentKey base() {
    if (baseKey == null) {
      baseKey =
          new ContentKey("fisher-merge zero-shot head 2")
              .add(hashes.of(base))
              .addFiles(base, SETTINGS);
    }
    return baseKey;
  }

  @Override
  public String identity(String task) {
    ClassPrompts prompts = prompts(task, classNames);
    ContentKey key = base().copy();
    for (String className : prompts.classNames()) {
      key.add(prompts.prompts(className));
    }
    return key.hex();
  }

  @Override
  public void open(
      String task, Path model, DatasetId data, DataSource files, Consumer<ClassifierOnData> work) {
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      ImageClassifierOnData.with(
          checkpoint,
          base,
          processor -> ImageDatasets.open(files, data.columns(), processor),
          clip -> head(clip, task),
          matching(task, data),
          workers,
          warnings,
          work::accept);
    }
  }

  /** FusionBench's lists of classes are in the order of its data sets. */
  private Matching matching(String task, DatasetId data) {
    boolean known =
        prompts(task, classNames).equals(ClassPrompts.builtIn(task).orElse(null))
            && ClassPrompts.builtInFor(task, data.id());
    return known && matching == Matching.AUTO ? Matching.LISTED : matching;
  }

  private ImageClassifierOnData.Head head(Checkpoint clip, String task) {
    ClassPrompts prompts = prompts(task, classNames);
    return new ImageClassifierOnData.Head(
        weights(clip, task), Optional.of(prompts.classNames()), prompts.origin());
  }

  private ZeroShotHead weights(Checkpoint clip, String task) {
    Path file = file(task);
    if (!Files.exists(file)) {
      writeMissing(clip);
    }
    try (Checkpoint kept = Checkpoint.open(file)) {
      return ZeroShotHead.of(
          clip,
          kept.floats(WEIGHTS),
          Math.toIntExact(kept.tensor(WEIGHTS).info().shape().get(0)),
          file.toString());
    }
  }

  private Path file(String task) {
    return cache.resolve(identity(task) + ".safetensors");
  }

  /**
   * Writes the heads of all tasks that have none, so that text tower and tokenizer are opened once.
   * Another thread may have written them while this one waited.
   */
  private synchronized void writeMissing(Checkpoint clip) {
    List<String> missing = tasks.stream().sorted().filter(t -> !Files.exists(file(t))).toList();
    if (missing.isEmpty()) {
      return;
    }
    try (ZeroShotHeads heads = ZeroShotHeads.open(clip, warnings)) {
      for (String task : missing) {
        ClassPrompts prompts = prompts(task, classNames);
        try (ZeroShotHead head = heads.build(prompts)) {
          write(head, prompts.origin(), file(task));
        }
      }
    }
  }

  private static void write(ZeroShotHead head, String origin, Path file) {
    try (AtomicOutput output = AtomicOutput.file(file, true)) {
      float[] weights = head.weights();
      long classes = head.classCount();
      SafetensorsWriter.Declared tensor =
          new SafetensorsWriter.Declared(
              WEIGHTS, DType.F32, List.of(classes, weights.length / classes));
      try (SafetensorsWriter writer =
          SafetensorsWriter.create(output.temp(), List.of(tensor), Map.of("prompts", origin))) {
        writer.segment(WEIGHTS).copyFrom(MemorySegment.ofArray(weights));
        writer.finish();
      }
      output.commit();
    }
  }
}
