package org.fishermerge.data.hub;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.HubSnapshot;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * The hub's cache on disk, in the layout that all clients of the hub share:
 *
 * <pre>
 * models--ORG--NAME/
 *   refs/REVISION               the commit that a branch or tag stood for
 *   snapshots/COMMIT/FILE       a relative link into blobs
 *   blobs/TAG                   a file's content, by its entity tag
 *   .fisher-merge/              ours: lists of files, and which blobs have been verified
 * .locks/models--ORG--NAME/     one lock file for each blob
 * </pre>
 *
 * <p>Everything appears under its name by a rename, forced to disk first.
 */
final class HubCache {
  private static final System.Logger LOGGER = System.getLogger(HubCache.class.getName());
  private static final String OURS = ".fisher-merge";

  private final Path root;

  HubCache(Path root) {
    this.root = root.toAbsolutePath().normalize();
  }

  Path root() {
    return root;
  }

  Path folder(Repository repository) {
    return root.resolve(folderName(repository));
  }

  private static String folderName(Repository repository) {
    return repository.kind().plural + "--" + repository.id().replace("/", "--");
  }

  /** The commit that the revision stood for when it was last downloaded; null if it never was. */
  @Nullable String commit(Repository repository) {
    if (repository.isCommit()) {
      return repository.revision();
    }
    Path ref = ref(repository);
    try {
      String commit = Files.isRegularFile(ref) ? Files.readString(ref).strip() : "";
      return Repository.isCommit(commit) ? commit : null;
    } catch (IOException e) {
      throw cannotRead(ref, e);
    }
  }

  private Path ref(Repository repository) {
    return FileNames.resolve(folder(repository).resolve("refs"), repository.revision());
  }

  void putCommit(Repository repository, String commit) {
    if (!repository.isCommit() && !commit.equals(commit(repository))) {
      write(repository, ref(repository), commit.getBytes(StandardCharsets.US_ASCII));
    }
  }

  Path snapshot(Repository repository, String commit) {
    return folder(repository).resolve("snapshots").resolve(commit);
  }

  /** Where a file of a commit belongs, be it there or not. */
  Path file(Repository repository, String commit, String name) {
    return FileNames.resolve(snapshot(repository, commit), name);
  }

  /**
   * The content of a file of a commit, with links resolved; null if it is not there.
   *
   * @throws InputException if a link leads out of the repository's folder
   */
  @Nullable Path content(Repository repository, String commit, String name) {
    Path file = file(repository, commit, name);
    if (!Files.exists(file)) {
      return null;
    }
    try {
      Path blobs = folder(repository).resolve("blobs");
      return new HubSnapshot(snapshot(repository, commit), blobs).resolve(file);
    } catch (IOException e) {
      throw cannotRead(file, e);
    }
  }

  Path blob(Repository repository, String tag) {
    return FileNames.resolve(folder(repository).resolve("blobs"), tag);
  }

  /** The list of the files of a commit, ours or Python's; nothing if neither has been kept. */
  Optional<FileList> files(Repository repository, String commit) {
    for (Path list :
        new Path[] {
          ours(repository, "files", commit + ".json"),
          folder(repository).resolve("trees").resolve(commit + ".json")
        }) {
      try {
        if (Files.isRegularFile(list)) {
          Optional<FileList> files = FileList.parse(Files.readAllBytes(list));
          if (files.isPresent()) {
            return files;
          }
        }
      } catch (IOException e) {
        throw cannotRead(list, e);
      }
    }
    return Optional.empty();
  }

  void putFiles(Repository repository, String commit, FileList files) {
    write(repository, ours(repository, "files", commit + ".json"), files.toBytes());
  }

  /** What there is of a snapshot, where nobody has kept the list of all its files. */
  FileList present(Repository repository, String commit) {
    Path snapshot = snapshot(repository, commit);
    TreeMap<String, FileList.Entry> files = new TreeMap<>();
    if (Files.isDirectory(snapshot)) {
      try (Stream<Path> paths = Files.walk(snapshot)) {
        paths
            .filter(Files::isRegularFile)
            .map(file -> snapshot.relativize(file).toString().replace('\\', '/'))
            .forEach(name -> files.put(name, new FileList.Entry(-1, null)));
      } catch (IOException e) {
        throw cannotRead(snapshot, e);
      }
    }
    return new FileList(files);
  }

  private Path ours(Repository repository, String kind, String name) {
    return folder(repository).resolve(OURS).resolve(kind).resolve(name);
  }

  /** Makes a blob a file of a commit: by a link, or where there are none by a copy. */
  void link(Repository repository, String commit, String name, Path blob) {
    Path file = file(repository, commit, name);
    try {
      Path parent = Objects.requireNonNull(file.getParent());
      Files.createDirectories(parent);
      if (!parent.toRealPath().startsWith(snapshot(repository, commit).toRealPath())) {
        throw new InputException(
            "%s: is a link that leads out of its repository in the cache; delete it"
                .formatted(parent));
      }
      Path temp = temp(repository);
      if (!linked(temp, file, blob)) {
        Files.copy(blob, temp);
        force(temp);
      }
      Files.move(temp, file, StandardCopyOption.ATOMIC_MOVE);
      force(parent);
    } catch (IOException e) {
      throw cannotWrite(file, e);
    }
  }

  /** A relative link, as it will be right at {@code file}; else a second name for the blob. */
  private static boolean linked(Path temp, Path file, Path blob) throws IOException {
    try {
      Files.createSymbolicLink(temp, Objects.requireNonNull(file.getParent()).relativize(blob));
      return true;
    } catch (IOException | UnsupportedOperationException e) {
      LOGGER.log(Level.DEBUG, "no symbolic links in the cache", e);
    }
    try {
      Files.createLink(temp, blob);
      return true;
    } catch (FileAlreadyExistsException e) {
      throw e;
    } catch (IOException | UnsupportedOperationException e) {
      LOGGER.log(Level.DEBUG, "no hard links in the cache", e);
      return false;
    }
  }

  /**
   * What is wrong with a file's content; null if nothing is. Its hash is computed once and then
   * remembered together with its size and time of modification, so damage that changes neither does
   * not show a second time.
   *
   * @param size the right one; -1 if it is not known
   */
  @Nullable String damage(Repository repository, Path content, String tag, long size) {
    try {
      long actual = Files.size(content);
      if (size >= 0 && actual != size) {
        return "it has %,d bytes, where %,d are expected".formatted(actual, size);
      }
      ContentHash hash = ContentHash.of(tag);
      if (hash == ContentHash.NONE || isVerified(repository, content, tag)) {
        return null;
      }
      String found = hash.of(content);
      if (!found.equals(tag)) {
        return "its %s is %s, where %s is expected".formatted(hash.words(), found, tag);
      }
      putVerified(repository, content, tag);
      return null;
    } catch (IOException e) {
      throw cannotRead(content, e);
    }
  }

  private boolean isVerified(Repository repository, Path content, String tag) {
    Path record = ours(repository, "verified", tag);
    try {
      return Files.isRegularFile(record) && Files.readString(record).equals(state(content));
    } catch (IOException e) {
      LOGGER.log(Level.DEBUG, "cannot read " + record, e);
      return false;
    }
  }

  void putVerified(Repository repository, Path content, String tag) {
    Path record = ours(repository, "verified", tag);
    try {
      write(repository, record, state(content).getBytes(StandardCharsets.US_ASCII));
    } catch (IOException | InputException e) {
      // A cache that others keep, read-only: it is verified again next time.
      LOGGER.log(Level.DEBUG, "cannot write " + record, e);
    }
  }

  private static String state(Path content) throws IOException {
    BasicFileAttributes attributes = Files.readAttributes(content, BasicFileAttributes.class);
    return attributes.size() + " " + attributes.lastModifiedTime().to(TimeUnit.NANOSECONDS) + "\n";
  }

  Path lockFile(Repository repository, String tag) {
    return FileNames.resolve(
        root.resolve(".locks").resolve(folderName(repository)), tag + ".fisher-merge.lock");
  }

  /** A name that nobody else uses, in a folder that nobody else looks into. */
  private Path temp(Repository repository) throws IOException {
    Path folder = folder(repository).resolve(OURS).resolve("temp");
    Files.createDirectories(folder);
    return folder.resolve(UniqueName.next());
  }

  private void write(Repository repository, Path target, byte[] content) {
    try {
      Path parent = Objects.requireNonNull(target.getParent());
      Files.createDirectories(parent);
      Path temp = temp(repository);
      try (FileChannel channel =
          FileChannel.open(temp, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        for (ByteBuffer rest = ByteBuffer.wrap(content); rest.hasRemaining(); ) {
          channel.write(rest);
        }
        channel.force(true);
      }
      Files.move(temp, target, StandardCopyOption.ATOMIC_MOVE);
      force(parent);
    } catch (IOException e) {
      throw cannotWrite(target, e);
    }
  }

  /** Forces a file, or a folder's list of names, to disk. */
  static void force(Path path) throws IOException {
    boolean folder = Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS);
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      channel.force(true);
    } catch (IOException e) {
      if (!folder) {
        throw e;
      }
      // Some file systems cannot force a folder; the rename has happened all the same.
      LOGGER.log(Level.DEBUG, "cannot force the folder " + path, e);
    }
  }

  static InputException cannotRead(Path path, IOException e) {
    return new InputException("%s: cannot be read: %s".formatted(path, e), e);
  }

  InputException cannotWrite(Path path, IOException e) {
    return new InputException(
        "%s: cannot be written: %s; HF_HUB_CACHE or HF_HOME moves the cache (now %s) elsewhere"
            .formatted(path, e, root),
        e);
  }
}
