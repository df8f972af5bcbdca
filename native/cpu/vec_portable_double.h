// Doubles four at a time in the compiler's vector types, for tiers whose registers are 16 bytes. The tier adds
// halves_to_floats, floats_to_halves and kRoundsToHalf: whether the latter takes floats that no half holds.
#pragma once

namespace fm::FM_TIER {

typedef float v4f __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));
typedef uint16_t v4h __attribute__((vector_size(8)));
typedef double vd __attribute__((vector_size(32)));
typedef long long vl __attribute__((vector_size(32)));
constexpr int kLanesD = 4;

FM_INLINE v4f halves_to_floats(v4h x);
FM_INLINE v4h floats_to_halves(v4f x);

template <class T>
FM_INLINE T load_bytes(const void *p) {
  T x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

FM_INLINE vd set_d(double x) { return vd{x, x, x, x}; }
FM_INLINE vd sqrt_d(vd x) {
  return vd{__builtin_sqrt(x[0]), __builtin_sqrt(x[1]), __builtin_sqrt(x[2]), __builtin_sqrt(x[3])};
}
FM_INLINE vd load_f64(const void *p) { return load_bytes<vd>(p); }
FM_INLINE vd load_f32(const void *p) { return __builtin_convertvector(load_bytes<v4f>(p), vd); }
FM_INLINE vd load_f16(const void *p) { return __builtin_convertvector(halves_to_floats(load_bytes<v4h>(p)), vd); }
FM_INLINE vd load_bf16(const void *p) {
  return __builtin_convertvector((v4f)(__builtin_convertvector(load_bytes<v4h>(p), v4i) << 16), vd);
}
constexpr bool kPairsBf16 = false;
FM_INLINE void load_bf16_pair(const void *, vd *) {}
FM_INLINE void store_f64(void *p, vd x) { __builtin_memcpy(p, &x, sizeof x); }

// As many floats as a vd has lanes.
using vn = v4f;
using vni = v4i;

FM_INLINE vn narrow(vd x) { return __builtin_convertvector(x, vn); }
FM_INLINE vd widen(vn x) { return __builtin_convertvector(x, vd); }
FM_INLINE bool any(vni mask) { return (mask[0] | mask[1] | mask[2] | mask[3]) != 0; }
FM_INLINE void store_f32(void *p, vn x) { __builtin_memcpy(p, &x, sizeof x); }
FM_INLINE void store_f16(void *p, vn x) {
  const v4h y = floats_to_halves(x);
  __builtin_memcpy(p, &y, sizeof y);
}
FM_INLINE void store_high_halves(void *p, vn x) {
  const v4h y = __builtin_convertvector(((v4i)x) >> 16, v4h);
  __builtin_memcpy(p, &y, sizeof y);
}

constexpr int kStreamBytes = 0;  // no streaming stores in this tier
FM_INLINE void stream_f32(void *p, vn x) { store_f32(p, x); }
FM_INLINE void stream_fence() {}

}  // namespace fm::FM_TIER
