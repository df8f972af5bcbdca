package org.fishermerge.estimate;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * Sums over blocks of examples, added in an order that depends on the blocks' places in the whole
 * run alone: block 0 to block 1, 2 to 3, the sum of 0 and 1 to that of 2 and 3, and so on, in fp32.
 * A range of blocks is kept as the sums of the largest aligned runs of 1, 2, 4, ... blocks that it
 * is made of, so that ranges computed apart are joined by the very additions of the whole.
 *
 * <p>Of n blocks there are at most 2 log2(n) such sums at a time, each as large as a Fisher. Not
 * thread-safe.
 */
final class PairwiseSums {
  /**
   * The sum of {@code 2^level} blocks, of which the first is a multiple of that number.
   *
   * @param sums fp32, by parameter name
   */
  record Node(long block, int level, Map<String, MemorySegment> sums) {
    private boolean joins(Node right) {
      return level == right.level
          && right.block == block + (1L << level)
          && (block >> level) % 2 == 0;
    }
  }

  private final List<Node> nodes = new ArrayList<>();

  /** Adds the sum of the blocks after those that are here; copies it. */
  void add(Node node) {
    Map<String, MemorySegment> copy = new LinkedHashMap<>();
    node.sums.forEach((name, sum) -> {
      MemorySegment own = Arena.ofAuto().allocate(sum.byteSize(), Float.BYTES);
      copy.put(name, own.copyFrom(sum));
    });
    nodes.add(new Node(node.block, node.level, copy));
    while (nodes.size() > 1 && nodes.get(nodes.size() - 2).joins(nodes.getLast())) {
      Node right = nodes.removeLast();
      Node left = nodes.removeLast();
      addInto(left.sums, right.sums);
      nodes.add(new Node(left.block, left.level + 1, left.sums));
    }
  }

  /** The sums that are left, in order of their blocks. */
  List<Node> nodes() {
    return List.copyOf(nodes);
  }

  /** The sum of all blocks: each sum that is left is added to that of those after it. */
  Map<String, MemorySegment> total() {
    while (nodes.size() > 1) {
      Node right = nodes.removeLast();
      addInto(nodes.getLast().sums, right.sums);
    }
    return nodes.getFirst().sums;
  }

  private static void addInto(Map<String, MemorySegment> left, Map<String, MemorySegment> right) {
    left.forEach((name, sum) -> {
      MemorySegment other = Objects.requireNonNull(right.get(name));
      for (long j = 0; j < sum.byteSize() / Float.BYTES; j++) {
        sum.setAtIndex(
            ValueLayout.JAVA_FLOAT,
            j,
            sum.getAtIndex(ValueLayout.JAVA_FLOAT, j)
                + other.getAtIndex(ValueLayout.JAVA_FLOAT, j));
      }
    });
  }
}
