// A matrix of the caller's in the memory of a device, and what is asked of such memory outside any kernel.
#pragma once

#include <cstdint>

namespace dqcore::cuda {

enum class Element { kFloat16, kBfloat16, kFloat32, kFloat64 };

inline int64_t size_of(Element type) {
    return type == Element::kFloat64 ? 8 : type == Element::kFloat32 ? 4 : 2;
}

// Whoever made one has checked that its elements are aligned and lie in the `extent` elements from `lowest` on.
struct DeviceMatrix {
    const void* lowest = nullptr;
    int64_t extent = 0;
    int64_t first = 0;  // the place of [0, 0] in it
    int64_t rows = 0, cols = 0;
    int64_t row_stride = 0, col_stride = 0;  // of elements, of either sign or zero
    Element type = Element::kFloat32;
    int device = 0;
    uintptr_t stream = 0;  // a cudaStream_t whose work so far comes first; 0: none does
};

// The device whose memory has the byte at `at`, or -1.
int device_of(const void* at);

// After all that was asked of `stream` so far; 0: at once.
void copy_to_host(void* to, const void* from, int64_t bytes, int device, uintptr_t stream);

// Memory that any stream may use. Throws DeviceMemoryError.
void* device_alloc(int64_t bytes, int device);
void device_free(void* at) noexcept;

}  // namespace dqcore::cuda
