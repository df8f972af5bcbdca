// Weighted average of N models in one pass over memory.
//
// Accumulation: double, w = scale * F + offset, num = sum w v, den = sum w, models in order starting from the first
// one's terms, multiplication and addition separate; then base + s (num / den - base), or s num / den without a
// base; rounded once: the bits of native/cpu.
//
// A thread keeps eight elements' sums in registers while it visits all models: every operand is read once, in pieces of
// 16 bytes, and only the result is written. Groups are laid out from the first 16-byte boundary of the result; what is
// before it and after the last whole group goes element by element. An operand that is not aligned where the result is,
// is read element by element too.
//
// Roofline: N (value + Fisher) bytes in, one value out. Double costs 5 operations and 2 conversions per element and
// model: a fifth of what an H200 does at its memory's pace (floats), but on chips with 1/64 rate double it is the limit.
#pragma once

#include "numbers.cuh"

namespace fmc {

struct weighted_average_kernel {
  struct job {
    fm_weighted_input inputs[FMC_MAX_INPUTS];
    int64_t input_count;
    fm_values base;  // without data: none
    double scaling_factor;
    void *out;
    int64_t count;
    int64_t head;  // elements before the first group
    int32_t out_type;
  };
  static constexpr int kThreads = 256;
  static constexpr int kShared = 0;

  template <class Block>
  FMC_DEVICE static void run(Block &block, const job &j) {
    // Item 0 is the head, and item k > 0 is the group k - 1, the last one perhaps cut off.
    const int64_t item = block.index() * kThreads + block.thread();
    const int64_t begin = item == 0 ? 0 : j.head + (item - 1) * kGroup;
    const int64_t count = item == 0 ? j.head : min64(kGroup, j.count - begin);
    if (count <= 0) return;
    double num[kGroup];
    double den[kGroup];
    for (int64_t i = 0; i < j.input_count; ++i) {
      const fm_weighted_input &in = j.inputs[i];
      double value[kGroup];
      double fisher[kGroup];
      load_group(in.values, in.value_type, begin, count, value);
      if (in.fisher != nullptr) load_group(in.fisher, in.fisher_type, begin, count, fisher);
      FMC_UNROLL
      for (int k = 0; k < kGroup; ++k) {
        const double w = in.fisher != nullptr ? add(multiply(in.scale, fisher[k]), in.offset) : in.offset;
        const double term = multiply(w, value[k]);
        num[k] = i == 0 ? term : add(num[k], term);
        den[k] = i == 0 ? w : add(den[k], w);
      }
    }
    FMC_UNROLL
    for (int k = 0; k < kGroup; ++k) num[k] = divide(num[k], den[k]);
    if (j.base.data != nullptr) {
      double base[kGroup];
      load_group(j.base.data, j.base.type, begin, count, base);
      FMC_UNROLL
      for (int k = 0; k < kGroup; ++k) {
        num[k] = add(base[k], multiply(j.scaling_factor, add(num[k], -base[k])));
      }
    } else {
      FMC_UNROLL
      for (int k = 0; k < kGroup; ++k) num[k] = multiply(j.scaling_factor, num[k]);
    }
    store_group(j.out, j.out_type, begin, count, num);
  }
};

template <class Launch>
void weighted_average(Launch &launch, const fm_weighted_input *inputs, int64_t input_count, const fm_values *base,
                      double scaling_factor, void *out, int32_t out_type, int64_t count) {
  if (count == 0) return;
  weighted_average_kernel::job job = {};
  for (int64_t i = 0; i < input_count; ++i) job.inputs[i] = inputs[i];
  job.input_count = input_count;
  if (base != nullptr) job.base = *base;
  job.scaling_factor = scaling_factor;
  job.out = out;
  job.out_type = out_type;
  job.count = count;
  const int64_t past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out) % 16);
  job.head = min64(count, (16 - past) % 16 / bytes_of(out_type));
  const int64_t items = 1 + divide_up(count - job.head, kGroup);
  launch.template run<weighted_average_kernel>(blocks_for<weighted_average_kernel>(items, 1), job);
}

}  // namespace fmc
