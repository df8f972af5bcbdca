package org.fishermerge.checkpoint;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The names of a checkpoint that are one parameter: what its configuration ties, unless both names
 * are stored with different values. transformers treats these as two parameters, and so does this.
 * Data are compared when a name is asked for, and only those of names that are tied.
 */
final class SharedNames {
  private final Checkpoint checkpoint;

  /** Of the checkpoint whose ties hold where there is no configuration. */
  private final @Nullable SharedNames inherited;

  private @Nullable TiedWeights tied;
  private final Map<String, Set<String>> groups = new HashMap<>();
  private final List<String> untied = new ArrayList<>();

  SharedNames(Checkpoint checkpoint, @Nullable SharedNames inherited) {
    this.checkpoint = checkpoint;
    this.inherited = inherited;
  }

  /** Reads the configuration when first asked. */
  synchronized TiedWeights tied() {
    TiedWeights known = tied;
    if (known == null) {
      known =
          checkpoint
              .weightConfig()
              .map(TiedWeights::of)
              .orElseGet(() -> inherited == null ? TiedWeights.UNKNOWN : inherited.tied());
      tied = known;
    }
    return known;
  }

  synchronized List<String> untied() {
    return List.copyOf(untied);
  }

  /** The stored tensor that an unstored name stands for. */
  Optional<CheckpointTensor> storedAs(String name) {
    return namesOf(name).stream()
        .map(checkpoint.tensors()::get)
        .filter(tensor -> tensor != null)
        .findFirst();
  }

  /** As {@link Checkpoint#namesOf}. */
  synchronized Set<String> namesOf(String name) {
    Set<String> known = groups.get(name);
    if (known == null) {
      resolve(component(name));
      known = groups.getOrDefault(name, Set.of(name));
    }
    return known;
  }

  /** All names that ties lead to from one, the nearest first. */
  private Set<String> component(String name) {
    Set<String> reached = new LinkedHashSet<>(List.of(name));
    Queue<String> next = new ArrayDeque<>(reached);
    for (String at = next.poll(); at != null; at = next.poll()) {
      for (String partner : tied().partners(at)) {
        if (reached.add(partner)) {
          next.add(partner);
        }
      }
    }
    return reached;
  }

  /** Stored names of equal data are a group; an unstored name belongs to the nearest of them. */
  private void resolve(Set<String> component) {
    if (component.size() == 1) {
      return;
    }
    Map<String, Set<String>> byFirst = new LinkedHashMap<>();
    for (String name : checkpoint.tensors().keySet()) {
      if (component.contains(name)) {
        String first =
            byFirst.keySet().stream()
                .filter(known -> checkpoint.equal(stored(known), stored(name)))
                .findFirst()
                .orElse(name);
        byFirst.computeIfAbsent(first, any -> new LinkedHashSet<>()).add(name);
      }
    }
    byFirst.values().forEach(group -> group.forEach(name -> groups.put(name, group)));
    Map<String, Set<String>> placed = new HashMap<>();
    for (String name : component) {
      Set<String> group = groups.containsKey(name) ? null : nearest(name);
      if (group != null) {
        placed.put(name, group);
      }
    }
    placed.forEach((name, group) -> {
      group.add(name);
      groups.put(name, group);
    });
    for (String name : component) {
      groups.putIfAbsent(name, Set.of(name));
    }
    contradictions(component);
  }

  private CheckpointTensor stored(String name) {
    return checkpoint.tensor(name);
  }

  /** The group of the stored names that are fewest ties away; null if these are of several. */
  private @Nullable Set<String> nearest(String name) {
    Set<String> reached = new LinkedHashSet<>(List.of(name));
    List<String> ring = List.of(name);
    while (!ring.isEmpty()) {
      List<String> next = new ArrayList<>();
      Set<Set<String>> found = new LinkedHashSet<>();
      for (String at : ring) {
        for (String partner : tied().partners(at)) {
          if (reached.add(partner)) {
            next.add(partner);
            if (checkpoint.has(partner)) {
              found.add(groups.getOrDefault(partner, Set.of(partner)));
            }
          }
        }
      }
      if (!found.isEmpty()) {
        return found.size() == 1 ? found.iterator().next() : null;
      }
      ring = next;
    }
    return null;
  }

  private void contradictions(Set<String> component) {
    if (!tied().stated()) {
      return;
    }
    for (String name : component) {
      for (String partner : tied().partners(name)) {
        if (checkpoint.has(name)
            && checkpoint.has(partner)
            && name.compareTo(partner) < 0
            && !checkpoint.equal(stored(name), stored(partner))) {
          untied.add(
              "%s: its configuration ties %s and %s, but they are stored with different values; they"
                      .formatted(
                          checkpoint.path(),
                          Messages.quote(stored(name).name()),
                          Messages.quote(stored(partner).name()))
                  + " are taken as two parameters, as transformers does");
        }
      }
    }
  }
}
