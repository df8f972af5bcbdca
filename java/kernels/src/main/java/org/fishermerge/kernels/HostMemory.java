package org.fishermerge.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Memory of the process, freed as a whole. */
final class HostMemory implements KernelMemory {
  private static final long ALIGNMENT = 64;

  private final Arena arena;

  @SuppressWarnings("MustBeClosed") // owned by this object
  HostMemory() {
    arena = Arena.ofShared();
  }

  @Override
  public MemorySegment allocate(long bytes) {
    return arena.allocate(bytes, ALIGNMENT);
  }

  @Override
  public void clear(MemorySegment segment) {
    segment.fill((byte) 0);
  }

  @Override
  public void write(MemorySegment from, MemorySegment to) {
    to.copyFrom(from);
  }

  @Override
  public void read(MemorySegment from, MemorySegment to) {
    to.copyFrom(from);
  }

  @Override
  public boolean isHost() {
    return true;
  }

  @Override
  public void close() {
    arena.close();
  }
}
