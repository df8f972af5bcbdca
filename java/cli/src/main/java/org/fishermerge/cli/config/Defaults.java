package org.fishermerge.cli.config;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.cli.config.ConfigFile.Default;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;
import org.jspecify.annotations.Nullable;

/**
 * Which files make up a configuration, and in what order they are merged: the defaults lists, depth
 * first, with a file's own content where {@code _self_} stands, last where it does not.
 */
final class Defaults {
  /** The root, as files and command lines name it. */
  static final String GLOBAL = "_global_";

  /** Hydra's own settings, which FusionBench's files choose among too. */
  static final String HYDRA = "hydra";

  /**
   * A file to be merged.
   *
   * @param toPackage where its content goes, a path with dots; empty for the root
   */
  record Step(ConfigFile file, String toPackage) {}

  /** A choice among the options of a group. */
  private record Choice(List<String> options, boolean isList, String text) {
    static Choice of(ConfigOverride override) {
      ConfigValue value = override.value();
      if (value instanceof Sequence list) {
        return new Choice(list.items().stream().map(Choice::name).toList(), true, override.text());
      }
      boolean none = value instanceof Scalar scalar && scalar.value() == null;
      return new Choice(
          value == null || none ? List.of() : List.of(name(value)), false, override.text());
    }

    private static String name(ConfigValue value) {
      return value instanceof Scalar scalar ? String.valueOf(scalar.value()) : value.shortly();
    }
  }

  private final ConfigTree tree;
  private final Map<String, Choice> choices = new LinkedHashMap<>();
  private final Set<String> fromCommandLine = new HashSet<>();
  private final Map<String, ConfigOverride> deletions = new LinkedHashMap<>();
  private final List<Default.Group> additions = new ArrayList<>();
  private final Set<String> used = new HashSet<>();
  private final Set<String> seen = new HashSet<>();
  private final List<Step> steps = new ArrayList<>(); // filled from the last to the first

  private Defaults(ConfigTree tree) {
    this.tree = tree;
  }

  /**
   * The files of a configuration.
   *
   * @param overrides those of groups
   * @throws InputException if a file or option does not exist, or an override changes nothing
   */
  static List<Step> of(ConfigTree tree, String configName, List<ConfigOverride> overrides) {
    Defaults defaults = new Defaults(tree);
    overrides.forEach(defaults::take);
    ConfigFile root =
        tree.file(configName)
            .orElseThrow(() ->
                new InputException(
                    configName
                        + ": no such configuration"
                        + tree.misnamed(configName)
                        + NearestNames.of(
                            configName,
                            tree.options("").stream().filter(o -> !o.contains("/")).toList())));
    defaults.expand(root, "", "", defaults.additions);
    defaults.requireUsed();
    return defaults.steps;
  }

  private void take(ConfigOverride override) {
    switch (override.kind()) {
      case DELETE -> deletions.put(override.choice(), override);
      case ADD, FORCE -> {
        Choice choice = Choice.of(override);
        additions.add(
            new Default.Group(
                override.key(),
                override.toPackage(),
                choice.options,
                choice.isList,
                false,
                false,
                false));
      }
      case SET -> {
        choices.put(override.choice(), Choice.of(override));
        fromCommandLine.add(override.choice());
      }
    }
  }

  /**
   * Adds the steps of a file.
   *
   * @param group that its relative entries start from
   */
  private void expand(
      ConfigFile file, String group, String toPackage, List<Default.Group> appended) {
    List<Default> entries = new ArrayList<>(file.defaults());
    if (!entries.contains(new Default.Self())) {
      entries.add(new Default.Self());
    }
    entries.addAll(appended);
    entries.removeIf(entry ->
        entry instanceof Default.Group choice
            && (absolute(choice.group(), group) + "/").startsWith(HYDRA + "/"));
    for (Default entry : entries) {
      if (entry instanceof Default.Group choice && choice.isOverride()) {
        // What is said further out counts: the command line first, then the files from the root.
        choices.putIfAbsent(
            key(choice, group, toPackage),
            new Choice(choice.options(), choice.isList(), file.origin()));
      }
    }
    // Backwards, as Hydra does: what a later entry overrides must be known when an earlier one is
    // expanded.
    for (Default entry : entries.reversed()) {
      switch (entry) {
        case Default.Self self -> steps.addFirst(new Step(file, toPackage));
        case Default.File other -> expandFile(file, other, group, toPackage);
        case Default.Group choice when choice.isOverride() -> {}
        case Default.Group choice -> expandGroup(file, choice, group, toPackage);
      }
    }
  }

  private void expandFile(ConfigFile file, Default.File entry, String group, String toPackage) {
    String path = absolute(entry.path(), group);
    int slash = path.lastIndexOf('/');
    String folder = slash < 0 ? "" : path.substring(0, slash);
    int relative = relative(entry.path()).lastIndexOf('/');
    expandOption(
        file,
        folder,
        folder,
        path.substring(slash + 1),
        entry.optional(),
        entry.toPackage(),
        relative < 0 ? "" : relative(entry.path()).substring(0, relative),
        toPackage);
  }

  private void expandGroup(ConfigFile file, Default.Group entry, String group, String toPackage) {
    String key = key(entry, group, toPackage);
    ConfigOverride deletion = deletions.get(key);
    if (deletion != null
        && (deletion.value() == null || Choice.of(deletion).options.equals(entry.options()))) {
      used.add(key);
      return;
    }
    Choice choice = choices.get(key);
    if (choice != null) {
      used.add(key);
    } else {
      choice = new Choice(entry.options(), entry.isList(), file.origin());
    }
    String path = absolute(entry.group(), group);
    if (choice.options.isEmpty()) {
      if (entry.missing() && !used.contains(key)) {
        throw new InputException(
            "choose one with " + key + "=OPTION: " + String.join(", ", tree.options(path)));
      }
      return;
    }
    if (!seen.add(key)) {
      throw new InputException(
          key + " is chosen more than once; leave the + out to change what is chosen");
    }
    for (String option : choice.options.reversed()) {
      // A list's options are files of their folder; a single option is one of the group's.
      String name = tree.isGroup(path) ? option(path, option, entry, file) : option;
      int slash = name.lastIndexOf('/');
      boolean nested = choice.isList && slash >= 0;
      String base = nested ? path + "/" + name.substring(0, slash) : path;
      String below = relative(entry.group()) + (nested ? "/" + name.substring(0, slash) : "");
      expandOption(file, path, base, name, entry.optional(), entry.toPackage(), below, toPackage);
    }
  }

  private String option(String group, String option, Default.Group entry, ConfigFile file) {
    if (entry.optional() && tree.file(group + "/" + option).isEmpty()) {
      return option;
    }
    try {
      return tree.option(group, option);
    } catch (InputException e) {
      boolean chosenHere = entry.options().contains(option) && !additions.contains(entry);
      throw chosenHere ? new InputException(file.origin() + ": " + e.getMessage(), e) : e;
    }
  }

  private void expandOption(
      ConfigFile from,
      String folder,
      String base,
      String name,
      boolean optional,
      @Nullable String named,
      String below,
      String parentPackage) {
    String path = folder.isEmpty() ? name : folder + "/" + name;
    ConfigFile file = tree.file(path).orElse(null);
    if (file == null) {
      if (optional) {
        return;
      }
      throw new InputException(
          from.origin()
              + ": there is no "
              + path
              + tree.misnamed(path)
              + NearestNames.of(name, tree.options(folder)));
    }
    String wanted = named != null ? named : file.header().map(Defaults::header).orElse(null);
    expand(file, base, join(parentPackage, wanted == null ? below : wanted), List.of());
  }

  /** A package in a file's head is counted from the root. */
  private static String header(String header) {
    return header.startsWith(GLOBAL) ? header : GLOBAL + "." + header;
  }

  /**
   * How the command line names a choice: the group, and the package where it is not the group's.
   */
  private static String key(Default.Group entry, String group, String parentPackage) {
    String path = absolute(entry.group(), group);
    String named = entry.toPackage();
    String toPackage = join(parentPackage, named == null ? relative(entry.group()) : named);
    return toPackage.equals(path.replace('/', '.'))
        ? path
        : path + "@" + (toPackage.isEmpty() ? GLOBAL : toPackage);
  }

  private static String absolute(String path, String group) {
    return path.startsWith("/") || group.isEmpty() ? relative(path) : group + "/" + path;
  }

  private static String relative(String path) {
    return path.startsWith("/") ? path.substring(1) : path;
  }

  private static String join(String parent, String below) {
    String child = below.equals("_here_") ? "" : below.replace('/', '.');
    String joined = parent.isEmpty() || child.isEmpty() ? parent + child : parent + "." + child;
    int global = joined.lastIndexOf(GLOBAL);
    if (global < 0) {
      return joined;
    }
    return joined.substring(Math.min(joined.length(), global + GLOBAL.length() + 1));
  }

  private void requireUsed() {
    choices.forEach((key, choice) -> {
      if (fromCommandLine.contains(key) && !used.contains(key)) {
        throw unused(key, choice.text, "no group is chosen as " + key);
      }
    });
    deletions.forEach((key, deletion) -> {
      if (!used.contains(key)) {
        throw unused(key, deletion.text(), "there is no such choice to leave out");
      }
    });
  }

  private InputException unused(String key, String text, String what) {
    return new InputException(
        text
            + ": "
            + what
            + NearestNames.of(key, seen.stream().sorted().toList())
            + "; a group that nobody has chosen yet is added with +");
  }
}
