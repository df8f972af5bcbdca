// What every tier's vector header needs beside its own operations. Arithmetic and comparison on vf, vd and vl are the
// compiler's vector operators.
#pragma once

namespace fm::FM_TIER {

constexpr int kTileColumns = kTileVectors * kLanesF;

template <int Exponent>
FM_INLINE double exponent_of_two() {
  return __builtin_bit_cast(double, (int64_t{1023} + Exponent) << 52);
}

}  // namespace fm::FM_TIER
