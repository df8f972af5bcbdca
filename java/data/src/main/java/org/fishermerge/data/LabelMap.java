package org.fishermerge.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.jspecify.annotations.Nullable;

/**
 * Which class of a model each label of a data set means.
 *
 * <p>Labels are numbers, and a number means the class at that place of a list. Where the data and
 * the model both name their classes, the two lists are compared:
 *
 * <ol>
 *   <li>The same names in the same order, but for case, spaces and punctuation: numbers stay.
 *   <li>The same names in another order: labels are mapped by name, which a remark says.
 *   <li>One of the lists only counts, as {@code LABEL_0, LABEL_1} does: numbers stay.
 *   <li>As many names, and nine in ten or more resemble the one at their place more than any other
 *       ({@code AnnualCrop}, {@code annual crop land}): numbers stay, which a remark says.
 *   <li>Anything else is refused with both lists.
 * </ol>
 *
 * <p>Labels that are names themselves are looked up, and have to be found.
 */
public final class LabelMap {
  /** How names of data and model are matched. */
  public enum Matching {
    /** As above. */
    AUTO,
    /** As above, for a list of classes that was made for the data: any spellings will do. */
    LISTED,
    /** By name; the data may have fewer. */
    NAME,
    /** The k-th of the data is the k-th of the model, whatever they are called. */
    POSITION;

    /** By its text in an option or a configuration. */
    public static Matching parse(String text, String option) {
      for (Matching one : values()) {
        if (one.text().equals(text) && one != LISTED) {
          return one;
        }
      }
      throw new InputException(option + " " + text + ": expected auto, name or position");
    }

    public String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** A label that means none of the model's classes. */
  static final long NO_CLASS = -2;

  private static final int NAMES_SHOWN = 12;
  private static final int ALIKE_OF_TEN = 9;

  /** {@code 7}, {@code LABEL_7}, {@code class 7}. */
  private static final Pattern COUNT = Pattern.compile("(?:label|class)?(\\d{1,9})");

  private static final Pattern WORDS =
      Pattern.compile("(?<=\\p{Ll})(?=\\p{Lu})|[^\\p{L}\\p{N}]+|(?<=\\p{L})(?=\\p{N})");

  private final long @Nullable [] classes;
  private final @Nullable String remark;

  private LabelMap(long @Nullable [] classes, @Nullable String remark) {
    this.classes = classes;
    this.remark = remark;
  }

  /**
   * Compares the classes of data and model.
   *
   * @param data what the data calls its labels, if it says so
   * @param labelsAreNames {@link Examples#labelsAreNames} of the data
   * @param model what the model calls its classes, if it says so
   * @param count the number of the model's classes
   * @param where names the data and the model's classes, in messages
   * @throws InputException if they do not go together
   */
  public static LabelMap of(
      Optional<List<String>> data,
      boolean labelsAreNames,
      Optional<List<String>> model,
      int count,
      Matching matching,
      Where where) {
    if (data.isEmpty() || (matching == Matching.POSITION && data.get().size() == count)) {
      return new LabelMap(null, null);
    }
    Comparison both = new Comparison(data.get(), model.orElse(List.of()), count, where);
    if (labelsAreNames) {
      return both.ofNames(matching);
    }
    return matching == Matching.POSITION ? new LabelMap(null, null) : both.ofNumbers(matching);
  }

  /**
   * What messages call them.
   *
   * @param data a description
   * @param model where the names of the classes are from
   */
  public record Where(String data, String model) {}

  /** The class that a label means; {@link #NO_CLASS} if none. */
  long of(long label) {
    if (classes == null || label == Examples.NO_LABEL) {
      return label;
    }
    return label >= 0 && label < classes.length ? classes[(int) label] : NO_CLASS;
  }

  /** What the user should know about it. */
  public Optional<String> remark() {
    return Optional.ofNullable(remark);
  }

  private record Comparison(List<String> data, List<String> model, int count, Where where) {
    LabelMap ofNames(Matching matching) {
      int[] places = places();
      if (!model.isEmpty() && Arrays.stream(places).allMatch(place -> place >= 0)) {
        return mapped(places, null);
      }
      boolean found = Arrays.stream(places).anyMatch(place -> place >= 0);
      if (!found && data.stream().allMatch(name -> name.matches("-?\\d{1,9}"))) {
        // As datasets has it: a text that is no class name may be its number.
        return new LabelMap(data.stream().mapToLong(Long::parseLong).toArray(), null);
      }
      if (model.isEmpty()) {
        throw new InputException(
            "%s: labels are names (%s), and %s has no names for its classes: they come from"
                    .formatted(where.data, list(data), where.model)
                + " --classes, or from id2label in the config.json of a classifier");
      }
      throw different(matching);
    }

    LabelMap ofNumbers(Matching matching) {
      if (matching == Matching.NAME && !model.isEmpty()) {
        int[] places = places();
        if (Arrays.stream(places).anyMatch(place -> place < 0)) {
          throw different(matching);
        }
        return mapped(places, null);
      }
      if (data.size() != count) {
        throw different(matching);
      }
      if (model.isEmpty() || normalized(data).equals(normalized(model))) {
        return new LabelMap(null, null);
      }
      int[] places = places();
      if (Arrays.stream(places).allMatch(place -> place >= 0)) {
        return mapped(
            places,
            "%s: its classes (%s) are those of %s in another order (%s); labels are mapped by name"
                .formatted(where.data, list(data), where.model, list(model)));
      }
      if (movedName(places).isPresent()) {
        throw different(matching);
      }
      if (onlyCounts(data) || onlyCounts(model)) {
        return new LabelMap(null, null);
      }
      List<Integer> unlike = unlike();
      if (matching != Matching.LISTED
          && 10 * (data.size() - unlike.size()) < ALIKE_OF_TEN * data.size()) {
        throw different(matching);
      }
      return new LabelMap(
          null,
          "%s: its classes (%s) are spelled otherwise than those of %s (%s), and are taken to be in"
                  .formatted(where.data, list(data), where.model, list(model))
              + " the same order"
              + unlike.stream()
                  .findFirst()
                  .map(k ->
                      "; among them \"%s\" is taken for \"%s\""
                          .formatted(data.get(k), model.get(k)))
                  .orElse(""));
    }

    private static LabelMap mapped(int[] places, @Nullable String remark) {
      boolean same = true;
      for (int i = 0; i < places.length; i++) {
        same &= places[i] == i;
      }
      return new LabelMap(Arrays.stream(places).asLongStream().toArray(), same ? null : remark);
    }

    /** The place among the model's classes of each of the data's; -1 where that is not certain. */
    private int[] places() {
      int[] exact = lookUp(data, model);
      return Arrays.stream(exact).allMatch(place -> place >= 0)
          ? exact
          : lookUp(normalized(data), normalized(model));
    }

    private static int[] lookUp(List<String> names, List<String> in) {
      Map<String, Integer> places = new HashMap<>();
      for (int i = 0; i < in.size(); i++) {
        places.merge(in.get(i), i, (a, b) -> -1);
      }
      Set<String> once = new HashSet<>();
      Set<String> twice = new HashSet<>();
      names.forEach(name -> (once.add(name) ? once : twice).add(name));
      return names.stream()
          .mapToInt(name -> twice.contains(name) ? -1 : places.getOrDefault(name, -1))
          .toArray();
    }

    private static Optional<Integer> movedName(int[] places) {
      for (int i = 0; i < places.length; i++) {
        if (places[i] >= 0 && places[i] != i) {
          return Optional.of(i);
        }
      }
      return Optional.empty();
    }

    /** Names that do not resemble the model's at their place, or resemble another one more. */
    private List<Integer> unlike() {
      List<Set<String>> theirs = model.stream().map(Comparison::words).toList();
      List<Integer> unlike = new ArrayList<>();
      for (int i = 0; i < data.size(); i++) {
        Set<String> ours = words(data.get(i));
        double here = shared(ours, theirs.get(i));
        if (here == 0 || theirs.stream().anyMatch(other -> shared(ours, other) > here)) {
          unlike.add(i);
        }
      }
      return unlike;
    }

    /** Words in common, as a share of all of both. */
    private static double shared(Set<String> ours, Set<String> theirs) {
      long common = ours.stream().filter(theirs::contains).count();
      return (double) common / (ours.size() + theirs.size() - common);
    }

    private static Set<String> words(String name) {
      return WORDS
          .splitAsStream(name)
          .filter(word -> !word.isEmpty())
          .map(word -> word.toLowerCase(Locale.ROOT))
          .collect(Collectors.toSet());
    }

    private InputException different(Matching matching) {
      return new InputException(
          "%s: its %d classes (%s) are not the %d of %s%s; %s"
              .formatted(
                  where.data,
                  data.size(),
                  list(data),
                  count,
                  where.model,
                  model.isEmpty() ? "" : " (" + list(model) + ")",
                  matching == Matching.NAME
                      ? "each must be one of these"
                      : "if they mean the same in this order, say so with --match-classes position"
                          + " (match_classes=position in a configuration)"));
    }
  }

  private static String list(List<String> names) {
    return NameList.of(names, NAMES_SHOWN);
  }

  /** Whether lists of names differ in nothing but case, spaces and punctuation. */
  static boolean sameSpelling(List<String> one, List<String> other) {
    return normalized(one).equals(normalized(other));
  }

  /** Without what spellings differ in: case, spaces and punctuation. */
  private static List<String> normalized(List<String> names) {
    return names.stream()
        .map(name -> {
          String plain = name.toLowerCase(Locale.ROOT).replaceAll("[^\\p{L}\\p{N}]+", "");
          return plain.isEmpty() ? name : plain;
        })
        .toList();
  }

  /** Whether names are numbers in order, from 0 or from 1. */
  private static boolean onlyCounts(List<String> names) {
    List<String> plain = normalized(names);
    for (int from : new int[] {0, 1}) {
      boolean counts = true;
      for (int i = 0; i < plain.size(); i++) {
        Matcher matcher = COUNT.matcher(plain.get(i));
        counts &= matcher.matches() && Long.parseLong(matcher.group(1)) == i + from;
      }
      if (counts) {
        return true;
      }
    }
    return false;
  }
}
