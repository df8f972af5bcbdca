package org.fishermerge.data.hub;

import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * A repository of the hub, or a folder or file in it, as it is written in place of a folder on this
 * machine: {@code OWNER/NAME}, {@code OWNER/NAME@REVISION}, {@code OWNER/NAME@REVISION/SUB/FOLDER}.
 * The same may follow {@code hf://}, where {@code OWNER/NAME/SUB/FOLDER} does as well; this is how
 * Python's {@code huggingface_hub} writes it, a slash in a branch's name as {@code %2F} too.
 *
 * @param path of the folder or file in the repository; empty for all of it
 */
public record HubName(Repository repository, String path) {
  private static final Pattern ID =
      Pattern.compile("[A-Za-z0-9_][\\w.-]*(?:/[A-Za-z0-9_][\\w.-]*)?");

  /** Revisions that have slashes. */
  private static final Pattern REFERENCE = Pattern.compile("(refs/(?:convert|pr)/[^/]+)(?:/(.*))?");

  /** What no repository's name ends in, but files do. */
  private static final Pattern FILE =
      Pattern.compile(
          "(?i).*\\.(safetensors|json|parquet|bin|pt|pth|ckpt|gguf|h5|npz|msgpack|zip)");

  /**
   * Reads a name.
   *
   * @return empty for what can only be a path on this machine: one that begins with a point, a
   *     slash or {@code ~}, ends like a file, or has more than one slash and neither a revision nor
   *     {@code hf://}
   * @throws InputException for a repository's name with a revision or path that cannot be one
   */
  public static Optional<HubName> parse(Repository.Kind kind, String text) {
    boolean explicit = text.startsWith("hf:/");
    String name = explicit ? text.substring(3).replaceAll("^/+", "") : text;
    if (explicit && kind == Repository.Kind.DATASET) {
      name = name.replaceAll("^datasets/", "");
    }
    int at = name.indexOf('@');
    // Behind the second slash it is part of a file's name.
    if (at >= 0 && name.substring(0, at).chars().filter(c -> c == '/').count() < 2) {
      String id = name.substring(0, at);
      if (!ID.matcher(id).matches()) {
        if (explicit) {
          throw new InputException(
              "'%s' names no repository of the hub; expected hf://OWNER/NAME@REVISION/PATH"
                  .formatted(text));
        }
        return Optional.empty();
      }
      String rest = name.substring(at + 1);
      Matcher reference = REFERENCE.matcher(rest);
      int slash = rest.indexOf('/');
      String revision =
          reference.matches() ? reference.group(1) : slash < 0 ? rest : rest.substring(0, slash);
      String path =
          reference.matches()
              ? (reference.group(2) == null ? "" : reference.group(2))
              : slash < 0 ? "" : rest.substring(slash + 1);
      return Optional.of(of(kind, id, revision.replace("%2F", "/"), path));
    }
    String[] parts = name.split("/", 3);
    if (explicit) {
      return Optional.of(
          parts.length < 2
              ? of(kind, name, Repository.MAIN, "")
              : of(
                  kind,
                  parts[0] + "/" + parts[1],
                  Repository.MAIN,
                  parts.length == 3 ? parts[2] : ""));
    }
    return ID.matcher(name).matches() && !FILE.matcher(name).matches()
        ? Optional.of(of(kind, name, Repository.MAIN, ""))
        : Optional.empty();
  }

  /**
   * Writes what {@link #parse} reads, of a name that may be a folder's on this machine as well. A
   * folder there is has no revisions.
   */
  public static String write(String id, @Nullable String revision, @Nullable String path) {
    boolean main = revision == null || revision.equals(Repository.MAIN);
    String below = path == null ? "" : path.replaceAll("^\\./|/+$", "");
    boolean here;
    try {
      here = Files.exists(Path.of(id));
    } catch (InvalidPathException e) {
      here = false;
    }
    if (here || (main && below.isEmpty())) {
      return below.isEmpty() ? id : id + "/" + below;
    }
    String at = revision == null ? Repository.MAIN : revision;
    boolean reference = REFERENCE.matcher(at).matches();
    return id
        + "@"
        + (reference ? at : at.replace("/", "%2F"))
        + (below.isEmpty() ? "" : "/" + below);
  }

  private static HubName of(Repository.Kind kind, String id, String revision, String path) {
    String below = path.replaceAll("/+$", "");
    if (!below.isEmpty() && !FileNames.isSafe(below)) {
      throw new InputException("'%s' is no path in the repository %s".formatted(path, id));
    }
    return new HubName(new Repository(kind, id, revision), below);
  }

  /** Without what is on the hub only: the repository's id and the path in it. */
  public String local() {
    return path.isEmpty() ? repository.id() : repository.id() + "/" + path;
  }

  /** For messages. */
  @Override
  public String toString() {
    return (path.isEmpty() ? "" : path + " of ") + repository;
  }
}
