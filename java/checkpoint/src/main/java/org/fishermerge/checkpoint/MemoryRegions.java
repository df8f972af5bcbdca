package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Whether memory that is written overlaps memory that is read, or other memory that is written. */
final class MemoryRegions {
  /**
   * Some bytes.
   *
   * @param what messages call them
   */
  record Region(MemorySegment segment, String what) {
    private static final Object OFF_HEAP = new Object();

    /** The array they are of, or what stands for all memory off the heap. */
    Object space() {
      return segment.isNative() ? OFF_HEAP : segment.heapBase().orElseThrow();
    }

    /** Whether they are of an array that the segment does not tell, as it is read-only. */
    boolean hidesItsArray() {
      return !segment.isNative() && segment.heapBase().isEmpty();
    }

    /** The first byte there. */
    long from() {
      return segment.address();
    }

    /** One past the last byte. */
    long to() {
      return segment.address() + segment.byteSize();
    }
  }

  private record Use(Region region, boolean written) {}

  private MemoryRegions() {}

  /**
   * Refuses to write where others read or write.
   *
   * @param written none is read-only
   * @throws InputException naming two that overlap
   */
  static void requireApart(List<Region> read, List<Region> written) {
    IdentityHashMap<Object, List<Use>> spaces = new IdentityHashMap<>();
    for (Region region : read) {
      if (region.hidesItsArray()) {
        requireApart(region, written);
      } else {
        add(spaces, new Use(region, false));
      }
    }
    written.forEach(region -> add(spaces, new Use(region, true)));
    for (List<Use> uses : spaces.values()) {
      uses.sort(Comparator.comparingLong(use -> use.region().from()));
      // Of those that begin before, the ones that end last.
      @Nullable Region any = null;
      @Nullable Region output = null;
      for (Use use : uses) {
        Region region = use.region();
        Region before = use.written() ? any : output;
        if (before != null && before.to() > region.from()) {
          throw overlap(before, region);
        }
        any = any == null || region.to() > any.to() ? region : any;
        if (use.written()) {
          output = region;
        }
      }
    }
  }

  private static void requireApart(Region read, List<Region> written) {
    for (Region region : written) {
      if (read.segment().asOverlappingSlice(region.segment()).isPresent()) {
        throw overlap(read, region);
      }
    }
  }

  private static InputException overlap(Region one, Region other) {
    return new InputException(
        "%s and %s overlap in memory; what is written must lie apart from everything else"
            .formatted(one.what(), other.what()));
  }

  private static void add(IdentityHashMap<Object, List<Use>> spaces, Use use) {
    if (use.region().to() > use.region().from()) {
      spaces.computeIfAbsent(use.region().space(), any -> new ArrayList<>()).add(use);
    }
  }
}
