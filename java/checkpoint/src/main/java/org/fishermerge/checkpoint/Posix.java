package org.fishermerge.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A few operations of Linux on files that Java does not offer. Each has a portable fallback in its
 * caller, taken where the function is missing, the file system does not support it, or the program
 * that embeds us has not enabled native access.
 */
final class Posix {
  private static final int O_RDONLY = 0;
  private static final int O_RDWR = 2;
  private static final int O_CLOEXEC = 02000000;
  private static final int AT_FDCWD = -100;
  private static final int RENAME_EXCHANGE = 2;
  private static final int MADV_WILLNEED = 3;
  private static final long PAGE = 4096;
  private static final int EINTR = 4;
  private static final int EFBIG = 27;
  private static final int ENOSPC = 28;
  private static final int EDQUOT = 122;
  private static final int USUAL_LIMIT = 1024;
  private static final Pattern OPEN_FILES =
      Pattern.compile("(?m)^Max open files +(\\d+|unlimited) ");

  /** How many files may be open at a time: half of the limit, as others need some too. */
  private static final int MOST_OPEN = limit() / 2;

  private static final AtomicInteger OPEN_NOW = new AtomicInteger();

  private static final @Nullable MethodHandle OPEN;
  private static final @Nullable MethodHandle CLOSE;
  private static final @Nullable MethodHandle FALLOCATE;
  private static final @Nullable MethodHandle RENAMEAT2;
  private static final @Nullable MethodHandle MADVISE;

  static {
    // open(2) is variadic: its third argument is for creating files, which is not done here.
    OPEN =
        find(
            "open",
            FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_INT),
            Linker.Option.firstVariadicArg(2));
    CLOSE = find("close", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
    FALLOCATE =
        find(
            "posix_fallocate",
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_LONG));
    RENAMEAT2 =
        find(
            "renameat2",
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_INT,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_INT));
    MADVISE =
        find(
            "madvise",
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_INT));
  }

  private Posix() {}

  @SuppressWarnings("restricted") // asked for below: not used unless native access is enabled
  private static @Nullable MethodHandle find(
      String name, FunctionDescriptor descriptor, Linker.Option... options) {
    boolean linux64 =
        System.getProperty("os.name").equals("Linux") && ValueLayout.ADDRESS.byteSize() == 8;
    if (!linux64 || !Posix.class.getModule().isNativeAccessEnabled()) {
      return null;
    }
    Linker linker = Linker.nativeLinker();
    SymbolLookup library = linker.defaultLookup();
    return library
        .find(name)
        .map(address -> linker.downcallHandle(address, descriptor, options))
        .orElse(null);
  }

  /**
   * Opens a file.
   *
   * @return its descriptor, for {@link #close}; -1 if that is not possible here, or so many are
   *     open that others would soon be refused
   */
  static int open(Path file, boolean writable) {
    if (OPEN == null || CLOSE == null) {
      return -1;
    }
    if (OPEN_NOW.incrementAndGet() > MOST_OPEN) {
      OPEN_NOW.decrementAndGet();
      return -1;
    }
    try (Arena arena = Arena.ofConfined()) {
      int descriptor =
          (int)
              OPEN.invokeExact(
                  arena.allocateFrom(file.toString()), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
      if (descriptor < 0) {
        OPEN_NOW.decrementAndGet();
      }
      return descriptor;
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("open", e);
    }
  }

  /** Closes what {@link #open} opened; -1 is ignored. */
  static void close(int descriptor) {
    if (CLOSE == null || descriptor < 0) {
      return;
    }
    OPEN_NOW.decrementAndGet();
    try {
      int _ = (int) CLOSE.invokeExact(descriptor);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("close", e);
    }
  }

  /** Files that this process may have open. */
  private static int limit() {
    try {
      return limit(Files.readString(Path.of("/proc/self/limits")));
    } catch (IOException e) {
      return USUAL_LIMIT;
    }
  }

  /**
   * The same.
   *
   * @param limits as Linux lists them
   */
  static int limit(String limits) {
    Matcher line = OPEN_FILES.matcher(limits);
    if (!line.find()) {
      return USUAL_LIMIT;
    }
    String number = line.group(1);
    return number.equals("unlimited") || number.length() > 9
        ? Integer.MAX_VALUE
        : Integer.parseInt(number);
  }

  /** The file that a descriptor stands for, whatever its name leads to by now. */
  static Path path(int descriptor) {
    return Path.of("/proc/self/fd/" + descriptor);
  }

  /**
   * Gives an existing file real blocks for its first {@code size} bytes.
   *
   * @return false if that is not possible here, in which case nothing is promised
   * @throws IOException if the disk or the quota is full, or no file may be that long
   */
  static boolean allocate(Path file, long size) throws IOException {
    if (FALLOCATE == null) {
      return false;
    }
    int descriptor = open(file, true);
    if (descriptor < 0) {
      return false;
    }
    try {
      int error;
      do {
        error = (int) FALLOCATE.invokeExact(descriptor, 0L, size);
      } while (error == EINTR);
      String refusal =
          switch (error) {
            case ENOSPC -> "no space left on the disk";
            case EDQUOT -> "the disk quota is used up";
            case EFBIG -> "the file system allows no file of " + Messages.bytes(size);
            default -> null;
          };
      if (refusal != null) {
        throw new FileSystemException(file.toString(), null, refusal);
      }
      return error == 0;
    } catch (IOException | RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("posix_fallocate", e);
    } finally {
      close(descriptor);
    }
  }

  /**
   * Swaps two existing files or folders of one file system in one step.
   *
   * @return false if it was not done
   */
  static boolean exchange(Path a, Path b) {
    if (RENAMEAT2 == null) {
      return false;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment first = arena.allocateFrom(a.toString());
      MemorySegment second = arena.allocateFrom(b.toString());
      return (int) RENAMEAT2.invokeExact(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE) == 0;
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("renameat2", e);
    }
  }

  /** Starts reading a part of a mapped file, without waiting; a hint that may be ignored. */
  static void willNeed(MemorySegment mapped) {
    if (MADVISE == null) {
      return;
    }
    // Begins on a page; where pages are larger than this, the call refuses and nothing is lost.
    long begin = mapped.address() & -PAGE;
    try {
      int _ =
          (int)
              MADVISE.invokeExact(
                  begin, mapped.address() + mapped.byteSize() - begin, MADV_WILLNEED);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("madvise", e);
    }
  }
}
