#include "square_accumulate.cuh"

#include "device_block.cuh"

extern "C" int32_t fmc_square_accumulate(const float *gradient, double scale, float *fisher, int64_t count,
                                         void *stream) {
  FMC_CHECK(fmc::check_aligned("gradient", gradient, 4));
  FMC_CHECK(fmc::check_aligned("fisher", fisher, 4));
  FMC_CHECK(fmc::check_count("count", count));
  fmc::device_launch launch(stream);
  fmc::square_accumulate(launch, gradient, scale, fisher, count);
  return launch.status;
}
