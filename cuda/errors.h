// What a device may refuse. cpp/bind/cuda.cpp makes them MemoryError and BackendError.
#pragma once

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>

namespace dqcore::cuda {

class DeviceError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// std::bad_alloc carries no text.
class DeviceMemoryError : public std::bad_alloc {
public:
    DeviceMemoryError(int64_t wanted, int64_t free, int64_t total)
        : what_("a device allocation of " + std::to_string(wanted) + " bytes failed: " +
                std::to_string(free) + " of " + std::to_string(total) + " bytes are free") {}
    const char* what() const noexcept override { return what_.c_str(); }

private:
    std::string what_;
};

}  // namespace dqcore::cuda
