package org.fishermerge.checkpoint;

import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;

/**
 * Two checkpoints of one model whose names differ by the name of an outer module: {@code
 * model.encoder...} and {@code encoder...}. It is seen through where that is unambiguous: no name
 * agrees as it is, and under one prefix at least half of the parameters do, in name and shape.
 */
final class OuterPrefix {
  /** Prefixes of a model's names that are tried, by number of modules. */
  private static final int DEPTH = 3;

  /** One way to rename. */
  private record Way(boolean takenOff, String prefix) {
    UnaryOperator<String> naming() {
      return takenOff ? name -> name.substring(prefix.length()) : name -> prefix + name;
    }
  }

  private OuterPrefix() {}

  /** The tensors under the names of {@code like}, or as they are. */
  static Map<String, CheckpointTensor> match(
      Path path,
      Map<String, CheckpointTensor> tensors,
      Map<String, CheckpointTensor> like,
      List<String> notes) {
    List<CheckpointTensor> parameters =
        tensors.values().stream().filter(tensor -> !tensor.info().dtype().isInteger()).toList();
    if (parameters.isEmpty()
        || parameters.stream().anyMatch(tensor -> like.containsKey(tensor.canonicalName()))) {
      return tensors;
    }
    Map<Way, Integer> agreeing = new HashMap<>();
    for (Way way : ways(parameters, like)) {
      int agree = 0;
      for (CheckpointTensor tensor : parameters) {
        CheckpointTensor other = like.get(renamed(tensor, way));
        agree += other != null && other.info().shape().equals(tensor.info().shape()) ? 1 : 0;
      }
      agreeing.put(way, agree);
    }
    int most = agreeing.values().stream().mapToInt(n -> n).max().orElse(0);
    List<Way> best =
        agreeing.entrySet().stream()
            .filter(entry -> entry.getValue() == most)
            .map(Map.Entry::getKey)
            .toList();
    if (2 * most < parameters.size() || best.size() != 1) {
      return tensors;
    }
    Way way = best.getFirst();
    Map<String, CheckpointTensor> renamed = new LinkedHashMap<>();
    for (CheckpointTensor tensor : tensors.values()) {
      boolean fits = !way.takenOff() || tensor.name().startsWith(way.prefix());
      String name = fits ? renamed(tensor, way) : tensor.canonicalName();
      CheckpointTensor known =
          new CheckpointTensor(name, tensor.name(), tensor.info(), tensor.file());
      if (renamed.put(name, known) != null) {
        return tensors;
      }
    }
    notes.add(
        way.takenOff()
            ? "%s: all its names begin with \"%s\", which the base's do not; it is taken off"
                .formatted(path, way.prefix())
            : "%s: its names lack the \"%s\" that the base's begin with; it is put before them"
                .formatted(path, way.prefix()));
    return Collections.unmodifiableMap(renamed);
  }

  private static String renamed(CheckpointTensor tensor, Way way) {
    return ParameterNames.canonical(way.naming().apply(tensor.name()));
  }

  private static Set<Way> ways(
      List<CheckpointTensor> parameters, Map<String, CheckpointTensor> like) {
    Set<Way> ways = new LinkedHashSet<>();
    for (String prefix : prefixes(parameters.getFirst().name())) {
      if (parameters.stream().allMatch(tensor -> tensor.name().startsWith(prefix))) {
        ways.add(new Way(true, prefix));
      }
    }
    for (CheckpointTensor tensor : like.values()) {
      for (String prefix : prefixes(tensor.name())) {
        ways.add(new Way(false, prefix));
        if (ways.size() > 64) {
          return ways; // more modules at the top than a model has
        }
      }
    }
    return ways;
  }

  private static Set<String> prefixes(String name) {
    Set<String> prefixes = new LinkedHashSet<>();
    int dot = name.indexOf('.');
    for (int depth = 0; depth < DEPTH && dot >= 0; depth++) {
      prefixes.add(name.substring(0, dot + 1));
      dot = name.indexOf('.', dot + 1);
    }
    return prefixes;
  }
}
