// The device of a GPU: a stream, and memory of the device's own pool. The meaning of each call: host_device.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <utility>

#include "cuda/chosen_device.h"
#include "cuda/device_matrix.h"
#include "cuda/exec_device.cuh"

namespace dqcore::cuda {

// Of the first matrix there is; -1 where there is none.
inline int device_of_first(std::initializer_list<const DeviceMatrix*> read) {
    for (const DeviceMatrix* m : read)
        if (m) return m->device;
    return -1;
}

class CudaDevice {
public:
    template <class T>
    class Buffer {
    public:
        Buffer() = default;
        Buffer(T* data, int64_t n, cudaStream_t stream) : data_(data), size_(n), stream_(stream) {}
        Buffer(Buffer&& other) noexcept { *this = std::move(other); }
        Buffer& operator=(Buffer&& other) noexcept {
            std::swap(data_, other.data_);
            std::swap(size_, other.size_);
            std::swap(stream_, other.stream_);
            return *this;
        }
        ~Buffer() {
            if (data_) cudaFreeAsync(data_, stream_);
        }

        int64_t size() const { return size_; }
        Global<T> all() { return {data_, size_}; }

    private:
        T* data_ = nullptr;
        int64_t size_ = 0;
        cudaStream_t stream_ = nullptr;
    };

    // Work goes to a stream of its own, on the device of the first of the caller's matrices that is on one, after what
    // their streams were asked so far.
    explicit CudaDevice(std::initializer_list<const DeviceMatrix*> read = {})
        : here_(device_of_first(read)) {
        device_ = here_.now();
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
        check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device_),
              "cudaDeviceGetAttribute");
        for (const DeviceMatrix* m : read)
            if (m) wait_for(m->stream);
    }
    CudaDevice(const CudaDevice&) = delete;
    CudaDevice& operator=(const CudaDevice&) = delete;
    // What is under way may still read the caller's memory.
    ~CudaDevice() {
        cudaStreamSynchronize(stream_);
        cudaStreamDestroy(stream_);
    }

    // Memory of the caller's, as kernels see it.
    template <class T>
    Global<const T> view(const DeviceMatrix& m) const {
        return {static_cast<const T*>(m.lowest), m.extent};
    }

    template <class T>
    Buffer<T> alloc(int64_t n) {
        if (n > std::numeric_limits<int64_t>::max() / int64_t{sizeof(T)}) throw std::bad_alloc();
        if (n <= 0) return {};
        void* data = nullptr;
        const int64_t bytes = n * int64_t{sizeof(T)};
        const cudaError_t error = cudaMallocAsync(&data, static_cast<size_t>(bytes), stream_);
        if (error == cudaErrorMemoryAllocation) throw_device_memory(bytes);
        check(error, "cudaMallocAsync");
        return {static_cast<T*>(data), n, stream_};
    }

    template <class T>
    void upload(Buffer<T>& to, const T* from, int64_t n) {
        if (n <= 0) return;
        check(cudaMemcpyAsync(to.all().data(), from, static_cast<size_t>(n) * sizeof(T),
                              cudaMemcpyHostToDevice, stream_),
              "cudaMemcpyAsync");
    }
    template <class T>
    void download(T* to, Buffer<T>& from, int64_t n) {
        if (n > 0)
            check(cudaMemcpyAsync(to, from.all().data(), static_cast<size_t>(n) * sizeof(T),
                                  cudaMemcpyDeviceToHost, stream_),
                  "cudaMemcpyAsync");
        check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    }
    template <class T>
    void fill_zero(Buffer<T>& to) {
        if (to.size() == 0) return;
        check(cudaMemsetAsync(to.all().data(), 0, static_cast<size_t>(to.size()) * sizeof(T),
                              stream_),
              "cudaMemsetAsync");
    }

    template <class Kernel>
    void launch(const Kernel& kernel, int64_t blocks, int64_t shared_bytes) {
        if (blocks == 0) return;
        constexpr int64_t kFree = 48 << 10;  // bytes that need no asking
        if (shared_bytes > kFree)
            check(cudaFuncSetAttribute(cuda_entry<Kernel>,
                                       cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(shared_bytes)),
                  Kernel::kName);
        cuda_entry<Kernel><<<static_cast<unsigned>(blocks), Kernel::kThreads,
                             static_cast<size_t>(shared_bytes), stream_>>>(kernel);
        check(cudaGetLastError(), Kernel::kName);
    }

    int64_t resident_blocks(int per_multiprocessor) const {
        return int64_t{multiprocessors_} * per_multiprocessor;
    }

    // What an allocation may get, roughly: others use the device too.
    int64_t free_bytes() const {
        size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
        return static_cast<int64_t>(free);
    }

private:
    void wait_for(uintptr_t other) {
        if (other == 0) return;
        cudaEvent_t event;
        check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
        cudaError_t error = cudaEventRecord(event, reinterpret_cast<cudaStream_t>(other));
        if (error == cudaSuccess) error = cudaStreamWaitEvent(stream_, event, 0);
        cudaEventDestroy(event);  // once the device is past it
        check(error, "cudaStreamWaitEvent");
    }

    const OnDevice here_;
    int device_ = 0, multiprocessors_ = 0;
    cudaStream_t stream_ = nullptr;
};

}  // namespace dqcore::cuda
