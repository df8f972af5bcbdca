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
#include "tier.h"

#if defined(FM_TIER_avx512) || defined(FM_TIER_avx2)
#include <immintrin.h>
#endif

namespace fm::FM_TIER {
namespace {

constexpr int64_t kBlock = 256;
constexpr int64_t kRoom = kBlock + 16;
constexpr int64_t kAhead = 512;  // elements to prefetch ahead
constexpr int kGroup = 8;        // models whose differences are stored at a time
constexpr int64_t kLine = 64;

typedef int32_t vi __attribute__((vector_size(sizeof(vf))));
typedef uint32_t vu __attribute__((vector_size(sizeof(vf))));

FM_INLINE vf magnitude(vf x) { return (vf)((vi)x & INT32_MAX); }
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

// ---- differences ----

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

template <int Type>
void subtract(const void *p, int64_t from, int64_t n, bool wide_base, const base_block *base, float *delta) {
  const char *values = static_cast<const char *>(p) + from * kBytes<Type>;
  int64_t k = 0;
  if constexpr (kIsNarrow<Type>) {
    for (; !wide_base && k + kLanesF <= n; k += kLanesF) {
      if (k * kBytes<Type> % kLine == 0) __builtin_prefetch(values + (kAhead + k) * kBytes<Type>, 0, 2);
      store_f(delta + k, load_floats<Type>(values + k * kBytes<Type>) - load_f(at(base->floats, k)));
    }
  }
  for (; k < n; k += kLanesD) {
    store_f32(delta + k, narrow(load_whole_or_first<Type>(values, k, n - k) - load_f64(base->wide + k)));
  }
  // What is beyond is 0, whatever the base's array holds there.
  for (int64_t l = n; l % kLanesF != 0 || l % 16 != 0; ++l) delta[l] = 0;
}

void subtract(const void *values, int32_t type, int64_t from, int64_t n, bool wide_base, const base_block *base,
              float *delta) {
  switch (type) {
    case FM_F32: return subtract<FM_F32>(values, from, n, wide_base, base, delta);
    case FM_F16: return subtract<FM_F16>(values, from, n, wide_base, base, delta);
    case FM_BF16: return subtract<FM_BF16>(values, from, n, wide_base, base, delta);
    default: return subtract<FM_F64>(values, from, n, wide_base, base, delta);
  }
}

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

template <bool Upper, bool Random>
void trim(const fm_task_vector *v, float least, float most, int64_t place, int64_t n, float *delta) {
  const vf low = set_f(least);
  const vf high = set_f(most);
  const vu share = set_u(static_cast<uint32_t>(v->share));
  const vu seed = set_u(static_cast<uint32_t>(v->seed));
  const vu more_seed = set_u(static_cast<uint32_t>(v->seed >> 32));
  vu places;
  for (int l = 0; l < kLanesF; ++l) places[l] = static_cast<uint32_t>(place) + static_cast<uint32_t>(l);
  for (int64_t k = 0; k < n; k += kLanesF) {
    const vf d = load_f(delta + k);
    if constexpr (!Upper && !Random) {
      store_f(delta + k, not_below(d, low));
      continue;
    }
    const vf m = magnitude(d);
    vi kept = ~(vi)(m < low);
    if constexpr (Upper) kept &= (vi)(m <= high);
    if constexpr (Random) {
      kept &= (vi)(drawn<vu>(places, seed, more_seed) < share);
      places += kLanesF;
    }
    if constexpr (Upper || Random) kept |= ~(vi)(m <= set_f(kLargest));
    store_f(delta + k, masked(d, kept));
  }
}

// Sets differences that are not kept to 0. place: of the first one in its tensor.
void trim(const fm_task_vector *v, int64_t place, int64_t n, float *delta) {
  const bool upper = v->most <= kLargest;
  const bool random = v->share >> 32 == 0;
  if (v->least == 0 && !upper && !random) return;
  if (lies_within(v->least_from, place, n) || lies_within(v->least_until, place, n) ||
      lies_within(v->most_until, place, n)) {
    for (int64_t k = 0; k < n; ++k) {
      if (!keeps(v, delta[k], place + k)) delta[k] = 0;
    }
    return;
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
  if (upper) return random ? trim<true, true>(v, least, most, place, n, delta) : trim<true, false>(v, least, most, place, n, delta);
  return random ? trim<false, true>(v, least, most, place, n, delta) : trim<false, false>(v, least, most, place, n, delta);
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
        subtract(v->values, v->value_type, from, n, base->type == FM_F64, &from_base, g.delta[m]);
        trim(v, first + from, n, g.delta[m]);
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

// One bit for each lane.
FM_INLINE uint32_t bits_of(vi mask) {
#if defined(FM_TIER_avx512)
  return _mm512_movepi32_mask((__m512i)mask);
#elif defined(FM_TIER_avx2)
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)mask));
#else
  uint32_t bits = 0;
  for (int l = 0; l < kLanesF; ++l) bits |= (static_cast<uint32_t>(mask[l]) & 1) << l;
  return bits;
#endif
}

FM_INLINE int64_t sum_of(vi x) {
  int64_t sum = 0;
  for (int l = 0; l < kLanesF; ++l) sum += x[l];
  return sum;
}

}  // namespace

namespace {

// Counts in lanes, which hold less than 2^31.
struct lane_counts {
  vi below = {};
  vi at_low = {};
  vi at_high = {};

  void add_to(fm_magnitude_counts *counts) const {
    counts->below += sum_of(below);
    counts->at_low += sum_of(at_low);
    counts->at_high += sum_of(at_high);
  }
};

FM_INLINE void count(vf m, vf low, vf high, float *found, lane_counts *lanes, fm_magnitude_counts *counts) {
  lanes->below -= (vi)(m < low);
  lanes->at_low -= (vi)(m == low);
  lanes->at_high -= (vi)(m == high);
  uint32_t bits = bits_of((vi)(m > low) & (vi)(m < high));
  if (bits == 0) return;
  alignas(64) float lane[kLanesF];
  store_f(lane, m);
  for (; bits != 0; bits &= bits - 1) put_float_at(found, counts->between++, lane[__builtin_ctz(bits)]);
}

// Whole vectors of types no wider than float, straight from memory; returns where it stopped.
template <int Values, int Base>
int64_t count_narrow(const void *values, const void *base, float low, float high, float *found,
                     fm_magnitude_counts *counts, int64_t begin, int64_t end) {
  const char *v = static_cast<const char *>(values);
  const char *b = static_cast<const char *>(base);
  const vf lower = set_f(low);
  const vf upper = set_f(high);
  constexpr int64_t kTurn = int64_t{1} << 20;
  int64_t j = begin;
  while (j + kLanesF <= end) {
    lane_counts lanes;
    const int64_t until = min64(end, j + kTurn);
    for (; j + kLanesF <= until; j += kLanesF) {
      __builtin_prefetch(v + (j + kAhead) * kBytes<Values>, 0, 2);
      __builtin_prefetch(b + (j + kAhead) * kBytes<Base>, 0, 2);
      const vf delta = load_floats<Values>(v + j * kBytes<Values>) - load_floats<Base>(b + j * kBytes<Base>);
      count(magnitude(delta), lower, upper, found, &lanes, counts);
    }
    lanes.add_to(counts);
  }
  return j;
}

int64_t count_narrow(const fm_values *values, const fm_values *base, float low, float high, float *found,
                     fm_magnitude_counts *counts, int64_t begin, int64_t end) {
  if (!is_narrow(values->type) || !is_narrow(base->type)) return begin;
  if (values->type == FM_F32) {
    return base->type == FM_F32
               ? count_narrow<FM_F32, FM_F32>(values->data, base->data, low, high, found, counts, begin, end)
               : count_narrow<FM_F32, FM_BF16>(values->data, base->data, low, high, found, counts, begin, end);
  }
  return base->type == FM_F32
             ? count_narrow<FM_BF16, FM_F32>(values->data, base->data, low, high, found, counts, begin, end)
             : count_narrow<FM_BF16, FM_BF16>(values->data, base->data, low, high, found, counts, begin, end);
}

}  // namespace

void magnitudes(const fm_values *values, const fm_values *base, float low, float high, float *found,
                fm_magnitude_counts *counts, int64_t begin, int64_t end) {
  base_block from_base;
  alignas(64) float delta[kRoom];
  const vf lower = set_f(low);
  const vf upper = set_f(high);
  *counts = {};
  begin = count_narrow(values, base, low, high, found, counts, begin, end);
  for (int64_t from = begin; from < end; from += kBlock) {
    const int64_t n = min64(kBlock, end - from);
    load_base(base, from, n, !is_narrow(values->type), &from_base);
    subtract(values->data, values->type, from, n, base->type == FM_F64, &from_base, delta);
    for (int64_t l = n; l % kLanesF != 0; ++l) delta[l] = __builtin_nanf("");
    lane_counts lanes;
    for (int64_t k = 0; k < n; k += kLanesF) count(magnitude(load_f(delta + k)), lower, upper, found, &lanes, counts);
    lanes.add_to(counts);
  }
}

namespace {

constexpr int kPartials = 16;
constexpr int kVectors = kPartials / kLanesD;

FM_INLINE void add_magnitudes(const float *delta, int64_t n, vd *partial) {
  for (int64_t k = 0; k < n; k += kPartials) {
#pragma GCC unroll 4
    for (int u = 0; u < kVectors; ++u) {
      const vd x = load_f32(delta + k + u * kLanesD);
      partial[u] = partial[u] + (vd)((vl)x & INT64_MAX);
    }
  }
}

double tree(const vd *partial) {
  double lanes[kPartials];
  for (int u = 0; u < kVectors; ++u) store_f64(lanes + u * kLanesD, partial[u]);
  for (int half = kPartials / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return lanes[0];
}

}  // namespace

void task_vector_norms(const fm_task_vector *vector, const fm_values *base, int64_t first, double *norms, int64_t begin,
                       int64_t end) {
  base_block from_base;
  alignas(64) float delta[kRoom];
  vd all[kVectors];
  vd kept[kVectors];
  for (vd &p : all) p = set_d(0.0);
  for (vd &p : kept) p = set_d(0.0);
  for (int64_t from = begin; from < end; from += kBlock) {
    const int64_t n = min64(kBlock, end - from);
    load_base(base, from, n, !is_narrow(vector->value_type), &from_base);
    subtract(vector->values, vector->value_type, from, n, base->type == FM_F64, &from_base, delta);
    add_magnitudes(delta, n, all);
    trim(vector, first + from, n, delta);
    add_magnitudes(delta, n, kept);
  }
  const double found[2] = {tree(all), tree(kept)};
  __builtin_memcpy(norms, found, sizeof found);
}

}  // namespace fm::FM_TIER
