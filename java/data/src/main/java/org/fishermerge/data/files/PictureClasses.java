package org.fishermerge.data.files;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The class names of a folder of pictures, as {@code imagefolder} of Python's {@code datasets} has
 * them: the folders that pictures of all splits lie in, by name, if there are at least two and all
 * are equally deep, and nothing else says what the labels are.
 */
final class PictureClasses {
  private PictureClasses() {}

  /**
   * The classes, sorted; none where folders are no classes.
   *
   * @param splits to the names of their files
   * @param dropLabels what the card says; null for nothing
   */
  static List<String> of(
      Map<String, List<String>> splits, @Nullable Boolean dropLabels, Consumer<String> warnings) {
    TreeSet<String> classes = new TreeSet<>();
    Set<Long> depths = new HashSet<>();
    boolean metadata = false;
    boolean inSplitFolders = true;
    for (Map.Entry<String, List<String>> split : splits.entrySet()) {
      for (String name : split.getValue()) {
        metadata |= FileKind.isMetadata(name);
        if (FileKind.isPicture(name)) {
          classes.add(folder(name));
          depths.add(name.chars().filter(c -> c == '/').count());
          inSplitFolders &= isInSplitFolder(name, split.getKey());
        }
      }
    }
    if (metadata || Boolean.TRUE.equals(dropLabels)) {
      return List.of();
    }
    if (dropLabels == null && (classes.size() < 2 || depths.size() > 1)) {
      if (classes.size() > 1) {
        warnings.accept(
            "pictures lie at different depths of folders, so that folders are no classes; the"
                + " pictures have no labels");
      }
      return List.of();
    }
    if (inSplitFolders) {
      warnings.accept(
          "pictures lie in the folders of the splits themselves, without a folder for each class;"
              + " they have no labels");
      return List.of();
    }
    return List.copyOf(classes);
  }

  /** The name of the folder that a file lies in; empty at the top. */
  static String folder(String name) {
    int slash = name.lastIndexOf('/');
    return slash < 0 ? "" : name.substring(name.lastIndexOf('/', slash - 1) + 1, slash);
  }

  private static boolean isInSplitFolder(String name, String split) {
    int slash = name.lastIndexOf('/');
    String folders = name.substring(0, slash + 1);
    String before = NamingRules.folderOf(name, split);
    return !before.equals(folders) && folders.indexOf('/', before.length()) == folders.length() - 1;
  }
}
