#include "statistics.cuh"

#include "device_block.cuh"

extern "C" int32_t fmc_statistics_workspace(int64_t count, int64_t *bytes) {
  FMC_CHECK(fmc::check_count("count", count));
  FMC_CHECK(fmc::check_not_null("bytes", bytes));
  *bytes = fmc::statistics_workspace(count);
  return FM_OK;
}

extern "C" int32_t fmc_statistics(const void *x, int32_t type, int64_t count, double threshold, void *workspace,
                                  fm_value_statistics *result, void *stream) {
  FMC_CHECK(fmc::check_type("type", type));
  FMC_CHECK(fmc::check_aligned("x", x, fmc::bytes_of(type)));
  FMC_CHECK(fmc::check_count("count", count));
  FMC_CHECK(fmc::check_workspace(workspace, fmc::statistics_workspace(count)));
  FMC_CHECK(fmc::check_aligned("result", result, 8));
  fmc::device_launch launch(stream);
  fmc::statistics(launch, x, type, count, threshold, workspace, result);
  return launch.status;
}
