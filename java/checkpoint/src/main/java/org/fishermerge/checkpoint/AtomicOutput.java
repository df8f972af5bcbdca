package org.fishermerge.checkpoint;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.channels.FileChannel;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Output that appears whole or not at all: work in {@link #temp}, then {@link #commit}.
 *
 * <p>The work happens in a private {@link WorkFolder} beside the target, thus on the same file
 * system. Committing forces everything to disk and renames it into place, then forces the parent
 * folder. {@link #close} without a commit removes every trace, and so does the end of the process
 * by SIGINT or SIGTERM; a process that is killed leaves the target as it was and the private folder
 * behind, which the next output in the same place removes.
 *
 * <p>An existing file is replaced in one step, and so is an existing folder where the system can
 * exchange two names (Linux). Elsewhere the old folder is moved aside into the private one first; a
 * crash between these two renames leaves the old one there, as {@code old}, and no target.
 *
 * <p>Not for use by several threads.
 */
public final class AtomicOutput implements AutoCloseable {
  private static final System.Logger LOGGER = System.getLogger(AtomicOutput.class.getName());

  /** Files of models, tokenizers and data sets. */
  private static final Pattern READ =
      Pattern.compile(
          "model(-\\d+-of-\\d+)?\\.safetensors|.*\\.index\\.json|(.*_)?config\\.json|tokenizer.*"
              + "|vocab\\..*|merges\\.txt|special_tokens_map\\.json|added_tokens\\.json|.*\\.parquet");

  private final Path target;
  private final boolean folder;
  private final boolean overwrite;
  private final List<Path> createdParents;
  private final WorkFolder work;
  private final Path temp;
  private boolean committed;

  private AtomicOutput(Path target, boolean folder, boolean overwrite) {
    this.target = target;
    this.folder = folder;
    this.overwrite = overwrite;
    Path absolute = target.toAbsolutePath();
    Path name = absolute.getFileName();
    Path parent = absolute.getParent();
    if (name == null
        || parent == null
        || name.toString().equals(".")
        || name.toString().equals("..")) {
      throw new InputException(target + ": is no name for an output; give a new name inside it");
    }
    if (target.startsWith("~")) {
      throw new InputException(
          target
              + ": is not written to a folder of the name ~, as only a shell replaces that, at the"
              + " start of a word; write the home folder out, or ./"
              + target);
    }
    checkTarget();
    this.createdParents = new ArrayList<>();
    try {
      createParents(parent);
      this.work = WorkFolder.in(parent);
    } catch (IOException e) {
      removeCreatedParents();
      throw new InputException(
          target + ": cannot be written: its folder " + parent + ": " + Messages.reason(e), e);
    }
    this.temp = work.path().resolve(name.toString());
    try {
      Files.createDirectory(temp);
      if (!folder) {
        // Only to see that the file system takes the name, before the work and not after it.
        Files.delete(temp);
      }
    } catch (IOException e) {
      close();
      throw Messages.cannotWrite(target, e);
    }
  }

  /**
   * Prepares the output of one file. Missing parent folders are created.
   *
   * @throws InputException if the target exists and is not to be overwritten, is something other
   *     than a file, or its folder cannot be written
   */
  public static AtomicOutput file(Path target, boolean overwrite) {
    return new AtomicOutput(target, false, overwrite);
  }

  /**
   * Prepares the output of a folder. Missing parent folders are created.
   *
   * @throws InputException if the target exists and is not to be overwritten, is something other
   *     than a folder, or its parent cannot be written; also if an existing folder does not look
   *     like a model (neither empty nor holding a safetensors file), so that a slip cannot delete a
   *     home directory
   */
  public static AtomicOutput folder(Path target, boolean overwrite) {
    return new AtomicOutput(target, true, overwrite);
  }

  /**
   * Removes what killed processes left behind directly in a folder. Outputs do that themselves
   * where they are written; this is for folders in which nothing is going to be written any more.
   */
  public static void removeLeftovers(Path folder) {
    WorkFolder.removeDead(folder);
  }

  /**
   * Refuses an output that is, is inside, or contains one of the inputs: replacing it would destroy
   * what is being read.
   *
   * @throws InputException naming both
   */
  public static void requireApart(Path target, Collection<Path> inputs) {
    Path output = realOrAbsolute(target);
    for (Path input : inputs) {
      Path source = realOrAbsolute(input);
      if (output.startsWith(source) || source.startsWith(output)) {
        throw new InputException(
            target
                + ": the output must lie apart from the input "
                + input
                + "; name another place");
      }
    }
  }

  /**
   * Refuses an output that is or contains one of the inputs, which would be gone when it is
   * replaced.
   *
   * @throws InputException naming both
   */
  public static void requireNotOver(Path target, Collection<Path> inputs) {
    Path output = realOrAbsolute(target);
    for (Path input : inputs) {
      if (realOrAbsolute(input).startsWith(output)) {
        throw new InputException(
            target
                + ": is not overwritten, because the input "
                + input
                + " is it or lies in it; name another place");
      }
    }
  }

  /**
   * Refuses a file that exists and is one of the inputs, or one that is read in a folder among
   * them: replacing it would destroy what is read. Another file in the folder of a model is fine.
   *
   * @throws InputException naming both
   */
  public static void requireNoInput(Path target, Collection<Path> inputs) {
    if (Files.exists(target)) {
      Path output = realOrAbsolute(target);
      for (Path input : inputs) {
        Path read = realOrAbsolute(input);
        if (output.equals(read)
            || (output.startsWith(read)
                && READ.matcher(target.getFileName().toString()).matches())) {
          throw new InputException(
              target
                  + ": is not overwritten, because it is read too ("
                  + input
                  + "); name another place");
        }
      }
    }
  }

  /**
   * Refuses outputs of one command that are the same or lie in one another: the later would replace
   * the earlier.
   *
   * @throws InputException naming both
   */
  public static void requireDistinct(List<Path> outputs) {
    for (int i = 0; i < outputs.size(); i++) {
      Path one = realOrAbsolute(outputs.get(i));
      for (Path other : outputs.subList(i + 1, outputs.size())) {
        Path another = realOrAbsolute(other);
        if (one.startsWith(another) || another.startsWith(one)) {
          throw new InputException(
              other
                  + (one.equals(another)
                      ? ": is to be written twice, as different outputs; name another place for one"
                      : ": one output lies in another, "
                          + outputs.get(i)
                          + ", which is written whole; name a place outside"));
        }
      }
    }
  }

  /** Links resolved as far as the path exists. */
  private static Path realOrAbsolute(Path path) {
    Path absolute = path.toAbsolutePath().normalize();
    for (Path existing = absolute; existing != null; existing = existing.getParent()) {
      if (Files.exists(existing)) {
        try {
          return existing.toRealPath().resolve(existing.relativize(absolute)).normalize();
        } catch (IOException e) {
          throw Messages.cannotRead(existing, e);
        }
      }
    }
    return absolute;
  }

  private void checkTarget() {
    if (!Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    if (Files.isSymbolicLink(target)) {
      throw new InputException(target + ": is a symbolic link; name the place it leads to instead");
    }
    boolean directory = Files.isDirectory(target);
    if (folder && !directory) {
      throw new InputException(target + ": is a file, where a folder is to be written");
    }
    if (!folder && directory) {
      throw new InputException(target + ": is a folder, where a file is to be written");
    }
    if (!folder && !Files.isRegularFile(target)) {
      throw new InputException(target + ": is a pipe, device or socket, not a place for a file");
    }
    if (!overwrite) {
      throw new InputException(
          target + ": exists already; choose another name, or overwrite it (--overwrite)");
    }
    if (folder && !isReplaceable(target)) {
      throw new InputException(
          target
              + ": is not overwritten, because it does not look like a model: it has no"
              + " .safetensors file; delete it yourself if that is meant");
    }
  }

  private static boolean isReplaceable(Path existing) {
    try (Stream<Path> entries = Files.list(existing)) {
      List<Path> all = entries.toList();
      return all.isEmpty()
          || all.stream().anyMatch(entry -> entry.toString().endsWith(".safetensors"));
    } catch (IOException e) {
      throw Messages.cannotRead(existing, e);
    }
  }

  private void createParents(Path parent) throws IOException {
    List<Path> missing = new ArrayList<>();
    Path existing = parent;
    while (existing != null && !Files.exists(existing)) {
      missing.addFirst(existing);
      existing = existing.getParent();
    }
    if (existing != null && !Files.isDirectory(existing)) {
      throw new InputException(
          target + ": cannot be written: " + existing + " is a file, not a folder");
    }
    for (Path folderToCreate : missing) {
      Files.createDirectory(folderToCreate);
      createdParents.add(folderToCreate);
    }
  }

  /**
   * Where to work: for a file, a path at which nothing exists yet; for a folder, an empty folder.
   */
  public Path temp() {
    return temp;
  }

  /**
   * Writes a text as the whole of the file, in UTF-8; {@link #commit} still has to follow.
   *
   * @throws InputException naming the file, if the disk reports an error
   */
  public void write(String text) {
    try {
      Files.writeString(temp, text);
    } catch (IOException e) {
      throw Messages.cannotWrite(target, e);
    }
  }

  /**
   * Puts the output in its place for good, also on a thread that is interrupted, whose status stays
   * what it was: the work is done, and a folder that could not be forced might be lost.
   *
   * @throws InputException if the disk reports an error, or the target has come into being
   *     meanwhile
   * @throws CancellationException if the thread is interrupted during the call, before the output
   *     is in its place
   */
  public void commit() {
    if (committed) {
      throw new IllegalStateException("committed already");
    }
    boolean interrupted = Thread.interrupted();
    try {
      forceTree(temp);
      WorkFolder.whileNotEnding(() -> {
        // Another process may have written the target since the first check.
        checkTarget();
        publish();
        committed = true;
      });
      forceFolder(target.toAbsolutePath().getParent());
      for (Path created : createdParents) {
        forceFolder(created.getParent());
      }
    } catch (IOException e) {
      throw Messages.cannotWrite(target, e);
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
    work.close();
  }

  private void publish() throws IOException {
    if (!folder || !Files.exists(target)) {
      Files.move(temp, target, StandardCopyOption.ATOMIC_MOVE);
    } else if (!Posix.exchange(temp, target)) {
      replace(target, temp, work.path().resolve("old"));
    }
  }

  /** Two renames, for systems that cannot exchange names; undone if the second fails. */
  static void replace(Path existing, Path replacement, Path aside) throws IOException {
    Files.move(existing, aside, StandardCopyOption.ATOMIC_MOVE);
    try {
      Files.move(replacement, existing, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      Files.move(aside, existing, StandardCopyOption.ATOMIC_MOVE);
      throw e;
    }
  }

  /** Contents before the folder that lists them. */
  private static void forceTree(Path root) throws IOException {
    Files.walkFileTree(
        root,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            if (attributes.isRegularFile()) {
              try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
                channel.force(true);
              }
            }
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path visited, @Nullable IOException e)
              throws IOException {
            forceFolder(visited);
            return super.postVisitDirectory(visited, e);
          }
        });
  }

  private static void forceFolder(@Nullable Path forced) {
    if (forced == null) {
      return;
    }
    try (FileChannel channel = FileChannel.open(forced, StandardOpenOption.READ)) {
      channel.force(true);
    } catch (IOException e) {
      // Some network file systems cannot force a folder; the rename has happened all the same.
      LOGGER.log(Level.DEBUG, () -> "cannot force the folder " + forced, e);
    }
  }

  /** Removes the temporary output unless it was committed. Closing twice is harmless. */
  @Override
  public void close() {
    if (!committed) {
      work.close();
      removeCreatedParents();
    }
  }

  private void removeCreatedParents() {
    for (Path created : createdParents.reversed()) {
      try {
        Files.deleteIfExists(created);
      } catch (IOException e) {
        // Someone else has put something there: it stays.
        LOGGER.log(Level.DEBUG, "keeping " + created, e);
      }
    }
    createdParents.clear();
  }
}
