# FM_SANITIZE=ON builds everything with the address and undefined-behaviour sanitizers, failing on the first finding.
option(FM_SANITIZE "Build with address and undefined-behaviour sanitizers" OFF)

add_library(fm_sanitizers INTERFACE)
if(FM_SANITIZE)
  target_compile_options(fm_sanitizers INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all
                                                 -fno-omit-frame-pointer)
  target_link_options(fm_sanitizers INTERFACE -fsanitize=address,undefined)
endif()
