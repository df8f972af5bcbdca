// F[o,i] += sum_{b,v} w[v,b] (sum_t g[v,b,t,o] a[b,t,i])^2 without writing a per-example gradient.
//
// A matrix product per (b, v) whose result is squared, weighted and added up: the tile of F stays in registers beside
// the product's sums while a block goes through all (b, v). With one token the sum over v moves inside, and what is left
// is one matrix product over the examples (`Square` is false; see fisher_kernels.h).
//
// 1. pack: g and a, rounded to the precision, into steps (squared_gradients_modes.cuh), with zeros beyond the edges, so that
//    the main loop has neither masks nor alignment to care for; with one token, s and a^2.
// 2. tile: the products. Steps come in by asynchronous copies, kStages - 1 ahead, without a break between (b, v).
// 3. join, where tiles are too few to fill the device: each split of the examples leaves its sums in the workspace, and
//    they are added to F in order.
// Examples are worked off in parts, so that one part is packed, which memory bounds, while the one before is multiplied.
//
// Roofline: README.md.
#pragma once

#include "squared_gradients_modes.cuh"

namespace fmc {

constexpr int kTileThreads = 256;
constexpr int kStages = 4;
static_assert(kPieces == kTileThreads && kSums * kTileThreads == kTile * kTile);

// Sizes that follow from the operands alone.
struct squared_gradients_shape {
  bool square;         // not one token
  int64_t down;        // panels of g
  int64_t across;      // panels of a
  int64_t examples;    // examples and probes as the tile kernel sees them: 1 where not `square`
  int64_t probes;
  int64_t steps;       // of one (b, v)
  int64_t bytes_g;     // packed
  int64_t bytes_a;

  // What splits divide: examples, or single steps.
  int64_t units() const { return square ? examples : steps; }
  int64_t steps_of_unit() const { return square ? probes * steps : 1; }

  // Each long beside what starting its kernels costs; the first one's packing is not hidden.
  int64_t parts() const {
    constexpr int64_t kMost = 4;
    constexpr int64_t kLeastSteps = 128;
    if (!square) return 1;
    return max64(1, min64(examples, min64(kMost, examples * probes * steps / kLeastSteps)));
  }
  // The most splits of a part of which none is empty.
  int64_t most_splits() const { return max64(1, units() / parts()); }
};

inline squared_gradients_shape shape_of(const fm_cotangents &g, const fm_activations &a, int64_t depth) {
  squared_gradients_shape s = {};
  s.square = g.tokens != 1;
  s.down = divide_up(g.width, kTile);
  s.across = divide_up(a.width, kTile);
  s.examples = s.square ? g.examples : 1;
  s.probes = s.square ? g.probes : 1;
  s.steps = divide_up(s.square ? g.tokens : g.examples, depth);
  s.bytes_g = s.down * s.examples * s.probes * s.steps * kStepBytes;
  s.bytes_a = s.across * s.examples * s.steps * kStepBytes;
  return s;
}

inline int64_t depth_of(int32_t precision) { return precision == FMC_BF16 ? bf16_mode::kDepth : fp32_mode::kDepth; }

inline int64_t squared_gradients_workspace(const squared_gradients_shape &s, int64_t splits) {
  return s.bytes_g + s.bytes_a + (splits > 1 ? splits * s.down * s.across * kTile * kTile * 4 : 0);
}

// The fewest steps in a row, with what leaving a split's tile in memory and adding it costs, in steps.
inline int32_t choose_splits(const squared_gradients_shape &s, int64_t multiprocessors) {
  constexpr int64_t kSplitCost = 35;
  const int64_t tiles = s.down * s.across;
  const int64_t units = divide_up(s.units(), s.parts());
  int64_t best = 1;
  int64_t least = INT64_MAX;
  for (int64_t splits = 1; splits <= min64(32, s.most_splits()); ++splits) {
    const int64_t waves = divide_up(tiles * splits, multiprocessors);
    const int64_t cost = s.parts() * waves * divide_up(units, splits) * s.steps_of_unit() +
                         (splits > 1 ? divide_up(splits * tiles * kSplitCost, multiprocessors) : 0);
    if (cost < least) {
      least = cost;
      best = splits;
    }
  }
  return static_cast<int32_t>(best);
}

// ---- pack ----

// What is packed, element by element: at step-relative token t of (b, v); with one token, t counts examples.
struct cotangent_source {
  fm_cotangents g;
  FMC_DEVICE int64_t tokens() const { return g.tokens; }
  FMC_DEVICE int64_t width() const { return g.width; }
  FMC_DEVICE float at(int64_t item, int64_t t, int64_t o) const {
    return row(g, item % g.probes, item / g.probes, t)[o];
  }
};
struct activation_source {
  fm_activations a;
  int64_t token_count;
  FMC_DEVICE int64_t tokens() const { return token_count; }
  FMC_DEVICE int64_t width() const { return a.width; }
  FMC_DEVICE float at(int64_t item, int64_t t, int64_t i) const { return row(a, item, t)[i]; }
};
struct single_cotangent_source {
  fm_cotangents g;
  FMC_DEVICE int64_t tokens() const { return g.examples; }
  FMC_DEVICE int64_t width() const { return g.width; }
  FMC_DEVICE float at(int64_t, int64_t b, int64_t o) const {
    float s = 0.0f;
    for (int64_t v = 0; v < g.probes; ++v) {
      const float x = row(g, v, b, 0)[o];
      const float term = multiply(multiply(weight(g, v, b), x), x);
      s = v == 0 ? term : add(s, term);
    }
    return s;
  }
};
struct single_activation_source {
  fm_activations a;
  int64_t examples;
  FMC_DEVICE int64_t tokens() const { return examples; }
  FMC_DEVICE int64_t width() const { return a.width; }
  FMC_DEVICE float at(int64_t, int64_t b, int64_t i) const {
    const float x = row(a, b, 0)[i];
    return multiply(x, x);
  }
};

// A block packs one step; steps of a panel follow each other, item after item.
template <class Mode, class Source>
struct pack_kernel {
  struct job {
    Source source;
    char *packed;
    uint32_t panel_steps;  // of all items of a panel
    uint32_t item_steps;
  };
  static constexpr int kThreads = kTileThreads;
  static constexpr int kShared = 0;

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    constexpr int kEach = 16 / static_cast<int>(sizeof(typename Mode::element));
    const uint32_t index = static_cast<uint32_t>(block.index());
    const uint32_t panel = index / j.panel_steps;
    const uint32_t step = index % j.panel_steps;
    const int64_t item = step / j.item_steps;
    const int64_t token = int64_t{step % j.item_steps} * Mode::kDepth + Mode::first_token(block.thread());
    const int64_t column = int64_t{panel} * kTile + Mode::first_row(block.thread());
    words w = {};
    FMC_UNROLL
    for (int e = 0; e < kEach; ++e) {
      const int64_t t = token + (Mode::kAlongTokens ? e : 0);
      const int64_t c = column + (Mode::kAlongTokens ? 0 : e);
      const bool present = t < j.source.tokens() && c < j.source.width();
      const uint32_t bits = Mode::round(present ? j.source.at(item, t, c) : 0.0f);
      if constexpr (kEach == 8) {
        w.word[e / 2] |= bits << (16 * (e % 2));
      } else {
        w.word[e] = bits;
      }
    }
    reinterpret_cast<words *>(j.packed)[block.index() * kPieces + block.thread()] = w;
  }
};

// ---- tiles ----

struct tile_job {
  const char *packed_g;
  const char *packed_a;
  const float *weights;  // null: all 1
  int64_t weight_probe_stride;
  int64_t down;
  int64_t across;
  int64_t examples;
  int64_t probes;
  int64_t steps;   // of one (b, v)
  int64_t units;   // what splits divide, and
  int64_t unit_steps;
  int64_t splits;
  float *partials;  // [splits, down, across, kSums, kTileThreads], where splits > 1
  bool resumes;     // partials hold the sums of the parts before
  float *fisher;
  int64_t rows;
  int64_t columns;
};

FMC_BOTH int64_t first_unit(int64_t split, int64_t units, int64_t splits) {
  return units / splits * split + min64(split, units % splits);
}

// A step of the whole sequence over (b, v, t), and where its operands are in their panels.
struct step_cursor {
  int64_t g_step;
  int64_t a_step;
  int64_t step;  // in its (b, v)
  int64_t probe;
  int64_t example;

  FMC_DEVICE step_cursor(const tile_job &j, int64_t from)
      : g_step(from), step(from % j.steps), probe(from / j.steps % j.probes), example(from / j.steps / j.probes) {
    a_step = example * j.steps + step;
  }
  FMC_DEVICE bool ends_product(const tile_job &j) const { return step == j.steps - 1; }
  // By steps of one product.
  FMC_DEVICE void advance(const tile_job &j, int64_t by = 1) {
    g_step += by;
    a_step += by;
    step += by;
    if (step < j.steps) return;
    step = 0;
    if (++probe < j.probes) {
      a_step -= j.steps;  // the next probe meets the same activations
    } else {
      probe = 0;
      ++example;
    }
  }
};

// Where in F the k-th sum of a thread lies, by a tile kernel's layout, and whether it does.
template <class Layout>
FMC_DEVICE bool locate(const tile_job &j, int64_t tile, int thread, int k, int64_t *at) {
  const int64_t o = tile / j.across * kTile + Layout::row_of(thread, k);
  const int64_t i = tile % j.across * kTile + Layout::column_of(thread, k);
  *at = o * j.columns + i;
  return o < j.rows && i < j.columns;
}

FMC_DEVICE float *partial(const tile_job &j, int64_t tile, int64_t split, int thread, int k) {
  return j.partials + ((split * j.down * j.across + tile) * kSums + k) * kTileThreads + thread;
}

// What the k-th sum of a thread goes on from.
template <class Layout>
FMC_DEVICE float sum_before(const tile_job &j, int64_t tile, int64_t split, int thread, int k) {
  if (j.splits > 1) return j.resumes ? *partial(j, tile, split, thread, k) : 0.0f;
  int64_t at;
  return locate<Layout>(j, tile, thread, k, &at) ? j.fisher[at] : 0.0f;
}

template <class Mode, bool Square>
struct tile_kernel {
  using job = tile_job;
  static constexpr int kThreads = kTileThreads;
  static constexpr int kShared = kStages * 2 * kStepBytes;

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    const int thread = block.thread();
    const int64_t tiles = j.down * j.across;
    const int64_t tile = block.index() % tiles;
    const int64_t split = block.index() / tiles;
    const int64_t begin = first_unit(split, j.units, j.splits) * j.unit_steps;
    const int64_t end = first_unit(split + 1, j.units, j.splits) * j.unit_steps;
    const int64_t panel_steps = j.examples * j.steps;
    const char *g = j.packed_g + tile / j.across * (panel_steps * j.probes) * kStepBytes + thread * 16;
    const char *a = j.packed_a + tile % j.across * panel_steps * kStepBytes + thread * 16;

    // Where not Square, sums are F itself.
    float sum[kSums];
    float total[Square ? kSums : 1];
    FMC_UNROLL
    for (int k = 0; k < kSums; ++k) {
      const float from = sum_before<Mode>(j, tile, split, thread, k);
      sum[k] = Square ? 0.0f : from;
      if constexpr (Square) total[k] = from;
    }

    step_cursor ahead(j, begin);
    int stage_ahead = 0;
    auto copy_next = [&]() {
      if (ahead.g_step < end) {
        char *to = block.shared() + stage_ahead * 2 * kStepBytes + thread * 16;
        block.copy_async(to, g + ahead.g_step * kStepBytes);
        block.copy_async(to + kStepBytes, a + ahead.a_step * kStepBytes);
        ahead.advance(j);
      }
      block.commit_copies();  // an empty group keeps the count
      stage_ahead = (stage_ahead + 1) % kStages;
    };
    for (int stage = 0; stage < kStages - 1; ++stage) copy_next();

    int stage = 0;
    for (step_cursor now(j, begin); now.g_step < end; now.advance(j)) {
      block.template wait_copies<kStages - 2>();
      block.barrier();  // all threads' copies of this step are there, and all are done with the step before
      copy_next();
      const char *step = block.shared() + stage * 2 * kStepBytes;
      Mode::multiply_step(block, step, step + kStepBytes, sum);
      stage = (stage + 1) % kStages;
      if constexpr (Square) {
        if (now.ends_product(j)) {
          const float w =
              j.weights == nullptr ? 1.0f : j.weights[now.probe * j.weight_probe_stride + now.example];
          FMC_UNROLL
          for (int k = 0; k < kSums; ++k) {
            total[k] = fmaf(multiply(w, sum[k]), sum[k], total[k]);
            sum[k] = 0.0f;
          }
        }
      }
    }

    FMC_UNROLL
    for (int k = 0; k < kSums; ++k) {
      float result = sum[k];
      if constexpr (Square) result = total[k];
      int64_t at;
      if (j.splits > 1) {
        *partial(j, tile, split, thread, k) = result;
      } else if (locate<Mode>(j, tile, thread, k, &at)) {
        j.fisher[at] = result;
      }
    }
  }
};

// Adds the splits' sums; a block does kSumsTogether of each thread's sums of a tile.
template <class Layout>
struct join_kernel {
  using job = tile_job;
  static constexpr int kThreads = kTileThreads;
  static constexpr int kShared = 0;
  static constexpr int kSumsTogether = 8;
  static constexpr int kBlocksPerTile = kSums / kSumsTogether;

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    const int64_t tile = block.index() / kBlocksPerTile;
    const int first = static_cast<int>(block.index() % kBlocksPerTile) * kSumsTogether;
    for (int k = first; k < first + kSumsTogether; ++k) {
      int64_t at;
      if (!locate<Layout>(j, tile, block.thread(), k, &at)) continue;
      float sum = 0.0f;
      for (int64_t split = 0; split < j.splits; ++split) {
        const float part = *partial(j, tile, split, block.thread(), k);
        sum = split == 0 ? part : add(sum, part);
      }
      j.fisher[at] = add(j.fisher[at], sum);
    }
  }
};

template <class Mode, class Source, class Launch>
void pack(Launch &launch, const Source &source, char *packed, int64_t panels, int64_t items, int64_t steps) {
  launch.template run<pack_kernel<Mode, Source>>(
      panels * items * steps,
      {source, packed, static_cast<uint32_t>(items * steps), static_cast<uint32_t>(steps)});
}

// Enqueues the packing of a part's operands, and answers what multiplies them.
template <class Mode, class Launch>
tile_job pack_operands(Launch &launch, const fm_cotangents &g, const fm_activations &a,
                       const squared_gradients_shape &s, char *packed) {
  tile_job job = {};
  char *packed_a = packed + s.bytes_g;
  job.packed_g = packed;
  job.packed_a = packed_a;
  job.weights = g.weights;
  job.weight_probe_stride = g.weight_probe_stride;
  job.down = s.down;
  job.across = s.across;
  job.examples = s.examples;
  job.probes = s.probes;
  job.steps = s.steps;
  job.units = s.units();
  job.unit_steps = s.steps_of_unit();
  job.rows = g.width;
  job.columns = a.width;
  if (s.square) {
    pack<Mode>(launch, cotangent_source{g}, packed, s.down, s.examples * s.probes, s.steps);
    pack<Mode>(launch, activation_source{a, g.tokens}, packed_a, s.across, s.examples, s.steps);
  } else {
    pack<Mode>(launch, single_cotangent_source{g}, packed, s.down, 1, s.steps);
    pack<Mode>(launch, single_activation_source{a, g.examples}, packed_a, s.across, 1, s.steps);
  }
  return job;
}

// How Mode's tiles are multiplied: by blocks of their own.
template <class Mode>
struct block_tiles {
  using mode = Mode;
  using layout = Mode;
  template <class Launch>
  static void multiply(Launch &launch, const squared_gradients_shape &s, const tile_job &job) {
    if (s.square) {
      launch.template run<tile_kernel<Mode, true>>(s.down * s.across * job.splits, job);
    } else {
      launch.template run<tile_kernel<Mode, false>>(s.down * s.across * job.splits, job);
    }
  }
};

// On `launch`, and with all packing but the first part's on `aside`, which may be the same.
template <class Tiles, class Launch>
void squared_gradients(Launch &launch, Launch &aside, const fm_cotangents &g, const fm_activations &a, int32_t splits,
                       void *workspace, float *fisher) {
  using mode = typename Tiles::mode;
  using join = join_kernel<typename Tiles::layout>;
  const squared_gradients_shape s = shape_of(g, a, mode::kDepth);
  if (s.bytes_g == 0 || s.bytes_a == 0) return;
  char *packed = static_cast<char *>(workspace);
  float *partials = reinterpret_cast<float *>(packed + s.bytes_g + s.bytes_a);
  tile_job job = {};
  for (int64_t part = 0; part < s.parts(); ++part) {
    fm_cotangents some_g = g;
    fm_activations some_a = a;
    if (s.square) {
      const int64_t first = first_unit(part, g.examples, s.parts());
      some_g.examples = first_unit(part + 1, g.examples, s.parts()) - first;
      some_g.data += first * g.example_stride;
      some_a.data += first * a.example_stride;
      if (g.weights != nullptr) some_g.weights += first;
    }
    const squared_gradients_shape some = shape_of(some_g, some_a, mode::kDepth);
    job = pack_operands<mode>(part == 0 ? launch : aside, some_g, some_a, some, packed);
    packed += some.bytes_g + some.bytes_a;
    job.splits = splits;
    job.partials = partials;
    job.resumes = part > 0;
    job.fisher = fisher;
    if (part > 0) {
      order(aside, launch);
    } else if (s.parts() > 1) {
      order(launch, aside);
    }
    Tiles::multiply(launch, some, job);
  }
  if (splits > 1) launch.template run<join>(s.down * s.across * join::kBlocksPerTile, job);
}

template <class Launch>
void squared_gradients(Launch &launch, Launch &aside, const fm_cotangents &g, const fm_activations &a,
                       int32_t precision, int32_t splits, void *workspace, float *fisher) {
  switch (precision) {
    case FMC_FP32: return squared_gradients<block_tiles<fp32_mode>>(launch, aside, g, a, splits, workspace, fisher);
    case FMC_TF32: return squared_gradients<block_tiles<tf32_mode>>(launch, aside, g, a, splits, workspace, fisher);
    default: return squared_gradients<block_tiles<bf16_mode>>(launch, aside, g, a, splits, workspace, fisher);
  }
}

}  // namespace fmc
