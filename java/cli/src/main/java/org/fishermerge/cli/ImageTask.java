package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.BatchIterator;
import org.fishermerge.data.Examples;
import org.fishermerge.data.ImageBatch;
import org.fishermerge.data.ImageDataset;
import org.fishermerge.torch.BatchMemory;
import org.fishermerge.torch.ClipClassifier;
import org.fishermerge.torch.ClipConfig;
import org.fishermerge.torch.ClipVisionTower;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.ZeroShotHead;

/**
 * A classifier and the pictures that it is run on.
 *
 * @param model the file or folder that the classifier's tower was loaded from
 * @param dataset preprocessed as the CLIP model says
 */
record ImageTask(Checkpoint model, ClipClassifier classifier, ImageDataset dataset, int workers)
    implements FisherTask {
  /** Opens what the options name, works with it, and closes it. */
  static void with(Path model, HeadOptions head, DataOptions data, Consumer<ImageTask> work) {
    try (Checkpoint checkpoint = Checkpoint.open(model);
        Checkpoint clip = Checkpoint.open(head.clip);
        ClipVisionTower tower = ClipVisionTower.load(checkpoint);
        ImageDataset dataset = data.open(clip, tower.config());
        ZeroShotHead zeroShot = head.load(clip)) {
      work.accept(
          new ImageTask(checkpoint, new ClipClassifier(tower, zeroShot), dataset, data.workers));
    }
  }

  @Override
  public Examples examples() {
    return dataset;
  }

  @Override
  public long bytesOfInput() {
    ClipConfig.Vision shape = classifier.tower().config();
    return (long) shape.channels() * shape.imageSize() * shape.imageSize() * Float.BYTES;
  }

  @Override
  public Optional<BatchMemory> measure(long[] rows, FisherEstimator estimator) {
    return estimator.measure(count -> forward(Arrays.copyOf(rows, count)), rows.length);
  }

  @Override
  public void forEachBatch(long[] rows, int batchSize, BatchWork work) {
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
  void requireShape(ImageBatch pictures) {
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
