package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.Locale;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.ImageBatch;
import org.fishermerge.data.ImageDataset;
import org.fishermerge.torch.ClipClassifier;
import org.fishermerge.torch.ClipConfig;
import org.fishermerge.torch.ClipVisionTower;
import org.fishermerge.torch.ZeroShotHead;

/**
 * A classifier and the pictures that it is run on.
 *
 * @param model the file or folder that the classifier's tower was loaded from
 * @param dataset preprocessed as the CLIP model says
 */
record ImageTask(Checkpoint model, ClipClassifier classifier, ImageDataset dataset) {
  /** Opens what the options name, works with it, and closes it. */
  static void with(Path model, HeadOptions head, DataOptions data, Consumer<ImageTask> work) {
    try (Checkpoint checkpoint = Checkpoint.open(model);
        Checkpoint clip = Checkpoint.open(head.clip);
        ClipVisionTower tower = ClipVisionTower.load(checkpoint);
        ImageDataset dataset = data.open(clip, tower.config());
        ZeroShotHead zeroShot = head.load(clip)) {
      work.accept(new ImageTask(checkpoint, new ClipClassifier(tower, zeroShot), dataset));
    }
  }

  /** Refuses data without labels on behalf of {@code whatNeedsThem}. */
  void requireLabels(String whatNeedsThem) {
    if (!dataset.labelled()) {
      throw new InputException(
          dataset.description() + ": has no labels, and " + whatNeedsThem + " needs them");
    }
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
