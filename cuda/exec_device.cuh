// The executor of a GPU: every call is the instruction itself. See exec.h.
#pragma once

#include "cuda/exec.h"

namespace dqcore::cuda {

class DeviceExec {
public:
    template <class T>
    class Shared {
    public:
        __device__ __forceinline__ explicit Shared(T* data) : data_(data) {}
        __device__ __forceinline__ T operator[](int64_t i) const { return data_[i]; }
        __device__ __forceinline__ void set(int64_t i, T v) const { data_[i] = v; }
        __device__ __forceinline__ T* at(int64_t i) const { return data_ + i; }

    private:
        T* data_;
    };

    __device__ __forceinline__ int block() const { return static_cast<int>(blockIdx.x); }
    __device__ __forceinline__ int blocks() const { return static_cast<int>(gridDim.x); }
    __device__ __forceinline__ int thread() const { return static_cast<int>(threadIdx.x); }
    __device__ __forceinline__ int lane() const { return thread() & (kWarp - 1); }
    __device__ __forceinline__ int warp() const { return thread() / kWarp; }

    template <class T>
    __device__ __forceinline__ Shared<T> shared(int64_t byte_offset, int64_t) {
        extern __shared__ __align__(128) unsigned char dqcore_shared[];
        return Shared<T>(reinterpret_cast<T*>(dqcore_shared + byte_offset));
    }

    __device__ __forceinline__ void sync() { __syncthreads(); }
    __device__ __forceinline__ void sync_warp() { __syncwarp(); }

    template <class T, class G>
    __device__ __forceinline__ void copy16(const Shared<T>& to, int64_t i, const Global<G>& from,
                                           int64_t j) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address(to.at(i))),
                     "l"(from.data() + j)
                     : "memory");
    }
    __device__ __forceinline__ void commit() {
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    template <int N>
    __device__ __forceinline__ void wait() {
        asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
    }

    template <class T>
    __device__ __forceinline__ T shuffle(T v, int lane) {
        return __shfl_sync(kAll, v, lane);
    }
    template <class T>
    __device__ __forceinline__ T shuffle_xor(T v, int mask) {
        return __shfl_xor_sync(kAll, v, mask);
    }
    template <class T>
    __device__ __forceinline__ T shuffle_down(T v, int by) {
        return __shfl_down_sync(kAll, v, static_cast<unsigned>(by));
    }
    __device__ __forceinline__ uint32_t ballot(bool v) { return __ballot_sync(kAll, v); }

    template <class View, class T>
    __device__ __forceinline__ T atomic_add(const View& view, int64_t i, T v) {
        return static_cast<T>(atomicAdd(word(view.at(i)), static_cast<Word<T>>(v)));
    }
    template <class View, class T>
    __device__ __forceinline__ T atomic_min(const View& view, int64_t i, T v) {
        return static_cast<T>(atomicMin(word(view.at(i)), static_cast<Word<T>>(v)));
    }
    template <class View, class T>
    __device__ __forceinline__ T atomic_max(const View& view, int64_t i, T v) {
        return static_cast<T>(atomicMax(word(view.at(i)), static_cast<Word<T>>(v)));
    }
    template <class View, class T>
    __device__ __forceinline__ T atomic_exchange(const View& view, int64_t i, T v) {
        return static_cast<T>(atomicExch(word(view.at(i)), static_cast<Word<T>>(v)));
    }

    template <class T>
    __device__ __forceinline__ void load_matrix(uint32_t (&r)[4], const Shared<T>& from,
                                                int64_t i) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address(from.at(i)))
                     : "memory");
    }
    __device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
            "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }

private:
    static constexpr unsigned kAll = 0xffffffffu;

    // CUDA's atomics know unsigned long long, not uint64_t.
    template <class T>
    using Word = std::conditional_t<sizeof(T) == 8, unsigned long long, T>;
    template <class T>
    __device__ __forceinline__ static Word<T>* word(T* at) {
        return reinterpret_cast<Word<T>*>(at);
    }
    template <class T>
    __device__ __forceinline__ static uint32_t address(T* at) {
        return static_cast<uint32_t>(__cvta_generic_to_shared(at));
    }
};

// What a launch runs: cuda_entry<Kernel><<<blocks, Kernel::kThreads, shared_bytes, stream>>>(kernel).
template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kBlocks)
    cuda_entry(const __grid_constant__ Kernel kernel) {
    DeviceExec ex;
    kernel.run(ex);
}

}  // namespace dqcore::cuda
