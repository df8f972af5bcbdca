// Weighted average of N models in one pass over memory.
//
// Accumulation: double, w = scale * F + offset, num = sum w v, den = sum w, models in order starting from the first
// one's terms; multiplication and addition are separate, so every tier gives the same bits; then base + s
// (num / den - base), or s num / den where there is no base. Rounding: once, to the output type, to nearest even; overflow becomes infinity. NaN and infinity follow IEEE 754: a NaN
// in any model or Fisher with any weight, or a zero sum of weights, makes the element NaN; NaN stays quiet.
//
// A block's num and den stay in L1 while the models are visited two at a time: four input streams are as many as the
// memory of the machines we measured serves at full speed (with eight it was at 0.6 of it, with sixteen at 0.3), and two
// models a visit halve the traffic with L1. The next block of the same streams is prefetched meanwhile.
#include "tier.h"

namespace fm::FM_TIER {
namespace {

constexpr int64_t kBlock = 1024;
constexpr int64_t kStreamFrom = int64_t{1} << 15;  // elements: smaller outputs are better left in the cache
constexpr int64_t kLine = 16;                      // elements to a prefetch: a cache line of floats
constexpr int kNoFisher = -1;

// A model's operands from the block on.
template <int ValueType, int FisherType>
struct model {
  const char *values;
  const char *fisher;
  vd scale;
  vd offset;
};

template <int ValueType, int FisherType>
FM_INLINE model<ValueType, FisherType> model_from(const fm_weighted_input &in, int64_t from) {
  model<ValueType, FisherType> m = {static_cast<const char *>(in.values) + from * kBytes<ValueType>, nullptr,
                                    set_d(in.scale), set_d(in.offset)};
  if constexpr (FisherType != kNoFisher) m.fisher = static_cast<const char *>(in.fisher) + from * kBytes<FisherType>;
  return m;
}

template <int ValueType, int FisherType>
FM_INLINE void prefetch(const model<ValueType, FisherType> &m, int64_t index) {
  __builtin_prefetch(m.values + index * kBytes<ValueType>, 0, 2);
  if constexpr (FisherType != kNoFisher) __builtin_prefetch(m.fisher + index * kBytes<FisherType>, 0, 2);
}

// Adds a model's terms at one vector, or begins the sums with them.
template <bool Begin>
FM_INLINE void add(vd value, vd weight, vd *sum, vd *weights) {
  const vd term = weight * value;
  *sum = Begin ? term : *sum + term;
  *weights = Begin ? weight : *weights + weight;
}

// First: num and den begin with the first model's terms. Last: num becomes the quotient, here and not in a pass of its
// own so that the divisions overlap with the reading.
template <int ValueType, int FisherType, bool First, bool Last, int Count>
void add_models(const fm_weighted_input *in, int64_t from, int64_t n, double *num, double *den) {
  using operand = model<ValueType, FisherType>;
  const operand models[2] = {model_from<ValueType, FisherType>(in[0], from),
                             model_from<ValueType, FisherType>(in[Count - 1], from)};
  auto load_sums = [&](int64_t k, vd *sum, vd *weights) __attribute__((always_inline)) {
    if constexpr (!First) {
      *sum = load_f64(num + k);
      *weights = load_f64(den + k);
    }
  };
  auto store_sums = [&](int64_t k, vd sum, vd weights) __attribute__((always_inline)) {
    store_f64(num + k, Last ? sum / weights : sum);
    if constexpr (!Last) store_f64(den + k, weights);
  };
  int64_t k = 0;
  for (; k + kLine <= n; k += kLine) {
    for (int i = 0; i < Count; ++i) prefetch(models[i], k + kBlock);
#pragma GCC unroll 2
    for (int64_t j = k; j < k + kLine; j += 2 * kLanesD) {
      vd sum[2];
      vd weights[2];
      load_sums(j, &sum[0], &weights[0]);
      load_sums(j + kLanesD, &sum[1], &weights[1]);
      auto visit = [&](const operand &m, auto begin) __attribute__((always_inline)) {
        vd w[2] = {m.offset, m.offset};
        if constexpr (FisherType != kNoFisher) {
          vd fisher[2];
          load_pair<FisherType>(m.fisher, j, fisher);
          w[0] = m.scale * fisher[0] + m.offset;
          w[1] = m.scale * fisher[1] + m.offset;
        }
        vd value[2];
        load_pair<ValueType>(m.values, j, value);
        add<decltype(begin)::value>(value[0], w[0], &sum[0], &weights[0]);
        add<decltype(begin)::value>(value[1], w[1], &sum[1], &weights[1]);
      };
      visit(models[0], constant<First>{});
      if constexpr (Count == 2) visit(models[1], constant<false>{});
      store_sums(j, sum[0], weights[0]);
      store_sums(j + kLanesD, sum[1], weights[1]);
    }
  }
  for (; k < n; k += kLanesD) {
    const int64_t lanes = min64(kLanesD, n - k);
    vd sum;
    vd weights;
    load_sums(k, &sum, &weights);
    auto visit = [&](const operand &m, auto begin) __attribute__((always_inline)) {
      vd w = m.offset;
      if constexpr (FisherType != kNoFisher) w = m.scale * load_first<FisherType>(m.fisher, k, lanes) + w;
      add<decltype(begin)::value>(load_first<ValueType>(m.values, k, lanes), w, &sum, &weights);
    };
    visit(models[0], constant<First>{});
    if constexpr (Count == 2) visit(models[1], constant<false>{});
    store_sums(k, sum, weights);
  }
}

// One or two models of the same types; several visits where types are mixed or models are more.
struct visit {
  const fm_weighted_input *inputs;
  int count;
  bool first;
  bool last;
};

bool same_types(const fm_weighted_input &a, const fm_weighted_input &b) {
  const bool fishers = a.fisher != nullptr;
  return a.value_type == b.value_type && fishers == (b.fisher != nullptr) &&
         (!fishers || a.fisher_type == b.fisher_type);
}

visit next_visit(const fm_weighted_input *inputs, int64_t input_count, int64_t from) {
  const int count = from + 1 < input_count && same_types(inputs[from], inputs[from + 1]) ? 2 : 1;
  return {inputs + from, count, from == 0, from + count == input_count};
}

template <int ValueType, int FisherType, bool First, bool Last>
void add_models(const visit &v, int64_t from, int64_t n, double *num, double *den) {
  if (v.count == 2) return add_models<ValueType, FisherType, First, Last, 2>(v.inputs, from, n, num, den);
  return add_models<ValueType, FisherType, First, Last, 1>(v.inputs, from, n, num, den);
}

template <int ValueType, int FisherType>
void add_models(const visit &v, int64_t from, int64_t n, double *num, double *den) {
  if (v.first) {
    if (v.last) return add_models<ValueType, FisherType, true, true>(v, from, n, num, den);
    return add_models<ValueType, FisherType, true, false>(v, from, n, num, den);
  }
  if (v.last) return add_models<ValueType, FisherType, false, true>(v, from, n, num, den);
  return add_models<ValueType, FisherType, false, false>(v, from, n, num, den);
}

template <int ValueType>
void add_models(const visit &v, int64_t from, int64_t n, double *num, double *den) {
  if (v.inputs->fisher == nullptr) return add_models<ValueType, kNoFisher>(v, from, n, num, den);
  switch (v.inputs->fisher_type) {
    case FM_F32: return add_models<ValueType, FM_F32>(v, from, n, num, den);
    case FM_F16: return add_models<ValueType, FM_F16>(v, from, n, num, den);
    case FM_BF16: return add_models<ValueType, FM_BF16>(v, from, n, num, den);
    default: return add_models<ValueType, FM_F64>(v, from, n, num, den);
  }
}

void add_models(const visit &v, int64_t from, int64_t n, double *num, double *den) {
  switch (v.inputs->value_type) {
    case FM_F32: return add_models<FM_F32>(v, from, n, num, den);
    case FM_F16: return add_models<FM_F16>(v, from, n, num, den);
    case FM_BF16: return add_models<FM_BF16>(v, from, n, num, den);
    default: return add_models<FM_F64>(v, from, n, num, den);
  }
}

// Moves the quotients along the line from the base.
template <int Type>
void scale_from(const void *base, double scaling_factor, int64_t from, int64_t n, double *quotients) {
  const vd factor = set_d(scaling_factor);
  const char *next = static_cast<const char *>(base) + (from + kBlock) * kBytes<Type>;
  int64_t k = 0;
  for (; k + kLanesD <= n; k += kLanesD) {
    if (k % kLine == 0) __builtin_prefetch(next + k * kBytes<Type>, 0, 2);
    const vd b = load<Type>(base, from + k);
    store_f64(quotients + k, b + factor * (load_f64(quotients + k) - b));
  }
  if (k < n) {
    const vd b = load_first<Type>(base, from + k, n - k);
    store_f64(quotients + k, b + factor * (load_f64(quotients + k) - b));
  }
}

void scale_from(const fm_values *base, double scaling_factor, int64_t from, int64_t n, double *quotients) {
  switch (base->type) {
    case FM_F32: return scale_from<FM_F32>(base->data, scaling_factor, from, n, quotients);
    case FM_F16: return scale_from<FM_F16>(base->data, scaling_factor, from, n, quotients);
    case FM_BF16: return scale_from<FM_BF16>(base->data, scaling_factor, from, n, quotients);
    default: return scale_from<FM_F64>(base->data, scaling_factor, from, n, quotients);
  }
}

template <int Type>
void write(void *out, int64_t from, int64_t n, bool stream, const double *quotients) {
  int64_t k = 0;
  for (; k + kLanesD <= n; k += kLanesD) {
    vd x = load_f64(quotients + k);
    if (Type == FM_F32 && stream) {
      stream_f32(static_cast<char *>(out) + 4 * (from + k), narrow(x));
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

void weighted_average(const fm_weighted_input *inputs, int64_t input_count, const fm_values *base,
                      double scaling_factor, void *out, int32_t out_type, int64_t begin, int64_t end) {
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
    for (int64_t i = 0; i < input_count;) {
      const visit v = next_visit(inputs, input_count, i);
      add_models(v, from, n, num, den);
      i += v.count;
    }
    if (base != nullptr) {
      scale_from(base, scaling_factor, from, n, num);
    } else if (scaling_factor != 1) {
      for (int64_t k = 0; k < n; ++k) num[k] = scaling_factor * num[k];
    }
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
