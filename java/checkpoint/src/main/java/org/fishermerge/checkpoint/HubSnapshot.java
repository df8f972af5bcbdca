package org.fishermerge.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * A downloaded commit in the Hugging Face hub's cache, {@code models--X/snapshots/COMMIT}, whose
 * files are links that strangers' archives may have named. They may lead elsewhere in the snapshot
 * or into the repository's {@code blobs}; snapshot and blobs may be links themselves, to another
 * disk say, since only who owns the cache can make those. The hub's client and the readers of
 * models share this rule.
 *
 * @param folder the snapshot
 * @param blobs the repository's blobs, be they there or not
 */
public record HubSnapshot(Path folder, Path blobs) {
  /** The snapshot that a folder is, or lies in, by its own path or by that which links lead to. */
  public static Optional<HubSnapshot> of(Path folder) {
    Optional<HubSnapshot> own = named(folder.toAbsolutePath().normalize());
    if (own.isPresent()) {
      return own;
    }
    try {
      return named(folder.toRealPath());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private static Optional<HubSnapshot> named(Path folder) {
    for (Path path = folder; path != null; path = path.getParent()) {
      Path snapshots = path.getParent();
      Path repository = snapshots == null ? null : snapshots.getParent();
      if (snapshots != null
          && repository != null
          && snapshots.endsWith("snapshots")
          && isRepository(Objects.toString(repository.getFileName(), ""))) {
        return Optional.of(new HubSnapshot(path, repository.resolve("blobs")));
      }
    }
    return Optional.empty();
  }

  private static boolean isRepository(String name) {
    return Stream.of("models--", "datasets--", "spaces--").anyMatch(name::startsWith);
  }

  /**
   * Where a file of the snapshot really is.
   *
   * @param file an existing path inside the snapshot
   * @throws InputException if links lead it out of the repository
   */
  public Path resolve(Path file) throws IOException {
    Path real = file.toRealPath();
    boolean inside = real.startsWith(folder.toRealPath());
    if (!inside && !(Files.exists(blobs) && real.startsWith(blobs.toRealPath()))) {
      throw new InputException(
          file
              + ": is a link that leads out of its repository in the cache, to "
              + real
              + "; a downloaded model must not name files elsewhere. Delete the link and download"
              + " the model again");
    }
    return real;
  }
}
