// The backend on the CPU's executor: the sources that nvcc compiles for a GPU, by the C++ compiler.
#include <cstring>

#include "cuda/host_device.h"
#include "cuda/joint.cu"   // NOLINT(bugprone-suspicious-include)
#include "cuda/knn.cu"     // NOLINT(bugprone-suspicious-include)
#include "cuda/slices.cu"  // NOLINT(bugprone-suspicious-include)

namespace dqcore::cuda {

int device_of(const void* at) {
    const auto address = reinterpret_cast<uintptr_t>(at);
    auto after = HostDevice::memory().upper_bound(address);
    if (after == HostDevice::memory().begin()) return -1;
    --after;
    const bool inside = address - after->first < static_cast<uintptr_t>(after->second.bytes);
    return inside ? after->second.device : -1;
}

void copy_to_host(void* to, const void* from, int64_t bytes, int, uintptr_t stream) {
    if (stream != 0) HostDevice::waited_for().push_back(stream);
    std::memcpy(to, from, static_cast<size_t>(bytes));
}

void* device_alloc(int64_t bytes, int device) {
    const int64_t all = HostDevice::defaults().free_bytes;
    if (bytes > all) throw DeviceMemoryError(bytes, all, all);
    void* const at = ::operator new(static_cast<size_t>(bytes));
    HostDevice::memory()[reinterpret_cast<uintptr_t>(at)] = {bytes, device};
    return at;
}

void device_free(void* at) noexcept {
    HostDevice::memory().erase(reinterpret_cast<uintptr_t>(at));
    ::operator delete(at);
}

}  // namespace dqcore::cuda
