// The structures of DLPack's interface for C, as producers fill them. Source: https://dmlc.github.io/dlpack, version 1.0.
#pragma once

#include <cstdint>

namespace dqcore::bind::dlpack {

inline constexpr int32_t kCuda = 2, kCudaManaged = 13;  // of a device's type
inline constexpr uint8_t kInt = 0, kUint = 1, kFloat = 2, kBfloat = 4, kBool = 6;
inline constexpr uint32_t kMajor = 1;  // the version whose layout this is; others differ

struct Device {
    int32_t type, id;
};

struct Type {
    uint8_t code, bits;
    uint16_t lanes;
};

struct Tensor {
    void* data;
    Device device;
    int32_t ndim;
    Type type;
    int64_t* shape;
    int64_t* strides;  // of elements; null: rows one after the other
    uint64_t byte_offset;
};

struct Managed {
    Tensor tensor;
    void* context;
    void (*deleter)(Managed*);
};

struct Versioned {
    uint32_t major, minor;
    void* context;
    void (*deleter)(Versioned*);
    uint64_t flags;
    Tensor tensor;
};

}  // namespace dqcore::bind::dlpack
