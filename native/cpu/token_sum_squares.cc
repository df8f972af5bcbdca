// F[o] += sum_{b,v} w (sum_t g[v,b,t,o])^2: biases, and with one token every parameter that is added to an activation.
//
// Accumulation: double, t in order from 0; then F = float(F + w * (s * s)) for b in order, inside it v in order, so a
// sequence of examples gives the same bits however it is batched. Multiplication and addition separate: every tier
// gives the same bits. NaN and infinity follow IEEE 754.
#include "tier.h"

namespace fm::FM_TIER {
namespace {

template <int Vectors>
FM_INLINE void columns(const fm_cotangents *g, float *fisher, int64_t o) {
  vd total[Vectors];
#pragma GCC unroll 4
  for (int u = 0; u < Vectors; ++u) total[u] = load<FM_F32>(fisher, o + u * kLanesD);
  for (int64_t b = 0; b < g->examples; ++b) {
    for (int64_t v = 0; v < g->probes; ++v) {
      vd sum[Vectors];
#pragma GCC unroll 4
      for (int u = 0; u < Vectors; ++u) sum[u] = set_d(0.0);
      for (int64_t t = 0; t < g->tokens; ++t) {
        const float *p = row(g, v, b, t);
#pragma GCC unroll 4
        for (int u = 0; u < Vectors; ++u) sum[u] = sum[u] + load<FM_F32>(p, o + u * kLanesD);
      }
      const vd w = set_d(weight(g, v, b));
#pragma GCC unroll 4
      for (int u = 0; u < Vectors; ++u) total[u] = round_to_float(total[u] + w * (sum[u] * sum[u]));
    }
  }
#pragma GCC unroll 4
  for (int u = 0; u < Vectors; ++u) store<FM_F32>(fisher, o + u * kLanesD, total[u]);
}

void tail(const fm_cotangents *g, float *fisher, int64_t o, int64_t n) {
  vd total = load_first<FM_F32>(fisher, o, n);
  for (int64_t b = 0; b < g->examples; ++b) {
    for (int64_t v = 0; v < g->probes; ++v) {
      vd sum = set_d(0.0);
      for (int64_t t = 0; t < g->tokens; ++t) sum = sum + load_first<FM_F32>(row(g, v, b, t), o, n);
      total = round_to_float(total + set_d(weight(g, v, b)) * (sum * sum));
    }
  }
  store_first<FM_F32>(fisher, o, n, total);
}

}  // namespace

void token_sum_squares(const fm_cotangents *g, float *fisher, int64_t begin, int64_t end) {
  int64_t o = begin;
  for (; o + 4 * kLanesD <= end; o += 4 * kLanesD) columns<4>(g, fisher, o);
  for (; o + kLanesD <= end; o += kLanesD) columns<1>(g, fisher, o);
  if (o < end) tail(g, fisher, o, end - o);
}

}  // namespace fm::FM_TIER
