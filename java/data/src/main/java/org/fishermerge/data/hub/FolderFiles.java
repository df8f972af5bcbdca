package org.fishermerge.data.hub;

import java.nio.file.Path;
import java.util.NavigableSet;
import java.util.TreeSet;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.RepositoryFiles;

/**
 * A folder of a repository, as if it were one itself.
 *
 * @param prefix its path, with a slash at the end
 */
record FolderFiles(RepositoryFiles all, String prefix) implements RepositoryFiles {
  @Override
  public NavigableSet<String> names() {
    TreeSet<String> names = new TreeSet<>();
    for (String name : all.names()) {
      if (name.startsWith(prefix)) {
        names.add(name.substring(prefix.length()));
      }
    }
    return names;
  }

  @Override
  public Path fetch(String name) {
    return all.fetch(prefix + name);
  }

  @Override
  public InputException lacks(String what, String advice) {
    return all.lacks(prefix + what, advice);
  }
}
