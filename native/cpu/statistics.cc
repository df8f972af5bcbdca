// What a merge asks of a range of values before it trusts them: sum of squares, smallest value, count below a threshold.
//
// Accumulation of the sum: double; 16 partial sums, element j of the range in partial sum j mod 16, in order,
// multiplication and addition separate; at the end the partial sums are added as a tree (l with l + 8, then + 4, + 2,
// + 1). The same bits on every tier. A NaN or infinity makes the sum NaN or infinite, so that no other test for them is
// needed; NaN is left out of the minimum and of the count.
#include "tier.h"

namespace fm::FM_TIER {
namespace {

constexpr int kPartials = 16;
constexpr int kVectors = kPartials / kLanesD;

template <int Type>
void scan(const void *x, int64_t begin, int64_t end, double threshold, fm_value_statistics *result) {
  const vd limit = set_d(threshold);
  vd partial[kVectors];
  vd minimum = set_d(__builtin_inf());
  vl below = {};
  for (vd &p : partial) p = set_d(0.0);
  int64_t j = begin;
  for (; j + kPartials <= end; j += kPartials) {
    vd value[kVectors];
#pragma GCC unroll 4
    for (int u = 0; u < kVectors; u += 2) load_pair<Type>(x, j + u * kLanesD, value + u);
#pragma GCC unroll 8
    for (int u = 0; u < kVectors; ++u) {
      partial[u] = partial[u] + value[u] * value[u];
      minimum = value[u] < minimum ? value[u] : minimum;
      below -= (vl)(value[u] < limit);  // true is -1
    }
  }
  double least = __builtin_inf();
  int64_t count = 0;
  double lanes[kPartials];
  for (int u = 0; j < end; ++u, j += kLanesD) {
    const int64_t present = min64(kLanesD, end - j);
    const vd value = load_first<Type>(x, j, present);  // absent lanes add +0, which changes no sum of squares
    partial[u] = partial[u] + value * value;
    store_f64(lanes, value);
    for (int64_t l = 0; l < present; ++l) {
      least = lanes[l] < least ? lanes[l] : least;
      count += lanes[l] < threshold;
    }
  }
  for (int u = 0; u < kVectors; ++u) store_f64(lanes + u * kLanesD, partial[u]);
  for (int half = kPartials / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  result->sum_of_squares = lanes[0];
  store_f64(lanes, minimum);
  for (int l = 0; l < kLanesD; ++l) {
    least = lanes[l] < least ? lanes[l] : least;
    count += below[l];
  }
  result->minimum = least;
  result->below = count;
}

}  // namespace

void statistics(const void *x, int32_t type, int64_t begin, int64_t end, double threshold,
                fm_value_statistics *result) {
  switch (type) {
    case FM_F32: return scan<FM_F32>(x, begin, end, threshold, result);
    case FM_F16: return scan<FM_F16>(x, begin, end, threshold, result);
    case FM_BF16: return scan<FM_BF16>(x, begin, end, threshold, result);
    default: return scan<FM_F64>(x, begin, end, threshold, result);
  }
}

}  // namespace fm::FM_TIER
