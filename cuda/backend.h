// The device that this build of the backend runs on: a GPU under nvcc; elsewhere, for tests, the CPU's executor.
#pragma once

#if defined(__CUDACC__)
#include "cuda/cuda_device.cuh"
#else
#include "cuda/host_device.h"
#endif

namespace dqcore::cuda {

#if defined(__CUDACC__)
using Device = CudaDevice;
#else
using Device = HostDevice;
#endif

}  // namespace dqcore::cuda
