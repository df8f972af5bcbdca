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

#if defined(FM_TIER_avx512)
constexpr int kNotFinite = 0x01 | 0x08 | 0x10 | 0x80;  // quiet NaN, infinity, -infinity, signalling NaN
#endif

// Which differences are kept where the element's place decides on none of equal magnitude.
template <bool Upper, bool Random>
struct keeper {
  vf low;
  vf high;
  vu share;
  vu seed;
  vu more_seed;
  vu places;  // of the first vector

  keeper() = default;
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
    const __mmask16 not_finite = _mm512_fpclass_ps_mask(delta, kNotFinite);
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

bool draws(const fm_task_vector *v) { return v->share >> 32 == 0; }
bool has_most(const fm_task_vector *v) { return v->most <= kLargest; }
bool keeps_all(const fm_task_vector *v) { return v->least == 0 && !has_most(v) && !draws(v); }

// Whether places within [place, place + n) decide on elements of equal magnitude.
bool is_cut(const fm_task_vector *v, int64_t place, int64_t n) {
  return !keeps_all(v) && (lies_within(v->least_from, place, n) || lies_within(v->least_until, place, n) ||
                           lies_within(v->most_until, place, n));
}

// For elements from `place` on, as far as they are not cut.
template <bool Upper, bool Random>
keeper<Upper, Random> keeper_of(const fm_task_vector *v, int64_t place) {
  float least = v->least;
  float most = v->most;
  if (!(place >= v->least_from && place < v->least_until)) {
    least = __builtin_bit_cast(float, next_float_bits(least, 1));
  }
  if (has_most(v) && place >= v->most_until) {
    // Below 0 there is no magnitude: nothing is kept.
    most = most > 0 ? __builtin_bit_cast(float, next_float_bits(most, -1)) : -1;
  }
  return keeper<Upper, Random>(v, least, most, place);
}

// Differences of one model, those that are not kept set to 0; `at_once` does it for a `Keep`, `one_by_one` where places
// decide. place: of the first one in its tensor.
template <class AtOnce, class OneByOne>
FM_INLINE void trimmed(const fm_task_vector *v, int64_t place, int64_t n, const AtOnce &at_once,
                       const OneByOne &one_by_one) {
  if (keeps_all(v)) return at_once(keep_all{});
  if (is_cut(v, place, n)) return one_by_one();
  if (has_most(v)) return draws(v) ? at_once(keeper_of<true, true>(v, place)) : at_once(keeper_of<true, false>(v, place));
  return draws(v) ? at_once(keeper_of<false, true>(v, place)) : at_once(keeper_of<false, false>(v, place));
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

// Sums over the models, of one vector.
struct vector_sums {
  vf all;
  vf up;
  vf down;
  vf up_weights;
  vf down_weights;
};

template <bool Elect, bool Mean>
FM_INLINE void add_term(vf term, vf weight, vector_sums *s) {
  s->all = s->all + term;
  if constexpr (Elect) {
    s->up = add_above_0(s->up, term, term);
    s->down = add_below_0(s->down, term, term);
    if constexpr (Mean) {
      s->up_weights = add_above_0(s->up_weights, weight, term);
      s->down_weights = add_below_0(s->down_weights, weight, term);
    }
  }
}

// The mix times the factor.
template <bool Elect, bool Mean>
FM_INLINE vf finished(const vector_sums &s, vf total_weight, vf factor) {
  vf mixed = s.all;
  vf divisor = total_weight;
  if constexpr (Elect) {
    const vi up = (vi)(s.all >= zero_f());
    mixed = (vf)(((vi)s.up & up) | ((vi)s.down & ~up));
    if constexpr (Mean) {
      divisor = (vf)(((vi)s.up_weights & up) | ((vi)s.down_weights & ~up));
      const vi none = (vi)(divisor == zero_f());
      divisor = (vf)(((vi)set_f(1.0F) & none) | ((vi)divisor & ~none));
    }
  }
  if constexpr (Mean) mixed = mixed / divisor;
  return mixed * factor + (s.all - s.all);
}

template <bool Elect, bool Mean, bool Rescale>
void add(const group &g, int64_t n, bool begin, sums *s) {
  const vf zero = zero_f();
  for (int64_t k = 0; k < n; k += kLanesF) {
    vector_sums of = {begin ? zero : load_f(s->all + k), begin || !Elect ? zero : load_f(s->up + k),
                      begin || !Elect ? zero : load_f(s->down + k), begin || !Mean ? zero : load_f(s->up_weights + k),
                      begin || !Mean ? zero : load_f(s->down_weights + k)};
    for (int i = 0; i < g.count; ++i) {
      const vf weight = broadcast_f(&g.weights[i]);
      vf term = load_f(g.delta[i] + k);
      if constexpr (Rescale) term = term * broadcast_f(&g.rescales[i]);
      add_term<Elect, Mean>(term * weight, weight, &of);
    }
    store_f(s->all + k, of.all);
    if constexpr (Elect) {
      store_f(s->up + k, of.up);
      store_f(s->down + k, of.down);
      if constexpr (Mean) {
        store_f(s->up_weights + k, of.up_weights);
        store_f(s->down_weights + k, of.down_weights);
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

// The mix takes the place of the sum of all terms.
template <bool Elect, bool Mean>
void finish(float total_weight, float factor, int64_t n, sums *s) {
  for (int64_t k = 0; k < n; k += kLanesF) {
    const vector_sums of = {load_f(s->all + k), load_f(s->up + k), load_f(s->down + k), load_f(s->up_weights + k),
                            load_f(s->down_weights + k)};
    store_f(s->all + k, finished<Elect, Mean>(of, set_f(total_weight), set_f(factor)));
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

void write(void *out, int32_t type, int64_t from, int64_t n, const base_block *base, const float *mixed) {
  switch (type) {
    case FM_F32: return write<FM_F32>(out, from, n, base, mixed);
    case FM_F16: return write<FM_F16>(out, from, n, base, mixed);
    case FM_BF16: return write<FM_BF16>(out, from, n, base, mixed);
    default: return write<FM_F64>(out, from, n, base, mixed);
  }
}

// ---- the usual case in registers ----
//
// Where the operands are floats of one kind and all vectors are trimmed alike, nothing but the result is stored. While a
// block is mixed, the next one of each stream is prefetched, a stream at a time.

constexpr int kMostInRegisters = 64;
#if defined(FM_TIER_avx512)
constexpr int kAtOnce = 2;  // vectors whose sums fit into the registers
#else
constexpr int kAtOnce = 1;
#endif

template <class Keeper>
struct operands {
  const char *values[kMostInRegisters];  // of the block
  float weights[kMostInRegisters];
  float rescales[kMostInRegisters];
  Keeper keepers[kMostInRegisters];
};

template <int Type, bool Elect, bool Mean, bool Rescale, int Vectors, class Keeper>
FM_INLINE void mix_vectors(const operands<Keeper> &of, int count, const float *base, int64_t place, int64_t k,
                           float total_weight, float factor, float *mixed) {
  vf b[Vectors];
  vector_sums s[Vectors];
  for (int u = 0; u < Vectors; ++u) {
    b[u] = load_f(at(base, k + u * kLanesF));
    s[u] = {zero_f(), zero_f(), zero_f(), zero_f(), zero_f()};
  }
  for (int i = 0; i < count; ++i) {
    const vf weight = broadcast_f(&of.weights[i]);
    for (int u = 0; u < Vectors; ++u) {
      const int64_t at_u = k + u * kLanesF;
      vf term = of.keepers[i](load_floats<Type>(of.values[i] + at_u * kBytes<Type>) - b[u], place + at_u);
      if constexpr (Rescale) term = term * broadcast_f(&of.rescales[i]);
      add_term<Elect, Mean>(term * weight, weight, &s[u]);
    }
  }
  for (int u = 0; u < Vectors; ++u) {
    store_f(mixed + k + u * kLanesF, finished<Elect, Mean>(s[u], set_f(total_weight), set_f(factor)));
  }
}

template <int Type, bool Elect, bool Mean, bool Rescale, class Keeper>
void mix_block(const operands<Keeper> &of, int count, const float *base, int64_t place, int64_t n, float total_weight,
               float factor, float *mixed) {
  int prefetched = 0;
  int64_t k = 0;
  for (; k < n; k += kLanesF) {
    for (; prefetched * n < count * (k + 1); ++prefetched) {
      const char *next = of.values[prefetched] + kBlock * kBytes<Type>;
      for (int64_t line = 0; line < kBlock * kBytes<Type>; line += kLine) __builtin_prefetch(next + line, 0, 2);
    }
    if (kAtOnce > 1 && k + kAtOnce * kLanesF <= n) {
      mix_vectors<Type, Elect, Mean, Rescale, kAtOnce>(of, count, base, place, k, total_weight, factor, mixed);
      k += (kAtOnce - 1) * kLanesF;
    } else {
      mix_vectors<Type, Elect, Mean, Rescale, 1>(of, count, base, place, k, total_weight, factor, mixed);
    }
  }
}

// What stays the same for all blocks of a range.
struct range {
  const fm_task_vector *vectors;
  int count;
  const fm_values *base;
  int64_t first;
  float total_weight;
  float factor;
  void *out;
  int32_t out_type;
  int64_t begin;
  int64_t end;
};

template <int Type, bool Elect, bool Mean, bool Rescale, bool Upper, bool Random>
int64_t mix_blocks(const range &r) {
  using keep = keeper<Upper, Random>;
  operands<keep> of;
  base_block base;
  alignas(64) float mixed[kRoom];
  for (int i = 0; i < r.count; ++i) {
    of.values[i] = static_cast<const char *>(r.vectors[i].values) + r.begin * kBytes<Type>;
    of.weights[i] = static_cast<float>(r.vectors[i].weight);
    of.rescales[i] = static_cast<float>(r.vectors[i].rescale);
    of.keepers[i] = keeper_of<Upper, Random>(&r.vectors[i], r.first + r.begin);
  }
  int64_t from = r.begin;
  while (true) {
    const int64_t n = min64(kBlock, (r.end - from) / kLanesF * kLanesF);
    if (n <= 0) return from;
    load_base(r.base, from, n, false, &base);
    mix_block<Type, Elect, Mean, Rescale>(of, r.count, base.floats, from - r.begin, n, r.total_weight, r.factor, mixed);
    write(r.out, r.out_type, from, n, &base, mixed);
    for (int i = 0; i < r.count; ++i) of.values[i] += n * kBytes<Type>;
    from += n;
  }
}

template <int Type, bool Rescale, bool Upper, bool Random>
int64_t mix_blocks(const range &r, int32_t mix) {
  switch (mix) {
    case FM_MIX_SUM: return mix_blocks<Type, false, false, Rescale, Upper, Random>(r);
    case FM_MIX_MEAN: return mix_blocks<Type, false, true, Rescale, Upper, Random>(r);
    case FM_MIX_ELECTED_SUM: return mix_blocks<Type, true, false, Rescale, Upper, Random>(r);
    default: return mix_blocks<Type, true, true, Rescale, Upper, Random>(r);
  }
}

template <int Type>
int64_t mix_blocks(const range &r, int32_t mix, bool rescale, bool upper, bool random) {
  if (random) return mix_blocks<Type, true, false, true>(r, mix);
  if (upper) return mix_blocks<Type, true, true, false>(r, mix);
  return rescale ? mix_blocks<Type, true, false, false>(r, mix) : mix_blocks<Type, false, false, false>(r, mix);
}

// Mixes as much of a range as it can, from its beginning; returns where it stopped.
int64_t mix_in_registers(const range &r, int32_t mix) {
  const int32_t type = r.base->type;
  if (!is_narrow(type)) return r.begin;
  bool upper = false;
  bool rescale = false;
  int drawing = 0;
  for (int i = 0; i < r.count; ++i) {
    const fm_task_vector *v = &r.vectors[i];
    if (v->value_type != type || is_cut(v, r.first + r.begin, r.end - r.begin)) return r.begin;
    upper |= has_most(v);
    rescale |= static_cast<float>(v->rescale) != 1;
    drawing += draws(v) ? 1 : 0;
  }
  if (drawing != 0 && (upper || drawing < r.count)) return r.begin;
  return type == FM_F32 ? mix_blocks<FM_F32>(r, mix, rescale, upper, drawing != 0)
                        : mix_blocks<FM_BF16>(r, mix, rescale, upper, drawing != 0);
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
  if (vector_count <= kMostInRegisters) {
    begin = mix_in_registers({vectors, static_cast<int>(vector_count), base, first, total_weight, scale, out, out_type,
                              begin, end}, mix);
  }
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
    write(out, out_type, from, n, &from_base, s.all);
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

#if defined(FM_TIER_avx512) || defined(FM_TIER_avx2)
  // of: which of the vectors of 16 differences.
  inline __attribute__((always_inline)) void add(vf delta, int of) {
    vd *p = partial + of * (kLanesF / kLanesD);
#if defined(FM_TIER_avx512)
    const vd low = _mm512_cvtps_pd(_mm512_castps512_ps256(delta));
    const vd high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(delta, 1));
#else
    const vd low = _mm256_cvtps_pd(_mm256_castps256_ps128(delta));
    const vd high = _mm256_cvtps_pd(_mm256_extractf128_ps(delta, 1));
#endif
    p[0] = p[0] + (vd)((vl)low & INT64_MAX);
    p[1] = p[1] + (vd)((vl)high & INT64_MAX);
  }
#endif

  double total() const {
    double lanes[kPartials];
    for (int u = 0; u < kVectors; ++u) store_f64(lanes + u * kLanesD, partial[u]);
    for (int half = kPartials / 2; half > 0; half /= 2) {
      for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    }
    return lanes[0];
  }
};

// Adds as much of a range as it can in registers, from its beginning; returns where it stopped.
#if defined(FM_TIER_avx512) || defined(FM_TIER_avx2)
template <int Type>
int64_t add_magnitudes(const fm_task_vector *vector, const fm_values *base, int64_t first, int64_t begin, int64_t end,
                       magnitude_sums *all, magnitude_sums *kept) {
  const char *v = static_cast<const char *>(vector->values);
  const char *b = static_cast<const char *>(base->data);
  int64_t j = begin;
  trimmed(
      vector, first + begin, end - begin,
      [&](const auto &keep) __attribute__((always_inline)) {
        magnitude_sums of_all;
        magnitude_sums of_kept;
        for (; j + kPartials <= end; j += kPartials) {
          __builtin_prefetch(v + (j + kAhead) * kBytes<Type>, 0, 2);
          __builtin_prefetch(b + (j + kAhead) * kBytes<Type>, 0, 2);
#pragma GCC unroll 2
          for (int u = 0; u < kPartials / kLanesF; ++u) {
            const int64_t k = j + u * kLanesF;
            const vf delta = load_floats<Type>(v + k * kBytes<Type>) - load_floats<Type>(b + k * kBytes<Type>);
            of_all.add(delta, u);
            of_kept.add(keep(delta, k - begin), u);
          }
        }
        *all = of_all;
        *kept = of_kept;
      },
      [] {});
  return j;
}

int64_t add_magnitudes(const fm_task_vector *vector, const fm_values *base, int64_t first, int64_t begin, int64_t end,
                       magnitude_sums *all, magnitude_sums *kept) {
  if (vector->value_type == base->type && base->type == FM_F32) {
    return add_magnitudes<FM_F32>(vector, base, first, begin, end, all, kept);
  }
  if (vector->value_type == base->type && base->type == FM_BF16) {
    return add_magnitudes<FM_BF16>(vector, base, first, begin, end, all, kept);
  }
  return begin;
}
#else
int64_t add_magnitudes(const fm_task_vector *, const fm_values *, int64_t, int64_t begin, int64_t, magnitude_sums *,
                       magnitude_sums *) {
  return begin;
}
#endif

}  // namespace

void task_vector_norms(const fm_task_vector *vector, const fm_values *base, int64_t first, double *norms, int64_t begin,
                       int64_t end) {
  base_block from_base;
  alignas(64) float delta[kRoom];
  alignas(64) float trimmed_delta[kRoom];
  magnitude_sums all;
  magnitude_sums kept;
  begin = add_magnitudes(vector, base, first, begin, end, &all, &kept);
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
