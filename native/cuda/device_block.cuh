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

inline void order(const device_launch &before, const device_launch &after) {
  emulated_order(before.stream, after.stream);
}

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

// The rest of a block's instructions, which compute capability 9.0 has and no other, before or after.
#define FMC_8_SUMS(n) "+f"(sum[n]), "+f"(sum[n + 1]), "+f"(sum[n + 2]), "+f"(sum[n + 3]), "+f"(sum[n + 4]), \
                      "+f"(sum[n + 5]), "+f"(sum[n + 6]), "+f"(sum[n + 7])
#define FMC_64_SUMS FMC_8_SUMS(0), FMC_8_SUMS(8), FMC_8_SUMS(16), FMC_8_SUMS(24), FMC_8_SUMS(32), FMC_8_SUMS(40), \
                    FMC_8_SUMS(48), FMC_8_SUMS(56)
#define FMC_64_REGISTERS                                                                                              \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "   \
  "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, "    \
  "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"

template <class Kernel>
struct cluster_block : device_block<Kernel> {
  // Clusters are laid out along the grid's only dimension.
  FMC_DEVICE int rank() const { return static_cast<int>(blockIdx.x % Kernel::kCluster); }
  FMC_DEVICE int uniform(int x) const { return __shfl_sync(0xFFFFFFFF, x, 0); }
  // Also makes initialised barriers known to the other blocks.
  FMC_DEVICE void cluster_barrier() const {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
  }
  FMC_DEVICE void barrier_init(uint64_t *barrier, int arrivals) const {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
  }
  // As in barrier_wait, the condition is in the assembly.
  FMC_DEVICE void barrier_arrive(uint64_t *barrier, int rank, bool really) const {
    asm volatile(
        "{\n.reg .pred p;\n.reg .b32 there;\nsetp.ne.b32 p, %2, 0;\n@p mapa.shared::cluster.u32 there, %0, %1;\n"
        "@p mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n}" ::"r"(shared_address(barrier)),
        "r"(rank), "r"(static_cast<int>(really))
        : "memory");
  }
  FMC_DEVICE void barrier_expect(uint64_t *barrier, int bytes) const {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
  }
  FMC_DEVICE void barrier_wait(uint64_t *barrier, int parity) const {
    // One piece of assembly, so that the compiler does not take what follows for a path that threads reach one by one.
    asm volatile(
        "{\n.reg .pred p;\nagain:\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], %1;\n"
        "@!p bra again;\n}" ::"r"(shared_address(barrier)),
        "r"(parity)
        : "memory");
  }
  FMC_DEVICE void copy_bulk(char *to, const char *from, int bytes, uint64_t *barrier, unsigned ranks) const {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], "
        "%4;" ::"r"(shared_address(to)),
        "l"(from), "r"(bytes), "r"(shared_address(barrier)), "h"(static_cast<uint16_t>(ranks))
        : "memory");
  }

  FMC_DEVICE uint32_t address(const char *p) const { return shared_address(p); }
  // The compiler must neither move what uses the sums across these, nor keep copies of them.
  FMC_DEVICE void fence_sums(float (&sum)[64]) const { asm volatile("" : FMC_64_SUMS::"memory"); }
  FMC_DEVICE void multiply_begin(float (&sum)[64]) const {
    fence_sums(sum);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
  }
  FMC_DEVICE void multiply_commit() const { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
  template <int Pending>
  FMC_DEVICE void multiply_wait(float (&sum)[64]) const {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
    fence_sums(sum);
  }
  FMC_DEVICE void multiply_warpgroup_bf16(float (&sum)[64], uint64_t g, uint64_t a, bool add) const {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
                 FMC_64_REGISTERS ", %64, %65, p, 1, 1, 0, 0;\n}"
                 : FMC_64_SUMS
                 : "l"(g), "l"(a), "r"(static_cast<int>(add)));
  }
  FMC_DEVICE void multiply_warpgroup_tf32(float (&sum)[64], uint64_t g, uint64_t a, bool add) const {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 "
                 FMC_64_REGISTERS ", %64, %65, p, 1, 1;\n}"
                 : FMC_64_SUMS
                 : "l"(g), "l"(a), "r"(static_cast<int>(add)));
  }
};

// Compiled to nothing for other chips, where these kernels are never launched.
template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, 1)
    cluster_entry(const __grid_constant__ typename Kernel::job job) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) char cluster_memory[];
  cluster_block<Kernel> block;
  block.memory = cluster_memory;
  Kernel::run(block, job);
#endif
}

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

  template <class Kernel>
  void run_clusters(int64_t blocks, const typename Kernel::job &job) {
    if (status != FM_OK) return;
    if (blocks > INT32_MAX) {
      status = fail(FM_INVALID_ARGUMENT, "the operands are too large for one call: split them");
      return;
    }
    cudaLaunchAttribute cluster;
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {Kernel::kCluster, 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>(blocks));
    config.blockDim = dim3(Kernel::kThreads);
    config.dynamicSmemBytes = Kernel::kShared;
    config.stream = stream;
    config.attrs = &cluster;
    config.numAttrs = 1;
    status = check_device(
        cudaFuncSetAttribute(cluster_entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, Kernel::kShared),
        "a kernel could not have its shared memory");
    if (status != FM_OK) return;
    status = check_device(cudaLaunchKernelEx(&config, cluster_entry<Kernel>, job), "a kernel could not be started");
  }
};

inline int32_t order_streams(cudaStream_t before, cudaStream_t after) {
  cudaEvent_t event = nullptr;
  FMC_CHECK(check_device(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event could not be created"));
  cudaError_t error = cudaEventRecord(event, before);
  if (error == cudaSuccess) error = cudaStreamWaitEvent(after, event, 0);
  // It lives on until it has been waited for.
  const cudaError_t last = cudaEventDestroy(event);
  return check_device(error == cudaSuccess ? last : error, "streams could not be ordered");
}

inline void order(device_launch &before, device_launch &after) {
  if (before.status == FM_OK && before.stream != after.stream) before.status = order_streams(before.stream, after.stream);
  if (after.status == FM_OK) after.status = before.status;
}

}  // namespace fmc

#endif
