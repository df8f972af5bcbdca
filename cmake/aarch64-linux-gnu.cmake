# Debian/Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
find_program(FM_QEMU qemu-aarch64)
if(FM_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${FM_QEMU};-L;/usr/aarch64-linux-gnu)
endif()
