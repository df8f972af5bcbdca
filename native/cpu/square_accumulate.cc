// F[j] += scale * g[j]^2.
//
// Accumulation: double (g^2 is exact there), rounded once to float, to nearest even; multiplication and addition
// separate, so every tier gives the same bits. NaN and infinity follow IEEE 754.
#include "tier.h"

namespace fm::FM_TIER {

void square_accumulate(const float *gradient, double scale, float *fisher, int64_t begin, int64_t end) {
  const vd factor = set_d(scale);
  int64_t j = begin;
  for (; j + kLanesD <= end; j += kLanesD) {
    vd g = load<FM_F32>(gradient, j);
    store<FM_F32>(fisher, j, load<FM_F32>(fisher, j) + factor * (g * g));
  }
  if (j < end) {
    vd g = load_first<FM_F32>(gradient, j, end - j);
    store_first<FM_F32>(fisher, j, end - j, load_first<FM_F32>(fisher, j, end - j) + factor * (g * g));
  }
}

}  // namespace fm::FM_TIER
