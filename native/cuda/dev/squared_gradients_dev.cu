// The versions of squared_gradients_versions.cuh on the current GPU: first the cases of cuda_cases.h, twice each for the same
// bits, then their rates at the layers of ViT-L/14 and ViT-B/32. Exit 77, with the reason, where there is no GPU of
// compute capability 9.0. Usage: cuda_squared_gradients_dev
#include "cuda_timing.cuh"
#include "device_block.cuh"
#include "device_engine.h"
#include "squared_gradients_versions.cuh"

using namespace timing;

namespace {

int32_t choose(const fm_cotangents &g, const fm_activations &a, int32_t precision) {
  int multiprocessors = 0;
  check(fmc::count_multiprocessors(&multiprocessors));
  return fmc::choose_splits(fmc::shape_of(g, a, fmc::depth_of(precision)), multiprocessors);
}

// Warpgroups multiply TF32 and BF16, and a thread an element FP32.
void enqueue(const fm_cotangents &g, const fm_activations &a, int32_t precision, int32_t splits, void *workspace,
             float *fisher) {
  static void *side = side_stream();
  fmc::device_launch launch(nullptr);
  fmc::device_launch aside(side);
  if (precision == FMC_TF32) {
    fmc::squared_gradients<fmc::cluster_tiles<fmc::tf32_warpgroups>>(launch, aside, g, a, splits, workspace, fisher);
  } else if (precision == FMC_BF16) {
    fmc::squared_gradients<fmc::cluster_tiles<fmc::bf16_warpgroups>>(launch, aside, g, a, splits, workspace, fisher);
  } else if (g.width * a.width > 0) {
    launch.run<fmc::squared_gradients_by_element>(fmc::blocks_for<fmc::squared_gradients_by_element>(g.width * a.width, 1),
                                                  {g, a, fisher});
  }
  check(launch.status);
}

class versions : public device {
 public:
  void squared_gradients(const fm_cotangents &g, const fm_activations &a, int32_t precision, int32_t splits,
                         float *fisher) override {
    const fmc::squared_gradients_shape shape = fmc::shape_of(g, a, fmc::depth_of(precision));
    splits = static_cast<int32_t>(std::min<int64_t>(splits, shape.most_splits()));
    // The cases expect the library's order of additions, which version 1 has where nothing is split or collapsed.
    if (precision == FMC_FP32 && (splits > 1 || g.tokens == 1)) {
      device::squared_gradients(g, a, precision, splits, fisher);
      return;
    }
    void *space = workspace(fmc::squared_gradients_workspace(shape, splits));
    enqueue(g, a, precision, splits, space, fisher);
    check(fmc_stream_synchronize(nullptr));
  }
};

layer_run timed(int32_t precision) {
  return [precision](const fm_cotangents &g, const fm_activations &a, float *fisher) {
    const int32_t splits = choose(g, a, precision);
    char *workspace = allocate<char>(
        fmc::squared_gradients_workspace(fmc::shape_of(g, a, fmc::depth_of(precision)), splits));
    const double seconds = median_seconds([&] { enqueue(g, a, precision, splits, workspace, fisher); });
    check(fmc_free(workspace));
    return seconds;
  };
}

}  // namespace

int main() {
  if (fm_open("auto", &cases::cpu) != FM_OK) return 2;
  fmc_device info = {};
  int32_t status = fmc_device_info(0, &info);
  if (status != FM_OK || info.major != 9) {
    printf("skipped: %s\n", status == FM_OK ? "the GPU is not of compute capability 9.0" : fmc_last_error());
    return 77;
  }
  printf("%s, %d multiprocessors\n", info.name, info.multiprocessors);
  {
    versions gpu;
    cases::on = &gpu;
    cases::squared_gradients();
    cases::squared_gradients_one_token();
    cases::squared_gradients_case(2, 3, 260, 300, 270, 2, {FMC_TF32, FMC_BF16});
  }
  printf("%d failures\n", cases::failures);
  if (cases::failures > 0) return 1;
  const blas cublas;
  for (const char *model : {"l14", "b32"}) {
    time_layers(model, "by element", FMC_FP32, cublas, timed(FMC_FP32));
    time_layers(model, "warpgroups tf32", FMC_TF32, cublas, timed(FMC_TF32));
    time_layers(model, "warpgroups bf16", FMC_BF16, cublas, timed(FMC_BF16));
  }
  return 0;
}
