package org.fishermerge.torch.arch;

import java.nio.file.Path;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.SettingsKeys;
import org.fishermerge.torch.Classifier;

/**
 * A kind of model that classifies with a head of its own, known by the {@code model_type} of its
 * config.json. Stateless.
 *
 * @param <C> what it makes of a folder: a classifier of texts, or of pictures
 */
public interface Architecture<C extends Classifier> {
  /** As config.json names it. */
  String modelType();

  /** The keys of its config.json. */
  SettingsKeys keys();

  /**
   * Reads a config.json and leaves it at that.
   *
   * @throws org.fishermerge.checkpoint.InputException if it is of another model, or says what is
   *     not supported
   */
  void check(Path config);

  /**
   * Reads a classifier.
   *
   * @param backbone of a model without a head, or of a classification model whose head is left
   *     aside
   * @param head a classification model, whose head (and pad token) counts; may be the same
   * @return to be closed by the caller
   * @throws org.fishermerge.checkpoint.InputException if config.json or a tensor is missing, says
   *     what is not supported, or a shape is not what the configuration implies
   */
  C load(Checkpoint backbone, Checkpoint head);

  /** Reads a classification model. */
  default C load(Checkpoint model) {
    return load(model, model);
  }
}
