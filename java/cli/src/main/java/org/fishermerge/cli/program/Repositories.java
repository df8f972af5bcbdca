package org.fishermerge.cli.program;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LoraAdapter;
import org.fishermerge.checkpoint.ModelPath;
import org.fishermerge.data.hub.DatasetSplit;
import org.fishermerge.data.hub.Hub;
import org.fishermerge.data.hub.HubSettings;
import org.fishermerge.data.hub.Repository;
import org.fishermerge.data.hub.Snapshot;
import org.fishermerge.data.hub.WantedFiles;
import org.jspecify.annotations.Nullable;

/**
 * Where models and data come from, by the names that configurations have for them: a folder of that
 * name, else one below the folder of {@code --hub-dir}, else the Hugging Face hub with its cache.
 */
public final class Repositories implements AutoCloseable {
  private static final String CONFIG = "config.json";

  private final @Nullable Path hubDir;
  private final Map<String, String> environment;
  private final DownloadProgress progress;
  private final Map<String, Model> models = new HashMap<>();
  private @Nullable Hub hub;

  /**
   * A model that there is.
   *
   * @param config its {@code config.json}, if it has one; on this machine
   * @param folder fetches the rest of it, once, and tells where it all is
   */
  public record Model(Optional<Path> config, Supplier<Path> folder) {}

  /**
   * @param hubDir a folder with {@code OWNER/NAME} below it, models and data sets alike; null for
   *     none
   * @param environment that says where the hub and its cache are, as {@link HubSettings#from} reads
   *     it
   * @param err receives progress
   */
  public Repositories(@Nullable Path hubDir, Map<String, String> environment, PrintWriter err) {
    this.hubDir = hubDir;
    this.environment = environment;
    this.progress = new DownloadProgress(err);
    if (hubDir != null && !Files.isDirectory(hubDir)) {
      throw new InputException(
          hubDir + ": no such folder; --hub-dir takes one with OWNER/NAME in it");
    }
  }

  /**
   * Finds a model, without downloading its weights yet.
   *
   * @throws InputException if there is no such model, or not one that can be read
   */
  public Model model(String id) {
    return models.computeIfAbsent(id, this::find);
  }

  private Model find(String id) {
    Optional<Path> local = local(id);
    if (local.isEmpty() && id.indexOf('+') > 0) {
      int plus = id.indexOf('+');
      return adapted(model(id.substring(0, plus)), adapter(id.substring(plus + 1)));
    }
    if (local.isPresent()) {
      Path folder = local.get();
      if (LoraAdapter.isAdapter(folder)) {
        return adapterAlone(folder);
      }
      return new Model(
          Optional.of(folder.resolve(CONFIG)).filter(Files::isRegularFile), () -> folder);
    }
    Repository repository = Repository.model(id);
    Snapshot found = hub().fetch(repository, WantedFiles.modelConfiguration());
    Repository pinned = repository.at(found.commit());
    return new Model(
        Optional.of(found.files().getFirst()),
        () -> progress.of(id, () -> hub().snapshot(pinned, WantedFiles.model())));
  }

  /** A base and an adapter, as one model that is put together while it is read. */
  private static Model adapted(Model base, Supplier<Path> adapter) {
    return new Model(
        base.config(), () -> Path.of(base.folder().get() + "+" + adapter.get()));
  }

  /** An adapter on this machine, or on the hub, whose two files are downloaded. */
  private Supplier<Path> adapter(String id) {
    Optional<Path> local = local(id);
    if (local.isPresent()) {
      Path folder = local.get();
      return () -> folder;
    }
    Repository repository = Repository.model(id);
    Snapshot found = hub().fetch(repository, WantedFiles.adapterConfiguration());
    Repository pinned = repository.at(found.commit());
    return () -> progress.of(id, () -> hub().snapshot(pinned, WantedFiles.adapter()));
  }

  /** Its configuration names its base, a folder or an id. */
  private Model adapterAlone(Path folder) {
    String base =
        LoraAdapter.open(folder).baseModel().filter(id -> local(id).isEmpty()).orElse(null);
    if (base != null && !Files.exists(folder.resolveSibling(base))) {
      return adapted(model(base), () -> folder);
    }
    Path stored = ModelPath.of(folder).base();
    return new Model(
        Optional.of(stored.resolve(CONFIG)).filter(Files::isRegularFile), () -> folder);
  }

  /**
   * Finds the files of a split, in order, Parquet or one safetensors file, without downloading them
   * yet.
   *
   * @throws InputException if there is no such data set or split
   */
  public Supplier<List<Path>> dataset(DatasetId dataset) {
    Optional<Path> local = local(dataset.id());
    if (local.isPresent()) {
      Path found = local.get();
      List<Path> files =
          Files.isRegularFile(found)
              ? List.of(found)
              : new DatasetSplit(found.toString(), dataset.configuration(), dataset.split())
                  .inFolder(found);
      return () -> files;
    }
    Supplier<List<Path>> files =
        new DatasetSplit(dataset.id(), dataset.configuration(), dataset.split()).find(hub());
    return () -> progress.of(dataset.description(), files);
  }

  private Optional<Path> local(String id) {
    return path(null, id).or(() -> hubDir == null ? Optional.empty() : path(hubDir, id));
  }

  private static Optional<Path> path(@Nullable Path parent, String id) {
    try {
      Path path = parent == null ? Path.of(id) : parent.resolve(id);
      return Optional.of(path).filter(Files::exists);
    } catch (InvalidPathException e) {
      return Optional.empty();
    }
  }

  /** Made when it is needed: most runs over folders need none of its settings. */
  private Hub hub() {
    Hub known = hub;
    if (known == null) {
      known = new Hub(HubSettings.from(environment), progress);
      hub = known;
    }
    return known;
  }

  @Override
  public void close() {
    if (hub != null) {
      hub.close();
    }
  }
}
