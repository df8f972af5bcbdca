package org.fishermerge.data.files;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What names of files say about splits, by the rules of Python's {@code datasets} (5.0.1), where no
 * card says it. The first rule that finds files decides:
 *
 * <ol>
 *   <li>{@code data/SPLIT-00000-of-00002.parquet}: any name of a split.
 *   <li>A folder named by a word for a split, such as {@code train}, {@code dev} or {@code
 *       my_test-2}.
 *   <li>Such a word in the file's name: {@code train.parquet}, {@code mnist_test_0.parquet}.
 *   <li>Everything is {@code train}.
 * </ol>
 */
final class NamingRules {
  static final String TRAIN = "train";

  /** Words for a split, between what separates words. */
  private static final Map<String, List<String>> WORDS = words();

  private static final String SHARDED =
      "data/%s-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*";

  private static final Pattern SHARD_NAME = Pattern.compile("(.+)-\\d{5}-of-\\d{5}.*");

  /** {@code train-0}, {@code train_1}. */
  private static final Pattern NUMBERED = Pattern.compile("(.+?)[-_.]\\d+");

  private static final Set<String> NO_DATA =
      Set.of(
          "README.md",
          "config.json",
          "dataset_info.json",
          "dataset_infos.json",
          "dummy_data.zip",
          "dataset_dict.json");

  private static final List<String> WORD_IN_FOLDER =
      List.of(
          "**/%s/**", "**/%s[-._ 0-9]*/**", "**/*[-._ 0-9]%s/**", "**/*[-._ 0-9]%s[-._ 0-9]*/**");
  private static final List<String> WORD_IN_FILE =
      List.of("**/%s[-._ 0-9]*", "**/*[-._ 0-9]%s[-._ 0-9]*");

  private NamingRules() {}

  private static Map<String, List<String>> words() {
    Map<String, List<String>> words = new LinkedHashMap<>();
    words.put(TRAIN, List.of(TRAIN, "training"));
    words.put("validation", List.of("validation", "valid", "dev", "val"));
    words.put("test", List.of("test", "testing", "eval", "evaluation"));
    return words;
  }

  /** Split to files, both in the order of {@code datasets}; of all files, data or not. */
  static Map<String, List<String>> splits(Collection<String> names) {
    Map<String, List<String>> sharded = sharded(names);
    if (!sharded.isEmpty()) {
      return sharded;
    }
    for (List<String> patterns : List.of(WORD_IN_FOLDER, WORD_IN_FILE)) {
      Map<String, List<String>> found = new LinkedHashMap<>();
      WORDS.forEach((split, words) -> {
        Set<String> files = new LinkedHashSet<>();
        for (String word : words) {
          patterns.forEach(pattern -> files.addAll(matching(pattern.formatted(word), names)));
        }
        if (!files.isEmpty()) {
          found.put(split, List.copyOf(files));
        }
      });
      if (!found.isEmpty()) {
        return found;
      }
    }
    List<String> all = matching("**", names);
    return all.isEmpty() ? Map.of() : Map.of(TRAIN, all);
  }

  private static Map<String, List<String>> sharded(Collection<String> names) {
    Set<String> found = new TreeSet<>();
    for (String name : matching(SHARDED.formatted("*"), names)) {
      Matcher shard = SHARD_NAME.matcher(FileKind.baseName(name));
      if (shard.matches()) {
        found.add(shard.group(1));
      }
    }
    List<String> order = new ArrayList<>(WORDS.keySet());
    order.retainAll(found);
    found.removeAll(order);
    order.addAll(found);
    Map<String, List<String>> splits = new LinkedHashMap<>();
    order.forEach(split -> splits.put(split, matching(SHARDED.formatted(split), names)));
    return splits;
  }

  /**
   * The files that a pattern of a card or of the rules means, in order. What is hidden, or in a
   * folder whose name begins with two underscores, is meant only by a pattern that is so as well.
   */
  static List<String> matching(String pattern, Collection<String> names) {
    Pattern glob = Glob.compile(pattern);
    String last = FileKind.baseName(pattern);
    long hidden = hidden(pattern);
    long special = special(pattern);
    return names.stream()
        .filter(name -> glob.matcher(name).matches())
        .filter(name -> hidden(name) == hidden && special(name) == special)
        .filter(name -> {
          String base = FileKind.baseName(name);
          return !NO_DATA.contains(base) || base.equals(last);
        })
        .toList();
  }

  private static long hidden(String path) {
    return Pattern.compile("/")
        .splitAsStream(path)
        .filter(part -> part.startsWith(".") && !part.chars().allMatch(c -> c == '.'))
        .count();
  }

  private static long special(String path) {
    int slash = path.lastIndexOf('/');
    return slash < 0
        ? 0
        : Pattern.compile("/")
            .splitAsStream(path.substring(0, slash))
            .filter(part -> part.startsWith("__"))
            .count();
  }

  /**
   * Files whose own name is that of the split, before the numbers of shards. {@code datasets} has
   * no such rule: it lets a split be found that the words hide, as those of GLUE's mnli.
   */
  static List<String> named(String split, Collection<String> names) {
    return matching("**", names).stream().filter(name -> ownName(name).equals(split)).toList();
  }

  /** A file's name without its ending and the numbers of shards. */
  static String ownName(String name) {
    String base = FileKind.baseName(name);
    Matcher shard = FileKind.SHARD.matcher(base);
    if (shard.matches()) {
      return shard.group(1);
    }
    int dot = base.lastIndexOf('.');
    String stem = dot <= 0 ? base : base.substring(0, dot);
    Matcher numbered = NUMBERED.matcher(stem);
    return numbered.matches() ? numbered.group(1) : stem;
  }

  /**
   * The folder that a file's split is in: what is before a folder named by a word for a split, or
   * else the file's own folder. Files of one data set have one.
   */
  static String folderOf(String name, String split) {
    int slash = name.lastIndexOf('/');
    if (slash < 0) {
      return "";
    }
    String folders = name.substring(0, slash + 1);
    for (String word : WORDS.getOrDefault(split, List.of())) {
      Matcher named =
          Pattern.compile("(?:^|(?<=/))(?:[^/]*[-._ 0-9])?" + word + "(?:[-._ 0-9][^/]*)?/")
              .matcher(folders);
      if (named.find()) {
        return folders.substring(0, named.start());
      }
    }
    return folders;
  }
}
