package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Tensors that a program has at hand. */
final class MemoryStore implements TensorStore {
  /** Stands for the threads of kernels, where it must be known whether they may use memory. */
  private static final Thread ANOTHER = Thread.ofPlatform().unstarted(() -> {});

  private final NamedTensors tensors;
  private final SafetensorsHeader header;

  /** What kernels can read, by name. */
  private final Map<String, MemorySegment> inPlace = new HashMap<>();

  private volatile boolean closed;

  MemoryStore(NamedTensors tensors) {
    this.tensors = tensors;
    this.header = tensors.header();
    for (String name : header.tensors().keySet()) {
      MemorySegment memory = tensors.memoryOf(name);
      MemorySegment usable = memory == null ? null : inPlace(memory);
      if (usable != null) {
        inPlace.put(name, usable);
      }
    }
  }

  /**
   * Memory as kernels can use it where it is; null if they cannot: on the heap, and without native
   * access memory that is confined to a thread, since they have threads of their own, or mapped.
   * What the caller has mapped comes back as memory like any other: the system is not to be told
   * that its pages are done with, which would undo changes to a private mapping.
   */
  @SuppressWarnings("restricted")
  static @Nullable MemorySegment inPlace(MemorySegment memory) {
    if (!memory.isNative()) {
      return null;
    }
    boolean unreadable = problem(memory) != null; // to be reported when it is read
    if (unreadable || (!memory.isMapped() && memory.isAccessibleBy(ANOTHER))) {
      return memory;
    }
    try {
      return memory.reinterpret(memory.byteSize());
    } catch (IllegalCallerException e) {
      return null;
    }
  }

  /** Why this thread cannot use memory; null if it can. */
  static @Nullable String problem(MemorySegment memory) {
    if (!memory.scope().isAlive()) {
      return "was freed; its arena must stay open until nothing uses it";
    }
    return memory.isAccessibleBy(Thread.currentThread())
        ? null
        : "is confined to another thread; merge on that one, or allocate it in a shared arena";
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
      requireOpen();
      reader.read(from, target);
      return;
    }
    MemorySegment memory = Objects.requireNonNull(tensors.memoryOf(name));
    long width = tensor.info().dtype().bits() / Byte.SIZE;
    target.copyFrom(usable(tensor, memory).asSlice(from * width, count * width));
  }

  private MemorySegment usable(CheckpointTensor tensor, MemorySegment memory) {
    requireOpen();
    String problem = problem(memory);
    if (problem != null) {
      throw new InputException(
          "%s: the memory of tensor %s %s"
              .formatted(tensors.path(), Messages.quote(tensor.info().name()), problem));
    }
    return memory;
  }

  @Override
  public List<FileMapping> mappings() {
    return List.of();
  }

  @Override
  public void requireSizes() {}

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the checkpoint is closed");
    }
  }

  /** The memory is the caller's. */
  @Override
  public void close() {
    closed = true;
  }
}
