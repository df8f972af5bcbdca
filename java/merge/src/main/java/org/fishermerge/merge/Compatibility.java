package org.fishermerge.merge;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.SettingsKeys;
import org.jspecify.annotations.Nullable;

/**
 * Whether models belong together: what is merged, or classified under another model's head, must
 * compute the same function of its parameters, read the same tokens and see the same pictures. Only
 * settings files are read. Every command asks here.
 */
public final class Compatibility {
  /** What is done about keys when two config.json are compared; any other key is compared too. */
  public static final SettingsKeys CONFIG_KEYS = ConfigDifferences.KEYS;

  /** The same of the files with picture settings. */
  public static final SettingsKeys PICTURE_KEYS = PictureDifferences.KEYS;

  /** What is compared of tokenizer_config.json; any other key is not. */
  public static final SettingsKeys TOKENIZER_KEYS = ComparedTokenizer.KEYS;

  private static final String CONFIG = "config.json";
  private static final int SHOWN = 5;

  /** Keys that tensors of one shape cannot disagree on. */
  private static final Set<String> SHAPES =
      Set.of(
          "model_type",
          "hidden_size",
          "n_embd",
          "d_model",
          "intermediate_size",
          "num_hidden_layers",
          "n_layer",
          "num_channels",
          "patch_size");

  private Compatibility() {}

  /**
   * A model whose settings are compared.
   *
   * @param name as messages give it
   * @param isFolder whether settings are to be expected, as they are not beside a single file
   * @param file finds a file of its folder by name
   */
  public record Member(String name, boolean isFolder, Function<String, Optional<Path>> file) {
    /** An open model: its settings are those of its folder, of an adapter those of its base. */
    public static Member of(Checkpoint model) {
      boolean isFolder = !model.files().isEmpty() && Files.isDirectory(model.basePath());
      return new Member(model.path().toString(), isFolder, model::sibling);
    }

    /** A model of which only the config.json is at hand. */
    public static Member of(String name, Optional<Path> config) {
      return new Member(name, true, wanted -> wanted.equals(CONFIG) ? config : Optional.empty());
    }

    /** The file; and whose it is, where its path does not tell, as in the hub's cache. */
    private String label(Path file) {
      return file.startsWith(name) || !isFolder ? file.toString() : name + " (" + file + ")";
    }
  }

  /**
   * Compares the first model with each of the others. Files that a model does not have are not
   * compared.
   *
   * @param allowed keys, or groups of keys, that may differ
   * @return what may matter, each a sentence for the user
   * @throws InputException for two models that do not belong together
   */
  public static List<String> check(List<Member> members, Collection<String> allowed) {
    List<String> warnings = new ArrayList<>();
    compare(
        members,
        member -> member.file.apply(CONFIG),
        (one, other) -> ConfigDifferences.of(ModelConfig.read(one), ModelConfig.read(other)),
        allowed,
        warnings);
    compareParts(
        members,
        PictureDifferences::read,
        PictureDifferences::of,
        PictureDifferences.Pictures::path,
        allowed,
        warnings);
    compareParts(
        members,
        ComparedTokenizer::read,
        ComparedTokenizer::differences,
        ComparedTokenizer::main,
        allowed,
        warnings);
    withoutConfig(members).ifPresent(warnings::add);
    return warnings;
  }

  /**
   * Compares what the heads of models say, for models whose heads are merged.
   *
   * @param allowed as for {@link #check}
   * @throws InputException for two models whose heads do not belong together
   */
  static void checkHeads(List<Member> members, Collection<String> allowed) {
    compare(
        members,
        member -> member.file.apply(CONFIG),
        (one, other) -> ConfigDifferences.ofHeads(ModelConfig.read(one), ModelConfig.read(other)),
        allowed,
        new ArrayList<>());
  }

  private static void compare(
      List<Member> members,
      Function<Member, Optional<Path>> file,
      BiFunction<Path, Path, List<Difference>> differences,
      Collection<String> allowed,
      List<String> warnings) {
    compareParts(
        members,
        file,
        (one, other) -> sameBytes(one, other) ? List.of() : differences.apply(one, other),
        Function.identity(),
        allowed,
        warnings);
  }

  private static <T> void compareParts(
      List<Member> members,
      Function<Member, Optional<T>> read,
      BiFunction<T, T, List<Difference>> differences,
      Function<T, Path> file,
      Collection<String> allowed,
      List<String> warnings) {
    @Nullable T first = null;
    String firstFile = "";
    for (Member member : members) {
      T part = read.apply(member).orElse(null);
      if (part == null) {
        continue;
      }
      if (first == null) {
        first = part;
        firstFile = member.label(file.apply(part));
        continue;
      }
      String otherFile = member.label(file.apply(part));
      List<Difference> found =
          differences.apply(first, part).stream().filter(each -> !each.isOneOf(allowed)).toList();
      List<Difference> decisive = found.stream().filter(Difference::decisive).toList();
      if (!decisive.isEmpty()) {
        throw different(firstFile, otherFile, decisive);
      }
      if (!found.isEmpty()) {
        warnings.add(
            "%s and %s may not belong together: %s".formatted(firstFile, otherFile, text(found)));
      }
    }
  }

  /**
   * One sentence, which names the files, the keys with both values, and, where that can be meant,
   * the option.
   */
  private static InputException different(String one, String other, List<Difference> found) {
    String what = "%s and %s do not belong together: %s".formatted(one, other, text(found));
    if (found.stream().anyMatch(each -> SHAPES.contains(each.name()))) {
      return new InputException(what + "; models of one architecture and shape are needed");
    }
    return new InputException(
        what
            + ". Use models of one kind, or let it pass"
            + found.stream()
                .map(Difference::name)
                .distinct()
                .limit(SHOWN)
                .map(name -> " --allow-different " + name)
                .collect(Collectors.joining("", " with", ""))
            + " (in a configuration: allow_different=[...]); the first model's value counts then");
  }

  private static String text(List<Difference> found) {
    return NameList.of(
        found.stream()
            .map(each -> "%s is %s and %s".formatted(each.key(), each.one(), each.other()))
            .toList(),
        SHOWN);
  }

  private static Optional<String> withoutConfig(List<Member> members) {
    List<String> without =
        members.stream()
            .filter(member -> member.isFolder && member.file.apply(CONFIG).isEmpty())
            .map(Member::name)
            .toList();
    return without.isEmpty()
            || members.stream().noneMatch(member -> member.file.apply(CONFIG).isPresent())
        ? Optional.empty()
        : Optional.of(
            "%s: no config.json there, so whether %s the same function as the others cannot be"
                    .formatted(
                        NameList.of(without, SHOWN),
                        without.size() == 1 ? "it computes" : "they compute")
                + " checked");
  }

  static boolean sameBytes(Path one, Path other) {
    try {
      return Files.mismatch(one, other) < 0;
    } catch (IOException e) {
      throw new InputException("cannot read " + one + " and " + other + ": " + e.getMessage(), e);
    }
  }
}
