// Rates of the GPU kernels, against what the card does:
//   weighted_average, statistics, square_accumulate   GB/s moved, against a copy within the card's memory
//   reads of a buffer that lies in L2                 GB/s: what the tiles of squared_gradients live on
//   squared_gradients at the layers of ViT-L/14 and ViT-B/32  TFLOP/s (2 V B T O I), against cuBLAS's product of [O, B T] and
//                                                        [B T, I], which has as many, where libcublas is found
// Each figure is the median of several runs with operands too large for the L2 cache, or a cache that is cleared before.
// The last line is JSON. Usage: cuda_bench
#include "cuda_timing.cuh"

using namespace timing;

namespace {

std::string json;
void figure(const char *name, double value) {
  char text[128];
  snprintf(text, sizeof text, "%s\"%s\": %.4g", json.empty() ? "" : ", ", name, value);
  json += text;
}

// Reads `words` 16-byte words `times` over; L1 is passed by.
__global__ void read_kernel(const uint4 *x, int64_t words, int times, uint32_t *sink) {
  uint32_t sum = 0;
  for (int k = 0; k < times; ++k) {
#pragma unroll 4
    for (int64_t at = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; at < words; at += int64_t{gridDim.x} * blockDim.x) {
      const uint4 word = __ldcg(x + at);
      sum += word.x ^ word.y ^ word.z ^ word.w;
    }
  }
  if (sum == 0x12345678) *sink = sum;  // keeps the reads
}

void l2_reads() {
  constexpr int64_t kBytes = 16 << 20;
  constexpr int kTimes = 50;
  float *x = random_floats(kBytes / 4, 9);
  const double seconds = median_seconds([&] {
    read_kernel<<<1056, 256>>>(reinterpret_cast<const uint4 *>(x), kBytes / 16, kTimes, reinterpret_cast<uint32_t *>(x));
    check(cudaGetLastError());
  });
  const double rate = static_cast<double>(kBytes) * kTimes / seconds * 1e-9;
  printf("%-34s %8.0f GB/s\n", "reads from L2", rate);
  figure("cuda_l2_read_gbs", rate);
  check(fmc_free(x));
}

void memory_bound() {
  const int64_t count = int64_t{96} << 20;
  float *from = random_floats(count, 1);
  float *to = allocate<float>(count);
  const double copied =
      median_seconds([&] { check(cudaMemcpyAsync(to, from, count * 4, cudaMemcpyDeviceToDevice)); });
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
         [&] { check(fmc_weighted_average(inputs.data(), 8, nullptr, 1, to, FM_F32, count, nullptr)); });
  for (fm_weighted_input &in : inputs) in.value_type = in.fisher_type = FM_BF16;
  report("weighted_average, 8 models, bf16", "cuda_average_bf16_over_copy", 34.0 * static_cast<double>(count),
         [&] { check(fmc_weighted_average(inputs.data(), 8, nullptr, 1, to, FM_BF16, count, nullptr)); });
  int64_t bytes = 0;
  check(fmc_statistics_workspace(count, &bytes));
  char *workspace = allocate<char>(bytes);
  fm_value_statistics *result = allocate<fm_value_statistics>(1);
  report("statistics, f32", "cuda_statistics_over_copy", 4.0 * static_cast<double>(count),
         [&] { check(fmc_statistics(from, FM_F32, count, 0.5, workspace, result, nullptr)); });
  report("square_accumulate", "cuda_square_accumulate_over_copy", 12.0 * static_cast<double>(count),
         [&] { check(fmc_square_accumulate(from, 0.5, to, count, nullptr)); });
}

// As the library plans it.
layer_run library(int32_t precision, void *side) {
  return [precision, side](const fm_cotangents &g, const fm_activations &a, float *fisher) {
    fmc_squared_gradients_plan plan;
    check(fmc_squared_gradients_prepare(&g, &a, precision, 0, &plan));
    char *workspace = allocate<char>(plan.workspace_bytes);
    const double seconds =
        median_seconds([&] { check(fmc_squared_gradients(&g, &a, &plan, workspace, fisher, nullptr, side)); });
    check(fmc_free(workspace));
    return seconds;
  };
}

}  // namespace

int main() {
  fmc_device info;
  int32_t count = 0;
  check(fmc_device_count(&count));
  check(fmc_device_info(0, &info));
  printf("%s, %d multiprocessors, compute capability %d.%d\n", info.name, info.multiprocessors, info.major, info.minor);
  memory_bound();
  l2_reads();
  const blas cublas;
  if (!cublas.found()) printf("libcublas was not found: no peer for the products\n");
  const char *names[] = {"fp32", "tf32", "bf16"};
  void *side = side_stream();
  for (const char *model : {"l14", "b32"}) {
    for (int32_t precision = FMC_FP32; precision <= FMC_BF16; ++precision) {
      const double ratio = time_layers(model, names[precision], precision, cublas, library(precision, side));
      const std::string key = std::string("cuda_squared_gradients_") + names[precision] + "_over_cublas_" + model;
      if (cublas.found()) figure(key.c_str(), ratio);
    }
  }
  printf("{%s}\n", json.c_str());
  return 0;
}
