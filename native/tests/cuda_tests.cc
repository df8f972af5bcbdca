// The cases of cuda_cases.h on the current GPU, each run twice for the same bits, and what only a device shows.
// Usage: cuda_tests <family>; exit 77, with the reason, where there is no GPU that can run the kernels.
#include "device_engine.h"

namespace {

// Operands beyond 2^31 elements: the last ones are as right as the first.
void large(device &gpu, const fmc_device &info) {
  const int64_t count = (int64_t{1} << 31) + 12345;
  if (info.free_bytes < 3 * 2 * count) {
    printf("large operands: skipped, %lld bytes free\n", static_cast<long long>(info.free_bytes));
    return;
  }
  const size_t bytes = static_cast<size_t>(count) * 2;
  std::vector<uint16_t> host(static_cast<size_t>(count), 0x3F80);  // bf16 1
  host.back() = 0x4000;                                            // 2
  host[static_cast<size_t>(count) - 12345] = 0x4040;               // 3
  void *a = gpu.place(host.data(), bytes, 0);
  void *out = gpu.place(nullptr, bytes, 0);
  gpu.weighted_average({{a, nullptr, 0, 1, FM_BF16, 0}, {a, a, 1, 1, FM_BF16, FM_BF16}}, nullptr, 1, out, FM_BF16, count);
  std::vector<uint16_t> found(static_cast<size_t>(count));
  gpu.fetch(found.data(), out, bytes);
  EXPECT(found == host, "an average of a model with itself is another");
  fm_value_statistics *result = static_cast<fm_value_statistics *>(gpu.place(nullptr, sizeof *result, 0));
  gpu.statistics(a, FM_BF16, count, 2.0, result);
  fm_value_statistics seen = {};
  gpu.fetch(&seen, result, sizeof seen);
  EXPECT(seen.sum_of_squares == static_cast<double>(count) - 2 + 4 + 9 && seen.minimum == 1 && seen.below == count - 2,
         "statistics of %lld values: %g, %g, %lld", static_cast<long long>(count), seen.sum_of_squares, seen.minimum,
         static_cast<long long>(seen.below));
  gpu.reset();
}

// What is refused before anything is enqueued, with the argument's name: neither device nor driver is needed.
void arguments() {
  EXPECT(fmc_abi_version() == FMC_ABI_VERSION, "ABI %d", fmc_abi_version());
  auto refused = [](int32_t status, const char *part) {
    EXPECT(status == FM_INVALID_ARGUMENT && strstr(fmc_last_error(), part) != nullptr, "%d: %s", status,
           fmc_last_error());
  };
  alignas(16) float x[4] = {};
  fm_weighted_input in = {x, nullptr, 0, 1, FM_F32, FM_F32};
  refused(fmc_weighted_average(&in, 0, nullptr, 1, x, FM_F32, 1, nullptr), "input_count");
  refused(fmc_weighted_average(&in, FMC_MAX_INPUTS + 1, nullptr, 1, x, FM_F32, 1, nullptr), "input_count");
  refused(fmc_weighted_average(nullptr, 1, nullptr, 1, x, FM_F32, 1, nullptr), "inputs");
  refused(fmc_weighted_average(&in, 1, nullptr, 1, x, 9, 1, nullptr), "out_type");
  refused(fmc_weighted_average(&in, 1, nullptr, 1, reinterpret_cast<char *>(x) + 1, FM_F32, 1, nullptr), "aligned");
  refused(fmc_square_accumulate(x, 1, x, -1, nullptr), "count");
  fm_cotangents g = {x, 0, 0, 0, nullptr, 0, 1, 1, 1, 4};
  const fm_activations a = {x, 0, 0, 4};
  fmc_squared_gradients_plan plan = {};
  refused(fmc_squared_gradients_prepare(&g, &a, 7, 1, &plan), "precision");
  refused(fmc_squared_gradients_prepare(&g, &a, FMC_FP32, -1, &plan), "splits");
  EXPECT(fmc_squared_gradients_prepare(&g, &a, FMC_FP32, 1, &plan) == FM_OK, "%s", fmc_last_error());
  g.examples = 2000;
  refused(fmc_squared_gradients(&g, &a, &plan, x, x, nullptr, nullptr), "plan");
  g.examples = -1;
  refused(fmc_token_sum_squares(&g, x, x, nullptr), "negative");
  int64_t bytes = 0;
  refused(fmc_statistics_workspace(-1, &bytes), "count");
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2 || fm_open("auto", &cases::cpu) != FM_OK) {
    fprintf(stderr, "usage: cuda_tests <family>\n");
    return 2;
  }
  if (strcmp(argv[1], "arguments") == 0) {
    arguments();
    printf("arguments: %d failures\n", cases::failures);
    return cases::failures == 0 ? 0 : 1;
  }
  fmc_device info = {};
  int32_t count = 0;
  int32_t status = fmc_device_count(&count);
  if (status == FM_OK) status = fmc_device_info(0, &info);
  if (status == FM_OK) {
    device gpu;
    cases::on = &gpu;
    printf("%s, compute capability %d.%d\n", info.name, info.major, info.minor);
    if (strcmp(argv[1], "large") == 0) large(gpu, info);
    for (const cases::family &family : cases::families) {
      if (strcmp(family.name, argv[1]) == 0) family.run();
    }
  } else {
    EXPECT(status == FMC_UNAVAILABLE && fmc_last_error()[0] != '\0', "status %d: %s", status, fmc_last_error());
    printf("%s: no GPU: %s\n", argv[1], fmc_last_error());
  }
  printf("%s: %d failures\n", argv[1], cases::failures);
  if (cases::failures > 0) return 1;
  return status == FM_OK ? 0 : 77;
}
