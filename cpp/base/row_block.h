// Rows of a StridedMatrix as contiguous numbers: in place where they already are, else copied into
// a small buffer. Lets one kernel read every dtype and layout without a copy of the whole array.
#pragma once

#include <cstring>
#include <type_traits>
#include <vector>

#include "base/view.h"

namespace dqcore {

// Exact: every half is a float. Source: IEEE 754-2019, 3.4 (binary16).
inline float half_to_float(uint16_t half) {
    const uint32_t sign = (half & 0x8000u) << 16;
    const uint32_t rest = half & 0x7fffu;
    uint32_t bits;
    if (rest >= 0x7c00u) {  // infinity or NaN
        bits = 0x7f800000u | (rest & 0x3ffu) << 13;
    } else if (rest >= 0x400u) {
        bits = (rest << 13) + (112u << 23);
    } else {  // zero or subnormal: rest * 2^-24
        float value = static_cast<float>(rest) * 0x1p-24f;
        std::memcpy(&bits, &value, sizeof bits);
    }
    bits |= sign;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// One element, as double (exact for all three types).
inline double element(const StridedMatrix& m, int64_t row, int64_t col) {
    const char* p = m.data + row * m.row_stride + col * m.col_stride;
    switch (m.type) {
        case Float::kFloat16: {
            uint16_t half;
            std::memcpy(&half, p, sizeof half);
            return half_to_float(half);
        }
        case Float::kFloat32: {
            float value;
            std::memcpy(&value, p, sizeof value);
            return value;
        }
        case Float::kFloat64:
            break;
    }
    double value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

// T is float for kFloat16 and kFloat32 (exact), double for kFloat64.
template <class T>
class RowBlock {
public:
    // True where `row` returns pointers into the matrix itself.
    static bool in_place(const StridedMatrix& m) {
        constexpr Float kSame = std::is_same_v<T, float> ? Float::kFloat32 : Float::kFloat64;
        return m.type == kSame && m.col_stride == int64_t{sizeof(T)} &&
               m.row_stride % int64_t{alignof(T)} == 0 &&
               reinterpret_cast<uintptr_t>(m.data) % alignof(T) == 0;
    }

    explicit RowBlock(const StridedMatrix& m) : m_(m), in_place_(in_place(m)) {
        if (!in_place_) buffer_.resize(static_cast<size_t>(m.cols));
    }

    // The row's `cols` numbers; valid until the next call.
    const T* row(int64_t i) {
        const char* p = m_.data + i * m_.row_stride;
        if (in_place_) return reinterpret_cast<const T*>(p);
        for (int64_t c = 0; c < m_.cols; ++c)
            buffer_[static_cast<size_t>(c)] = read(p + c * m_.col_stride);
        return buffer_.data();
    }

private:
    T read(const char* p) const {
        if constexpr (std::is_same_v<T, float>) {
            if (m_.type == Float::kFloat16) {
                uint16_t half;
                std::memcpy(&half, p, sizeof half);
                return half_to_float(half);
            }
        }
        T value;
        std::memcpy(&value, p, sizeof value);
        return value;
    }

    const StridedMatrix m_;
    const bool in_place_;
    std::vector<T> buffer_;
};

}  // namespace dqcore
