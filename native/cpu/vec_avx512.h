// AVX-512 F, BW, DQ, VL: 16 floats, 8 doubles.
#pragma once

#include <immintrin.h>

namespace fm::FM_TIER {

using vf = __m512;
constexpr int kLanesF = 16;
constexpr int kTileRows = 14;    // 28 accumulators, 2 columns, 1 broadcast: 31 of 32 registers
constexpr int kTileVectors = 2;

FM_INLINE vf zero_f() { return _mm512_setzero_ps(); }
FM_INLINE vf set_f(float x) { return _mm512_set1_ps(x); }
FM_INLINE vf broadcast_f(const float *p) { return _mm512_set1_ps(*p); }
FM_INLINE vf load_f(const float *p) { return _mm512_loadu_ps(p); }
FM_INLINE void store_f(float *p, vf x) { _mm512_storeu_ps(p, x); }
FM_INLINE vf fma_f(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }

using vd = __m512d;
typedef long long vl __attribute__((vector_size(64)));
constexpr int kLanesD = 8;

FM_INLINE vd set_d(double x) { return _mm512_set1_pd(x); }
FM_INLINE vd sqrt_d(vd x) { return _mm512_sqrt_pd(x); }
FM_INLINE vd load_f64(const void *p) { return _mm512_loadu_pd(p); }
FM_INLINE vd load_f32(const void *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(static_cast<const float *>(p))); }
FM_INLINE vd load_f16(const void *p) { return _mm512_cvtps_pd(_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i *>(p)))); }
FM_INLINE vd load_bf16(const void *p) {
  __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i *>(p)));
  return _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
}
constexpr bool kPairsBf16 = false;
FM_INLINE void load_bf16_pair(const void *, vd *) {}
FM_INLINE void store_f64(void *p, vd x) { _mm512_storeu_pd(p, x); }

// As many floats as a vd has lanes.
using vn = __m256;
typedef int32_t vni __attribute__((vector_size(32)));

FM_INLINE vn narrow(vd x) { return _mm512_cvtpd_ps(x); }
FM_INLINE vd widen(vn x) { return _mm512_cvtps_pd(x); }
FM_INLINE bool any(vni mask) { return !_mm256_testz_si256((__m256i)mask, (__m256i)mask); }
FM_INLINE void store_f32(void *p, vn x) { _mm256_storeu_ps(static_cast<float *>(p), x); }
FM_INLINE void store_f16(void *p, vn x) {
  _mm_storeu_si128(static_cast<__m128i *>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
FM_INLINE void store_high_halves(void *p, vn x) {
  _mm_storeu_si128(static_cast<__m128i *>(p), _mm256_cvtepi32_epi16(_mm256_srli_epi32(_mm256_castps_si256(x), 16)));
}
constexpr bool kRoundsToHalf = true;

constexpr int kStreamBytes = 32;
FM_INLINE void stream_f32(void *p, vn x) { _mm256_stream_ps(static_cast<float *>(p), x); }
FM_INLINE void stream_fence() { _mm_sfence(); }

}  // namespace fm::FM_TIER
#include "vec_common.h"
