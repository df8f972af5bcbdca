package org.fishermerge.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Averages on one GPU of operands in the process's memory, which are sent through the GPU in
 * pieces. There are two slots, each with page-locked memory, device memory and a stream: while the
 * GPU copies, averages and returns the pieces of one, the threads of the pool empty and fill the
 * other, so that the bus is busy in both directions. Inputs that are resident ({@link
 * #keepResident}) are sent once, into device memory of their own.
 */
final class CudaAverages implements AutoCloseable {
  /** Room for 2^20 elements ({@link ValueStatistics}) of eight models with Fishers in F32. */
  private static final long SLOT_BYTES = 72L << 20;

  /** Alignment of operands in a slot: more than any access of the kernels needs. */
  private static final long ALIGNMENT = 256;

  /** What a thread copies at a time. */
  private static final long MOVE_BYTES = 1 << 20;

  private static final long STATISTICS_BYTES = NativeStructs.VALUE_STATISTICS.byteSize();

  private final CudaBindings cuda;
  private final int index;
  private final WorkerPool pool;
  private final FileWindows files;
  private final long slotBytes = Long.getLong(KernelOptions.CUDA_SLOT_BYTES, SLOT_BYTES);
  private final List<DeviceCopies> resident = new ArrayList<>();
  private @Nullable List<Slot> slots;

  /**
   * On one device.
   *
   * @param pool copies between the process's memory and page-locked memory
   * @param files which of the process's memory may be mapped to
   */
  CudaAverages(CudaBindings cuda, int index, WorkerPool pool, FileWindows files) {
    this.cuda = cuda;
    this.index = index;
    this.pool = pool;
    this.files = files;
  }

  /** Keeps copies of segments on the device from when they are first used, if all have room. */
  DeviceCopies keepResident(List<MemorySegment> segments) {
    cuda.setDevice(index);
    slots(); // allocated first, so that their memory is not counted as free
    DeviceCopies copies = DeviceCopies.of(cuda, cuda.device(index), segments);
    resident.add(copies);
    return copies;
  }

  /** Frees copies; those that have been freed are ignored. */
  void release(DeviceCopies copies) {
    if (resident.remove(copies)) {
      cuda.setDevice(index);
      copies.close();
    }
  }

  /**
   * Averages with the bits of the other providers. Sums of squares are over other blocks and differ
   * in their last bits. Parts are cut as if nothing were resident, so that these sums depend on the
   * formats and numbers of the elements only.
   */
  List<WeightedAverage.Statistics> weightedAverages(
      List<WeightedAverage> averages, List<Double> thresholds) {
    cuda.setDevice(index);
    List<Slot> both = slots();
    Results results = new Results(averages.size(), thresholds.size() + 1);
    List<Part> parts = new ArrayList<>();
    for (int i = 0; i < averages.size(); i++) {
      WeightedAverage average = averages.get(i);
      long each = elementsOfPart(average, thresholds.size() + 1);
      for (long from = 0; from < average.count(); from += each) {
        parts.add(new Part(i, average, from, Math.min(each, average.count() - from)));
      }
    }
    try {
      int turn = 0;
      for (int next = 0; next < parts.size(); turn++) {
        Slot slot = both.get(turn % both.size());
        slot.empty(results);
        next = slot.fill(parts, next, thresholds);
      }
      // The slot that was filled first is emptied first, so that sums are added in order.
      for (int k = 0; k < both.size(); k++, turn++) {
        both.get(turn % both.size()).empty(results);
      }
    } catch (Throwable e) {
      discard(both, e);
      throw e;
    }
    return results.all();
  }

  /** Drops unfinished work after a failure, and waits until the GPU no longer uses the slots. */
  private void discard(List<Slot> both, Throwable cause) {
    both.forEach(slot -> slot.work.clear());
    resident.forEach(DeviceCopies::forgetUnfinished);
    for (Slot slot : both) {
      try {
        cuda.synchronize(slot.stream);
      } catch (IllegalStateException e) {
        cause.addSuppressed(e);
      }
    }
  }

  private List<Slot> slots() {
    List<Slot> opened = slots;
    if (opened == null) {
      Slot first = new Slot();
      try {
        opened = List.of(first, new Slot());
      } catch (Throwable e) {
        first.close();
        throw e;
      }
      slots = opened;
    }
    return opened;
  }

  /** As many as fit into a slot, in multiples of the chunks that the statistics kernel reduces. */
  private long elementsOfPart(WeightedAverage average, int kinds) {
    long operands = average.inputs().size() * 2L + 3 + kinds;
    long each = average.outType().bytes();
    for (WeightedInput input : average.inputs()) {
      each += input.valueType().bytes();
      each += input.fisher() == null ? 0 : input.fisherType().bytes();
    }
    each += average.base() == null ? 0 : average.base().type().bytes();
    long room = (slotBytes - operands * ALIGNMENT) / each;
    long grain = 16384;
    if (room < grain) {
      throw new IllegalArgumentException(
          "%d models are too many for the GPU at once".formatted(average.inputs().size()));
    }
    return room / grain * grain;
  }

  /** Some elements of one average. */
  private record Part(int item, WeightedAverage average, long from, long count) {
    MemorySegment of(MemorySegment operand, ElementType type) {
      return operand.asSlice(from * type.bytes(), count * type.bytes());
    }
  }

  /** Statistics by average and kind: of each Fisher, and of the result. */
  private static final class Results {
    private final ValueStatistics[][] found;
    private final int kinds;

    Results(int items, int kinds) {
      this.kinds = kinds;
      found = new ValueStatistics[items][kinds];
      for (ValueStatistics[] row : found) {
        Arrays.fill(row, ValueStatistics.EMPTY);
      }
    }

    void add(int item, int kind, ValueStatistics more) {
      found[item][kind] = found[item][kind].plus(more);
    }

    int kinds() {
      return kinds;
    }

    List<WeightedAverage.Statistics> all() {
      List<WeightedAverage.Statistics> all = new ArrayList<>();
      for (ValueStatistics[] ofItem : found) {
        List<ValueStatistics> row = List.of(ofItem);
        all.add(new WeightedAverage.Statistics(row.subList(0, kinds - 1), row.get(kinds - 1)));
      }
      return all;
    }
  }

  /** Bytes to move between the process's memory and a slot's. */
  private record Move(MemorySegment from, MemorySegment to) {}

  /**
   * Bytes of an operand on their way to the device.
   *
   * @param at their offset in the slot's page-locked memory
   * @param to where they go in the device's
   * @param copy what they become a part of, or null if they go into the slot's own memory
   */
  private record Transfer(MemorySegment from, long at, long to, DeviceCopies.@Nullable Copy copy) {
    long end() {
      return at + from.byteSize();
    }
  }

  /** Half of the pipeline. An operand has the same offset in its page-locked and device memory. */
  private final class Slot {
    private final long stream = cuda.createStream();
    private MemorySegment pinned = MemorySegment.NULL;
    private long onDevice;
    private long scratch;

    /** Parts that the device is working on. */
    private final List<Placed> work = new ArrayList<>();

    /**
     * A part in its slot, which has what is sent, then statistics, then the result.
     *
     * @param inputs operands at their addresses on the device
     * @param base the same of the base, if there is one
     * @param transfers what is sent for them
     * @param statistics offset of the statistics
     * @param out offset of the result
     * @param end offset after the result
     */
    private record Placed(
        Part part,
        List<WeightedInput> inputs,
        @Nullable TypedValues base,
        List<Transfer> transfers,
        long statistics,
        long out,
        long end) {}

    Slot() {
      try {
        pinned = cuda.hostAlloc(slotBytes);
        onDevice = cuda.malloc(slotBytes);
        scratch = cuda.malloc(cuda.statisticsWorkspace(slotBytes));
      } catch (Throwable e) {
        close();
        throw e;
      }
    }

    /** Fills the slot with parts from {@code next} on, and returns the first that has no room. */
    int fill(List<Part> parts, int next, List<Double> thresholds) {
      List<Move> moves = new ArrayList<>();
      long end = 0;
      int last = next;
      for (; last < parts.size(); last++) {
        Placed placed = place(parts.get(last), end, thresholds.size() + 1);
        if (placed.end() > slotBytes) {
          break; // not at the first part: elementsOfPart() limits its size
        }
        end = placed.end();
        work.add(placed);
        for (Transfer transfer : placed.transfers()) {
          moves.add(
              new Move(transfer.from(), pinned.asSlice(transfer.at(), transfer.from().byteSize())));
          if (transfer.copy() != null) {
            transfer.copy().send(transfer.from());
          }
        }
      }
      move(moves);
      work.forEach(placed -> run(placed, thresholds));
      return last;
    }

    private Placed place(Part part, long begin, int kinds) {
      Placing placing = new Placing(begin);
      List<WeightedInput> inputs = new ArrayList<>();
      for (WeightedInput input : part.average().inputs()) {
        MemorySegment fisher = input.fisher();
        inputs.add(
            new WeightedInput(
                placing.place(part.of(input.values(), input.valueType()), input.valueType()),
                input.valueType(),
                fisher == null
                    ? null
                    : placing.place(part.of(fisher, input.fisherType()), input.fisherType()),
                input.fisherType(),
                input.scale(),
                input.offset()));
      }
      TypedValues base = part.average().base();
      if (base != null) {
        base =
            new TypedValues(
                placing.place(part.of(base.data(), base.type()), base.type()), base.type());
      }
      long statistics = placing.at;
      long out = align(statistics + kinds * STATISTICS_BYTES);
      long end = align(out + part.count() * part.average().outType().bytes());
      return new Placed(part, inputs, base, placing.transfers, statistics, out, end);
    }

    /** Finds places for operands, one after the other. */
    private final class Placing {
      private final List<Transfer> transfers = new ArrayList<>();

      /** Offset from which on the slot is free. */
      private long at;

      Placing(long at) {
        this.at = at;
      }

      /** The device address of an operand; adds transfers of its bytes that are not there yet. */
      MemorySegment place(MemorySegment operand, ElementType type) {
        DeviceCopies.Copy copy = copyFor(operand, type);
        long address = copy == null ? onDevice + at : copy.address(operand);
        List<MemorySegment> missing = copy == null ? List.of(operand) : copy.missing(operand);
        for (MemorySegment part : missing) {
          transfers.add(new Transfer(part, at, copy == null ? address : copy.address(part), copy));
          at += part.byteSize();
        }
        at = align(at);
        return MemorySegment.ofAddress(address);
      }
    }

    private void run(Placed placed, List<Double> thresholds) {
      WeightedAverage average = placed.part().average();
      long count = placed.part().count();
      send(placed.transfers());
      long out = onDevice + placed.out();
      try (Arena arena = Arena.ofConfined()) {
        cuda.weightedAverage(
            NativeStructs.weightedInputs(placed.inputs(), arena),
            placed.inputs().size(),
            NativeStructs.valuesOrNull(placed.base(), arena),
            average.scalingFactor(),
            out,
            NativeStructs.code(average.outType()),
            count,
            stream);
      }
      for (int i = 0; i < thresholds.size(); i++) {
        WeightedInput input = placed.inputs().get(i);
        long fisher = Objects.requireNonNull(input.fisher()).address();
        statistics(placed, i, fisher, input.fisherType(), thresholds.get(i));
      }
      statistics(placed, thresholds.size(), out, average.outType(), Double.NEGATIVE_INFINITY);
      cuda.copy(
          pinned.address() + placed.statistics(),
          onDevice + placed.statistics(),
          placed.out() + count * average.outType().bytes() - placed.statistics(),
          stream);
    }

    /** Transfers into the slot's own memory have the same offsets there: neighbours are joined. */
    private void send(List<Transfer> transfers) {
      for (int k = 0; k < transfers.size(); k++) {
        Transfer first = transfers.get(k);
        Transfer last = first;
        while (first.copy() == null
            && k + 1 < transfers.size()
            && transfers.get(k + 1).copy() == null) {
          last = transfers.get(++k);
        }
        cuda.copy(first.to(), pinned.address() + first.at(), last.end() - first.at(), stream);
      }
    }

    private void statistics(
        Placed placed, int kind, long values, ElementType type, double threshold) {
      cuda.statistics(
          values,
          NativeStructs.code(type),
          placed.part().count(),
          threshold,
          scratch,
          onDevice + placed.statistics() + kind * STATISTICS_BYTES,
          stream);
    }

    /** Waits for the device, and copies its results to where they belong. */
    void empty(Results results) {
      if (work.isEmpty()) {
        return;
      }
      cuda.synchronize(stream);
      List<Move> moves = new ArrayList<>();
      for (Placed placed : work) {
        for (Transfer transfer : placed.transfers()) {
          if (transfer.copy() != null) {
            transfer.copy().arrive(transfer.from());
          }
        }
        Part part = placed.part();
        long width = part.average().outType().bytes();
        moves.add(
            new Move(
                pinned.asSlice(placed.out(), part.count() * width),
                part.of(part.average().out(), part.average().outType())));
        for (int kind = 0; kind < results.kinds(); kind++) {
          long at = placed.statistics() + kind * STATISTICS_BYTES;
          results.add(part.item(), kind, NativeStructs.valueStatistics(pinned, at));
        }
      }
      work.clear();
      move(moves);
    }

    /** Freeing null is allowed, so that a constructor that failed can call this. */
    void close() {
      cuda.destroyStream(stream);
      cuda.free(onDevice);
      cuda.free(scratch);
      cuda.hostFree(pinned);
    }
  }

  /**
   * The copy that holds an operand. Null if there is none, or if it cannot be used: because its
   * address is misaligned, or while a transfer of it is unfinished.
   */
  private DeviceCopies.@Nullable Copy copyFor(MemorySegment operand, ElementType type) {
    for (DeviceCopies copies : resident) {
      DeviceCopies.Copy copy = copies.find(operand);
      if (copy != null) {
        boolean aligned = copy.address(operand) % type.bytes() == 0;
        return aligned && !copy.isUnderway(operand) ? copy : null;
      }
    }
    return null;
  }

  private static long align(long offset) {
    return Math.ceilDiv(offset, ALIGNMENT) * ALIGNMENT;
  }

  /** Copies in pieces that the threads share. */
  private void move(List<Move> moves) {
    List<Move> pieces = new ArrayList<>();
    for (Move move : moves) {
      long bytes = move.from().byteSize();
      for (long at = 0; at < bytes; at += MOVE_BYTES) {
        long piece = Math.min(MOVE_BYTES, bytes - at);
        pieces.add(new Move(move.from().asSlice(at, piece), move.to().asSlice(at, piece)));
      }
    }
    pool.run(
        pieces.size(),
        1,
        (worker, begin, end) -> {
          for (long k = begin; k < end; k++) {
            Move piece = pieces.get((int) k);
            files.copy(piece.from(), piece.to());
          }
        });
  }

  @Override
  public void close() {
    cuda.setDevice(index);
    resident.forEach(DeviceCopies::close);
    resident.clear();
    if (slots != null) {
      slots.forEach(Slot::close);
      slots = null;
    }
  }
}
