package org.fishermerge.cli.demo;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.torch.arch.VisionTraining;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.objective.ExampleRandom;

/**
 * Trains models as the demo's from nothing but a seed and writes them into one safetensors file: a
 * base, then one fine-tuned tower per task. The base learns all tasks at once but is shown about
 * half of each task's classes: like a real pre-trained model it sees what matters without knowing
 * every name. This is how the file that ships with the program was made.
 */
final class DemoTrainer {
  static final int PROJECTION = 32;
  private static final int BATCH = 64;
  private static final double SCALE = 20;
  private static final double INITIAL_SCALE = 0.02;

  private final PrintWriter log;
  private final DemoRecipe recipe;
  private final long weightSeed;
  private final long headSeed;
  private final long trainingSeed;

  private final List<PictureTask> tasks;

  DemoTrainer(PrintWriter log, DemoRecipe recipe, List<PictureTask> tasks) {
    this.log = log;
    this.recipe = recipe;
    this.tasks = tasks;
    this.weightSeed = 1 + DemoRecipe.SEEDS * recipe.seed();
    this.headSeed = 2 + DemoRecipe.SEEDS * recipe.seed();
    this.trainingSeed = recipe.trainingPictures();
  }

  /**
   * Trains the base, and from it models at each learning rate, and writes a file of each.
   *
   * @param rates largest learning rates of fine-tuning, by the files that get the models
   */
  void train(Map<Path, Double> rates) {
    Map<String, float[]> shared = new LinkedHashMap<>();
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    try {
      Path work = Files.createTempDirectory("fisher-merge-demo-training");
      try {
        Map<String, float[]> start = initialWeights(shapes);
        Path startFolder = work.resolve("start");
        writeTower(startFolder, start, shapes);
        float[] projection = gaussian(new ExampleRandom(headSeed, 100), PROJECTION * width(), 1);
        for (int i = 0; i < projection.length; i++) {
          projection[i] /= (float) Math.sqrt(width());
        }
        shared.put("visual_projection.weight", projection);
        shapes.put("visual_projection.weight", List.of((long) PROJECTION, (long) width()));
        shared.put("logit_scale", new float[] {(float) Math.log(SCALE)});
        shapes.put("logit_scale", List.of());
        for (PictureTask task : tasks) {
          shared.put(task.key() + ".zeroshot_weights", headRows(task));
          shapes.put(
              task.key() + ".zeroshot_weights",
              List.of((long) task.classCount(), (long) PROJECTION));
        }

        Map<String, float[]> base = pretrain(startFolder, projection);
        Path baseFolder = work.resolve("base");
        writeTower(baseFolder, base, shapes);
        base.forEach((name, values) -> shared.put("base." + name, values));
        rates.forEach((file, rate) -> {
          Map<String, float[]> tensors = new LinkedHashMap<>(shared);
          for (PictureTask task : tasks) {
            fineTune(task, rate, baseFolder, projection)
                .forEach((name, values) -> tensors.put(task.key() + "." + name, values));
          }
          writeAll(file, tensors, shapes);
        });
      } finally {
        DemoFiles.deleteRecursively(work);
      }
    } catch (IOException e) {
      throw new UncheckedIOException("cannot write the training's working folder", e);
    }
  }

  private Map<String, float[]> pretrain(Path start, float[] projection) {
    // One tower, eight heads in turn: a step on each task, round and round.
    Map<String, float[]> current = Map.of();
    try (Checkpoint checkpoint = Checkpoint.open(start);
        JointTraining training = new JointTraining(checkpoint, projection)) {
      for (int step = 0; step < recipe.baseSteps(); step++) {
        for (PictureTask task : tasks) {
          double loss = training.step(task, shown(task), rate(step, recipe.baseSteps(), 2e-3));
          report("base", task, step, recipe.baseSteps(), loss);
        }
      }
      current = training.parameters();
    }
    return current;
  }

  private Map<String, float[]> fineTune(
      PictureTask task, double taskRate, Path base, float[] projection) {
    int steps = task.effort() * recipe.taskSteps();
    try (Checkpoint checkpoint = Checkpoint.open(base);
        JointTraining training = new JointTraining(checkpoint, projection)) {
      for (int step = 0; step < steps; step++) {
        double loss = training.step(task, task.classCount(), rate(step, steps, taskRate));
        report("fine-tuned", task, step, steps, loss);
      }
      return training.parameters();
    }
  }

  private void report(String what, PictureTask task, int step, int steps, double loss) {
    if ((step + 1) % 100 == 0 || step == steps - 1) {
      log.printf(
          Locale.ROOT,
          "%s  %-8s step %4d of %4d  loss %.3f%n",
          what,
          task.key(),
          step + 1,
          steps,
          loss);
      log.flush();
    }
  }

  /** Linear warm-up over a tenth of the steps, then a cosine down to zero. */
  private static double rate(int step, int steps, double peak) {
    double warm = Math.max(1, steps / 10.0);
    double progress = (step + 1) / warm;
    return peak
        * Math.min(progress, 1)
        * (step < warm ? 1 : 0.5 * (1 + Math.cos(Math.PI * (step - warm) / (steps - warm))));
  }

  /** A tower under any of the tasks' heads. */
  private final class JointTraining implements AutoCloseable {
    private final VisionTraining training;
    private long next;
    private final Map<PictureTask, ZeroShotHead> heads = new LinkedHashMap<>();

    JointTraining(Checkpoint start, float[] projection) {
      for (PictureTask task : tasks) {
        heads.put(
            task, ZeroShotHead.of(projection, width(), SCALE, headRows(task), task.classCount()));
      }
      training = new VisionTraining(start);
    }

    double step(PictureTask task, int classes, double learningRate) {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment pixels =
            arena.allocate((long) BATCH * DemoFiles.PICTURE_BYTES * Float.BYTES, 64);
        long[] labels = new long[BATCH];
        for (int b = 0; b < BATCH; b++) {
          PictureTask.Picture picture = task.picture(trainingSeed, next++);
          while (picture.label() >= classes) {
            picture = task.picture(trainingSeed, next++);
          }
          labels[b] = picture.label();
          for (int i = 0; i < picture.pixels().length; i++) {
            pixels.setAtIndex(
                ValueLayout.JAVA_FLOAT,
                (long) b * DemoFiles.PICTURE_BYTES + i,
                DemoFiles.normalized(picture.pixels()[i]));
          }
        }
        ZeroShotHead head = heads.get(task);
        if (head == null) {
          throw new IllegalArgumentException(task.key());
        }
        double loss = training.forwardBackward(head, pixels, labels);
        training.step(learningRate);
        return loss;
      }
    }

    Map<String, float[]> parameters() {
      return training.parameters();
    }

    @Override
    public void close() {
      training.close();
      heads.values().forEach(ZeroShotHead::close);
    }
  }

  /** Classes of a task that the base is shown: about half of them. */
  private static int shown(PictureTask task) {
    return task.classCount() / 2;
  }

  private static int width() {
    return DemoFiles.WIDTH;
  }

  /** Random unit rows: a stand-in for text features, fixed by the seed. */
  private float[] headRows(PictureTask task) {
    int classes = task.classCount();
    float[] rows =
        gaussian(new ExampleRandom(headSeed, tasks.indexOf(task)), classes * PROJECTION, 1);
    for (int c = 0; c < classes; c++) {
      double norm = 0;
      for (int i = 0; i < PROJECTION; i++) {
        norm += Math.pow(rows[c * PROJECTION + i], 2);
      }
      for (int i = 0; i < PROJECTION; i++) {
        rows[c * PROJECTION + i] /= (float) Math.sqrt(norm);
      }
    }
    return rows;
  }

  private Map<String, float[]> initialWeights(Map<String, List<Long>> shapes) {
    Map<String, float[]> weights = new LinkedHashMap<>();
    long index = 0;
    for (Map.Entry<String, List<Long>> entry : DemoFiles.towerShapes().entrySet()) {
      String name = entry.getKey();
      int count = Math.toIntExact(entry.getValue().stream().reduce(1L, (a, b) -> a * b));
      float[] values = new float[count];
      boolean norm = name.contains("norm") || name.contains("layrnorm");
      if (norm && name.endsWith(".weight")) {
        Arrays.fill(values, 1);
      } else if (!name.endsWith(".bias")) {
        boolean matrix = entry.getValue().size() > 1 && !name.contains("position");
        double scale =
            matrix ? 1 / Math.sqrt((double) count / entry.getValue().get(0)) : INITIAL_SCALE;
        values = gaussian(new ExampleRandom(weightSeed, index), count, scale);
      }
      weights.put(name, values);
      shapes.put(name, entry.getValue());
      index++;
    }
    return weights;
  }

  private static float[] gaussian(ExampleRandom random, int count, double scale) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      // Box and Muller; 1 - u keeps the logarithm finite.
      double radius = Math.sqrt(-2 * Math.log(1 - random.nextDouble()));
      values[i] = (float) (scale * radius * Math.cos(2 * Math.PI * random.nextDouble()));
    }
    return values;
  }

  private static void writeTower(
      Path folder, Map<String, float[]> weights, Map<String, List<Long>> shapes)
      throws IOException {
    Files.createDirectories(folder);
    DemoFiles.writeConfigs(folder);
    List<SafetensorsWriter.Declared> declared = new ArrayList<>();
    weights
        .keySet()
        .forEach(name ->
            declared.add(
                new SafetensorsWriter.Declared(
                    name, DType.F32, Objects.requireNonNull(shapes.get(name)))));
    try (SafetensorsWriter writer =
        SafetensorsWriter.create(
            folder.resolve("model.safetensors"), declared, Map.of("format", "pt"))) {
      weights.forEach(
          (name, values) -> writer.segment(name).copyFrom(MemorySegment.ofArray(values)));
      writer.finish();
    }
  }

  /** Half precision: the towers are small, but there are nine of them. */
  private static void writeAll(
      Path file, Map<String, float[]> tensors, Map<String, List<Long>> shapes) {
    List<SafetensorsWriter.Declared> declared = new ArrayList<>();
    tensors
        .keySet()
        .forEach(name ->
            declared.add(
                new SafetensorsWriter.Declared(name, DType.F16, DemoFiles.shape(name, shapes))));
    try (AtomicOutput output = AtomicOutput.file(file, false)) {
      try (SafetensorsWriter writer =
          SafetensorsWriter.create(output.temp(), declared, Map.of("format", "pt"))) {
        tensors.forEach((name, values) -> {
          MemorySegment target = writer.segment(name);
          for (int i = 0; i < values.length; i++) {
            target.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2L * i, Float.floatToFloat16(values[i]));
          }
        });
        writer.finish();
      }
      output.commit();
    }
  }
}
