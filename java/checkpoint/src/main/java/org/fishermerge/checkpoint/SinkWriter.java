package org.fishermerge.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.fishermerge.checkpoint.SafetensorsWriter.Declared;

/**
 * Hands tensors to a {@link TensorSink}. What it gave no memory for that kernels can write to goes
 * to memory of this writer first, from the first look at a tensor's segment until the tensor is
 * complete.
 */
final class SinkWriter implements TensorWriter {
  /** Kernels like their operands to begin at cache lines. */
  private static final long ALIGNMENT = 64;

  private final TensorSink sink;
  private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
  private final Map<String, MemorySegment> given = new HashMap<>();

  /** What is given and can be written in place. */
  private final Map<String, MemorySegment> inPlace = new HashMap<>();

  private final Map<String, Own> own = new HashMap<>();

  /** Tensors that were never handed over. */
  private final Set<String> missing = new LinkedHashSet<>();

  private record Own(Arena arena, MemorySegment memory) {}

  /**
   * Asks the sink for its memory.
   *
   * @param inputs what is read meanwhile
   * @throws InputException if memory cannot be used, or overlaps an input
   */
  SinkWriter(TensorSink sink, List<Declared> declared, Collection<NamedTensors> inputs) {
    this.sink = sink;
    List<MemoryRegions.Region> written = new ArrayList<>();
    for (Declared each : declared) {
      long bytes = TensorInfo.bytes(each.dtype(), each.shape());
      TensorInfo tensor = new TensorInfo(each.name(), each.dtype(), each.shape(), 0, bytes);
      tensors.put(each.name(), tensor);
      missing.add(each.name());
      MemorySegment memory = sink.memory(tensor);
      if (memory != null) {
        String what = "the memory for the merged tensor " + Messages.quote(each.name());
        require(memory, bytes, what);
        written.add(new MemoryRegions.Region(memory, what));
        given.put(each.name(), memory);
        MemorySegment usable = MemoryStore.inPlace(memory);
        if (usable != null) {
          inPlace.put(each.name(), usable);
        }
      }
    }
    MemoryRegions.requireApart(
        inputs.stream().flatMap(input -> input.regions().stream()).toList(), written);
  }

  private static void require(MemorySegment memory, long bytes, String what) {
    String problem =
        memory.byteSize() != bytes
            ? "has %d bytes, but %d are written".formatted(memory.byteSize(), bytes)
            : memory.isReadOnly() ? "is read-only" : MemoryStore.problem(memory);
    if (problem != null) {
      throw new InputException(what + " " + problem);
    }
  }

  @Override
  @SuppressWarnings("MustBeClosedChecker") // closed when the tensor is complete, or by close()
  public MemorySegment segment(String name) {
    MemorySegment memory = inPlace.get(name);
    if (memory != null) {
      return memory;
    }
    Own known = own.get(name);
    if (known == null) {
      Arena arena = Arena.ofShared();
      long bytes = Objects.requireNonNull(tensors.get(name)).byteCount();
      known = new Own(arena, arena.allocate(bytes, ALIGNMENT));
      own.put(name, known);
    }
    return known.memory();
  }

  @Override
  public List<FileMapping> mappings() {
    return List.of();
  }

  @Override
  public void writeBehind(MemorySegment part) {}

  @Override
  public void complete(String name) {
    TensorInfo tensor = Objects.requireNonNull(tensors.get(name));
    MemorySegment written = segment(name);
    MemorySegment memory = given.get(name);
    if (memory == null) {
      sink.accept(tensor, written.asReadOnly());
    } else {
      if (!inPlace.containsKey(name)) {
        memory.copyFrom(written);
      }
      sink.accept(tensor, memory);
    }
    missing.remove(name);
    Own done = own.remove(name);
    if (done != null) {
      done.arena().close();
    }
  }

  @Override
  public void finish() {
    if (!missing.isEmpty()) {
      throw new IllegalStateException("tensors that were not completed: " + missing);
    }
    close();
  }

  @Override
  public void close() {
    own.values().forEach(each -> each.arena().close());
    own.clear();
  }
}
