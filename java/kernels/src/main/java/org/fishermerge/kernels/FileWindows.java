package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Parts of mapped files as kernels see them: in memory of the thread that reads them, which it
 * fills by pread(2) and uses again for the next part, so that it stays in the processor's cache.
 * Reading through a mapping costs a fault for every few pages, each time a merge is made, and many
 * times the time of the copy where the machine is a virtual one. Results are written in the same
 * way, by pwrite(2).
 *
 * <p>What lies beyond the end of a file that was cut short goes through the mapping, whose guard
 * tells of it. Other errors of the system end the operation with an {@link UncheckedIOException}
 * that names the file. Thread-safe.
 */
final class FileWindows {
  /** What a thread holds of all operands of a call together, at most, but for what a call needs. */
  private static final long BYTES = 4L << 20;

  /** Bounds of a window: shorter reads take longer than the copying, longer ones gain nothing. */
  private static final long LEAST = 16L << 10;

  private static final long MOST = 256L << 10;

  /** By address. */
  private final ConcurrentSkipListMap<Long, MappedFile> files = new ConcurrentSkipListMap<>();

  private final Map<Thread, OfThread> threads = new ConcurrentHashMap<>();

  /** Counts operations: what a window holds may be out of date in the next one. */
  private final AtomicLong operation = new AtomicLong();

  /** What a thread takes at most, in calls for blocks of 4096 elements. */
  static long mostBytes(int operands) {
    return Math.max(Math.min(BYTES, operands * MOST), operands * 4096L * Double.BYTES);
  }

  /**
   * Knows of a file until it is removed.
   *
   * @return false where it cannot be read in this way, or is known already
   */
  boolean add(MappedFile file) {
    return file.descriptor() != MappedFile.NONE
        && Calls.READ != null
        && files.putIfAbsent(file.mapping().address(), file) == null;
  }

  /** Forgets a file, which may then be unmapped. */
  void remove(MappedFile file) {
    files.remove(file.mapping().address(), file);
    if (files.isEmpty()) {
      threads.clear();
    }
  }

  /** To be called before each operation on operands that may have changed. */
  void nextOperation() {
    operation.incrementAndGet();
  }

  /** Whether an operand lies in a file. */
  boolean hold(MemorySegment operand) {
    return fileOf(operand) != null;
  }

  /** Whether one of some operands does. */
  boolean holdAny(List<MemorySegment> operands) {
    return !files.isEmpty() && operands.stream().anyMatch(this::hold);
  }

  private @Nullable MappedFile fileOf(MemorySegment operand) {
    Map.Entry<Long, MappedFile> below = files.floorEntry(operand.address());
    if (below == null) {
      return null;
    }
    MappedFile file = below.getValue();
    long end = file.mapping().address() + file.mapping().byteSize();
    return operand.address() + operand.byteSize() <= end ? file : null;
  }

  /** Copies as many bytes as both have, from and to files as well as memory. */
  void copy(MemorySegment from, MemorySegment to) {
    MappedFile source = fileOf(from);
    MappedFile target = fileOf(to);
    if (target != null) {
      Calls.write(target, to.address(), from);
    } else if (source != null) {
      Calls.read(source, from.address(), to);
    } else {
      to.copyFrom(from);
    }
  }

  /**
   * The windows of this thread, for a call of a kernel.
   *
   * @param operands how many the call has: what they were last read for stays valid until the next
   *     call
   */
  OfThread forCall(int operands) {
    OfThread mine = threads.computeIfAbsent(Thread.currentThread(), _ -> new OfThread());
    mine.begin(operands);
    return mine;
  }

  /** A stretch of addresses, and the copy of what is there. */
  private static final class Window {
    private MemorySegment memory = MemorySegment.NULL;
    private long begin;
    private long end;
    private long operation = -1;
    private long call;
    private long key;

    boolean covers(long from, long to, long now) {
      return operation == now && begin <= from && to <= end;
    }

    MemorySegment of(long from, long to) {
      return memory.asSlice(from - begin, to - from);
    }

    void hold(long from, long to, long now) {
      if (memory.byteSize() < to - from) {
        memory = Arena.ofAuto().allocate(to - from, 64);
      }
      begin = from;
      end = to;
      operation = now;
    }
  }

  /** The windows of one thread, one for each operand of a call. */
  final class OfThread {
    private final List<Window> windows = new ArrayList<>();
    private final Map<Long, Window> byOperand = new HashMap<>();
    private long call;
    private long ahead;

    private void begin(int operands) {
      call++;
      // A power of two, as are the ranges that threads take: none reads what another one needs.
      ahead = Math.clamp(Long.highestOneBit(BYTES / operands), LEAST, MOST);
    }

    /** Bytes [from, to) of an operand. */
    MemorySegment read(MemorySegment operand, long from, long to) {
      MappedFile file = fileOf(operand);
      if (file == null) {
        return operand.asSlice(from, to - from);
      }
      long begin = operand.address() + from;
      long end = operand.address() + to;
      Window window = window(operand);
      if (!window.covers(begin, end, operation.get())) {
        long until = Math.min(Math.max(end, begin + ahead), operand.address() + operand.byteSize());
        window.hold(begin, until, operation.get());
        Calls.read(file, begin, window.of(begin, until));
      }
      return window.of(begin, end);
    }

    /** Memory for bytes [from, to) of a result, to be written by {@link #written}. */
    MemorySegment write(MemorySegment result, long from, long to) {
      if (!hold(result)) {
        return result.asSlice(from, to - from);
      }
      long begin = result.address() + from;
      Window window = window(result);
      window.hold(begin, begin + to - from, operation.get());
      return window.of(begin, window.end);
    }

    /** Puts what {@link #write} gave memory for in its place. */
    void written(MemorySegment result, long from, MemorySegment values) {
      MappedFile file = fileOf(result);
      if (file != null) {
        Calls.write(file, result.address() + from, values);
      }
    }

    /** That of an operand; if there is none, one that this call has not used. */
    private Window window(MemorySegment operand) {
      long key = operand.address();
      Window window = byOperand.get(key);
      if (window == null) {
        window = leastRecent();
        byOperand.remove(window.key, window);
        window.key = key;
        window.operation = -1;
        byOperand.put(key, window);
      }
      window.call = call;
      return window;
    }

    private Window leastRecent() {
      Window least = null;
      for (Window window : windows) {
        if (window.call < call && (least == null || window.call < least.call)) {
          least = window;
        }
      }
      if (least == null) {
        least = new Window();
        windows.add(least);
      }
      return least;
    }
  }

  /** The system's. */
  private static final class Calls {
    static final @Nullable MethodHandle READ = find("pread");
    static final @Nullable MethodHandle WRITE = find("pwrite");

    private static final StructLayout STATE = Linker.Option.captureStateLayout();
    private static final VarHandle ERRNO = STATE.varHandle(PathElement.groupElement("errno"));

    /** Where a thread finds the reason of its last failure. */
    private static final ThreadLocal<MemorySegment> REASONS =
        ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(STATE));

    private static final int EINTR = 4;

    private Calls() {}

    /** Null where there is none; the offset has 64 bits where pointers have. */
    @SuppressWarnings("restricted") // the native kernels that read windows needed the same
    private static @Nullable MethodHandle find(String name) {
      if (ADDRESS.byteSize() != Long.BYTES) {
        return null;
      }
      Linker linker = Linker.nativeLinker();
      return linker
          .defaultLookup()
          .find(name)
          .map(symbol ->
              linker.downcallHandle(
                  symbol,
                  FunctionDescriptor.of(JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG),
                  Linker.Option.captureCallState("errno")))
          .orElse(null);
    }

    static void read(MappedFile file, long address, MemorySegment into) {
      long done = all(READ, "read", file, address, into);
      MemorySegment rest = into.asSlice(done);
      rest.copyFrom(mapped(file, address + done, rest.byteSize()));
    }

    static void write(MappedFile file, long address, MemorySegment from) {
      long done = all(WRITE, "written", file, address, from);
      MemorySegment rest = from.asSlice(done);
      mapped(file, address + done, rest.byteSize()).copyFrom(rest);
    }

    private static MemorySegment mapped(MappedFile file, long address, long bytes) {
      return file.mapping().asSlice(address - file.mapping().address(), bytes);
    }

    /**
     * Bytes until the end of the file or of the memory.
     *
     * @param what is done with the file, for a message
     */
    private static long all(
        @Nullable MethodHandle call,
        String what,
        MappedFile file,
        long address,
        MemorySegment memory) {
      long offset = address - file.mapping().address();
      long done = 0;
      int error = 0;
      try {
        MemorySegment reason = REASONS.get();
        while (call != null && done < memory.byteSize()) {
          long moved =
              (long)
                  call.invokeExact(
                      reason,
                      file.descriptor(),
                      memory.address() + done,
                      memory.byteSize() - done,
                      offset + done);
          if (moved < 0) {
            error = (int) ERRNO.get(reason, 0L);
            if (error == EINTR) {
              error = 0;
              continue;
            }
          }
          if (moved <= 0) {
            break;
          }
          done += moved;
        }
      } catch (Throwable e) {
        throw NativeBindings.rethrow(e);
      }
      if (error != 0) {
        throw new UncheckedIOException(
            file.name() + ": cannot be " + what, new IOException(reason(error)));
      }
      return done;
    }

    /** Of those that Linux gives, in words. */
    private static String reason(int error) {
      return switch (error) {
        case 5 -> "the disk reports an input/output error";
        case 27 -> "the file system allows no file of this size";
        case 28 -> "no space left on the disk";
        case 116 -> "the file server no longer knows the file";
        case 122 -> "the disk quota is used up";
        default -> "the system reports error " + error;
      };
    }
  }
}
