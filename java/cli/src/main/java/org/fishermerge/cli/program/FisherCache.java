package org.fishermerge.cli.program;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.FisherFile;
import org.fishermerge.cli.task.ContentKey;
import org.fishermerge.cli.task.FisherRun;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.cli.task.SharedDevice;
import org.fishermerge.cli.task.SkippedRows;
import org.fishermerge.data.Columns;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.data.files.SplitFiles;
import org.fishermerge.torch.runtime.Precision;
import org.jspecify.annotations.Nullable;

/**
 * Fisher files by the content of what they were made of: model, head, data, and every setting that
 * changes the estimate. What only merging depends on is no part of it.
 *
 * @param folder where the files are
 * @param matching how the classes of data and models are matched, on which labels depend
 */
record FisherCache(
    Path folder, Tasks tasks, ModelHashes hashes, FisherRun estimate, Matching matching) {
  /** A task may have a longer name than a file. */
  private static final int LONGEST_TASK = 100;

  private static final int SHOWN = 16; // digits of the key in a file's name

  /**
   * A Fisher.
   *
   * @param skipped rows that were left out; empty if it was there
   * @param seconds that it took; 0 if it was there
   */
  record Entry(
      Path file,
      long examples,
      String labels,
      boolean reused,
      Optional<SkippedRows> skipped,
      double seconds) {}

  /**
   * The Fisher of a model on its task's data, estimated unless it is kept already.
   *
   * @param device where it is estimated
   * @param err says which task its lines are about
   */
  Entry get(
      String task,
      Path model,
      DatasetId data,
      DataSource files,
      SharedDevice device,
      PrintWriter err) {
    Path file = folder.resolve(name(task, model, data, files));
    boolean reused = Files.exists(file);
    AtomicReference<FisherRun.@Nullable Result> done = new AtomicReference<>();
    if (reused) {
      err.println("Fisher information from " + file);
    } else {
      device.run(() -> done.set(estimate(task, model, data, files, device, file, err)));
    }
    Optional<FisherRun.Result> result = Optional.ofNullable(done.get());
    try (FisherFile written = FisherFile.open(file)) {
      String labels = written.metadata().map(known -> known.labels()).orElse("");
      return new Entry(
          file,
          written.examples(),
          labels,
          reused,
          result.map(FisherRun.Result::skipped),
          result.map(FisherRun.Result::seconds).orElse(0.0));
    }
  }

  private FisherRun.@Nullable Result estimate(
      String task,
      Path model,
      DatasetId data,
      DataSource files,
      SharedDevice device,
      Path file,
      PrintWriter err) {
    AtomicReference<FisherRun.@Nullable Result> done = new AtomicReference<>();
    try (AtomicOutput output = AtomicOutput.file(file, true)) {
      tasks.open(
          task,
          model,
          data,
          files,
          opened -> {
            FisherRun.Result result = estimate.run(opened, device, output.temp(), file, err, err);
            done.set(result);
            err.printf(
                Locale.ROOT,
                "Fisher information over %d examples%s (%s) in %s, %.2f examples/s%n",
                result.examples(),
                result.skipped().text(),
                result.rule().text(),
                Progress.duration(result.seconds()),
                result.examples() / result.seconds());
          });
      output.commit();
      FisherRun.finished(file, err);
    }
    return done.get();
  }

  private String name(String task, Path model, DatasetId data, DataSource files) {
    ContentKey key =
        new ContentKey("fisher-merge Fisher 1")
            .add(hashes.of(model))
            .add(tasks.identity(task))
            .add(estimate.rule().text())
            .add(estimate.chosenOrder().text())
            .add(estimate.examples())
            .add(estimate.seed());
    if (estimate.rule().squaresBatches()) {
      key.add(estimate.batchSize());
    }
    if (estimate.precision() != Precision.FP32) {
      key.add(estimate.precision().text());
    }
    if (matching != Matching.AUTO) {
      key.add(matching.text());
    }
    if (!data.columns().equals(Columns.USUAL)) {
      new TreeMap<>(data.columns().names()).forEach((usual, name) -> key.add(usual).add(name));
    }
    files.files().forEach(key::addFile);
    if (!files.isWhole()) {
      files.parts().forEach(part -> key.add(part.slice()));
    }
    for (SplitFiles split : files.splits()) {
      if (split.format() == SplitFiles.Format.PICTURES) {
        // Names of folders are labels.
        split.classes().forEach(key::add);
        split
            .files()
            .forEach(file -> key.add(Objects.toString(file.resolveSibling("").getFileName(), "")));
      }
    }
    String shown = task.replaceAll("[^\\w.-]", "_");
    return shown.substring(0, Math.min(shown.length(), LONGEST_TASK))
        + "-"
        + estimate.rule().text().replace(':', '-')
        + "-"
        + key.hex().substring(0, SHOWN)
        + ".safetensors";
  }
}
