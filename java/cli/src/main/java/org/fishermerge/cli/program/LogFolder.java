package org.fishermerge.cli.program;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.AtomicOutput;

/** The folder of a run's own files, by default one for each run, named by the run's start. */
final class LogFolder {
  private static final Pattern START = Pattern.compile("\\d{4}-\\d{2}-\\d{2}_\\d{2}-\\d{2}-\\d{2}");

  private LogFolder() {}

  /**
   * Removes what earlier runs that were killed left in their log folders: unlike other places,
   * nothing is ever written there again, so nobody else would. Only folders beside {@code log}
   * that, as {@code log} itself, are named by a start are looked into.
   */
  static void tidyEarlierOnes(Path log) {
    Path absolute = log.toAbsolutePath().normalize();
    Path parent = absolute.getParent();
    if (parent == null || !namedByStart(absolute) || !Files.isDirectory(parent)) {
      return;
    }
    try (Stream<Path> folders = Files.list(parent)) {
      folders
          .filter(LogFolder::namedByStart)
          .filter(folder -> Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS))
          .forEach(AtomicOutput::removeLeftovers);
    } catch (IOException | UncheckedIOException e) {
      // Tidying is no reason to fail; a place that cannot be written is reported where it is used.
      System.getLogger(LogFolder.class.getName())
          .log(System.Logger.Level.DEBUG, "while looking for leftovers in " + parent, e);
    }
  }

  private static boolean namedByStart(Path folder) {
    return START.matcher(String.valueOf(folder.getFileName())).matches();
  }
}
