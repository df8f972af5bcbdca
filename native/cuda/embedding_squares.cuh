// Token embedding rows: per (b, v) the rows of g with equal id are summed, squared and added to that row of F.
//
// Accumulation: double, t in order; F = float(F + w * (s * s)) for b in order, inside it v in order: the bits of
// native/cpu. Rows not seen are not touched.
//
// No atomics: a block owns some columns of the rows whose id has one residue, reads all ids in order and acts on its
// own. Ids are few beside what is added for them, and all blocks find them in L2.
//
// Roofline: g once and a row of F in and out for each different id of each (b, v); in practice the reading of the
// ids, examples * tokens of them, one after the other, is what takes the time: about 10 ns each.
#pragma once

#include "portable.cuh"

namespace fmc {

struct embedding_squares_kernel {
  struct job {
    fm_cotangents g;
    const int64_t *ids;
    int64_t rows;
    float *fisher;
  };
  static constexpr int kThreads = 128;
  static constexpr int kShared = 0;
  static constexpr int kResidues = 64;

  FMC_DEVICE static bool seen_before(const int64_t *ids, int64_t t) {
    for (int64_t earlier = 0; earlier < t; ++earlier) {
      if (ids[earlier] == ids[t]) return true;
    }
    return false;
  }

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    const int64_t residue = block.index() % kResidues;
    const int64_t o = block.index() / kResidues * kThreads + block.thread();
    if (o >= j.g.width) return;
    for (int64_t b = 0; b < j.g.examples; ++b) {
      const int64_t *ids = j.ids + b * j.g.tokens;
      // The probes of an id may stay together: F's rows are independent, and v is still in order inside b.
      for (int64_t t = 0; t < j.g.tokens; ++t) {
        const int64_t id = ids[t];
        if (id % kResidues != residue || id < 0 || id >= j.rows || seen_before(ids, t)) continue;
        float total = j.fisher[id * j.g.width + o];
        for (int64_t v = 0; v < j.g.probes; ++v) {
          double sum = 0.0;
          for (int64_t same = t; same < j.g.tokens; ++same) {
            if (ids[same] == id) sum = add(sum, static_cast<double>(row(j.g, v, b, same)[o]));
          }
          const double term = multiply(static_cast<double>(weight(j.g, v, b)), multiply(sum, sum));
          total = static_cast<float>(add(static_cast<double>(total), term));
        }
        j.fisher[id * j.g.width + o] = total;
      }
    }
  }
};

template <class Launch>
void embedding_squares(Launch &launch, const fm_cotangents &g, const int64_t *ids, int64_t rows, float *fisher) {
  if (g.width == 0 || g.probes == 0) return;
  const int64_t blocks = divide_up(g.width, embedding_squares_kernel::kThreads) * embedding_squares_kernel::kResidues;
  launch.template run<embedding_squares_kernel>(blocks, {g, ids, rows, fisher});
}

}  // namespace fmc
