// Vectors of zeros that cost nothing until they are touched: large ones come from the system as pages that it zeroes on
// first use, by the thread that uses them. For tables of which most stays zero, or that several threads fill.
#pragma once

#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace dqcore {

// For vectors that get their size once: numbers made without a value are whatever the memory held, which is 0 only in
// memory that is new.
template <class T>
struct ZeroedAllocator {
    static_assert(std::is_trivially_copyable_v<T>);
    using value_type = T;

    ZeroedAllocator() = default;
    template <class U>
    ZeroedAllocator(const ZeroedAllocator<U>&) {}

    T* allocate(size_t n) {
        void* p = std::calloc(n, sizeof(T));  // NOLINT(cppcoreguidelines-no-malloc)
        if (!p) throw std::bad_alloc();
        return static_cast<T*>(p);
    }
    void deallocate(T* p, size_t) { std::free(p); }  // NOLINT(cppcoreguidelines-no-malloc)

    void construct(T*) {}
    template <class... From>
    void construct(T* p, From&&... from) {
        ::new (static_cast<void*>(p)) T(std::forward<From>(from)...);
    }
    bool operator==(const ZeroedAllocator&) const { return true; }
};

template <class T>
using ZeroedVector = std::vector<T, ZeroedAllocator<T>>;

}  // namespace dqcore
