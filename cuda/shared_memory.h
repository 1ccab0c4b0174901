// Shared memory of an emulated block, with a record of who touched each byte, and when.
//
// Two touches of a byte by different threads, one of them a write, want a barrier between: sync() for any two threads,
// sync_warp() for two of one warp. Atomics may meet atomics.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace dqcore::cuda {

class SharedMemory {
public:
    // A thread at a point in time: barriers of the block and of the thread's warp that it has passed.
    struct Moment {
        int thread;
        int epoch, warp_epoch;
    };

    void reset(int64_t bytes) {
        data_.assign(static_cast<size_t>(bytes), 0xa5);
        marks_.assign(static_cast<size_t>(bytes), Mark{});
    }

    int64_t size() const { return static_cast<int64_t>(data_.size()); }
    unsigned char* at(int64_t byte) { return data_.data() + byte; }

    void read(int64_t byte, int64_t count, const Moment& now) {
        for (int64_t b = byte; b < byte + count; ++b) {
            Mark& mark = marks_[static_cast<size_t>(b)];
            if (mark.copying) fail("reads", b, now, "while a copy to it is under way");
            if (!mark.known) fail("reads", b, now, "that nobody wrote");
            if (!ordered(mark.write, now)) conflict("reads", b, now, "wrote", mark.write.thread);
            note_read(mark, now);
        }
    }

    void write(int64_t byte, int64_t count, const Moment& now, bool copying = false) {
        for (int64_t b = byte; b < byte + count; ++b) {
            Mark& mark = marks_[static_cast<size_t>(b)];
            if (mark.copying) fail("writes", b, now, "while a copy to it is under way");
            if (!ordered(mark.write, now)) conflict("writes", b, now, "wrote", mark.write.thread);
            check_readers(mark, "writes", b, now);
            mark.write = now;
            mark.known = !copying;
            mark.copying = copying;
            mark.atomic = false;
        }
    }

    // Read and write at once; others may do the same.
    void update(int64_t byte, int64_t count, const Moment& now) {
        for (int64_t b = byte; b < byte + count; ++b) {
            Mark& mark = marks_[static_cast<size_t>(b)];
            if (mark.copying) fail("updates", b, now, "while a copy to it is under way");
            if (!mark.known) fail("updates", b, now, "that nobody wrote");
            if (!mark.atomic && !ordered(mark.write, now))
                conflict("updates", b, now, "wrote", mark.write.thread);
            check_readers(mark, "updates", b, now);
            mark.write = now;
            mark.atomic = true;
        }
    }

    // A copy lands: the thread that waited for it may read, others after a barrier.
    void land(int64_t byte, const void* from, int64_t count, const Moment& now) {
        std::memcpy(at(byte), from, static_cast<size_t>(count));
        for (int64_t b = byte; b < byte + count; ++b) {
            Mark& mark = marks_[static_cast<size_t>(b)];
            mark.write = now;
            mark.known = true;
            mark.copying = false;
        }
    }

private:
    static constexpr int kNobody = -1, kMany = -2;
    static constexpr int kWarpThreads = 32;

    struct Mark {
        Moment write{kNobody, -1, -1};
        Moment read{kNobody, -1, -1};  // the last; thread kMany: of more than one
        int read_warp = kNobody;       // kMany: of more than one
        bool known = false, copying = false, atomic = false;
    };

    static bool ordered(const Moment& before, const Moment& now) {
        return before.thread == kNobody || before.thread == now.thread ||
               before.epoch < now.epoch ||
               (before.thread / kWarpThreads == now.thread / kWarpThreads &&
                before.warp_epoch < now.warp_epoch);
    }

    static void note_read(Mark& mark, const Moment& now) {
        const int warp = now.thread / kWarpThreads;
        if (mark.read.epoch < now.epoch) {
            mark.read = now;
            mark.read_warp = warp;
            return;
        }
        if (mark.read.thread != now.thread) mark.read.thread = kMany;
        if (mark.read_warp != warp) mark.read_warp = kMany;
        mark.read.warp_epoch = now.warp_epoch;
    }

    void check_readers(const Mark& mark, const char* what, int64_t byte, const Moment& now) {
        if (mark.read.epoch < now.epoch || mark.read.thread == now.thread) return;
        if (mark.read_warp == now.thread / kWarpThreads && mark.read.warp_epoch < now.warp_epoch)
            return;
        conflict(what, byte, now, "read", mark.read.thread);
    }

    [[noreturn]] static void conflict(const char* what, int64_t byte, const Moment& now,
                                      const char* other_did, int other) {
        fail(what, byte, now,
             (other == kMany ? "that others " : "that thread " + std::to_string(other) + " ") +
                 other_did + " with no barrier between");
    }
    [[noreturn]] static void fail(const char* what, int64_t byte, const Moment& now,
                                  const std::string& why) {
        throw std::logic_error("thread " + std::to_string(now.thread) + " " + what +
                               " shared byte " + std::to_string(byte) + " " + why);
    }

    std::vector<unsigned char> data_;
    std::vector<Mark> marks_;
};

}  // namespace dqcore::cuda
