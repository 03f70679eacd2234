# Toolchain file: cross-compiles for 64-bit Arm on Debian, with its cross compiler and the libraries of its architecture
# arm64. Tests run in qemu. tools/test-aarch64 makes such a system.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
# mpicc is an Arm program: pkg-config knows Open MPI, and the script h5pcc gets another compiler.
set(MPI_SKIP_COMPILER_WRAPPER ON)
set(ENV{HDF5_CC} "aarch64-linux-gnu-gcc -I/usr/lib/aarch64-linux-gnu/openmpi/include")
set(ENV{HDF5_CLINKER} aarch64-linux-gnu-gcc)
set(ENV{HDF5_USE_SHLIB} yes)
