// The types of floats that kernels read, and matrices of them in any layout.
#pragma once

#include "cuda/device_matrix.h"
#include "cuda/exec.h"

namespace dqcore::cuda {

// What is stored and what it is compared as; the meaning of each stored type, exact.
struct Half {
    using Stored = uint16_t;
    using Value = float;
    static DQCORE_BOTH float value(uint16_t bits) { return from_half(bits); }
};
struct Bfloat {
    using Stored = uint16_t;
    using Value = float;
    static DQCORE_BOTH float value(uint16_t bits) {
        return bits_as<float>(static_cast<uint32_t>(bits) << 16);
    }
};
template <class T>
struct Native {
    using Stored = T;
    using Value = T;
    static DQCORE_BOTH T value(T x) { return x; }
};

// Calls body(E{}) for the type.
template <class Body>
void with_element(Element type, const Body& body) {
    switch (type) {
        case Element::kFloat16:
            return body(Half{});
        case Element::kBfloat16:
            return body(Bfloat{});
        case Element::kFloat32:
            return body(Native<float>{});
        case Element::kFloat64:
            return body(Native<double>{});
    }
}

// Rows of the caller's on the device, from `first` of p on.
template <class E>
struct StridedRows {
    Global<const typename E::Stored> p;
    int64_t first, row_stride, col_stride;

    DQCORE_DEVICE typename E::Stored stored(int64_t row, int64_t c) const {
        return p[first + row * row_stride + c * col_stride];
    }
};

template <class E, class Device>
StridedRows<E> strided_rows(const Device& device, const DeviceMatrix& m) {
    return {device.template view<typename E::Stored>(m), m.first, m.row_stride, m.col_stride};
}

// Whether rows lie one after the other in C order, from an address that is a multiple of 16 bytes on.
inline bool in_order(const DeviceMatrix& m) {
    const bool packed = m.col_stride == 1 && m.row_stride == m.cols;
    const auto at =
        reinterpret_cast<uintptr_t>(m.lowest) + static_cast<uintptr_t>(m.first * size_of(m.type));
    return m.rows == 0 || m.cols == 0 || (packed && at % 16 == 0);
}

// Rows in C order: as they are stored, or as their values. Rows `begin`, `begin` + 1, ..., or those `wanted`.
template <class E, class To>
struct TakeRows {
    static constexpr const char* kName = "take_rows";
    static constexpr int kThreads = 256, kBlocks = 4;

    StridedRows<E> from;
    Global<const int64_t> wanted;  // empty: all from `begin` on
    Global<To> to;                 // (n, cols)
    int64_t begin, cols;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        each_index(ex, kThreads, to.size(), [&](int64_t i) {
            const int64_t row = i / cols;
            const auto v = from.stored(wanted.size() > 0 ? wanted[row] : begin + row, i % cols);
            if constexpr (std::is_same_v<To, typename E::Stored>)
                to.set(i, v);
            else
                to.set(i, E::value(v));
        });
    }
};

// Rows as float32 in C order, each value rounded once; and what of them is then not finite.
template <class E>
struct ReadFeatures {
    static constexpr const char* kName = "read_features";
    static constexpr int kThreads = 256, kBlocks = 4;

    StridedRows<E> from;
    Global<float> to;         // (n, d), or none: they are only looked at
    Global<uint64_t> faults;  // (2,): how many are not finite, the least row * d + column of them
    int64_t n, d;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        each_index(ex, kThreads, n * d, [&](int64_t i) {
            const auto v = static_cast<float>(E::value(from.stored(i / d, i % d)));
            if (to.size() > 0) to.set(i, v);
            if (v - v == 0.0f) return;
            ex.atomic_add(faults, 0, uint64_t{1});
            ex.atomic_min(faults, 1, static_cast<uint64_t>(i));
        });
    }
};

}  // namespace dqcore::cuda
