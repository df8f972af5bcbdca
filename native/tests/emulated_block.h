// Runs the kernels of native/cuda in an ordinary program: the threads of a block are fibers that take turns at barriers
// and at what a warp does together, and the instructions are computed from the PTX manual's definition of their
// fragments. What a device would only punish now and then is an error here: shared memory starts as NaN, an asynchronous
// copy arrives as late as the waits allow, threads take turns in either order, and ldmatrix reports bank conflicts. Of a
// cluster, all blocks run at once; copies in bulk arrive at once in every other cluster, and elsewhere when no thread
// can go on without them; what warpgroups multiply is read and written when it is waited for.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include <map>
#include <memory>
#include <vector>

#include "portable.cuh"

namespace fmc {

constexpr int kLanes = 32;

class emulated_block;

// The blocks of a cluster, and the copies in bulk that are under way.
struct emulated_cluster {
  struct copy {
    emulated_block *block;
    int64_t to;       // from the start of shared memory
    const char *from;
    int64_t bytes;
    int64_t barrier;  // likewise
  };
  std::vector<emulated_block *> blocks;
  std::vector<copy> copies;
  bool late = false;
};

class emulated_block {
 public:
  int64_t index() const { return index_; }
  int thread() const { return current_; }
  char *shared() { return shared_; }

  // ---- clusters ----

  int rank() const { return rank_; }
  int uniform(int x) const { return x; }
  void cluster_barrier() {
    emulated_block &first = *cluster_->blocks.front();
    wait_for(&first.cluster_arrived_, &first.cluster_generation_,
             threads_ * static_cast<int>(cluster_->blocks.size()));
  }
  void barrier_init(uint64_t *barrier, int arrivals) { barriers_[offset_of(barrier)] = {arrivals, arrivals, 0, 0}; }
  void barrier_arrive(uint64_t *barrier, int rank, bool really) {
    if (really) member(rank).arrive(offset_of(barrier));
  }
  void barrier_expect(uint64_t *barrier, int bytes) {
    barrier_at(offset_of(barrier)).bytes += bytes;
    arrive(offset_of(barrier));
  }
  void barrier_wait(uint64_t *barrier, int parity) {
    const barrier_state &b = barrier_at(offset_of(barrier));
    while (b.phase % 2 == parity) wait_until_changed(&b.phase);
  }
  void copy_bulk(char *to, const char *from, int bytes, uint64_t *barrier, unsigned ranks) {
    if (!is_aligned(to) || !is_aligned(from) || bytes % 16 != 0) stop("a copy in bulk is not aligned");
    for (int r = 0; r < static_cast<int>(cluster_->blocks.size()); ++r) {
      if ((ranks >> r & 1) == 0) continue;
      cluster_->copies.push_back({&member(r), offset_of(to), from, bytes, offset_of(barrier)});
      if (!cluster_->late) deliver(*cluster_, cluster_->copies.size() - 1);
    }
  }
  static void deliver(emulated_cluster &cluster, size_t which) {
    const emulated_cluster::copy c = cluster.copies[which];
    cluster.copies.erase(cluster.copies.begin() + static_cast<std::ptrdiff_t>(which));
    memcpy(c.block->shared_ + c.to, c.from, static_cast<size_t>(c.bytes));
    barrier_state &b = c.block->barrier_at(c.barrier);
    b.bytes -= c.bytes;
    b.complete();
  }

  // ---- warpgroups ----

  uint32_t address(const char *p) const { return static_cast<uint32_t>(p - shared_); }
  void multiply_begin(float *) {}
  void multiply_warpgroup_bf16(float *sum, uint64_t g, uint64_t a, bool add) {
    state().products.push_back({sum, g, a, add, true});
  }
  void multiply_warpgroup_tf32(float *sum, uint64_t g, uint64_t a, bool add) {
    state().products.push_back({sum, g, a, add, false});
  }
  void multiply_commit() {
    state().product_groups.push_back(state().products);
    state().products.clear();
  }
  template <int Pending>
  void multiply_wait(float *) {
    std::vector<std::vector<product>> &groups = state().product_groups;
    while (groups.size() > Pending) {
      for (const product &p : groups.front()) multiply(p);
      groups.erase(groups.begin());
    }
  }

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

  // Readies a block of the grid, one of `cluster`.
  template <class Kernel>
  void begin(int64_t block, int rank, emulated_cluster *cluster, const typename Kernel::job &job) {
    body_ = [](emulated_block &self, const void *j) {
      Kernel::run(self, *static_cast<const typename Kernel::job *>(j));
    };
    job_ = &job;
    rank_ = rank;
    cluster_ = cluster;
    begin(block, Kernel::kThreads, Kernel::kShared);
  }

  // Runs all blocks of a cluster to their ends.
  static void finish(emulated_cluster &cluster) {
    for (bool running = true; running;) {
      running = false;
      bool moved = false;
      for (emulated_block *b : cluster.blocks) {
        moved |= b->advance();
        running |= b->left_ > 0;
      }
      if (moved || !running) continue;
      if (cluster.copies.empty()) stop("not all threads came to a barrier");
      deliver(cluster, 0);
    }
    if (!cluster.copies.empty()) stop("a block ended before its copies came");
  }

  int64_t bank_conflicts = 0;

 private:
  static constexpr int kMaxThreads = 288;
  static constexpr int kMaxShared = 227 << 10;
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
  struct product {
    float *sum;
    uint64_t g;
    uint64_t a;
    bool add;
    bool bf16;
  };
  struct barrier_state {
    int arrivals;
    int pending;
    int64_t bytes;
    int64_t phase;
    void complete() {
      if (pending > 0 || bytes != 0) return;
      pending = arrivals;
      ++phase;
    }
  };
  using jump = void *[5];  // of __builtin_setjmp
  struct thread_state {
    jump here;
    std::vector<char> stack;
    std::vector<copy> open;
    std::vector<std::vector<copy>> groups;
    std::vector<product> products;
    std::vector<std::vector<product>> product_groups;
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
    wait_until_changed(generation);
  }
  void wait_until_changed(const int64_t *what) {
    state().awaited = what;
    state().seen = *what;
    switch_to(scheduler_, state().here);
  }

  // swapcontext would change the signal mask too, by a system call that takes many times as long. The compiler wants the
  // two halves in functions of their own.
  __attribute__((noinline, no_sanitize("address"))) static void switch_to(jump &there, jump &here) {
    if (__builtin_setjmp(here) == 0) go_on(there);
  }
  [[noreturn]] __attribute__((noinline, no_sanitize("address"))) static void go_on(jump &there) {
    __builtin_longjmp(there, 1);
  }

  emulated_block &member(int rank) { return *cluster_->blocks[static_cast<size_t>(rank)]; }
  int64_t offset_of(const void *p) const { return static_cast<const char *>(p) - shared_; }
  barrier_state &barrier_at(int64_t offset) {
    if (left_ == 0) stop("a block's shared memory is used after it ended");
    const auto found = barriers_.find(offset);
    if (found == barriers_.end()) stop("a barrier was not initialised");
    return found->second;
  }
  void arrive(int64_t barrier) {
    barrier_state &b = barrier_at(barrier);
    if (--b.pending < 0) stop("more threads came to a barrier than it has");
    b.complete();
  }

  // wgmma.m64n128 of this thread's sums, operands where their descriptors say: 8 x 16 bytes in a row, the second half of
  // the tokens `leading`, the next 8 rows `stride` bytes on.
  const char *operand(uint64_t descriptor, int row, int byte) const {
    const int64_t start = static_cast<int64_t>(descriptor & 0x3FFF) * 16;
    const int64_t leading = static_cast<int64_t>(descriptor >> 16 & 0x3FFF) * 16;
    const int64_t stride = static_cast<int64_t>(descriptor >> 32 & 0x3FFF) * 16;
    if (descriptor >> 46 != 0) stop("a descriptor of another layout");
    return shared_ + start + byte / 16 * leading + row / 8 * stride + row % 8 * 16 + byte % 16;
  }
  double operand_value(uint64_t descriptor, int row, int k, bool bf16) const {
    uint32_t bits = 0;
    if (bf16) {
      uint16_t half;
      memcpy(&half, operand(descriptor, row, 2 * k), 2);
      bits = static_cast<uint32_t>(half) << 16;
    } else {
      memcpy(&bits, operand(descriptor, row, 4 * k), 4);
    }
    return bf16 ? static_cast<double>(float_from_bits(bits)) : tf32_value(bits);
  }
  void multiply(const product &p) {
    const int depth = p.bf16 ? 16 : 8;
    const int thread = current_ % 128;
    double left[2][16];
    for (int r = 0; r < 2; ++r) {
      for (int d = 0; d < depth; ++d) {
        left[r][d] = operand_value(p.g, thread / kLanes * 16 + r * 8 + thread % kLanes / 4, d, p.bf16);
      }
    }
    for (int c = 0; c < 32; ++c) {
      double right[16];
      for (int d = 0; d < depth; ++d) {
        right[d] = operand_value(p.a, c / 2 * 8 + thread % 4 * 2 + c % 2, d, p.bf16);
      }
      for (int r = 0; r < 2; ++r) {
        float &sum = p.sum[c / 2 * 4 + r * 2 + c % 2];
        double total = p.add ? static_cast<double>(sum) : 0.0;
        for (int d = 0; d < depth; ++d) total += left[r][d] * right[d];
        sum = static_cast<float>(total);
      }
    }
  }

  void begin(int64_t block, int threads, int shared) {
    if (threads > kMaxThreads || shared > kMaxShared) stop("the block is too large");
    index_ = block;
    threads_ = threads;
    if (states_.empty()) {
      states_.resize(kMaxThreads);
      warps_.resize(kMaxThreads / kLanes);
      for (current_ = 0; current_ < kMaxThreads; ++current_) create_thread();
    }
    memset(shared_, 0xFF, static_cast<size_t>(shared));
    barriers_.clear();
    generation_ = cluster_generation_ = 0;
    arrived_ = cluster_arrived_ = 0;
    left_ = threads;
    for (current_ = 0; current_ < threads_; ++current_) {
      thread_state &s = state();
      s.awaited = nullptr;
      s.exchanges = 0;
      s.done = false;
      s.open.clear();
      s.groups.clear();
      s.products.clear();
      s.product_groups.clear();
    }
  }

  // A stack, and a fiber on it that waits for its first block.
  void create_thread() {
    thread_state &s = state();
    s.stack.resize(kStack);
    ucontext_t start;
    ucontext_t back;
    getcontext(&start);
    start.uc_stack.ss_sp = s.stack.data();
    start.uc_stack.ss_size = kStack;
    start.uc_link = &back;
    // makecontext passes ints: the address goes in two halves.
    const uint64_t self = reinterpret_cast<uintptr_t>(this);
    makecontext(&start, reinterpret_cast<void (*)()>(&enter), 2, static_cast<unsigned>(self >> 32),
                static_cast<unsigned>(self));
    start_ = &back;
    swapcontext(&back, &start);
  }

  // Lets every thread that can go on run until it waits; whether any could.
  bool advance() {
    const bool backwards = index_ % 2 == 1;
    bool moved = false;
    for (int k = 0; k < threads_; ++k) {
      current_ = backwards ? threads_ - 1 - k : k;
      thread_state &s = state();
      if (s.done || (s.awaited != nullptr && *s.awaited == s.seen)) continue;
      s.awaited = nullptr;
      moved = true;
      switch_to(s.here, scheduler_);
      if (s.done) --left_;
    }
    return moved;
  }

  static void enter(unsigned high, unsigned low) {
    emulated_block *self = reinterpret_cast<emulated_block *>(static_cast<uintptr_t>(uint64_t{high} << 32 | low));
    if (__builtin_setjmp(self->state().here) == 0) setcontext(self->start_);
    for (;;) {
      self->body_(*self, self->job_);
      self->state().done = true;
      switch_to(self->scheduler_, self->state().here);
    }
  }

  alignas(128) char shared_[kMaxShared];
  std::map<int64_t, barrier_state> barriers_;
  emulated_cluster *cluster_ = nullptr;
  int rank_ = 0;
  int left_ = 0;
  int cluster_arrived_ = 0;
  int64_t cluster_generation_ = 0;
  int64_t index_ = 0;
  int threads_ = 0;
  int current_ = 0;
  int arrived_ = 0;
  int64_t generation_ = 0;
  std::vector<thread_state> states_;
  std::vector<warp_state> warps_;
  jump scheduler_;
  const ucontext_t *start_ = nullptr;
  void (*body_)(emulated_block &, const void *) = nullptr;
  const void *job_ = nullptr;
};

// Blocks are large, and kept for the next launch.
struct emulated_launch {
  std::vector<std::unique_ptr<emulated_block>> blocks;

  template <class Kernel>
  void run(int64_t count, const typename Kernel::job &job) {
    for (int64_t b = 0; b < count; ++b) run_together<Kernel>(b, 1, job);
  }

  template <class Kernel>
  void run_clusters(int64_t count, const typename Kernel::job &job) {
    for (int64_t b = 0; b < count; b += Kernel::kCluster) run_together<Kernel>(b, Kernel::kCluster, job);
  }

  int64_t bank_conflicts() const {
    int64_t all = 0;
    for (const auto &b : blocks) all += b->bank_conflicts;
    return all;
  }

 private:
  template <class Kernel>
  void run_together(int64_t first, int count, const typename Kernel::job &job) {
    emulated_cluster cluster;
    cluster.late = first / count % 2 == 0;
    for (int r = 0; r < count; ++r) {
      if (static_cast<int>(blocks.size()) == r) blocks.push_back(std::make_unique<emulated_block>());
      cluster.blocks.push_back(blocks[static_cast<size_t>(r)].get());
    }
    for (int r = 0; r < count; ++r) cluster.blocks[static_cast<size_t>(r)]->begin<Kernel>(first + r, r, &cluster, job);
    emulated_block::finish(cluster);
  }
};

// Everything has run already.
inline void order(const emulated_launch &, const emulated_launch &) {}

}  // namespace fmc
