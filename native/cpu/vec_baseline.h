// No instruction set beyond the architecture's own: 4 floats in the compiler's vector types, no fused multiply-add.
#pragma once

#include "vec_portable_double.h"

namespace fm::FM_TIER {

using vf = v4f;
constexpr int kLanesF = 4;
constexpr int kTileRows = 4;     // 8 accumulators, 2 columns, 1 broadcast of the 16 registers of SSE2
constexpr int kTileVectors = 2;

FM_INLINE vf zero_f() { return vf{}; }
FM_INLINE vf set_f(float x) { return vf{x, x, x, x}; }
FM_INLINE vf broadcast_f(const float *p) { return set_f(*p); }
FM_INLINE vf load_f(const float *p) { return load_bytes<vf>(p); }
FM_INLINE void store_f(float *p, vf x) { __builtin_memcpy(p, &x, sizeof x); }
FM_INLINE vf fma_f(vf a, vf b, vf c) { return a * b + c; }

FM_INLINE v4f halves_to_floats(v4h x) {
  v4i bits = __builtin_convertvector(x, v4i);
  v4i magnitude = (bits & 0x7FFF) << 13;
  v4i sign = (bits & 0x8000) << 16;
  // Scaling by 2^112 moves the exponent bias, subnormals included; infinity and NaN keep an all-ones exponent.
  v4i finite = (v4i)((v4f)magnitude * 0x1p112f);
  v4i special = magnitude | 0x7F800000;
  return (v4f)((magnitude >= 0x0F800000 ? special : finite) | sign);
}

FM_INLINE v4h floats_to_halves(v4f x) {
  v4i bits = (v4i)x;
  v4i magnitude = bits & INT32_MAX;
  v4i sign = (bits >> 16) & 0x8000;
  v4i finite = ((v4i)((v4f)magnitude * 0x1p-112f)) >> 13;
  v4i nan = 0x7E00 | ((magnitude >> 13) & 0x1FF);
  v4i infinity = v4i{} + 0x7C00;
  v4i special = magnitude > 0x7F800000 ? nan : infinity;
  return __builtin_convertvector((magnitude >= 0x47800000 ? special : finite) | sign, v4h);
}

constexpr bool kRoundsToHalf = false;

}  // namespace fm::FM_TIER
#include "vec_common.h"
