package org.fishermerge.data;

import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorSelector;

/** Opens data sets of texts. */
public final class TokenDatasets {
  private TokenDatasets() {}

  /**
   * Opens what {@code source} names: {@code FILE.safetensors} or {@code FILE.safetensors#prefix.}
   * with the tensors {@code <prefix>input_ids} [N, T] and, optionally, {@code
   * <prefix>attention_mask} [N, T], ones and then zeros in each row, and {@code <prefix>labels}
   * [N].
   *
   * @throws InputException if there is no such data, or it is not as described
   */
  public static TokenDataset open(String source) {
    return SafetensorsTokens.open(TensorSelector.parse(source));
  }
}
