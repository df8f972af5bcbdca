package org.fishermerge.estimate;

import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.fishermerge.checkpoint.Checkpoint;

/** SHA-256 of models' tensors, computed once in a run, by any thread. */
public final class ModelHashes {
  private final Map<Path, String> known = new ConcurrentHashMap<>();

  /** {@link Checkpoint#tensorSha256} of a model. */
  public String of(Path model) {
    return known.computeIfAbsent(
        model,
        path -> {
          try (Checkpoint checkpoint = Checkpoint.open(path)) {
            return checkpoint.tensorSha256();
          }
        });
  }
}
