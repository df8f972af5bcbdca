package org.fishermerge.merge;

import java.util.List;

/**
 * How much each model had to say in one merged tensor.
 *
 * <p>Of a rule that weights each value by itself, a model's share is the mean over the tensor's
 * values j of {@code w_ij / sum_k w_kj}, w_ij the weight with which the merge took the model's
 * value. The mean is over {@code sampled} values that are spread evenly over the tensor; where that
 * is fewer than all, its standard error is at most half over the root of that number, and a tenth
 * of that where models are much alike. Of a layer that was solved for, it is the model's part of
 * the trace of the layer's system: {@code c_i s_i tr(A_i) tr(G_i)} for Kronecker factors and {@code
 * c_i tr(A_i)} for Gram matrices.
 *
 * <p>Of sparse task arithmetic it is the mean of {@code |w_ij| / sum_k |w_kj|} over the same number
 * of values, w_ij the model's coefficient times its rescale where its difference counts, and 0
 * where it was trimmed or has not the elected sign. Where no model's counts, the value stays the
 * base's: the share of such values is the base's.
 *
 * @param tensor the base's name of it
 * @param values of the tensor
 * @param sampled how many of them were looked at; 0 of a layer that was solved for
 * @param shares of the models in the request's order, and of the base after them by {@link
 *     SparseTaskArithmetic}, adding up to 1; some are negative where coefficients of other rules
 *     are
 */
public record TensorShares(String tensor, long values, long sampled, List<Double> shares) {
  /** Copies the list. */
  public TensorShares {
    shares = List.copyOf(shares);
  }
}
