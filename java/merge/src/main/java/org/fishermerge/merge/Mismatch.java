package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.NamingScheme;

/**
 * What to tell the user when an input lacks parameters or has them in other shapes. Excluding is
 * advised where it is a head or another part of its own; where most differ, how names differ says
 * more.
 */
final class Mismatch {
  private static final int EXAMPLES_SHOWN = 3;

  /** More parts than this to exclude are no advice. */
  private static final int PARTS = 3;

  private Mismatch() {}

  /**
   * An input that lacks parameters which others have.
   *
   * @param lacking its path
   * @param names of everything it stores
   * @param missing the base's tensors that it lacks
   * @param merged all of the base's tensors that are to be merged
   * @param covering an input that has the first of them
   */
  static InputException missing(
      Path lacking,
      Collection<CheckpointTensor> names,
      List<CheckpointTensor> missing,
      List<CheckpointTensor> merged,
      Checkpoint base,
      Path covering) {
    String first = missing.getFirst().name();
    String what =
        missing.size() == 1
            ? "has no tensor '" + first + "', but " + covering + " has one"
            : String.format(
                Locale.ROOT,
                "lacks %,d of the %,d parameters that %s has, such as %s",
                missing.size(),
                merged.size(),
                covering,
                examples(missing));
    List<String> parts = parts(missing, merged);
    if ((2 * missing.size() <= merged.size() && parts.size() <= PARTS) || missing.size() == 1) {
      return new InputException(
          lacking
              + " "
              + what
              + ": a parameter is merged from all models or from none. To keep the base's values,"
              + " exclude them: "
              + exclude(missing.size() == 1 ? List.of(first) : parts));
    }
    return new InputException(lacking + " " + what + ": " + difference(names, base));
  }

  /** How names differ, where it is not a matter of a few. */
  static String difference(Collection<CheckpointTensor> names, Checkpoint base) {
    String scheme =
        NamingScheme.of(names.stream().map(CheckpointTensor::name).toList())
            .map(text -> " It has the names of " + text + ".")
            .orElse("");
    String baseScheme =
        NamingScheme.of(base.tensors().values().stream().map(CheckpointTensor::name).toList())
            .map(text -> " The base has the names of " + text + ".")
            .orElse("");
    return "its names are like "
        + examples(names)
        + ", those of the base "
        + base.path()
        + " like "
        + examples(base.tensors().values())
        + "."
        + scheme
        + baseScheme
        + (scheme.isEmpty() && baseScheme.isEmpty() ? " Are they of the same architecture?" : "");
  }

  /**
   * A tensor of another shape.
   *
   * @param different all tensors of the base whose shapes differ in that input
   */
  static InputException shape(
      CheckpointTensor base,
      CheckpointTensor found,
      List<CheckpointTensor> different,
      List<CheckpointTensor> merged) {
    List<Long> expected = base.info().shape();
    boolean transposed = found.info().shape().reversed().equals(expected);
    List<String> parts = parts(different, merged);
    boolean excludable =
        different.size() == 1
            || (2 * different.size() <= merged.size() && different.size() <= 2 * PARTS);
    return new InputException(
        found.file()
            + ": tensor '"
            + found.info().name()
            + "' has shape "
            + found.info().shapeText()
            + ", but "
            + base.file()
            + " has "
            + base.info().shapeText()
            + (transposed ? ": it looks transposed." : ": models of one architecture are needed.")
            + (excludable
                ? " To keep the base's values, exclude "
                    + (different.size() == 1 ? "it: " : "what differs: ")
                    + exclude(
                        parts.size() <= PARTS && different.size() > 1
                            ? parts
                            : different.stream().map(CheckpointTensor::name).toList())
                : String.format(
                    Locale.ROOT,
                    " So it is with %,d of %,d tensors: it is a model of another size",
                    different.size(),
                    merged.size())));
  }

  /** The topmost modules of which the input has nothing, or single tensors. */
  private static List<String> parts(List<CheckpointTensor> missing, List<CheckpointTensor> merged) {
    Set<String> lacking = missing.stream().map(CheckpointTensor::name).collect(Collectors.toSet());
    Set<String> present =
        merged.stream()
            .map(CheckpointTensor::name)
            .filter(name -> !lacking.contains(name))
            .collect(Collectors.toSet());
    Set<String> parts = new LinkedHashSet<>();
    for (CheckpointTensor tensor : missing) {
      String name = tensor.name();
      String part = name;
      for (int dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
        String module = name.substring(0, dot + 1);
        if (present.stream().noneMatch(other -> other.startsWith(module))) {
          part = module;
          break;
        }
      }
      parts.add(part);
    }
    return new ArrayList<>(parts);
  }

  /** As a shell takes it. */
  static String exclude(Collection<String> names) {
    return names.stream()
        .map(name -> "--exclude '" + name.replace(".", "\\.") + (name.endsWith(".") ? "'" : "$'"))
        .collect(Collectors.joining(" "));
  }

  static String examples(Collection<CheckpointTensor> tensors) {
    return NameList.of(
        tensors.stream().map(tensor -> "'" + tensor.info().name() + "'").toList(), EXAMPLES_SHOWN);
  }
}
