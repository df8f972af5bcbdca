// Versions of the squared-gradient kernel that are not, or not yet, in the library; README.md says what each is for. All add to F
// what fmc_squared_gradients does, with packed operands as squared_gradients.cuh packs them where they are packed.
#pragma once

#include "squared_gradients.cuh"

namespace fmc {

// ---- version 1: the definition ----

// A thread per element of F, operands as they come, floats. What the others are compared with on a device.
struct squared_gradients_by_element {
  struct job {
    fm_cotangents g;
    fm_activations a;
    float *fisher;
  };
  static constexpr int kThreads = 256;
  static constexpr int kShared = 0;

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    const int64_t at = block.index() * kThreads + block.thread();
    if (at >= j.g.width * j.a.width) return;
    const int64_t o = at / j.a.width;
    const int64_t i = at % j.a.width;
    float total = j.fisher[at];
    for (int64_t b = 0; b < j.g.examples; ++b) {
      for (int64_t v = 0; v < j.g.probes; ++v) {
        float sum = 0.0f;
        for (int64_t t = 0; t < j.g.tokens; ++t) sum = fmaf(row(j.g, v, b, t)[o], row(j.a, b, t)[i], sum);
        total = fmaf(multiply(weight(j.g, v, b), sum), sum, total);
      }
    }
    j.fisher[at] = total;
  }
};

// ---- version 4: warpgroups ----

// Where the operands of a warpgroup's multiplication lie in shared memory: steps as tensor_mode packs them, the halves of
// the tokens 128 pieces apart and groups of 8 rows 8 pieces apart, in no other order (PTX: matrix-descriptor).
FMC_BOTH uint64_t step_descriptor(uint32_t shared_address) {
  constexpr uint64_t kLeading = kTile * 16 / 16;
  constexpr uint64_t kStride = 8 * 16 / 16;
  return (shared_address & 0x3FFFF) / 16 | kLeading << 16 | kStride << 32;
}

// Hopper's way through the same packed operands. Four blocks, 2 down and 2 across, form a cluster: each copies half of
// its panel of g to the block beside it too, and half of its panel of a to the block below or above, so that a step costs
// a block 4 KB of L2's bandwidth and not 8. Two warpgroups have 64 rows each, 64 sums and 64 totals a thread; one more
// warp does nothing but copy, up to kStages stages of up to kStageSteps steps ahead.
template <class Mode, bool Square>
struct warpgroup_kernel {
  using job = tile_job;
  static constexpr int kConsumers = 256;
  static constexpr int kThreads = kConsumers + 32;
  static constexpr int kDown = 2;
  static constexpr int kAcross = 2;
  static constexpr int kCluster = kDown * kAcross;
  static constexpr int kStageSteps = 4;
  static constexpr int kStages = 6;
  static constexpr int kPanelBytes = kStageSteps * kStepBytes;
  static constexpr int kShared = kStages * (2 * kPanelBytes + 2 * 8);
  // Each warp that read a stage tells all blocks that write there: its own, the one beside it and the one below or above.
  static constexpr int kWriters = kDown + kAcross - 1;
  static constexpr int kReaders = kConsumers / 32 * kWriters;

  // The fragment of sums of wgmma.m64n128: a warp has 16 rows.
  FMC_BOTH static int row_of(int thread, int k) { return thread / 32 * 16 + k % 4 / 2 * 8 + thread % 32 / 4; }
  FMC_BOTH static int column_of(int thread, int k) { return k / 4 * 8 + thread % 4 * 2 + k % 2; }

  // Which blocks get what a block of this place in the cluster copies.
  FMC_BOTH static unsigned beside(int rank) { return 3u << (rank / kAcross * kAcross); }
  FMC_BOTH static unsigned above(int rank) { return 5u << (rank % kAcross); }

  static int64_t blocks(int64_t down, int64_t across, int64_t splits) {
    return divide_up(down, kDown) * divide_up(across, kAcross) * splits * kCluster;
  }

  // Some steps in a row, all of one product.
  FMC_DEVICE static int64_t steps_at(const job &j, const step_cursor &at, int64_t end) {
    return min64(min64(kStageSteps, j.steps - at.step), end - at.g_step);
  }

  struct place {
    int64_t down;
    int64_t across;
    int64_t split;
    FMC_DEVICE place(const job &j, int64_t index, int rank) {
      const int64_t clusters_across = divide_up(j.across, kAcross);
      const int64_t cluster = index / kCluster;
      const int64_t clusters = divide_up(j.down, kDown) * clusters_across;
      down = cluster % clusters / clusters_across * kDown + rank / kAcross;
      across = cluster % clusters % clusters_across * kAcross + rank % kAcross;
      split = cluster / clusters;
    }
    // At the edges of an odd number of panels a cluster has blocks without a tile. They copy and multiply the last one's.
    FMC_DEVICE bool exists(const job &j) const { return down < j.down && across < j.across; }
    FMC_DEVICE int64_t tile(const job &j) const {
      return min64(down, j.down - 1) * j.across + min64(across, j.across - 1);
    }
  };

  FMC_DEVICE static int least(int a, int b) { return a < b ? a : b; }

  struct ring {
    int stage = 0;
    int turn = 0;
    FMC_DEVICE void advance() {
      if (++stage < kStages) return;
      stage = 0;
      turn ^= 1;
    }
  };

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    uint64_t *full = reinterpret_cast<uint64_t *>(block.shared() + kStages * 2 * kPanelBytes);
    uint64_t *empty = full + kStages;
    if (block.thread() == 0) {
      for (int s = 0; s < kStages; ++s) {
        block.barrier_init(&full[s], 1);
        block.barrier_init(&empty[s], kReaders);
      }
    }
    block.cluster_barrier();
    const place here(j, block.index(), block.rank());
    const int64_t begin = first_unit(here.split, j.units, j.splits) * j.unit_steps;
    const int64_t end = first_unit(here.split + 1, j.units, j.splits) * j.unit_steps;
    const int warp = block.uniform(block.thread() / 32);
    if (warp == kConsumers / 32) {
      if (block.thread() == kConsumers) copy(block, j, here.tile(j), begin, end, full, empty);
    } else {
      multiply(block, j, here, warp, begin, end, full, empty);
    }
    block.cluster_barrier();  // nobody ends while others still copy to it, or tell it what they have read
  }

  template <class Block>
  FMC_DEVICE static void copy(Block &block, const job &j, int64_t tile, int64_t begin, int64_t end, uint64_t *full,
                              uint64_t *empty) {
    const int64_t panel_steps = j.examples * j.steps;
    const char *g = j.packed_g + tile / j.across * (panel_steps * j.probes) * kStepBytes;
    const char *a = j.packed_a + tile % j.across * panel_steps * kStepBytes;
    const int rank = block.rank();
    ring at;
    for (step_cursor now(j, begin); now.g_step < end; at.advance()) {
      const int64_t steps = steps_at(j, now, end);
      const int bytes = static_cast<int>(steps) * kStepBytes;
      char *to = block.shared() + at.stage * 2 * kPanelBytes;
      block.barrier_wait(&empty[at.stage], at.turn ^ 1);
      block.barrier_expect(&full[at.stage], 2 * bytes);
      const int of_g = rank % kAcross * (bytes / kAcross);
      block.copy_bulk(to + of_g, g + now.g_step * kStepBytes + of_g, bytes / kAcross, &full[at.stage], beside(rank));
      const int of_a = rank / kAcross * (bytes / kDown);
      block.copy_bulk(to + kPanelBytes + of_a, a + now.a_step * kStepBytes + of_a, bytes / kDown, &full[at.stage],
                      above(rank));
      now.advance(j, steps);
    }
  }

  template <class Block>
  FMC_DEVICE static void multiply(Block &block, const job &j, const place &here, int warp, int64_t begin,
                                  int64_t end, uint64_t *full, uint64_t *empty) {
    const int thread = block.thread();
    const int64_t tile = here.tile(j);
    const uint32_t stages = block.address(block.shared());
    // A lane for each block that is told.
    const int lane = thread % 32;
    const bool tells = lane < kCluster && ((beside(block.rank()) | above(block.rank())) >> lane & 1) != 0;

    float sum[kSums];
    float total[Square ? kSums : 1];
    FMC_UNROLL
    for (int k = 0; k < kSums; ++k) {
      sum[k] = 0.0f;
      if constexpr (Square) total[k] = sum_before<warpgroup_kernel>(j, tile, here.split, thread, k);
    }

    // Counted in numbers that the compiler knows to be the same in all threads: wgmma must not lie on a path that it
    // takes for one that threads go alone.
    step_cursor now(j, begin);
    int left = block.uniform(static_cast<int>(end - begin));
    int done = block.uniform(static_cast<int>(now.step));
    const int all = left;
    const int product = block.uniform(static_cast<int>(j.steps));
    for (ring at; left > 0; at.advance()) {
      const int steps = least(least(kStageSteps, product - done), left);
      const uint32_t g = stages + static_cast<uint32_t>(at.stage * 2 * kPanelBytes + warp / 4 * 64 * 16);
      const uint32_t a = stages + static_cast<uint32_t>(at.stage * 2 * kPanelBytes + kPanelBytes);
      const bool adds = Square ? done > 0 : left < all;
      block.barrier_wait(&full[at.stage], at.turn);
      if (steps == kStageSteps) {
        block.multiply_begin(sum);
        FMC_UNROLL
        for (uint32_t s = 0; s < kStageSteps; ++s) {
          Mode::multiply_warpgroup(block, sum, step_descriptor(g + s * kStepBytes),
                                   step_descriptor(a + s * kStepBytes), adds || s > 0);
        }
      } else {
        for (uint32_t s = 0; s < static_cast<uint32_t>(steps); ++s) {
          block.multiply_begin(sum);
          Mode::multiply_warpgroup(block, sum, step_descriptor(g + s * kStepBytes),
                                   step_descriptor(a + s * kStepBytes), adds || s > 0);
        }
      }
      block.multiply_commit();
      // Meanwhile the other warpgroup multiplies.
      block.template multiply_wait<0>(sum);
      block.barrier_arrive(&empty[at.stage], lane, tells);
      left -= steps;
      done += steps;
      if constexpr (Square) {
        if (done == product) {
          done = 0;
          const float w = j.weights == nullptr ? 1.0f : j.weights[now.probe * j.weight_probe_stride + now.example];
          FMC_UNROLL
          for (int k = 0; k < kSums; ++k) total[k] = fmaf(fmc::multiply(w, sum[k]), sum[k], total[k]);
          now.advance(j, j.steps);
        }
      }
    }

    if (!here.exists(j)) return;
    FMC_UNROLL
    for (int k = 0; k < kSums; ++k) {
      float result = sum[k];
      if constexpr (Square) result = total[k];
      int64_t to;
      if (j.splits > 1) {
        *partial(j, tile, here.split, thread, k) = result;
      } else if (locate<warpgroup_kernel>(j, tile, thread, k, &to)) {
        j.fisher[to] = Square ? result : add(j.fisher[to], result);
      }
    }
  }
};

// The tensor modes with warpgroups' instructions.
struct tf32_warpgroups : tf32_mode {
  template <class Block>
  FMC_DEVICE static void multiply_warpgroup(Block &block, float (&sum)[kSums], uint64_t g, uint64_t a, bool add) {
    block.multiply_warpgroup_tf32(sum, g, a, add);
  }
};
struct bf16_warpgroups : bf16_mode {
  template <class Block>
  FMC_DEVICE static void multiply_warpgroup(Block &block, float (&sum)[kSums], uint64_t g, uint64_t a, bool add) {
    block.multiply_warpgroup_bf16(sum, g, a, add);
  }
};

// How Mode's tiles are multiplied: by clusters.
template <class Mode>
struct cluster_tiles {
  using mode = Mode;
  using layout = warpgroup_kernel<Mode, true>;
  template <class Launch>
  static void multiply(Launch &launch, const squared_gradients_shape &s, const tile_job &job) {
    const int64_t blocks = layout::blocks(s.down, s.across, job.splits);
    if (s.square) {
      launch.template run_clusters<warpgroup_kernel<Mode, true>>(blocks, job);
    } else {
      launch.template run_clusters<warpgroup_kernel<Mode, false>>(blocks, job);
    }
  }
};

}  // namespace fmc
