package org.fishermerge.estimate;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.LongConsumer;
import java.util.function.Supplier;
import java.util.stream.LongStream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.BatchIterator;
import org.fishermerge.data.ImageBatch;
import org.fishermerge.data.ImageDataset;
import org.fishermerge.data.ImageProcessor;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.data.MatchedExamples;
import org.fishermerge.torch.BatchMemory;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.arch.Architecture;
import org.fishermerge.torch.arch.ClipConfig;
import org.fishermerge.torch.arch.ClipVisionTower;
import org.fishermerge.torch.arch.ImageClassifier;
import org.fishermerge.torch.arch.PictureShape;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.objective.Objective;

/**
 * A classifier and the pictures that it is run on.
 *
 * @param model the file or folder that the classifier's backbone was loaded from
 * @param zeroShotHead the classifier's head, unless it is the model's own
 * @param dataset preprocessed as the CLIP model says
 * @param examples of the data set, with the head's classes as labels
 */
public record ImageClassifierOnData(
    Checkpoint model,
    ImageClassifier classifier,
    Optional<ZeroShotHead> zeroShotHead,
    ImageDataset dataset,
    MatchedExamples examples,
    int workers)
    implements ClassifierOnData {
  /** Pictures that are decoded together only to see whether they can be. */
  private static final int TRIED = 16;

  /** A head, and what its classes are called where that is known. */
  public record Head(ZeroShotHead weights, Optional<List<String>> classNames, String origin) {}

  /**
   * Opens pictures and a zero-shot head, works with them, and closes them.
   *
   * @param base the CLIP model that this one was fine-tuned from; its picture settings say how
   *     pictures are prepared
   * @param data opens the pictures
   * @param head builds or reads the head of the base
   * @param matching how the classes of data and head are matched
   * @param workers threads that decode pictures ahead
   * @param warnings told what is odd about the files but does not stop their use
   */
  public static void with(
      Checkpoint model,
      Path base,
      Function<ImageProcessor, ImageDataset> data,
      Function<Checkpoint, Head> head,
      Matching matching,
      int workers,
      Consumer<String> warnings,
      Consumer<ImageClassifierOnData> work) {
    model.warnings().forEach(warnings);
    ClipConfig.of(model).warnings().forEach(warnings);
    try (Checkpoint clip = Checkpoint.open(base);
        ClipVisionTower tower = ClipVisionTower.load(model)) {
      ClipConfig.of(clip).warnings().forEach(warnings);
      ImageProcessor processor =
          ImageProcessor.ofModel(clip::sibling, base, tower.config().imageSize());
      try (ImageDataset dataset = data.apply(processor)) {
        if (dataset.usesProcessor()) {
          processor.warnings().forEach(warnings);
        }
        Head named = head.apply(clip);
        try (ZeroShotHead weights = named.weights()) {
          MatchedExamples examples =
              new MatchedExamples(
                  dataset,
                  weights.classCount(),
                  named.classNames(),
                  named.origin(),
                  matching,
                  warnings);
          work.accept(
              new ImageClassifierOnData(
                  model,
                  ImageClassifier.zeroShot(tower, weights),
                  Optional.of(weights),
                  dataset,
                  examples,
                  workers));
        }
      }
    }
  }

  /**
   * Opens pictures and a model with a head of its own, works with them, and closes them.
   *
   * @param architecture of both models
   * @param head the classification model whose head classifies, and whose picture settings say how
   *     pictures are prepared; may be the model itself
   * @param withHead whether the head's parameters are studied too
   */
  public static void withOwnHead(
      Architecture<ImageClassifier> architecture,
      Checkpoint model,
      Checkpoint head,
      boolean withHead,
      Function<ImageProcessor, ImageDataset> data,
      Matching matching,
      int workers,
      Consumer<String> warnings,
      Consumer<ImageClassifierOnData> work) {
    model.warnings().forEach(warnings);
    try (ImageClassifier classifier = architecture.load(model, head)) {
      classifier.warnings().forEach(warnings);
      ImageProcessor processor =
          ImageProcessor.ofModel(head::sibling, head.path(), classifier.shape().side());
      try (ImageDataset dataset = data.apply(processor)) {
        if (dataset.usesProcessor()) {
          processor.warnings().forEach(warnings);
        }
        MatchedExamples examples =
            new MatchedExamples(
                dataset,
                classifier.classCount(),
                ClassNames.of(head, classifier.classCount(), warnings),
                head.path().toString(),
                matching,
                warnings);
        work.accept(
            new ImageClassifierOnData(
                model,
                withHead ? classifier.withHead() : classifier,
                Optional.empty(),
                dataset,
                examples,
                workers));
      }
    }
  }

  @Override
  public Network<Pixels> backbone() {
    return classifier.backbone();
  }

  @Override
  public ImageClassifierOnData onBackboneOf(ClassifierOnData other) {
    if (!(other instanceof ImageClassifierOnData pictures)) {
      throw ClassifierOnData.otherKind(this, other);
    }
    return new ImageClassifierOnData(
        pictures.model,
        classifier.onBackboneOf(pictures.classifier),
        zeroShotHead,
        dataset,
        examples,
        workers);
  }

  @Override
  public Optional<MemoryPlan> memoryPlan(
      long[] rows, Supplier<FisherEstimator> estimators, int atOnce, int tried) {
    try (FisherEstimator estimator = estimators.get()) {
      Optional<BatchMemory> batch =
          estimator.measure(
              count -> wanted -> forward(Arrays.copyOf(rows, count), wanted),
              Math.min(tried, rows.length));
      long pixels = classifier.shape().values();
      return batch.flatMap(
          measured -> MemoryPlan.of(estimator, measured, atOnce, pixels * Float.BYTES, workers));
    }
  }

  @Override
  public void forEachBatch(long[] rows, int batchSize, Objective rule, BatchWork work) {
    try (BatchIterator batches = dataset.batches(rows, batchSize, workers)) {
      while (batches.hasNext()) {
        try (ImageBatch pictures = batches.next()) {
          requireShape(pictures);
          work.run(
              wanted -> classifier.forward(pixels(pictures), wanted),
              labels(pictures.rows(), rule));
        }
      }
    }
  }

  @Override
  public ForwardPass forward(long[] rows, ForwardPass.Wanted wanted) {
    try (BatchIterator batches = dataset.batches(rows, rows.length, workers);
        ImageBatch pictures = batches.next()) {
      requireShape(pictures);
      return classifier.forward(pixels(pictures), wanted);
    }
  }

  private static Pixels pixels(ImageBatch pictures) {
    return new Pixels(pictures.pixels(), pictures.count());
  }

  @Override
  public long[] readable(long[] rows, SkippedRows skipped) {
    if (!skipped.mayBe()) {
      return rows; // the run itself stops at the first
    }
    LongStream.Builder kept = LongStream.builder();
    try (BatchIterator batches = dataset.batches(rows, TRIED, workers, skipped)) {
      while (batches.hasNext()) {
        try (ImageBatch pictures = batches.next()) {
          Arrays.stream(pictures.rows()).forEach(kept);
        }
      }
    }
    return kept.build().toArray();
  }

  @Override
  public void classify(
      long[] rows, int batchSize, LogitsWork work, SkippedRows skipped, LongConsumer progress) {
    try (BatchIterator batches = dataset.batches(rows, batchSize, workers, skipped)) {
      while (batches.hasNext()) {
        try (ImageBatch pictures = batches.next()) {
          requireShape(pictures);
          if (pictures.count() > 0) {
            work.take(classifier.logits(pixels(pictures)), labels(pictures.rows()));
          }
          progress.accept(Math.min(rows.length, pictures.firstIndex() + batchSize));
        }
      }
    }
  }

  /** Refuses pictures that do not fit the model. */
  private void requireShape(ImageBatch pictures) {
    PictureShape shape = classifier.shape();
    if (pictures.channels() != shape.channels()
        || pictures.height() != shape.side()
        || pictures.width() != shape.side()) {
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
              shape.side(),
              shape.side()));
    }
  }
}
