# The GPU backends are built where NVIDIA's toolkit is found (nvcc on PATH, or CUDACXX); everything
# else is complete without them. NVIDIA's driver is never linked: a program built here starts on a
# machine without one, and says so when it is asked for a GPU.
set(DUALPIPE_HAS_CUDA OFF)
set(no_cuda "DUALPIPE_CUDA=OFF")
if(DUALPIPE_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
  set(no_cuda "no CUDA compiler found")
  if(CMAKE_CUDA_COMPILER)
    # The A100's, the H100's and the B200's, unless told otherwise.
    set(CMAKE_CUDA_ARCHITECTURES "80;90;100" CACHE STRING "GPU architectures to compile for")
    set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
    enable_language(CUDA)
    # CMake 3.25.1 does not know that nvcc has C++20.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    find_package(CUDAToolkit REQUIRED)
    set(DUALPIPE_HAS_CUDA ON)
  endif()
endif()
if(DUALPIPE_HAS_CUDA)
  message(STATUS "CUDA backend: built for ${CMAKE_CUDA_ARCHITECTURES}, "
                 "with toolkit ${CUDAToolkit_VERSION}")
else()
  message(STATUS "CUDA backend: not built (${no_cuda}); models compute on the host")
endif()

# The options of NCCL's communicators that we need came with 2.18.
set(DUALPIPE_HAS_NCCL OFF)
set(no_nccl "DUALPIPE_NCCL=OFF")
if(NOT DUALPIPE_HAS_CUDA)
  set(no_nccl "it needs the CUDA backend")
elseif(DUALPIPE_NCCL)
  list(APPEND CMAKE_MODULE_PATH ${PROJECT_SOURCE_DIR}/cmake)
  find_package(NCCL 2.18)
  set(DUALPIPE_HAS_NCCL ${NCCL_FOUND})
  set(no_nccl "no NCCL 2.18 or later found")
endif()
if(DUALPIPE_HAS_NCCL)
  message(STATUS "NCCL transport: built, with NCCL ${NCCL_VERSION}")
else()
  message(STATUS "NCCL transport: not built (${no_nccl})")
endif()
