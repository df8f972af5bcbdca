package org.fishermerge.checkpoint;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.time.Instant;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A private folder {@code .fisher-merge-PID-*} for output that is not ready. It is gone when
 * closed, and when the process is told to end (SIGINT, SIGTERM). A process that is killed leaves it
 * behind, for the next one that works in the same place to recognise and remove: its owner is noted
 * in a file that the owner keeps locked.
 */
final class WorkFolder implements AutoCloseable {
  private static final System.Logger LOGGER = System.getLogger(WorkFolder.class.getName());
  private static final Pattern NAME = Pattern.compile("\\.fisher-merge-(\\d+)-\\d+");
  private static final String OWNER = ".fisher-merge-owner";

  /** After that long a folder of an unknown machine, or without an owner, is taken for dead. */
  private static final Duration STALE = Duration.ofDays(1);

  private static final int DELETE_ATTEMPTS = 5;

  /** Guards the two below, and is held while an output is put in its place. */
  private static final Object ENDING_LOCK = new Object();

  private static final Set<WorkFolder> LIVE = new HashSet<>();
  private static boolean ending;

  static {
    Runtime.getRuntime()
        .addShutdownHook(
            Thread.ofPlatform().name("fisher-merge-cleanup").unstarted(WorkFolder::removeAll));
  }

  private final Path path;
  private final FileChannel owner;

  /** A step that puts output in its place. */
  interface Step {
    void run() throws IOException;
  }

  private WorkFolder(Path path, FileChannel owner) {
    this.path = path;
    this.owner = owner;
  }

  /** Creates a folder in {@code parent}, after removing those of dead processes there. */
  static WorkFolder in(Path parent) throws IOException {
    removeDead(parent);
    synchronized (ENDING_LOCK) {
      requireNotEnding();
      // Created with permissions for the owner only; what is made inside has the usual ones.
      Path path =
          Files.createTempDirectory(parent, ".fisher-merge-" + ProcessHandle.current().pid() + "-");
      FileChannel owner = null;
      try {
        owner =
            FileChannel.open(
                path.resolve(OWNER), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
        lock(owner);
        owner.write(ByteBuffer.wrap(describe().getBytes(StandardCharsets.UTF_8)));
      } catch (IOException e) {
        if (owner != null) {
          owner.close();
        }
        delete(path);
        throw e;
      }
      WorkFolder folder = new WorkFolder(path, owner);
      LIVE.add(folder);
      return folder;
    }
  }

  Path path() {
    return path;
  }

  /** Runs a step that must not overlap with the removal of the folder as the process ends. */
  static void whileNotEnding(Step step) throws IOException {
    synchronized (ENDING_LOCK) {
      requireNotEnding();
      step.run();
    }
  }

  private static void requireNotEnding() {
    if (ending) {
      throw new InputException("stopped; nothing was left behind");
    }
  }

  private static void removeAll() {
    List<WorkFolder> live;
    synchronized (ENDING_LOCK) {
      ending = true;
      live = List.copyOf(LIVE);
    }
    live.forEach(WorkFolder::remove);
  }

  @Override
  public void close() {
    synchronized (ENDING_LOCK) {
      if (!LIVE.remove(this)) {
        return;
      }
    }
    remove();
  }

  private void remove() {
    try {
      if (Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
        delete(path);
      }
      owner.close();
    } catch (IOException e) {
      LOGGER.log(Level.WARNING, "cannot remove " + path + ", which may be deleted by hand", e);
    }
  }

  // ---- folders of dead processes ----

  private static void removeDead(Path parent) {
    try (Stream<Path> entries = Files.list(parent)) {
      for (Path entry : entries.toList()) {
        Matcher name = NAME.matcher(entry.getFileName().toString());
        if (name.matches()
            && Files.isDirectory(entry, LinkOption.NOFOLLOW_LINKS)
            && isDead(entry, Long.parseLong(name.group(1)))) {
          delete(entry);
        }
      }
    } catch (IOException | RuntimeException e) {
      // Tidying is no reason to fail; another process may be tidying the same folder.
      LOGGER.log(Level.DEBUG, "while looking for leftovers in " + parent, e);
    }
  }

  /**
   * Whether the process that made a folder has ended. Both its lock and its number must say so:
   * some network file systems grant every lock, and numbers are used again.
   */
  private static boolean isDead(Path folder, long pid) throws IOException {
    Path owner = folder.resolve(OWNER);
    if (pid == ProcessHandle.current().pid()) {
      // Opening and closing our own owner file would give up its lock.
      String known = Files.exists(owner) ? Files.readString(owner) : describe();
      return !known.equals(describe()) && sameSystem(known);
    }
    if (!Files.exists(owner)) {
      return isStale(folder);
    }
    String text;
    try (FileChannel channel =
            FileChannel.open(owner, StandardOpenOption.READ, StandardOpenOption.WRITE);
        FileLock lock = channel.tryLock()) {
      if (lock == null) {
        return false;
      }
      text = Files.readString(owner);
    } catch (OverlappingFileLockException e) {
      return false;
    }
    if (!sameSystem(text)) {
      return isStale(folder);
    }
    return !text.equals(describe(ProcessHandle.of(pid).orElse(null), pid));
  }

  private static boolean isStale(Path folder) throws IOException {
    Instant modified = Files.getLastModifiedTime(folder).toInstant();
    return modified.isBefore(Instant.now().minus(STALE));
  }

  private static boolean sameSystem(String description) {
    String system = system();
    return !system.isEmpty() && description.startsWith(system + "\n");
  }

  private static String describe() {
    return describe(ProcessHandle.current(), ProcessHandle.current().pid());
  }

  /** System, number and start: of all processes ever, one alone has them. */
  private static String describe(@Nullable ProcessHandle process, long pid) {
    String start =
        process == null
            ? "ended"
            : process.info().startInstant().map(Instant::toString).orElse("unknown");
    return system() + "\n" + pid + "\n" + start + "\n";
  }

  /** This start of this machine, and the container in it; empty where the system does not say. */
  private static String system() {
    try {
      return Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip()
          + " "
          + Files.readSymbolicLink(Path.of("/proc/self/ns/pid"));
    } catch (IOException | UnsupportedOperationException e) {
      return "";
    }
  }

  private static void lock(FileChannel channel) {
    try {
      FileLock held = channel.tryLock(); // until the channel is closed, or the process ends
      LOGGER.log(Level.DEBUG, () -> "locked: " + (held != null));
    } catch (IOException e) {
      // A file system without locks: the description alone tells.
      LOGGER.log(Level.DEBUG, "no lock", e);
    }
  }

  // ---- deleting ----

  private static void delete(Path root) throws IOException {
    for (int attempt = 1; ; attempt++) {
      try {
        deleteTree(root);
        return;
      } catch (IOException e) {
        // Threads that go on as the process ends may still put files there.
        if (attempt == DELETE_ATTEMPTS) {
          throw e;
        }
      }
    }
  }

  private static void deleteTree(Path root) throws IOException {
    if (!Files.exists(root, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    Files.walkFileTree(
        root,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            Files.deleteIfExists(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path visited, @Nullable IOException e)
              throws IOException {
            Files.deleteIfExists(visited);
            return FileVisitResult.CONTINUE;
          }
        });
  }
}
