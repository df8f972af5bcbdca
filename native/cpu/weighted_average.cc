// Weighted average of N models in one pass over memory.
//
// Accumulation: double, w = scale * F + offset, num = sum w v, den = sum w, models in order starting from the first
// one's terms; multiplication and addition are separate, so every tier gives the same bits. Rounding: once, from
// num / den to the output type, to nearest even; overflow becomes infinity. NaN and infinity follow IEEE 754: a NaN
// in any model or Fisher with any weight, or a zero sum of weights, makes the element NaN; NaN stays quiet.
//
// A block's num and den stay in L1 while the models are visited one after the other, so that only two input streams
// are open at a time; the next block of both is prefetched meanwhile.
#include "tier.h"

namespace fm::FM_TIER {
namespace {

constexpr int64_t kBlock = 1024;
constexpr int64_t kStreamFrom = int64_t{1} << 15;  // elements: smaller outputs are better left in the cache
constexpr int kNoFisher = -1;

template <int Type>
FM_INLINE void prefetch(const void *p, int64_t index) {
  __builtin_prefetch(static_cast<const char *>(p) + index * kBytes<Type>, 0, 2);
}

// First: num and den begin with this model's terms. Last: num becomes the quotient, here and not in a pass of its own so
// that the divisions overlap with the reading.
template <int ValueType, int FisherType, bool First, bool Last>
void add_model(const fm_weighted_input *in, int64_t from, int64_t n, double *num, double *den) {
  const vd scale = set_d(in->scale);
  const vd offset = set_d(in->offset);
  auto step = [&](int64_t k, vd value, vd fisher) __attribute__((always_inline)) {
    vd w = offset;
    if constexpr (FisherType != kNoFisher) w = scale * fisher + offset;
    vd term = w * value;
    if constexpr (!First) {
      term = load_f64(num + k) + term;
      w = load_f64(den + k) + w;
    }
    store_f64(num + k, Last ? term / w : term);
    if constexpr (!Last) store_f64(den + k, w);
  };
  constexpr int fisher_type = FisherType == kNoFisher ? FM_F32 : FisherType;
  int64_t k = 0;
  for (; k + 4 * kLanesD <= n; k += 4 * kLanesD) {
    prefetch<ValueType>(in->values, from + k + kBlock);
    if constexpr (FisherType != kNoFisher) prefetch<fisher_type>(in->fisher, from + k + kBlock);
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      const int64_t at_k = k + u * kLanesD;
      vd fisher = offset;
      if constexpr (FisherType != kNoFisher) fisher = load<fisher_type>(in->fisher, from + at_k);
      step(at_k, load<ValueType>(in->values, from + at_k), fisher);
    }
  }
  for (; k < n; k += kLanesD) {
    const int64_t lanes = min64(kLanesD, n - k);
    vd fisher = offset;
    if constexpr (FisherType != kNoFisher) fisher = load_first<fisher_type>(in->fisher, from + k, lanes);
    step(k, load_first<ValueType>(in->values, from + k, lanes), fisher);
  }
}

struct position {
  bool first;
  bool last;
};

template <int ValueType, int FisherType>
void add_model(const fm_weighted_input *in, position p, int64_t from, int64_t n, double *num, double *den) {
  if (p.first) {
    if (p.last) return add_model<ValueType, FisherType, true, true>(in, from, n, num, den);
    return add_model<ValueType, FisherType, true, false>(in, from, n, num, den);
  }
  if (p.last) return add_model<ValueType, FisherType, false, true>(in, from, n, num, den);
  return add_model<ValueType, FisherType, false, false>(in, from, n, num, den);
}

template <int ValueType>
void add_model(const fm_weighted_input *in, position p, int64_t from, int64_t n, double *num, double *den) {
  if (in->fisher == nullptr) return add_model<ValueType, kNoFisher>(in, p, from, n, num, den);
  switch (in->fisher_type) {
    case FM_F32: return add_model<ValueType, FM_F32>(in, p, from, n, num, den);
    case FM_F16: return add_model<ValueType, FM_F16>(in, p, from, n, num, den);
    case FM_BF16: return add_model<ValueType, FM_BF16>(in, p, from, n, num, den);
    default: return add_model<ValueType, FM_F64>(in, p, from, n, num, den);
  }
}

void add_model(const fm_weighted_input *in, position p, int64_t from, int64_t n, double *num, double *den) {
  switch (in->value_type) {
    case FM_F32: return add_model<FM_F32>(in, p, from, n, num, den);
    case FM_F16: return add_model<FM_F16>(in, p, from, n, num, den);
    case FM_BF16: return add_model<FM_BF16>(in, p, from, n, num, den);
    default: return add_model<FM_F64>(in, p, from, n, num, den);
  }
}

template <int Type>
void write(void *out, int64_t from, int64_t n, bool stream, const double *quotients) {
  int64_t k = 0;
  for (; k + kLanesD <= n; k += kLanesD) {
    vd x = load_f64(quotients + k);
    if (Type == FM_F32 && stream) {
      stream_f32(static_cast<char *>(out) + 4 * (from + k), x);
    } else {
      store<Type>(out, from + k, x);
    }
  }
  if (k < n) store_first<Type>(out, from + k, n - k, load_f64(quotients + k));
}

// Elements before the first address at which a vector of floats can be streamed; -1 where there is none.
int64_t elements_to_alignment(const void *out, int64_t begin) {
  if constexpr (kStreamBytes == 0) {
    return -1;
  } else {
    const uintptr_t address = reinterpret_cast<uintptr_t>(out) + 4 * static_cast<uintptr_t>(begin);
    if (address % 4 != 0) return -1;
    return static_cast<int64_t>((kStreamBytes - address % kStreamBytes) % kStreamBytes / 4);
  }
}

}  // namespace

void weighted_average(const fm_weighted_input *inputs, int64_t input_count, void *out, int32_t out_type, int64_t begin,
                      int64_t end) {
  // One vector of slack: the last, partial vector of a block is computed whole.
  alignas(64) double num[kBlock + kLanesD];
  alignas(64) double den[kBlock + kLanesD];
  int64_t peel = -1;
  if (out_type == FM_F32 && end - begin >= kStreamFrom) peel = elements_to_alignment(out, begin);
  const bool stream = peel >= 0;
  int64_t from = begin;
  while (from < end) {
    int64_t n = min64(kBlock, end - from);
    if (from == begin && peel > 0) n = min64(n, peel);
    for (int64_t i = 0; i < input_count; ++i) add_model(&inputs[i], {i == 0, i == input_count - 1}, from, n, num, den);
    switch (out_type) {
      case FM_F32: write<FM_F32>(out, from, n, stream && !(from == begin && peel > 0), num); break;
      case FM_F16: write<FM_F16>(out, from, n, false, num); break;
      case FM_BF16: write<FM_BF16>(out, from, n, false, num); break;
      default: write<FM_F64>(out, from, n, false, num); break;
    }
    from += n;
  }
  if (stream) stream_fence();
}

}  // namespace fm::FM_TIER
