package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * Finds the elements that queries ask for, exactly, in one pass over memory. For each query a
 * sample brackets the magnitude that is looked for; the pass counts what lies outside the bracket
 * and gathers what lies within, block by block, so that threads share a single query too, and the
 * queries of one base read a block of it once. Where the sample misleads, the magnitude is found by
 * bisection instead. What is found does not depend on the threads.
 */
final class MagnitudeRanks {
  /** Elements of a block, whose counts are kept to find a place again. */
  private static final int BLOCK = 65536;

  /** Up to so many elements are looked at all at once. */
  private static final int FEW = 16384;

  /**
   * Groups of a sample that follow each other: operands in files are read run by run, which takes a
   * microsecond, however short a run is.
   */
  private static final int RUN = 4;

  /**
   * Standard deviations of a sample's rank to either side: 4 would do for independent elements, and
   * neighbours, which are sampled together, may be alike.
   */
  private static final double DEVIATIONS = 12;

  /** Magnitudes found by all the queries that are worked on at a time, unless one has more. */
  private static final long MOST_FOUND = 16L << 20;

  private final KernelProvider provider;
  private final ElementKernels elements;
  private final WorkerPool pool;
  private final LongFunction<MemorySegment> workspace;

  /**
   * For one engine.
   *
   * @param elements reads the operands
   * @param workspace memory of at least so many bytes, aligned to 64, until it is asked again
   */
  MagnitudeRanks(
      KernelProvider provider,
      ElementKernels elements,
      WorkerPool pool,
      LongFunction<MemorySegment> workspace) {
    this.provider = provider;
    this.elements = elements;
    this.pool = pool;
    this.workspace = workspace;
  }

  /** The elements that the queries ask for, in their order. */
  List<RankedMagnitude> find(List<MagnitudeQuery> queries) {
    List<RankedMagnitude> found = new ArrayList<>(queries.size());
    for (Wave wave : waves(queries.stream().map(MagnitudeQuery::count).toList())) {
      found.addAll(find(queries.subList(wave.from(), wave.until()), wave));
    }
    return found;
  }

  /** Queries [from, until), which are worked on together, and the F32 values that they need. */
  private record Wave(int from, int until, long room, long scratch) {
    long bytes(int threads) {
      return (room + threads * scratch) * Float.BYTES;
    }
  }

  private static List<Wave> waves(List<Long> counts) {
    List<Wave> waves = new ArrayList<>();
    int from = 0;
    while (from < counts.size()) {
      int until = from;
      long room = 0;
      long scratch = BLOCK;
      do {
        long count = counts.get(until++);
        room += Search.room(count);
        scratch = Math.max(scratch, (long) groups(count) * MagnitudeScan.GROUP);
      } while (until < counts.size() && room + Search.room(counts.get(until)) <= MOST_FOUND);
      waves.add(new Wave(from, until, room, scratch + MagnitudeScan.SLACK));
      from = until;
    }
    return waves;
  }

  /** The most that queries about so many elements each take of the workspace. */
  static long workspaceBytes(List<Long> counts, int threads) {
    return waves(counts).stream().mapToLong(wave -> wave.bytes(threads)).max().orElse(0);
  }

  private List<RankedMagnitude> find(List<MagnitudeQuery> queries, Wave wave) {
    long perThread = wave.scratch();
    MemorySegment space = workspace.apply(wave.bytes(pool.threads()));
    LongFunction<MemorySegment> scratchOf = worker -> floats(space, worker * perThread, perThread);
    try (Arena arena = Arena.ofConfined()) {
      List<Search> searches = new ArrayList<>();
      long at = pool.threads() * perThread;
      Map<Long, long[]> placesOf = new HashMap<>();
      for (MagnitudeQuery query : queries) {
        long length = Search.room(query.count());
        searches.add(
            new Search(
                provider,
                query,
                elements.magnitudes(query.values(), query.base(), arena),
                placesOf.computeIfAbsent(query.count(), MagnitudeRanks::places),
                floats(space, at, length)));
        at += length;
      }
      each(searches.size(), scratchOf, (k, scratch) -> searches.get(k).bracket(scratch));
      scan(searches, scratchOf);
      RankedMagnitude[] answers = new RankedMagnitude[searches.size()];
      each(answers.length, scratchOf, (k, scratch) -> answers[k] = searches.get(k).answer(scratch));
      return List.of(answers);
    }
  }

  private static MemorySegment floats(MemorySegment space, long from, long count) {
    return space.asSlice(from * Float.BYTES, count * Float.BYTES);
  }

  /**
   * Groups of a sample of so many elements. Its size weighs the time to find its own quantiles
   * against that to select among what lies between them.
   */
  private static int groups(long count) {
    return count <= FEW
        ? 0
        : (int) (1.25 * Math.pow((double) count, 2 / 3.0)) / (RUN * MagnitudeScan.GROUP) * RUN;
  }

  /**
   * Where the groups of a sample begin: a run of them anywhere in each stretch, so that it meets no
   * period.
   */
  static long[] places(long count) {
    long[] places = new long[groups(count)];
    int length = RUN * MagnitudeScan.GROUP;
    for (int r = 0; r < places.length / RUN; r++) {
      long stretch = count / (places.length / RUN);
      long offset = Integer.toUnsignedLong(Kept.hash(r, 0)) % (stretch - length + 1);
      for (int g = 0; g < RUN; g++) {
        places[r * RUN + g] = r * stretch + offset + (long) g * MagnitudeScan.GROUP;
      }
    }
    return places;
  }

  /** A block of a base, with all the queries that ask about differences from it. */
  private record Item(List<Search> searches, int block) {}

  private void scan(List<Search> searches, LongFunction<MemorySegment> scratchOf) {
    List<Item> items = new ArrayList<>();
    int from = 0;
    while (from < searches.size()) {
      int until = from + 1;
      while (until < searches.size() && searches.get(until).sharesBase(searches.get(from))) {
        until++;
      }
      List<Search> together = searches.subList(from, until);
      for (int b = 0; b < together.getFirst().blocks(); b++) {
        items.add(new Item(together, b));
      }
      from = until;
    }
    each(
        items.size(),
        scratchOf,
        (k, scratch) -> {
          Item item = items.get(k);
          item.searches().forEach(search -> search.scan(item.block(), scratch));
        });
  }

  private interface Task {
    void run(int index, MemorySegment scratch);
  }

  /** Shares so many tasks among the threads, each of which has memory of its own. */
  private void each(int tasks, LongFunction<MemorySegment> scratchOf, Task task) {
    pool.run(
        tasks,
        1,
        (worker, begin, end) -> {
          MemorySegment scratch = scratchOf.apply(worker);
          for (long k = begin; k < end; k++) {
            task.run((int) k, scratch);
          }
        });
  }

  /** One query. Its blocks are scanned by several threads, everything else by one. */
  private static final class Search {
    private static final float LARGEST = Float.POSITIVE_INFINITY;

    private final KernelProvider provider;
    private final MagnitudeQuery query;
    private final MagnitudeScan magnitudes;

    /** Of the groups of its sample. */
    private final long[] places;

    /** Takes what the blocks find, in the order in which they are done. */
    private final MemorySegment found;

    private long foundCount;

    /** Of the last scan: its bracket, and each block's counts and first magnitude found. */
    private float low;

    private float high = LARGEST;
    private final MagnitudeScan.@Nullable Counts[] counts;
    private final long[] firstFound;

    Search(
        KernelProvider provider,
        MagnitudeQuery query,
        MagnitudeScan magnitudes,
        long[] places,
        MemorySegment found) {
      this.provider = provider;
      this.query = query;
      this.magnitudes = magnitudes;
      this.places = places;
      this.found = found;
      this.counts = new MagnitudeScan.Counts[Math.toIntExact(Math.ceilDiv(query.count(), BLOCK))];
      this.firstFound = new long[counts.length];
    }

    /** How far from a share of a sample the same share of all may lie, in ranks of the sample. */
    private static double spread(double share, long sampled, long count) {
      double variance = Math.max(share * (1 - share), 1.0 / count);
      return DEVIATIONS * Math.sqrt(sampled * variance) + MagnitudeScan.GROUP;
    }

    /** Magnitudes that a bracket may hold: more than are to be expected. */
    static long room(long count) {
      long sampled = (long) groups(count) * MagnitudeScan.GROUP;
      return sampled == 0
          ? count
          : Math.min(count, (long) (1.25 * count * 2 * spread(0.5, sampled, count) / sampled));
    }

    boolean sharesBase(Search other) {
      return query.count() == other.query.count()
          && query.base().data().address() == other.query.base().data().address();
    }

    int blocks() {
      return counts.length;
    }

    /** By falling magnitude the ranks of magnitudes run backwards, those of equal ones do not. */
    private long rising() {
      return query.descending() ? query.count() - 1 - query.rank() : query.rank();
    }

    /**
     * Chooses a bracket that is likely to hold the magnitude of the rank.
     *
     * @param sample room for it
     */
    void bracket(MemorySegment sample) {
      if (places.length == 0) {
        return; // all of them
      }
      try (Arena arena = Arena.ofConfined()) {
        magnitudes.sample(arena.allocateFrom(JAVA_LONG, places), places.length, sample);
      }
      long sampled = (long) places.length * MagnitudeScan.GROUP;
      double share = (double) rising() / query.count();
      double spread = spread(share, sampled, query.count());
      long first = (long) Math.floor(share * sampled - spread);
      long last = (long) Math.ceil(share * sampled + spread);
      if (first > 0) {
        low = provider.selectMagnitude(sample, sampled, first, 0, LARGEST).magnitude();
      }
      if (last < sampled - 1) {
        high = provider.selectMagnitude(sample, sampled, last, 0, LARGEST).magnitude();
      }
    }

    /**
     * Counts a block, and gathers what lies within the bracket.
     *
     * @param scratch room for a block and slack
     */
    void scan(int b, MemorySegment scratch) {
      MagnitudeScan.Counts there = scan(b, low, high, scratch);
      long at = reserve(b, there);
      if (at + there.between() <= found.byteSize() / Float.BYTES) {
        MemorySegment.copy(scratch, 0, found, at * Float.BYTES, there.between() * Float.BYTES);
      }
    }

    private synchronized long reserve(int b, MagnitudeScan.Counts there) {
      counts[b] = there;
      firstFound[b] = foundCount;
      foundCount += there.between();
      return firstFound[b];
    }

    private MagnitudeScan.Counts scan(int b, float from, float to, MemorySegment scratch) {
      long begin = (long) b * BLOCK;
      return magnitudes.scan(from, to, scratch, begin, Math.min(query.count(), begin + BLOCK));
    }

    /** The element, once all blocks are scanned. */
    RankedMagnitude answer(MemorySegment scratch) {
      SelectedMagnitude selected = within();
      if (selected == null) {
        selected = bisect(scratch);
      }
      long above = query.count() - selected.below() - selected.equal();
      long among = query.rank() - (query.descending() ? above : selected.below());
      return new RankedMagnitude(selected.magnitude(), place(selected.magnitude(), among, scratch));
    }

    /** The magnitude of the rank, if it lies in the bracket and that does not hold too many. */
    private @Nullable SelectedMagnitude within() {
      if (foundCount > found.byteSize() / Float.BYTES) {
        return null;
      }
      long below = 0;
      long atLow = 0;
      long atHigh = 0;
      for (MagnitudeScan.Counts there : counts) {
        MagnitudeScan.Counts block = Objects.requireNonNull(there);
        below += block.below();
        atLow += block.atLow();
        atHigh += block.atHigh();
      }
      long rank = rising() - below;
      if (rank < 0) {
        return null;
      }
      if (rank < atLow) {
        return new SelectedMagnitude(low, below, atLow);
      }
      rank -= atLow;
      if (rank < foundCount) {
        SelectedMagnitude selected = provider.selectMagnitude(found, foundCount, rank, low, high);
        return new SelectedMagnitude(
            selected.magnitude(), below + atLow + selected.below(), selected.equal());
      }
      return low < high && rank < foundCount + atHigh
          ? new SelectedMagnitude(high, below + atLow + foundCount, atHigh)
          : null;
    }

    private SelectedMagnitude bisect(MemorySegment scratch) {
      int least = 0;
      int most = Float.floatToRawIntBits(LARGEST);
      while (true) {
        // The bits of magnitudes are integers in the same order.
        int middle = least + (most - least) / 2;
        low = Float.intBitsToFloat(middle);
        high = low;
        long below = 0;
        long equal = 0;
        for (int b = 0; b < counts.length; b++) {
          MagnitudeScan.Counts there = scan(b, low, low, scratch);
          counts[b] = there;
          below += there.below();
          equal += there.atLow();
        }
        if (rising() < below) {
          most = middle - 1;
        } else if (rising() < below + equal || middle == most) {
          return new SelectedMagnitude(low, below, equal);
        } else {
          least = middle + 1;
        }
      }
    }

    /** Where the {@code among}-th of equal magnitudes lies; 0 for the first. */
    private long place(float magnitude, long among, MemorySegment scratch) {
      if (among == 0) {
        return 0;
      }
      long left = among;
      for (int b = 0; b < counts.length; b++) {
        long equal = equal(b, magnitude);
        if (left < equal) {
          return placeIn(b, magnitude, left, scratch);
        }
        left -= equal;
      }
      return 0; // where differences are not numbers
    }

    private long placeIn(int b, float magnitude, long among, MemorySegment scratch) {
      long left = among;
      long begin = (long) b * BLOCK;
      long end = Math.min(query.count(), begin + BLOCK);
      while (end - begin > 1) {
        long middle = (begin + end) >>> 1;
        long equal = magnitudes.scan(magnitude, magnitude, scratch, begin, middle).atLow();
        if (left < equal) {
          end = middle;
        } else {
          left -= equal;
          begin = middle;
        }
      }
      return begin;
    }

    /** How many magnitudes of a block are the one that was selected. */
    private long equal(int b, float magnitude) {
      MagnitudeScan.Counts there = Objects.requireNonNull(counts[b]);
      if (magnitude == low) {
        return there.atLow();
      }
      return magnitude == high
          ? there.atHigh()
          : provider.countEqual(
              floats(found, firstFound[b], there.between()), there.between(), magnitude);
    }
  }
}
