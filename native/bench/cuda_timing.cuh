// What GPU benchmarks share: timing with a cold L2 cache, operands, the layers that are timed, and cuBLAS as a peer.
#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "fisher_kernels_cuda.h"

namespace timing {

constexpr int kRuns = 15;

inline void check(int32_t status) {
  if (status == FM_OK) return;
  fprintf(stderr, "%s\n", fmc_last_error());
  exit(1);
}

inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  fprintf(stderr, "%s\n", cudaGetErrorString(error));
  exit(1);
}

template <class T>
T *allocate(int64_t count) {
  void *p = nullptr;
  check(fmc_malloc(count * static_cast<int64_t>(sizeof(T)), &p));
  return static_cast<T *>(p);
}

static __global__ void fill_kernel(float *x, int64_t count, uint32_t seed) {
  for (int64_t k = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; k < count; k += int64_t{gridDim.x} * blockDim.x) {
    uint32_t h = static_cast<uint32_t>(k) * 2654435761u + seed;
    h ^= h >> 15;
    h *= 2246822519u;
    x[k] = static_cast<float>(h >> 8) * 0x1p-24f;
  }
}

inline float *random_floats(int64_t count, uint32_t seed) {
  float *x = allocate<float>(count);
  fill_kernel<<<1024, 256>>>(x, count, seed);
  check(cudaGetLastError());
  return x;
}

// Median seconds of one run, each after the L2 cache was overwritten.
inline double median_seconds(const std::function<void()> &run) {
  static void *flush = nullptr;
  constexpr size_t kFlush = 256 << 20;
  if (flush == nullptr) check(cudaMalloc(&flush, kFlush));
  cudaEvent_t start;
  cudaEvent_t stop;
  check(cudaEventCreate(&start));
  check(cudaEventCreate(&stop));
  run();
  std::vector<double> seconds;
  for (int r = 0; r < kRuns; ++r) {
    check(cudaMemsetAsync(flush, r, kFlush));
    check(cudaEventRecord(start));
    run();
    check(cudaEventRecord(stop));
    check(cudaEventSynchronize(stop));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start, stop));
    seconds.push_back(milliseconds * 1e-3);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[kRuns / 2];
}

// A stream beside the default one.
inline void *side_stream() {
  void *stream = nullptr;
  check(fmc_stream_create(&stream));
  return stream;
}

// Just enough of cuBLAS, found at run time: nothing of ours needs it.
class blas {
 public:
  blas() {
    for (const char *name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
      if (library_ == nullptr) library_ = dlopen(name, RTLD_NOW);
    }
    if (library_ == nullptr) return;
    auto create = reinterpret_cast<int (*)(void **)>(dlsym(library_, "cublasCreate_v2"));
    gemm_ = reinterpret_cast<gemm_function>(dlsym(library_, "cublasGemmEx"));
    if (create == nullptr || gemm_ == nullptr || create(&handle_) != 0) gemm_ = nullptr;
  }
  bool found() const { return gemm_ != nullptr; }

  // C [outputs, inputs] = g^T a with g [depth, outputs], a [depth, inputs], row by row, in the kernels' precision.
  void product(const void *g, const void *a, float *c, int outputs, int inputs, int depth, int precision) const {
    constexpr int kFloat = 0;
    constexpr int kBf16 = 14;
    constexpr int kComputeFloat = 68;
    constexpr int kComputeTf32 = 77;
    const int type = precision == FMC_BF16 ? kBf16 : kFloat;
    const int compute = precision == FMC_TF32 ? kComputeTf32 : kComputeFloat;
    const float one = 1;
    const float zero = 0;
    if (gemm_(handle_, 0, 1, inputs, outputs, depth, &one, a, type, inputs, g, type, outputs, &zero, c, kFloat, inputs,
              compute, -1) != 0) {
      fprintf(stderr, "cuBLAS failed\n");
      exit(1);
    }
  }

 private:
  using gemm_function = int (*)(void *, int, int, int, int, int, const void *, const void *, int, int, const void *, int,
                                int, const void *, void *, int, int, int, int);
  void *library_ = nullptr;
  void *handle_ = nullptr;
  gemm_function gemm_ = nullptr;
};

// A layer of a model at the batch size that is timed.
struct layer {
  const char *name;
  int64_t examples;
  int64_t tokens;
  int64_t outputs;
  int64_t inputs;
};

inline std::vector<layer> layers_of(const std::string &model) {
  if (model == "l14") {
    return {{"q, k and v", 32, 257, 3072, 1024},
            {"attention out", 32, 257, 1024, 1024},
            {"mlp in", 32, 257, 4096, 1024},
            {"mlp out", 32, 257, 1024, 4096}};
  }
  return {{"q, k and v", 64, 50, 2304, 768},
          {"attention out", 64, 50, 768, 768},
          {"mlp in", 64, 50, 3072, 768},
          {"mlp out", 64, 50, 768, 3072}};
}

// The median seconds of the squared gradients of these operands.
using layer_run = std::function<double(const fm_cotangents &g, const fm_activations &a, float *fisher)>;

// Prints the rate at each layer, and answers the time of cuBLAS's product of as many FLOPs over that of all of them.
inline double time_layers(const char *model, const char *version, int32_t precision, const blas &cublas,
                          const layer_run &run) {
  double ours = 0;
  double theirs = 0;
  for (const layer &l : layers_of(model)) {
    const int64_t rows = l.examples * l.tokens;
    float *g_data = random_floats(rows * l.outputs, 3);
    float *a_data = random_floats(rows * l.inputs, 4);
    float *fisher = random_floats(l.outputs * l.inputs, 5);
    const fm_cotangents g = {g_data,  0, l.tokens * l.outputs, l.outputs, nullptr, 0,
                             1, l.examples, l.tokens, l.outputs};
    const fm_activations a = {a_data, l.tokens * l.inputs, l.inputs, l.inputs};
    const double flop = 2.0 * static_cast<double>(rows) * static_cast<double>(l.outputs * l.inputs);
    const double seconds = run(g, a, fisher);
    printf("%-4s %-14s %-16s %8.1f TFLOP/s", model, l.name, version, flop / seconds * 1e-12);
    ours += seconds;
    if (cublas.found()) {
      // Values of another format cost as much to multiply: the bytes are taken as bf16.
      const double peer = median_seconds([&] {
        cublas.product(g_data, a_data, fisher, static_cast<int>(l.outputs), static_cast<int>(l.inputs),
                       static_cast<int>(rows), precision);
      });
      theirs += peer;
      printf("  %.3f of cuBLAS", peer / seconds);
    }
    printf("\n");
    for (float *p : {g_data, a_data, fisher}) check(fmc_free(p));
  }
  return theirs / ours;
}

}  // namespace timing
