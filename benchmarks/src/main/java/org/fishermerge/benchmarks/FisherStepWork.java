package org.fishermerge.benchmarks;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.arch.ClipVisionTower;
import org.fishermerge.torch.arch.NetworkClassifier;
import org.fishermerge.torch.arch.VisionTraining;
import org.fishermerge.torch.arch.ZeroShotHead;
import org.fishermerge.torch.nn.Pixels;
import org.fishermerge.torch.objective.LabelRule;
import org.fishermerge.torch.runtime.LibTorch;

/** One batch of pictures through an image tower of a published shape with random weights. */
final class FisherStepWork implements AutoCloseable {
  private static final int CLASSES = 10;

  private final int batch;
  private final Kernels kernels;
  private final ScratchFolder folder;
  private final Arena arena = Arena.ofShared();
  private final Checkpoint checkpoint;
  private final ClipVisionTower tower;
  private final ZeroShotHead head;
  private final VisionTraining training;
  private final FisherEstimator estimator;
  private final NetworkClassifier<Pixels> classifier;
  private final MemorySegment pixels;
  private final List<FisherEstimator> estimators = new ArrayList<>();

  FisherStepWork(ClipShape shape, int batch, Kernels kernels) throws IOException {
    this.batch = batch;
    this.kernels = kernels;
    folder = new ScratchFolder();
    checkpoint = Checkpoint.open(shape.write(folder.path(), 1));
    tower = ClipVisionTower.load(checkpoint);
    head = ZeroShotHead.of(checkpoint, headRows(shape), CLASSES, "random head");
    training = new VisionTraining(checkpoint);
    classifier = tower.under(head);
    estimator = new FisherEstimator(classifier, new LabelRule.Sampled(1), 1, kernels);
    long count = (long) batch * 3 * shape.image() * shape.image();
    pixels = arena.allocate(count * Float.BYTES, 64);
    Random random = new Random(1);
    for (long j = 0; j < count; j++) {
      pixels.setAtIndex(ValueLayout.JAVA_FLOAT, j, (float) random.nextGaussian());
    }
  }

  /** Forward, one probe backward, and the kernels: an exact per-example Fisher. */
  void fisher() {
    try (ForwardPass pass = classifier.forward(new Pixels(pixels, batch))) {
      estimator.add(pass, null);
    }
    LibTorch.synchronize();
  }

  /** Adding the batch to other statistics, with one probe where there are gradients. */
  Runnable estimating(StatisticKind kind) {
    ForwardPass.Source source = wanted -> classifier.forward(new Pixels(pixels, batch), wanted);
    FisherEstimator sums =
        new FisherEstimator(
            classifier,
            new LabelRule.Sampled(1),
            1,
            kernels,
            Set.of(kind),
            FisherEstimator.linearLayers(classifier, Set.of(kind), source));
    estimators.add(sums);
    return () -> {
      sums.add(source, null);
      LibTorch.synchronize();
    };
  }

  /** Plain forward and backward of the same batch by autograd. */
  void train() {
    training.forwardBackward(head, pixels, new long[batch]);
    training.clearGradients();
    LibTorch.synchronize();
  }

  private static float[] headRows(ClipShape shape) {
    Random random = new Random(2);
    float[] rows = new float[CLASSES * shape.projection()];
    for (int c = 0; c < CLASSES; c++) {
      double norm = 0;
      for (int i = 0; i < shape.projection(); i++) {
        float value = (float) random.nextGaussian();
        rows[c * shape.projection() + i] = value;
        norm += value * value;
      }
      for (int i = 0; i < shape.projection(); i++) {
        rows[c * shape.projection() + i] /= (float) Math.sqrt(norm);
      }
    }
    return rows;
  }

  @Override
  public void close() throws IOException {
    estimators.forEach(FisherEstimator::close);
    estimator.close();
    training.close();
    head.close();
    tower.close();
    checkpoint.close();
    arena.close();
    folder.close();
  }
}
