// Arrays of the caller as views, and new arrays for results: the only file that knows where an
// array lives. The rooms' binding files use these names alone, so that each is compiled into every
// backend.
//
// Input is never converted here: a wrong dtype or layout is a TypeError, because a silent copy
// hides in a profile and a silent cast in a result. python/dqcore/_check.py converts, and says what
// is wrong.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/view.h"

namespace dqcore::cuda {
struct DeviceMatrix;
}  // namespace dqcore::cuda

namespace dqcore::bind {

namespace py = pybind11;

// The matrix that a DeviceArray is, which lives as long as that; null where `value` is something else. Each backend has
// one of these.
const cuda::DeviceMatrix* device_matrix(const py::object& value);

// Its shape.
Matrix<const float> shape_of(const cuda::DeviceMatrix& matrix);

// A new vector for results where `like` lies, or on the host where that is null.
struct NewResult {
    NewResult(int64_t n, const cuda::DeviceMatrix* like);
    py::object array;
    Vector<double> view;
};

template <class T>
using Array = py::array_t<T, py::array::c_style>;

inline void want_aligned(const py::array& a) {
    if ((a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0) {
        throw py::type_error("expected an aligned array");
    }
}

template <class T>
Vector<const T> vector(const Array<T>& a) {
    if (a.ndim() != 1) throw py::type_error("expected a 1-D array");
    want_aligned(a);
    return {a.data(), a.shape(0)};
}

template <class T>
Matrix<const T> matrix(const Array<T>& a) {
    if (a.ndim() != 2) throw py::type_error("expected a 2-D array");
    want_aligned(a);
    return {a.data(), a.shape(0), a.shape(1)};
}

// Throws std::bad_alloc where no memory could hold the array; NumPy would call its shape a wrong
// value.
inline py::array::ShapeContainer shape_of(int64_t rows, int64_t cols) {
    constexpr int64_t kMostElements = int64_t{1} << 56;
    if (rows > 0 && cols > kMostElements / rows) throw std::bad_alloc();
    return {rows, cols};
}

// A new array and the view of it that a kernel fills.
template <class T>
struct NewVector {
    explicit NewVector(int64_t n) : array(n), view{array.mutable_data(), n} {}
    Array<T> array;
    Vector<T> view;
};

template <class T>
struct NewMatrix {
    NewMatrix(int64_t rows, int64_t cols)
        : array(shape_of(rows, cols)), view{array.mutable_data(), rows, cols} {}
    Array<T> array;
    Matrix<T> view;
};

// An array that takes over what `values` holds.
template <class T, class A>
Array<T> taken(std::vector<T, A> values, const std::vector<py::ssize_t>& shape) {
    auto held = std::make_unique<std::vector<T, A>>(std::move(values));
    T* data = held->data();
    const py::capsule owner(held.get(), [](void* p) { delete static_cast<std::vector<T, A>*>(p); });
    held.release();
    return Array<T>(shape, data, owner);
}

// `value` as it is, where it is an array.
inline py::array array_of(const py::object& value) {
    if (!py::isinstance<py::array>(value)) throw py::type_error("expected an array");
    return py::reinterpret_borrow<py::array>(value);
}

// Any strides, native float16, float32 or float64.
inline StridedMatrix strided_matrix(const py::array& a) {
    if (a.ndim() != 2) throw py::type_error("expected a 2-D array");
    const py::dtype type = a.dtype();
    if (type.kind() != 'f' || (type.byteorder() != '=' && type.byteorder() != '|')) {
        throw py::type_error("expected native float16, float32 or float64");
    }
    StridedMatrix m;
    m.data = static_cast<const char*>(a.data());
    switch (type.itemsize()) {
        case 2:
            m.type = Float::kFloat16;
            break;
        case 4:
            m.type = Float::kFloat32;
            break;
        case 8:
            m.type = Float::kFloat64;
            break;
        default:
            throw py::type_error("expected native float16, float32 or float64");
    }
    m.rows = a.shape(0);
    m.cols = a.shape(1);
    m.row_stride = a.strides(0);
    m.col_stride = a.strides(1);
    return m;
}

}  // namespace dqcore::bind
