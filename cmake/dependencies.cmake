# Everything comes from Debian packages; scripts/setup installs them.
find_package(fmt REQUIRED)            # libfmt-dev
find_package(spdlog REQUIRED)         # libspdlog-dev
find_package(CLI11 REQUIRED)          # libcli11-dev
find_package(nlohmann_json REQUIRED)  # nlohmann-json3-dev
find_package(tomlplusplus REQUIRED)   # libtomlplusplus-dev
find_package(Threads REQUIRED)
set(BLA_VENDOR OpenBLAS)
find_package(BLAS REQUIRED)           # libopenblas-dev

# Debian's rapidcheck ships its CMake files; tests alone use it.
if(DUALPIPE_TESTS)
  find_package(GTest REQUIRED)        # libgtest-dev libgmock-dev
  find_package(rapidcheck REQUIRED)   # librapidcheck-dev
  include(GoogleTest)
endif()

# The MPI transport is built where MPI is found; everything else is complete without it.
set(DUALPIPE_HAS_MPI OFF)
if(DUALPIPE_MPI)
  find_package(MPI COMPONENTS C)      # libopenmpi-dev openmpi-bin
  set(DUALPIPE_HAS_MPI ${MPI_C_FOUND})
endif()
if(DUALPIPE_HAS_MPI)
  message(STATUS "MPI transport: built, with ${MPI_C_LIBRARIES}")
else()
  message(STATUS "MPI transport: not built (no MPI found, or DUALPIPE_MPI=OFF); "
                 "dualpipe-run offers --transport inproc")
endif()

# Compile again only what changed, across build directories and fresh clones.
find_program(CCACHE ccache)
if(CCACHE AND PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
