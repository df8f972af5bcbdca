// The cases that the GPU kernels are tested with, on a device or emulated: each against plain loops in double, or, where
// the contract promises its bits, against the CPU's kernels.
#pragma once

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <vector>

#include "fisher_kernels_cuda.h"

// What runs the kernels. Memory is the engine's; reset() frees all of it.
class engine {
 public:
  virtual ~engine() = default;
  // Memory that begins `shift` bytes after a 256-byte boundary, with these contents where `from` is not null.
  virtual void *place(const void *from, size_t bytes, size_t shift) = 0;
  virtual void fetch(void *to, const void *from, size_t bytes) = 0;
  virtual void reset() = 0;

  virtual void weighted_average(const std::vector<fm_weighted_input> &inputs, const fm_values *base,
                                double scaling_factor, void *out, int32_t type, int64_t n) = 0;
  virtual void statistics(const void *x, int32_t type, int64_t n, double threshold, fm_value_statistics *result) = 0;
  virtual void square_accumulate(const float *gradient, double scale, float *fisher, int64_t n) = 0;
  virtual void squared_gradients(const fm_cotangents &g, const fm_activations &a, int32_t precision, int32_t splits,
                                 float *fisher) = 0;
  virtual void token_sum_squares(const fm_cotangents &g, float *fisher) = 0;
  virtual void layer_norm_squares(const fm_cotangents &g, const fm_activations &x, const float *mean, const float *rstd,
                                  float *fisher_scale, float *fisher_shift) = 0;
  virtual void embedding_squares(const fm_cotangents &g, const int64_t *ids, int64_t rows, float *fisher) = 0;
};

namespace cases {

inline engine *on = nullptr;
inline int failures = 0;
inline const fm_kernels *cpu = nullptr;

#define EXPECT(condition, ...)                                  \
  do {                                                          \
    if (!(condition)) {                                         \
      if (++cases::failures <= 20) {                            \
        printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);  \
        printf(__VA_ARGS__);                                    \
        printf("\n");                                           \
      }                                                         \
    }                                                           \
  } while (false)

// A fixed generator, so that a failure repeats.
struct random_source {
  uint64_t state;
  explicit random_source(uint64_t seed) : state(seed * 2862933555777941757u + 3037000493u) {}
  double uniform(double low, double high) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * static_cast<double>(state >> 11) * 0x1p-53;
  }
};

template <class T>
std::vector<T> values(random_source &random, int64_t count, double low, double high) {
  std::vector<T> x(static_cast<size_t>(count));
  for (T &element : x) element = static_cast<T>(random.uniform(low, high));
  return x;
}

template <class T>
T *place(const std::vector<T> &x, size_t shift = 0) {
  return static_cast<T *>(on->place(x.data(), x.size() * sizeof(T), shift));
}

template <class T>
std::vector<T> fetch(const T *from, size_t count) {
  std::vector<T> x(count);
  on->fetch(x.data(), from, count * sizeof(T));
  return x;
}

inline bool both_nan_or_same_bits(float a, float b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, 4) == 0; }

inline void expect_same(const std::vector<float> &found, const std::vector<float> &expected, const char *shape,
                        const char *what = "") {
  for (size_t k = 0; k < expected.size(); ++k) {
    EXPECT(both_nan_or_same_bits(found[k], expected[k]), "%s%s: [%zu] %a, expected %a", shape, what, k,
           static_cast<double>(found[k]), static_cast<double>(expected[k]));
  }
}

inline size_t size_of(int32_t type) { return type == FM_F64 ? 8 : type == FM_F32 ? 4 : 2; }

// ---- weighted average ----

// Random bits of a 16-bit type make every kind of number; of the others, numbers of moderate size and a few special ones.
inline std::vector<char> any_values(random_source &random, int32_t type, int64_t count, bool special) {
  std::vector<char> x(static_cast<size_t>(count) * size_of(type) + 1);  // never null
  for (size_t k = 0; k < static_cast<size_t>(count); ++k) {
    double value = random.uniform(-3, 3);
    if (special && k % 7 == 3) {
      const double odd[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0, 0x1p-140, -0x1p-24, 65520, 0x1p-25, 0x1.FFp127};
      value = odd[k / 7 % 10];
    }
    const float single = static_cast<float>(value);
    const uint16_t bits = static_cast<uint16_t>(random.uniform(0, 65536));
    if (type == FM_F64) memcpy(&x[8 * k], &value, 8);
    if (type == FM_F32) memcpy(&x[4 * k], &single, 4);
    if (type == FM_F16 || type == FM_BF16) {
      // Unless special values are wanted, an exponent near that of 1.
      const uint16_t near_one = type == FM_F16 ? static_cast<uint16_t>((bits & 0x83FF) | 0x3C00)
                                               : static_cast<uint16_t>((bits & 0x807F) | 0x3F80);
      const uint16_t chosen = special ? bits : near_one;
      memcpy(&x[2 * k], &chosen, 2);
    }
  }
  return x;
}

inline bool is_nan_element(const char *x, int32_t type) {
  uint64_t bits = 0;
  memcpy(&bits, x, size_of(type));
  if (type == FM_F64) return (bits & INT64_MAX) > uint64_t{0x7FF} << 52;
  if (type == FM_F32) return (bits & 0x7FFFFFFF) > 0x7F800000;
  return (bits & 0x7FFF) > (type == FM_F16 ? 0x7C00u : 0x7F80u);
}

// The shifts are in elements, of the models in turn and of the result.
inline void average_case(int64_t models, int64_t count, int32_t out_type, int64_t shift, bool special) {
  random_source random(static_cast<uint64_t>(models * 1000 + count + shift));
  const int32_t types[] = {FM_F32, FM_BF16, FM_F16, FM_F64};
  std::vector<std::vector<char>> owned;
  std::vector<fm_weighted_input> host;
  std::vector<fm_weighted_input> placed;
  owned.reserve(static_cast<size_t>(2 * models));
  for (int64_t m = 0; m < models; ++m) {
    fm_weighted_input in = {nullptr, nullptr, random.uniform(0.1, 2), random.uniform(0.01, 0.1),
                            types[m % 4], types[(m + m / 4) % 4]};
    owned.push_back(any_values(random, in.value_type, count, special));
    in.values = owned.back().data();
    if (m % 3 != 1) {
      owned.push_back(any_values(random, in.fisher_type, count, special));
      in.fisher = owned.back().data();
    }
    host.push_back(in);
    const size_t offset = static_cast<size_t>((shift * m) % 8);
    in.values = on->place(in.values, static_cast<size_t>(count) * size_of(in.value_type),
                          offset * size_of(in.value_type));
    if (in.fisher != nullptr) {
      in.fisher = on->place(in.fisher, static_cast<size_t>(count) * size_of(in.fisher_type),
                            offset * size_of(in.fisher_type));
    }
    placed.push_back(in);
  }
  const size_t bytes = static_cast<size_t>(count) * size_of(out_type);
  std::vector<char> expected(bytes + 1);  // never null
  const int32_t base_type = types[(models + shift) % 4];
  owned.push_back(any_values(random, base_type, count, special));
  const fm_values host_base = {owned.back().data(), base_type};
  const fm_values placed_base = {on->place(host_base.data, static_cast<size_t>(count) * size_of(base_type),
                                           static_cast<size_t>(shift) * size_of(base_type)), base_type};
  const bool scaled = count % 2 == 1;
  EXPECT(fm_weighted_average(cpu, host.data(), models, scaled ? &host_base : nullptr, 0.3, expected.data(), out_type, 0,
                             count) == FM_OK, "%s", fm_last_error());
  void *out = on->place(nullptr, bytes, static_cast<size_t>(shift) * size_of(out_type));
  on->weighted_average(placed, scaled ? &placed_base : nullptr, 0.3, out, out_type, count);
  std::vector<char> found(bytes);
  on->fetch(found.data(), out, bytes);
  for (size_t k = 0; k < bytes; k += size_of(out_type)) {
    const bool nan = is_nan_element(&expected[k], out_type);
    EXPECT(nan ? is_nan_element(&found[k], out_type) : memcmp(&found[k], &expected[k], size_of(out_type)) == 0,
           "%lld models, type %d, %lld elements, shift %lld: element %zu", static_cast<long long>(models), out_type,
           static_cast<long long>(count), static_cast<long long>(shift), k / size_of(out_type));
  }
  on->reset();
}

inline void weighted_average() {
  for (int32_t out_type = FM_F32; out_type <= FM_F64; ++out_type) {
    for (int64_t shift : {0, 1, 3, 7}) {
      for (int64_t count : {0, 1, 5, 8, 17, 4099}) average_case(3, count, out_type, shift, shift == 3);
    }
    average_case(1, 100, out_type, 0, true);
    average_case(2, 2500, out_type, 1, true);
    average_case(64, 333, out_type, 5, false);
  }
}

// Doubles that lie at, and next to, ties between 16-bit numbers, and everything near the ends of their range.
inline void rounding() {
  for (int32_t type : {FM_F16, FM_BF16}) {
    const int fraction = type == FM_F16 ? 10 : 7;
    std::vector<double> x;
    for (int exponent = type == FM_F16 ? -27 : -136; exponent < (type == FM_F16 ? 17 : 129);
         exponent += type == FM_F16 ? 1 : 5) {
      for (int k = 0; k < 2 << fraction; k += exponent < (type == FM_F16 ? -10 : -120) ? 1 : 13) {
        const double tie = ldexp(1.0 + ldexp(k + 0.5, -fraction), exponent);
        for (double value : {tie, nextafter(tie, INFINITY), nextafter(tie, 0.0)}) x.push_back(k % 2 ? value : -value);
      }
    }
    for (double value : {0.0, -0.0, 65519.999, 65520.0, 1e300, 5e-324, static_cast<double>(INFINITY)}) x.push_back(value);
    const int64_t count = static_cast<int64_t>(x.size());
    const fm_weighted_input host = {x.data(), nullptr, 0.0, 1.0, FM_F64, FM_F64};
    std::vector<uint16_t> expected(x.size());
    EXPECT(fm_weighted_average(cpu, &host, 1, nullptr, 1, expected.data(), type, 0, count) == FM_OK, "%s", fm_last_error());
    fm_weighted_input placed = host;
    placed.values = place(x);
    uint16_t *out = place(std::vector<uint16_t>(x.size()));
    on->weighted_average({placed}, nullptr, 1, out, type, count);
    const std::vector<uint16_t> found = fetch(out, x.size());
    for (size_t k = 0; k < x.size(); ++k) {
      EXPECT(found[k] == expected[k], "type %d: %a became %04x, expected %04x", type, x[k], found[k], expected[k]);
    }
    on->reset();
  }
}

// ---- statistics ----

inline double as_double(const char *x, int32_t type) {
  // The CPU's average of one model with weight 1 is the value itself.
  const fm_weighted_input one = {x, nullptr, 0.0, 1.0, type, type};
  double value = 0;
  EXPECT(fm_weighted_average(cpu, &one, 1, nullptr, 1, &value, FM_F64, 0, 1) == FM_OK, "%s", fm_last_error());
  return value;
}

// The order that the header states.
inline double tree(std::vector<double> partial) {
  for (size_t half = partial.size() / 2; half > 0; half /= 2) {
    for (size_t l = 0; l < half; ++l) partial[l] += partial[l + half];
  }
  return partial[0];
}

inline void statistics_case(int32_t type, int64_t count, size_t shift, bool special) {
  random_source random(static_cast<uint64_t>(count));
  const std::vector<char> x = any_values(random, type, count, special);
  double minimum = INFINITY;
  int64_t below = 0;
  std::vector<double> chunks(256);
  for (int64_t from = 0, chunk = 0; from < count; from += 16384, ++chunk) {
    std::vector<double> partial(256);
    for (int64_t j = from; j < std::min(count, from + 16384); ++j) {
      const double value = as_double(&x[static_cast<size_t>(j) * size_of(type)], type);
      partial[static_cast<size_t>((j - from) / 8 % 256)] += value * value;
      if (value < minimum) minimum = value;
      below += value < 0.25;
    }
    chunks[static_cast<size_t>(chunk % 256)] += tree(partial);
  }
  const double sum = tree(chunks);
  fm_value_statistics found;
  on->statistics(on->place(x.data(), x.size(), shift * size_of(type)), type, count, 0.25, &found);
  EXPECT((isnan(sum) && isnan(found.sum_of_squares)) || found.sum_of_squares == sum,
         "type %d, %lld elements: sum %a, expected %a", type, static_cast<long long>(count), found.sum_of_squares, sum);
  EXPECT(found.minimum == minimum, "minimum %g, expected %g", found.minimum, minimum);
  EXPECT(found.below == below, "%lld below, expected %lld", static_cast<long long>(found.below),
         static_cast<long long>(below));
  on->reset();
}

inline void statistics() {
  for (int32_t type = FM_F32; type <= FM_F64; ++type) {
    for (int64_t count : {0, 1, 9, 2047, 16384, 16385, 70001}) statistics_case(type, count, count % 3 == 0 ? 1 : 0, false);
    statistics_case(type, 5000, 0, true);
  }
}

// ---- squares of layers ----

// Operands of the layer kernels, in rows with gaps between them that hold NaN.
struct layer {
  std::vector<float> g_data;
  std::vector<float> a_data;
  std::vector<float> weights;
  fm_cotangents g;
  fm_activations a;
  fm_cotangents placed_g;
  fm_activations placed_a;

  layer(int64_t probes, int64_t examples, int64_t tokens, int64_t outputs, int64_t inputs, bool weighted)
      : layer(probes, examples, tokens, outputs, inputs, weighted, 3) {}

  layer(int64_t probes, int64_t examples, int64_t tokens, int64_t outputs, int64_t inputs, bool weighted, int64_t gap) {
    random_source random(static_cast<uint64_t>(((probes * 31 + examples) * 31 + tokens) * 31 + outputs + inputs));
    const int64_t g_token = outputs + gap;
    const int64_t a_token = inputs + gap + 1;
    g_data.assign(static_cast<size_t>(probes * examples * tokens * g_token), NAN);
    a_data.assign(static_cast<size_t>(examples * tokens * a_token), NAN);
    weights = values<float>(random, probes * (examples + 2), 0.1, 2);
    // Probes innermost, so that no stride is what contiguous operands would have.
    g = {g_data.data(), tokens * g_token, probes * tokens * g_token, g_token, weighted ? weights.data() : nullptr,
         examples + 2, probes, examples, tokens, outputs};
    a = {a_data.data(), tokens * a_token, a_token, inputs};
    for (int64_t r = 0; r < probes * examples * tokens; ++r) {
      for (int64_t o = 0; o < outputs; ++o) {
        g_data[static_cast<size_t>(r * g_token + o)] = static_cast<float>(random.uniform(-1, 1));
      }
    }
    for (int64_t r = 0; r < examples * tokens; ++r) {
      for (int64_t i = 0; i < inputs; ++i) {
        a_data[static_cast<size_t>(r * a_token + i)] = static_cast<float>(random.uniform(-1, 1));
      }
    }
  }

  void place_operands() {
    placed_g = g;
    placed_a = a;
    placed_g.data = place(g_data, 4);
    placed_a.data = place(a_data);
    if (g.weights != nullptr) placed_g.weights = place(weights);
  }
};

inline float weight(const fm_cotangents &g, int64_t v, int64_t b) {
  return g.weights == nullptr ? 1.0f : g.weights[v * g.weight_probe_stride + b];
}

// Examples [from, to) added to F in the order and precision of the header's FMC_FP32.
inline void squared_gradients_in_order(const layer &l, int64_t from, int64_t to, std::vector<float> &fisher) {
  const fm_cotangents &g = l.g;
  const fm_activations &a = l.a;
  std::vector<float> sum(static_cast<size_t>(g.width * a.width));
  for (int64_t b = from; b < to; ++b) {
    for (int64_t v = 0; v < (g.tokens == 1 ? 1 : g.probes); ++v) {
      std::fill(sum.begin(), sum.end(), 0.0f);
      for (int64_t t = 0; t < g.tokens; ++t) {
        const float *gs = g.data + v * g.probe_stride + b * g.example_stride + t * g.token_stride;
        const float *as = a.data + b * a.example_stride + t * a.token_stride;
        for (int64_t o = 0; o < g.width; ++o) {
          float s = 0;
          for (int64_t p = 0; g.tokens == 1 && p < g.probes; ++p) {
            const float x = gs[p * g.probe_stride + o];
            const float term = weight(g, p, b) * x * x;
            s = p == 0 ? term : s + term;
          }
          for (int64_t i = 0; i < a.width; ++i) {
            const size_t k = static_cast<size_t>(o * a.width + i);
            if (g.tokens == 1) {
              fisher[k] = fmaf(s, as[i] * as[i], fisher[k]);
            } else {
              sum[k] = fmaf(gs[o], as[i], sum[k]);
            }
          }
        }
      }
      const float w = weight(g, v, b);
      for (size_t k = 0; g.tokens != 1 && k < sum.size(); ++k) fisher[k] = fmaf(w * sum[k], sum[k], fisher[k]);
    }
  }
}

// Where a range begins that is one of several, as even as possible, the larger ones first.
inline int64_t split_begin(int64_t split, int64_t units, int64_t splits) {
  return units / splits * split + std::min(split, units % splits);
}

// A split has its share of each of the parts that examples are worked off in; with one token there is one part, and
// splits begin at steps of 8 examples.
inline std::vector<float> squared_gradients_expected(const layer &l, int64_t splits, std::vector<float> fisher) {
  const bool single = l.g.tokens == 1;
  const int64_t units = single ? (l.g.examples + 7) / 8 : l.g.examples;
  const int64_t scale = single ? 8 : 1;
  const int64_t steps = l.g.examples * l.g.probes * ((l.g.tokens + 7) / 8);
  const int64_t parts = single || units == 0 ? 1 : std::clamp<int64_t>(std::min<int64_t>(steps / 128, units), 1, 4);
  splits = std::min(splits, units / parts);
  if (splits <= 1) {
    squared_gradients_in_order(l, 0, l.g.examples, fisher);
    return fisher;
  }
  std::vector<float> total;
  for (int64_t s = 0; s < splits; ++s) {
    std::vector<float> sum(fisher.size());
    for (int64_t p = 0; p < parts; ++p) {
      const int64_t first = split_begin(p, units, parts);
      const int64_t count = split_begin(p + 1, units, parts) - first;
      squared_gradients_in_order(l, std::min(l.g.examples, (first + split_begin(s, count, splits)) * scale),
                                 std::min(l.g.examples, (first + split_begin(s + 1, count, splits)) * scale), sum);
    }
    if (s == 0) {
      total = sum;
    } else {
      for (size_t k = 0; k < sum.size(); ++k) total[k] += sum[k];
    }
  }
  for (size_t k = 0; k < fisher.size(); ++k) fisher[k] += total[k];
  return fisher;
}

// In double, with what bounds the error of a sum of products whose factors were rounded: the sum of their magnitudes.
inline void squared_gradients_in_double(const layer &l, std::vector<double> &fisher, std::vector<double> &bound) {
  const fm_cotangents &g = l.g;
  const fm_activations &a = l.a;
  for (int64_t b = 0; b < g.examples; ++b) {
    for (int64_t v = 0; v < g.probes; ++v) {
      const double w = weight(g, v, b);
      std::vector<double> sum(fisher.size());
      std::vector<double> size(fisher.size());
      for (int64_t t = 0; t < g.tokens; ++t) {
        const float *gs = g.data + v * g.probe_stride + b * g.example_stride + t * g.token_stride;
        const float *as = a.data + b * a.example_stride + t * a.token_stride;
        for (int64_t o = 0; o < g.width; ++o) {
          for (int64_t i = 0; i < a.width; ++i) {
            const double term = static_cast<double>(gs[o]) * static_cast<double>(as[i]);
            sum[static_cast<size_t>(o * a.width + i)] += term;
            size[static_cast<size_t>(o * a.width + i)] += fabs(term);
          }
        }
      }
      for (size_t k = 0; k < sum.size(); ++k) {
        fisher[k] += w * sum[k] * sum[k];
        bound[k] += w * size[k] * size[k];
      }
    }
  }
}

inline void squared_gradients_case(int64_t probes, int64_t examples, int64_t tokens, int64_t outputs, int64_t inputs,
                                   int32_t splits, std::initializer_list<int32_t> precisions, bool weighted = true,
                                   float poison = 0.0f) {
  layer l(probes, examples, tokens, outputs, inputs, weighted);
  if (poison != 0.0f) l.g_data[static_cast<size_t>(outputs - 1)] = poison;
  random_source random(7);
  const std::vector<float> before = values<float>(random, outputs * inputs, 0, 1);
  char shape[128];
  snprintf(shape, sizeof shape, "V%d B%d T%d O%d I%d splits %d", static_cast<int>(probes), static_cast<int>(examples),
           static_cast<int>(tokens), static_cast<int>(outputs), static_cast<int>(inputs), static_cast<int>(splits));
  std::vector<double> exact(before.begin(), before.end());
  std::vector<double> bound(before.size());
  squared_gradients_in_double(l, exact, bound);
  for (int32_t precision : precisions) {
    l.place_operands();
    std::vector<float> again;
    // Twice: the same bits in every run. F has NaN behind it, which must stay.
    for (int run = 0; run < 2; ++run) {
      std::vector<float> guarded = before;
      guarded.push_back(NAN);
      float *fisher = place(guarded, 4);
      on->squared_gradients(l.placed_g, l.placed_a, precision, splits, fisher);
      std::vector<float> found = fetch(fisher, guarded.size());
      EXPECT(isnan(found.back()), "%s: wrote behind F", shape);
      found.pop_back();
      if (run == 1) {
        expect_same(found, again, shape, ", second run");
        break;
      }
      again = found;
      if (precision == FMC_FP32) expect_same(found, squared_gradients_expected(l, splits, before), shape);
      const double unit = precision == FMC_BF16 ? 0x1p-8 : precision == FMC_TF32 ? 0x1p-11 : 0x1p-22;
      for (size_t k = 0; k < found.size(); ++k) {
        const double error = fabs(static_cast<double>(found[k]) - exact[k]);
        const bool nan = isnan(exact[k]) || isinf(exact[k]);
        EXPECT(nan ? !isfinite(found[k]) : error <= 5 * unit * bound[k] + 1e-5 * exact[k],
               "%s, precision %d: [%zu] %g, expected %g", shape, precision, k, static_cast<double>(found[k]),
               exact[k]);
      }
      if (run == 0 && on == nullptr) break;
    }
    on->reset();
  }
}

inline void squared_gradients() {
  const std::initializer_list<int32_t> all = {FMC_FP32, FMC_TF32, FMC_BF16};
  squared_gradients_case(1, 1, 2, 1, 1, 1, all);
  squared_gradients_case(2, 3, 5, 7, 3, 1, all);
  squared_gradients_case(1, 2, 50, 130, 129, 1, all);
  squared_gradients_case(2, 2, 17, 128, 256, 1, all, false);
  squared_gradients_case(1, 1, 257, 33, 65, 1, all);
  squared_gradients_case(2, 5, 9, 20, 140, 3, all);
  squared_gradients_case(1, 4, 16, 12, 12, 4, all);
  squared_gradients_case(1, 2, 3, 12, 12, 32, all);
  // Two parts.
  squared_gradients_case(2, 9, 120, 20, 33, 2, {FMC_FP32});
  squared_gradients_case(2, 9, 120, 33, 20, 1, {FMC_TF32});
  squared_gradients_case(1, 2, 4, 6, 5, 1, all, true, NAN);
  squared_gradients_case(1, 2, 4, 6, 5, 1, all, true, INFINITY);
  squared_gradients_case(1, 0, 4, 6, 5, 1, all);
  squared_gradients_case(1, 4, 0, 6, 5, 1, all);
}

inline void squared_gradients_one_token() {
  const std::initializer_list<int32_t> all = {FMC_FP32, FMC_TF32, FMC_BF16};
  squared_gradients_case(1, 1, 1, 1, 1, 1, all);
  squared_gradients_case(3, 37, 1, 130, 21, 1, all);
  squared_gradients_case(2, 70, 1, 10, 150, 3, all);
  squared_gradients_case(2, 5, 1, 4, 4, 8, all, false);
  squared_gradients_case(0, 5, 1, 4, 4, 1, all);
  squared_gradients_case(1, 9, 1, 6, 5, 1, all, true, NAN);
}

inline void relatives_case(int64_t probes, int64_t examples, int64_t tokens, int64_t width, bool weighted) {
  layer l(probes, examples, tokens, width, width, weighted);
  char shape[128];
  snprintf(shape, sizeof shape, "V%d B%d T%d D%d", static_cast<int>(probes), static_cast<int>(examples),
           static_cast<int>(tokens), static_cast<int>(width));
  random_source random(11);
  const size_t columns = static_cast<size_t>(width);
  const std::vector<float> before = values<float>(random, width, 0, 1);
  const std::vector<float> mean = values<float>(random, examples * tokens, -0.2, 0.2);
  const std::vector<float> rstd = values<float>(random, examples * tokens, 0.5, 2);
  l.place_operands();

  std::vector<float> expected = before;
  EXPECT(fm_token_sum_squares(cpu, &l.g, expected.data(), 0, width) == FM_OK, "%s", fm_last_error());
  float *fisher = place(before, 4);
  on->token_sum_squares(l.placed_g, fisher);
  expect_same(fetch(fisher, columns), expected, shape, ", token sums");

  std::vector<float> expected_scale = before;
  std::vector<float> expected_shift = before;
  EXPECT(fm_layer_norm_squares(cpu, &l.g, &l.a, mean.data(), rstd.data(), expected_scale.data(), expected_shift.data(),
                               0, width) == FM_OK,
         "%s", fm_last_error());
  float *scale = place(before);
  float *shift = place(before, 4);
  on->layer_norm_squares(l.placed_g, l.placed_a, place(mean), place(rstd), scale, shift);
  expect_same(fetch(scale, columns), expected_scale, shape, ", scale");
  expect_same(fetch(shift, columns), expected_shift, shape, ", shift");

  const int64_t rows = 200;
  std::vector<int64_t> ids;
  for (int64_t k = 0; k < examples * tokens; ++k) ids.push_back(static_cast<int64_t>(random.uniform(0, 1) < 0.5
                                                                    ? random.uniform(0, 3)
                                                                    : random.uniform(0, 200)));
  const std::vector<float> table = values<float>(random, rows * width, 0, 1);
  std::vector<float> expected_table = table;
  EXPECT(fm_embedding_squares(cpu, &l.g, ids.data(), rows, expected_table.data(), 0, width) == FM_OK, "%s",
         fm_last_error());
  float *placed_table = place(table, 4);
  on->embedding_squares(l.placed_g, place(ids), rows, placed_table);
  expect_same(fetch(placed_table, table.size()), expected_table, shape, ", embedding");
  on->reset();
}

inline void relatives() {
  relatives_case(1, 1, 1, 1, false);
  relatives_case(2, 3, 5, 7, true);
  relatives_case(3, 2, 50, 130, true);
  relatives_case(1, 2, 257, 129, false);
  relatives_case(2, 9, 1, 300, true);
}

inline void squares() {
  random_source random(5);
  for (int64_t count : {0, 1, 7, 8, 2049, 5000}) {
    for (size_t shift : {size_t{0}, size_t{4}}) {
      std::vector<float> gradient = values<float>(random, count, -2, 2);
      std::vector<float> before = values<float>(random, count, 0, 1);
      if (count > 8) {
        gradient[3] = NAN;
        gradient[5] = INFINITY;
        gradient[6] = 0x1p-80f;
        before[6] = 0;
      }
      std::vector<float> expected = before;
      if (count > 0) {
        EXPECT(fm_square_accumulate(cpu, gradient.data(), 0.37, expected.data(), 0, count) == FM_OK, "%s",
               fm_last_error());
      }
      float *fisher = place(before, shift);
      on->square_accumulate(place(gradient), 0.37, fisher, count);
      expect_same(fetch(fisher, before.size()), expected, "square_accumulate");
      on->reset();
    }
  }
}

struct family {
  const char *name;
  void (*run)();
};
constexpr family families[] = {{"weighted_average", weighted_average},
                               {"rounding", rounding},
                               {"statistics", statistics},
                               {"squares", squares},
                               {"squared_gradients", squared_gradients},
                               {"squared_gradients_one_token", squared_gradients_one_token},
                               {"relatives", relatives}};

}  // namespace cases
