package org.fishermerge.cli.task;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LoraAdapter;
import org.fishermerge.checkpoint.ModelPath;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.data.files.DatasetSplit;
import org.fishermerge.data.files.LocalData;
import org.fishermerge.data.hub.Hub;
import org.fishermerge.data.hub.HubDatasets;
import org.fishermerge.data.hub.HubName;
import org.fishermerge.data.hub.HubSettings;
import org.fishermerge.data.hub.Repository.Kind;
import org.fishermerge.data.hub.Snapshot;
import org.fishermerge.data.hub.WantedFiles;
import org.jspecify.annotations.Nullable;

/**
 * Where models, Fisher files and data come from, by the names that options and configurations have
 * for them: what there is of that name on this machine, else below the folder of {@code --hub-dir},
 * else the Hugging Face hub with its cache, for names as {@link HubName} reads them.
 */
public final class Repositories implements AutoCloseable {
  private static final String CONFIG = "config.json";
  private static final String WEIGHTS_ENDING = ".safetensors";

  private final @Nullable Path hubDir;
  private final Map<String, String> environment;
  private final PrintWriter err;
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
    this.err = err;
    this.progress = new DownloadProgress(err);
    if (hubDir != null && !Files.isDirectory(hubDir)) {
      throw new InputException(
          hubDir + ": no such folder; --hub-dir takes one with OWNER/NAME in it");
    }
  }

  // ---- models ----

  /**
   * Finds a model, without downloading its weights yet.
   *
   * @throws InputException if there is no such model, or not one that can be read
   */
  public Model model(String name) {
    return models.computeIfAbsent(name, this::find);
  }

  private Model find(String name) {
    Optional<Path> local = local(Kind.MODEL, name);
    if (local.isEmpty() && name.indexOf('+') > 0) {
      int plus = name.indexOf('+');
      return adapted(model(name.substring(0, plus)), adapter(name.substring(plus + 1)));
    }
    if (local.isPresent()) {
      Path folder = local.get();
      if (LoraAdapter.isAdapter(folder)) {
        return adapterAlone(folder);
      }
      return new Model(
          Optional.of(folder.resolve(CONFIG)).filter(Files::isRegularFile), () -> folder);
    }
    HubName named =
        HubName.parse(Kind.MODEL, name)
            .orElseThrow(() ->
                new InputException(
                    "'%s' is neither an existing folder nor the id of a model on the hub, as in openai/clip-vit-base-patch32"
                        .formatted(name)));
    Snapshot found =
        hub()
            .fetch(
                named.repository(),
                WantedFiles.below(named.path(), WantedFiles.modelConfiguration()));
    HubName pinned = new HubName(named.repository().at(found.commit()), named.path());
    return new Model(
        Optional.of(found.files().getFirst()), () -> folder(name, pinned, WantedFiles.model()));
  }

  /** A base and an adapter, as one model that is put together while it is read. */
  private static Model adapted(Model base, Supplier<Path> adapter) {
    return new Model(base.config(), () -> Path.of(base.folder().get() + "+" + adapter.get()));
  }

  /** An adapter on this machine, or on the hub, whose two files are downloaded. */
  private Supplier<Path> adapter(String name) {
    Optional<Path> local = local(Kind.MODEL, name);
    if (local.isPresent()) {
      Path folder = local.get();
      return () -> folder;
    }
    HubName named =
        HubName.parse(Kind.MODEL, name)
            .orElseThrow(() ->
                new InputException(
                    "'%s' is neither an existing folder nor the id of an adapter on the hub"
                        .formatted(name)));
    Snapshot found =
        hub()
            .fetch(
                named.repository(),
                WantedFiles.below(named.path(), WantedFiles.adapterConfiguration()));
    HubName pinned = new HubName(named.repository().at(found.commit()), named.path());
    return () -> folder(name, pinned, WantedFiles.adapter());
  }

  /** Its configuration names its base, a folder or an id. */
  private Model adapterAlone(Path folder) {
    String base =
        LoraAdapter.open(folder)
            .baseModel()
            .filter(id -> local(Kind.MODEL, id).isEmpty())
            .orElse(null);
    if (base != null && !Files.exists(folder.resolveSibling(base))) {
      return adapted(model(base), () -> folder);
    }
    Path stored = ModelPath.of(folder).base();
    return new Model(
        Optional.of(stored.resolve(CONFIG)).filter(Files::isRegularFile), () -> folder);
  }

  /**
   * A model's file or folder, with all of it on this machine. What is neither here nor can be on
   * the hub is returned as it is, for its reader to refuse.
   */
  public Path weights(String name) {
    int plus = name.indexOf('+');
    if (plus > 0 && local(Kind.MODEL, name).isEmpty()) {
      Path base = weights(name.substring(0, plus));
      Path adapter = fetched(name.substring(plus + 1), WantedFiles.adapter());
      return Path.of(base + "+" + adapter);
    }
    return fetched(name, WantedFiles.model());
  }

  /** The same for a model's tokenizer, without the weights. */
  public Path tokenizer(String name) {
    return fetched(name, WantedFiles.tokenizer());
  }

  /** The same for a Fisher, which is a file or a folder of shards. */
  public Path fisher(String name) {
    return fetched(name, WantedFiles.fisher());
  }

  /** The same for whatever holds tensors. */
  public Path tensors(String name) {
    return fetched(name, WantedFiles.tensors());
  }

  private Path fetched(String name, WantedFiles wanted) {
    return local(Kind.MODEL, name)
        .or(() -> HubName.parse(Kind.MODEL, name).map(named -> fetched(name, named, wanted)))
        .orElseGet(() -> Path.of(name));
  }

  /** A name may be that of a file in the repository itself. */
  private Path fetched(String name, HubName named, WantedFiles wanted) {
    if (named.path().endsWith(WEIGHTS_ENDING)) {
      WantedFiles only = WantedFiles.only(named.path());
      return progress.of(name, () -> hub().fetch(named.repository(), only)).files().getFirst();
    }
    return folder(name, named, wanted);
  }

  private Path folder(String name, HubName named, WantedFiles wanted) {
    Snapshot snapshot =
        progress.of(
            name, () -> hub().fetch(named.repository(), WantedFiles.below(named.path(), wanted)));
    if (snapshot.files().size() == 1
        && snapshot.files().getFirst().toString().endsWith(WEIGHTS_ENDING)) {
      return snapshot.files().getFirst();
    }
    return named.path().isEmpty() ? snapshot.folder() : snapshot.folder().resolve(named.path());
  }

  // ---- data ----

  /**
   * Finds data, without downloading it yet.
   *
   * @param source as {@link LocalData#find} reads it, with the id of a data set on the hub in place
   *     of the folder
   * @return empty for what is something else, such as a safetensors file
   * @throws InputException if there is no such data set, configuration or split
   */
  public Optional<Supplier<DataSource>> data(String source) {
    Optional<DataSource> here = LocalData.find(source);
    if (here.isPresent()) {
      here.get().warnings().forEach(this::warn);
      return here.map(found -> () -> found);
    }
    LocalData.Named named = LocalData.Named.parse(source);
    Optional<HubName> onHub = HubName.parse(Kind.DATASET, named.name());
    if (local(Kind.DATASET, named.name()).isPresent() || onHub.isEmpty()) {
      return Optional.empty();
    }
    HubName name = onHub.get();
    if (name.path().endsWith(WEIGHTS_ENDING)
        || name.path().endsWith(".parquet")
        || name.path().endsWith(".arrow")) {
      throw new InputException(
          "%s: names a file of a data set; give the data set and its split, as in %s#train, or"
                  .formatted(source, name.repository().id())
              + " download the file and give its path");
    }
    return Optional.of(
        dataset(new DatasetSplit(named.name(), named.configuration(), named.split())));
  }

  /**
   * Finds the files of splits, Parquet, pictures or one safetensors file, without downloading them
   * yet.
   *
   * @throws InputException if there is no such data set or split
   */
  public Supplier<DataSource> dataset(DatasetSplit split) {
    Optional<Path> local = local(Kind.DATASET, split.source());
    if (local.isPresent()) {
      Path path = local.get();
      DataSource found =
          Files.isRegularFile(path) ? LocalData.file(path, split) : split.inFolder(path);
      found.warnings().forEach(this::warn);
      return () -> found;
    }
    HubName named =
        HubName.parse(Kind.DATASET, split.source())
            .orElseThrow(() ->
                new InputException(
                    "'%s' is neither an existing folder nor the id of a data set on the hub, as in tanganke/sun397"
                        .formatted(split.source())));
    String configuration =
        named.path().isEmpty()
            ? split.configuration()
            : split.configuration() == null
                ? named.path()
                : named.path() + "/" + split.configuration();
    Supplier<DataSource> files =
        HubDatasets.find(
            hub(),
            named.repository(),
            new DatasetSplit(named.repository().id(), configuration, split.split()));
    return () -> {
      DataSource found = progress.of(split.source(), files);
      found.warnings().forEach(this::warn);
      return found;
    };
  }

  private void warn(String warning) {
    err.println("warning: " + warning);
  }

  // ---- on this machine ----

  private Optional<Path> local(Kind kind, String name) {
    Optional<Path> here = path(null, name);
    if (here.isPresent() || hubDir == null) {
      return here;
    }
    Path below = hubDir;
    return path(below, name)
        .or(() -> HubName.parse(kind, name).flatMap(named -> path(below, named.local())));
  }

  private static Optional<Path> path(@Nullable Path parent, String name) {
    try {
      Path path = parent == null ? Path.of(name) : parent.resolve(name);
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
