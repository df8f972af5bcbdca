// Element types: exact conversion to double, and from double with one rounding to nearest even; eight elements at a time.
#pragma once

#include "portable.cuh"

namespace fmc {

constexpr int kGroup = 8;  // elements: 16 bytes of the narrowest type

FMC_BOTH int64_t bytes_of(int32_t type) { return type == FM_F64 ? 8 : type == FM_F32 ? 4 : 2; }

FMC_DEVICE double half_to_double(uint16_t bits) {
#if defined(__CUDA_ARCH__)
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
#else
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 31;
  const uint32_t fraction = bits & 0x3FFu;
  if (exponent == 31) return float_from_bits(sign | 0x7F800000u | fraction << 13);
  if (exponent > 0) return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
  const double magnitude = fraction * 0x1p-24;
  return sign != 0 ? -magnitude : magnitude;
#endif
}

FMC_DEVICE double bf16_to_double(uint16_t bits) { return float_from_bits(static_cast<uint32_t>(bits) << 16); }

// The 16-bit format with `Fraction` explicit fraction bits and smallest exponent `MinExponent`, rounded once, to nearest
// even: going through float would round twice.
template <int Fraction, int MinExponent>
FMC_DEVICE uint16_t narrow(double x) {
  constexpr uint64_t kInfinity = uint64_t{1 - 2 * MinExponent + 2} << Fraction;
  uint64_t bits;
  memcpy(&bits, &x, 8);
  const uint64_t sign = bits >> 63 << 15;
  const uint64_t magnitude = bits & INT64_MAX;
  if (magnitude > uint64_t{0x7FF} << 52) return static_cast<uint16_t>(sign | kInfinity | uint64_t{1} << (Fraction - 1));
  const int exponent = static_cast<int>(magnitude >> 52) - 1023;
  const int below = exponent < MinExponent ? MinExponent - exponent : 0;
  const int drop = 52 - Fraction + below;
  if (drop > 53) return static_cast<uint16_t>(sign);  // less than half of the smallest step
  const uint64_t significand = (magnitude & ((uint64_t{1} << 52) - 1)) | uint64_t{1} << 52;
  const uint64_t even = significand >> drop & 1;
  const uint64_t rounded = (significand + (uint64_t{1} << (drop - 1)) - 1 + even) >> drop;
  // The significand's leading bit, and a carry out of it, add to the exponent.
  const uint64_t result = (static_cast<uint64_t>(exponent + below - MinExponent) << Fraction) + rounded;
  return static_cast<uint16_t>(sign | (result < kInfinity ? result : kInfinity));
}

FMC_DEVICE uint16_t double_to_half(double x) { return narrow<10, -14>(x); }
FMC_DEVICE uint16_t double_to_bf16(double x) { return narrow<7, -126>(x); }

// Two bf16 values of a register, the first one in its low half.
FMC_DEVICE uint32_t bf16_pair(float low, float high) {
#if defined(__CUDA_ARCH__)
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return static_cast<uint32_t>(double_to_bf16(high)) << 16 | double_to_bf16(low);
#endif
}

// To nearest, ties away from zero, as the conversion instruction does.
FMC_DEVICE uint32_t tf32_bits(float x) {
#if defined(__CUDA_ARCH__)
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#else
  const uint32_t bits = float_bits(x);
  if ((bits & 0x7F800000u) == 0x7F800000u) return bits;
  return (bits + 0x1000u) & ~0x1FFFu;
#endif
}

template <int Type>
FMC_DEVICE double load_one(const void *p, int64_t index) {
  if constexpr (Type == FM_F32) return static_cast<const float *>(p)[index];
  if constexpr (Type == FM_F16) return half_to_double(static_cast<const uint16_t *>(p)[index]);
  if constexpr (Type == FM_BF16) return bf16_to_double(static_cast<const uint16_t *>(p)[index]);
  if constexpr (Type == FM_F64) return static_cast<const double *>(p)[index];
}

// Elements [index, index + count), count at most kGroup; the others of `x` are `absent`.
template <int Type>
FMC_DEVICE void load_group(const void *p, int64_t index, int64_t count, double absent, double (&x)[kGroup]) {
  constexpr int kBytes = Type == FM_F64 ? 8 : Type == FM_F32 ? 4 : 2;
  constexpr int kEach = 16 / kBytes;
  const char *from = static_cast<const char *>(p) + index * kBytes;
  if (count == kGroup && is_aligned(from)) {
    words w[kGroup / kEach];
    FMC_UNROLL
    for (int k = 0; k < kGroup / kEach; ++k) w[k] = load_once(from + 16 * k);
    FMC_UNROLL
    for (int k = 0; k < kGroup; ++k) {
      const words &part = w[k / kEach];
      const int at = k % kEach;
      if constexpr (Type == FM_F64) {
        const uint64_t bits = static_cast<uint64_t>(part.word[2 * at + 1]) << 32 | part.word[2 * at];
        memcpy(&x[k], &bits, 8);
      } else if constexpr (Type == FM_F32) {
        x[k] = float_from_bits(part.word[at]);
      } else {
        const uint16_t bits = static_cast<uint16_t>(part.word[at / 2] >> (16 * (at % 2)));
        x[k] = Type == FM_F16 ? half_to_double(bits) : bf16_to_double(bits);
      }
    }
  } else {
    FMC_UNROLL
    for (int k = 0; k < kGroup; ++k) x[k] = k < count ? load_one<Type>(from, k) : absent;
  }
}

FMC_DEVICE void load_group(const void *p, int32_t type, int64_t index, int64_t count, double (&x)[kGroup]) {
  switch (type) {
    case FM_F32: return load_group<FM_F32>(p, index, count, 0.0, x);
    case FM_F16: return load_group<FM_F16>(p, index, count, 0.0, x);
    case FM_BF16: return load_group<FM_BF16>(p, index, count, 0.0, x);
    default: return load_group<FM_F64>(p, index, count, 0.0, x);
  }
}

template <int Type>
FMC_DEVICE void store_group(void *p, int64_t index, int64_t count, const double (&x)[kGroup]) {
  constexpr int kBytes = Type == FM_F64 ? 8 : Type == FM_F32 ? 4 : 2;
  constexpr int kEach = 16 / kBytes;
  char *to = static_cast<char *>(p) + index * kBytes;
  const bool whole = count == kGroup && is_aligned(to);
  FMC_UNROLL
  for (int k = 0; k < kGroup / kEach; ++k) {
    words w = {};
    FMC_UNROLL
    for (int e = 0; e < kEach; ++e) {
      const double value = x[k * kEach + e];
      char *one = to + (k * kEach + e) * kBytes;
      const bool alone = !whole && k * kEach + e < count;
      if constexpr (Type == FM_F64) {
        uint64_t bits;
        memcpy(&bits, &value, 8);
        w.word[2 * e] = static_cast<uint32_t>(bits);
        w.word[2 * e + 1] = static_cast<uint32_t>(bits >> 32);
        if (alone) *reinterpret_cast<double *>(one) = value;
      } else if constexpr (Type == FM_F32) {
        const float rounded = static_cast<float>(value);
        w.word[e] = float_bits(rounded);
        if (alone) *reinterpret_cast<float *>(one) = rounded;
      } else {
        const uint16_t rounded = Type == FM_F16 ? double_to_half(value) : double_to_bf16(value);
        w.word[e / 2] |= static_cast<uint32_t>(rounded) << (16 * (e % 2));
        if (alone) *reinterpret_cast<uint16_t *>(one) = rounded;
      }
    }
    if (whole) store_once(to + 16 * k, w);
  }
}

FMC_DEVICE void store_group(void *p, int32_t type, int64_t index, int64_t count, const double (&x)[kGroup]) {
  switch (type) {
    case FM_F32: return store_group<FM_F32>(p, index, count, x);
    case FM_F16: return store_group<FM_F16>(p, index, count, x);
    case FM_BF16: return store_group<FM_BF16>(p, index, count, x);
    default: return store_group<FM_F64>(p, index, count, x);
  }
}

}  // namespace fmc
