package org.fishermerge.checkpoint;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What programs that train put before the names of a model's parameters, or into them. Such a name
 * is none of the model's own: it is taken off, and said.
 */
final class Wrappers {
  /** Never a module's own name, wherever they stand. */
  private static final Map<String, String> ANYWHERE =
      Map.of(
          "_orig_mod", "a compiled model",
          "_fsdp_wrapped_module", "a model wrapped by FSDP",
          "_checkpoint_wrapped_module", "activation checkpointing",
          "_forward_module", "a model wrapped by Fabric or Lightning",
          "_dp_wrapped_module", "data-parallel training");

  /** Wrappers only where every name begins so. */
  private static final Map<String, String> LEADING =
      Map.of(
          "module.", "a model wrapped for data-parallel training or averaging",
          "_module.", "a model wrapped for private training",
          "base_model.model.", "PEFT");

  private Wrappers() {}

  /**
   * The names without wrappers.
   *
   * @param tensors of all files of a checkpoint
   * @param notes receives a sentence for the user for each kind of wrapper that was taken off
   * @return stored name to plain name; nothing where no name has a wrapper
   */
  static Map<String, String> plainNames(
      Path path, Collection<TensorInfo> tensors, List<String> notes) {
    if (tensors.stream().noneMatch(tensor -> suspicious(tensor.name()))) {
      return Map.of();
    }
    Map<String, String> plain = new LinkedHashMap<>();
    tensors.forEach(tensor -> plain.put(tensor.name(), tensor.name()));
    Set<String> found = new LinkedHashSet<>();
    boolean again = true;
    while (again) {
      again = takeSegments(plain, found) || takeLeading(plain, tensors, found);
    }
    for (String wrapper : found) {
      notes.add(
          "%s: its names hold \"%s\", which %s leaves there; it is taken off"
              .formatted(
                  path,
                  wrapper,
                  ANYWHERE.getOrDefault(
                      wrapper.substring(0, wrapper.length() - 1),
                      LEADING.getOrDefault(wrapper, ""))));
    }
    return plain;
  }

  /** Most checkpoints have no such name, and cost one look at each. */
  private static boolean suspicious(String name) {
    return name.startsWith("module.")
        || name.startsWith("base_model.")
        || name.startsWith("_")
        || name.contains("._");
  }

  private static boolean takeSegments(Map<String, String> plain, Set<String> found) {
    boolean taken = false;
    for (Map.Entry<String, String> entry : plain.entrySet()) {
      List<String> kept = new ArrayList<>();
      for (String segment : entry.getValue().split("\\.", -1)) {
        if (ANYWHERE.containsKey(segment)) {
          found.add(segment + ".");
          taken = true;
        } else {
          kept.add(segment);
        }
      }
      entry.setValue(String.join(".", kept));
    }
    return taken;
  }

  /** Integer tensors may stand outside: what counts the averaged models, for example. */
  private static boolean takeLeading(
      Map<String, String> plain, Collection<TensorInfo> tensors, Set<String> found) {
    for (String prefix : LEADING.keySet()) {
      boolean everywhere = true;
      boolean anywhere = false;
      for (TensorInfo tensor : tensors) {
        boolean here = plain.getOrDefault(tensor.name(), "").startsWith(prefix);
        anywhere |= here;
        everywhere &= here || tensor.dtype().isInteger();
      }
      if (everywhere && anywhere) {
        plain.replaceAll(
            (stored, name) -> name.startsWith(prefix) ? name.substring(prefix.length()) : name);
        found.add(prefix);
        return true;
      }
    }
    return false;
  }
}
