package org.fishermerge.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * A folder of a model, whose files are found by their plain names only. Links that the user made
 * are followed, to another disk for example; in a snapshot of the hub's cache {@link HubSnapshot}
 * says which are.
 */
public final class ModelFolder {
  private final Path folder;

  public ModelFolder(Path folder) {
    this.folder = folder;
  }

  /**
   * The file of that name, if it exists.
   *
   * @throws InputException if it is no regular file, a link to nowhere, or one that leads out of a
   *     downloaded repository
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
          link
              + ": is a link to "
              + Files.readSymbolicLink(link)
              + ", which is not there; download the model again, or mend the link");
    }
    Optional<HubSnapshot> snapshot = HubSnapshot.of(folder);
    if (snapshot.isPresent()) {
      snapshot.get().resolve(link);
    }
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
