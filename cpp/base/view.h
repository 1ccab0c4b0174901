// Views: a pointer and a shape. Nothing here owns memory or knows Python.
#pragma once

#include <cstdint>

namespace dqcore {

// A value that another thread may be writing: read exactly once, so that what was checked is what is used.
template <class T>
T read_once(const T* at) {
    return *static_cast<const volatile T*>(at);
}

template <class T>
struct Vector {
    T* data = nullptr;
    int64_t size = 0;

    T& operator[](int64_t i) const { return data[i]; }
};

// Row-major, no padding between rows.
template <class T>
struct Matrix {
    T* data = nullptr;
    int64_t rows = 0, cols = 0;

    T* row(int64_t i) const { return data + i * cols; }
};

enum class Float { kFloat16, kFloat32, kFloat64 };

// A matrix of any floating type as NumPy holds it: strides are in bytes, of either sign or zero,
// and an element may lie at any address. base/row_block.h reads it.
struct StridedMatrix {
    const char* data = nullptr;
    Float type = Float::kFloat64;
    int64_t rows = 0, cols = 0;
    int64_t row_stride = 0, col_stride = 0;
};

}  // namespace dqcore
