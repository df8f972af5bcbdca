package org.fishermerge.benchmarks;

import org.fishermerge.cli.demo.PictureTask;

/**
 * A task of a pool, and where its pictures come from.
 *
 * @param training what models are trained on
 * @param statistics whose first pictures statistics and searches have
 * @param heldBack whose first pictures accuracies are measured on
 */
record QualityTask(PictureTask training, Stream statistics, Stream heldBack) {
  private static final int EXAMPLES = 256;
  private static final int HELD_BACK = 500;

  // As the demo's.
  private static final long STATISTICS_SEED = 101;
  private static final long HELD_BACK_SEED = 102;

  /** The first pictures of a stream of a task. */
  record Stream(PictureTask task, long seed, int count) {}

  /** Of a task whose pictures a program draws. */
  static QualityTask drawn(PictureTask task) {
    return new QualityTask(
        task,
        new Stream(task, STATISTICS_SEED, EXAMPLES),
        new Stream(task, HELD_BACK_SEED, HELD_BACK));
  }

  /** Of a data set: statistics have examples that were trained on, as users have them. */
  static QualityTask stored(PictureData.Parts parts) {
    return new QualityTask(
        parts.training().drawnAndShifted(),
        new Stream(parts.training(), 0, Math.min(EXAMPLES, parts.training().count())),
        new Stream(parts.heldBack(), 0, parts.heldBack().count()));
  }

  String key() {
    return training.key();
  }
}
