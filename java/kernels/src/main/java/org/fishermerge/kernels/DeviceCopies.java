package org.fishermerge.kernels;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Device memory for copies of host segments that do not change: for all of them, or for none. It
 * records which bytes have been copied, so that averages may be cut differently from call to call.
 */
final class DeviceCopies implements AutoCloseable {
  /** Alignment of each segment's copy: more than any access of the kernels needs. */
  private static final long ALIGNMENT = 256;

  /** Share of the device's memory that stays free for others, such as libtorch's models. */
  private static final double LEFT_FREE = 1.0 / 8;

  private final CudaBindings cuda;
  private final String description;
  private final long memory;

  /** By the address of the segment in host memory. */
  private final TreeMap<Long, Copy> copies = new TreeMap<>();

  private DeviceCopies(
      CudaBindings cuda, String description, long memory, List<MemorySegment> segments) {
    this.cuda = cuda;
    this.description = description;
    this.memory = memory;
    long at = memory;
    for (MemorySegment segment : segments) {
      copies.put(segment.address(), new Copy(segment, at));
      at += Math.ceilDiv(segment.byteSize(), ALIGNMENT) * ALIGNMENT;
    }
  }

  /**
   * Memory for copies, if the current device has room for all of them.
   *
   * @param device as it is now
   */
  static DeviceCopies of(
      CudaBindings cuda, CudaBindings.Device device, List<MemorySegment> segments) {
    List<MemorySegment> resident = segments.stream().filter(s -> s.byteSize() > 0).toList();
    // A double, as segments of unlimited size would overflow a long.
    double needed = resident.stream().mapToDouble(s -> s.byteSize() + (double) ALIGNMENT).sum();
    double free = device.freeBytes();
    double leftFree = device.memoryBytes() * LEFT_FREE;
    if (needed > free - leftFree) {
      return none(
          cuda,
          needed,
          "of its memory %s are free, and %s of that are left to others"
              .formatted(gigabytes(free), gigabytes(leftFree)));
    }
    OptionalLong memory = resident.isEmpty() ? OptionalLong.of(0) : cuda.tryMalloc((long) needed);
    if (memory.isEmpty()) {
      return none(cuda, needed, "it does not give that much memory at once");
    }
    return new DeviceCopies(
        cuda,
        "%s of inputs stay in the GPU's memory once sent".formatted(gigabytes(needed)),
        memory.getAsLong(),
        resident);
  }

  private static DeviceCopies none(CudaBindings cuda, double needed, String why) {
    return new DeviceCopies(
        cuda,
        "%s of inputs are sent to the GPU each time: %s".formatted(gigabytes(needed), why),
        0,
        List.of());
  }

  private static String gigabytes(double bytes) {
    return String.format(Locale.ROOT, "%.1f GB", bytes / 1e9);
  }

  boolean isEmpty() {
    return copies.isEmpty();
  }

  /** Whether inputs stay on the device, and if not, why. */
  String description() {
    return description;
  }

  /** The copy of the segment that an operand lies in; null if none is, or if it was freed. */
  @Nullable Copy find(MemorySegment operand) {
    Map.Entry<Long, Copy> entry = copies.floorEntry(operand.address());
    return entry != null && entry.getValue().covers(operand) ? entry.getValue() : null;
  }

  /** After a failure: transfers that have not been waited for count as not started. */
  void forgetUnfinished() {
    copies.values().forEach(copy -> copy.sent.set(copy.there));
  }

  @Override
  public void close() {
    copies.clear();
    if (memory != 0) {
      cuda.free(memory);
    }
  }

  /** The copy of one segment; parts of it are given by their segments in host memory. */
  static final class Copy {
    private final MemorySegment host;
    private final long onDevice;

    /** Offsets of bytes whose transfer was started. */
    private final Ranges sent = new Ranges();

    /** Offsets of bytes whose transfer was waited for. */
    private final Ranges there = new Ranges();

    private Copy(MemorySegment host, long onDevice) {
      this.host = host;
      this.onDevice = onDevice;
    }

    private boolean covers(MemorySegment part) {
      return host.scope().isAlive() && range(part).end() <= host.byteSize();
    }

    private Ranges.Range range(MemorySegment part) {
      long begin = part.address() - host.address();
      return new Ranges.Range(begin, begin + part.byteSize());
    }

    long address(MemorySegment part) {
      return onDevice + range(part).begin();
    }

    /** Whether a transfer is unfinished: then only work on its stream may use the part. */
    boolean isUnderway(MemorySegment part) {
      return !sent.missing(range(part)).equals(there.missing(range(part)));
    }

    /** The pieces of a part whose transfer was not started. */
    List<MemorySegment> missing(MemorySegment part) {
      return sent.missing(range(part)).stream()
          .map(gap -> part.asSlice(gap.begin() - range(part).begin(), gap.end() - gap.begin()))
          .toList();
    }

    /** The transfer of a part has been started. */
    void send(MemorySegment part) {
      sent.add(range(part));
    }

    /** The transfer of a part has been waited for. */
    void arrive(MemorySegment part) {
      there.add(range(part));
    }
  }
}
