package org.fishermerge.cli.demo;

import org.fishermerge.checkpoint.InputException;

/**
 * How a pool of the demo's kind is trained.
 *
 * @param seed of weights, heads and pictures; the shipped pool has 0
 * @param baseSteps steps of the base on each task
 * @param taskSteps steps of each fine-tuned model
 * @param taskRate largest learning rate of fine-tuning: the higher, the farther the models move
 *     from the base and from each other
 */
public record DemoRecipe(long seed, int baseSteps, int taskSteps, double taskRate) {
  /** Seeds that a pool takes: of weights, heads and pictures. */
  static final long SEEDS = 3;

  /** The seed of the pictures on which merges are measured, of all pools. */
  static final long HELD_BACK_PICTURES = 102;

  /** Of the models that ship with the program. */
  public static final DemoRecipe SHIPPED = new DemoRecipe(0, 400, 400, 5e-4);

  /**
   * Checks the numbers.
   *
   * @throws InputException if one is out of its range
   */
  public DemoRecipe {
    if (seed < 0 || baseSteps < 1 || taskSteps < 1 || !(taskRate > 0 && taskRate < 1)) {
      throw new InputException(
          "--seed is at least 0 and --rate above 0 and below 1, not " + seed + " and " + taskRate);
    }
  }

  /**
   * The seed of the pictures that models are trained on: another for each pool, and never that of
   * the pictures that the demo measures with.
   */
  long trainingPictures() {
    long next = 3 + SEEDS * seed;
    return next < HELD_BACK_PICTURES ? next : next + SEEDS;
  }

  /** The same with another seed and learning rate. */
  public DemoRecipe with(long newSeed, double newTaskRate) {
    return new DemoRecipe(newSeed, baseSteps, taskSteps, newTaskRate);
  }
}
