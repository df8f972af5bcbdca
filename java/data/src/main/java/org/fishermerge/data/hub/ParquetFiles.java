package org.fishermerge.data.hub;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * Chooses the Parquet files of a split: by the {@code configs} of the data set's card, or else by
 * the names of the files. Chooses nothing if the split, or all of the data set, is something else
 * than Parquet.
 */
final class ParquetFiles implements WantedFiles {
  private static final String CARD = "README.md";
  private static final String DEFAULT = "default";
  private static final String PARQUET = ".parquet";

  /** {@code train-00000-of-00002}, with a hash behind in older data sets. */
  private static final Pattern SHARD = Pattern.compile("(.+?)-(\\d{1,9})-of-(\\d{1,9}).*");

  /** {@code 0000} or {@code part-0}: the folder is the split then. */
  private static final Pattern ONLY_NUMBER = Pattern.compile("\\d+|part[-.].*");

  /** {@code train-0}, {@code train_1}. */
  private static final Pattern NUMBERED = Pattern.compile("(.+?)[-_.]\\d+");

  private final DatasetSplit wanted;

  ParquetFiles(DatasetSplit wanted) {
    this.wanted = wanted;
  }

  @Override
  public List<String> choose(RepositoryFiles files) {
    List<DatasetCard.Configuration> card =
        files.names().contains(CARD) ? DatasetCard.configurations(files.fetch(CARD)) : List.of();
    Map<String, Map<String, List<String>>> byName = byName(files.names(), "");
    if (card.isEmpty() && byName.isEmpty()) {
      return List.of();
    }
    Map<String, List<String>> splits =
        card.isEmpty() ? configuration(byName) : splits(configuration(card), files.names());
    if (splits.isEmpty()) {
      return List.of();
    }
    List<String> chosen = splits.get(wanted.split());
    if (chosen == null) {
      throw new InputException(
          "%s: there is no split '%s'; there is %s"
              .formatted(wanted, wanted.split(), String.join(", ", splits.keySet())));
    }
    if (chosen.isEmpty()) {
      throw files.lacks("files of split " + wanted.split(), "its card names some; check the id");
    }
    if (!chosen.stream().allMatch(name -> name.endsWith(PARQUET))) {
      return List.of();
    }
    requireAllShards(files, chosen);
    return chosen;
  }

  private DatasetCard.Configuration configuration(List<DatasetCard.Configuration> card) {
    String name = wanted.configuration();
    Optional<DatasetCard.Configuration> found;
    if (name != null) {
      found = card.stream().filter(c -> c.name().equals(name)).findFirst();
    } else if (card.size() == 1) {
      found = Optional.of(card.getFirst());
    } else {
      found =
          card.stream()
              .filter(DatasetCard.Configuration::isDefault)
              .findFirst()
              .or(() -> card.stream().filter(c -> c.name().equals(DEFAULT)).findFirst());
    }
    return found.orElseThrow(
        () -> noConfiguration(card.stream().map(DatasetCard.Configuration::name).toList()));
  }

  private Map<String, List<String>> configuration(Map<String, Map<String, List<String>>> byName) {
    if (byName.size() == 1 && byName.containsKey(DEFAULT)) {
      // A folder with the files of one configuration may stand for it.
      return byName.get(DEFAULT);
    }
    String name = wanted.configuration();
    if (name == null) {
      name = byName.size() == 1 ? byName.keySet().iterator().next() : DEFAULT;
    }
    Map<String, List<String>> splits = byName.get(name);
    if (splits == null) {
      throw noConfiguration(List.copyOf(byName.keySet()));
    }
    return splits;
  }

  private InputException noConfiguration(List<String> there) {
    return new InputException(
        wanted.configuration() == null
            ? "data set %s has several configurations; name one of %s"
                .formatted(wanted.source(), String.join(", ", there))
            : "data set %s has no configuration '%s'; there is %s"
                .formatted(wanted.source(), wanted.configuration(), String.join(", ", there)));
  }

  /** The files that a card's patterns match, in the order of the patterns, then of the names. */
  private static Map<String, List<String>> splits(
      DatasetCard.Configuration configuration, NavigableSet<String> names) {
    Map<String, List<String>> splits = new TreeMap<>();
    if (configuration.patterns().isEmpty()) {
      byName(names, configuration.folder()).values().forEach(splits::putAll);
      return splits;
    }
    configuration
        .patterns()
        .forEach((split, patterns) -> {
          List<String> matching = new ArrayList<>();
          for (String pattern : patterns) {
            Pattern glob = Glob.compile(configuration.folder() + pattern);
            names.stream()
                .filter(name -> glob.matcher(name).matches() && !matching.contains(name))
                .forEach(matching::add);
          }
          splits.put(split, matching);
        });
    return splits;
  }

  /** Configuration to split to files, by what people call their files. */
  private static Map<String, Map<String, List<String>>> byName(
      NavigableSet<String> names, String folder) {
    Map<String, Map<String, List<String>>> found = new TreeMap<>();
    for (String name : names) {
      if (name.endsWith(PARQUET) && name.startsWith(folder)) {
        List<String> path =
            new ArrayList<>(
                List.of(
                    name.substring(folder.length(), name.length() - PARQUET.length()).split("/")));
        String split = split(path);
        if (!path.isEmpty() && path.getFirst().equals("data")) {
          path.removeFirst();
        } else if (!path.isEmpty() && path.getLast().equals("data")) {
          path.removeLast();
        }
        found
            .computeIfAbsent(
                path.isEmpty() ? DEFAULT : String.join("/", path), any -> new TreeMap<>())
            .computeIfAbsent(split, any -> new ArrayList<>())
            .add(name);
      }
    }
    return found;
  }

  /** Takes what says the split from the end of the path. */
  private static String split(List<String> path) {
    String stem = path.removeLast();
    Matcher shard = SHARD.matcher(stem);
    if (shard.matches()) {
      return shard.group(1);
    }
    if (ONLY_NUMBER.matcher(stem).matches()) {
      return path.isEmpty() ? "train" : path.removeLast();
    }
    Matcher numbered = NUMBERED.matcher(stem);
    return numbered.matches() ? numbered.group(1) : stem;
  }

  /** Half of a split would pass for all of it. */
  private static void requireAllShards(RepositoryFiles files, List<String> chosen) {
    Map<String, List<String>> families = new TreeMap<>();
    for (String name : chosen) {
      Matcher shard = SHARD.matcher(name);
      if (shard.matches()) {
        families
            .computeIfAbsent(shard.group(1) + "-*-of-" + shard.group(3), any -> new ArrayList<>())
            .add(name);
      }
    }
    families.forEach((family, shards) -> {
      @Nullable String count = family.substring(family.lastIndexOf('-') + 1);
      if (shards.size() < Integer.parseInt(count)) {
        throw files.lacks(
            "all of %s, only %d of them".formatted(family, shards.size()),
            "the data set is incomplete");
      }
    });
  }
}
