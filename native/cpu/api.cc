// The C entry points: checks of arguments, the choice of a tier, and the call through its table.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cpu_features.h"
#include "table.h"

namespace {

thread_local char last_error[256] = "";

__attribute__((format(printf, 2, 3))) int32_t fail(int32_t status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return status;
}

bool runs_here_baseline() { return true; }
#if defined(__x86_64__)
bool runs_here_avx2() { return fm::has_avx2(); }
bool runs_here_avx512() { return fm::has_avx512(); }
#elif defined(__aarch64__)
bool runs_here_neon() { return true; }  // part of the architecture
#endif

#define FM_REQUIRE(condition, ...) \
  if (!(condition)) return fail(FM_INVALID_ARGUMENT, __VA_ARGS__)

#define FM_CHECK(expression) \
  if (int32_t status = (expression); status != FM_OK) return status

int32_t check_type(const char *name, int32_t type) {
  FM_REQUIRE(type >= FM_F32 && type <= FM_F64, "%s: unknown element type %d", name, type);
  return FM_OK;
}

int32_t check_range(int64_t begin, int64_t end, int64_t limit) {
  FM_REQUIRE(begin >= 0 && begin <= end && end <= limit, "range [%lld, %lld) does not lie in [0, %lld)",
             static_cast<long long>(begin), static_cast<long long>(end), static_cast<long long>(limit));
  return FM_OK;
}

int32_t check_not_null(const char *name, const void *p) {
  FM_REQUIRE(p != nullptr, "%s is null", name);
  return FM_OK;
}

int32_t check_cotangents(const fm_cotangents *g) {
  FM_CHECK(check_not_null("g", g));
  FM_CHECK(check_not_null("g.data", g->data));
  FM_REQUIRE(g->probes >= 0 && g->examples >= 0 && g->tokens >= 0 && g->width >= 0, "g: a dimension is negative");
  return FM_OK;
}

int32_t check_activations(const char *name, const fm_activations *a) {
  FM_CHECK(check_not_null(name, a));
  FM_CHECK(check_not_null(name, a->data));
  FM_REQUIRE(a->width >= 0, "%s: its width is negative", name);
  return FM_OK;
}

int32_t check_weighted_average(const fm_weighted_input *inputs, int64_t input_count, const fm_values *base, double,
                               void *out, int32_t out_type, int64_t begin, int64_t end) {
  FM_REQUIRE(input_count >= 1, "input_count: at least one input is needed");
  FM_CHECK(check_not_null("inputs", inputs));
  FM_CHECK(check_not_null("out", out));
  FM_CHECK(check_type("out_type", out_type));
  for (int64_t i = 0; i < input_count; ++i) {
    FM_CHECK(check_not_null("inputs.values", inputs[i].values));
    FM_CHECK(check_type("inputs.value_type", inputs[i].value_type));
    if (inputs[i].fisher != nullptr) FM_CHECK(check_type("inputs.fisher_type", inputs[i].fisher_type));
  }
  if (base != nullptr) {
    FM_CHECK(check_not_null("base.data", base->data));
    FM_CHECK(check_type("base.type", base->type));
  }
  return check_range(begin, end, INT64_MAX);
}

int32_t check_statistics(const void *x, int32_t type, int64_t begin, int64_t end, double, fm_value_statistics *result) {
  FM_CHECK(check_not_null("x", x));
  FM_CHECK(check_not_null("result", result));
  FM_CHECK(check_type("type", type));
  return check_range(begin, end, INT64_MAX);
}

int32_t check_pair_sums(const fm_values *rows, int64_t row_count, double *scratch, double *products, double *roots,
                        int64_t begin, int64_t end) {
  FM_REQUIRE(row_count >= 1, "row_count: at least one row is needed");
  FM_CHECK(check_not_null("rows", rows));
  FM_CHECK(check_not_null("scratch", scratch));
  FM_CHECK(check_not_null("products", products));
  FM_CHECK(check_not_null("roots", roots));
  for (int64_t p = 0; p < row_count; ++p) {
    FM_CHECK(check_not_null("rows.data", rows[p].data));
    FM_CHECK(check_type("rows.type", rows[p].type));
  }
  return check_range(begin, end, INT64_MAX);
}

int32_t check_values(const char *name, const char *type_name, const fm_values *values) {
  FM_CHECK(check_not_null(name, values));
  FM_CHECK(check_not_null(name, values->data));
  return check_type(type_name, values->type);
}

int32_t check_task_vector(const fm_task_vector *vector) {
  FM_CHECK(check_not_null("vector.values", vector->values));
  FM_CHECK(check_type("vector.value_type", vector->value_type));
  FM_REQUIRE(vector->least >= 0 && vector->most >= vector->least, "least and most: expected 0 <= least <= most");
  return FM_OK;
}

int32_t check_task_vectors(const fm_task_vector *vectors, int64_t vector_count, const fm_values *base, int32_t mix,
                           double, int64_t first, void *out, int32_t out_type, int64_t begin, int64_t end) {
  FM_REQUIRE(vector_count >= 1, "vector_count: at least one vector is needed");
  FM_CHECK(check_not_null("vectors", vectors));
  for (int64_t i = 0; i < vector_count; ++i) FM_CHECK(check_task_vector(&vectors[i]));
  FM_CHECK(check_values("base", "base.type", base));
  FM_REQUIRE(mix >= FM_MIX_SUM && mix <= FM_MIX_ELECTED_MEAN, "mix: unknown way of mixing %d", mix);
  FM_REQUIRE(first >= 0, "first: must not be negative");
  FM_CHECK(check_not_null("out", out));
  FM_CHECK(check_type("out_type", out_type));
  return check_range(begin, end, INT64_MAX - first);
}

int32_t check_magnitudes(const fm_values *values, const fm_values *base, float low, float high, float *found,
                         fm_magnitude_counts *counts, int64_t begin, int64_t end) {
  FM_CHECK(check_values("values", "values.type", values));
  FM_CHECK(check_values("base", "base.type", base));
  FM_REQUIRE(low <= high, "low and high: expected low <= high");
  FM_CHECK(check_not_null("found", found));
  FM_CHECK(check_not_null("counts", counts));
  return check_range(begin, end, INT64_MAX);
}

int32_t check_sample_magnitudes(const fm_values *values, const fm_values *base, const int64_t *places, int64_t groups,
                                float *sample) {
  FM_CHECK(check_values("values", "values.type", values));
  FM_CHECK(check_values("base", "base.type", base));
  FM_CHECK(check_not_null("places", places));
  FM_REQUIRE(groups >= 0, "groups: must not be negative");
  return check_not_null("sample", sample);
}

int32_t check_select_magnitude(const float *magnitudes, int64_t count, int64_t rank, float least, float most,
                               fm_selected_magnitude *selected) {
  FM_CHECK(check_not_null("magnitudes", magnitudes));
  FM_REQUIRE(least >= 0 && most >= least, "least and most: expected 0 <= least <= most");
  FM_REQUIRE(rank >= 0 && rank < count, "rank: expected 0 <= rank < count");
  return check_not_null("selected", selected);
}

int32_t check_count_equal(const float *numbers, int64_t count, float, int64_t *equal) {
  FM_CHECK(check_not_null("numbers", numbers));
  FM_REQUIRE(count >= 0, "count: must not be negative");
  return check_not_null("equal", equal);
}

int32_t check_task_vector_norms(const fm_task_vector *vector, const fm_values *base, int64_t first, double *norms,
                                int64_t begin, int64_t end) {
  FM_CHECK(check_not_null("vector", vector));
  FM_CHECK(check_task_vector(vector));
  FM_CHECK(check_values("base", "base.type", base));
  FM_REQUIRE(first >= 0, "first: must not be negative");
  FM_CHECK(check_not_null("norms", norms));
  return check_range(begin, end, INT64_MAX - first);
}

int32_t check_square_accumulate(const float *gradient, double, float *fisher, int64_t begin, int64_t end) {
  FM_CHECK(check_not_null("gradient", gradient));
  FM_CHECK(check_not_null("fisher", fisher));
  return check_range(begin, end, INT64_MAX);
}

int32_t check_squared_gradients_prepare(const fm_cotangents *g, const fm_activations *a,
                                        fm_squared_gradients_plan *plan) {
  FM_CHECK(check_cotangents(g));
  FM_CHECK(check_activations("a", a));
  return check_not_null("plan", plan);
}

// The items of a step come from the tier's own plan.
#define FM_PLAN(g, a)                    \
  fm_squared_gradients_plan plan;             \
  kernels->squared_gradients_prepare(g, a, &plan)

int32_t check_squared_gradients_pack_g(const fm_kernels *kernels, const fm_cotangents *g, float *packed_g,
                                       int64_t begin, int64_t end) {
  FM_CHECK(check_cotangents(g));
  FM_CHECK(check_not_null("packed_g", packed_g));
  const fm_activations any = {};
  FM_PLAN(g, &any);
  return check_range(begin, end, plan.pack_g_items);
}

int32_t check_squared_gradients_pack_a(const fm_kernels *kernels, const fm_activations *a, int64_t examples,
                                       int64_t tokens, float *packed_a, int64_t begin, int64_t end) {
  FM_CHECK(check_activations("a", a));
  FM_CHECK(check_not_null("packed_a", packed_a));
  FM_REQUIRE(examples >= 0 && tokens >= 0, "a dimension is negative");
  fm_cotangents any = {};
  any.examples = examples;
  any.tokens = tokens;
  FM_PLAN(&any, a);
  return check_range(begin, end, plan.pack_a_items);
}

int32_t check_squared_gradients_blocks(const fm_kernels *kernels, const fm_cotangents *g, const fm_activations *a,
                                       const float *packed_g, const float *packed_a, float *scratch, float *fisher,
                                       int64_t begin, int64_t end) {
  FM_CHECK(check_cotangents(g));
  FM_CHECK(check_activations("a", a));
  FM_CHECK(check_not_null("packed_g", packed_g));
  FM_CHECK(check_not_null("packed_a", packed_a));
  FM_CHECK(check_not_null("scratch", scratch));
  FM_CHECK(check_not_null("fisher", fisher));
  FM_PLAN(g, a);
  return check_range(begin, end, plan.blocks);
}

int32_t check_token_sum_squares(const fm_cotangents *g, float *fisher, int64_t begin, int64_t end) {
  FM_CHECK(check_cotangents(g));
  FM_CHECK(check_not_null("fisher", fisher));
  return check_range(begin, end, g->width);
}

int32_t check_layer_norm_squares(const fm_cotangents *g, const fm_activations *x, const float *mean, const float *rstd,
                                 float *fisher_scale, float *fisher_shift, int64_t begin, int64_t end) {
  FM_CHECK(check_cotangents(g));
  FM_CHECK(check_activations("x", x));
  FM_REQUIRE(x->width == g->width, "x: its width is not that of g");
  FM_CHECK(check_not_null("mean", mean));
  FM_CHECK(check_not_null("rstd", rstd));
  FM_CHECK(check_not_null("fisher_scale", fisher_scale));
  FM_CHECK(check_not_null("fisher_shift", fisher_shift));
  return check_range(begin, end, g->width);
}

int32_t check_embedding_squares(const fm_cotangents *g, const int64_t *ids, int64_t rows, float *fisher, int64_t begin,
                                int64_t end) {
  FM_CHECK(check_cotangents(g));
  FM_CHECK(check_not_null("ids", ids));
  FM_CHECK(check_not_null("fisher", fisher));
  for (int64_t k = 0; k < g->examples * g->tokens; ++k) {
    int64_t id;
    memcpy(&id, reinterpret_cast<const char *>(ids) + 8 * k, sizeof id);
    FM_REQUIRE(id >= 0 && id < rows, "ids[%lld] = %lld does not lie in [0, %lld)", static_cast<long long>(k),
               static_cast<long long>(id), static_cast<long long>(rows));
  }
  return check_range(begin, end, g->width);
}

// Checks that need the tier take it as first argument; the others do not.
template <class... P, class... A>
int32_t check(int32_t (*f)(P...), const fm_kernels *, A... arguments) {
  return f(arguments...);
}
template <class... P, class... A>
int32_t check(int32_t (*f)(const fm_kernels *, P...), const fm_kernels *kernels, A... arguments) {
  return f(kernels, arguments...);
}

}  // namespace

extern "C" {

int32_t fm_abi_version(void) { return FM_ABI_VERSION; }

const char *fm_last_error(void) { return last_error; }

const char *fm_isa_list(void) {
#define FM_NAME(tier) "," #tier
  return &FM_TIER_LIST(FM_NAME)[1];
#undef FM_NAME
}

int32_t fm_open(const char *max_isa, const fm_kernels **out) {
  FM_CHECK(check_not_null("max_isa", max_isa));
  FM_CHECK(check_not_null("out", out));
  const fm_kernels *best = nullptr;
  bool reached = false;
#define FM_CHOOSE(tier)                                               \
  if (!reached && runs_here_##tier()) best = &fm::tier::table;        \
  reached = reached || strcmp(max_isa, #tier) == 0;
  FM_TIER_LIST(FM_CHOOSE)
#undef FM_CHOOSE
  if (!reached && strcmp(max_isa, "auto") != 0) {
    return fail(FM_UNKNOWN_ISA, "unknown instruction set '%.64s'; known: auto,%s", max_isa, fm_isa_list());
  }
  *out = best;
  return FM_OK;
}

const char *fm_isa_name(const fm_kernels *kernels) { return kernels->isa; }

#define FM_UNPACK(...) __VA_ARGS__
#define FM_ENTRY(name, parameters, arguments)                                   \
  int32_t fm_##name(const fm_kernels *kernels, FM_UNPACK parameters) {          \
    FM_CHECK(check_not_null("kernels", kernels));                               \
    FM_CHECK(check(&check_##name, kernels, FM_UNPACK arguments));               \
    kernels->name arguments;                                                    \
    return FM_OK;                                                               \
  }
FM_KERNEL_LIST(FM_ENTRY)
#undef FM_ENTRY

}  // extern "C"
