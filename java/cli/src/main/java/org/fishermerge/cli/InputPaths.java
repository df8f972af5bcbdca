package org.fishermerge.cli;

import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Files and folders that a command reads, gathered to keep its outputs off them. */
final class InputPaths {
  private final List<Path> paths = new ArrayList<>();

  InputPaths add(@Nullable Path path) {
    if (path != null) {
      paths.add(path);
    }
    return this;
  }

  /** A path with a part after {@code #} or {@code :}, as far as it exists. */
  InputPaths add(@Nullable String source) {
    if (source != null) {
      int part = Math.max(source.lastIndexOf('#'), source.lastIndexOf(':'));
      addIfThere(source);
      addIfThere(source.substring(0, Math.max(part, 0)));
    }
    return this;
  }

  private void addIfThere(String text) {
    try {
      Path path = Path.of(text);
      if (!text.isEmpty() && Files.exists(path)) {
        paths.add(path);
      }
    } catch (InvalidPathException e) {
      // What cannot be a path is said by whoever reads it.
      return;
    }
  }

  InputPaths add(@Nullable HeadOptions head) {
    return head == null ? this : add(head.clip).add(head.source.heads).add(head.source.classes);
  }

  InputPaths add(TextOptions text) {
    return add(text.classifier).add(text.tokenizer);
  }

  List<Path> all() {
    return List.copyOf(paths);
  }
}
