package org.fishermerge.torch.objective;

import java.util.stream.LongStream;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.torch.runtime.Tensors;

/**
 * The label covariance S = diag(p) - p p^T of each example of a batch through its factor A = D (I -
 * q q^T), with q = sqrt(p) and D = diag(q): A A^T = S, because |q| = 1. A maps vectors over the
 * classes to cotangents of the logits; column k of A is sqrt(p_k) (e_k - p).
 *
 * <p>For any orthonormal u_1 ... u_M orthogonal to q and any random vector s with E[s s^T] = I,
 * {@code sum_m (A u_m)(A u_m)^T + E[(A r)(A r)^T] = S} with r = s without its parts along the u_m.
 * So the sum is right whatever the u_m are, and how close they come to the leading singular vectors
 * of A only decides how little is left to chance.
 *
 * <p>Vectors u are given and kept by rank: entry 0 is that of the example's likeliest class. What
 * comes out as a cotangent is by class. All is float64 on the device of p.
 */
final class LabelCovariance {
  private final Tensor p; // [B, K], falling
  private final Tensor order; // [B, K]: the class of each rank
  private final Tensor rank; // [B, K]: the rank of each class

  /**
   * Sorts classes by their probability, equal ones by their index.
   *
   * @param probabilities [B, K], float64, each row summing to one
   */
  LabelCovariance(Tensor probabilities) {
    T_TensorTensor_T sorted = torch.sort(probabilities, new BoolOptional(true), 1, true);
    p = new Tensor(sorted.get0());
    order = new Tensor(sorted.get1());
    rank = order.argsort(1, false);
  }

  private LabelCovariance(Tensor p, Tensor order, Tensor rank) {
    this.p = p;
    this.order = order;
    this.rank = rank;
  }

  /** That of some of the examples. */
  LabelCovariance select(int[] examples) {
    Tensor indices = Tensors.copyOf(examples);
    return new LabelCovariance(
        p.index_select(0, indices), order.index_select(0, indices), rank.index_select(0, indices));
  }

  int examples() {
    return Math.toIntExact(p.size(0));
  }

  int classes() {
    return Math.toIntExact(p.size(1));
  }

  /** Probabilities [B, K] by rank: falling. */
  Tensor probabilities() {
    return p;
  }

  /** Vectors [B, V, K] over the classes, by rank. */
  Tensor byRank(Tensor byClass) {
    return byClass.gather(2, order.unsqueeze(1).expand_as(byClass));
  }

  private Tensor byClass(Tensor byRank) {
    return byRank.gather(2, rank.unsqueeze(1).expand_as(byRank));
  }

  /** A u for each of the vectors u [B, V, K]: cotangents [B, V, K]. */
  Tensor cotangents(Tensor u) {
    Tensor q = p.sqrt().unsqueeze(1);
    Tensor cotangents = u.addcmul(q, sum(u.mul(q)), new Scalar(-1.0)).mul_(q);
    // Cotangents sum to zero. Taken from the others, the likeliest class keeps its digits when its
    // probability is next to one.
    cotangents.narrow(2, 0, 1).copy_(sum(cotangents.narrow(2, 1, classes() - 1L)).neg());
    return byClass(cotangents);
  }

  /**
   * The columns of the Cholesky factor of S as cotangents [B, K-1, K] (Tanabe and Sagae, 1992).
   * Classes are taken in falling order of p and the remaining mass is summed from the smallest up,
   * so that nothing cancels when one class has nearly all of it, and the last columns of a
   * confident example carry next to nothing.
   */
  Tensor choleskyColumns() {
    long columns = classes() - 1L;
    Tensor mass = p.flip(1).cumsum(1).flip(1); // of the classes from a rank on
    Tensor rest = mass.narrow(1, 1, columns);
    Tensor none = rest.le(new Scalar(0.0));
    Tensor pivots =
        rest.div(mass.narrow(1, 0, columns))
            .mul_(p.narrow(1, 0, columns))
            .sqrt_()
            .masked_fill_(none, new Scalar(0.0));
    Tensor ofRest = rest.masked_fill(none, new Scalar(1.0)).unsqueeze(2);
    // By class from the start: a class is in the columns of the ranks before its own.
    Tensor own = order.narrow(1, 0, columns).unsqueeze(2);
    long[] ranks = LongStream.range(0, classes()).toArray();
    Tensor column = Tensors.copyOf(ranks, ranks.length, 1).narrow(0, 0, columns);
    return p.gather(1, rank)
        .unsqueeze(1)
        .div(ofRest)
        .mul_(pivots.neg().unsqueeze(2))
        .masked_fill_(rank.unsqueeze(1).le(column), new Scalar(0.0))
        .scatter_(2, own, pivots.unsqueeze(2));
  }

  /** Along the last dimension, which is kept. */
  static Tensor sum(Tensor values) {
    return values.sum(new long[] {-1}, true, new ScalarTypeOptional());
  }
}
