// AArch64 Advanced SIMD: 4 floats, fused multiply-add, half-precision conversion.
#pragma once

#include <arm_neon.h>

#include "vec_portable_double.h"

namespace fm::FM_TIER {

using vf = float32x4_t;
constexpr int kLanesF = 4;
constexpr int kTileRows = 6;     // 18 accumulators, 3 columns, and room for the 6 factors GCC loads ahead: 27 of 32
constexpr int kTileVectors = 3;

FM_INLINE vf zero_f() { return vdupq_n_f32(0.0f); }
FM_INLINE vf set_f(float x) { return vdupq_n_f32(x); }
FM_INLINE vf broadcast_f(const float *p) { return vld1q_dup_f32(p); }
FM_INLINE vf load_f(const float *p) { return vld1q_f32(p); }
FM_INLINE void store_f(float *p, vf x) { vst1q_f32(p, x); }
FM_INLINE vf fma_f(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }

FM_INLINE v4f halves_to_floats(v4h x) { return (v4f)vcvt_f32_f16((float16x4_t)x); }
FM_INLINE v4h floats_to_halves(v4f x) { return (v4h)vcvt_f16_f32((float32x4_t)x); }

constexpr bool kRoundsToHalf = true;

}  // namespace fm::FM_TIER
#include "vec_common.h"
