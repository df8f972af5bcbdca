// Rates of the kernels that carry the work, against what the machine can do:
//   squared_gradients      GFLOP/s (2 V B T O I), against a register-only multiply-add loop
//   weighted_average, task_vectors, pair_sums  GB/s read, against a loop that only reads
// Each figure is the best of several runs, one item of work handed out at a time to `threads` threads.
// Usage: fm_bench [threads] [isa] [squared_gradients|relatives|weighted_average|task_vectors|pair_sums]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "fisher_kernels.h"

namespace {

int threads = 2;
const fm_kernels *kernels = nullptr;

// One thread is timed by the processor time it gets, so that other work on the machine counts less.
double now() {
  if (threads == 1) {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void check(int32_t status) {
  if (status != FM_OK) {
    fprintf(stderr, "%s\n", fm_last_error());
    exit(1);
  }
}

void parallel(int64_t items, int64_t grain, const std::function<void(int, int64_t, int64_t)> &task) {
  std::atomic<int64_t> next{0};
  auto work = [&](int worker) {
    for (int64_t begin = next.fetch_add(grain); begin < items; begin = next.fetch_add(grain)) {
      task(worker, begin, std::min(items, begin + grain));
    }
  };
  std::vector<std::thread> helpers;
  for (int t = 1; t < threads; ++t) helpers.emplace_back(work, t);
  work(0);
  for (std::thread &helper : helpers) helper.join();
}

double best_seconds(int runs, const std::function<void()> &run) {
  double best = 1e30;
  for (int r = 0; r < runs; ++r) {
    const double start = now();
    run();
    best = std::min(best, now() - start);
  }
  return best;
}

float *buffer(int64_t count) {
  void *p = aligned_alloc(4096, (static_cast<size_t>(count) * 4 + 4095) / 4096 * 4096);
  if (p == nullptr) abort();
  float *x = static_cast<float *>(p);
  uint32_t state = 12345;
  for (int64_t k = 0; k < count; ++k) {
    state = state * 1664525 + 1013904223;
    x[k] = static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
  }
  return x;
}

void squared_gradients(int64_t probes, int64_t examples, int64_t tokens, int64_t outputs, int64_t inputs) {
  float *g_data = buffer(probes * examples * tokens * outputs);
  float *a_data = buffer(examples * tokens * inputs);
  float *fisher = buffer(outputs * inputs);
  const int64_t g_example = tokens * outputs;
  const fm_cotangents g = {g_data, examples * g_example, g_example, outputs, nullptr, examples,
                           probes, examples,             tokens,    outputs};
  const fm_activations a = {a_data, tokens * inputs, inputs, inputs};
  fm_squared_gradients_plan plan;
  check(fm_squared_gradients_prepare(kernels, &g, &a, &plan));
  float *packed_g = buffer(plan.packed_g);
  float *packed_a = buffer(plan.packed_a);
  float *scratch = buffer(plan.scratch * threads);
  const int64_t shares = 8 * threads;
  double pack = 1e30;
  const double seconds = best_seconds(9, [&] {
    const double start = now();
    parallel(plan.pack_g_items, (plan.pack_g_items + shares - 1) / shares, [&](int, int64_t begin, int64_t end) {
      check(fm_squared_gradients_pack_g(kernels, &g, packed_g, begin, end));
    });
    parallel(plan.pack_a_items, (plan.pack_a_items + shares - 1) / shares, [&](int, int64_t begin, int64_t end) {
      check(fm_squared_gradients_pack_a(kernels, &a, examples, tokens, packed_a, begin, end));
    });
    pack = std::min(pack, now() - start);
    parallel(plan.blocks, std::clamp<int64_t>(plan.blocks / (4 * threads), 1, 4), [&](int worker, int64_t begin, int64_t end) {
      check(fm_squared_gradients_blocks(kernels, &g, &a, packed_g, packed_a, scratch + worker * plan.scratch, fisher,
                                        begin, end));
    });
  });
  const double flops = 2.0 * static_cast<double>((tokens == 1 ? 1 : probes) * examples * tokens) *
                       static_cast<double>(outputs * inputs);
  printf("squared_gradients V %2lld B %3lld T %4lld O %5lld I %5lld  %7.1f GFLOP/s  %6.2f ms, packing %4.1f %%\n",
         static_cast<long long>(probes), static_cast<long long>(examples), static_cast<long long>(tokens),
         static_cast<long long>(outputs), static_cast<long long>(inputs), flops / seconds * 1e-9, seconds * 1e3,
         100 * pack / seconds);
  for (float *p : {g_data, a_data, fisher, packed_g, packed_a, scratch}) free(p);
}

typedef float lanes __attribute__((vector_size(16)));

double read_rate(const std::vector<float *> &streams, int64_t count) {
  std::atomic<float> sink{0};
  const double seconds = best_seconds(7, [&] {
    parallel(static_cast<int64_t>(streams.size()) * count, 1 << 18, [&](int, int64_t begin, int64_t end) {
      const float *p = streams[static_cast<size_t>(begin / count)] + begin % count;
      lanes sum[8] = {};
      for (int64_t k = 0; k < end - begin; k += 32) {
#pragma GCC unroll 8
        for (int u = 0; u < 8; ++u) {
          lanes x;
          memcpy(&x, p + k + 4 * u, sizeof x);
          sum[u] += x;
        }
      }
      for (int u = 1; u < 8; ++u) sum[0] += sum[u];
      sink = sum[0][0];
    });
  });
  return 4.0 * static_cast<double>(streams.size()) * static_cast<double>(count) / seconds * 1e-9;
}

void weighted_average(int64_t models, int64_t count) {
  std::vector<float *> streams;
  for (int64_t s = 0; s < 2 * models; ++s) streams.push_back(buffer(count));
  float *out = buffer(count);
  std::vector<fm_weighted_input> inputs;
  for (int64_t m = 0; m < models; ++m) {
    const size_t at = static_cast<size_t>(2 * m);
    inputs.push_back({streams[at], streams[at + 1], 1.0, 1.0, FM_F32, FM_F32});
  }
  const double read = read_rate(streams, count);
  const double seconds = best_seconds(7, [&] {
    parallel(count, 65536, [&](int, int64_t begin, int64_t end) {
      check(fm_weighted_average(kernels, inputs.data(), models, nullptr, 1, out, FM_F32, begin, end));
    });
  });
  const double bytes = 8.0 * static_cast<double>(models) * static_cast<double>(count);
  const double rate = bytes / seconds * 1e-9;
  printf("weighted_average %lld models F32            %7.1f GB/s read of %5.1f: %.3f (with the output %.3f)\n",
         static_cast<long long>(models), rate, read, rate / read,
         rate * (1 + 0.5 / static_cast<double>(models)) / read);
  for (float *p : streams) free(p);
  free(out);
}

// Trimming by magnitude with an elected sign, as ties does; and what decides on it.
void task_vectors(int64_t models, int64_t count) {
  std::vector<float *> streams;
  for (int64_t s = 0; s < models + 1; ++s) {
    streams.push_back(buffer(count));
    uint32_t x = 12345 + static_cast<uint32_t>(s);
    for (int64_t k = 0; k < count; ++k) streams.back()[k] = static_cast<float>(x = x * 1664525 + 1013904223) * 1e-9f;
  }
  float *out = buffer(count);
  const fm_values base = {streams.back(), FM_F32};
  std::vector<fm_task_vector> ties;
  for (int64_t m = 0; m < models; ++m) {
    ties.push_back({streams[static_cast<size_t>(m)], 0.5, 1, 0, INT64_MAX, INT64_MAX, 0, uint64_t{1} << 32, 2.0f,
                    __builtin_inff(), FM_F32});
  }
  std::vector<fm_task_vector> dare = ties;
  for (fm_task_vector &v : dare) v.least = 0, v.share = uint64_t{1} << 31, v.rescale = 2, v.seed = 7;
  const double read = read_rate(streams, count);
  const double bytes = 4.0 * static_cast<double>(models + 1) * static_cast<double>(count);
  auto report = [&](const char *name, double seconds, double moved) {
    printf("%-24s %lld models F32     %7.1f GB/s read of %5.1f: %.3f\n", name, static_cast<long long>(models),
           moved / seconds * 1e-9, read, moved / seconds * 1e-9 / read);
  };
  auto mix = [&](const std::vector<fm_task_vector> &vectors, int32_t how) {
    return best_seconds(7, [&] {
      parallel(count, 65536, [&](int, int64_t begin, int64_t end) {
        check(fm_task_vectors(kernels, vectors.data(), models, &base, how, 1, 0, out, FM_F32, begin, end));
      });
    });
  };
  report("task_vectors, ties", mix(ties, FM_MIX_ELECTED_MEAN), bytes);
  report("task_vectors, dare", mix(dare, FM_MIX_SUM), bytes);
  std::vector<std::vector<float>> space(static_cast<size_t>(threads), std::vector<float>(65536 + FM_FOUND_SLACK));
  const double counted = best_seconds(7, [&] {
    for (int64_t m = 0; m < models; ++m) {
      const fm_values values = {streams[static_cast<size_t>(m)], FM_F32};
      parallel(count, 65536, [&](int worker, int64_t begin, int64_t end) {
        fm_magnitude_counts counts;
        check(fm_magnitudes(kernels, &values, &base, 2.0f, 2.05f, space[static_cast<size_t>(worker)].data(), &counts, begin, end));
      });
    }
  });
  report("magnitudes", counted, bytes * 2 * static_cast<double>(models) / static_cast<double>(models + 1));
  const double norms = best_seconds(7, [&] {
    for (int64_t m = 0; m < models; ++m) {
      parallel(count, 4096, [&](int, int64_t begin, int64_t end) {
        double found[2];
        check(fm_task_vector_norms(kernels, &dare[static_cast<size_t>(m)], &base, 0, found, begin, end));
      });
    }
  });
  report("task_vector_norms, dare", norms, bytes * 2 * static_cast<double>(models) / static_cast<double>(models + 1));
  for (float *p : streams) free(p);
  free(out);
}

void pair_sums(int64_t rows, int64_t count) {
  std::vector<float *> streams;
  std::vector<fm_values> values;
  for (int64_t p = 0; p < rows; ++p) {
    streams.push_back(buffer(count));
    for (int64_t k = 0; k < count; ++k) streams.back()[k] += 0.5f;
    values.push_back({streams.back(), FM_F32});
  }
  const double read = read_rate(streams, count);
  const size_t pairs = static_cast<size_t>(rows * (rows + 1));
  const size_t scratch = static_cast<size_t>(FM_PAIR_SUMS_SCRATCH * (rows + 3));
  std::vector<std::vector<double>> space(static_cast<size_t>(threads), std::vector<double>(scratch + pairs));
  const double seconds = best_seconds(5, [&] {
    parallel(count, 65536, [&](int worker, int64_t begin, int64_t end) {
      double *p = space[static_cast<size_t>(worker)].data();
      check(fm_pair_sums(kernels, values.data(), rows, p, p + scratch, p + scratch + pairs / 2, begin, end));
    });
  });
  const double rate = 4.0 * static_cast<double>(rows) * static_cast<double>(count) / seconds * 1e-9;
  printf("pair_sums %2lld rows F32                      %7.1f GB/s read of %5.1f: %.3f\n",
         static_cast<long long>(rows), rate, read, rate / read);
  for (float *p : streams) free(p);
}

void relatives(int64_t examples, int64_t tokens, int64_t width) {
  const int64_t count = examples * tokens * width;
  std::vector<float *> x;
  for (int64_t size : {count, count, examples * tokens, examples * tokens, width, width}) x.push_back(buffer(size));
  const fm_cotangents g = {x[0], 0, tokens * width, width, nullptr, 0, 1, examples, tokens, width};
  const fm_activations a = {x[1], tokens * width, width, width};
  const int64_t grain = (width / (4 * threads) + 15) / 16 * 16;
  const double sums = best_seconds(9, [&] {
    parallel(width, grain, [&](int, int64_t begin, int64_t end) {
      check(fm_token_sum_squares(kernels, &g, x[4], begin, end));
    });
  });
  const double norms = best_seconds(9, [&] {
    parallel(width, grain, [&](int, int64_t begin, int64_t end) {
      check(fm_layer_norm_squares(kernels, &g, &a, x[2], x[3], x[4], x[5], begin, end));
    });
  });
  const double bytes = 4.0 * static_cast<double>(count);
  printf("B %lld T %lld D %lld: token_sum_squares %.1f GB/s, layer_norm_squares %.1f GB/s\n",
         static_cast<long long>(examples), static_cast<long long>(tokens), static_cast<long long>(width),
         bytes / sums * 1e-9, 2 * bytes / norms * 1e-9);
  for (float *p : x) free(p);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc > 1) threads = std::max(1, atoi(argv[1]));
  check(fm_open(argc > 2 ? argv[2] : "auto", &kernels));
  printf("%s, %d threads\n", fm_isa_name(kernels), threads);
  const char *only = argc > 3 ? argv[3] : "";
  auto wanted = [&](const char *name) { return *only == '\0' || strcmp(only, name) == 0; };
  if (wanted("squared_gradients")) {
    squared_gradients(1, 16, 50, 768, 768);
    squared_gradients(1, 16, 50, 3072, 768);
    squared_gradients(1, 16, 50, 768, 3072);
    squared_gradients(4, 16, 50, 768, 768);
    squared_gradients(1, 4, 197, 768, 3072);
    squared_gradients(1, 2, 257, 1024, 1024);
    squared_gradients(1, 2, 257, 1024, 4096);
    squared_gradients(1, 2, 257, 4096, 1024);
    squared_gradients(1, 256, 1, 768, 768);
  }
  if (wanted("relatives")) {
    relatives(16, 50, 768);
    relatives(16, 50, 3072);
  }
  if (wanted("weighted_average")) {
    for (int64_t models : {2, 8, 32}) weighted_average(models, (int64_t{1} << 26) / models);
  }
  if (wanted("task_vectors")) task_vectors(8, int64_t{1} << 23);
  if (wanted("pair_sums")) {
    for (int64_t rows : {2, 8, 64}) pair_sums(rows, 1 << 22);
  }
  return 0;
}
