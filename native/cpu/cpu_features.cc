#include "cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

namespace fm {
namespace {

// The register states the operating system saves; instructions may be listed by CPUID and still fault without it.
uint64_t saved_states() {
  uint32_t low;
  uint32_t high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

constexpr uint64_t kXmmYmm = 0x06;
constexpr uint64_t kMaskZmm = 0xE0;

constexpr uint32_t kFma = 1u << 12, kOsXsave = 1u << 27, kAvx = 1u << 28, kF16c = 1u << 29;                 // leaf 1 ecx
constexpr uint32_t kAvx2 = 1u << 5;                                                                        // leaf 7 ebx
constexpr uint32_t kAvx512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);                            // F DQ BW VL

bool has(uint32_t leaf7, uint64_t states) {
  uint32_t eax, ebx, ecx, edx;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return false;
  const uint32_t leaf1 = kFma | kOsXsave | kAvx | kF16c;
  if ((ecx & leaf1) != leaf1 || (saved_states() & states) != states) return false;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & leaf7) == leaf7;
}

}  // namespace

bool has_avx2() { return has(kAvx2, kXmmYmm); }
bool has_avx512() { return has(kAvx2 | kAvx512, kXmmYmm | kMaskZmm); }

}  // namespace fm
#endif
