// Devices, memory and streams.
#include <stdio.h>

#include "status.h"

namespace {

using fmc::check_count;
using fmc::check_device;
using fmc::check_not_null;
using fmc::fail;

constexpr int kLeastMajor = 8;

cudaStream_t stream_of(void *stream) { return static_cast<cudaStream_t>(stream); }

}  // namespace

int32_t fmc::check_device(cudaError_t error, const char *what) {
  if (error == cudaSuccess) return FM_OK;
  const int32_t status = error == cudaErrorMemoryAllocation                                           ? FMC_OUT_OF_MEMORY
                         : error == cudaErrorNoKernelImageForDevice || error == cudaErrorNoDevice ||
                                 error == cudaErrorInsufficientDriver || error == cudaErrorUnsupportedPtxVersion
                             ? FMC_UNAVAILABLE
                             : FMC_DEVICE_ERROR;
  return fail(status, "%s: %s (%s)", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

int32_t fmc::count_multiprocessors(int *count) {
  int device = 0;
  FMC_CHECK(check_device(cudaGetDevice(&device), "the current device is not known"));
  return check_device(cudaDeviceGetAttribute(count, cudaDevAttrMultiProcessorCount, device),
                      "the device's multiprocessors could not be counted");
}

extern "C" {

int32_t fmc_device_count(int32_t *count) {
  FMC_CHECK(check_not_null("count", count));
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0;
    int needed = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&needed);
    if (driver == 0) return fail(FMC_UNAVAILABLE, "no NVIDIA driver is installed (libcuda.so.1 was not found)");
    return fail(FMC_UNAVAILABLE, "the NVIDIA driver supports CUDA %d.%d, and %d.%d is needed: install a newer driver",
                driver / 1000, driver % 1000 / 10, needed / 1000, needed % 1000 / 10);
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && devices == 0)) {
    return fail(FMC_UNAVAILABLE, "the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES set, or the container started "
                                 "without one?)");
  }
  if (error != cudaSuccess) {
    return fail(FMC_UNAVAILABLE, "the NVIDIA driver does not work: %s (%s)", cudaGetErrorString(error),
                cudaGetErrorName(error));
  }
  *count = devices;
  return FM_OK;
}

int32_t fmc_device_info(int32_t device, fmc_device *info) {
  FMC_CHECK(check_not_null("info", info));
  int32_t count = 0;
  FMC_CHECK(fmc_device_count(&count));
  FMC_REQUIRE(device >= 0 && device < count, "device %d does not lie in [0, %d)", device, count);
  cudaDeviceProp found;
  FMC_CHECK(check_device(cudaGetDeviceProperties(&found, device), "the device's properties could not be read"));
  fmc_device result = {};
  snprintf(result.name, sizeof result.name, "%s", found.name);
  result.memory_bytes = static_cast<int64_t>(found.totalGlobalMem);
  result.multiprocessors = found.multiProcessorCount;
  result.major = found.major;
  result.minor = found.minor;
  result.l2_bytes = found.l2CacheSize;
  int current = 0;
  size_t free_bytes = 0;
  size_t all_bytes = 0;
  FMC_CHECK(check_device(cudaGetDevice(&current), "the current device is not known"));
  FMC_CHECK(check_device(cudaSetDevice(device), "the device cannot be used"));
  const cudaError_t error = cudaMemGetInfo(&free_bytes, &all_bytes);
  cudaSetDevice(current);
  FMC_CHECK(check_device(error, "the device's free memory could not be read"));
  result.free_bytes = static_cast<int64_t>(free_bytes);
  *info = result;
  if (found.major < kLeastMajor) {
    return fail(FMC_UNAVAILABLE, "%s has compute capability %d.%d, and %d.0 or newer is needed", found.name, found.major,
                found.minor, kLeastMajor);
  }
  return FM_OK;
}

int32_t fmc_set_device(int32_t device) { return check_device(cudaSetDevice(device), "the device cannot be used"); }

int32_t fmc_malloc(int64_t bytes, void **pointer) {
  FMC_CHECK(check_not_null("pointer", pointer));
  FMC_CHECK(check_count("bytes", bytes));
  const cudaError_t error = cudaMalloc(pointer, static_cast<size_t>(bytes));
  cudaGetLastError();  // a later call should not find this one's failure
  if (error == cudaErrorMemoryAllocation) {
    return fail(FMC_OUT_OF_MEMORY, "the device has no %lld bytes left", static_cast<long long>(bytes));
  }
  return check_device(error, "device memory could not be had");
}

int32_t fmc_free(void *pointer) { return check_device(cudaFree(pointer), "device memory could not be freed"); }

int32_t fmc_host_alloc(int64_t bytes, void **pointer) {
  FMC_CHECK(check_not_null("pointer", pointer));
  FMC_CHECK(check_count("bytes", bytes));
  const cudaError_t error = cudaHostAlloc(pointer, static_cast<size_t>(bytes), cudaHostAllocDefault);
  cudaGetLastError();
  return check_device(error, "page-locked memory could not be had");
}

int32_t fmc_host_free(void *pointer) {
  return check_device(cudaFreeHost(pointer), "page-locked memory could not be freed");
}

int32_t fmc_copy_async(void *to, const void *from, int64_t bytes, void *stream) {
  FMC_CHECK(check_count("bytes", bytes));
  return check_device(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream_of(stream)),
                      "a copy could not be started");
}

int32_t fmc_clear_async(void *to, int64_t bytes, void *stream) {
  FMC_CHECK(check_count("bytes", bytes));
  return check_device(cudaMemsetAsync(to, 0, static_cast<size_t>(bytes), stream_of(stream)),
                      "memory could not be cleared");
}

int32_t fmc_stream_create(void **stream) {
  FMC_CHECK(check_not_null("stream", stream));
  cudaStream_t created = nullptr;
  FMC_CHECK(check_device(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking), "a stream could not be created"));
  *stream = created;
  return FM_OK;
}

int32_t fmc_stream_destroy(void *stream) {
  return check_device(cudaStreamDestroy(stream_of(stream)), "a stream could not be destroyed");
}

int32_t fmc_stream_synchronize(void *stream) {
  return check_device(cudaStreamSynchronize(stream_of(stream)), "work on the device failed");
}

}  // extern "C"
