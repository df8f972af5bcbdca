#include "embedding_squares.cuh"

#include "device_block.cuh"

extern "C" int32_t fmc_embedding_squares(const fm_cotangents *g, const int64_t *ids, int64_t rows, float *fisher,
                                         void *stream) {
  FMC_CHECK(fmc::check_cotangents(g));
  FMC_CHECK(fmc::check_aligned("ids", ids, 8));
  FMC_CHECK(fmc::check_count("rows", rows));
  FMC_CHECK(fmc::check_aligned("fisher", fisher, 4));
  fmc::device_launch launch(stream);
  fmc::embedding_squares(launch, *g, ids, rows, fisher);
  return launch.status;
}
