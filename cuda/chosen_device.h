// The CUDA runtime's errors as exceptions, and which device a thread's calls go to.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "cuda/errors.h"

namespace dqcore::cuda {

inline void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // told here, not to the next call
    throw DeviceError(std::string(what) + ": " + cudaGetErrorName(error) + ": " +
                      cudaGetErrorString(error));
}

// Where an allocation of `bytes` has failed for want of memory.
[[noreturn]] inline void throw_device_memory(int64_t bytes) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw DeviceMemoryError(bytes, static_cast<int64_t>(free), static_cast<int64_t>(total));
}

// The device of this thread, put back in the end. -1: the one in force.
class OnDevice {
public:
    explicit OnDevice(int device) {
        check(cudaGetDevice(&before_), "cudaGetDevice");
        now_ = device < 0 ? before_ : device;
        if (now_ != before_) check(cudaSetDevice(now_), "cudaSetDevice");
    }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;
    ~OnDevice() {
        if (now_ != before_) cudaSetDevice(before_);
    }
    int now() const { return now_; }

private:
    int before_ = 0, now_ = 0;
};

}  // namespace dqcore::cuda
