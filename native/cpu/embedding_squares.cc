// Token embedding rows: per (b, v) the rows of g with equal id are summed, squared and added to that row of F.
//
// Accumulation: double, t in order; then F = float(F + w * (s * s)) for b in order, inside it v in order, so a
// sequence of examples gives the same bits however it is batched. Multiplication and addition separate: every tier
// gives the same bits. NaN and infinity follow IEEE 754. Rows not seen are not touched.
// Equal ids are found by comparing all pairs of an example's positions: T is small, and nothing is allocated.
#include "tier.h"

namespace fm::FM_TIER {
namespace {

FM_INLINE int64_t id_at(const int64_t *ids, int64_t index) {
  int64_t id;
  __builtin_memcpy(&id, reinterpret_cast<const char *>(ids) + 8 * index, 8);
  return id;
}

bool seen_before(const int64_t *ids, int64_t first, int64_t t) {
  const int64_t id = id_at(ids, first + t);
  for (int64_t earlier = 0; earlier < t; ++earlier) {
    if (id_at(ids, first + earlier) == id) return true;
  }
  return false;
}

}  // namespace

void embedding_squares(const fm_cotangents *g, const int64_t *ids, int64_t, float *fisher, int64_t begin,
                       int64_t end) {
  constexpr int64_t kColumns = 256;
  alignas(64) double sum[kColumns];
  for (int64_t b = 0; b < g->examples; ++b) {
    const int64_t first = b * g->tokens;
    for (int64_t v = 0; v < g->probes; ++v) {
      const vd w = set_d(weight(g, v, b));
      for (int64_t t = 0; t < g->tokens; ++t) {
        if (seen_before(ids, first, t)) continue;
        const int64_t id = id_at(ids, first + t);
        for (int64_t from = begin; from < end; from += kColumns) {
          const int64_t n = min64(kColumns, end - from);
          for (int64_t k = 0; k < n; k += kLanesD) store_f64(sum + k, set_d(0.0));
          for (int64_t same = t; same < g->tokens; ++same) {
            if (id_at(ids, first + same) != id) continue;
            const float *p = row(g, v, b, same);
            int64_t k = 0;
            for (; k + kLanesD <= n; k += kLanesD) store_f64(sum + k, load_f64(sum + k) + load<FM_F32>(p, from + k));
            if (k < n) store_f64(sum + k, load_f64(sum + k) + load_first<FM_F32>(p, from + k, n - k));
          }
          float *target = at(fisher, id * g->width);
          int64_t k = 0;
          for (; k + kLanesD <= n; k += kLanesD) {
            vd s = load_f64(sum + k);
            store<FM_F32>(target, from + k, load<FM_F32>(target, from + k) + w * (s * s));
          }
          if (k < n) {
            vd s = load_f64(sum + k);
            store_first<FM_F32>(target, from + k, n - k, load_first<FM_F32>(target, from + k, n - k) + w * (s * s));
          }
        }
      }
    }
  }
}

}  // namespace fm::FM_TIER
