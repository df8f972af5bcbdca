package org.fishermerge.torch.objective;

import java.util.Arrays;
import java.util.stream.LongStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * The cotangents of a batch's logits, on their device. Those that would vanish in the sum of
 * squares are left out, so that an example of which the model is certain costs nothing; so examples
 * have different numbers of them.
 *
 * <p>Its tensors belong to the pointer scope that it was made in. Not thread-safe.
 */
public final class Probes {
  // A cotangent is left out if its squared norm is below this share of its example's sum: it lies
  // under the rounding of the fp32 sum that it would join.
  private static final double NEGLIGIBLE = 0x1p-40;
  private static final double SMALLEST_SCALE = 0x1p-60;
  private static final long EXPONENT_BITS = 0x7ffL << 52;

  private final Tensor cotangents; // [B, V, K], float64
  private final long[] shape; // of an example's logits, K in all
  private final Tensor counted; // [B, V]: whether a cotangent counts
  private final int[] counts;
  // [B, V], int64: those that count, then the others; null where all count
  private final @Nullable Tensor order;
  private final boolean scaled;

  private Probes(Tensor cotangents, Tensor counted, boolean scaled) {
    this.cotangents = cotangents.flatten(2, -1);
    this.shape = LongStream.range(2, cotangents.dim()).map(cotangents::size).toArray();
    this.counted = counted;
    this.counts = Tensors.ints(counted.sum(1));
    boolean all = Arrays.stream(counts).allMatch(count -> count == counted.size(1));
    this.order = all ? null : torch.argsort(counted.to(ScalarType.Byte), true, 1, true);
    this.scaled = scaled;
  }

  /**
   * Probes with these cotangents.
   *
   * @param cotangents [B, V, ...] of the shape of the logits [B, ...], float64, contiguous; zeros
   *     where an example has fewer than V
   * @param scaled whether each may be scaled by a power of two that its weight undoes
   */
  static Probes of(Tensor cotangents, boolean scaled) {
    Tensor squares =
        torch
            .linalg_vector_norm(
                cotangents.flatten(2, -1),
                new Scalar(2.0),
                new long[] {2},
                false,
                new ScalarTypeOptional())
            .square_();
    Tensor least = LabelCovariance.sum(squares).mul_(new Scalar(NEGLIGIBLE));
    return new Probes(cotangents, squares.gt(least), scaled);
  }

  /** How many probes each example has [B]. */
  public int[] counts() {
    return counts;
  }

  /**
   * What goes back together.
   *
   * @param cotangents [V, n, ...] of the shape of the logits, fp32
   * @param weights what the squares of each are multiplied by [V, n], fp32
   */
  public record Group(Tensor cotangents, Tensor weights) {}

  /**
   * Some probes of some examples; zeros stand for those that an example does not have.
   *
   * @param first the first probe
   * @param end one past the last
   * @param examples which examples, int64 [n] on the logits' device; null for all
   * @return in the caller's pointer scope
   */
  public Group group(int first, int end, @Nullable Tensor examples) {
    long probes = (long) end - first;
    if (order == null) {
      Tensor chosen = Tensors.entries(cotangents.narrow(1, first, probes), examples);
      return group(chosen.transpose(0, 1), null);
    }
    Tensor which = Tensors.entries(order.narrow(1, first, probes), examples).t(); // [V, n]
    long count = which.size(1);
    // Rows of the cotangents, when those of all examples are laid end to end.
    Tensor firstRow =
        examples == null ? Tensors.copyOf(LongStream.range(0, count).toArray(), count) : examples;
    Tensor rows = which.add(firstRow.mul(new Scalar(cotangents.size(1)))).flatten();
    Tensor chosen = cotangents.flatten(0, 1).index_select(0, rows).view(probes, count, -1);
    Tensor counting = counted.flatten().index_select(0, rows).view(probes, count, 1);
    return group(chosen, counting);
  }

  /**
   * A group of cotangents.
   *
   * @param chosen [V, n, K]
   * @param counting which of them count [V, n, 1]; null for all
   */
  private Group group(Tensor chosen, @Nullable Tensor counting) {
    Tensor scale = scaled ? scale(chosen) : torch.ones_like(chosen.narrow(2, 0, 1));
    Tensor factor = scale.reciprocal();
    Tensor weights = scale.square_();
    if (counting != null) {
      factor.mul_(counting);
      weights.mul_(counting);
    }
    return new Group(
        chosen
            .mul(factor)
            .to(ScalarType.Float)
            .contiguous()
            .view(ofGroup(chosen.size(0), chosen.size(1))),
        weights.squeeze(2).to(ScalarType.Float).contiguous());
  }

  private long[] ofGroup(long probes, long count) {
    return LongStream.concat(LongStream.of(probes, count), Arrays.stream(shape)).toArray();
  }

  /**
   * The power of two below each cotangent's largest entry [V, n, 1]. Gradients are linear in the
   * cotangent: divided by it, the small gradients of confident examples keep clear of fp32
   * underflow, and its square, a weight without rounding, puts the squares right.
   */
  private static Tensor scale(Tensor cotangents) {
    // Without a copy of all absolute values.
    long[] classes = {2};
    Tensor largest =
        torch.maximum(cotangents.amax(classes, true), cotangents.amin(classes, true).neg_());
    return largest
        .view(ScalarType.Long)
        .bitwise_and(new Scalar(EXPONENT_BITS))
        .view(ScalarType.Double)
        .clamp_min_(new Scalar(SMALLEST_SCALE));
  }
}
