package org.fishermerge.data.files;

import java.io.IOException;
import java.nio.file.FileSystemLoopException;
import java.nio.file.FileVisitOption;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.EnumSet;
import java.util.NavigableSet;
import java.util.Objects;
import java.util.TreeSet;
import org.fishermerge.checkpoint.InputException;

/** A folder that stands for a repository. Links in it are its owner's own, and followed. */
public final class LocalFiles implements RepositoryFiles {
  /** Far more than data sets have, and not a whole disk. */
  private static final int MOST_FILES = 5_000_000;

  private static final int DEEPEST = 32;

  private final Path folder;
  private final NavigableSet<String> names;

  /**
   * Lists the folder.
   *
   * @throws InputException if that fails, or it holds more than any data set
   */
  public LocalFiles(Path folder) {
    this.folder = folder;
    this.names = list(folder);
  }

  private static NavigableSet<String> list(Path folder) {
    TreeSet<String> names = new TreeSet<>();
    try {
      Files.walkFileTree(
          folder,
          EnumSet.of(FileVisitOption.FOLLOW_LINKS),
          DEEPEST,
          new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult preVisitDirectory(Path dir, BasicFileAttributes attributes) {
              // What Git keeps is nobody's data, and there is a lot of it.
              boolean git = Objects.toString(dir.getFileName(), "").equals(".git");
              return git && !dir.equals(folder)
                  ? FileVisitResult.SKIP_SUBTREE
                  : FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
              if (attributes.isRegularFile()) {
                names.add(folder.relativize(file).toString().replace('\\', '/'));
              }
              if (names.size() > MOST_FILES) {
                throw new InputException(
                    "%s: holds more than %,d files; name the folder of the data set itself"
                        .formatted(folder, MOST_FILES));
              }
              return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFileFailed(Path file, IOException e) throws IOException {
              // A link that leads to a folder above it, or to nothing, adds no file.
              if (e instanceof FileSystemLoopException || Files.isSymbolicLink(file)) {
                return FileVisitResult.CONTINUE;
              }
              throw e;
            }
          });
    } catch (IOException e) {
      throw new InputException("%s: cannot be listed: %s".formatted(folder, e), e);
    }
    return names;
  }

  @Override
  public NavigableSet<String> names() {
    return names;
  }

  @Override
  public Path fetch(String name) {
    return folder.resolve(name);
  }

  @Override
  public InputException lacks(String what, String advice) {
    return new InputException("%s: holds no %s; %s".formatted(folder, what, advice));
  }
}
