// Status and text of failures, and checks of arguments.
#pragma once

#include <stdint.h>

#if !defined(FMC_EMULATED)
#include <cuda_runtime_api.h>
#endif

#include "fisher_kernels_cuda.h"

namespace fmc {

// Keeps the text for fmc_last_error and returns the status.
__attribute__((format(printf, 2, 3))) int32_t fail(int32_t status, const char *format, ...);

#if !defined(FMC_EMULATED)
// The status of a CUDA call: FM_OK, or that of its failure with the text kept.
int32_t check_device(cudaError_t error, const char *what);
#endif

// Of the current device.
int32_t count_multiprocessors(int *count);

int32_t check_not_null(const char *name, const void *p);
int32_t check_type(const char *name, int32_t type);
int32_t check_count(const char *name, int64_t count);
int32_t check_aligned(const char *name, const void *p, int64_t bytes);
int32_t check_workspace(const void *workspace, int64_t bytes);
int32_t check_cotangents(const fm_cotangents *g);
int32_t check_activations(const char *name, const fm_activations *a);

#define FMC_CHECK(expression) \
  if (int32_t status_ = (expression); status_ != FM_OK) return status_
#define FMC_REQUIRE(condition, ...) \
  if (!(condition)) return ::fmc::fail(FM_INVALID_ARGUMENT, __VA_ARGS__)

}  // namespace fmc
