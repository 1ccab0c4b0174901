// Vectors whose first number starts a cache line: a load of a whole register then never takes two.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace dqcore {

template <class T>
struct CacheLineAllocator {
    using value_type = T;
    static constexpr std::align_val_t kLine{64};

    CacheLineAllocator() = default;
    template <class U>
    CacheLineAllocator(const CacheLineAllocator<U>&) {}

    T* allocate(size_t n) {
        if (n > static_cast<size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
        return static_cast<T*>(::operator new(n * sizeof(T), kLine));
    }
    void deallocate(T* p, size_t) { ::operator delete(p, kLine); }
    bool operator==(const CacheLineAllocator&) const { return true; }
};

// The same for numbers that are written before they are read: memory that nobody has touched costs nothing, and the
// thread that writes to it first has its pages made.
template <class T>
struct UntouchedAllocator : CacheLineAllocator<T> {
    template <class U>
    struct rebind {
        using other = UntouchedAllocator<U>;
    };
    UntouchedAllocator() = default;
    template <class U>
    UntouchedAllocator(const UntouchedAllocator<U>&) {}
    void construct(T*) {}
};

template <class T>
using UntouchedVector = std::vector<T, UntouchedAllocator<T>>;

template <class T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

}  // namespace dqcore
