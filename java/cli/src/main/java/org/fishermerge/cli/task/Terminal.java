package org.fishermerge.cli.task;

import java.io.Console;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** What is known of the terminal that a stream of this process leads to. */
public enum Terminal {
  OUT(1),
  ERR(2);

  /** Where nothing is known of a width. */
  public static final int USUAL_WIDTH = 80;

  private static final int MOST_COLUMNS = 10_000;

  /** Linux's request for a terminal's size, and where its answer holds the columns. */
  private static final long TIOCGWINSZ = 0x5413;

  private static final int WINSIZE_BYTES = 8;
  private static final int COLUMNS_OFFSET = 2;

  private final int descriptor;
  private final boolean there;

  Terminal(int descriptor) {
    this.descriptor = descriptor;
    this.there = isThere(descriptor);
  }

  /** Whether the stream is a terminal, and not a file or a pipe. */
  public boolean isThere() {
    return there;
  }

  /** Whether colours are wanted there; NO_COLOR and TERM=dumb say no. */
  public boolean takesColours(Map<String, String> environment) {
    return there
        && environment.getOrDefault("NO_COLOR", "").isEmpty()
        && !"dumb".equals(environment.get("TERM"));
  }

  /** Columns: those of COLUMNS, else the terminal's at this moment, else the usual ones. */
  public int width(Map<String, String> environment) {
    return columns(environment.getOrDefault("COLUMNS", ""))
        .orElseGet(() -> (there ? ask() : OptionalInt.empty()).orElse(USUAL_WIDTH));
  }

  private static OptionalInt columns(String text) {
    try {
      int columns = Integer.parseInt(text.strip());
      return columns > 0 && columns <= MOST_COLUMNS ? OptionalInt.of(columns) : OptionalInt.empty();
    } catch (NumberFormatException e) {
      return OptionalInt.empty();
    }
  }

  private static boolean isThere(int descriptor) {
    Optional<Path> target = target(descriptor);
    if (target.isPresent()) {
      Path device = target.get();
      return device.startsWith("/dev/pts")
          || device.equals(Path.of("/dev/console"))
          || device.toString().startsWith("/dev/tty");
    }
    // Elsewhere only both streams of a console can be asked for.
    Console console = System.console();
    return console != null && console.isTerminal();
  }

  private static Optional<Path> target(int descriptor) {
    try {
      return Optional.of(Files.readSymbolicLink(Path.of("/proc/self/fd/" + descriptor)));
    } catch (IOException | UnsupportedOperationException e) {
      return Optional.empty();
    }
  }

  private OptionalInt ask() {
    MethodHandle ioctl = Ioctl.HANDLE;
    if (ioctl == null) {
      return OptionalInt.empty();
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment size = arena.allocate(WINSIZE_BYTES);
      int failed = (int) ioctl.invokeExact(descriptor, TIOCGWINSZ, size);
      int columns = Short.toUnsignedInt(size.get(ValueLayout.JAVA_SHORT_UNALIGNED, COLUMNS_OFFSET));
      return failed == 0 && columns > 0 ? OptionalInt.of(columns) : OptionalInt.empty();
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("ioctl", e);
    }
  }

  /** Found when it is first needed: most runs have no terminal. */
  private static final class Ioctl {
    static final @Nullable MethodHandle HANDLE = find();

    @SuppressWarnings("restricted") // asked for below: not used unless native access is enabled
    private static @Nullable MethodHandle find() {
      if (!System.getProperty("os.name").equals("Linux")
          || !Terminal.class.getModule().isNativeAccessEnabled()) {
        return null;
      }
      Linker linker = Linker.nativeLinker();
      FunctionDescriptor descriptor =
          FunctionDescriptor.of(
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_LONG,
              ValueLayout.ADDRESS);
      return linker
          .defaultLookup()
          .find("ioctl")
          .map(address ->
              linker.downcallHandle(address, descriptor, Linker.Option.firstVariadicArg(2)))
          .orElse(null);
    }
  }
}
