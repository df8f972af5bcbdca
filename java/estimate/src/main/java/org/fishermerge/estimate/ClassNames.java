package org.fishermerge.estimate;

import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.torch.arch.Architectures;

/** The names of the classes of a classification model. */
final class ClassNames {
  private ClassNames() {}

  /** What the classes are called, unless that is said of another number of classes. */
  static Optional<List<String>> of(Checkpoint head, int classes, Consumer<String> warnings) {
    Optional<List<String>> names = Architectures.classNames(head);
    names
        .filter(all -> all.size() != classes)
        .ifPresent(all ->
            warnings.accept(
                "%s: config.json names %d classes and the head has %d; the names are not used"
                    .formatted(head.path(), all.size(), classes)));
    return names.filter(all -> all.size() == classes);
  }
}
