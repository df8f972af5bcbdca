// The dispatch table of one tier. Entry points in api.cc have checked every argument before they call through it.
#pragma once

#include "fisher_kernels.h"
#include "kernel_list.h"

struct fm_kernels {
  const char *isa;
#define FM_TABLE_FIELD(name, parameters, arguments) void(*name) parameters;
  FM_KERNEL_LIST(FM_TABLE_FIELD)
#undef FM_TABLE_FIELD
};

// FM_TIER_LIST(X): the tiers of this architecture, lowest first. Each is compiled by CMake with its own flags.
#if defined(__x86_64__)
#define FM_TIER_LIST(FM_TIER_ENTRY) FM_TIER_ENTRY(baseline) FM_TIER_ENTRY(avx2) FM_TIER_ENTRY(avx512)
#elif defined(__aarch64__)
#define FM_TIER_LIST(FM_TIER_ENTRY) FM_TIER_ENTRY(baseline) FM_TIER_ENTRY(neon)
#else
#define FM_TIER_LIST(FM_TIER_ENTRY) FM_TIER_ENTRY(baseline)
#endif

namespace fm {
#define FM_DECLARE_TABLE(tier) \
  namespace tier {             \
  extern const fm_kernels table; \
  }
FM_TIER_LIST(FM_DECLARE_TABLE)
#undef FM_DECLARE_TABLE
}  // namespace fm
