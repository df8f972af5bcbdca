package org.fishermerge.cli.task;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;

/** Folders that commands make for themselves. */
public final class Folders {
  private Folders() {}

  /**
   * Removes a folder with all that is in it, if it is there.
   *
   * @throws InputException naming the folder, if the disk reports an error
   */
  public static void delete(Path folder) {
    if (!Files.exists(folder)) {
      return;
    }
    try (Stream<Path> files = Files.walk(folder)) {
      List<Path> all = files.sorted(Comparator.reverseOrder()).toList();
      for (Path file : all) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      throw new InputException(folder + ": cannot be removed: " + Reasons.of(e), e);
    }
  }
}
