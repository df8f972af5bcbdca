package org.fishermerge.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.fishermerge.kernels.Activations;
import org.fishermerge.kernels.Cotangents;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.TokenShape;

/** One layer's squared per-example gradients: what the fused kernel does to one linear layer. */
public final class SquaredGradientsWork implements AutoCloseable {
  private final Arena arena = Arena.ofShared();
  private final TokenShape shape;
  private final long outputs;
  private final long inputs;
  private final MemorySegment cotangents;
  private final MemorySegment activations;
  private final MemorySegment fisher;

  /** One probe of {@code examples} examples of {@code tokens} tokens. */
  public SquaredGradientsWork(int examples, int tokens, long outputs, long inputs, long seed) {
    this.shape = new TokenShape(1, examples, tokens);
    this.outputs = outputs;
    this.inputs = inputs;
    SplittableRandom random = new SplittableRandom(seed);
    long rows = (long) examples * tokens;
    cotangents = random(rows * outputs, random);
    activations = random(rows * inputs, random);
    fisher = arena.allocate(outputs * inputs * Float.BYTES, 64);
  }

  private MemorySegment random(long count, SplittableRandom random) {
    MemorySegment segment = arena.allocate(count * Float.BYTES, 64);
    for (long j = 0; j < count; j++) {
      segment.setAtIndex(ValueLayout.JAVA_FLOAT, j, (float) (random.nextDouble() - 0.5));
    }
    return segment;
  }

  /** Adds the squares to the Fisher values once. */
  public void run(Kernels kernels) {
    kernels.addSquaredGradients(
        shape,
        outputs,
        inputs,
        new Cotangents(cotangents, 0, shape.tokens() * outputs, outputs),
        new Activations(activations, shape.tokens() * inputs, inputs),
        null,
        fisher);
  }

  /** Multiplications and additions of the gradients; the squaring is not counted. */
  public double flops() {
    return 2.0 * shape.examples() * shape.tokens() * outputs * inputs;
  }

  /** The running Fisher values. */
  public MemorySegment fisher() {
    return fisher.asReadOnly();
  }

  @Override
  public void close() {
    arena.close();
  }
}
