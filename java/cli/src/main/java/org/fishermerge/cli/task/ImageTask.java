package org.fishermerge.cli.task;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.LongConsumer;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.BatchIterator;
import org.fishermerge.data.Examples;
import org.fishermerge.data.ImageBatch;
import org.fishermerge.data.ImageDataset;
import org.fishermerge.data.ImageProcessor;
import org.fishermerge.torch.BatchMemory;
import org.fishermerge.torch.ClipClassifier;
import org.fishermerge.torch.ClipConfig;
import org.fishermerge.torch.ClipVisionTower;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.LabelExpectation;
import org.fishermerge.torch.ZeroShotHead;

/**
 * A classifier and the pictures that it is run on.
 *
 * @param model the file or folder that the classifier's tower was loaded from
 * @param dataset preprocessed as the CLIP model says
 */
public record ImageTask(
    Checkpoint model, ClipClassifier classifier, ImageDataset dataset, int workers)
    implements ClassifierTask {
  /**
   * Opens pictures and a head, works with them, and closes them.
   *
   * @param base the CLIP model that this one was fine-tuned from; its picture settings say how
   *     pictures are prepared
   * @param data opens the pictures
   * @param head builds or reads the head of the base
   * @param workers threads that decode pictures ahead
   * @param warnings told what is odd about the files but does not stop their use
   */
  public static void with(
      Checkpoint model,
      Path base,
      Function<ImageProcessor, ImageDataset> data,
      Function<Checkpoint, ZeroShotHead> head,
      int workers,
      Consumer<String> warnings,
      Consumer<ImageTask> work) {
    model.warnings().forEach(warnings);
    try (Checkpoint clip = Checkpoint.open(base);
        ClipVisionTower tower = ClipVisionTower.load(model)) {
      ImageProcessor processor =
          ImageProcessor.ofModel(clip::sibling, base, tower.config().imageSize());
      try (ImageDataset dataset = data.apply(processor);
          ZeroShotHead zeroShot = head.apply(clip)) {
        if (dataset.usesProcessor()) {
          processor.warnings().forEach(warnings);
        }
        work.accept(new ImageTask(model, new ClipClassifier(tower, zeroShot), dataset, workers));
      }
    }
  }

  @Override
  public Examples examples() {
    return dataset;
  }

  @Override
  public Optional<MemoryPlan> memoryPlan(
      long[] rows, Supplier<FisherEstimator> estimators, int atOnce, int tried) {
    try (FisherEstimator estimator = estimators.get()) {
      Optional<BatchMemory> batch =
          estimator.measure(
              count -> forward(Arrays.copyOf(rows, count)), Math.min(tried, rows.length));
      ClipConfig.Vision shape = classifier.tower().config();
      long pixels = (long) shape.channels() * shape.imageSize() * shape.imageSize();
      return batch.flatMap(
          measured -> MemoryPlan.of(estimator, measured, atOnce, pixels * Float.BYTES, workers));
    }
  }

  @Override
  public void forEachBatch(long[] rows, int batchSize, LabelExpectation rule, BatchWork work) {
    try (BatchIterator batches = dataset.batches(rows, batchSize, workers)) {
      while (batches.hasNext()) {
        try (ImageBatch pictures = batches.next()) {
          requireShape(pictures);
          try (ForwardPass pass = classifier.forward(pictures.pixels(), pictures.count())) {
            work.run(pass, pictures.labelled() ? pictures.labels() : null);
          }
        }
      }
    }
  }

  @Override
  public ForwardPass forward(long[] rows) {
    try (BatchIterator batches = dataset.batches(rows, rows.length, workers);
        ImageBatch pictures = batches.next()) {
      requireShape(pictures);
      return classifier.forward(pictures.pixels(), pictures.count());
    }
  }

  @Override
  public void classify(long[] rows, int batchSize, LogitsWork work, LongConsumer progress) {
    long classified = 0;
    try (BatchIterator batches = dataset.batches(rows, batchSize, workers)) {
      while (batches.hasNext()) {
        try (ImageBatch pictures = batches.next()) {
          requireShape(pictures);
          work.take(classifier.logits(pictures.pixels(), pictures.count()), pictures.labels());
          classified += pictures.count();
        }
        progress.accept(classified);
      }
    }
  }

  @Override
  public Optional<ZeroShotHead> zeroShotHead() {
    return Optional.of(classifier.head());
  }

  @Override
  public void write(FisherEstimator estimator, Path file, FisherMetadata metadata) {
    estimator.write(file, model, metadata);
  }

  @Override
  public String modelSha256() {
    return model.tensorSha256();
  }

  @Override
  public String modelFingerprint() {
    return model.fingerprint();
  }

  /** Refuses pictures that do not fit the model. */
  private void requireShape(ImageBatch pictures) {
    ClipConfig.Vision shape = classifier.tower().config();
    if (pictures.channels() != shape.channels()
        || pictures.height() != shape.imageSize()
        || pictures.width() != shape.imageSize()) {
      throw new InputException(
          String.format(
              Locale.ROOT,
              "%s: pictures are %d x %d x %d, the model takes %d x %d x %d (channels, height,"
                  + " width); preprocess them for this model",
              dataset.description(),
              pictures.channels(),
              pictures.height(),
              pictures.width(),
              shape.channels(),
              shape.imageSize(),
              shape.imageSize()));
    }
  }
}
