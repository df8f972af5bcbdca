// Included by every file that is compiled once per tier. FM_TIER names the tier's namespace.
//
// A tier's object files carry instructions other machines lack, so nothing in them may be shared with another
// translation unit: helpers are always inlined or have internal linkage, and no standard-library template is used.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "table.h"

#define FM_INLINE static inline __attribute__((always_inline))

#if defined(FM_TIER_avx512)
#include "vec_avx512.h"
#elif defined(FM_TIER_avx2)
#include "vec_avx2.h"
#elif defined(FM_TIER_neon)
#include "vec_neon.h"
#else
#include "vec_baseline.h"
#endif

namespace fm::FM_TIER {

#define FM_DECLARE_KERNEL(name, parameters, arguments) void name parameters;
FM_KERNEL_LIST(FM_DECLARE_KERNEL)
#undef FM_DECLARE_KERNEL

template <bool Value>
struct constant {
  static constexpr bool value = Value;
};

FM_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

FM_INLINE float float_at(const float *p, int64_t index) {
  float x;
  __builtin_memcpy(&x, reinterpret_cast<const char *>(p) + 4 * index, 4);
  return x;
}

FM_INLINE void put_float_at(float *p, int64_t index, float x) {
  __builtin_memcpy(reinterpret_cast<char *>(p) + 4 * index, &x, 4);
}

// The address of an element that may be unaligned: arithmetic on char, as the language wants it.
FM_INLINE const float *at(const float *p, int64_t index) {
  return reinterpret_cast<const float *>(reinterpret_cast<uintptr_t>(p) + 4 * static_cast<uintptr_t>(index));
}
FM_INLINE float *at(float *p, int64_t index) {
  return reinterpret_cast<float *>(reinterpret_cast<uintptr_t>(p) + 4 * static_cast<uintptr_t>(index));
}

FM_INLINE const float *row(const fm_cotangents *g, int64_t probe, int64_t example, int64_t token) {
  return at(g->data, probe * g->probe_stride + example * g->example_stride + token * g->token_stride);
}
FM_INLINE const float *row(const fm_activations *a, int64_t example, int64_t token) {
  return at(a->data, example * a->example_stride + token * a->token_stride);
}
FM_INLINE float weight(const fm_cotangents *g, int64_t probe, int64_t example) {
  return g->weights == nullptr ? 1.0f : float_at(g->weights, probe * g->weight_probe_stride + example);
}

// ---- typed access to double vectors, whole or the first n lanes (reads and writes nothing beyond them) ----

template <int Type>
constexpr int64_t kBytes = Type == FM_F64 ? 8 : Type == FM_F32 ? 4 : 2;

template <int Type>
FM_INLINE vd load(const void *p, int64_t index) {
  const char *q = static_cast<const char *>(p) + index * kBytes<Type>;
  if constexpr (Type == FM_F32) return load_f32(q);
  if constexpr (Type == FM_F16) return load_f16(q);
  if constexpr (Type == FM_BF16) return load_bf16(q);
  if constexpr (Type == FM_F64) return load_f64(q);
}

// Two neighbouring vectors.
template <int Type>
FM_INLINE void load_pair(const void *p, int64_t index, vd *pair) {
  if constexpr (Type == FM_BF16 && kPairsBf16) {
    load_bf16_pair(static_cast<const char *>(p) + index * kBytes<Type>, pair);
  } else {
    pair[0] = load<Type>(p, index);
    pair[1] = load<Type>(p, index + kLanesD);
  }
}

template <int Type>
FM_INLINE vd load_first(const void *p, int64_t index, int64_t n) {
  char lanes[8 * kLanesD] = {};
  __builtin_memcpy(lanes, static_cast<const char *>(p) + index * kBytes<Type>,
                   static_cast<size_t>(n * kBytes<Type>));
  return load<Type>(lanes, 0);
}

// Rounds to a format with `FractionBits` explicit fraction bits and smallest exponent `MinExponent`, to nearest even,
// leaving a double that the format holds exactly (or that lies beyond its range and becomes infinity there).
// Directly from double: going through float would round twice.
template <int FractionBits, int MinExponent>
FM_INLINE vd round_to_format(vd x) {
  constexpr int64_t drop = 52 - FractionBits;
  vl bits = (vl)x;
  vl even = (bits >> drop) & 1;
  vl rounded = (bits + even + ((int64_t{1} << (drop - 1)) - 1)) & ~((int64_t{1} << drop) - 1);
  // Subnormals: adding 1.5 * 2^52 units of the format's smallest step rounds to that step.
  constexpr int step = MinExponent - FractionBits;
  const double magic = 1.5 * static_cast<double>(int64_t{1} << 52) * exponent_of_two<step>();
  vl magnitude = bits & INT64_MAX;
  vl sign = bits ^ magnitude;
  vl small = (vl)((((vd)magnitude) + magic) - magic) | sign;
  vl is_small = magnitude < ((int64_t{1023} + MinExponent) << 52);
  vl is_nan = magnitude > (int64_t{0x7FF} << 52);
  vl result = is_small ? small : rounded;
  return (vd)(is_nan ? bits : result);
}

// A float that lies just between two values of the narrower format: the double it came from may be on either side of it.
// Also where the rounding below would not do: NaN, and halves below the normal ones, which are spaced differently.
template <int Type>
FM_INLINE vni needs_exact_rounding(vn x) {
  const vni bits = (vni)x;
  const vni magnitude = bits & INT32_MAX;
  if constexpr (Type == FM_BF16) return ((bits & 0xFFFF) == 0x8000) | (magnitude > 0x7F800000);
  return ((bits & 0x1FFF) == 0x1000) | ((magnitude > 0) & (magnitude < 0x38800000));
}

// Not inlined, so that the compiler does not compute the rare case along with the usual one.
template <int FractionBits, int MinExponent>
__attribute__((noinline, unused)) static vn round_exactly(vd x) {
  return narrow(round_to_format<FractionBits, MinExponent>(x));
}

FM_INLINE vn round_to_bf16(vn x) {
  const vni bits = (vni)x;
  return (vn)(bits + 0x7FFF + ((bits >> 16) & 1));
}

// To nearest even. Rounding to float on the way is harmless unless that float is a tie.
template <int Type>
FM_INLINE void store(void *p, int64_t index, vd x) {
  char *q = static_cast<char *>(p) + index * kBytes<Type>;
  if constexpr (Type == FM_F64) return store_f64(q, x);
  const vn y = narrow(x);
  if constexpr (Type == FM_F32) store_f32(q, y);
  if constexpr (Type == FM_F16) {
    if (!kRoundsToHalf || any(needs_exact_rounding<Type>(y))) return store_f16(q, round_exactly<10, -14>(x));
    store_f16(q, y);
  }
  if constexpr (Type == FM_BF16) {
    if (any(needs_exact_rounding<Type>(y))) return store_high_halves(q, round_exactly<7, -126>(x));
    store_high_halves(q, round_to_bf16(y));
  }
}

FM_INLINE vd round_to_float(vd x) { return widen(narrow(x)); }

template <int Type>
FM_INLINE void store_first(void *p, int64_t index, int64_t n, vd x) {
  char lanes[8 * kLanesD];
  store<Type>(lanes, 0, x);
  __builtin_memcpy(static_cast<char *>(p) + index * kBytes<Type>, lanes, static_cast<size_t>(n * kBytes<Type>));
}

}  // namespace fm::FM_TIER
