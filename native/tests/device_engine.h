// Runs the cases of cuda_cases.h on the current GPU, through the library's entry points.
#pragma once

#include <stdlib.h>

#include "cuda_cases.h"

inline void require(int32_t status) {
  if (status == FM_OK) return;
  fprintf(stderr, "%s\n", fmc_last_error());
  exit(1);
}

class device : public engine {
 public:
  ~device() override { reset(); }

  void *place(const void *from, size_t bytes, size_t shift) override {
    void *p = nullptr;
    require(fmc_malloc(static_cast<int64_t>(bytes + shift) + 256, &p));
    owned_.push_back(p);
    char *at = static_cast<char *>(p) + shift;
    if (from != nullptr && bytes > 0) copy(at, from, bytes);
    return at;
  }
  void fetch(void *to, const void *from, size_t bytes) override {
    if (bytes > 0) copy(to, from, bytes);
  }
  void reset() override {
    for (void *p : owned_) require(fmc_free(p));
    owned_.clear();
  }

  void weighted_average(const std::vector<fm_weighted_input> &inputs, const fm_values *base, double scaling_factor,
                        void *out, int32_t type, int64_t n) override {
    require(fmc_weighted_average(inputs.data(), static_cast<int64_t>(inputs.size()), base,
                                 scaling_factor, out, type, n, nullptr));
    wait();
  }
  void statistics(const void *x, int32_t type, int64_t n, double threshold, fm_value_statistics *result) override {
    int64_t bytes = 0;
    require(fmc_statistics_workspace(n, &bytes));
    require(fmc_statistics(x, type, n, threshold, workspace(bytes), result, nullptr));
    wait();
  }
  void square_accumulate(const float *gradient, double scale, float *fisher, int64_t n) override {
    require(fmc_square_accumulate(gradient, scale, fisher, n, nullptr));
    wait();
  }
  void squared_gradients(const fm_cotangents &g, const fm_activations &a, int32_t precision, int32_t splits,
                         float *fisher) override {
    fmc_squared_gradients_plan plan;
    require(fmc_squared_gradients_prepare(&g, &a, precision, splits, &plan));
    char *memory = static_cast<char *>(workspace(plan.workspace_bytes));
    const size_t bytes = static_cast<size_t>(g.width * a.width) * 4;
    std::vector<char> before(bytes);
    std::vector<char> expected(bytes);
    std::vector<char> found(bytes);
    fetch(before.data(), fisher, bytes);
    void *side = nullptr;
    require(fmc_stream_create(&side));
    // From the same start: on one stream; with another, of which an emulated device runs one first, or the other. What
    // is done too early is cleared away, what is done too late is zero still.
    const bool has_parts = g.tokens > 1 && g.examples * g.probes * g.tokens >= 2048;
    for (int run = 0; run < (has_parts ? 3 : 2); ++run) {
      if (bytes > 0) copy(fisher, before.data(), bytes);
      require(fmc_clear_async(memory, plan.workspace_bytes, nullptr));
      require(fmc_squared_gradients(&g, &a, &plan, memory, fisher, nullptr, run == 0 ? nullptr : side));
      if (run == 2) require(fmc_stream_synchronize(side));
      wait();
      fetch(run == 0 ? expected.data() : found.data(), fisher, bytes);
      EXPECT(run == 0 || found == expected, "squared_gradients: another stream changes the result, run %d", run);
    }
    require(fmc_stream_destroy(side));
  }
  void token_sum_squares(const fm_cotangents &g, float *fisher) override {
    int64_t bytes = 0;
    require(fmc_token_sum_squares_workspace(&g, &bytes));
    require(fmc_token_sum_squares(&g, workspace(bytes), fisher, nullptr));
    wait();
  }
  void layer_norm_squares(const fm_cotangents &g, const fm_activations &x, const float *mean, const float *rstd,
                          float *fisher_scale, float *fisher_shift) override {
    int64_t bytes = 0;
    require(fmc_layer_norm_squares_workspace(&g, &bytes));
    require(fmc_layer_norm_squares(&g, &x, mean, rstd, workspace(bytes), fisher_scale, fisher_shift, nullptr));
    wait();
  }
  void embedding_squares(const fm_cotangents &g, const int64_t *ids, int64_t rows, float *fisher) override {
    require(fmc_embedding_squares(&g, ids, rows, fisher, nullptr));
    wait();
  }

 protected:
  void *workspace(int64_t bytes) { return place(nullptr, static_cast<size_t>(bytes), 0); }
  static void wait() { require(fmc_stream_synchronize(nullptr)); }
  static void copy(void *to, const void *from, size_t bytes) {
    require(fmc_copy_async(to, from, static_cast<int64_t>(bytes), nullptr));
    wait();
  }

 private:
  std::vector<void *> owned_;
};
