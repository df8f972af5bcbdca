// Sum of squares of a range.
//
// Accumulation: double; 16 partial sums, element j of the range in partial sum j mod 16, in order, multiplication and
// addition separate; at the end the partial sums are added as a tree (l with l + 8, then + 4, + 2, + 1). The same bits
// on every tier. NaN and infinity follow IEEE 754.
#include "tier.h"

namespace fm::FM_TIER {
namespace {

constexpr int kPartials = 16;
constexpr int kVectors = kPartials / kLanesD;

template <int Type>
double sum(const void *x, int64_t begin, int64_t end) {
  vd partial[kVectors];
  for (vd &p : partial) p = set_d(0.0);
  int64_t j = begin;
  for (; j + kPartials <= end; j += kPartials) {
#pragma GCC unroll 8
    for (int u = 0; u < kVectors; ++u) {
      vd value = load<Type>(x, j + u * kLanesD);
      partial[u] = partial[u] + value * value;
    }
  }
  for (int u = 0; j < end; ++u, j += kLanesD) {
    vd value = load_first<Type>(x, j, min64(kLanesD, end - j));  // absent lanes add +0, which changes no sum of squares
    partial[u] = partial[u] + value * value;
  }
  double lanes[kPartials];
  for (int u = 0; u < kVectors; ++u) store_f64(lanes + u * kLanesD, partial[u]);
  for (int half = kPartials / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return lanes[0];
}

}  // namespace

void sum_of_squares(const void *x, int32_t type, int64_t begin, int64_t end, double *result) {
  switch (type) {
    case FM_F32: *result = sum<FM_F32>(x, begin, end); return;
    case FM_F16: *result = sum<FM_F16>(x, begin, end); return;
    case FM_BF16: *result = sum<FM_BF16>(x, begin, end); return;
    default: *result = sum<FM_F64>(x, begin, end); return;
  }
}

}  // namespace fm::FM_TIER
