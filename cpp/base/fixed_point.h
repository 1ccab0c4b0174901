// Sums that do not depend on their order: each number becomes an integer count of 2^-64, and
// integers add exactly. What makes any split over threads, files and machines give the same bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace dqcore {

__extension__ typedef __int128 int128;

// Numbers below this in magnitude fit; 2^31 of them can be added before a sum could overflow.
inline constexpr double kFixedLimit = 0x1p31;

// floor(x * 2^64) in two exact steps of 32 bits, so that NumPy can do the same with int64. (A
// negative x above -2^-85 may become 0 instead of -1: here as there, so still the same bits.)
inline int128 to_fixed(double x) {
    const double scaled = x * 0x1p32;
    const double high = std::floor(scaled);
    const double low = std::floor((scaled - high) * 0x1p32);
    return (static_cast<int128>(static_cast<int64_t>(high)) << 32) + static_cast<int64_t>(low);
}

// The nearest double, as Python's int.__truediv__ would round it.
inline double from_fixed(int128 sum) { return static_cast<double>(sum) * 0x1p-64; }

// Whether every sum over entries of any of the vectors, or of all together, fits their type. Rows that were counted
// always do; bytes from elsewhere can say anything.
template <class First, class... Others>
bool addable(const First& first, const Others&... others) {
    typename First::value_type total = 0;
    const auto fits = [&](const auto& numbers) {
        for (const auto x : numbers) {
            auto magnitude = x;
            if (x < 0 && __builtin_sub_overflow(decltype(magnitude){0}, x, &magnitude))
                return false;
            if (__builtin_add_overflow(total, magnitude, &total)) return false;
        }
        return true;
    };
    return fits(first) && (fits(others) && ...);
}

}  // namespace dqcore
