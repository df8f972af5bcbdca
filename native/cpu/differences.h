// The differences of a model from its base, rounded to float, a block at a time: for the kernels of task vectors.
#pragma once

#include "tier.h"

namespace fm::FM_TIER {
namespace {

constexpr int64_t kBlock = 256;
constexpr int64_t kRoom = kBlock + 16;
constexpr int64_t kAhead = 512;  // elements to prefetch ahead
constexpr int64_t kLine = 64;

typedef int32_t vi __attribute__((vector_size(sizeof(vf))));
typedef uint32_t vu __attribute__((vector_size(sizeof(vf))));

FM_INLINE vf magnitude(vf x) { return (vf)((vi)x & INT32_MAX); }

template <int Type>
constexpr bool kIsNarrow = Type == FM_F32 || Type == FM_BF16;

bool is_narrow(int32_t type) { return type == FM_F32 || type == FM_BF16; }

// A block of the base.
struct base_block {
  const float *floats;  // where it is narrow: as it lies in memory, or in `narrow`
  bool is_wide;         // whether the following is filled
  alignas(64) double wide[kRoom];
  alignas(64) float narrow[kRoom];
};

template <int Type>
FM_INLINE vd load_whole_or_first(const void *p, int64_t index, int64_t n) {
  return n >= kLanesD ? load<Type>(p, index) : load_first<Type>(p, index, n);
}

template <int Type>
void widen_base(const void *p, int64_t from, int64_t n, base_block *base) {
  for (int64_t k = 0; k < n; k += kLanesD) {
    const vd x = load_whole_or_first<Type>(p, from + k, n - k);
    store_f64(base->wide + k, x);
    store_f32(base->narrow + k, narrow(x));
  }
}

// wide: whether a model needs its doubles.
void load_base(const fm_values *p, int64_t from, int64_t n, bool wide, base_block *base) {
  const char *next = static_cast<const char *>(p->data);
  const int64_t bytes = p->type == FM_F64 ? 8 : p->type == FM_F32 ? 4 : 2;
  for (int64_t k = 0; k < n * bytes; k += kLine) __builtin_prefetch(next + (from + kAhead) * bytes + k, 0, 2);
  base->floats = p->type == FM_F32 ? at(static_cast<const float *>(p->data), from) : base->narrow;
  base->is_wide = wide || p->type != FM_F32 || n % kLanesF != 0;
  if (!base->is_wide) return;
  switch (p->type) {
    case FM_F32: return widen_base<FM_F32>(p->data, from, n, base);
    case FM_F16: return widen_base<FM_F16>(p->data, from, n, base);
    case FM_BF16: return widen_base<FM_BF16>(p->data, from, n, base);
    default: return widen_base<FM_F64>(p->data, from, n, base);
  }
}

template <int Type>
FM_INLINE vf load_floats(const char *p) {
  if constexpr (Type == FM_F32) return load_f(reinterpret_cast<const float *>(p));
  typedef uint16_t halves __attribute__((vector_size(sizeof(vf) / 2)));
  halves x;
  __builtin_memcpy(&x, p, sizeof x);
  return (vf)(__builtin_convertvector(x, vi) << 16);
}

// Keeps every difference.
struct keep_all {
  inline __attribute__((always_inline)) vf operator()(vf delta, int64_t) const { return delta; }
};

// Writes the differences of [from, from + n); those that go through whole vectors of floats are what `keep` makes of
// them, given the place within the block. Returns how many these are, the first ones; the others are as they are.
template <int Type, class Keep>
int64_t subtract(const void *p, int64_t from, int64_t n, bool wide_base, const base_block *base, const Keep &keep,
                 float *delta) {
  const char *values = static_cast<const char *>(p) + from * kBytes<Type>;
  int64_t k = 0;
  if constexpr (kIsNarrow<Type>) {
    for (; !wide_base && k + kLanesF <= n; k += kLanesF) {
      if (k * kBytes<Type> % kLine == 0) __builtin_prefetch(values + (kAhead + k) * kBytes<Type>, 0, 2);
      store_f(delta + k, keep(load_floats<Type>(values + k * kBytes<Type>) - load_f(at(base->floats, k)), k));
    }
  }
  const int64_t done = k;
  for (; k < n; k += kLanesD) {
    store_f32(delta + k, narrow(load_whole_or_first<Type>(values, k, n - k) - load_f64(base->wide + k)));
  }
  // What is beyond is 0, whatever the base's array holds there.
  for (int64_t l = n; l % kLanesF != 0 || l % 16 != 0; ++l) delta[l] = 0;
  return done;
}

template <class Keep>
int64_t subtract(const void *values, int32_t type, int64_t from, int64_t n, bool wide_base, const base_block *base,
                 const Keep &keep, float *delta) {
  switch (type) {
    case FM_F32: return subtract<FM_F32>(values, from, n, wide_base, base, keep, delta);
    case FM_F16: return subtract<FM_F16>(values, from, n, wide_base, base, keep, delta);
    case FM_BF16: return subtract<FM_BF16>(values, from, n, wide_base, base, keep, delta);
    default: return subtract<FM_F64>(values, from, n, wide_base, base, keep, delta);
  }
}

}  // namespace
}  // namespace fm::FM_TIER
