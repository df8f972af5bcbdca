# CUDA's compiler decides whether native/cuda is built: no GPU or driver is needed for that, nor for the tests.
set(FM_CUDA AUTO CACHE STRING "The kernels for NVIDIA GPUs: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE FM_CUDA PROPERTY STRINGS AUTO ON OFF)
# RELEASE is code for data-centre and desktop chips from Ampere on, and PTX, from which the driver makes code for later
# ones. Each takes nvcc as long as the first: 80 alone is code and PTX for Ampere, which runs on all of them too.
set(FM_CUDA_ARCHITECTURES RELEASE CACHE STRING
    "What the CUDA kernels are compiled for: RELEASE, or a list as in CMAKE_CUDA_ARCHITECTURES")

set(FM_CUDA_FOUND OFF)
if(FM_CUDA STREQUAL "ON" OR (FM_CUDA STREQUAL "AUTO" AND CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT CMAKE_CROSSCOMPILING
                             AND NOT FM_SANITIZE))
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    string(REPLACE RELEASE "80-real;90a-real;100-real;120" CMAKE_CUDA_ARCHITECTURES "${FM_CUDA_ARCHITECTURES}")
    enable_language(CUDA)
    set(FM_CUDA_FOUND ON)
  elseif(FM_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FM_CUDA is ON and there is no CUDA compiler: put nvcc on the PATH or set CUDACXX")
  endif()
endif()
