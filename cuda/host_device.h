// The device of the CPU, for tests: what an algorithm over kernels asks of a device, and the meaning of each request.
//
//     Buffer<T> alloc<T>(n)              memory of n values, freed with the buffer; unset
//     buffer.all(), buffer.size()        its Global<T>
//     upload(buffer, from, n)            n values of the caller's memory
//     download(to, buffer, n)            waits for all that was asked for before
//     fill_zero(buffer)                  all its bytes
//     view<T>(matrix)                    its Global<const T>: memory of the caller's on this device
//     free_bytes()                       about what can still be allocated
//     launch(kernel, blocks, shared_bytes)      in order with all else; nothing where blocks is 0
//
// An algorithm is a template over Device and runs the same on a GPU (a stream, memory of its pool) and here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "cuda/device_matrix.h"
#include "cuda/errors.h"
#include "cuda/exec_host.h"

namespace dqcore::cuda {

class HostDevice {
public:
    template <class T>
    class Buffer {
    public:
        Buffer() = default;
        explicit Buffer(int64_t n)
            : bytes_(static_cast<size_t>(n) * sizeof(T) + kAlign, 0xa5), size_(n) {
            used() += size_ * int64_t{sizeof(T)};
        }
        Buffer(Buffer&& other) noexcept { *this = std::move(other); }
        Buffer& operator=(Buffer&& other) noexcept {
            std::swap(bytes_, other.bytes_);
            std::swap(size_, other.size_);
            return *this;
        }
        ~Buffer() { used() -= size_ * int64_t{sizeof(T)}; }
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
    explicit HostDevice(std::initializer_list<const DeviceMatrix*> read)
        : HostDevice(defaults().backwards) {
        for (const DeviceMatrix* m : read)
            if (m && m->stream != 0) waited_for().push_back(m->stream);
    }
    explicit HostDevice(bool backwards) : backwards_(backwards) {}

    // What tests have declared to be memory of a device: bytes and device, by the lowest address.
    struct Memory {
        int64_t bytes;
        int device;
    };
    static std::map<uintptr_t, Memory>& memory() {
        static std::map<uintptr_t, Memory> known;
        return known;
    }
    // The streams of the caller's that came before work here, in order.
    static std::vector<uintptr_t>& waited_for() {
        static std::vector<uintptr_t> streams;
        return streams;
    }

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
        if (n > std::numeric_limits<int64_t>::max() / int64_t{sizeof(T)}) throw std::bad_alloc();
        if (n <= 0) return {};
        if (n * int64_t{sizeof(T)} > free_bytes())
            throw DeviceMemoryError(n * int64_t{sizeof(T)}, free_bytes(), defaults().free_bytes);
        return Buffer<T>(n);
    }
    template <class T>
    Global<const T> view(const DeviceMatrix& m) const {
        return {static_cast<const T*>(m.lowest), m.extent};
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
    int64_t free_bytes() const { return std::max<int64_t>(defaults().free_bytes - used(), 0); }

    // Blocks that run at a time, for kernels whose blocks take turns at the work.
    int64_t resident_blocks(int per_multiprocessor) const { return 2 * per_multiprocessor; }

private:
    static int64_t& used() {  // by all buffers there are
        static thread_local int64_t bytes = 0;
        return bytes;
    }

    HostExec exec_;
    bool backwards_;
};

}  // namespace dqcore::cuda
