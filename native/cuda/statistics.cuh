// Sum of squares, smallest value and count below a threshold.
//
// Two stages and no atomics: a block reduces a chunk of fixed size, and one block reduces the chunks, each with a
// balanced tree over its threads. Which thread adds which elements does not depend on the alignment or on the device.
//
// Roofline: the operand is read once; 2 double operations and a conversion per element.
#pragma once

#include "numbers.cuh"

namespace fmc {

constexpr int kStatisticsThreads = 256;
constexpr int kChunkGroups = 8;  // groups of each thread in a chunk
constexpr int64_t kChunk = int64_t{kGroup} * kChunkGroups * kStatisticsThreads;

FMC_DEVICE void join(fm_value_statistics &a, const fm_value_statistics &b) {
  a.sum_of_squares = add(a.sum_of_squares, b.sum_of_squares);
  a.minimum = b.minimum < a.minimum ? b.minimum : a.minimum;
  a.below += b.below;
}

// Thread 0 returns with all threads' statistics.
template <class Block>
FMC_DEVICE void join_threads(Block &block, fm_value_statistics &own) {
  fm_value_statistics *all = reinterpret_cast<fm_value_statistics *>(block.shared());
  all[block.thread()] = own;
  for (int half = kStatisticsThreads / 2; half > 0; half /= 2) {
    block.barrier();
    if (block.thread() < half) join(all[block.thread()], all[block.thread() + half]);
  }
  own = all[block.thread()];
}

template <int Type>
struct chunk_statistics {
  struct job {
    const void *x;
    int64_t count;
    double threshold;
    fm_value_statistics *chunks;
  };
  static constexpr int kThreads = kStatisticsThreads;
  static constexpr int kShared = kThreads * static_cast<int>(sizeof(fm_value_statistics));

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    fm_value_statistics own = {0.0, INFINITY, 0};
    FMC_UNROLL
    for (int round = 0; round < kChunkGroups; ++round) {
      const int64_t begin = block.index() * kChunk + (int64_t{round} * kThreads + block.thread()) * kGroup;
      if (begin >= j.count) break;
      const int64_t count = min64(kGroup, j.count - begin);
      double x[kGroup];
      load_group<Type>(j.x, begin, count, 0.0, x);
      FMC_UNROLL
      for (int k = 0; k < kGroup; ++k) {
        if (k >= count) continue;
        own.sum_of_squares = add(own.sum_of_squares, multiply(x[k], x[k]));
        own.minimum = x[k] < own.minimum ? x[k] : own.minimum;
        own.below += x[k] < j.threshold;
      }
    }
    join_threads(block, own);
    if (block.thread() == 0) j.chunks[block.index()] = own;
  }
};

struct joined_statistics {
  struct job {
    const fm_value_statistics *chunks;
    int64_t count;
    fm_value_statistics *result;
  };
  static constexpr int kThreads = kStatisticsThreads;
  static constexpr int kShared = kThreads * static_cast<int>(sizeof(fm_value_statistics));

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    fm_value_statistics own = {0.0, INFINITY, 0};
    for (int64_t c = block.thread(); c < j.count; c += kThreads) join(own, j.chunks[c]);
    join_threads(block, own);
    if (block.thread() == 0) *j.result = own;
  }
};

inline int64_t statistics_workspace(int64_t count) {
  return divide_up(count, kChunk) * static_cast<int64_t>(sizeof(fm_value_statistics));
}

template <class Launch>
void statistics(Launch &launch, const void *x, int32_t type, int64_t count, double threshold, void *workspace,
                fm_value_statistics *result) {
  fm_value_statistics *chunks = static_cast<fm_value_statistics *>(workspace);
  const int64_t blocks = divide_up(count, kChunk);
  if (blocks > 0) {
    switch (type) {
      case FM_F32: launch.template run<chunk_statistics<FM_F32>>(blocks, {x, count, threshold, chunks}); break;
      case FM_F16: launch.template run<chunk_statistics<FM_F16>>(blocks, {x, count, threshold, chunks}); break;
      case FM_BF16: launch.template run<chunk_statistics<FM_BF16>>(blocks, {x, count, threshold, chunks}); break;
      default: launch.template run<chunk_statistics<FM_F64>>(blocks, {x, count, threshold, chunks}); break;
    }
  }
  launch.template run<joined_statistics>(1, {chunks, blocks, result});
}

}  // namespace fmc
