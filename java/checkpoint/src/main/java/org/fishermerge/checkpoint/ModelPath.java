package org.fishermerge.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What a user named as a model: a folder or file, or {@code BASE+ADAPTER}, a model and a LoRA
 * adapter that is applied to it while it is read. An existing path with a plus in its name is that
 * path.
 *
 * @param given as the user gave it
 * @param base the stored model
 * @param adapter the adapter's folder or file; null for none
 */
public record ModelPath(Path given, Path base, @Nullable Path adapter) {
  /**
   * Takes apart what a user named.
   *
   * @throws InputException if it is an adapter whose base is not told, or a part of {@code
   *     BASE+ADAPTER} is missing or no adapter
   */
  public static ModelPath of(Path given) {
    return of(given, null);
  }

  /**
   * The same, with a model at hand that may be an adapter's base.
   *
   * @param near used where the adapter's configuration names a model of that name and there is none
   *     in that place
   */
  public static ModelPath of(Path given, @Nullable Path near) {
    if (Files.exists(given)) {
      if (!LoraAdapter.isAdapter(given)) {
        return new ModelPath(given, given, null);
      }
      if (Files.isDirectory(given) && LoraAdapter.hasModel(given)) {
        throw new InputException(
            given
                + ": holds a whole model ("
                + WeightFiles.SINGLE_FILE
                + ") and a LoRA adapter ("
                + LoraAdapter.WEIGHTS
                + "); name the file that is meant, or BASE+"
                + given.resolve(LoraAdapter.WEIGHTS));
      }
      return new ModelPath(given, baseOf(given, near), given);
    }
    String text = given.toString();
    for (int plus = text.indexOf('+'); plus >= 0; plus = text.indexOf('+', plus + 1)) {
      if (plus == 0 || plus == text.length() - 1) {
        continue;
      }
      Path base = Path.of(text.substring(0, plus));
      Path adapter = Path.of(text.substring(plus + 1));
      if (Files.exists(base) && Files.exists(adapter)) {
        if (LoraAdapter.isAdapter(base) && !LoraAdapter.isAdapter(adapter)) {
          throw new InputException(
              given + ": the model comes first, BASE+ADAPTER: write " + adapter + "+" + base);
        }
        if (LoraAdapter.isAdapter(base)) {
          throw new InputException(
              given + ": " + base + " is an adapter too; expected BASE+ADAPTER, a model first");
        }
        return new ModelPath(given, base, adapter);
      }
    }
    for (int plus = text.indexOf('+'); plus > 0; plus = text.indexOf('+', plus + 1)) {
      Path base = Path.of(text.substring(0, plus));
      if (plus < text.length() - 1 && Files.exists(base)) {
        Path adapter = Path.of(text.substring(plus + 1));
        throw new InputException(
            given
                + ": no such file or folder; and as BASE+ADAPTER, "
                + base
                + " is there but not "
                + adapter
                + (text.indexOf('+', plus + 1) > 0
                    ? " (one adapter is applied; for more, average or merge one after the other)"
                    : ""));
      }
    }
    return new ModelPath(given, given, null);
  }

  private static Path baseOf(Path adapter, @Nullable Path near) {
    LoraAdapter opened = LoraAdapter.open(adapter);
    Optional<String> name = opened.baseModel();
    String advice =
        "name it as BASE+ADAPTER, for example --model BASE+" + adapter + " with the base's folder";
    if (name.isEmpty()) {
      throw new InputException(
          adapter + ": is a LoRA adapter whose configuration names no base model; " + advice);
    }
    Path folder = Files.isDirectory(adapter) ? adapter : adapter.resolveSibling("");
    return Stream.of(path(name.get()), path(folder.resolveSibling("").resolve(name.get())))
        .flatMap(Optional::stream)
        .filter(path -> Files.exists(path) && !LoraAdapter.isAdapter(path))
        .findFirst()
        .or(() -> Optional.ofNullable(near).filter(path -> isNamed(path, name.get())))
        .orElseThrow(() ->
            new InputException(
                adapter
                    + ": is a LoRA adapter of "
                    + Messages.quote(name.get())
                    + " (base_model_name_or_path), which is no folder here; "
                    + advice));
  }

  private static Optional<Path> path(Object text) {
    try {
      return Optional.of(Path.of(text.toString()));
    } catch (InvalidPathException e) {
      return Optional.empty();
    }
  }

  /** Whether a folder has the name of a model on the hub, or lies in the hub's cache under it. */
  private static boolean isNamed(Path folder, String id) {
    String name = id.substring(id.lastIndexOf('/') + 1);
    String cached = "models--" + id.replace("/", "--");
    Path real = real(folder);
    if (Objects.toString(real.getFileName(), "").equals(name)) {
      return true;
    }
    for (Path part : real) {
      if (part.toString().equals(cached)) {
        return true;
      }
    }
    return false;
  }

  /** The stored model and the adapter, as far as there are. */
  public List<Path> parts() {
    return adapter == null ? List.of(base) : List.of(base, adapter);
  }

  /**
   * The same for two names of one model.
   *
   * @throws InputException if a part cannot be read
   */
  public List<Path> identity() {
    return parts().stream().map(ModelPath::real).toList();
  }

  private static Path real(Path path) {
    try {
      return path.toRealPath();
    } catch (IOException e) {
      throw Messages.cannotRead(path, e);
    }
  }
}
