package org.fishermerge.cli.program;

import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.ParquetSource;
import org.jspecify.annotations.Nullable;

/** Models and data that are on this machine already. */
public final class LocalRepositories implements Repositories {
  private final @Nullable Path hub;

  /**
   * @param hub a folder with {@code OWNER/NAME} below it, models and data sets alike; null for none
   */
  public LocalRepositories(@Nullable Path hub) {
    this.hub = hub;
    if (hub != null && !Files.isDirectory(hub)) {
      throw new InputException(hub + ": no such folder; --hub-dir takes one with OWNER/NAME in it");
    }
  }

  @Override
  public Path model(String id) {
    return find(id, "model");
  }

  @Override
  public List<Path> dataset(DatasetId dataset) {
    Path found = find(dataset.id(), "data set");
    if (Files.isRegularFile(found)) {
      return List.of(found);
    }
    String configuration = dataset.configuration();
    Path folder =
        configuration != null && Files.isDirectory(found.resolve(configuration))
            ? found.resolve(configuration)
            : found;
    return ParquetSource.find(folder + "#" + dataset.split()).orElseThrow().files();
  }

  private Path find(String id, String what) {
    return path(null, id)
        .or(() -> path(hub, id))
        .orElseThrow(() ->
            new InputException(
                id
                    + ": there is no such "
                    + what
                    + " here"
                    + (hub == null ? "" : ", nor in " + hub)
                    + "; download it and give its folder, or --hub-dir with OWNER/NAME in it"));
  }

  private static Optional<Path> path(@Nullable Path parent, String id) {
    try {
      Path path = parent == null ? Path.of(id) : parent.resolve(id);
      return Optional.of(path).filter(Files::exists);
    } catch (InvalidPathException e) {
      return Optional.empty();
    }
  }
}
