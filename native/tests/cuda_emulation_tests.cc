// The GPU kernels' own source, thread by thread on the CPU: see emulated_block.h. Usage: cuda_emulation_tests <family>
#include <stdlib.h>

#include <memory>
#include <string>

#include "cuda_cases.h"
#include "dev/squared_gradients_versions.cuh"
#include "embedding_squares.cuh"
#include "emulated_block.h"
#include "squared_gradients.cuh"
#include "square_accumulate.cuh"
#include "statistics.cuh"
#include "token_squares.cuh"
#include "weighted_average.cuh"

namespace {

class emulation : public engine {
 public:
  fmc::emulated_launch launch;

  ~emulation() override { reset(); }
  // Ends where the contents end, for the address sanitizer's sake.
  void *place(const void *from, size_t bytes, size_t shift) override {
    char *p = static_cast<char *>(::operator new(shift + bytes, std::align_val_t{256}));
    owned_.push_back(p);
    memset(p, 0xFF, shift + bytes);
    if (from != nullptr && bytes > 0) memcpy(p + shift, from, bytes);
    return p + shift;
  }
  void fetch(void *to, const void *from, size_t bytes) override {
    if (bytes > 0) memcpy(to, from, bytes);
  }
  void reset() override {
    for (char *p : owned_) ::operator delete(p, std::align_val_t{256});
    owned_.clear();
  }

  void weighted_average(const std::vector<fm_weighted_input> &inputs, const fm_values *base, double scaling_factor,
                        void *out, int32_t type, int64_t n) override {
    fmc::weighted_average(launch, inputs.data(), static_cast<int64_t>(inputs.size()), base, scaling_factor, out, type, n);
  }
  void statistics(const void *x, int32_t type, int64_t n, double threshold, fm_value_statistics *result) override {
    fmc::statistics(launch, x, type, n, threshold, workspace(fmc::statistics_workspace(n)), result);
  }
  void square_accumulate(const float *gradient, double scale, float *fisher, int64_t n) override {
    fmc::square_accumulate(launch, gradient, scale, fisher, n);
  }
  void squared_gradients(const fm_cotangents &g, const fm_activations &a, int32_t precision, int32_t splits,
                         float *fisher) override {
    const fmc::squared_gradients_shape shape = fmc::shape_of(g, a, fmc::depth_of(precision));
    splits = static_cast<int32_t>(std::min<int64_t>(splits, shape.most_splits()));
    fmc::squared_gradients(launch, launch, g, a, precision, splits, workspace(fmc::squared_gradients_workspace(shape, splits)),
                           fisher);
  }
  void token_sum_squares(const fm_cotangents &g, float *fisher) override {
    fmc::token_sum_squares(launch, g, workspace(8 * fmc::terms_count(g)), fisher);
  }
  void layer_norm_squares(const fm_cotangents &g, const fm_activations &x, const float *mean, const float *rstd,
                          float *fisher_scale, float *fisher_shift) override {
    fmc::layer_norm_squares(launch, g, x, mean, rstd, workspace(16 * fmc::terms_count(g)), fisher_scale, fisher_shift);
  }
  void embedding_squares(const fm_cotangents &g, const int64_t *ids, int64_t rows, float *fisher) override {
    fmc::embedding_squares(launch, g, ids, rows, fisher);
  }

 protected:
  void *workspace(int64_t bytes) { return place(nullptr, static_cast<size_t>(bytes), 0); }

 private:
  std::vector<char *> owned_;
};

// The versions of native/cuda/dev in the places of those in the library.
class versions : public emulation {
 public:
  void squared_gradients(const fm_cotangents &g, const fm_activations &a, int32_t precision, int32_t splits,
                         float *fisher) override {
    const fmc::squared_gradients_shape shape = fmc::shape_of(g, a, fmc::depth_of(precision));
    splits = static_cast<int32_t>(std::min<int64_t>(splits, shape.most_splits()));
    void *space = workspace(fmc::squared_gradients_workspace(shape, splits));
    if (precision == FMC_TF32) {
      fmc::squared_gradients<fmc::cluster_tiles<fmc::tf32_warpgroups>>(launch, launch, g, a, splits, space, fisher);
    } else if (precision == FMC_BF16) {
      fmc::squared_gradients<fmc::cluster_tiles<fmc::bf16_warpgroups>>(launch, launch, g, a, splits, space, fisher);
    } else if (splits == 1 && g.tokens != 1) {
      launch.run<fmc::squared_gradients_by_element>(
          fmc::blocks_for<fmc::squared_gradients_by_element>(g.width * a.width, 1), {g, a, fisher});
    } else {
      emulation::squared_gradients(g, a, precision, splits, fisher);
    }
  }
};

// What the emulation does not see: banks that single loads of shared memory meet, and offsets too large for memory here.
void layouts() {
  using namespace fmc;
  // Every sum of a tile has one owner.
  auto owners = [](auto mode, const char *name) {
    using layout = decltype(mode);
    std::vector<int> owned(kTile * kTile);
    for (int thread = 0; thread < kTileThreads; ++thread) {
      for (int k = 0; k < kSums; ++k) ++owned[static_cast<size_t>(layout::row_of(thread, k) * kTile + layout::column_of(thread, k))];
    }
    for (int count : owned) EXPECT(count == 1, "%s: a sum has %d owners", name, count);
  };
  auto pieces = [](auto mode, const char *name) {
    using layout = decltype(mode);
    // The pieces of a step hold each of its elements once.
    std::vector<int> packed(layout::kDepth * kTile);
    constexpr int each = 16 / static_cast<int>(sizeof(typename layout::element));
    for (int piece = 0; piece < kPieces; ++piece) {
      for (int e = 0; e < each; ++e) {
        const int token = layout::first_token(piece) + (layout::kAlongTokens ? e : 0);
        const int row = layout::first_row(piece) + (layout::kAlongTokens ? 0 : e);
        ++packed[static_cast<size_t>(token * kTile + row)];
      }
    }
    for (int count : packed) EXPECT(count == 1, "%s: an element is packed %d times", name, count);
  };
  owners(fp32_mode{}, "fp32");
  owners(tf32_mode{}, "tf32");
  owners(warpgroup_kernel<bf16_warpgroups, true>{}, "warpgroups");
  pieces(fp32_mode{}, "fp32");
  pieces(tf32_mode{}, "tf32");
  pieces(bf16_mode{}, "bf16");
  // Parts are as many as the header says, and none of their splits is empty.
  auto parts = [](int64_t probes, int64_t examples, int64_t tokens) {
    const fm_cotangents g = {nullptr, 0, 0, 0, nullptr, 0, probes, examples, tokens, 8};
    const squared_gradients_shape s = shape_of(g, {nullptr, 0, 0, 8}, 8);
    EXPECT(s.most_splits() * s.parts() <= std::max<int64_t>(1, s.units()), "empty splits");
    return s.parts();
  };
  EXPECT(parts(1, 32, 257) == 4 && parts(1, 15, 136) == 1 && parts(1, 16, 136) == 2 && parts(2, 12, 128) == 3, "parts");
  EXPECT(parts(1, 3, 100000) == 3 && parts(1, 100000, 1) == 1 && parts(1, 0, 9) == 1, "parts");
  // Splits cover all units once, in order, and differ by one at most.
  for (int64_t units : {1, 7, 32, 1000003}) {
    for (int64_t splits = 1; splits <= std::min<int64_t>(32, units); ++splits) {
      EXPECT(first_unit(0, units, splits) == 0 && first_unit(splits, units, splits) == units, "splits");
      for (int64_t s = 0; s < splits; ++s) {
        const int64_t size = first_unit(s + 1, units, splits) - first_unit(s, units, splits);
        EXPECT(size == units / splits || size == units / splits + 1, "split of %lld", static_cast<long long>(size));
      }
    }
  }

  // Beyond 2^31 elements, and 2^32 bytes.
  const int64_t large = int64_t{3} << 30;
  const fm_cotangents g = {nullptr, large, 5, 2, nullptr, 0, 3, 4, 8, 100};
  EXPECT(reinterpret_cast<uintptr_t>(row(g, 2, 1, 1)) == static_cast<uintptr_t>(4 * (2 * large + 7)), "row of g");
  const fm_cotangents wide = {nullptr, 0, 0, 0, nullptr, 0, 16, 4096, 256, 4096};
  const fm_activations a = {nullptr, 0, 0, 4096};
  const squared_gradients_shape shape = shape_of(wide, a, bf16_mode::kDepth);
  EXPECT(shape.bytes_g == int64_t{16} * 4096 * 256 * 4096 * 2, "packed g: %lld bytes",
         static_cast<long long>(shape.bytes_g));
  tile_job job = {};
  job.steps = 16;
  job.probes = 16;
  job.examples = int64_t{1} << 33;
  job.across = 7;
  job.rows = job.columns = int64_t{1} << 20;
  step_cursor jumped(job, (large * 16 + 15) * 16 + 14);
  EXPECT(jumped.example == large && jumped.probe == 15 && jumped.a_step == large * 16 + 14, "cursor");
  jumped.advance(job);
  EXPECT(jumped.ends_product(job) && jumped.a_step == large * 16 + 15, "cursor at the end of a product");
  jumped.advance(job);
  EXPECT(jumped.example == large + 1 && jumped.probe == 0 && jumped.a_step == large * 16 + 16, "cursor after an example");
  for (int k = 0; k < 15; ++k) jumped.advance(job);
  jumped.advance(job);
  EXPECT(jumped.probe == 1 && jumped.a_step == large * 16 + 16, "the next probe meets the same activations");
  int64_t at = 0;
  EXPECT(locate<fp32_mode>(job, 7 * 8000, 0, 0, &at) && at == int64_t{8000} * 128 << 20, "an element of F");

  // One wave where the tiles fill a device, several splits where they do not, and never more than there are examples.
  const fm_cotangents vit = {nullptr, 0, 0, 0, nullptr, 0, 1, 32, 50, 768};
  const fm_activations in = {nullptr, 0, 0, 768};
  const int32_t splits = choose_splits(shape_of(vit, in, 8), 132);
  EXPECT(splits == 3, "36 tiles on 132 multiprocessors: %d splits", splits);
  fm_cotangents few = vit;
  few.examples = 2;
  EXPECT(choose_splits(shape_of(few, in, 8), 132) <= 2, "more splits than examples");
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2 || fm_open("auto", &cases::cpu) != FM_OK) {
    fprintf(stderr, "usage: cuda_emulation_tests <family>\n");
    return 2;
  }
  const std::string name = argv[1];
  const std::string dev = "dev.";
  const bool in_dev = name.compare(0, dev.size(), dev) == 0;
  const std::unique_ptr<emulation> emulated = in_dev ? std::make_unique<versions>() : std::make_unique<emulation>();
  cases::on = emulated.get();
  bool known = name == "layouts";
  if (known) layouts();
  for (const cases::family &family : cases::families) {
    if (name != (in_dev ? dev : "") + family.name) continue;
    known = true;
    family.run();
    // More steps than warpgroups have room for, and tiles in an odd number both ways.
    if (name == "dev.squared_gradients") cases::squared_gradients_case(2, 3, 260, 300, 270, 2, {FMC_TF32, FMC_BF16});
  }
  if (!known) {
    fprintf(stderr, "unknown family %s\n", argv[1]);
    return 2;
  }
  EXPECT(emulated->launch.bank_conflicts() == 0, "%lld bank conflicts",
         static_cast<long long>(emulated->launch.bank_conflicts()));
  printf("%s, emulated: %d failures\n", argv[1], cases::failures);
  return cases::failures == 0 ? 0 : 1;
}
