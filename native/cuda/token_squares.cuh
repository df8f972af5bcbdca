// F[o] += sum_{b,v} w (sum_t g[v,b,t,o])^2, and LayerNorm's scale and shift, whose sums have a factor xhat or none.
//
// Accumulation: double, t in order; F = float(F + w * (s * s)) for b in order, inside it v in order, multiplication and
// addition separate: the bits of native/cpu.
//
// Two stages, because only the short chain over (b, v) must be serial: first a thread per (b, v, o) writes w * (s * s)
// as a double, then a thread per o adds them to F in order.
//
// Roofline: g is read once (and x, for LayerNorm, V times, mostly from L2); the terms cost 16 bytes per (b, v, o) beside
// 4 T of g.
#pragma once

#include "portable.cuh"

namespace fmc {

inline int64_t terms_count(const fm_cotangents &g) { return g.probes * g.examples * g.width; }

// A block's columns and its (b, v): blocks of kColumns columns of one item, item after item.
constexpr int kColumns = 128;

struct token_sum_terms {
  struct job {
    fm_cotangents g;
    double *terms;
  };
  static constexpr int kThreads = kColumns;
  static constexpr int kShared = 0;

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    const int64_t across = divide_up(j.g.width, kColumns);
    const int64_t item = block.index() / across;
    const int64_t o = block.index() % across * kColumns + block.thread();
    if (o >= j.g.width) return;
    const int64_t b = item / j.g.probes;
    const int64_t v = item % j.g.probes;
    const float *from = row(j.g, v, b, 0) + o;
    double sum = 0.0;
#if defined(__CUDACC__)
#pragma unroll 8
#endif
    for (int64_t t = 0; t < j.g.tokens; ++t) sum = add(sum, static_cast<double>(from[t * j.g.token_stride]));
    j.terms[item * j.g.width + o] = multiply(static_cast<double>(weight(j.g, v, b)), multiply(sum, sum));
  }
};

struct layer_norm_terms {
  struct job {
    fm_cotangents g;
    fm_activations x;
    const float *mean;
    const float *rstd;
    double *scale_terms;
    double *shift_terms;
  };
  static constexpr int kThreads = kColumns;
  static constexpr int kShared = 0;

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    const int64_t across = divide_up(j.g.width, kColumns);
    const int64_t item = block.index() / across;
    const int64_t d = block.index() % across * kColumns + block.thread();
    if (d >= j.g.width) return;
    const int64_t b = item / j.g.probes;
    const int64_t v = item % j.g.probes;
    const float *gradients = row(j.g, v, b, 0) + d;
    const float *inputs = row(j.x, b, 0) + d;
    double scale = 0.0;
    double shift = 0.0;
#if defined(__CUDACC__)
#pragma unroll 4
#endif
    for (int64_t t = 0; t < j.g.tokens; ++t) {
      const double gradient = gradients[t * j.g.token_stride];
      const double mean = j.mean[b * j.g.tokens + t];
      const double rstd = j.rstd[b * j.g.tokens + t];
      const double centred = add(static_cast<double>(inputs[t * j.x.token_stride]), -mean);
      shift = add(shift, gradient);
      scale = add(scale, multiply(gradient, multiply(centred, rstd)));
    }
    const double w = weight(j.g, v, b);
    j.scale_terms[item * j.g.width + d] = multiply(w, multiply(scale, scale));
    j.shift_terms[item * j.g.width + d] = multiply(w, multiply(shift, shift));
  }
};

struct add_terms {
  struct job {
    const double *terms;
    int64_t items;
    int64_t width;
    float *fisher;
  };
  static constexpr int kThreads = 32;
  static constexpr int kShared = 0;

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    const int64_t o = block.index() * kThreads + block.thread();
    if (o >= j.width) return;
    float total = j.fisher[o];
#if defined(__CUDACC__)
#pragma unroll 16
#endif
    for (int64_t item = 0; item < j.items; ++item) {
      total = static_cast<float>(add(static_cast<double>(total), j.terms[item * j.width + o]));
    }
    j.fisher[o] = total;
  }
};

template <class Launch>
void add_in_order(Launch &launch, const fm_cotangents &g, const double *terms, float *fisher) {
  launch.template run<add_terms>(blocks_for<add_terms>(g.width, 1), {terms, g.probes * g.examples, g.width, fisher});
}

template <class Launch>
void token_sum_squares(Launch &launch, const fm_cotangents &g, void *workspace, float *fisher) {
  if (terms_count(g) == 0) return;
  double *terms = static_cast<double *>(workspace);
  launch.template run<token_sum_terms>(g.probes * g.examples * divide_up(g.width, kColumns), {g, terms});
  add_in_order(launch, g, terms, fisher);
}

template <class Launch>
void layer_norm_squares(Launch &launch, const fm_cotangents &g, const fm_activations &x, const float *mean,
                        const float *rstd, void *workspace, float *fisher_scale, float *fisher_shift) {
  if (terms_count(g) == 0) return;
  double *scale_terms = static_cast<double *>(workspace);
  double *shift_terms = scale_terms + terms_count(g);
  launch.template run<layer_norm_terms>(g.probes * g.examples * divide_up(g.width, kColumns),
                                        {g, x, mean, rstd, scale_terms, shift_terms});
  add_in_order(launch, g, scale_terms, fisher_scale);
  add_in_order(launch, g, shift_terms, fisher_shift);
}

}  // namespace fmc
