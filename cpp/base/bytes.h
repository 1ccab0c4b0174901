// States as bytes: versioned, checksummed, little-endian, no code in them. Reading hostile bytes
// throws std::invalid_argument before anything is allocated on their word.
//
//   "DQST" | u32 format | u32 kind | u64 payload size | payload | u32 crc32 of all before it
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/fixed_point.h"

namespace dqcore {

static_assert(std::endian::native == std::endian::little,
              "the format is written as memory holds it");

enum class StateKind : uint32_t { kThreshold = 1, kJoint, kIssue, kSlice, kKnn };

inline constexpr uint32_t kStateFormat = 1;  // grows with every change of any payload

// CRC-32 of ISO 3309 (polynomial 0xEDB88320 reflected), the one of zlib.
inline uint32_t crc32(std::string_view data) {
    static const auto table = [] {
        std::array<uint32_t, 256> t{};
        for (uint32_t i = 0; i < 256; ++i) {
            uint32_t c = i;
            for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1u) ? 0xEDB88320u : 0u);
            t[i] = c;
        }
        return t;
    }();
    uint32_t crc = ~0u;
    for (const char c : data) crc = (crc >> 8) ^ table[(crc ^ static_cast<uint8_t>(c)) & 0xffu];
    return ~crc;
}

class StateWriter {
public:
    explicit StateWriter(StateKind kind) {
        bytes_ = "DQST";
        put(kStateFormat);
        put(static_cast<uint32_t>(kind));
        put(uint64_t{0});  // payload size, known in finish()
    }

    template <class T>
        requires std::is_trivially_copyable_v<T>
    void put(const T& value) {
        bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }

    template <class T, class A>
    void put(const std::vector<T, A>& values) {
        put(static_cast<uint64_t>(values.size()));
        bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    }

    std::string finish() && {
        const uint64_t size = bytes_.size() - kHeader;
        std::memcpy(bytes_.data() + kHeader - sizeof size, &size, sizeof size);
        const uint32_t crc = crc32(bytes_);
        put(crc);
        return std::move(bytes_);
    }

    static constexpr size_t kHeader = 4 + 4 + 4 + 8;

private:
    std::string bytes_;
};

class StateReader {
public:
    StateReader(std::string_view bytes, StateKind kind) {
        constexpr size_t kHeader = StateWriter::kHeader;
        if (bytes.size() < kHeader + 4 || bytes.substr(0, 4) != "DQST")
            fail("not a state of dqcore");
        if (crc32(bytes.substr(0, bytes.size() - 4)) != at<uint32_t>(bytes, bytes.size() - 4)) {
            fail("checksum does not match: the bytes are damaged");
        }
        const auto format = at<uint32_t>(bytes, 4);
        if (format != kStateFormat) {
            fail("format " + std::to_string(format) + " is not readable, want " +
                 std::to_string(kStateFormat));
        }
        if (at<uint32_t>(bytes, 8) != static_cast<uint32_t>(kind)) fail("a state of another kind");
        if (at<uint64_t>(bytes, 12) != bytes.size() - kHeader - 4) fail("wrong length");
        rest_ = bytes.substr(kHeader, bytes.size() - kHeader - 4);
    }

    template <class T>
        requires std::is_trivially_copyable_v<T>
    T get() {
        if (rest_.size() < sizeof(T)) fail("too short");
        const T value = at<T>(rest_, 0);
        rest_.remove_prefix(sizeof(T));
        return value;
    }

    // Throws where the count is not the one that the state's own sizes ask for.
    template <class T, class A = std::allocator<T>>
    std::vector<T, A> get_vector(uint64_t expected) {
        if (get<uint64_t>() != expected)
            fail("an array has another length than the state's sizes say");
        if (expected > rest_.size() / sizeof(T)) fail("too short");
        std::vector<T, A> values(static_cast<size_t>(expected));
        if (values.empty()) return values;
        rest_.copy(reinterpret_cast<char*>(values.data()), values.size() * sizeof(T));
        rest_.remove_prefix(values.size() * sizeof(T));
        return values;
    }

    void end() const {
        if (!rest_.empty()) fail("too long");
    }

    [[noreturn]] static void fail(const std::string& why) {
        throw std::invalid_argument("data does not hold a state: " + why);
    }

private:
    template <class T>
    static T at(std::string_view bytes, size_t offset) {
        T value;
        bytes.copy(reinterpret_cast<char*>(&value), sizeof value, offset);
        return value;
    }

    std::string_view rest_;
};

}  // namespace dqcore
