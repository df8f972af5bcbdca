/* fisher_kernels_cuda: the kernels of fisher_kernels.h on NVIDIA GPUs of compute capability 8.0 and newer, C ABI.
 *
 * Operands are in DEVICE memory of the current device unless said otherwise; the structs that describe them are in host
 * memory and are copied before a call returns. A stream is a cudaStream_t; null is the default stream. A call enqueues
 * work and returns; what happens on the device afterwards is reported by fmc_stream_synchronize. No kernel function
 * allocates: where one needs memory for intermediate results, another one says how much, and the caller passes it
 * (256-byte aligned; its contents are overwritten; one such buffer for each stream).
 *
 * Lengths and strides count elements. Operands are aligned to their element; 16-byte alignment is faster. An operand
 * that is written must not overlap any other operand.
 *
 * Results are the same bits in every run on any device, for the same arguments; where they also depend on a choice of
 * this library, that choice is an argument. No kernel uses atomics.
 *
 * Every function but fmc_abi_version and fmc_last_error answers a status; where it is not FM_OK, fmc_last_error() holds
 * the reason for the calling thread, and for FM_INVALID_ARGUMENT nothing was written or enqueued.
 */
#ifndef FISHER_KERNELS_CUDA_H
#define FISHER_KERNELS_CUDA_H

#include <stdint.h>

#include "fisher_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define FMC_ABI_VERSION 3

/* Beside those of fm_status. */
enum fmc_status { FMC_UNAVAILABLE = 16, FMC_OUT_OF_MEMORY = 17, FMC_DEVICE_ERROR = 18 };

/* FMC_ABI_VERSION of the library; a caller compares it with the header it was built against. */
int32_t fmc_abi_version(void);

/* Text of the calling thread's last failure; valid until its next failure. Never null. */
const char *fmc_last_error(void);

/* ---- devices ---- */

/* How many devices there are: at least 1. Otherwise FMC_UNAVAILABLE, and fmc_last_error() says why in one sentence: no
 * driver, a driver too old, or no device. */
int32_t fmc_device_count(int32_t *count);

typedef struct fmc_device {
  char name[256];
  int64_t memory_bytes;
  int64_t free_bytes;
  int32_t multiprocessors;
  int32_t major; /* compute capability */
  int32_t minor;
  int32_t l2_bytes;
} fmc_device;

/* What a device is. FMC_UNAVAILABLE where it is older than the kernels need; the struct is filled all the same. */
int32_t fmc_device_info(int32_t device, fmc_device *info);

/* Makes a device the calling thread's current one. */
int32_t fmc_set_device(int32_t device);

/* ---- memory and streams: thin wrappers for callers without a CUDA binding of their own ---- */

int32_t fmc_malloc(int64_t bytes, void **pointer);
int32_t fmc_free(void *pointer);
/* Page-locked host memory, which copies to and from the device run at full speed and asynchronously from. */
int32_t fmc_host_alloc(int64_t bytes, void **pointer);
int32_t fmc_host_free(void *pointer);
/* Copies between any two of host and device; asynchronous where the host side is page-locked. */
int32_t fmc_copy_async(void *to, const void *from, int64_t bytes, void *stream);
/* Zeros in device memory. */
int32_t fmc_clear_async(void *to, int64_t bytes, void *stream);
int32_t fmc_stream_create(void **stream);
int32_t fmc_stream_destroy(void *stream);
int32_t fmc_stream_synchronize(void *stream);

/* ---- kernels ---- */

#define FMC_MAX_INPUTS 64

/* out[j] = sum_i weight_i[j] values_i[j] / sum_i weight_i[j] for j in [0, count), 1 to FMC_MAX_INPUTS models.
 * The contract of fm_weighted_average, and its bits (but for the payload of a NaN): double without contraction, models
 * in order, rounded once to nearest even. */
int32_t fmc_weighted_average(const fm_weighted_input *inputs, int64_t input_count, const fm_values *base,
                             double scaling_factor, void *out, int32_t out_type, int64_t count, void *stream);

/* Bytes of workspace that fmc_statistics needs. */
int32_t fmc_statistics_workspace(int64_t count, int64_t *bytes);

/* Statistics of x[j] for j in [0, count), written to `result` in device memory; NaN rules as in fm_statistics. The sum
 * is in double, in an order of this library's own that depends on count only: chunks of 16384 elements; in each 256
 * partial sums, element j in partial sum j / 8 mod 256, and a balanced tree over them; the chunks' sums likewise, chunk
 * c in partial sum c mod 256. */
int32_t fmc_statistics(const void *x, int32_t type, int64_t count, double threshold, void *workspace,
                       fm_value_statistics *result, void *stream);

/* fisher[j] += scale * gradient[j]^2 for j in [0, count), in double, rounded once to float: the bits of
 * fm_square_accumulate. */
int32_t fmc_square_accumulate(const float *gradient, double scale, float *fisher, int64_t count, void *stream);

/* What the products g * a are computed in. Sums are float in all of them.
 * FMC_FP32: fused multiply-adds of floats.
 * FMC_TF32: g and a rounded to 10 fraction bits, to nearest, ties away; tensor cores.
 * FMC_BF16: g and a rounded to 7 fraction bits, to nearest even; tensor cores. */
enum fmc_precision { FMC_FP32 = 0, FMC_TF32 = 1, FMC_BF16 = 2 };

typedef struct fmc_squared_gradients_plan {
  int64_t workspace_bytes;
  int32_t precision;
  int32_t splits; /* shares of the examples that are worked off at the same time; they are added up in order */
} fmc_squared_gradients_plan;

/* Plans fmc_squared_gradients. splits: 0 lets the library choose for the current device; with a fixed number, results
 * do not depend on the device (FMC_FP32) or on its size (the others). It is lowered to what the operands allow. */
int32_t fmc_squared_gradients_prepare(const fm_cotangents *g, const fm_activations *a, int32_t precision,
                                      int32_t splits, fmc_squared_gradients_plan *plan);

/* fisher[o,i] += sum_{b,v} weights[v,b] (sum_t g[v,b,t,o] a[b,t,i])^2, fisher float [g->width, a->width] contiguous.
 * tokens > 1: float sums over t, then fisher = fma(weight * sum, sum, fisher) for b in order, inside it v in order.
 * tokens == 1: fisher = fma(s, a^2, fisher) for b in order, with s = sum_v (weight g) g in float, v in order; s and a^2
 *   are what is rounded in FMC_TF32 and FMC_BF16.
 * FMC_FP32 with one split gives the bits of fm_squared_gradients_blocks on instruction sets with FMA. With more splits each
 * starts from 0, and fisher += (split 0 + split 1 + ...) at the end. On tensor cores the order of a sum over t, and how
 * it is rounded, is the device's.
 * Where tokens > 1 examples are worked off in parts, one after the other: as many as there are 128 steps of 8 tokens (16
 * in FMC_BF16; each (b, v) has whole steps), 1 to 4, and no more than there are examples. A split has its share of each
 * part.
 * side_stream: where the operands of a part are packed while the part before is multiplied; null: on `stream` too. To
 * others the work is as if all of it were on `stream`. The bits are the same. */
int32_t fmc_squared_gradients(const fm_cotangents *g, const fm_activations *a,
                              const fmc_squared_gradients_plan *plan, void *workspace, float *fisher, void *stream,
                              void *side_stream);

/* Bytes of workspace that fmc_token_sum_squares needs, and, twice that, fmc_layer_norm_squares. */
int32_t fmc_token_sum_squares_workspace(const fm_cotangents *g, int64_t *bytes);
int32_t fmc_layer_norm_squares_workspace(const fm_cotangents *g, int64_t *bytes);

/* fisher[o] += sum_{b,v} weights[v,b] (sum_t g[v,b,t,o])^2: the bits of fm_token_sum_squares. */
int32_t fmc_token_sum_squares(const fm_cotangents *g, void *workspace, float *fisher, void *stream);

/* fisher_scale[d] += sum_{b,v} w (sum_t g xhat)^2 and fisher_shift[d] += sum_{b,v} w (sum_t g)^2 with
 * xhat = (x - mean) * rstd; mean and rstd are float [examples, tokens]: the bits of fm_layer_norm_squares. */
int32_t fmc_layer_norm_squares(const fm_cotangents *g, const fm_activations *x, const float *mean, const float *rstd,
                               void *workspace, float *fisher_scale, float *fisher_shift, void *stream);

/* Embedding rows: the bits of fm_embedding_squares, fisher float [rows, g->width]. ids int64 [examples, tokens] are not
 * checked here; positions whose id lies outside [0, rows) are left out. */
int32_t fmc_embedding_squares(const fm_cotangents *g, const int64_t *ids, int64_t rows, float *fisher, void *stream);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
