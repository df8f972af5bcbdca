package org.fishermerge.cli.program;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.FisherFile;
import org.fishermerge.cli.task.ContentKey;
import org.fishermerge.cli.task.FisherRun;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.cli.task.SharedDevice;
import org.fishermerge.torch.Precision;

/**
 * Fisher files by the content of what they were made of: model, head, data, and every setting that
 * changes the estimate. What only merging depends on is no part of it.
 *
 * @param folder where the files are
 */
record FisherCache(Path folder, Tasks tasks, ModelHashes hashes, FisherRun estimate) {
  /** A task may have a longer name than a file. */
  private static final int LONGEST_TASK = 100;

  private static final int SHOWN = 16; // digits of the key in a file's name

  /**
   * A Fisher.
   *
   * @param seconds that it took; 0 if it was there
   */
  record Entry(Path file, long examples, String labels, boolean reused, double seconds) {}

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
      List<Path> files,
      SharedDevice device,
      PrintWriter err) {
    Path file = folder.resolve(name(task, model, files));
    boolean reused = Files.exists(file);
    double[] seconds = {0};
    if (reused) {
      err.println("Fisher information from " + file);
    } else {
      device.run(() -> seconds[0] = estimate(task, model, data, files, device, file, err));
    }
    try (FisherFile written = FisherFile.open(file)) {
      String labels = written.metadata().map(known -> known.labels()).orElse("");
      return new Entry(file, written.examples(), labels, reused, seconds[0]);
    }
  }

  /** Answers how long it took. */
  private double estimate(
      String task,
      Path model,
      DatasetId data,
      List<Path> files,
      SharedDevice device,
      Path file,
      PrintWriter err) {
    double[] seconds = {0};
    try (AtomicOutput output = AtomicOutput.file(file, true)) {
      tasks.open(
          task,
          model,
          data,
          files,
          opened -> {
            FisherRun.Result result = estimate.run(opened, device, output.temp(), file, err, err);
            seconds[0] = result.seconds();
            err.printf(
                Locale.ROOT,
                "Fisher information over %d examples (%s) in %s, %.2f examples/s%n",
                result.examples(),
                result.rule().text(),
                Progress.duration(result.seconds()),
                result.examples() / result.seconds());
          });
      output.commit();
      FisherRun.finished(file, err);
    }
    return seconds[0];
  }

  private String name(String task, Path model, List<Path> files) {
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
    files.forEach(key::addFile);
    String shown = task.replaceAll("[^\\w.-]", "_");
    return shown.substring(0, Math.min(shown.length(), LONGEST_TASK))
        + "-"
        + estimate.rule().text().replace(':', '-')
        + "-"
        + key.hex().substring(0, SHOWN)
        + ".safetensors";
  }
}
