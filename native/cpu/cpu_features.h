// What this machine and its operating system can run.
#pragma once

namespace fm {

bool has_avx2();    // AVX2, FMA, F16C, and ymm state saved by the system
bool has_avx512();  // has_avx2() and AVX-512 F, BW, DQ, VL, and zmm and mask state saved by the system

}  // namespace fm
