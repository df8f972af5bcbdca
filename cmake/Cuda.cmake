# CUDA's compiler decides whether native/cuda is built: no GPU or driver is needed for that, nor for the tests.
set(FM_CUDA AUTO CACHE STRING "The kernels for NVIDIA GPUs: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE FM_CUDA PROPERTY STRINGS AUTO ON OFF)
# Code for data-centre and desktop chips from Ampere on, and PTX, from which the driver makes code for later ones.
set(FM_CUDA_ARCHITECTURES "80-real;90a-real;100-real;120" CACHE STRING "What the CUDA kernels are compiled for")

set(FM_CUDA_FOUND OFF)
if(FM_CUDA STREQUAL "ON" OR (FM_CUDA STREQUAL "AUTO" AND CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT CMAKE_CROSSCOMPILING
                             AND NOT FM_SANITIZE))
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_ARCHITECTURES ${FM_CUDA_ARCHITECTURES})
    enable_language(CUDA)
    set(FM_CUDA_FOUND ON)
  elseif(FM_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FM_CUDA is ON and there is no CUDA compiler: put nvcc on the PATH or set CUDACXX")
  endif()
endif()
