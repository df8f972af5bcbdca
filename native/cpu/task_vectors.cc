// Task vectors: the differences of models from their base, trimmed and mixed in one pass over memory; and what decides on
// the trimming, their magnitudes and norms.
//
// Differences are rounded to float, from the double difference, which is the difference of floats where the operands are
// no wider. Everything up to the mix is float, in the order of the models, multiplication and addition separate: every
// tier gives the same bits, and those of the formulas of mergekit's merge methods in float32. A difference that is not
// finite is never trimmed, and makes the result NaN.
//
// A block's differences of a few models are stored in L1 one after the other, so that few streams are read at a time,
// and then mixed with the sums in registers: stores are what limits this kernel. What comes next in a stream is prefetched
// meanwhile. Arrays have slack and are filled up to whole vectors, so that only loading and storing knows of a remainder.
#include "differences.h"

#if defined(FM_TIER_avx512) || defined(FM_TIER_avx2)
#include <immintrin.h>
#endif

namespace fm::FM_TIER {
namespace {

constexpr int kGroup = 8;        // models whose differences are stored at a time
FM_INLINE vf masked(vf x, vi mask) { return (vf)((vi)x & mask); }
// The compiler's comparisons make whole vectors of masks, which AVX-512 has registers for.
#if defined(FM_TIER_avx512)
FM_INLINE vf add_above_0(vf sum, vf x, vf term) {
  return _mm512_mask_add_ps(sum, _mm512_cmp_ps_mask(term, _mm512_setzero_ps(), _CMP_GT_OQ), sum, x);
}
FM_INLINE vf add_below_0(vf sum, vf x, vf term) {
  return _mm512_mask_add_ps(sum, _mm512_cmp_ps_mask(term, _mm512_setzero_ps(), _CMP_LT_OQ), sum, x);
}
FM_INLINE vf not_below(vf x, vf low) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(magnitude(x), low, _CMP_NLT_UQ), x);
}
#else
FM_INLINE vf add_above_0(vf sum, vf x, vf term) { return sum + masked(x, (vi)(term > zero_f())); }
FM_INLINE vf add_below_0(vf sum, vf x, vf term) { return sum + masked(x, (vi)(term < zero_f())); }
FM_INLINE vf not_below(vf x, vf low) { return masked(x, ~(vi)(magnitude(x) < low)); }
#endif
FM_INLINE vu set_u(uint32_t x) { return (vu)(vi{} + static_cast<int32_t>(x)); }

// ---- which are kept ----

FM_INLINE uint32_t next_float_bits(float x, int32_t step) {
  return static_cast<uint32_t>(__builtin_bit_cast(int32_t, x) + step);
}

template <class U>
FM_INLINE U drawn(U place, U low, U high) {
  U x = place + low;
  x ^= x >> 16;
  x *= 0x7FEB352DU;
  x ^= x >> 15;
  x ^= high;
  x *= 0x846CA68BU;
  x ^= x >> 16;
  return x;
}

constexpr float kLargest = 3.40282346638528859811704183484516925e+38F;

bool keeps(const fm_task_vector *v, float delta, int64_t place) {
  const float m = delta < 0 ? -delta : delta;
  if (!(m <= kLargest)) return true;
  if (m < v->least || (m == v->least && !(place >= v->least_from && place < v->least_until))) return false;
  if (m > v->most || (m == v->most && place >= v->most_until)) return false;
  if (v->share >> 32 != 0) return true;
  return drawn<uint32_t>(static_cast<uint32_t>(place), static_cast<uint32_t>(v->seed),
                         static_cast<uint32_t>(v->seed >> 32)) < v->share;
}

bool lies_within(int64_t cut, int64_t from, int64_t n) { return cut > from && cut < from + n; }

// Which differences are kept where the element's place decides on none of equal magnitude.
template <bool Upper, bool Random>
struct keeper {
  vf low;
  vf high;
  vu share;
  vu seed;
  vu more_seed;
  vu places;  // of the first vector

  keeper(const fm_task_vector *v, float least, float most, int64_t place)
      : low(set_f(least)),
        high(set_f(most)),
        share(set_u(static_cast<uint32_t>(v->share))),
        seed(set_u(static_cast<uint32_t>(v->seed))),
        more_seed(set_u(static_cast<uint32_t>(v->seed >> 32))) {
    for (int l = 0; l < kLanesF; ++l) places[l] = static_cast<uint32_t>(place) + static_cast<uint32_t>(l);
  }

  inline __attribute__((always_inline)) vf operator()(vf delta, int64_t k) const {
    if constexpr (!Upper && !Random) return not_below(delta, low);
    const vf m = magnitude(delta);
#if defined(FM_TIER_avx512)
    __mmask16 kept = _mm512_cmp_ps_mask(m, low, _CMP_NLT_UQ);
    if constexpr (Upper) kept = _mm512_mask_cmp_ps_mask(kept, m, high, _CMP_LE_OQ);
    if constexpr (Random) kept = _mm512_mask_cmplt_epu32_mask(kept, (__m512i)draw(k), (__m512i)share);
    const __mmask16 not_finite = _mm512_cmp_ps_mask(m, set_f(kLargest), _CMP_NLE_UQ);
    return _mm512_maskz_mov_ps(static_cast<__mmask16>(kept | not_finite), delta);
#else
    vi kept = ~(vi)(m < low);
    if constexpr (Upper) kept &= (vi)(m <= high);
    if constexpr (Random) kept &= (vi)(draw(k) < share);
    kept |= ~(vi)(m <= set_f(kLargest));
    return masked(delta, kept);
#endif
  }

  inline __attribute__((always_inline)) vu draw(int64_t k) const {
    return drawn<vu>(places + static_cast<uint32_t>(k), seed, more_seed);
  }
};

// Differences of one model, those that are not kept set to 0; `at_once` does it for a `Keep`, `one_by_one` where places
// decide. place: of the first one in its tensor.
template <class AtOnce, class OneByOne>
FM_INLINE void trimmed(const fm_task_vector *v, int64_t place, int64_t n, const AtOnce &at_once,
                       const OneByOne &one_by_one) {
  const bool upper = v->most <= kLargest;
  const bool random = v->share >> 32 == 0;
  if (v->least == 0 && !upper && !random) return at_once(keep_all{});
  if (lies_within(v->least_from, place, n) || lies_within(v->least_until, place, n) ||
      lies_within(v->most_until, place, n)) {
    return one_by_one();
  }
  float least = v->least;
  float most = v->most;
  if (!(place >= v->least_from && place < v->least_until)) {
    least = __builtin_bit_cast(float, next_float_bits(least, 1));
  }
  if (upper && place >= v->most_until) {
    // Below 0 there is no magnitude: nothing is kept.
    most = most > 0 ? __builtin_bit_cast(float, next_float_bits(most, -1)) : -1;
  }
  if (upper && random) return at_once(keeper<true, true>(v, least, most, place));
  if (upper) return at_once(keeper<true, false>(v, least, most, place));
  if (random) return at_once(keeper<false, true>(v, least, most, place));
  return at_once(keeper<false, false>(v, least, most, place));
}

// The kept differences of a block: what is not kept is 0. place: of element `from` in its tensor.
void kept_differences(const fm_task_vector *v, int64_t from, int64_t place, int64_t n, bool wide_base,
                      const base_block *base, float *delta) {
  trimmed(
      v, place, n,
      [&](const auto &keep) {
        int64_t k = subtract(v->values, v->value_type, from, n, wide_base, base, keep, delta);
        for (; k < n; k += kLanesF) store_f(delta + k, keep(load_f(delta + k), k));
      },
      [&] {
        subtract(v->values, v->value_type, from, n, wide_base, base, keep_all{}, delta);
        for (int64_t k = 0; k < n; ++k) {
          if (!keeps(v, delta[k], place + k)) delta[k] = 0;
        }
      });
}

// ---- mixing ----

struct sums {
  alignas(64) float all[kRoom];
  alignas(64) float up[kRoom];
  alignas(64) float down[kRoom];
  alignas(64) float up_weights[kRoom];
  alignas(64) float down_weights[kRoom];
};

// Models whose differences are stored.
struct group {
  alignas(64) float delta[kGroup][kRoom];
  float weights[kGroup];
  float rescales[kGroup];
  int count;
};

template <bool Elect, bool Mean, bool Rescale>
void add(const group &g, int64_t n, bool begin, sums *s) {
  const vf zero = zero_f();
  for (int64_t k = 0; k < n; k += kLanesF) {
    vf all = begin ? zero : load_f(s->all + k);
    vf up = begin || !Elect ? zero : load_f(s->up + k);
    vf down = begin || !Elect ? zero : load_f(s->down + k);
    vf up_weights = begin || !Mean ? zero : load_f(s->up_weights + k);
    vf down_weights = begin || !Mean ? zero : load_f(s->down_weights + k);
    for (int i = 0; i < g.count; ++i) {
      const vf weight = broadcast_f(&g.weights[i]);
      vf term = load_f(g.delta[i] + k);
      if constexpr (Rescale) term = term * broadcast_f(&g.rescales[i]);
      term = term * weight;
      all = all + term;
      if constexpr (Elect) {
        up = add_above_0(up, term, term);
        down = add_below_0(down, term, term);
        if constexpr (Mean) {
          up_weights = add_above_0(up_weights, weight, term);
          down_weights = add_below_0(down_weights, weight, term);
        }
      }
    }
    store_f(s->all + k, all);
    if constexpr (Elect) {
      store_f(s->up + k, up);
      store_f(s->down + k, down);
      if constexpr (Mean) {
        store_f(s->up_weights + k, up_weights);
        store_f(s->down_weights + k, down_weights);
      }
    }
  }
}

template <bool Rescale>
void add(const group &g, int32_t mix, int64_t n, bool begin, sums *s) {
  switch (mix) {
    case FM_MIX_ELECTED_SUM: return add<true, false, Rescale>(g, n, begin, s);
    case FM_MIX_ELECTED_MEAN: return add<true, true, Rescale>(g, n, begin, s);
    default: return add<false, false, Rescale>(g, n, begin, s);
  }
}

void add(const group &g, int32_t mix, int64_t n, bool begin, sums *s) {
  bool rescale = false;
  for (int i = 0; i < g.count; ++i) rescale |= g.rescales[i] != 1;
  return rescale ? add<true>(g, mix, n, begin, s) : add<false>(g, mix, n, begin, s);
}

// The mix times the factor takes the place of the sum of all terms.
template <bool Elect, bool Mean>
void finish(float total_weight, float factor, int64_t n, sums *s) {
  const vf zero = zero_f();
  const vf one = set_f(1.0F);
  for (int64_t k = 0; k < n; k += kLanesF) {
    const vf all = load_f(s->all + k);
    vf mixed = all;
    vf divisor = set_f(total_weight);
    if constexpr (Elect) {
      const vi up = (vi)(all >= zero);
      mixed = (vf)(((vi)load_f(s->up + k) & up) | ((vi)load_f(s->down + k) & ~up));
      if constexpr (Mean) {
        divisor = (vf)(((vi)load_f(s->up_weights + k) & up) | ((vi)load_f(s->down_weights + k) & ~up));
        const vi none = (vi)(divisor == zero);
        divisor = (vf)(((vi)one & none) | ((vi)divisor & ~none));
      }
    }
    if constexpr (Mean) mixed = mixed / divisor;
    store_f(s->all + k, mixed * set_f(factor) + (all - all));
  }
}

template <int Type>
void write(void *out, int64_t from, int64_t n, const base_block *base, const float *mixed) {
  int64_t k = 0;
  for (; k + kLanesD <= n; k += kLanesD) {
    const vd b = base->is_wide ? load_f64(base->wide + k) : load<FM_F32>(base->floats, k);
    store<Type>(out, from + k, b + load_f32(mixed + k));
  }
  if (k < n) store_first<Type>(out, from + k, n - k, load_f64(base->wide + k) + load_f32(mixed + k));
}

}  // namespace

void task_vectors(const fm_task_vector *vectors, int64_t vector_count, const fm_values *base, int32_t mix, double factor,
                  int64_t first, void *out, int32_t out_type, int64_t begin, int64_t end) {
  base_block from_base;
  sums s;
  group g;
  float total_weight = 0;
  bool wide = base->type == FM_F64;
  for (int64_t i = 0; i < vector_count; ++i) {
    total_weight = total_weight + static_cast<float>(vectors[i].weight);
    wide |= !is_narrow(vectors[i].value_type);
  }
  if ((total_weight < 0 ? -total_weight : total_weight) < 1e-8F) total_weight = 1;
  const float scale = static_cast<float>(factor);
  for (int64_t from = begin; from < end; from += kBlock) {
    const int64_t n = min64(kBlock, end - from);
    load_base(base, from, n, wide, &from_base);
    for (int64_t i = 0; i < vector_count; i += kGroup) {
      g.count = static_cast<int>(min64(kGroup, vector_count - i));
      for (int m = 0; m < g.count; ++m) {
        const fm_task_vector *v = &vectors[i + m];
        g.weights[m] = static_cast<float>(v->weight);
        g.rescales[m] = static_cast<float>(v->rescale);
        kept_differences(v, from, first + from, n, base->type == FM_F64, &from_base, g.delta[m]);
      }
      add(g, mix, n, i == 0, &s);
    }
    switch (mix) {
      case FM_MIX_SUM: finish<false, false>(total_weight, scale, n, &s); break;
      case FM_MIX_MEAN: finish<false, true>(total_weight, scale, n, &s); break;
      case FM_MIX_ELECTED_SUM: finish<true, false>(total_weight, scale, n, &s); break;
      default: finish<true, true>(total_weight, scale, n, &s); break;
    }
    switch (out_type) {
      case FM_F32: write<FM_F32>(out, from, n, &from_base, s.all); break;
      case FM_F16: write<FM_F16>(out, from, n, &from_base, s.all); break;
      case FM_BF16: write<FM_BF16>(out, from, n, &from_base, s.all); break;
      default: write<FM_F64>(out, from, n, &from_base, s.all); break;
    }
  }
}

namespace {

constexpr int kPartials = 16;
constexpr int kVectors = kPartials / kLanesD;

struct magnitude_sums {
  vd partial[kVectors];

  magnitude_sums() {
    for (vd &p : partial) p = set_d(0.0);
  }

  inline __attribute__((always_inline)) void add(const float *delta) {
#pragma GCC unroll 8
    for (int u = 0; u < kVectors; ++u) {
      const vd x = load_f32(delta + u * kLanesD);
      partial[u] = partial[u] + (vd)((vl)x & INT64_MAX);
    }
  }

  double total() const {
    double lanes[kPartials];
    for (int u = 0; u < kVectors; ++u) store_f64(lanes + u * kLanesD, partial[u]);
    for (int half = kPartials / 2; half > 0; half /= 2) {
      for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    }
    return lanes[0];
  }
};

}  // namespace

void task_vector_norms(const fm_task_vector *vector, const fm_values *base, int64_t first, double *norms, int64_t begin,
                       int64_t end) {
  base_block from_base;
  alignas(64) float delta[kRoom];
  alignas(64) float trimmed_delta[kRoom];
  magnitude_sums all;
  magnitude_sums kept;
  for (int64_t from = begin; from < end; from += kBlock) {
    const int64_t n = min64(kBlock, end - from);
    const int64_t place = first + from;
    load_base(base, from, n, !is_narrow(vector->value_type), &from_base);
    subtract(vector->values, vector->value_type, from, n, base->type == FM_F64, &from_base, keep_all{}, delta);
    trimmed(
        vector, place, n,
        [&](const auto &keep) {
          for (int64_t k = 0; k < n; k += kLanesF) store_f(trimmed_delta + k, keep(load_f(delta + k), k));
          for (int64_t k = n; k % 16 != 0; ++k) trimmed_delta[k] = 0;
        },
        [&] {
          for (int64_t k = 0; k < n; ++k) trimmed_delta[k] = keeps(vector, delta[k], place + k) ? delta[k] : 0;
          for (int64_t k = n; k % 16 != 0; ++k) trimmed_delta[k] = 0;
        });
    for (int64_t k = 0; k < n; k += kPartials) {
      all.add(delta + k);
      kept.add(trimmed_delta + k);
    }
  }
  const double found[2] = {all.total(), kept.total()};
  __builtin_memcpy(norms, found, sizeof found);
}

}  // namespace fm::FM_TIER
