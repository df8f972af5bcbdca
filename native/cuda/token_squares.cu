#include "token_squares.cuh"

#include "device_block.cuh"

namespace {

int32_t workspace_of(const fm_cotangents *g, int64_t sums, int64_t *bytes) {
  FMC_CHECK(fmc::check_cotangents(g));
  FMC_CHECK(fmc::check_not_null("bytes", bytes));
  *bytes = sums * 8 * fmc::terms_count(*g);
  return FM_OK;
}

}  // namespace

extern "C" int32_t fmc_token_sum_squares_workspace(const fm_cotangents *g, int64_t *bytes) {
  return workspace_of(g, 1, bytes);
}

extern "C" int32_t fmc_layer_norm_squares_workspace(const fm_cotangents *g, int64_t *bytes) {
  return workspace_of(g, 2, bytes);
}

extern "C" int32_t fmc_token_sum_squares(const fm_cotangents *g, void *workspace, float *fisher, void *stream) {
  FMC_CHECK(fmc::check_cotangents(g));
  FMC_CHECK(fmc::check_workspace(workspace, fmc::terms_count(*g)));
  FMC_CHECK(fmc::check_aligned("fisher", fisher, 4));
  fmc::device_launch launch(stream);
  fmc::token_sum_squares(launch, *g, workspace, fisher);
  return launch.status;
}

extern "C" int32_t fmc_layer_norm_squares(const fm_cotangents *g, const fm_activations *x, const float *mean,
                                          const float *rstd, void *workspace, float *fisher_scale, float *fisher_shift,
                                          void *stream) {
  FMC_CHECK(fmc::check_cotangents(g));
  FMC_CHECK(fmc::check_activations("x", x));
  FMC_REQUIRE(x->width == g->width, "x: its width is not that of g");
  FMC_CHECK(fmc::check_aligned("mean", mean, 4));
  FMC_CHECK(fmc::check_aligned("rstd", rstd, 4));
  FMC_CHECK(fmc::check_workspace(workspace, fmc::terms_count(*g)));
  FMC_CHECK(fmc::check_aligned("fisher_scale", fisher_scale, 4));
  FMC_CHECK(fmc::check_aligned("fisher_shift", fisher_shift, 4));
  fmc::device_launch launch(stream);
  fmc::layer_norm_squares(launch, *g, *x, mean, rstd, workspace, fisher_scale, fisher_shift);
  return launch.status;
}
