package org.fishermerge.data.files;

import java.nio.file.Path;
import java.util.NavigableSet;
import org.fishermerge.checkpoint.InputException;

/** What a repository holds: those who want files of it choose from its names. */
public interface RepositoryFiles {
  /** Names of all files, with {@code /} between folders. Offline, of those that are known of. */
  NavigableSet<String> names();

  /**
   * One of the files, downloaded if need be.
   *
   * @throws InputException if that fails
   */
  Path fetch(String name);

  /**
   * The error for a file that is not in {@link #names}.
   *
   * @param what for example {@code config.json}
   * @param advice what to do if the repository really lacks it
   */
  InputException lacks(String what, String advice);
}
