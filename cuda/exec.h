// The executor: what a kernel body may ask for. The same text runs on a GPU and, thread by thread, on the CPU.
//
// A kernel is a struct of its arguments. `run` is what one thread does, over the executor `Ex`:
//
//     struct Scale {
//         static constexpr const char* kName = "scale";
//         static constexpr int kThreads = 128;     // in a block, a multiple of 32
//         static constexpr int kBlocks = 2;        // that shall fit a multiprocessor (__launch_bounds__)
//         Global<const float> x; Global<float> y; float factor;
//
//         template <class Ex>
//         DQCORE_DEVICE void run(Ex& ex) const {
//             const int64_t i = int64_t{ex.block()} * kThreads + ex.thread();
//             if (i < x.size()) y.set(i, x[i] * factor);
//         }
//     };
//     device.launch(Scale{x, y, 2.0f}, blocks, shared_bytes);
//
// exec_device.cuh is the executor of a GPU, each call the bare instruction; exec_host.h that of the CPU. Ex has:
//
//     block(), blocks(), thread(), lane(), warp()      int; a block's threads are Kernel::kThreads
//     shared<T>(ex, byte_offset, count)                a view of shared memory: s[i] reads, s.set(i, v) writes
//     sync()                                           __syncthreads
//     sync_warp()                                      __syncwarp: orders the shared memory of one warp
//     copy16(shared, i, global, j)                     16 bytes to shared[i] from global[j], asynchronous (cp.async)
//     commit(), wait<N>(ex)                            closes a group of copies; all but the N last groups have landed
//     shuffle(v, lane), shuffle_xor(v, m), shuffle_down(v, by)     v of 4 or 8 bytes; all 32 lanes take part
//     ballot(bool)                                     uint32_t
//     atomic_add, atomic_min, atomic_max(view, i, v)   return the old value; uint32_t, int32_t or uint64_t; view shared or
//                                                      global. Shared 64-bit ones are a spin on a GPU: avoid.
//     atomic_exchange(view, i, v)
//     load_matrix(r[4], shared, i)                     ldmatrix.x4 from 16 bytes at shared[i] of each lane
//     mma(c[4], a[4], b[2])                            mma.sync.m16n8k16, fp16 in, fp32 accumulate
//
// Collectives (sync, shuffles, ballot, load_matrix, mma) are met by every thread of the block or warp alike.
//
// The CPU throws std::logic_error where a GPU would go wrong in silence: a shared byte that one thread wrote and another
// reads or writes with no barrier between, one read before it is written or while a copy to it is under way, an index
// outside its view, a collective that not all threads reach. What it cannot see: races in global memory (the order of
// blocks and threads can be turned around instead: HostDevice), and how long anything takes.
//
// Arithmetic: nvcc is given -fmad=false, so that a * b + c rounds twice on both; sqrt and / round correctly on both.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define DQCORE_DEVICE __device__ __forceinline__
#define DQCORE_BOTH __host__ __device__ __forceinline__
#define DQCORE_UNROLL _Pragma("unroll")
#define DQCORE_NO_UNROLL _Pragma("unroll 1")
#else
#include "base/row_block.h"
#define DQCORE_DEVICE inline
#define DQCORE_BOTH inline
#define DQCORE_UNROLL
#define DQCORE_NO_UNROLL
#endif

namespace dqcore::cuda {

inline constexpr int kWarp = 32;

// N values that are read or written at once: 16 bytes where the type allows.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
    T v[N];
};

// Device memory as a kernel sees it. Indices are checked on the CPU.
template <class T>
class Global {
public:
    using Value = std::remove_const_t<T>;

    Global() = default;
    DQCORE_BOTH Global(T* data, int64_t size) : data_(data), size_(size) {}
    // Of a view that may write, one that may not.
    template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
    DQCORE_BOTH Global(const Global<U>& other) : data_(other.data()), size_(other.size()) {}

    DQCORE_BOTH T* data() const { return data_; }
    DQCORE_BOTH int64_t size() const { return size_; }

    DQCORE_BOTH Value operator[](int64_t i) const {
        check(i, 1);
        return data_[i];
    }
    DQCORE_BOTH void set(int64_t i, Value v) const {
        check(i, 1);
        data_[i] = v;
    }
    // The N values from i on, i a multiple of N and data() aligned to them all.
    template <int N>
    DQCORE_BOTH Pack<Value, N> pack(int64_t i) const {
        check(i, N, alignof(Pack<Value, N>));
        return *reinterpret_cast<const Pack<Value, N>*>(data_ + i);
    }
    template <int N>
    DQCORE_BOTH void set_pack(int64_t i, Pack<Value, N> v) const {
        check(i, N, alignof(Pack<Value, N>));
        *reinterpret_cast<Pack<Value, N>*>(data_ + i) = v;
    }

    // The address of element i, the first of `count`.
    DQCORE_BOTH T* at(int64_t i, int64_t count = 1, size_t alignment = 1) const {
        check(i, count, alignment);
        return data_ + i;
    }

private:
    DQCORE_BOTH void check([[maybe_unused]] int64_t i, [[maybe_unused]] int64_t count,
                           [[maybe_unused]] size_t alignment = 1) const {
#if !defined(__CUDA_ARCH__)
        if (i < 0 || i > size_ - count)
            throw std::logic_error("global index " + std::to_string(i) + " outside a view of " +
                                   std::to_string(size_));
        if (reinterpret_cast<uintptr_t>(data_ + i) % alignment != 0)
            throw std::logic_error("global index " + std::to_string(i) + " is not aligned");
#endif
    }

    T* data_ = nullptr;
    int64_t size_ = 0;
};

template <class To, class From>
DQCORE_BOTH To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

#if !defined(__CUDACC__)
// The nearest half, ties to even; infinity from 65520 on. Source: IEEE 754-2019, 4.3.1.
inline uint16_t rounded_half(float value) {
    uint32_t bits = bits_as<uint32_t>(value);
    const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
    bits &= 0x7fffffffu;
    uint32_t half;
    if (bits > 0x7f800000u) {
        half = 0x7fff;
    } else if (bits >= 0x477ff000u) {
        half = 0x7c00;
    } else if (bits < 0x38800000u) {  // subnormal: adding 1/2 rounds to a multiple of 2^-24
        half = bits_as<uint32_t>(bits_as<float>(bits) + 0.5f) - 0x3f000000u;
    } else {
        half = (bits + 0xfffu + (bits >> 13 & 1u) - (112u << 23)) >> 13;
    }
    return static_cast<uint16_t>(sign | half);
}
#endif

// fp16, as its bits.
DQCORE_BOTH uint16_t to_half(float value) {
#if defined(__CUDACC__)
    return __half_as_ushort(__float2half_rn(value));
#else
    return rounded_half(value);
#endif
}
DQCORE_BOTH float from_half(uint16_t bits) {
#if defined(__CUDACC__)
    return __half2float(__ushort_as_half(bits));
#else
    return half_to_float(bits);
#endif
}

// Shared memory of the block, `count` values from `byte_offset` on.
template <class T, class Ex>
DQCORE_DEVICE auto shared(Ex& ex, int64_t byte_offset, int64_t count) {
    return ex.template shared<T>(byte_offset, count);
}

template <int N, class Ex>
DQCORE_DEVICE void wait(Ex& ex) {
    ex.template wait<N>();
}

// body(i) for every i of [0, n), shared among all threads of all blocks; `threads` in a block.
template <class Ex, class Body>
DQCORE_DEVICE void each_index(Ex& ex, int threads, int64_t n, const Body& body) {
    const int64_t step = int64_t{ex.blocks()} * threads;
    for (int64_t i = int64_t{ex.block()} * threads + ex.thread(); i < n; i += step) body(i);
}

// What every block of `kThreads` threads takes in turns: enough blocks for n threads, at most those that run at a time.
template <class Kernel, class Device>
int64_t blocks_for(const Device& device, int64_t n) {
    const int64_t all = (n + Kernel::kThreads - 1) / Kernel::kThreads;
    const int64_t most = device.resident_blocks(Kernel::kBlocks);
    return all < 1 ? 1 : all < most ? all : most;
}

}  // namespace dqcore::cuda
