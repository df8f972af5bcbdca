#include "weighted_average.cuh"

#include "device_block.cuh"

extern "C" int32_t fmc_weighted_average(const fm_weighted_input *inputs, int64_t input_count,
                                        const fm_values *base, double scaling_factor, void *out, int32_t out_type,
                                        int64_t count, void *stream) {
  FMC_REQUIRE(input_count >= 1 && input_count <= FMC_MAX_INPUTS, "input_count: %lld does not lie in [1, %d]",
              static_cast<long long>(input_count), FMC_MAX_INPUTS);
  FMC_CHECK(fmc::check_not_null("inputs", inputs));
  FMC_CHECK(fmc::check_type("out_type", out_type));
  FMC_CHECK(fmc::check_aligned("out", out, fmc::bytes_of(out_type)));
  for (int64_t i = 0; i < input_count; ++i) {
    FMC_CHECK(fmc::check_type("inputs.value_type", inputs[i].value_type));
    FMC_CHECK(fmc::check_aligned("inputs.values", inputs[i].values, fmc::bytes_of(inputs[i].value_type)));
    if (inputs[i].fisher == nullptr) continue;
    FMC_CHECK(fmc::check_type("inputs.fisher_type", inputs[i].fisher_type));
    FMC_CHECK(fmc::check_aligned("inputs.fisher", inputs[i].fisher, fmc::bytes_of(inputs[i].fisher_type)));
  }
  if (base != nullptr) {
    FMC_CHECK(fmc::check_type("base.type", base->type));
    FMC_CHECK(fmc::check_aligned("base.data", base->data, fmc::bytes_of(base->type)));
  }
  FMC_CHECK(fmc::check_count("count", count));
  fmc::device_launch launch(stream);
  fmc::weighted_average(launch, inputs, input_count, base, scaling_factor, out, out_type, count);
  return launch.status;
}
