package org.fishermerge.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A folder whose files may have come from strangers. A file is found only by its plain name, and
 * only inside the folder: a symbolic link may lead elsewhere in the folder, or, in the Hugging Face
 * hub's cache, from {@code models--X/snapshots/COMMIT} to {@code models--X/blobs}. Hard links are
 * regular files and accepted: making one takes write access on this machine and read access is then
 * the operating system's matter, while caches that deduplicate consist of them.
 */
public final class ModelFolder {
  private final Path folder;

  public ModelFolder(Path folder) {
    this.folder = folder;
  }

  /**
   * The file of that name, if it exists.
   *
   * @throws InputException if it is no regular file, or a link that leads out of the folder
   */
  public Optional<Path> find(String name) {
    Path file = folder.resolve(name);
    if (!Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
      return Optional.empty();
    }
    try {
      if (Files.isSymbolicLink(file)) {
        checkLink(file);
      }
      InputFiles.requireRegular(file);
      return Optional.of(file);
    } catch (IOException e) {
      throw Messages.cannotRead(file, e);
    }
  }

  private void checkLink(Path link) throws IOException {
    if (!Files.exists(link)) {
      throw new InputException(
          link + ": is a link to a file that is missing; download the model again");
    }
    Path real = link.toRealPath();
    Path root = folder.toRealPath();
    Path blobs = hubBlobs(root);
    if (real.startsWith(root) || (blobs != null && blobs.equals(real.getParent()))) {
      return;
    }
    throw new InputException(
        link
            + ": is a link that leads out of its folder, to "
            + real
            + "; a model must not name files elsewhere. Copy the file there, or give the real"
            + " folder");
  }

  /** The blobs folder that belongs to a snapshot of the hub's cache. */
  private static @Nullable Path hubBlobs(Path snapshot) {
    for (Path path = snapshot; path != null; path = path.getParent()) {
      Path parent = path.getParent();
      if (parent != null && parent.endsWith("snapshots")) {
        Path repository = parent.getParent();
        boolean model =
            repository != null
                && Objects.toString(repository.getFileName(), "").startsWith("models--");
        return model ? parent.resolveSibling("blobs") : null;
      }
    }
    return null;
  }

  /**
   * Whether text from a file may be used as the name of a file in this folder: no separators of any
   * operating system, no drive letters, no parent.
   */
  static boolean isPlainName(String name) {
    return !name.isEmpty()
        && !name.equals(".")
        && !name.equals("..")
        && name.chars().noneMatch(c -> c == '/' || c == '\\' || c == ':' || c < ' ' || c == 0x7f);
  }

  /** Names of everything in the folder, sorted. */
  List<String> names() {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.map(entry -> Objects.toString(entry.getFileName(), "")).sorted().toList();
    } catch (IOException e) {
      throw Messages.cannotRead(folder, e);
    }
  }
}
