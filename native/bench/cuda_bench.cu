// Rates of the GPU kernels, against what the card does:
//   weighted_average, statistics, square_accumulate   GB/s moved, against a copy within the card's memory
//   outer_square at the layers of ViT-L/14 and ViT-B/32  TFLOP/s (2 V B T O I), against cuBLAS's product of [O, B T] and
//                                                        [B T, I], which has as many, where libcublas is found
// Each figure is the median of several runs with operands too large for the L2 cache, or a cache that is cleared before.
// The last line is JSON. Usage: cuda_bench
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "fisher_kernels_cuda.h"

namespace {

constexpr int kRuns = 15;

void check(int32_t status) {
  if (status == FM_OK) return;
  fprintf(stderr, "%s\n", fmc_last_error());
  exit(1);
}

void check(cudaError_t error) {
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

__global__ void fill_kernel(float *x, int64_t count, uint32_t seed) {
  for (int64_t k = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; k < count; k += int64_t{gridDim.x} * blockDim.x) {
    uint32_t h = static_cast<uint32_t>(k) * 2654435761u + seed;
    h ^= h >> 15;
    h *= 2246822519u;
    x[k] = static_cast<float>(h >> 8) * 0x1p-24f;
  }
}

float *random_floats(int64_t count, uint32_t seed) {
  float *x = allocate<float>(count);
  fill_kernel<<<1024, 256>>>(x, count, seed);
  check(cudaGetLastError());
  return x;
}

// Median seconds of one run, each after the L2 cache was overwritten.
double median_seconds(const std::function<void()> &run) {
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

std::string json;
void figure(const char *name, double value) {
  char text[128];
  snprintf(text, sizeof text, "%s\"%s\": %.4g", json.empty() ? "" : ", ", name, value);
  json += text;
}

void memory_bound() {
  const int64_t count = int64_t{96} << 20;
  float *from = random_floats(count, 1);
  float *to = allocate<float>(count);
  const double copied = median_seconds([&] { check(cudaMemcpyAsync(to, from, count * 4, cudaMemcpyDeviceToDevice)); });
  const double copy_rate = 8.0 * static_cast<double>(count) / copied * 1e-9;
  printf("%-34s %8.0f GB/s\n", "copy", copy_rate);
  figure("cuda_copy_gbs", copy_rate);
  auto report = [&](const char *name, const char *key, double bytes, const std::function<void()> &run) {
    const double rate = bytes / median_seconds(run) * 1e-9;
    printf("%-34s %8.0f GB/s  %.3f of a copy\n", name, rate, rate / copy_rate);
    figure(key, rate / copy_rate);
  };
  std::vector<fm_weighted_input> inputs;
  for (uint32_t m = 0; m < 8; ++m) {
    inputs.push_back({random_floats(count, 2 * m), random_floats(count, 2 * m + 1), 0.1, 1e-6, FM_F32, FM_F32});
  }
  report("weighted_average, 8 models, f32", "cuda_average_f32_over_copy", 68.0 * static_cast<double>(count),
         [&] { check(fmc_weighted_average(inputs.data(), 8, to, FM_F32, count, nullptr)); });
  for (fm_weighted_input &in : inputs) in.value_type = in.fisher_type = FM_BF16;
  report("weighted_average, 8 models, bf16", "cuda_average_bf16_over_copy", 34.0 * static_cast<double>(count),
         [&] { check(fmc_weighted_average(inputs.data(), 8, to, FM_BF16, count, nullptr)); });
  int64_t bytes = 0;
  check(fmc_statistics_workspace(count, &bytes));
  char *workspace = allocate<char>(bytes);
  fm_value_statistics *result = allocate<fm_value_statistics>(1);
  report("statistics, f32", "cuda_statistics_over_copy", 4.0 * static_cast<double>(count),
         [&] { check(fmc_statistics(from, FM_F32, count, 0.5, workspace, result, nullptr)); });
  report("square_accumulate", "cuda_square_accumulate_over_copy", 12.0 * static_cast<double>(count),
         [&] { check(fmc_square_accumulate(from, 0.5, to, count, nullptr)); });
}

struct layer {
  const char *name;
  int64_t examples;
  int64_t tokens;
  int64_t outputs;
  int64_t inputs;
};

void outer_squares(const char *model, const std::vector<layer> &layers, const blas &cublas) {
  const char *names[] = {"fp32", "tf32", "bf16"};
  for (int precision = FMC_FP32; precision <= FMC_BF16; ++precision) {
    double ours = 0;
    double theirs = 0;
    for (const layer &l : layers) {
      const int64_t rows = l.examples * l.tokens;
      float *g_data = random_floats(rows * l.outputs, 3);
      float *a_data = random_floats(rows * l.inputs, 4);
      float *fisher = random_floats(l.outputs * l.inputs, 5);
      const fm_cotangents g = {g_data,  0, l.tokens * l.outputs, l.outputs, nullptr, 0,
                               1, l.examples, l.tokens, l.outputs};
      const fm_activations a = {a_data, l.tokens * l.inputs, l.inputs, l.inputs};
      fmc_outer_square_plan plan;
      check(fmc_outer_square_prepare(&g, &a, precision, 0, &plan));
      char *workspace = allocate<char>(plan.workspace_bytes);
      const double flop = 2.0 * static_cast<double>(rows) * static_cast<double>(l.outputs * l.inputs);
      const double seconds =
          median_seconds([&] { check(fmc_outer_square(&g, &a, &plan, workspace, fisher, nullptr)); });
      printf("%-8s %-14s %-5s %8.1f TFLOP/s, %d splits", model, l.name, names[precision], flop / seconds * 1e-12,
             plan.splits);
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
      for (void *p : {static_cast<void *>(g_data), static_cast<void *>(a_data), static_cast<void *>(fisher),
                      static_cast<void *>(workspace)}) {
        check(fmc_free(p));
      }
    }
    if (theirs > 0) {
      figure((std::string("cuda_outer_square_") + names[precision] + "_over_cublas_" + model).c_str(), theirs / ours);
    }
  }
}

}  // namespace

int main() {
  fmc_device info;
  int32_t count = 0;
  check(fmc_device_count(&count));
  check(fmc_device_info(0, &info));
  printf("%s, %d multiprocessors, compute capability %d.%d\n", info.name, info.multiprocessors, info.major, info.minor);
  memory_bound();
  const blas cublas;
  if (!cublas.found()) printf("libcublas was not found: no peer for the products\n");
  outer_squares("l14", {{"q, k and v", 32, 257, 3072, 1024}, {"attention out", 32, 257, 1024, 1024},
                        {"mlp in", 32, 257, 4096, 1024}, {"mlp out", 32, 257, 1024, 4096}}, cublas);
  outer_squares("b32", {{"q, k and v", 64, 50, 2304, 768}, {"attention out", 64, 50, 768, 768},
                        {"mlp in", 64, 50, 3072, 768}, {"mlp out", 64, 50, 768, 3072}}, cublas);
  printf("{%s}\n", json.c_str());
  return 0;
}
