// LayerNorm scale and shift: Fs[d] += sum w (sum_t g xhat)^2, Fb[d] += sum w (sum_t g)^2, xhat = (x - mean) * rstd.
//
// xhat is computed from the layer's input, never as (y - shift) / scale, which fails where scale is 0.
// Accumulation: double, t in order from 0; then F = float(F + w * (s * s)) for b in order, inside it v in order, so a
// sequence of examples gives the same bits however it is batched. Multiplication and addition separate: every tier
// gives the same bits. NaN and infinity follow IEEE 754.
#include "tier.h"

namespace fm::FM_TIER {
namespace {

struct whole {
  FM_INLINE vd read(const float *p, int64_t d, int64_t) { return load<FM_F32>(p, d); }
  FM_INLINE void write(float *p, int64_t d, int64_t, vd x) { store<FM_F32>(p, d, x); }
};
struct partial {
  FM_INLINE vd read(const float *p, int64_t d, int64_t n) { return load_first<FM_F32>(p, d, n); }
  FM_INLINE void write(float *p, int64_t d, int64_t n, vd x) { store_first<FM_F32>(p, d, n, x); }
};

template <class Access, int Vectors>
FM_INLINE void columns(const fm_cotangents *g, const fm_activations *x, const float *mean, const float *rstd,
                       float *fisher_scale, float *fisher_shift, int64_t d, int64_t n) {
  vd total_scale[Vectors];
  vd total_shift[Vectors];
#pragma GCC unroll 4
  for (int u = 0; u < Vectors; ++u) {
    total_scale[u] = Access::read(fisher_scale, d + u * kLanesD, n);
    total_shift[u] = Access::read(fisher_shift, d + u * kLanesD, n);
  }
  for (int64_t b = 0; b < g->examples; ++b) {
    for (int64_t v = 0; v < g->probes; ++v) {
      vd scale[Vectors];
      vd shift[Vectors];
#pragma GCC unroll 4
      for (int u = 0; u < Vectors; ++u) scale[u] = shift[u] = set_d(0.0);
      for (int64_t t = 0; t < g->tokens; ++t) {
        const float *pg = row(g, v, b, t);
        const float *px = row(x, b, t);
        const vd m = set_d(float_at(mean, b * g->tokens + t));
        const vd r = set_d(float_at(rstd, b * g->tokens + t));
#pragma GCC unroll 4
        for (int u = 0; u < Vectors; ++u) {
          vd gradient = Access::read(pg, d + u * kLanesD, n);
          shift[u] = shift[u] + gradient;
          scale[u] = scale[u] + gradient * ((Access::read(px, d + u * kLanesD, n) - m) * r);
        }
      }
      const vd w = set_d(weight(g, v, b));
#pragma GCC unroll 4
      for (int u = 0; u < Vectors; ++u) {
        total_scale[u] = round_to_float(total_scale[u] + w * (scale[u] * scale[u]));
        total_shift[u] = round_to_float(total_shift[u] + w * (shift[u] * shift[u]));
      }
    }
  }
#pragma GCC unroll 4
  for (int u = 0; u < Vectors; ++u) {
    Access::write(fisher_scale, d + u * kLanesD, n, total_scale[u]);
    Access::write(fisher_shift, d + u * kLanesD, n, total_shift[u]);
  }
}

}  // namespace

void layer_norm_squares(const fm_cotangents *g, const fm_activations *x, const float *mean, const float *rstd,
                        float *fisher_scale, float *fisher_shift, int64_t begin, int64_t end) {
  int64_t d = begin;
  for (; d + 4 * kLanesD <= end; d += 4 * kLanesD) {
    columns<whole, 4>(g, x, mean, rstd, fisher_scale, fisher_shift, d, kLanesD);
  }
  for (; d < end; d += kLanesD) {
    columns<partial, 1>(g, x, mean, rstd, fisher_scale, fisher_shift, d, min64(kLanesD, end - d));
  }
}

}  // namespace fm::FM_TIER
