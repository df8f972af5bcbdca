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
   * @param space the array they are of, or what stands for all memory off the heap
   * @param from first byte there
   * @param to one past the last byte
   * @param what messages call them
   */
  record Region(Object space, long from, long to, String what) {
    private static final Object OFF_HEAP = new Object();

    static Region of(MemorySegment segment, String what) {
      // A read-only segment does not tell its array: it is a space of its own then.
      Object space = segment.isNative() ? OFF_HEAP : segment.heapBase().orElseGet(Object::new);
      return new Region(space, segment.address(), segment.address() + segment.byteSize(), what);
    }
  }

  private record Use(Region region, boolean written) {}

  private MemoryRegions() {}

  /**
   * Refuses to write where others read or write.
   *
   * @throws InputException naming two that overlap
   */
  static void requireApart(List<Region> read, List<Region> written) {
    IdentityHashMap<Object, List<Use>> spaces = new IdentityHashMap<>();
    read.forEach(region -> add(spaces, new Use(region, false)));
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
          throw new InputException(
              "%s and %s overlap in memory; what is written must lie apart from everything else"
                  .formatted(before.what(), region.what()));
        }
        any = any == null || region.to() > any.to() ? region : any;
        if (use.written()) {
          output = region;
        }
      }
    }
  }

  private static void add(IdentityHashMap<Object, List<Use>> spaces, Use use) {
    if (use.region().to() > use.region().from()) {
      spaces.computeIfAbsent(use.region().space(), any -> new ArrayList<>()).add(use);
    }
  }
}
