# Whether the CUDA backend is built, and by which compiler for which architectures. Sets DQCORE_HAVE_CUDA.
#
# AUTO builds it where nvcc is found; ON wants it; OFF leaves it out. What runs needs a driver alone: the runtime is
# linked statically.
set(DQCORE_CUDA "AUTO" CACHE STRING "Build the CUDA backend: AUTO, ON or OFF")
set_property(CACHE DQCORE_CUDA PROPERTY STRINGS AUTO ON OFF)
set(DQCORE_CUDA_ARCHS "" CACHE STRING "Architectures as CMake names them, such as 90a-real (empty: all that nvcc knows)")
if(NOT DQCORE_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "DQCORE_CUDA must be AUTO, ON or OFF, got ${DQCORE_CUDA}")
endif()

set(DQCORE_HAVE_CUDA OFF)
set(why "DQCORE_CUDA is OFF")
if(NOT DQCORE_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  # A cached "not found" must not hide a toolkit whose nvcc is off PATH.
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX} AND EXISTS /usr/local/cuda/bin/nvcc)
    set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)
  endif()
  if(NOT DQCORE_CUDA_ARCHS STREQUAL "")
    set(CMAKE_CUDA_ARCHITECTURES ${DQCORE_CUDA_ARCHS})
  else()
    set(CMAKE_CUDA_ARCHITECTURES 80-real)  # for the check of the compiler; the list needs its version
  endif()
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
  endif()
  # CMake 3.25.1 of Debian 12 has no name for C++20 in CUDA.
  if(CMAKE_CUDA_COMPILER AND NOT "cuda_std_20" IN_LIST CMAKE_CUDA_COMPILE_FEATURES)
    set(why "CMake ${CMAKE_VERSION} cannot ask nvcc ${CMAKE_CUDA_COMPILER_VERSION} for C++20; a newer one can: pip install cmake")
    if(DQCORE_CUDA STREQUAL "ON")
      message(FATAL_ERROR "DQCORE_CUDA is ON but ${why}")
    endif()
  elseif(CMAKE_CUDA_COMPILER)
    find_package(CUDAToolkit REQUIRED)
    set(DQCORE_HAVE_CUDA ON)
    if(DQCORE_CUDA_ARCHS STREQUAL "")
      # The instructions of each, and for any other the intermediate code of the lowest: no kernel needs more than 8.0.
      set(CMAKE_CUDA_ARCHITECTURES 80 86-real 89-real 90a-real)
      if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
        list(APPEND CMAKE_CUDA_ARCHITECTURES 100-real 120-real)
      endif()
    endif()
    set(why "nvcc ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
  elseif(DQCORE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "DQCORE_CUDA is ON but no CUDA compiler was found: put nvcc on PATH, set CUDACXX, or pass "
                        "-DDQCORE_CUDA=OFF")
  else()
    set(why "no nvcc on PATH, in CUDACXX or in /usr/local/cuda")
  endif()
endif()
message(STATUS "dqcore: CUDA backend ${DQCORE_HAVE_CUDA} (${why})")
