// AVX2 + FMA + F16C: 8 floats, 4 doubles.
#pragma once

#include <immintrin.h>

namespace fm::FM_TIER {

using vf = __m256;
constexpr int kLanesF = 8;
constexpr int kTileRows = 6;     // 12 accumulators, 2 columns, 1 broadcast: 15 of 16 registers
constexpr int kTileVectors = 2;

FM_INLINE vf zero_f() { return _mm256_setzero_ps(); }
FM_INLINE vf set_f(float x) { return _mm256_set1_ps(x); }
FM_INLINE vf broadcast_f(const float *p) { return _mm256_broadcast_ss(p); }
FM_INLINE vf load_f(const float *p) { return _mm256_loadu_ps(p); }
FM_INLINE void store_f(float *p, vf x) { _mm256_storeu_ps(p, x); }
FM_INLINE vf fma_f(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }

using vd = __m256d;
typedef long long vl __attribute__((vector_size(32)));
constexpr int kLanesD = 4;

FM_INLINE vd set_d(double x) { return _mm256_set1_pd(x); }
FM_INLINE vd sqrt_d(vd x) { return _mm256_sqrt_pd(x); }
FM_INLINE vd load_f64(const void *p) { return _mm256_loadu_pd(static_cast<const double *>(p)); }
FM_INLINE vd load_f32(const void *p) { return _mm256_cvtps_pd(_mm_loadu_ps(static_cast<const float *>(p))); }
FM_INLINE vd load_f16(const void *p) { return _mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64(static_cast<const __m128i *>(p)))); }
FM_INLINE vd load_bf16(const void *p) {
  __m128i wide = _mm_cvtepu16_epi32(_mm_loadl_epi64(static_cast<const __m128i *>(p)));
  return _mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32(wide, 16)));
}
// Zeros unpacked below the values make floats of them, without a shift.
constexpr bool kPairsBf16 = true;
FM_INLINE void load_bf16_pair(const void *p, vd *pair) {
  const __m128i x = _mm_loadu_si128(static_cast<const __m128i *>(p));
  pair[0] = _mm256_cvtps_pd(_mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), x)));
  pair[1] = _mm256_cvtps_pd(_mm_castsi128_ps(_mm_unpackhi_epi16(_mm_setzero_si128(), x)));
}
FM_INLINE void store_f64(void *p, vd x) { _mm256_storeu_pd(static_cast<double *>(p), x); }

// As many floats as a vd has lanes.
using vn = __m128;
typedef int32_t vni __attribute__((vector_size(16)));

FM_INLINE vn narrow(vd x) { return _mm256_cvtpd_ps(x); }
FM_INLINE vd widen(vn x) { return _mm256_cvtps_pd(x); }
FM_INLINE bool any(vni mask) { return !_mm_test_all_zeros((__m128i)mask, (__m128i)mask); }
FM_INLINE void store_f32(void *p, vn x) { _mm_storeu_ps(static_cast<float *>(p), x); }
FM_INLINE void store_f16(void *p, vn x) {
  _mm_storel_epi64(static_cast<__m128i *>(p), _mm_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
FM_INLINE void store_high_halves(void *p, vn x) {
  const __m128i high = _mm_srli_epi32(_mm_castps_si128(x), 16);
  _mm_storel_epi64(static_cast<__m128i *>(p), _mm_packus_epi32(high, high));
}
constexpr bool kRoundsToHalf = true;

// Streaming stores of one vector as F32 to an address aligned to kStreamBytes.
constexpr int kStreamBytes = 16;
FM_INLINE void stream_f32(void *p, vn x) { _mm_stream_ps(static_cast<float *>(p), x); }
FM_INLINE void stream_fence() { _mm_sfence(); }

}  // namespace fm::FM_TIER
#include "vec_common.h"
