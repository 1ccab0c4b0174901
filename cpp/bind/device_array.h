// Arrays in the memory of a device: the caller's, checked before anything reads them, and ours, for results. Compiled into
// the backends that have a device.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "bind/array.h"
#include "cuda/device_matrix.h"

namespace dqcore::bind {

// What a producer says of its array; nothing is believed yet.
struct Described {
    uintptr_t data = 0;
    char kind = 'f';  // as in NumPy's typestr; 'B' for bfloat16
    int64_t item_bytes = 4;
    std::vector<int64_t> shape;
    std::vector<int64_t> strides;  // of bytes; empty: rows one after the other
    int device = -1;               // -1: not told
    uintptr_t stream = 0;
};

class DeviceArray {
public:
    // `owner` keeps the memory. Throws std::invalid_argument, which names the array.
    DeviceArray(std::string name, Described said, std::shared_ptr<void> owner);

    const std::vector<int64_t>& shape() const { return said_.shape; }
    int device() const { return said_.device; }
    std::string type_name() const;
    const cuda::DeviceMatrix& matrix();  // of two dimensions, of floats
    py::object to_host() const;          // a NumPy array, once what the stream was asked is done

private:
    const char* lowest() const;

    std::string name_;
    Described said_;
    std::shared_ptr<void> owner_;
    int64_t below_ = 0,
            bytes_ = 0;  // how far the lowest byte lies below the first element; bytes from it on
    cuda::DeviceMatrix matrix_;
};

// New memory of a device that Python owns, and what it tells other libraries of itself.
class DeviceResult {
public:
    DeviceResult(int64_t n, int device);
    double* data() const { return static_cast<double*>(memory_.get()); }
    int64_t size() const { return n_; }
    int device() const { return device_; }
    py::capsule dlpack() const;
    Array<double> to_host() const;

private:
    std::shared_ptr<void> memory_;
    int64_t n_;
    int device_;
};

}  // namespace dqcore::bind
