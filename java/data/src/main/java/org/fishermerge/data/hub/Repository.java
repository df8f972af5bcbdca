package org.fishermerge.data.hub;

import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;

/**
 * A repository of the hub at one revision.
 *
 * @param kind what it holds
 * @param id {@code organisation/name}, or {@code name} alone for a few old ones
 * @param revision a branch, tag or commit, or a reference such as {@code refs/pr/3}
 */
public record Repository(Kind kind, String id, String revision) {
  /** What a repository holds, which decides its URLs and its folder in the cache. */
  public enum Kind {
    MODEL("models", "", "model"),
    DATASET("datasets", "datasets/", "data set");

    /** In API URLs and in names of cache folders. */
    final String plural;

    /** Before the id in the URLs of files and web pages. */
    final String urlPrefix;

    final String words;

    Kind(String plural, String urlPrefix, String words) {
      this.plural = plural;
      this.urlPrefix = urlPrefix;
      this.words = words;
    }
  }

  static final String MAIN = "main";

  private static final Pattern PART = Pattern.compile("[A-Za-z0-9_](?:[\\w.-]{0,94}[\\w])?");
  private static final Pattern COMMIT = Pattern.compile("[0-9a-f]{40}");

  /**
   * @throws InputException if the id or the revision cannot be one
   */
  public Repository {
    String[] parts = id.split("/", -1);
    boolean wellFormed = parts.length <= 2 && !id.contains("--") && !id.contains("..");
    for (String part : parts) {
      wellFormed &= PART.matcher(part).matches();
    }
    if (!wellFormed) {
      throw new InputException(
          "'%s' is neither an existing folder nor the id of a %s on the hub, as in %s"
              .formatted(
                  id,
                  kind.words,
                  kind == Kind.MODEL ? "openai/clip-vit-base-patch32" : "tanganke/sun397"));
    }
    if (!FileNames.isSafe(revision) || revision.startsWith("-")) {
      throw new InputException(
          "'%s' cannot be a revision of %s; give a branch, tag or commit".formatted(revision, id));
    }
  }

  /** A model, {@code id} or {@code id@revision}. */
  public static Repository model(String id) {
    return parse(Kind.MODEL, id);
  }

  /** A data set, {@code id} or {@code id@revision}. */
  public static Repository dataset(String id) {
    return parse(Kind.DATASET, id);
  }

  private static Repository parse(Kind kind, String text) {
    int at = text.indexOf('@');
    return at < 0
        ? new Repository(kind, text, MAIN)
        : new Repository(kind, text.substring(0, at), text.substring(at + 1));
  }

  /** The same repository at another revision. */
  public Repository at(String otherRevision) {
    return new Repository(kind, id, otherRevision);
  }

  /** Whether the revision is a full commit hash, thus stays the same for ever. */
  boolean isCommit() {
    return isCommit(revision);
  }

  static boolean isCommit(String text) {
    return COMMIT.matcher(text).matches();
  }

  /** For messages, for example {@code model openai/clip-vit-base-patch32 (revision main)}. */
  @Override
  public String toString() {
    return "%s %s (revision %s)".formatted(kind.words, id, revision);
  }
}
