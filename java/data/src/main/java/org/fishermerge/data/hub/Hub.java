package org.fishermerge.data.hub;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.NavigableSet;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorCompletionService;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;
import java.util.function.ToLongFunction;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.data.files.RepositoryFiles;
import org.fishermerge.data.hub.HubHttp.Headers;
import org.jspecify.annotations.Nullable;

/**
 * Downloads files of models and data sets from a Hugging Face hub into the cache on disk that
 * Python's {@code huggingface_hub} uses too, so that what either has downloaded the other finds.
 *
 * <p>Each file's content is verified, which {@code huggingface_hub} does not do: by its SHA-256 or
 * Git blob id, once, also where another program has downloaded it. What is damaged is downloaded
 * again. Downloads that were cut off, by whatever, are taken up where they ended.
 *
 * <p>Any number of threads and processes may use one cache at the same time.
 */
public final class Hub implements AutoCloseable {
  private static final System.Logger LOGGER = System.getLogger(Hub.class.getName());

  private final HubSettings settings;
  private final HubProgress progress;
  private final HubCache cache;
  private final @Nullable HubHttp http;
  private final Retries.Pause pause;
  private final ToLongFunction<Path> freeSpace;

  /** Once it could not be reached, what the cache holds is taken without another long wait. */
  private volatile @Nullable HubUnreachableException unreachable;

  /** A hub with these settings; {@link HubSettings#from} takes them from the environment. */
  public Hub(HubSettings settings, HubProgress progress) {
    this(
        settings,
        progress,
        Thread::sleep,
        folder -> SafetensorsWriter.room(folder.resolve("blob")));
  }

  /** For tests: waits and a disk of their own. */
  Hub(
      HubSettings settings,
      HubProgress progress,
      Retries.Pause pause,
      ToLongFunction<Path> freeSpace) {
    this.settings = settings;
    this.progress = oneAtATime(progress);
    this.cache = new HubCache(settings.cache());
    this.http = settings.offline() ? null : new HubHttp(settings);
    this.pause = pause;
    this.freeSpace = freeSpace;
  }

  private static HubProgress oneAtATime(HubProgress progress) {
    return new HubProgress() {
      @Override
      public synchronized void downloaded(String file, long bytes, long total) {
        progress.downloaded(file, bytes, total);
      }

      @Override
      public synchronized void note(String message) {
        progress.note(message);
      }
    };
  }

  @Override
  public void close() {
    if (http != null) {
      http.close();
    }
  }

  /**
   * The folder that holds the wanted files of a repository; see {@link #fetch}.
   *
   * @throws InputException as there
   */
  public Path snapshot(Repository repository, WantedFiles wanted) {
    return fetch(repository, wanted).folder();
  }

  /**
   * Downloads the wanted files of a repository that are not in the cache yet. If the hub cannot be
   * reached, the commit that the cache knows for the revision is used, with a note.
   *
   * @throws InputException if there is no such repository, revision or file, if access is refused,
   *     if the hub cannot be reached and the cache lacks something, or the disk is too full
   */
  public Snapshot fetch(Repository repository, WantedFiles wanted) {
    String cached = cache.commit(repository);
    if (http == null) {
      String why = "HF_HUB_OFFLINE is set; unset it to download";
      return fetch(openCached(repository, cached, why), wanted);
    }
    if (repository.isCommit()) {
      Optional<FileList> known = cache.files(repository, repository.revision());
      if (known.isPresent()) {
        return fetch(
            new CommitFiles(repository, repository.revision(), known.get(), true, http, ""),
            wanted);
      }
    }
    if (cached == null || !Files.isDirectory(cache.snapshot(repository, cached))) {
      return fetch(describe(http, repository, retries(settings.retries())), wanted);
    }
    CommitFiles files;
    try {
      HubUnreachableException known = unreachable;
      if (known != null) {
        throw known;
      }
      files = describe(http, repository, retries(0));
    } catch (HubUnreachableException e) {
      unreachable = e;
      try {
        String why = String.valueOf(e.getMessage());
        Snapshot snapshot = fetch(openCached(repository, cached, why), wanted);
        if (!repository.isCommit()) {
          progress.note(
              "%s: using commit %s from the cache: %s".formatted(repository, cached, why));
        }
        return snapshot;
      } catch (InputException incomplete) {
        LOGGER.log(Level.DEBUG, "the cache does not do", incomplete);
        files = describe(http, repository, retries(settings.retries()));
      }
    }
    return fetch(files, wanted);
  }

  private Snapshot fetch(CommitFiles files, WantedFiles wanted) {
    List<Path> paths = files.fetch(wanted.choose(files));
    files.rememberRevision();
    return new Snapshot(cache.snapshot(files.repository, files.commit), files.commit, paths);
  }

  private Retries retries(int limit) {
    return new Retries(limit, settings.backoff(), pause, progress);
  }

  private CommitFiles openCached(
      Repository repository, @Nullable String commit, String whyOffline) {
    if (commit == null || !Files.isDirectory(cache.snapshot(repository, commit))) {
      throw new InputException(
          "%s is not in the cache (looked in %s), and %s"
              .formatted(repository, cache.folder(repository), whyOffline));
    }
    Optional<FileList> known = cache.files(repository, commit);
    return new CommitFiles(
        repository,
        commit,
        known.orElseGet(() -> cache.present(repository, commit)),
        known.isPresent(),
        null,
        whyOffline);
  }

  private CommitFiles describe(HubHttp http, Repository repository, Retries retries) {
    URI url =
        http.url(
            "api/%s/%s/revision/%s?blobs=true"
                .formatted(
                    repository.kind().plural,
                    repository.id(),
                    HubHttp.escape(repository.revision())));
    JsonNode description;
    try {
      description = Json.MAPPER.readTree(http.text(url, repository, retries));
    } catch (IOException e) {
      throw new InputException(
          "%s: does not answer like a Hugging Face hub; check HF_ENDPOINT and the proxy"
              .formatted(url),
          e);
    }
    String commit = description.path("sha").asText();
    if (!Repository.isCommit(commit) || !description.path("siblings").isArray()) {
      throw new InputException(
          "%s: the answer names no commit and files; check HF_ENDPOINT".formatted(url));
    }
    FileList list = FileList.ofSiblings(description.path("siblings"));
    tryToWrite(() -> cache.putFiles(repository, commit, list));
    return new CommitFiles(repository, commit, list, true, http, "");
  }

  /** In a cache that others keep, read-only, nothing is lost if this cannot be written. */
  private static void tryToWrite(Runnable write) {
    try {
      write.run();
    } catch (InputException e) {
      LOGGER.log(Level.DEBUG, "not remembered in the cache", e);
    }
  }

  /** The files of one commit; the hub may be out of reach. */
  private final class CommitFiles implements RepositoryFiles {
    private final Repository repository;
    private final String commit;
    private final FileList list;

    /** Whether the list is all of the commit, not only what the cache has of it. */
    private final boolean complete;

    private final @Nullable HubHttp connection;
    private final String whyOffline;

    private CommitFiles(
        Repository repository,
        String commit,
        FileList list,
        boolean complete,
        @Nullable HubHttp connection,
        String whyOffline) {
      this.repository = repository;
      this.commit = commit;
      this.list = list;
      this.complete = complete;
      this.connection = connection;
      this.whyOffline = whyOffline;
    }

    @Override
    public NavigableSet<String> names() {
      return Collections.unmodifiableNavigableSet(new TreeSet<>(list.files().keySet()));
    }

    @Override
    public Path fetch(String name) {
      return fetch(List.of(name)).getFirst();
    }

    @Override
    public InputException lacks(String what, String advice) {
      return complete
          ? new InputException("%s holds no %s; %s".formatted(repository, what, advice))
          : notCached(List.of(what));
    }

    private InputException notCached(List<String> names) {
      return new InputException(
          "%s: not in the cache: %s (looked in %s), and %s"
              .formatted(
                  repository,
                  String.join(", ", names),
                  cache.snapshot(repository, commit),
                  whyOffline));
    }

    List<Path> fetch(List<String> names) {
      List<String> distinct = List.copyOf(new LinkedHashSet<>(names));
      List<String> missing = Collections.synchronizedList(new ArrayList<>());
      List<Download> downloads =
          parallel(distinct, name -> Optional.ofNullable(examine(name, missing))).stream()
              .flatMap(Optional::stream)
              .toList();
      if (!missing.isEmpty()) {
        throw notCached(missing.stream().sorted().toList());
      }
      requireSpace(downloads);
      parallel(downloads, this::download);
      return names.stream().map(name -> cache.file(repository, commit, name)).toList();
    }

    /** Null if the file is in its place and sound. */
    private @Nullable Download examine(String name, List<String> missing) {
      Path content = cache.content(repository, commit, name);
      if (content != null) {
        String damage = damage(name, content);
        if (damage == null) {
          return null;
        }
        if (connection == null) {
          throw new InputException(
              "%s: is damaged: %s; it cannot be downloaded again: %s"
                  .formatted(content, damage, whyOffline));
        }
        progress.note("%s: is damaged: %s; downloading %s again".formatted(content, damage, name));
      }
      if (connection == null) {
        missing.add(name);
        return null;
      }
      Download download = ask(connection, name);
      Path blob = download.blob();
      if (content == null && Files.exists(blob)) {
        String damage = download.damage();
        if (damage == null) {
          cache.link(repository, commit, name, blob);
          return null;
        }
        progress.note("%s: is damaged: %s; downloading %s again".formatted(blob, damage, name));
      }
      return download;
    }

    private @Nullable String damage(String name, Path content) {
      FileList.Entry entry = list.files().get(name);
      String tag = entry == null ? null : entry.tag();
      if (tag == null && content.getParent() != null && content.getParent().endsWith("blobs")) {
        tag = String.valueOf(content.getFileName());
      }
      return tag == null
          ? null
          : cache.damage(repository, content, tag, entry == null ? -1 : entry.size());
    }

    private Download ask(HubHttp http, String name) {
      Headers headers =
          http.head(
              http.fileUrl(repository, commit, name),
              repository,
              name,
              retries(settings.retries()));
      String linked = headers.getAny("x-linked-etag");
      String tag = Headers.tag(linked != null ? linked : headers.get("etag"));
      if (tag == null || !tag.matches("[\\w.=-]{1,100}")) {
        throw new InputException(
            "%s of %s: %s gives it no entity tag that could tell its content; check HF_ENDPOINT and"
                    .formatted(name, repository, settings.endpoint())
                + " the proxy");
      }
      return new Download(
          http, cache, progress, repository, commit, name, tag, size(headers, name, tag));
    }

    private long size(Headers headers, String name, String tag) {
      String size = headers.getAny("x-linked-size");
      boolean itself = headers.get("location") == null && headers.get("content-encoding") == null;
      if (size == null && itself) {
        size = headers.get("content-length");
      }
      FileList.Entry entry = list.files().get(name);
      long listed = entry != null && tag.equals(entry.tag()) ? entry.size() : -1;
      return Headers.number(size).orElse(listed);
    }

    private Path download(Download download) {
      Path blob;
      try {
        blob = download.run(retries(settings.retries()));
      } catch (DamagedDownloadException e) {
        progress.note(e.getMessage() + "; downloading it again");
        Download again = ask(Objects.requireNonNull(connection), download.name());
        try {
          blob = again.run(retries(settings.retries()));
        } catch (DamagedDownloadException second) {
          second.addSuppressed(e);
          throw new InputException(
              second.getMessage()
                  + "; and so it was at a second attempt. A proxy or the hub gives out something"
                  + " else; try again later, or check HF_ENDPOINT and the proxy",
              second);
        }
      }
      cache.link(repository, commit, download.name(), blob);
      return blob;
    }

    private void rememberRevision() {
      if (connection != null) {
        tryToWrite(() -> cache.putCommit(repository, commit));
      }
    }
  }

  private void requireSpace(List<Download> downloads) {
    long needed = downloads.stream().mapToLong(Download::missing).sum();
    long free = freeSpace.applyAsLong(cache.root());
    // Some file systems say 0 and do not mean it; if it is true, writing fails.
    if (needed > free && free > 0) {
      throw new InputException(
          "%s: has %,d bytes free, but %,d are to be downloaded; make room, or set HF_HUB_CACHE or"
                  .formatted(cache.root(), free, needed)
              + " HF_HOME to a folder on another disk");
    }
  }

  /** Runs the task on all items, in order of completion; the first failure stops the others. */
  private <T, R> List<R> parallel(List<T> items, Function<T, R> task) {
    if (items.size() <= 1) {
      return items.stream().map(task).toList();
    }
    List<R> results = new ArrayList<>();
    // Closing waits until the last one has stopped.
    try (ExecutorService pool =
        Executors.newFixedThreadPool(
            Math.min(settings.parallel(), items.size()),
            Thread.ofPlatform().daemon().name("hub-", 0).factory())) {
      ExecutorCompletionService<R> running = new ExecutorCompletionService<>(pool);
      items.forEach(item -> running.submit(() -> task.apply(item)));
      try {
        for (int i = 0; i < items.size(); i++) {
          results.add(running.take().get());
        }
      } catch (ExecutionException e) {
        pool.shutdownNow();
        if (e.getCause() instanceof RuntimeException cause) {
          throw cause;
        }
        throw new IllegalStateException(e.getCause());
      } catch (InterruptedException e) {
        pool.shutdownNow();
        throw Interrupted.exception(e);
      }
    }
    return results;
  }
}
