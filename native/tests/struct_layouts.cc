// The layout of the structs that cross the C ABI, and the constants that a binding repeats. A Java test reads the lines
// below and compares them with the binding's own layouts (java/kernels, NativeStructs), so each is one assertion.
#include <stddef.h>

#include "fisher_kernels.h"
#include "fisher_kernels_cuda.h"

static_assert(sizeof(fm_weighted_input) == 40);
static_assert(offsetof(fm_weighted_input, values) == 0);
static_assert(offsetof(fm_weighted_input, fisher) == 8);
static_assert(offsetof(fm_weighted_input, scale) == 16);
static_assert(offsetof(fm_weighted_input, offset) == 24);
static_assert(offsetof(fm_weighted_input, value_type) == 32);
static_assert(offsetof(fm_weighted_input, fisher_type) == 36);

static_assert(sizeof(fm_value_statistics) == 24);
static_assert(offsetof(fm_value_statistics, sum_of_squares) == 0);
static_assert(offsetof(fm_value_statistics, minimum) == 8);
static_assert(offsetof(fm_value_statistics, below) == 16);

static_assert(sizeof(fm_values) == 16);
static_assert(offsetof(fm_values, data) == 0);
static_assert(offsetof(fm_values, type) == 8);

static_assert(sizeof(fm_task_vector) == 80);
static_assert(offsetof(fm_task_vector, values) == 0);
static_assert(offsetof(fm_task_vector, weight) == 8);
static_assert(offsetof(fm_task_vector, rescale) == 16);
static_assert(offsetof(fm_task_vector, least_from) == 24);
static_assert(offsetof(fm_task_vector, least_until) == 32);
static_assert(offsetof(fm_task_vector, most_until) == 40);
static_assert(offsetof(fm_task_vector, seed) == 48);
static_assert(offsetof(fm_task_vector, share) == 56);
static_assert(offsetof(fm_task_vector, least) == 64);
static_assert(offsetof(fm_task_vector, most) == 68);
static_assert(offsetof(fm_task_vector, value_type) == 72);

static_assert(sizeof(fm_magnitude_counts) == 32);
static_assert(offsetof(fm_magnitude_counts, below) == 0);
static_assert(offsetof(fm_magnitude_counts, at_low) == 8);
static_assert(offsetof(fm_magnitude_counts, between) == 16);
static_assert(offsetof(fm_magnitude_counts, at_high) == 24);

static_assert(sizeof(fm_selected_magnitude) == 24);
static_assert(offsetof(fm_selected_magnitude, below) == 0);
static_assert(offsetof(fm_selected_magnitude, equal) == 8);
static_assert(offsetof(fm_selected_magnitude, magnitude) == 16);

static_assert(sizeof(fm_cotangents) == 80);
static_assert(offsetof(fm_cotangents, data) == 0);
static_assert(offsetof(fm_cotangents, probe_stride) == 8);
static_assert(offsetof(fm_cotangents, example_stride) == 16);
static_assert(offsetof(fm_cotangents, token_stride) == 24);
static_assert(offsetof(fm_cotangents, weights) == 32);
static_assert(offsetof(fm_cotangents, weight_probe_stride) == 40);
static_assert(offsetof(fm_cotangents, probes) == 48);
static_assert(offsetof(fm_cotangents, examples) == 56);
static_assert(offsetof(fm_cotangents, tokens) == 64);
static_assert(offsetof(fm_cotangents, width) == 72);

static_assert(sizeof(fm_activations) == 32);
static_assert(offsetof(fm_activations, data) == 0);
static_assert(offsetof(fm_activations, example_stride) == 8);
static_assert(offsetof(fm_activations, token_stride) == 16);
static_assert(offsetof(fm_activations, width) == 24);

static_assert(sizeof(fm_squared_gradients_plan) == 48);
static_assert(offsetof(fm_squared_gradients_plan, packed_g) == 0);
static_assert(offsetof(fm_squared_gradients_plan, packed_a) == 8);
static_assert(offsetof(fm_squared_gradients_plan, scratch) == 16);
static_assert(offsetof(fm_squared_gradients_plan, pack_g_items) == 24);
static_assert(offsetof(fm_squared_gradients_plan, pack_a_items) == 32);
static_assert(offsetof(fm_squared_gradients_plan, blocks) == 40);

static_assert(sizeof(fmc_device) == 288);
static_assert(offsetof(fmc_device, name) == 0);
static_assert(offsetof(fmc_device, memory_bytes) == 256);
static_assert(offsetof(fmc_device, free_bytes) == 264);
static_assert(offsetof(fmc_device, multiprocessors) == 272);
static_assert(offsetof(fmc_device, major) == 276);
static_assert(offsetof(fmc_device, minor) == 280);
static_assert(offsetof(fmc_device, l2_bytes) == 284);

static_assert(sizeof(fmc_squared_gradients_plan) == 16);
static_assert(offsetof(fmc_squared_gradients_plan, workspace_bytes) == 0);
static_assert(offsetof(fmc_squared_gradients_plan, precision) == 8);
static_assert(offsetof(fmc_squared_gradients_plan, splits) == 12);

static_assert(FM_ABI_VERSION == 5);
static_assert(FM_INVALID_ARGUMENT == 1);
static_assert(FM_F32 == 0);
static_assert(FM_F16 == 1);
static_assert(FM_BF16 == 2);
static_assert(FM_F64 == 3);
static_assert(FM_PAIR_SUMS_SCRATCH == 272);
static_assert(FM_FOUND_SLACK == 16);
static_assert(FM_SAMPLE_GROUP == 16);
static_assert(FM_MIX_SUM == 0);
static_assert(FM_MIX_MEAN == 1);
static_assert(FM_MIX_ELECTED_SUM == 2);
static_assert(FM_MIX_ELECTED_MEAN == 3);
static_assert(FMC_ABI_VERSION == 3);
static_assert(FMC_OUT_OF_MEMORY == 17);
static_assert(FMC_FP32 == 0);
static_assert(FMC_TF32 == 1);
static_assert(FMC_BF16 == 2);
