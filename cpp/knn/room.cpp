#include "knn/room.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace dqcore {
namespace {

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

Room::Room(int file, int64_t bytes)
    : bytes_(bytes),
      resident_(static_cast<size_t>(bytes / kPart + 2)),
      file_(file),
      page_(sysconf(_SC_PAGESIZE)) {
    void* const begin =
        mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (begin == MAP_FAILED) fail("cannot map a file of its own");
    begin_ = static_cast<char*>(begin);
    origin_ = reinterpret_cast<uintptr_t>(begin) / kPart * kPart;
    sizes_ = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

Room::~Room() {
    munmap(begin_, static_cast<size_t>(bytes_));
    if (sizes_ >= 0) close(sizes_);
}

// Piece by piece: the file's cache then holds pieces no larger than a part.
void Room::write(const void* to, const void* from, int64_t bytes) {
    const char* data = static_cast<const char*>(from);
    int64_t at = static_cast<const char*>(to) - begin_;
    while (bytes > 0) {
        const int64_t piece = std::min(bytes, kPart - at % kPart);
        const ssize_t done = pwrite(file_, data, static_cast<size_t>(piece), at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) fail("cannot write to a file of its own");
        data += done;
        at += done;
        bytes -= done;
    }
}

void Room::hold(int64_t bytes) {
    const std::lock_guard only(giving_back_);
    most_.store(bytes);
    give_back();
    before_.store(mapped());
}

// Pages that come in with others are not counted in parts; the system knows them.
bool Room::full(int64_t parts) const {
    const int64_t most = most_.load(std::memory_order_relaxed);
    return parts * kPart >= most || mapped() - before_.load() >= most;
}

void Room::enter(size_t part) {
    constexpr int64_t kPartsBetween = 4;
    if (resident_[part].exchange(1) != 0) return;
    const int64_t parts = count_.fetch_add(1) + 1;
    if (parts % kPartsBetween != 0 || !full(parts)) return;
    const std::lock_guard only(giving_back_);  // the others wait, lest they bring in more
    if (full(count_.load())) give_back();
}

// Parts are forgotten first: one that comes in meanwhile is counted, and may be given back all the same. Pages of a
// shared map lose nothing by it.
void Room::give_back() {
    count_.store(0);
    for (auto& part : resident_) part.store(0, std::memory_order_relaxed);
    madvise(begin_, static_cast<size_t>(bytes_), MADV_DONTNEED);
    // What is left was mapped by others meanwhile.
    const int64_t left = mapped();
    if (left - before_.load() > most_.load() / 2) before_.store(left);
}

// Of all files, in bytes; 0 where the system does not tell.
int64_t Room::mapped() const {
    std::array<char, 128> text{};
    if (sizes_ < 0 || pread(sizes_, text.data(), text.size() - 1, 0) <= 0) return 0;
    char* at = text.data();
    for (int field = 0; field < 2; ++field) std::strtoll(at, &at, 10);
    return std::strtoll(at, nullptr, 10) * page_;
}

}  // namespace dqcore
