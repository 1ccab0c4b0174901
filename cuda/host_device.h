// The device of the CPU, for tests: what an algorithm over kernels asks of a device, and the meaning of each request.
//
//     Buffer<T> alloc<T>(n)              memory of n values, freed with the buffer; unset
//     buffer.all(), buffer.size()        its Global<T>
//     upload(buffer, from, n)            n values of the caller's memory
//     download(to, buffer, n)            waits for all that was asked for before
//     fill_zero(buffer)                  all its bytes
//     free_bytes()                       about what can still be allocated
//     launch(kernel, blocks, shared_bytes)      in order with all else; nothing where blocks is 0
//
// An algorithm is a template over Device and runs the same on a GPU (a stream, memory of its pool) and here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cuda/exec_host.h"

namespace dqcore::cuda {

class HostDevice {
public:
    template <class T>
    class Buffer {
    public:
        Buffer() = default;
        explicit Buffer(int64_t n)
            : bytes_(static_cast<size_t>(n) * sizeof(T) + kAlign, 0xa5), size_(n) {}
        int64_t size() const { return size_; }
        Global<T> all() {
            // As aligned as memory of a GPU's pool.
            const auto at = reinterpret_cast<uintptr_t>(bytes_.data());
            return {reinterpret_cast<T*>((at + kAlign - 1) / kAlign * kAlign), size_};
        }

    private:
        static constexpr size_t kAlign = 256;
        std::vector<unsigned char> bytes_;
        int64_t size_ = 0;
    };

    // `backwards`: blocks and threads in the opposite order, which must change no result.
    HostDevice() : HostDevice(defaults().backwards) {}
    explicit HostDevice(bool backwards) : backwards_(backwards) {}

    // Of devices that backends make for themselves.
    struct Defaults {
        bool backwards = false;
        int64_t free_bytes = int64_t{1} << 30;
    };
    static Defaults& defaults() {
        static Defaults set;
        return set;
    }

    template <class T>
    Buffer<T> alloc(int64_t n) {
        return Buffer<T>(n);
    }
    template <class T>
    void upload(Buffer<T>& to, const T* from, int64_t n) {
        if (n > 0) std::copy_n(from, n, to.all().at(0, n));
    }
    template <class T>
    void download(T* to, Buffer<T>& from, int64_t n) {
        if (n > 0) std::copy_n(from.all().at(0, n), n, to);
    }
    template <class T>
    void fill_zero(Buffer<T>& to) {
        std::fill_n(reinterpret_cast<unsigned char*>(to.all().data()),
                    static_cast<size_t>(to.size()) * sizeof(T), 0);
    }

    template <class Kernel>
    void launch(const Kernel& kernel, int64_t blocks, int64_t shared_bytes) {
        for (int64_t b = 0; b < blocks; ++b)
            exec_.run_block(kernel, static_cast<int>(backwards_ ? blocks - 1 - b : b),
                            static_cast<int>(blocks), shared_bytes, backwards_);
    }

    // What an allocation may get.
    int64_t free_bytes() const { return defaults().free_bytes; }

    // Blocks that run at a time, for kernels whose blocks take turns at the work.
    int64_t resident_blocks(int per_multiprocessor) const { return 2 * per_multiprocessor; }

private:
    HostExec exec_;
    bool backwards_;
};

}  // namespace dqcore::cuda
