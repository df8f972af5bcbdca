package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;

/** Short distinct names for the files of several tasks. */
final class TaskNames {
  private static final String FILE_ENDING = ".safetensors";
  private static final String FISHER_ENDING = ".fisher";

  private TaskNames() {}

  /**
   * Those that {@code --names} gives, else names made of the files' own.
   *
   * @throws InputException if there is not one for each file, all of them distinct
   */
  static List<String> of(List<String> given, List<Path> files) {
    if (given.isEmpty()) {
      return of(files);
    }
    if (given.size() != files.size()) {
      throw new InputException(
          "--names has " + given.size() + " names for " + files.size() + " files");
    }
    for (String name : given) {
      if (name.isBlank() || given.indexOf(name) != given.lastIndexOf(name)) {
        throw new InputException(
            "--names: "
                + (name.isBlank() ? "a name is empty" : "'" + name + "' is given twice")
                + "; every file needs its own");
      }
    }
    return given;
  }

  /**
   * Each file's name without {@code .fisher.safetensors}; where names coincide, as many folders
   * before them as tell them apart; where nothing does, a number.
   */
  static List<String> of(List<Path> paths) {
    List<List<String>> parts = paths.stream().map(TaskNames::parts).toList();
    int longest = parts.stream().mapToInt(List::size).max().orElse(0);
    int[] shown = new int[paths.size()];
    List<String> names = List.of();
    for (int length = 1; length <= longest; length++) {
      for (int i = 0; i < shown.length; i++) {
        if (length == 1 || isRepeated(names, i)) {
          shown[i] = Math.min(length, parts.get(i).size());
        }
      }
      names = new ArrayList<>();
      for (int i = 0; i < shown.length; i++) {
        List<String> all = parts.get(i);
        names.add(String.join("/", all.subList(all.size() - shown[i], all.size())));
      }
    }
    return numbered(names);
  }

  private static List<String> parts(Path path) {
    List<String> parts = new ArrayList<>();
    path.toAbsolutePath().normalize().forEach(part -> parts.add(part.toString()));
    if (!parts.isEmpty()) {
      String name = withoutEnding(withoutEnding(parts.removeLast(), FILE_ENDING), FISHER_ENDING);
      parts.add(name);
    }
    return parts;
  }

  private static String withoutEnding(String name, String ending) {
    return name.endsWith(ending) && name.length() > ending.length()
        ? name.substring(0, name.length() - ending.length())
        : name;
  }

  private static boolean isRepeated(List<String> names, int index) {
    return names.stream().filter(names.get(index)::equals).count() > 1;
  }

  private static List<String> numbered(List<String> names) {
    Set<String> taken = new HashSet<>(names);
    Set<String> seen = new HashSet<>();
    List<String> distinct = new ArrayList<>();
    for (String name : names) {
      String candidate = name;
      if (!seen.add(name)) {
        for (int number = 2; taken.contains(candidate); number++) {
          candidate = name + " (" + number + ")";
        }
        taken.add(candidate);
      }
      distinct.add(candidate);
    }
    return distinct;
  }
}
