# The instruction-set tiers of the target architecture, lowest first, and each one's compiler flags. The same list, as
# C++, is FM_TIER_LIST in native/cpu/table.h.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(FM_TIERS baseline avx2 avx512)
  set(FM_TIER_FLAGS_baseline -msse2 -mno-sse3)
  set(FM_TIER_FLAGS_avx2 -mavx2 -mfma -mf16c -mtune=haswell)
  set(FM_TIER_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -mprefer-vector-width=512
                           -mtune=skylake-avx512)
  # GCC's own AVX-512 headers start from deliberately undefined registers and warn about it (GCC bug 105593).
  list(APPEND FM_TIER_FLAGS_avx512 -Wno-maybe-uninitialized -Wno-uninitialized)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(FM_TIERS baseline neon)
else()
  set(FM_TIERS baseline)
endif()

# fm_add_tiers(<library> <sources...>): compiles the sources once per tier into the library.
function(fm_add_tiers library)
  foreach(tier IN LISTS FM_TIERS)
    add_library(${library}_${tier} OBJECT ${ARGN})
    target_compile_definitions(${library}_${tier} PRIVATE FM_TIER=${tier} FM_TIER_${tier})
    target_compile_options(${library}_${tier} PRIVATE ${FM_TIER_FLAGS_${tier}})
    target_link_libraries(${library}_${tier} PRIVATE fm_kernel_options)
    target_sources(${library} PRIVATE $<TARGET_OBJECTS:${library}_${tier}>)
  endforeach()
endfunction()
