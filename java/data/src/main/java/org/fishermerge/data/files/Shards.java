package org.fishermerge.data.files;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;

/** What the names of a split's shards, {@code train-00000-of-00002}, say about each other. */
final class Shards {
  private static final int NAMES_SHOWN = 5;
  private static final int MOST_SHARDS = 1_000_000;

  private Shards() {}

  /** Shards of one upload. */
  private record Family(String prefix, String count) {}

  private static Map<Family, List<Matcher>> families(List<String> names) {
    Map<Family, List<Matcher>> families = new LinkedHashMap<>();
    for (String name : names) {
      Matcher shard = FileKind.SHARD.matcher(name);
      if (shard.matches()) {
        families
            .computeIfAbsent(new Family(shard.group(1), shard.group(3)), any -> new ArrayList<>())
            .add(shard);
      }
    }
    return families;
  }

  /**
   * Half of a split would pass for all of it.
   *
   * @throws InputException if shards are missing, with their names
   */
  static void requireAll(List<String> names, RepositoryFiles files) {
    families(names)
        .forEach((family, shards) -> {
          int count = Integer.parseInt(family.count);
          Set<Integer> present = new TreeSet<>();
          shards.forEach(shard -> present.add(Integer.parseInt(shard.group(2))));
          // Some count from one.
          int first = present.contains(count) && !present.contains(0) ? 1 : 0;
          List<String> missing = new ArrayList<>();
          String digits = "%0" + shards.getFirst().group(2).length() + "d";
          String ending = shards.getFirst().group(4);
          for (int i = first; i < Math.min(count, MOST_SHARDS) + first; i++) {
            if (!present.contains(i)) {
              missing.add(
                  "%s-%s-of-%s%s"
                      .formatted(
                          family.prefix,
                          digits.formatted(i),
                          family.count,
                          ending.substring(ending.indexOf('.') < 0 ? 0 : ending.indexOf('.'))));
            }
          }
          if (!missing.isEmpty()) {
            throw files.lacks(
                NameList.of(missing, NAMES_SHOWN),
                "of %d shards there are %d, and the split is incomplete"
                    .formatted(count, present.size()));
          }
        });
  }

  /** Says where files of one split look like those of several. */
  static void warn(
      DatasetSplit of,
      String split,
      List<String> names,
      boolean byCard,
      Consumer<String> warnings) {
    if (byCard) {
      return;
    }
    Set<String> folders =
        names.stream()
            .map(name -> NamingRules.folderOf(name, split))
            .collect(Collectors.toCollection(TreeSet::new));
    if (folders.size() > 1) {
      List<String> shown =
          folders.stream().map(name -> name.isEmpty() ? "." : name.replaceAll("/$", "")).toList();
      warnings.accept(
          "%s: split %s takes the files of %d folders together (%s), as Python's datasets does; %s#%s/%s is one of them alone"
              .formatted(
                  of,
                  split,
                  folders.size(),
                  NameList.of(shown, NAMES_SHOWN),
                  of.source(),
                  shown.getLast(),
                  split));
      return;
    }
    Set<Family> families = families(names).keySet();
    Set<String> own =
        names.stream().map(NamingRules::ownName).collect(Collectors.toCollection(TreeSet::new));
    if (families.size() > 1 && own.size() > 1) {
      warnings.accept(
          "%s: split %s takes the files of %s together, as Python's datasets does; %s#%s is one of them alone"
              .formatted(
                  of, split, NameList.of(own, NAMES_SHOWN), of.source(), own.iterator().next()));
    } else if (families.size() > 1) {
      warnings.accept(
          "%s: split %s has shards of several counts (%s), which look like uploads of the same rows; all are read"
              .formatted(
                  of,
                  split,
                  families.stream()
                      .map(family -> family.prefix + "-*-of-" + family.count)
                      .collect(Collectors.joining(", "))));
    }
  }
}
