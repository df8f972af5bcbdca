// Runs the kernels of native/cuda in an ordinary program: the threads of a block are fibers that take turns at barriers
// and at what a warp does together, and the instructions are computed from the PTX manual's definition of their
// fragments. What a device would only punish now and then is an error here: shared memory starts as NaN, an asynchronous
// copy arrives as late as the waits allow, threads take turns in either order, and ldmatrix reports bank conflicts.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include <vector>

#include "portable.cuh"

namespace fmc {

constexpr int kLanes = 32;

class emulated_block {
 public:
  int64_t index() const { return index_; }
  int thread() const { return current_; }
  char *shared() { return shared_; }

  void barrier() { wait_for(&arrived_, &generation_, threads_); }

  void copy_async(char *to, const char *from) {
    if (!is_aligned(to) || !is_aligned(from)) stop("a copy is not aligned");
    state().open.push_back({to, from});
  }
  void commit_copies() {
    state().groups.push_back(state().open);
    state().open.clear();
  }
  template <int Pending>
  void wait_copies() {
    std::vector<std::vector<copy>> &groups = state().groups;
    while (groups.size() > Pending) {
      for (const copy &c : groups.front()) memcpy(c.to, c.from, 16);
      groups.erase(groups.begin());
    }
  }

  void load_matrices(uint32_t (&fragment)[4], const char *from) {
    if (!is_aligned(from)) stop("ldmatrix: a row is not aligned");
    exchange &e = next_exchange();
    const int lane = current_ % kLanes;
    e.rows[lane] = from;
    meet_warp();
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint32_t banks = 0;
      for (int k = 0; k < 8; ++k) banks |= 1u << (reinterpret_cast<uintptr_t>(e.rows[8 * matrix + k]) / 16 % 8);
      if (banks != 0xFF) ++bank_conflicts;
      memcpy(&fragment[matrix], e.rows[8 * matrix + lane / 4] + lane % 4 * 4, 4);
    }
  }

  void multiply_bf16(float *sum, const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    multiply_fragments<16>(sum, a, b, [](const uint32_t *left, int r, int k) {
      return bf16_half(left, r / 8 + k / 8 * 2, k % 2);
    }, [](const uint32_t *right, int k) { return bf16_half(right, k / 8, k % 2); },
    [](int k) { return k % 8 / 2; });
  }
  void multiply_tf32(float *sum, const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    multiply_fragments<8>(sum, a, b, [](const uint32_t *left, int r, int k) {
      return tf32_value(left[r / 8 + k / 4 * 2]);
    }, [](const uint32_t *right, int k) { return tf32_value(right[k / 4]); }, [](int k) { return k % 4; });
  }

  // One block of the grid.
  template <class Kernel>
  void run(int64_t block, const typename Kernel::job &job) {
    begin(block, Kernel::kThreads, Kernel::kShared);
    body_ = [](emulated_block &self, const void *j) {
      Kernel::run(self, *static_cast<const typename Kernel::job *>(j));
    };
    job_ = &job;
    finish();
  }

  int64_t bank_conflicts = 0;

 private:
  static constexpr int kMaxThreads = 256;
  static constexpr int kMaxShared = 48 << 10;
  static constexpr size_t kStack = 128 << 10;

  struct copy {
    char *to;
    const char *from;
  };
  struct exchange {
    const char *rows[kLanes];
    uint32_t a[kLanes][4];
    uint32_t b[kLanes][2];
  };
  struct thread_state {
    ucontext_t context;
    std::vector<char> stack;
    std::vector<copy> open;
    std::vector<std::vector<copy>> groups;
    const int64_t *awaited = nullptr;  // runs on when this is no longer `seen`
    int64_t seen = 0;
    int exchanges = 0;
    bool done = false;
  };
  struct warp_state {
    int arrived = 0;
    int64_t generation = 0;
    exchange slots[2];  // a lane can be one exchange ahead of the slowest, not two
  };

  [[noreturn]] static void stop(const char *reason) {
    fprintf(stderr, "emulated block: %s\n", reason);
    abort();
  }

  static double bf16_half(const uint32_t *registers, int which, int half) {
    return static_cast<double>(float_from_bits(registers[which] >> (16 * half) << 16));
  }
  static double tf32_value(uint32_t bits) {
    if ((bits & 0x1FFF) != 0) stop("an operand is not a tf32 value");
    return static_cast<double>(float_from_bits(bits));
  }

  // D[r][c] = C[r][c] + sum_k A[r][k] B[k][c]. lane_of(k): which of the four lanes of a row of A, or column of B, has k.
  template <int Depth, class Left, class Right, class LaneOf>
  void multiply_fragments(float *sum, const uint32_t (&a)[4], const uint32_t (&b)[2], Left left, Right right,
                          LaneOf lane_of) {
    exchange &e = next_exchange();
    const int lane = current_ % kLanes;
    memcpy(e.a[lane], a, sizeof a);
    memcpy(e.b[lane], b, sizeof b);
    meet_warp();
    for (int k = 0; k < 4; ++k) {
      const int r = lane / 4 + k / 2 * 8;
      const int c = lane % 4 * 2 + k % 2;
      double total = static_cast<double>(sum[k]);
      for (int d = 0; d < Depth; ++d) {
        total += left(e.a[r % 8 * 4 + lane_of(d)], r, d) * right(e.b[c * 4 + lane_of(d)], d);
      }
      sum[k] = static_cast<float>(total);
    }
  }

  thread_state &state() { return states_[static_cast<size_t>(current_)]; }
  warp_state &warp() { return warps_[static_cast<size_t>(current_ / kLanes)]; }
  exchange &next_exchange() { return warp().slots[state().exchanges++ % 2]; }
  void meet_warp() { wait_for(&warp().arrived, &warp().generation, kLanes); }

  void wait_for(int *arrived, int64_t *generation, int all) {
    if (++*arrived == all) {
      *arrived = 0;
      ++*generation;
      return;
    }
    state().awaited = generation;
    state().seen = *generation;
    swapcontext(&state().context, &scheduler_);
  }

  void begin(int64_t block, int threads, int shared) {
    if (threads > kMaxThreads || shared > kMaxShared) stop("the block is too large");
    index_ = block;
    threads_ = threads;
    if (states_.empty()) {
      states_.resize(kMaxThreads);
      warps_.resize(kMaxThreads / kLanes);
    }
    memset(shared_, 0xFF, sizeof shared_);
    generation_ = 0;
    arrived_ = 0;
  }

  void finish() {
    for (current_ = 0; current_ < threads_; ++current_) {
      thread_state &s = state();
      s.stack.resize(kStack);
      s.awaited = nullptr;
      s.exchanges = 0;
      s.done = false;
      s.open.clear();
      s.groups.clear();
      getcontext(&s.context);
      s.context.uc_stack.ss_sp = s.stack.data();
      s.context.uc_stack.ss_size = kStack;
      s.context.uc_link = &scheduler_;
      // makecontext passes ints: the address goes in two halves.
      const uint64_t self = reinterpret_cast<uintptr_t>(this);
      makecontext(&s.context, reinterpret_cast<void (*)()>(&enter), 2, static_cast<unsigned>(self >> 32),
                  static_cast<unsigned>(self));
    }
    const bool backwards = index_ % 2 == 1;
    for (int left = threads_; left > 0;) {
      bool moved = false;
      for (int k = 0; k < threads_; ++k) {
        current_ = backwards ? threads_ - 1 - k : k;
        thread_state &s = state();
        if (s.done || (s.awaited != nullptr && *s.awaited == s.seen)) continue;
        s.awaited = nullptr;
        moved = true;
        swapcontext(&scheduler_, &s.context);
        if (s.done) --left;
      }
      if (!moved) stop("not all threads came to a barrier");
    }
  }

  static void enter(unsigned high, unsigned low) {
    emulated_block *self = reinterpret_cast<emulated_block *>(static_cast<uintptr_t>(uint64_t{high} << 32 | low));
    self->body_(*self, self->job_);
    self->state().done = true;
  }

  alignas(128) char shared_[kMaxShared];
  int64_t index_ = 0;
  int threads_ = 0;
  int current_ = 0;
  int arrived_ = 0;
  int64_t generation_ = 0;
  std::vector<thread_state> states_;
  std::vector<warp_state> warps_;
  ucontext_t scheduler_;
  void (*body_)(emulated_block &, const void *) = nullptr;
  const void *job_ = nullptr;
};

struct emulated_launch {
  emulated_block block;

  template <class Kernel>
  void run(int64_t blocks, const typename Kernel::job &job) {
    for (int64_t b = 0; b < blocks; ++b) block.run<Kernel>(b, job);
  }
};

}  // namespace fmc
