package org.fishermerge.cli.demo;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.fishermerge.torch.runtime.LibTorch;

/**
 * Small CLIP towers, a base and one fine-tuned for each of some tasks, as the demo has them. Files
 * are those of {@code demo --train}.
 *
 * @param tasks at least one and fewer than a hundred, with keys of their own
 */
public record PicturePool(List<PictureTask> tasks) {
  /** The tasks of the demo, in its order. */
  public static PicturePool drawn() {
    return new PicturePool(List.of(DemoTask.values()));
  }

  /** Keeps a copy of the list. */
  public PicturePool {
    tasks = List.copyOf(tasks);
  }

  /** Trains all models, on one thread, and writes them to a file. */
  public void train(Path file, PrintWriter log, DemoRecipe recipe) {
    train(Map.of(file, recipe.taskRate()), log, recipe);
  }

  /**
   * Trains several pools with the same base, and writes each to a file: what training them one by
   * one gives, in less time.
   *
   * @param rates learning rates of fine-tuning in place of the recipe's, by the files
   */
  public void train(Map<Path, Double> rates, PrintWriter log, DemoRecipe recipe) {
    // One thread: such small layers gain nothing from more, and sums come out alike anywhere.
    LibTorch.setThreads(1);
    new DemoTrainer(log, recipe, tasks).train(rates);
  }

  /**
   * Lays a file of models out as folders: {@code base}, which has the projection and the logit
   * scale too, and one for each task, by its key.
   */
  public void layOut(Path file, Path folder) {
    DemoFiles.layOut(file, folder, tasks);
  }

  /** Writes the first pictures of a stream of a task, with labels, into one safetensors file. */
  public static void writePictures(PictureTask task, long seed, int count, Path file) {
    DemoFiles.writePictures(task, seed, count, file);
  }
}
