#include "squared_gradients.cuh"

#include "device_block.cuh"

namespace {

int32_t check_operands(const fm_cotangents *g, const fm_activations *a, const char *name, int32_t precision) {
  FMC_CHECK(fmc::check_cotangents(g));
  FMC_CHECK(fmc::check_activations("a", a));
  FMC_REQUIRE(precision >= FMC_FP32 && precision <= FMC_BF16, "%s: unknown precision %d", name, precision);
  return FM_OK;
}

}  // namespace

extern "C" int32_t fmc_squared_gradients_prepare(const fm_cotangents *g, const fm_activations *a, int32_t precision,
                                                 int32_t splits, fmc_squared_gradients_plan *plan) {
  FMC_CHECK(check_operands(g, a, "precision", precision));
  FMC_CHECK(fmc::check_not_null("plan", plan));
  FMC_REQUIRE(splits >= 0, "splits is negative");
  const fmc::squared_gradients_shape shape = fmc::shape_of(*g, *a, fmc::depth_of(precision));
  if (splits == 0) {
    int multiprocessors = 0;
    FMC_CHECK(fmc::count_multiprocessors(&multiprocessors));
    splits = fmc::choose_splits(shape, multiprocessors);
  }
  splits = static_cast<int32_t>(fmc::min64(splits, shape.most_splits()));
  *plan = {fmc::squared_gradients_workspace(shape, splits), precision, splits};
  return FM_OK;
}

extern "C" int32_t fmc_squared_gradients(const fm_cotangents *g, const fm_activations *a,
                                         const fmc_squared_gradients_plan *plan, void *workspace, float *fisher,
                                         void *stream, void *side_stream) {
  FMC_CHECK(fmc::check_not_null("plan", plan));
  FMC_CHECK(check_operands(g, a, "plan.precision", plan->precision));
  const fmc::squared_gradients_shape shape = fmc::shape_of(*g, *a, fmc::depth_of(plan->precision));
  FMC_REQUIRE(plan->splits >= 1 && plan->splits <= shape.most_splits() &&
                  plan->workspace_bytes >= fmc::squared_gradients_workspace(shape, plan->splits),
              "plan: it was not made for these operands");
  FMC_CHECK(fmc::check_workspace(workspace, plan->workspace_bytes));
  FMC_CHECK(fmc::check_aligned("fisher", fisher, 4));
  fmc::device_launch launch(stream);
  fmc::device_launch aside(side_stream == nullptr ? stream : side_stream);
  fmc::squared_gradients(launch, aside, *g, *a, plan->precision, plan->splits, workspace, fisher);
  return launch.status;
}
