package org.fishermerge.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Objects;
import java.util.stream.Stream;

/** Inputs after files of real people, in {@code src/test/cases}, a folder each. */
final class Cases {
  private static final Path ROOT = Path.of("src/test/cases").toAbsolutePath();

  private Cases() {}

  /** Copies the folder of that name into another, links as links, and returns the copy. */
  static Path copy(String name, Path into) {
    Path from = ROOT.resolve(name);
    Path to = into.resolve(name);
    try (Stream<Path> files = Files.walk(from)) {
      for (Path file : (Iterable<Path>) files::iterator) {
        Path target = to.resolve(from.relativize(file).toString());
        if (!Files.isDirectory(file, LinkOption.NOFOLLOW_LINKS)) {
          Files.createDirectories(Objects.requireNonNull(target.getParent()));
          Files.copy(file, target, LinkOption.NOFOLLOW_LINKS);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("cannot copy " + from, e);
    }
    return to;
  }
}
