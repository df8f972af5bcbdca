// F[j] += scale * g[j]^2 in double (g^2 is exact there), rounded once to float: the bits of native/cpu.
//
// Roofline: 12 bytes per element; 3 double operations and 3 conversions.
#pragma once

#include "numbers.cuh"

namespace fmc {

struct square_accumulate_kernel {
  struct job {
    const float *gradient;
    double scale;
    float *fisher;
    int64_t count;
  };
  static constexpr int kThreads = 256;
  static constexpr int kShared = 0;

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    const int64_t begin = (block.index() * kThreads + block.thread()) * kGroup;
    const int64_t count = min64(kGroup, j.count - begin);
    if (count <= 0) return;
    double g[kGroup];
    double f[kGroup];
    load_group<FM_F32>(j.gradient, begin, count, 0.0, g);
    load_group<FM_F32>(j.fisher, begin, count, 0.0, f);
    FMC_UNROLL
    for (int k = 0; k < kGroup; ++k) f[k] = add(f[k], multiply(j.scale, multiply(g[k], g[k])));
    store_group<FM_F32>(j.fisher, begin, count, f);
  }
};

template <class Launch>
void square_accumulate(Launch &launch, const float *gradient, double scale, float *fisher, int64_t count) {
  if (count == 0) return;
  launch.template run<square_accumulate_kernel>(blocks_for<square_accumulate_kernel>(count, kGroup),
                                                {gradient, scale, fisher, count});
}

}  // namespace fmc
