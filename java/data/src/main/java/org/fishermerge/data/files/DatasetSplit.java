package org.fishermerge.data.files;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * Splits of a data set, as {@code load_dataset(source, configuration, split=split)} of Python's
 * {@code datasets} means them, as far as they are Parquet or Arrow files or folders of pictures, or
 * were written by {@code save_to_disk}.
 *
 * @param source the name of the data set, for messages
 * @param configuration the subset, as {@code cola} is of {@code nyu-mll/glue}; without a card that
 *     lists subsets, the folder of that name; null for the default, or the only one
 * @param split splits and parts of them, for example {@code train[:50%]+test}, or {@code all}; null
 *     for the only one
 */
public record DatasetSplit(String source, @Nullable String configuration, @Nullable String split) {
  private static final String CARD = "README.md";

  /** Where {@code datasets} looks as well, for people who cannot change the card. */
  private static final String MORE_CARD = ".huggingface.yaml";

  private static final String DEFAULT = DatasetCard.DEFAULT;
  private static final String PARTIAL = "partial-";

  /**
   * Where the files of a configuration are found, and how.
   *
   * @param classNames those that the card states, by column
   */
  private record Configuration(
      Map<String, List<String>> splits,
      Collection<String> names,
      boolean byCard,
      @Nullable Boolean dropLabels,
      Map<String, List<String>> classNames) {}

  /**
   * The splits' files in a folder.
   *
   * @throws InputException if there is no such configuration or split, with those there are; if
   *     shards are missing; or if the files are of a kind that is not read
   */
  public DataSource inFolder(Path folder) {
    LocalFiles local = new LocalFiles(folder);
    SplitChoice choice = choose(local);
    if (choice.parts().isEmpty()) {
      throw new InputException(
          "%s: %s; data is a folder of .parquet files or of pictures"
              .formatted(folder, choice.unread()));
    }
    Path name = folder.toAbsolutePath().normalize().getFileName();
    return choice.at(
        choice.names().stream().map(local::fetch).toList(),
        name == null ? folder.toString() : name.toString());
  }

  /** Chooses among the files of a folder or repository. */
  public SplitChoice choose(RepositoryFiles files) {
    NavigableSet<String> names = files.names();
    Optional<SplitChoice> saved = saved(files);
    if (saved.isPresent()) {
      return saved.get();
    }
    DatasetCard card = card(files);
    return choose(
        card.configurations().isEmpty() ? byName(card, names) : byCard(card, files), files);
  }

  /** What both cards say, the first before the second. */
  private static DatasetCard card(RepositoryFiles files) {
    DatasetCard card = DatasetCard.NONE;
    for (String name : List.of(MORE_CARD, CARD)) {
      if (files.names().contains(name)) {
        DatasetCard next = DatasetCard.read(files.fetch(name));
        card =
            new DatasetCard(
                card.configurations().isEmpty() ? next.configurations() : card.configurations(),
                card.classNames().isEmpty() ? next.classNames() : card.classNames());
      }
    }
    return card;
  }

  /** The same in the hub's own Parquet version, with its folders {@code CONFIGURATION/SPLIT}. */
  public SplitChoice chooseConverted(RepositoryFiles files) {
    Map<String, Map<String, List<String>>> found = new LinkedHashMap<>();
    for (String name : NamingRules.matching("*/*/*.parquet", files.names())) {
      String[] parts = name.split("/", -1);
      String folder = parts[1];
      found
          .computeIfAbsent(parts[0], any -> new LinkedHashMap<>())
          .computeIfAbsent(
              folder.startsWith(PARTIAL) ? folder.substring(PARTIAL.length()) : folder,
              any -> new ArrayList<>())
          .add(name);
    }
    if (found.isEmpty()) {
      return unread("holds no Parquet files");
    }
    String chosen =
        configuration != null ? configuration : found.size() == 1 ? first(found.keySet()) : DEFAULT;
    Map<String, List<String>> splits = found.get(chosen);
    if (splits == null) {
      throw noConfiguration(found.keySet());
    }
    return choose(new Configuration(splits, List.of(), true, null, Map.of()), files);
  }

  private static SplitChoice unread(String what) {
    return new SplitChoice(List.of(), List.of(), what);
  }

  private static String first(Collection<String> names) {
    return names.iterator().next();
  }

  // ---- save_to_disk ----

  /** What {@code save_to_disk} of {@code datasets} wrote, with or without splits; else empty. */
  private Optional<SplitChoice> saved(RepositoryFiles files) {
    NavigableSet<String> names = files.names();
    String folder = "";
    if (configuration != null && !isSaved("", names) && isSaved(configuration + "/", names)) {
      folder = configuration + "/";
    }
    if (!isSaved(folder, names)) {
      return Optional.empty();
    }
    if (configuration != null && folder.isEmpty()) {
      throw new InputException(
          "%s was written by save_to_disk and has no configurations; write %s#SPLIT"
              .formatted(source, source));
    }
    Map<String, String> folders = new LinkedHashMap<>();
    if (names.contains(folder + SavedDataset.SPLITS)) {
      for (String name : SavedDataset.splits(files.fetch(folder + SavedDataset.SPLITS))) {
        folders.put(name, folder + name + "/");
      }
    } else {
      folders.put(SavedDataset.read(files.fetch(folder + SavedDataset.STATE)).split(), folder);
    }
    List<SplitChoice.Part> parts = new ArrayList<>();
    for (SplitSlice slice : slices(folders.keySet())) {
      String below = folders.get(slice.split());
      if (below == null) {
        throw noSplit(slice, folders.keySet());
      }
      parts.add(
          new SplitChoice.Part(
              SplitFiles.Format.ARROW, savedFiles(below, files), List.of(), Map.of(), slice));
    }
    return Optional.of(new SplitChoice(parts, List.of(), ""));
  }

  private static boolean isSaved(String folder, NavigableSet<String> names) {
    return names.contains(folder + SavedDataset.SPLITS)
        || (names.contains(folder + SavedDataset.STATE)
            && names.contains(folder + SavedDataset.INFO));
  }

  /** A split's files, behind those that describe them. */
  private static List<String> savedFiles(String folder, RepositoryFiles files) {
    for (String name : List.of(SavedDataset.STATE, SavedDataset.INFO)) {
      requireSaved(folder + name, files);
    }
    List<String> found =
        new ArrayList<>(List.of(folder + SavedDataset.STATE, folder + SavedDataset.INFO));
    for (String name : SavedDataset.read(files.fetch(folder + SavedDataset.STATE)).dataFiles()) {
      requireSaved(folder + name, files);
      found.add(folder + name);
    }
    return found;
  }

  private static void requireSaved(String name, RepositoryFiles files) {
    if (!files.names().contains(name)) {
      throw files.lacks(name, "save_to_disk writes it, and the data set is incomplete without it");
    }
  }

  // ---- configurations ----

  private Configuration byCard(DatasetCard card, RepositoryFiles files) {
    DatasetCard.Configuration chosen = chosen(card.configurations());
    Map<String, List<String>> classNames = card.classNamesOf(chosen.name());
    List<String> below =
        files.names().stream().filter(name -> name.startsWith(chosen.folder())).toList();
    if (chosen.patterns().isEmpty()) {
      return named(chosen.folder(), below, chosen.dropLabels(), classNames);
    }
    Map<String, List<String>> splits = new LinkedHashMap<>();
    chosen
        .patterns()
        .forEach((split, patterns) -> {
          Set<String> matching = new LinkedHashSet<>();
          for (String pattern : patterns) {
            List<String> found = NamingRules.matching(chosen.folder() + plain(pattern), below);
            if (found.isEmpty() && pattern.chars().noneMatch(c -> "*?[".indexOf(c) >= 0)) {
              throw files.lacks(pattern, "its card names that file as one of split " + split);
            }
            matching.addAll(found);
          }
          splits.put(split, List.copyOf(matching));
        });
    return new Configuration(splits, below, true, chosen.dropLabels(), classNames);
  }

  private static String plain(String pattern) {
    return pattern.startsWith("./") ? pattern.substring(2) : pattern;
  }

  private DatasetCard.Configuration chosen(List<DatasetCard.Configuration> card) {
    List<String> there = card.stream().map(DatasetCard.Configuration::name).toList();
    if (configuration != null) {
      return card.stream()
          .filter(c -> c.name().equals(configuration))
          .findFirst()
          .orElseThrow(() -> noConfiguration(there));
    }
    List<DatasetCard.Configuration> defaults =
        card.stream()
            .filter(c -> card.size() == 1 || c.isDefault() || c.name().equals(DEFAULT))
            .toList();
    if (defaults.size() > 1) {
      throw new InputException(
          "data set %s: its card marks several configurations as the default; name one of %s"
              .formatted(source, String.join(", ", there)));
    }
    return defaults.stream().findFirst().orElseThrow(() -> noConfiguration(there));
  }

  private Configuration byName(DatasetCard card, NavigableSet<String> names) {
    Map<String, List<String>> classNames =
        card.classNamesOf(configuration == null ? DEFAULT : configuration);
    if (configuration == null) {
      return named("", List.copyOf(names), null, classNames);
    }
    for (String folder : List.of(configuration + "/", "data/" + configuration + "/")) {
      List<String> below = names.stream().filter(name -> name.startsWith(folder)).toList();
      if (!below.isEmpty()) {
        return named(folder, below, null, classNames);
      }
    }
    // A folder with the files of one configuration may stand for it.
    Configuration whole = named("", List.copyOf(names), null, classNames);
    Set<String> folders = new TreeSet<>();
    whole.splits.forEach((split, files) ->
        files.stream()
            .filter(FileKind::isData)
            .forEach(name -> folders.add(NamingRules.folderOf(name, split))));
    if (!Set.of("", "data/").containsAll(folders)) {
      throw noConfiguration(
          folders.stream().map(name -> name.replaceAll("^data/(?=.)|/$", "")).toList());
    }
    return whole;
  }

  /** Splits by the names below a folder, which do not see its own name. */
  private static Configuration named(
      String folder,
      List<String> below,
      @Nullable Boolean dropLabels,
      Map<String, List<String>> classNames) {
    Map<String, List<String>> splits = new LinkedHashMap<>();
    List<String> relative = below.stream().map(name -> name.substring(folder.length())).toList();
    NamingRules.splits(relative)
        .forEach((split, names) ->
            splits.put(split, names.stream().map(name -> folder + name).toList()));
    return new Configuration(splits, below, false, dropLabels, classNames);
  }

  private InputException noConfiguration(Collection<String> there) {
    return new InputException(
        configuration == null
            ? "data set %s has several configurations; name one of %s"
                .formatted(source, String.join(", ", there))
            : "data set %s has no configuration '%s'; there is %s"
                .formatted(source, configuration, String.join(", ", there)));
  }

  // ---- splits ----

  private SplitChoice choose(Configuration from, RepositoryFiles files) {
    Map<String, List<String>> splits = new LinkedHashMap<>();
    from.splits.forEach((split, names) -> {
      List<String> data = names.stream().filter(FileKind::isData).toList();
      if (!data.isEmpty() || from.byCard) {
        splits.put(split, data);
      }
    });
    if (splits.isEmpty()) {
      return unread(
          from.splits.isEmpty()
              ? "holds no data files"
              : "holds no data files of split "
                  + String.join(", ", from.splits.keySet())
                  + ", only "
                  + String.join(
                      ", ", from.splits.values().iterator().next().stream().limit(3).toList()));
    }
    List<SplitChoice.Part> parts = new ArrayList<>();
    Set<String> warnings = new LinkedHashSet<>();
    for (SplitSlice slice : slices(splits.keySet())) {
      List<String> names = splits.get(slice.split());
      if (names == null && !from.byCard) {
        names =
            NamingRules.named(slice.split(), from.names).stream().filter(FileKind::isData).toList();
      }
      if (names == null || (names.isEmpty() && !from.byCard)) {
        throw noSplit(slice, splits.keySet());
      }
      if (names.isEmpty()) {
        throw files.lacks("files of split " + slice.split(), "its card names some; check the id");
      }
      FileKind kind = FileKind.of(names).orElseThrow();
      if (kind.format().isEmpty()) {
        return unread(
            "split %s is of %s files, which are not read"
                .formatted(slice.split(), FileKind.endingsOf(names)));
      }
      SplitFiles.Format format = kind.format().get();
      List<String> chosen = kind.of(names.stream());
      if (from.byCard && chosen.size() < names.size()) {
        return unread(
            "split %s mixes files of several kinds: %s"
                .formatted(slice.split(), FileKind.endingsOf(names)));
      }
      refuseArchives(names);
      List<String> classes = List.of();
      if (format.isTable()) {
        Shards.requireAll(chosen, files);
        Shards.warn(this, slice.split(), chosen, from.byCard, warnings::add);
      } else {
        classes = PictureClasses.of(splits, from.dropLabels, warnings::add);
        long unread =
            from.splits.getOrDefault(slice.split(), List.of()).stream()
                .filter(name -> FileKind.isPicture(name) && !FileKind.isData(name))
                .count();
        if (unread > 0) {
          warnings.add(
              "%s: %d pictures of split %s are left out, as Python's datasets does: their endings mix upper and lower case; rename them"
                  .formatted(this, unread, slice.split()));
        }
      }
      if (!parts.isEmpty() && parts.getFirst().format() != format) {
        throw new InputException(
            "%s: the splits that are joined are files of different kinds".formatted(this));
      }
      parts.add(new SplitChoice.Part(format, chosen, classes, from.classNames, slice));
    }
    return new SplitChoice(parts, List.copyOf(warnings), "");
  }

  private InputException noSplit(SplitSlice slice, Set<String> there) {
    return new InputException(
        "%s: there is no split '%s'; there is %s"
            .formatted(this, slice.split(), String.join(", ", there)));
  }

  private List<SplitSlice> slices(Set<String> splits) {
    if (split == null) {
      if (splits.size() > 1) {
        throw new InputException(
            "%s holds several splits (%s); choose one, as in %s#%s"
                .formatted(source, String.join(", ", splits), source, first(splits)));
      }
      return List.of(SplitSlice.whole(first(splits)));
    }
    if (split.equals(SplitSlice.ALL) && !splits.contains(SplitSlice.ALL)) {
      return splits.stream().map(SplitSlice::whole).toList();
    }
    return SplitSlice.parse(split);
  }

  private void refuseArchives(List<String> names) {
    Optional<String> archive = names.stream().filter(name -> name.endsWith(".zip")).findFirst();
    if (archive.isPresent()) {
      throw new InputException(
          "%s: %s is an archive, which is not looked into; unpack it"
              .formatted(this, archive.get()));
    }
  }

  /** For messages. */
  @Override
  public String toString() {
    return configuration == null ? "data set " + source : source + ", " + configuration;
  }
}
