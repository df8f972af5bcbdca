package org.fishermerge.cli.task;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import org.fishermerge.estimate.EstimationListener;
import org.fishermerge.estimate.MemoryPlan;
import org.fishermerge.torch.BatchSizeCheck;
import org.jspecify.annotations.Nullable;

/** Prints what happens in one estimation. For the thread that runs it. */
public final class EstimationPrinter implements EstimationListener {
  private final String title;
  private final PrintWriter out;
  private final PrintWriter err;
  private final Warnings warnings;
  private @Nullable Progress preparing;
  private @Nullable Progress progress;

  /**
   * @param title what is estimated, for the progress
   * @param out told of the check
   * @param err told of memory, progress and warnings
   */
  public EstimationPrinter(String title, PrintWriter out, PrintWriter err) {
    this.title = title;
    this.out = out;
    this.err = err;
    this.warnings = new Warnings(err);
  }

  @Override
  public void preparing() {
    preparing = Progress.passing(err, "Preparing");
  }

  @Override
  public void warning(String sentence) {
    warnings.accept(sentence);
  }

  @Override
  public void remark(String sentence) {
    err.println(sentence);
  }

  @Override
  public void memoryPlanned(MemoryPlan plan, int batchSize) {
    err.println("memory: " + plan.text(batchSize));
  }

  @Override
  public void diskPlanned(long file, long progress, long free) {
    err.printf(
        "disk: file %s, saved progress %s at most%s%n",
        MemoryPlan.gigabytes(file),
        MemoryPlan.gigabytes(progress),
        free == Long.MAX_VALUE ? "" : " of " + MemoryPlan.gigabytes(free) + " free");
  }

  @Override
  public void memoryUsed(long peak, long planned) {
    err.printf(
        "memory: peak %s, planned %s%n", MemoryPlan.gigabytes(peak), MemoryPlan.gigabytes(planned));
  }

  @Override
  public void checked(int examples, BatchSizeCheck.Deviation deviation) {
    out.printf(
        Locale.ROOT,
        "check: %d examples in one batch or in batches of %d differ by %.2g at most, relative to"
            + " the largest value of %s%n",
        examples,
        BatchSizeCheck.smaller(examples),
        deviation.relative(),
        deviation.tensor());
  }

  @Override
  public void running(long examples) {
    progress = new Progress(err, title, "examples", examples, 1);
  }

  @Override
  public void advanced(long examples) {
    if (progress != null) {
      progress.update(examples);
    }
  }

  @Override
  public void resumed(long done, long examples, Path file) {
    err.printf("going on from %d of %d examples: %s%n", done, examples, file);
  }

  @Override
  public void ended() {
    if (progress != null) {
      progress.close();
    }
    if (preparing != null) {
      preparing.close();
    }
  }
}
