// Room for numbers in a file of our own, mapped, where memory has none: what is used of it is counted, and given back
// before it is more than may be resident.
//
// Whoever reads or changes numbers in a room says so first, with use(). What is given back stays in the file, and comes
// again by itself when it is used: to forget use() costs memory, never a result. The file is unlinked and has all its
// blocks, so that no access can fail for want of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace dqcore {

class Room {
public:
    // A file of so many bytes, open for as long as the room is. Throws std::system_error.
    Room(int file, int64_t bytes);
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    ~Room();

    // The system brings in pages by this many bytes at once (fault_around_bytes on Linux), at addresses it divides; or
    // more, where the file's cache holds larger pieces.
    static constexpr int64_t kPart = 1 << 16;

    // Fills these bytes of the room, without bringing them in. Throws std::system_error.
    void write(const void* to, const void* from, int64_t bytes);

    // The first of the bytes; what lies where is the owner's business.
    char* begin() const { return begin_; }
    int64_t bytes() const { return bytes_; }

    // What may be resident from now on, but for a part or two of each worker.
    void hold(int64_t bytes);

    // To be called before these bytes are read or written, by any thread.
    void use(const void* from, int64_t bytes) {
        const auto at = reinterpret_cast<uintptr_t>(from) - origin_;
        const size_t last = (at + static_cast<size_t>(bytes) - 1) / kPart;
        for (size_t part = at / kPart; part <= last; ++part)
            if (resident_[part].load(std::memory_order_relaxed) == 0) enter(part);
    }

private:
    void enter(size_t part);
    bool full(int64_t parts) const;
    void give_back();
    int64_t mapped() const;

    char* begin_ = nullptr;
    int64_t bytes_;
    uintptr_t origin_ = 0;  // of the first part: kPart divides it
    std::vector<std::atomic<uint8_t>> resident_;
    std::atomic<int64_t> count_{0};  // parts
    std::atomic<int64_t> most_{0},
        before_{0};  // bytes: resident at most; mapped of all files by others
    std::mutex giving_back_;
    int file_;
    int64_t page_;
    int sizes_ = -1;  // descriptor of what tells what is mapped
};

// Numbers in memory, or in a room. Moved, not copied.
template <class T, class Owned = std::vector<T>>
class Stored {
public:
    Stored() = default;
    Stored(Stored&&) noexcept = default;
    Stored& operator=(Stored&&) noexcept = default;
    Stored(const Stored&) = delete;
    Stored& operator=(const Stored&) = delete;
    ~Stored() = default;

    // In memory, each of them `value`.
    void assign(size_t size, T value) {
        owned_.assign(size, value);
        data_ = owned_.data();
    }

    // In memory, as the allocator leaves them.
    void resize(size_t size) {
        owned_.resize(size);
        data_ = owned_.data();
    }

    // In `room` from `at` on, as they are.
    void lie_in(Room& room, T* at) {
        room_ = &room;
        data_ = at;
    }

    Room* room() const { return room_; }

    // Where a number lies; to be used only in memory, or by the room.
    T* at(int64_t index) { return data_ + index; }

    // The `count` numbers from `first` on, which are about to be used.
    T* some(int64_t first, int64_t count) {
        if (room_) room_->use(data_ + first, count * static_cast<int64_t>(sizeof(T)));
        return data_ + first;
    }
    const T* some(int64_t first, int64_t count) const {
        if (room_) room_->use(data_ + first, count * static_cast<int64_t>(sizeof(T)));
        return data_ + first;
    }

private:
    Owned owned_;
    T* data_ = nullptr;
    Room* room_ = nullptr;
};

}  // namespace dqcore
