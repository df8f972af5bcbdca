// What decides on the trimming of task vectors: how many of their magnitudes lie below a bracket, and which lie within it;
// a sample of them, from which brackets are chosen; and the magnitude of a rank among those that were found.
#include "differences.h"

#if defined(FM_TIER_avx512) || defined(FM_TIER_avx2)
#include <immintrin.h>
#endif

namespace fm::FM_TIER {
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

#if defined(FM_TIER_avx2)
// For each set of lanes, their numbers, a nibble each, in order.
struct lane_orders {
  uint32_t of[256];

  constexpr lane_orders() : of{} {
    for (uint32_t bits = 0; bits < 256; ++bits) {
      uint32_t order = 0;
      int place = 0;
      for (uint32_t l = 0; l < 8; ++l) {
        if ((bits >> l & 1) != 0) order |= l << (4 * place++);
      }
      of[bits] = order;
    }
  }
};
constexpr lane_orders kLaneOrders;
#endif

FM_INLINE int64_t sum_of(vi x) {
  int64_t sum = 0;
  for (int l = 0; l < kLanesF; ++l) sum += x[l];
  return sum;
}

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

// Stores the lanes of a set one after the other, and whatever behind them, as much as a whole vector; returns how many.
// Without a branch, where there are instructions for it: most would be guessed wrongly.
#if defined(FM_TIER_avx512)
using lane_set = __mmask16;
FM_INLINE int64_t pack(lane_set lanes, vf x, float *out) {
  store_f(out, _mm512_maskz_compress_ps(lanes, x));
  return __builtin_popcount(lanes);
}
#elif defined(FM_TIER_avx2)
using lane_set = vi;
FM_INLINE int64_t pack(lane_set lanes, vf x, float *out) {
  const uint32_t bits = bits_of(lanes);
  const __m256i nibbles = _mm256_set1_epi32(static_cast<int32_t>(kLaneOrders.of[bits]));
  const __m256i order = _mm256_srlv_epi32(nibbles, _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
  store_f(out, _mm256_permutevar8x32_ps(x, order));
  return __builtin_popcount(bits);
}
#else
using lane_set = vi;
FM_INLINE int64_t pack(lane_set lanes, vf x, float *out) {
  uint32_t bits = bits_of(lanes);
  if (bits == 0) return 0;
  alignas(64) float lane[kLanesF];
  store_f(lane, x);
  int64_t count = 0;
  for (; bits != 0; bits &= bits - 1) put_float_at(out, count++, lane[__builtin_ctz(bits)]);
  return count;
}
#endif

FM_INLINE void count(vf m, vf low, vf high, float *found, lane_counts *lanes, int64_t *between) {
#if defined(FM_TIER_avx512)
  const __m512i one = _mm512_set1_epi32(1);
  auto add = [&](vi *sum, __mmask16 mask) __attribute__((always_inline)) {
    *sum = (vi)_mm512_mask_add_epi32((__m512i)*sum, mask, (__m512i)*sum, one);
  };
  add(&lanes->below, _mm512_cmp_ps_mask(m, low, _CMP_LT_OQ));
  add(&lanes->at_low, _mm512_cmp_ps_mask(m, low, _CMP_EQ_OQ));
  add(&lanes->at_high, _mm512_cmp_ps_mask(m, high, _CMP_EQ_OQ));
  const __mmask16 within = _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(m, low, _CMP_GT_OQ), m, high, _CMP_LT_OQ);
  *between += pack(within, m, at(found, *between));
#else
  lanes->below -= (vi)(m < low);
  lanes->at_low -= (vi)(m == low);
  lanes->at_high -= (vi)(m == high);
  *between += pack((vi)(m > low) & (vi)(m < high), m, at(found, *between));
#endif
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
  int64_t between = 0;
  int64_t j = begin;
  while (j + kLanesF <= end) {
    lane_counts lanes;
    const int64_t until = min64(end, j + kTurn);
    for (; j + kLanesF <= until; j += kLanesF) {
      __builtin_prefetch(v + (j + kAhead) * kBytes<Values>, 0, 2);
      __builtin_prefetch(b + (j + kAhead) * kBytes<Base>, 0, 2);
      const vf delta = load_floats<Values>(v + j * kBytes<Values>) - load_floats<Base>(b + j * kBytes<Base>);
      count(magnitude(delta), lower, upper, found, &lanes, &between);
    }
    lanes.add_to(counts);
  }
  counts->between += between;
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
    subtract(values->data, values->type, from, n, base->type == FM_F64, &from_base, keep_all{}, delta);
    for (int64_t l = n; l % kLanesF != 0; ++l) delta[l] = __builtin_nanf("");
    lane_counts lanes;
    for (int64_t k = 0; k < n; k += kLanesF) {
      count(magnitude(load_f(delta + k)), lower, upper, found, &lanes, &counts->between);
    }
    lanes.add_to(counts);
  }
}

namespace {

void sample_group(const fm_values *values, const fm_values *base, int64_t begin, float *sample) {
  if (values->type == FM_F32 && base->type == FM_F32) {
    const float *v = at(static_cast<const float *>(values->data), begin);
    const float *b = at(static_cast<const float *>(base->data), begin);
    for (int64_t k = 0; k < FM_SAMPLE_GROUP; k += kLanesF) {
      store_f(at(sample, k), magnitude(load_f(at(v, k)) - load_f(at(b, k))));
    }
    return;
  }
  base_block from_base;
  alignas(64) float delta[kRoom];
  load_base(base, begin, FM_SAMPLE_GROUP, !is_narrow(values->type), &from_base);
  subtract(values->data, values->type, begin, FM_SAMPLE_GROUP, base->type == FM_F64, &from_base, keep_all{}, delta);
  for (int64_t k = 0; k < FM_SAMPLE_GROUP; k += kLanesF) store_f(at(sample, k), magnitude(load_f(delta + k)));
}

}  // namespace

void sample_magnitudes(const fm_values *values, const fm_values *base, const int64_t *places, int64_t groups,
                       float *sample) {
  constexpr int64_t kGroupsAhead = 16;
  const int64_t value_bytes = values->type == FM_F64 ? 8 : values->type == FM_F32 ? 4 : 2;
  const int64_t base_bytes = base->type == FM_F64 ? 8 : base->type == FM_F32 ? 4 : 2;
  const char *v = static_cast<const char *>(values->data);
  const char *b = static_cast<const char *>(base->data);
  for (int64_t g = 0; g < groups; ++g) {
    if (g + kGroupsAhead < groups) {
      const int64_t next = places[g + kGroupsAhead];
      __builtin_prefetch(v + next * value_bytes, 0, 3);
      __builtin_prefetch(v + (next + FM_SAMPLE_GROUP) * value_bytes - 1, 0, 3);
      __builtin_prefetch(b + next * base_bytes, 0, 3);
      __builtin_prefetch(b + (next + FM_SAMPLE_GROUP) * base_bytes - 1, 0, 3);
    }
    sample_group(values, base, places[g], at(sample, g * FM_SAMPLE_GROUP));
  }
}

namespace {

constexpr int kBucketBits = 11;
constexpr int kHistograms = 4;
constexpr int64_t kChunk = 1024;
constexpr uint32_t kInfinity = 0x7F800000;

// How many magnitudes lie in each 2^shift of [low, low + range], as integers.
struct histogram {
  uint32_t of[kHistograms][1 << kBucketBits];  // several, so that increments of one bucket need not wait for each other

  void fill(const float *magnitudes, int64_t count, uint32_t low, uint32_t range, int shift) {
    __builtin_memset(of, 0, sizeof of);
    float within[kChunk + 16];
    for (int64_t from = 0; from < count; from += kChunk) {
      const int64_t n = gather(at(magnitudes, from), min64(kChunk, count - from), low, range, within);
      int64_t k = 0;
      for (; k + kHistograms <= n; k += kHistograms) {
        for (int h = 0; h < kHistograms; ++h) ++of[h][__builtin_bit_cast(uint32_t, within[k + h]) >> shift];
      }
      for (; k < n; ++k) ++of[0][__builtin_bit_cast(uint32_t, within[k]) >> shift];
    }
  }

  int64_t count(int bucket) const {
    int64_t sum = 0;
    for (int h = 0; h < kHistograms; ++h) sum += of[h][bucket];
    return sum;
  }

 private:
  // How far above `low` those are that are not above its range; NaN counts as infinity.
  static int64_t gather(const float *magnitudes, int64_t count, uint32_t low, uint32_t range, float *within) {
    constexpr int32_t most = static_cast<int32_t>(kInfinity);
    int64_t n = 0;
    int64_t k = 0;
    for (; k + kLanesF <= count; k += kLanesF) {
      const vi bits = (vi)load_f(at(magnitudes, k));
      const vu above = (vu)((bits < most ? bits : vi{} + most) - static_cast<int32_t>(low));
#if defined(FM_TIER_avx512)
      const lane_set lanes = _mm512_cmple_epu32_mask((__m512i)above, _mm512_set1_epi32(static_cast<int32_t>(range)));
#else
      const lane_set lanes = (vi)(above <= vu{} + range);
#endif
      n += pack(lanes, (vf)above, within + n);
    }
    for (; k < count; ++k) {
      const uint32_t bits = __builtin_bit_cast(uint32_t, float_at(magnitudes, k));
      const uint32_t above = (bits < kInfinity ? bits : kInfinity) - low;
      if (above <= range) within[n++] = __builtin_bit_cast(float, above);
    }
    return n;
  }
};

}  // namespace

void select_magnitude(const float *magnitudes, int64_t count, int64_t rank, float least, float most,
                      fm_selected_magnitude *selected) {
  histogram buckets;
  uint32_t low = __builtin_bit_cast(uint32_t, least);
  uint32_t high = __builtin_bit_cast(uint32_t, most);
  int64_t below = 0;
  int64_t equal = count;
  while (low < high) {
    const uint32_t range = high - low;
    const int width = 32 - __builtin_clz(range);
    const int shift = width > kBucketBits ? width - kBucketBits : 0;
    buckets.fill(magnitudes, count, low, range, shift);
    int bucket = 0;
    equal = buckets.count(0);
    while (rank >= below + equal) {
      below += equal;
      equal = buckets.count(++bucket);
    }
    low += static_cast<uint32_t>(bucket) << shift;
    high = low + ((uint32_t{1} << shift) - 1) < high ? low + ((uint32_t{1} << shift) - 1) : high;
  }
  *selected = {below, equal, __builtin_bit_cast(float, low)};
}

void count_equal(const float *numbers, int64_t count, float number, int64_t *equal) {
  const vf wanted = set_f(number);
  constexpr int64_t kTurn = int64_t{1} << 30;
  int64_t found = 0;
  int64_t k = 0;
  while (k + kLanesF <= count) {
    vi lanes = {};
    const int64_t until = min64(count, k + kTurn);
    for (; k + kLanesF <= until; k += kLanesF) lanes -= (vi)(load_f(at(numbers, k)) == wanted);
    found += sum_of(lanes);
  }
  for (; k < count; ++k) found += float_at(numbers, k) == number;
  *equal = found;
}

}  // namespace fm::FM_TIER
