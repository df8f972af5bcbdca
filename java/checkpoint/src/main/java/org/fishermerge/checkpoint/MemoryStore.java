package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Tensors that a program has at hand. */
final class MemoryStore implements TensorStore {
  private final NamedTensors tensors;
  private final SafetensorsHeader header;

  /** What kernels can read, by name. */
  private final Map<String, MemorySegment> inPlace = new HashMap<>();

  MemoryStore(NamedTensors tensors) {
    this.tensors = tensors;
    this.header = tensors.header();
    for (String name : header.tensors().keySet()) {
      MemorySegment memory = tensors.memoryOf(name);
      if (memory != null && memory.isNative()) {
        MemorySegment plain = withoutHints(memory);
        if (plain != null) {
          inPlace.put(name, plain);
        }
      }
    }
  }

  /**
   * Memory that the caller has mapped, as memory like any other: the system is not to be told that
   * its pages are done with, which would undo the caller's own changes to a private mapping. Null
   * where that takes native access; it is copied then.
   */
  @SuppressWarnings("restricted")
  private static @Nullable MemorySegment withoutHints(MemorySegment memory) {
    if (!memory.isMapped()) {
      return memory;
    }
    try {
      return memory.reinterpret(memory.byteSize());
    } catch (IllegalCallerException e) {
      return null;
    }
  }

  @Override
  public List<SafetensorsHeader> headers() {
    return List.of(header);
  }

  @Override
  public List<SafetensorsHeader> files() {
    return List.of();
  }

  @Override
  public List<String> warnings() {
    return List.of();
  }

  @Override
  public Optional<Path> sibling(String fileName) {
    return Optional.empty();
  }

  @Override
  public boolean isInPlace(CheckpointTensor tensor) {
    return inPlace.containsKey(tensor.info().name());
  }

  @Override
  public MemorySegment segment(CheckpointTensor tensor) {
    MemorySegment memory = inPlace.get(tensor.info().name());
    if (memory == null) {
      throw new IllegalStateException(tensor.info().name() + " is not in place");
    }
    return usable(tensor, memory);
  }

  @Override
  public void copy(CheckpointTensor tensor, long from, long count, MemorySegment target) {
    String name = tensor.info().name();
    TensorReader reader = tensors.readerOf(name);
    if (reader != null) {
      reader.read(from, target);
      return;
    }
    MemorySegment memory = tensors.memoryOf(name);
    if (memory != null) {
      long width = tensor.info().dtype().bits() / Byte.SIZE;
      target.copyFrom(usable(tensor, memory).asSlice(from * width, count * width));
    }
  }

  private MemorySegment usable(CheckpointTensor tensor, MemorySegment memory) {
    if (!memory.scope().isAlive() || !memory.isAccessibleBy(Thread.currentThread())) {
      throw new InputException(
          tensors.path()
              + ": the memory of tensor "
              + Messages.quote(tensor.info().name())
              + (memory.scope().isAlive()
                  ? " is confined to another thread; merge on that one, or allocate it in a shared"
                      + " arena"
                  : " was freed; its arena must stay open until nothing reads it"));
    }
    return memory;
  }

  @Override
  public List<MemorySegment> mappings() {
    return List.of();
  }

  @Override
  public void requireSizes() {}

  @Override
  public void close() {}
}
