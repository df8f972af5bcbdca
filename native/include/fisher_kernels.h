/* fisher_kernels: accumulation of diagonal Fisher information and Fisher-weighted averaging, C ABI.
 *
 * Every function is single-threaded, reentrant work over a RANGE of its output; the embedder splits ranges over
 * threads. No kernel allocates, keeps global state, starts a thread or touches memory outside its operands.
 * Results do not depend on how a range is split.
 *
 * Lengths, strides and ranges count elements; ranges are half-open, [begin, end). Float operands need no alignment.
 * An operand that is written must not overlap any other operand.
 *
 * Every function but those that return a name answers a status; where it is not FM_OK, fm_last_error() holds the
 * reason for the calling thread and nothing was written.
 */
#ifndef FISHER_KERNELS_H
#define FISHER_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define FM_ABI_VERSION 5

enum fm_status { FM_OK = 0, FM_INVALID_ARGUMENT = 1, FM_UNKNOWN_ISA = 2 };

enum fm_type { FM_F32 = 0, FM_F16 = 1, FM_BF16 = 2, FM_F64 = 3 };

/* The kernels compiled for one instruction set: an immutable, static table. */
typedef struct fm_kernels fm_kernels;

/* FM_ABI_VERSION of the library; a caller compares it with the header it was built against. */
int32_t fm_abi_version(void);

/* Text of the calling thread's last failure; valid until its next failure. Never null. */
const char *fm_last_error(void);

/* The best table this machine and its operating system can run. max_isa: "auto", or the name of the highest
 * instruction set to consider (it only lowers the choice); an unknown name is FM_UNKNOWN_ISA. */
int32_t fm_open(const char *max_isa, const fm_kernels **out);

/* Name of a table: one of fm_isa_list(). */
const char *fm_isa_name(const fm_kernels *kernels);

/* Comma-separated names of all instruction sets compiled in, lowest first, whether or not this machine has them. */
const char *fm_isa_list(void);

/* One model's share of a weighted average: weight[j] = scale * fisher[j] + offset, or offset where fisher is null. */
typedef struct fm_weighted_input {
  const void *values;
  const void *fisher;
  double scale;
  double offset;
  int32_t value_type;
  int32_t fisher_type;
} fm_weighted_input;

/* Values of one operand among several of different types. */
typedef struct fm_values {
  const void *data;
  int32_t type;
} fm_values;

/* average[j] = sum_i weight_i[j] values_i[j] / sum_i weight_i[j] for j in [begin, end); out = base + scaling_factor
 * (average - base), or scaling_factor average where base is null.
 * Arithmetic is in double without contraction, models in order, so every instruction set gives the same bits;
 * rounded once, to nearest even, to out_type. Overflow gives infinity; a zero sum of weights gives NaN. */
int32_t fm_weighted_average(const fm_kernels *kernels, const fm_weighted_input *inputs, int64_t input_count,
                            const fm_values *base, double scaling_factor, void *out, int32_t out_type, int64_t begin,
                            int64_t end);

typedef struct fm_value_statistics {
  double sum_of_squares; /* NaN or infinite if and only if a value is, or if the sum overflows */
  double minimum;        /* infinity for an empty range; NaN is left out */
  int64_t below;         /* how many values are less than the threshold */
} fm_value_statistics;

/* Statistics of x[j] for j in [begin, end). The sum is in double: 16 interleaved partial sums, then a balanced tree over
 * them; the same bits on every instruction set. Here the result does depend on the range. */
int32_t fm_statistics(const fm_kernels *kernels, const void *x, int32_t type, int64_t begin, int64_t end,
                      double threshold, fm_value_statistics *result);

/* The scratch of fm_pair_sums is FM_PAIR_SUMS_SCRATCH * (row_count + 3) doubles. */
#define FM_PAIR_SUMS_SCRATCH 272

/* For each pair of rows q <= p the sums over k in [begin, end) of x_p[k] x_q[k] and of sqrt(x_p[k]) sqrt(x_q[k]), at
 * index p (p + 1) / 2 + q of products and roots [row_count (row_count + 1) / 2], which are overwritten. Each element is
 * read once. In double without contraction: blocks of 256 elements from `begin` on, in each 8
 * interleaved partial sums and a balanced tree over them, block after block; the same bits on every instruction set and
 * for any other rows beside the pair. A negative or NaN element makes its roots NaN. Here the result does depend on the
 * range. */
int32_t fm_pair_sums(const fm_kernels *kernels, const fm_values *rows, int64_t row_count, double *scratch,
                     double *products, double *roots, int64_t begin, int64_t end);

/* One model's task vector: the differences delta[j] = values[j] - base[j] in float, and which of them are kept. With
 * m = |delta[j]| and k = first + j, the element's place in its tensor, those are kept for which
 *   m > least, or m == least and least_from <= k < least_until; and
 *   m < most, or m == most and k < most_until; and
 *   drawn(seed, k) < share, where share < 2^32.
 * drawn is a hash of 32 bits (C. Wellons' lowbias32) of the low half of k plus the low half of the seed, into which the
 * high half goes between its multiplications. A difference that is not finite is always kept. */
typedef struct fm_task_vector {
  const void *values;
  double weight;
  double rescale; /* by which kept differences are multiplied */
  int64_t least_from;
  int64_t least_until;
  int64_t most_until;
  uint64_t seed;
  uint64_t share;
  float least; /* 0 keeps all */
  float most;  /* infinity keeps all */
  int32_t value_type;
} fm_task_vector;

enum fm_mix {
  FM_MIX_SUM = 0,                  /* sum_i weight_i delta_i */
  FM_MIX_MEAN = 1,                 /* the same over sum_i weight_i, or over 1 where that is below 1e-8 */
  FM_MIX_ELECTED_SUM = 2,          /* of those i only whose term has the elected sign */
  FM_MIX_ELECTED_MEAN = 3          /* the same over their weights, or over 1 where these sum to 0 */
};

/* out[j] = base[j] + factor * mix of the kept task vectors, for j in [begin, end). The elected sign is that of the sum of
 * all terms, + where it is 0 (Yadav et al. 2023). Differences, terms, sums over models in order, quotient and product
 * with the factor are floats without contraction; base + mix is a double, rounded once to out_type. A difference that is
 * not finite makes its element NaN. */
int32_t fm_task_vectors(const fm_kernels *kernels, const fm_task_vector *vectors, int64_t vector_count,
                        const fm_values *base, int32_t mix, double factor, int64_t first, void *out, int32_t out_type,
                        int64_t begin, int64_t end);

typedef struct fm_magnitude_counts {
  int64_t below;   /* m < low */
  int64_t at_low;  /* m == low */
  int64_t between; /* low < m < high: these are in `found`, in order */
  int64_t at_high; /* m == high, also where high == low */
} fm_magnitude_counts;

/* Elements beyond the last one found that fm_magnitudes may write to. */
#define FM_FOUND_SLACK 16

/* Counts the magnitudes m of a task vector's differences, kept or not, for j in [begin, end), where low <= high.
 * found: room for end - begin + FM_FOUND_SLACK floats. NaN is counted nowhere. */
int32_t fm_magnitudes(const fm_kernels *kernels, const fm_values *values, const fm_values *base, float low, float high,
                      float *found, fm_magnitude_counts *counts, int64_t begin, int64_t end);

/* Neighbouring elements that a sample takes together. */
#define FM_SAMPLE_GROUP 16

/* sample[g FM_SAMPLE_GROUP + k] = |values[places[g] + k] - base[places[g] + k]|, for g < groups. */
int32_t fm_sample_magnitudes(const fm_kernels *kernels, const fm_values *values, const fm_values *base,
                             const int64_t *places, int64_t groups, float *sample);

typedef struct fm_selected_magnitude {
  int64_t below; /* how many are smaller */
  int64_t equal; /* how many are equal to it */
  float magnitude;
} fm_selected_magnitude;

/* The one that a sort of numbers from `least` to `most`, which are not negative, would have at `rank`, from 0; NaN counts
 * as infinity. The numbers are only read. */
int32_t fm_select_magnitude(const fm_kernels *kernels, const float *magnitudes, int64_t count, int64_t rank, float least,
                            float most, fm_selected_magnitude *selected);

/* How many of the numbers are equal to one. */
int32_t fm_count_equal(const fm_kernels *kernels, const float *numbers, int64_t count, float number, int64_t *equal);

/* norms[0]: the sum of the magnitudes of a task vector's differences for j in [begin, end); norms[1]: of those that are
 * kept, without their rescaling. In double: 16 interleaved partial sums, then a balanced tree over them; the same bits on
 * every instruction set. Here the result does depend on the range. */
int32_t fm_task_vector_norms(const fm_kernels *kernels, const fm_task_vector *vector, const fm_values *base,
                             int64_t first, double *norms, int64_t begin, int64_t end);

/* fisher[j] += scale * gradient[j]^2 for j in [begin, end), in double, rounded once to float. */
int32_t fm_square_accumulate(const fm_kernels *kernels, const float *gradient, double scale, float *fisher,
                             int64_t begin, int64_t end);

/* Output gradients g[v,b,t,o] of probes * examples * tokens rows of `width` contiguous floats, and weights[v,b]
 * (null: all 1). The probe index of weights has its own stride so that a caller can take a range of examples. */
typedef struct fm_cotangents {
  const float *data;
  int64_t probe_stride;
  int64_t example_stride;
  int64_t token_stride;
  const float *weights;
  int64_t weight_probe_stride;
  int64_t probes;
  int64_t examples;
  int64_t tokens;
  int64_t width;
} fm_cotangents;

/* Layer inputs a[b,t,i]: rows of `width` contiguous floats. */
typedef struct fm_activations {
  const float *data;
  int64_t example_stride;
  int64_t token_stride;
  int64_t width;
} fm_activations;

/* Work items of a squared-gradient accumulation and the buffers it needs (counts of floats, 64-byte aligned). */
typedef struct fm_squared_gradients_plan {
  int64_t packed_g;      /* floats */
  int64_t packed_a;      /* floats */
  int64_t scratch;       /* floats, one such buffer for each concurrent call of fm_squared_gradients_blocks */
  int64_t pack_g_items;  /* items of fm_squared_gradients_pack_g */
  int64_t pack_a_items;  /* items of fm_squared_gradients_pack_a */
  int64_t blocks;        /* items of fm_squared_gradients_blocks; neighbours: ranges of 2 to 4 are faster */
} fm_squared_gradients_plan;

/* fisher[o,i] += sum_{b,v} weights[v,b] (sum_t g[v,b,t,o] a[b,t,i])^2, fisher float [g->width, a->width] contiguous.
 * Three steps, each over its own range of items: pack_g and pack_a in any order, then, when all of both are done,
 * blocks. Each element of fisher is written by one block.
 * tokens > 1: float sums over t in order from 0 (fused where the instruction set has FMA), then
 *   fisher = fma(weight * sum, sum, fisher) for b in order, inside it v in order.
 * tokens == 1: fisher = fma(s, a^2, fisher) for b in order, with s = sum_v weight g^2 in float, v in order.
 * So a sequence of examples gives the same bits however it is split into batches. */
int32_t fm_squared_gradients_prepare(const fm_kernels *kernels, const fm_cotangents *g, const fm_activations *a,
                                     fm_squared_gradients_plan *plan);
int32_t fm_squared_gradients_pack_g(const fm_kernels *kernels, const fm_cotangents *g, float *packed_g, int64_t begin,
                                    int64_t end);
int32_t fm_squared_gradients_pack_a(const fm_kernels *kernels, const fm_activations *a, int64_t examples,
                                    int64_t tokens, float *packed_a, int64_t begin, int64_t end);
int32_t fm_squared_gradients_blocks(const fm_kernels *kernels, const fm_cotangents *g, const fm_activations *a,
                                    const float *packed_g, const float *packed_a, float *scratch, float *fisher,
                                    int64_t begin, int64_t end);

/* fisher[o] += sum_{b,v} weights[v,b] (sum_t g[v,b,t,o])^2 for o in [begin, end). Sums over t in order, in double;
 * fisher is rounded to float after each (b, v), b outermost. */
int32_t fm_token_sum_squares(const fm_kernels *kernels, const fm_cotangents *g, float *fisher, int64_t begin,
                             int64_t end);

/* LayerNorm y = xhat * scale + shift with xhat = (x - mean) * rstd; mean and rstd are float [examples, tokens].
 * fisher_scale[d] += sum_{b,v} w (sum_t g xhat)^2 and fisher_shift[d] += sum_{b,v} w (sum_t g)^2, d in [begin, end).
 * In double, t in order; rounded to float after each (b, v), b outermost. */
int32_t fm_layer_norm_squares(const fm_kernels *kernels, const fm_cotangents *g, const fm_activations *x,
                              const float *mean, const float *rstd, float *fisher_scale, float *fisher_shift,
                              int64_t begin, int64_t end);

/* Embedding rows: for each (b, v) the rows of g at positions with equal ids[b,t] are summed, squared, weighted and
 * added to row id of fisher [rows, g->width], columns [begin, end). ids are int64 [examples, tokens] in [0, rows).
 * In double, t in order; rounded to float after each (b, v), b outermost. */
int32_t fm_embedding_squares(const fm_kernels *kernels, const fm_cotangents *g, const int64_t *ids, int64_t rows,
                             float *fisher, int64_t begin, int64_t end);

#define FM_MAX_GUARDS 4096

/* Guards [begin, begin + size) of a mapped file that others may truncate: reading beyond the new end of the file raises
 * SIGBUS, which would end the process. From the page that cannot be read on, zeros take the place of the rest of a
 * guarded range, whoever reads it, and the range counts as damaged. Answers a number for fm_guard_release, or -1 where
 * the range is empty, FM_MAX_GUARDS are in force or the system refuses. Any thread may call it. The first call installs
 * a handler for SIGBUS, process-wide and for good, which hands other faults to the handler before it. */
int32_t fm_guard(const void *begin, int64_t size);

/* Ends a guard, before the range is unmapped. 1 if the range was damaged, else 0. -1 is ignored. */
int32_t fm_guard_release(int32_t guard);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
