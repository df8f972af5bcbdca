// The `block` of portable.cuh on a device, and the `launch` that puts kernels on a stream. With FMC_EMULATED the launch
// runs them on emulated blocks, so that the same entry points make a library for machines without a GPU.
#pragma once

#if defined(FMC_EMULATED)

#include "emulated_block.h"
#include "emulated_device.h"
#include "status.h"

namespace fmc {

struct device_launch {
  void *stream;
  int32_t status = FM_OK;

  explicit device_launch(void *s) : stream(s) {}

  template <class Kernel>
  void run(int64_t blocks, const typename Kernel::job &job) {
    emulated_enqueue(stream, [blocks, job] {
      static thread_local emulated_launch launch;
      launch.run<Kernel>(blocks, job);
    });
  }
};

}  // namespace fmc

#else

#include <cuda_runtime.h>

#include "portable.cuh"
#include "status.h"

namespace fmc {

FMC_DEVICE uint32_t shared_address(const void *p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

template <class Kernel>
struct device_block {
  char *memory;

  FMC_DEVICE int64_t index() const { return blockIdx.x; }
  FMC_DEVICE int thread() const { return static_cast<int>(threadIdx.x); }
  FMC_DEVICE char *shared() const { return memory; }
  FMC_DEVICE void barrier() const { __syncthreads(); }

  FMC_DEVICE void copy_async(char *to, const char *from) const {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
  }
  FMC_DEVICE void commit_copies() const { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int Pending>
  FMC_DEVICE void wait_copies() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
  }

  FMC_DEVICE void load_matrices(uint32_t (&fragment)[4], const char *from) const {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(shared_address(from))
                 : "memory");
  }
  FMC_DEVICE void multiply_bf16(float *sum, const uint32_t (&a)[4], const uint32_t (&b)[2]) const {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
  FMC_DEVICE void multiply_tf32(float *sum, const uint32_t (&a)[4], const uint32_t (&b)[2]) const {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads) entry(const __grid_constant__ typename Kernel::job job) {
  __shared__ alignas(128) char memory[Kernel::kShared > 0 ? Kernel::kShared : 1];
  device_block<Kernel> block = {memory};
  Kernel::run(block, job);
}

// Enqueues kernels until one fails.
struct device_launch {
  cudaStream_t stream;
  int32_t status = FM_OK;

  explicit device_launch(void *s) : stream(static_cast<cudaStream_t>(s)) {}

  template <class Kernel>
  void run(int64_t blocks, const typename Kernel::job &job) {
    if (status != FM_OK) return;
    if (blocks > INT32_MAX) {
      status = fail(FM_INVALID_ARGUMENT, "the operands are too large for one call: split them");
      return;
    }
    entry<Kernel><<<static_cast<unsigned>(blocks), Kernel::kThreads, 0, stream>>>(job);
    status = check_device(cudaGetLastError(), "a kernel could not be started");
  }
};

}  // namespace fmc

#endif
