package org.fishermerge.estimate;

import java.nio.file.Path;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.FisherProgress;

/**
 * Saves an estimate at intervals, so that a run that is killed goes on from there when it is
 * started again. Saving that fails does not stop the run.
 */
final class SavedProgress {
  /** In seconds; 0 saves after every batch. */
  private static final String INTERVAL = "fishermerge.save-seconds";

  private static final double DEFAULT_SECONDS = 60;

  // So that saving takes a twentieth of the time at most.
  private static final int TIMES_THE_COST = 20;

  /** The one before and the new one exist at once, and must leave room for the result. */
  private static final int COPIES = 3;

  private final Path file;
  private final EstimationListener listener;
  private final double interval;
  private long last = System.nanoTime();
  private double cost;
  private boolean failed;

  SavedProgress(Path file, EstimationListener listener) {
    this.file = file;
    this.listener = listener;
    this.interval = interval();
  }

  /** Removes the file after the output is in its place, which nothing can undo any more. */
  static void remove(Path output, EstimationListener listener) {
    try {
      FisherProgress.delete(ProgressPath.of(output));
    } catch (InputException e) {
      listener.warning(e.getMessage() + "; it is of no use any more");
    }
  }

  private static double interval() {
    String text = System.getProperty(INTERVAL, "");
    try {
      double seconds = text.isEmpty() ? DEFAULT_SECONDS : Double.parseDouble(text);
      if (seconds >= 0) {
        return seconds;
      }
    } catch (NumberFormatException e) {
      // The message below covers it.
    }
    throw new InputException("-D" + INTERVAL + "=" + text + ": expected a number of seconds");
  }

  /** Room that saved progress takes at most, of sums of that size. */
  static long mostBytes(long sums) {
    return (COPIES - 1) * sums;
  }

  /** What a run that was stopped had saved. */
  Optional<FisherProgress> read() {
    return FisherProgress.read(file);
  }

  /** Takes up a saved run if it is this one. */
  void resume(FisherEstimator estimator, String run, int batch, long examples) {
    Optional<FisherProgress> saved = read();
    if (saved.isEmpty()) {
      return;
    }
    FisherProgress progress = saved.get();
    boolean same =
        progress.run().equals(run) && progress.batch() == batch && progress.examples() <= examples;
    if (same && estimator.resume(file, progress)) {
      listener.resumed(progress.examples(), examples, file);
    } else if (same) {
      listener.warning(file + " is damaged; starting from the first example");
    } else {
      listener.warning(file + " is the progress of another run; starting from the first example");
    }
  }

  /** Saves if it is time to. */
  void afterBatch(FisherEstimator estimator, String run, int batch) {
    long now = System.nanoTime();
    if (failed || (now - last) / 1e9 < Math.max(interval, TIMES_THE_COST * cost)) {
      return;
    }
    save(estimator, run, batch);
    last = System.nanoTime();
    cost = interval == 0 ? 0 : (last - now) / 1e9;
  }

  /** Saves now. */
  void save(FisherEstimator estimator, String run, int batch) {
    try {
      SafetensorsWriter.requireRoom(file, COPIES * estimator.bytes());
      estimator.save(file, run, batch);
      listener.saved(estimator.examples(), file);
    } catch (InputException e) {
      failed = true;
      listener.warning("the progress cannot be saved, the run goes on: " + e.getMessage());
    }
  }
}
