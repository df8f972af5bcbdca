package org.fishermerge.checkpoint;

import java.io.IOException;
import java.lang.System.Logger.Level;
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
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A private folder for output that is not ready. It is gone when closed, and when the process is
 * told to end (SIGINT, SIGTERM). A process that is killed leaves it behind, for the next one that
 * works in the same place to recognise and remove. Its name, {@code
 * .fisher-merge-PID-START-SYSTEM-*}, says which process of all that ever were made it, from its
 * very first moment on; besides, the owner keeps a file in it locked.
 */
final class WorkFolder implements AutoCloseable {
  private static final System.Logger LOGGER = System.getLogger(WorkFolder.class.getName());
  private static final Pattern NAME =
      Pattern.compile("\\.fisher-merge-(\\d+)-(\\d+)-([0-9a-f]+)-\\d+");
  private static final String LOCK = ".fisher-merge-lock";

  /** Where a process's start stands in its stat file, counted from the end of its name. */
  private static final int STAT_START = 19;

  private static final String SYSTEM = system();

  /** After that long a folder of another machine that nobody holds locked is taken for dead. */
  private static final Duration STALE = Duration.ofDays(1);

  private static final int DELETE_ATTEMPTS = 5;

  /** Guards the three below, and is held while an output is put in its place. */
  private static final Object ENDING_LOCK = new Object();

  private static final Set<WorkFolder> LIVE = new HashSet<>();

  /**
   * Registered while folders are live, and no longer: the JVM would hold this class, and all that
   * its class loader has loaded, for as long.
   */
  private static @Nullable Thread hook;

  private static boolean ending;

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
      register();
      try {
        WorkFolder folder = create(parent);
        LIVE.add(folder);
        return folder;
      } finally {
        unregister();
      }
    }
  }

  private static WorkFolder create(Path parent) throws IOException {
    requireNotEnding();
    // Created with permissions for the owner only; what is made inside has the usual ones.
    long pid = ProcessHandle.current().pid();
    Path path =
        Files.createTempDirectory(
            parent, ".fisher-merge-" + pid + "-" + start(pid) + "-" + SYSTEM + "-");
    FileChannel owner = null;
    try {
      owner =
          FileChannel.open(
              path.resolve(LOCK), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
      lock(owner);
    } catch (IOException e) {
      if (owner != null) {
        owner.close();
      }
      delete(path);
      throw e;
    }
    return new WorkFolder(path, owner);
  }

  private static void register() {
    if (hook == null) {
      Thread cleanup =
          Thread.ofPlatform().name("fisher-merge-cleanup").unstarted(WorkFolder::removeAll);
      try {
        Runtime.getRuntime().addShutdownHook(cleanup);
      } catch (IllegalStateException e) {
        ending = true;
        requireNotEnding();
      }
      hook = cleanup;
    }
  }

  /** Once nothing is live. */
  private static void unregister() {
    if (hook != null && LIVE.isEmpty() && !ending) {
      try {
        Runtime.getRuntime().removeShutdownHook(hook);
        hook = null;
      } catch (IllegalStateException e) {
        LOGGER.log(Level.DEBUG, "the process is ending", e);
      }
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
    synchronized (ENDING_LOCK) {
      unregister();
    }
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

  static void removeDead(Path parent) {
    try (Stream<Path> entries = Files.list(parent)) {
      for (Path entry : entries.toList()) {
        Matcher name = NAME.matcher(entry.getFileName().toString());
        if (name.matches()
            && Files.isDirectory(entry, LinkOption.NOFOLLOW_LINKS)
            && isDead(entry, name)) {
          delete(entry);
        }
      }
    } catch (IOException | RuntimeException e) {
      // Tidying is no reason to fail; another process may be tidying the same folder.
      LOGGER.log(Level.DEBUG, "while looking for leftovers in " + parent, e);
    }
  }

  /** Whether the process that made a folder has ended, as far as can be told. */
  private static boolean isDead(Path folder, Matcher name) throws IOException {
    if (name.group(3).equals(SYSTEM)) {
      // The start is counted in ticks from that of the machine, so that clocks do not matter.
      return start(Long.parseLong(name.group(1))) != Long.parseLong(name.group(2));
    }
    Instant modified = Files.getLastModifiedTime(folder).toInstant();
    return modified.isBefore(Instant.now().minus(STALE)) && !isLocked(folder.resolve(LOCK));
  }

  private static boolean isLocked(Path file) throws IOException {
    if (!Files.exists(file)) {
      return false;
    }
    try (FileChannel channel =
            FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
        FileLock lock = channel.tryLock()) {
      return lock == null;
    } catch (OverlappingFileLockException e) {
      return true;
    }
  }

  /** When a process of this system was started, in ticks; -1 if there is none with this number. */
  private static long start(long pid) {
    try {
      String stat = Files.readString(Path.of("/proc/" + pid + "/stat"));
      List<String> fields = List.of(stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1));
      return Long.parseLong(fields.get(STAT_START));
    } catch (IOException | RuntimeException e) {
      return pid == ProcessHandle.current().pid() ? 0 : -1;
    }
  }

  /**
   * This start of this machine, and the container in it, in hexadecimal digits; where the system
   * does not say, digits of this process alone.
   */
  private static String system() {
    String text;
    try {
      text =
          Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip()
              + Files.readSymbolicLink(Path.of("/proc/self/ns/pid"));
    } catch (IOException | UnsupportedOperationException e) {
      text = UUID.randomUUID().toString();
    }
    return Long.toHexString(
        UUID.nameUUIDFromBytes(text.getBytes(StandardCharsets.UTF_8)).getMostSignificantBits());
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
