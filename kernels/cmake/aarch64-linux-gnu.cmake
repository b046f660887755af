# Builds for 64-bit ARM on another machine and runs the tests under user-mode emulation:
#   cmake -S . -B build/neon -DCMAKE_TOOLCHAIN_FILE=kernels/cmake/aarch64-linux-gnu.cmake -DPIPO_BUILD_ADDON=OFF \
#     -DPIPO_BUILD_TESTS=ON && cmake --build build/neon && ctest --test-dir build/neon
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# Static, so that the emulator needs no copy of the target's libraries.
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
find_program(PIPO_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(PIPO_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${PIPO_QEMU})
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
