#include "cuda/runtime.h"

#include <cuda_runtime_api.h>

#include "cuda/chosen_device.h"
#include "cuda/device_matrix.h"

namespace dqcore::cuda {
namespace {

constexpr int kLeastMajor =
    8;  // compute capability: asynchronous copies, matrix units of halves with float sums

std::string version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Of the device in force, which is the first that the caller lets us see.
std::string fault_of_device(RuntimeStatus& status, int devices) {
    bool able = false;
    for (int i = 0; i < devices; ++i) {
        cudaDeviceProp properties{};
        const cudaError_t error = cudaGetDeviceProperties(&properties, i);
        if (error != cudaSuccess) return cudaGetErrorString(error);
        status.devices.push_back(std::string(properties.name) + " (" +
                                 std::to_string(properties.major) + "." +
                                 std::to_string(properties.minor) + ")");
        able = able || properties.major >= kLeastMajor;
    }
    return able ? "" : "no device has compute capability 8.0, found " + status.devices[0];
}

std::string fault(RuntimeStatus& status) {
    if (status.driver.empty()) return "no NVIDIA driver on this machine";
    int devices = 0;
    const cudaError_t error = cudaGetDeviceCount(&devices);
    if (error == cudaErrorInsufficientDriver) return "the NVIDIA driver is too old";
    if (error != cudaSuccess || devices == 0) {
        const char* const said = error != cudaSuccess ? cudaGetErrorString(error) : "none found";
        return std::string("no CUDA device: ") + said;
    }
    return fault_of_device(status, devices);
}

}  // namespace

RuntimeStatus runtime_status() {
    RuntimeStatus status;
    int version = 0;
    if (cudaRuntimeGetVersion(&version) == cudaSuccess) status.runtime = version_text(version);
    // 0 where there is no driver; asking for devices would then call it too old.
    version = 0;
    if (cudaDriverGetVersion(&version) == cudaSuccess && version > 0)
        status.driver = version_text(version);
    status.reason = fault(status);
    cudaGetLastError();  // what was asked here is no other call's error
    if (status.reason.empty()) return status;
    status.reason += " (built with CUDA runtime " + status.runtime + "; driver found: " +
                     (status.driver.empty() ? "none" : "for CUDA " + status.driver) + ")";
    return status;
}

// ---- memory of the caller's ----

int device_of(const void* at) {
    cudaPointerAttributes found{};
    if (cudaPointerGetAttributes(&found, at) != cudaSuccess) {
        cudaGetLastError();
        return -1;
    }
    const bool known = found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged;
    return known ? found.device : -1;
}

void copy_to_host(void* to, const void* from, int64_t bytes, int device, uintptr_t stream) {
    const OnDevice here(device);
    auto* const after = reinterpret_cast<cudaStream_t>(stream);
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, after),
          "cudaMemcpyAsync");
    check(cudaStreamSynchronize(after), "cudaStreamSynchronize");
}

void* device_alloc(int64_t bytes, int device) {
    const OnDevice here(device);
    void* at = nullptr;
    const cudaError_t error = cudaMalloc(&at, static_cast<size_t>(bytes));
    if (error == cudaErrorMemoryAllocation) throw_device_memory(bytes);
    check(error, "cudaMalloc");
    return at;
}

void device_free(void* at) noexcept { cudaFree(at); }

}  // namespace dqcore::cuda
