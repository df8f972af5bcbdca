// What lets one kernel source run on a device and, thread by thread, in an ordinary C++ program.
//
// A kernel is a struct with
//   job              its arguments, passed by value
//   kThreads         threads of a block
//   kShared          bytes of shared memory of a block
//   run(block, job)  what one thread does
// where `block` is a device_block (device_block.cuh) or an emulated_block (tests/emulated_block.h), with
//   index(), thread()                       of this block in the grid, of this thread in its block
//   shared()                                kShared bytes, 128-byte aligned
//   barrier()                               of all threads of the block
//   copy_async(to, from), commit_copies(), wait_copies<N>()   16 bytes each, from global to shared memory, in groups
//   load_matrices(fragment, row)            ldmatrix.x4
//   multiply_bf16(sum, a, b), multiply_tf32(sum, a, b)        mma.m16n8k16 and mma.m16n8k8
// and, in a kernel of clusters of kCluster blocks, for compute capability 9.0 alone,
//   rank(), cluster_barrier()               of this block in its cluster; of all threads of the cluster
//   uniform(x)                              x, the same in all threads of a warp, as the compiler then knows
//   barrier_init, barrier_wait, barrier_expect, barrier_arrive    mbarriers in shared memory, the last in any block
//   copy_bulk(to, from, bytes, barrier, ranks)                    cp.async.bulk to the same place in several blocks
//   address(p)                                                    of shared memory, as descriptors want it
//   multiply_begin, multiply_warpgroup_bf16 / _tf32, multiply_commit, multiply_wait<N>   wgmma.m64n128
// A sequence of kernels is a function of a `launch` with run<Kernel>(blocks, job), and run_clusters<Kernel>: on a stream,
// or one block after the other. order(before, after) makes what will be put on one launch wait for what is on another.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "fisher_kernels_cuda.h"

#if defined(__CUDACC__)
#define FMC_DEVICE __device__ __forceinline__
#define FMC_BOTH __host__ __device__ __forceinline__
#define FMC_UNROLL _Pragma("unroll")
#else
#define FMC_DEVICE inline
#define FMC_BOTH inline
#define FMC_UNROLL
#endif

namespace fmc {

FMC_BOTH int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
FMC_BOTH int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
FMC_BOTH int64_t max64(int64_t a, int64_t b) { return a < b ? b : a; }

// 16 bytes of operands.
struct alignas(16) words {
  uint32_t word[4];
};

// Arithmetic that no compiler contracts, whatever its flags.
FMC_DEVICE double multiply(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}
FMC_DEVICE double add(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dadd_rn(a, b);
#else
  return a + b;
#endif
}
FMC_DEVICE double divide(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __ddiv_rn(a, b);
#else
  return a / b;
#endif
}
FMC_DEVICE float multiply(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
FMC_DEVICE float add(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}

// Operands that are read once: evicted first from the caches.
FMC_DEVICE words load_once(const void *p) {
#if defined(__CUDA_ARCH__)
  const uint4 x = __ldcs(static_cast<const uint4 *>(p));
  return {{x.x, x.y, x.z, x.w}};
#else
  return *static_cast<const words *>(p);
#endif
}
FMC_DEVICE void store_once(void *p, words x) {
#if defined(__CUDA_ARCH__)
  __stcs(static_cast<uint4 *>(p), make_uint4(x.word[0], x.word[1], x.word[2], x.word[3]));
#else
  *static_cast<words *>(p) = x;
#endif
}

FMC_BOTH bool is_aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

FMC_DEVICE uint32_t float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}
FMC_DEVICE float float_from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

FMC_DEVICE const float *row(const fm_cotangents &g, int64_t probe, int64_t example, int64_t token) {
  return g.data + (probe * g.probe_stride + example * g.example_stride + token * g.token_stride);
}
FMC_DEVICE const float *row(const fm_activations &a, int64_t example, int64_t token) {
  return a.data + (example * a.example_stride + token * a.token_stride);
}
FMC_DEVICE float weight(const fm_cotangents &g, int64_t probe, int64_t example) {
  return g.weights == nullptr ? 1.0f : g.weights[probe * g.weight_probe_stride + example];
}

// Blocks for `count` elements, `each` of them per thread.
template <class Kernel>
int64_t blocks_for(int64_t count, int64_t each) {
  return divide_up(count, each * Kernel::kThreads);
}

}  // namespace fmc
