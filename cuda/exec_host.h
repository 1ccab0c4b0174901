// The executor of the CPU: runs one block, its threads as fibers that take turns at barriers and collectives.
// See exec.h. For tests: it finds what a GPU would do wrong in silence, at some hundredth of a CPU's speed.
#pragma once

#include <algorithm>
#include <array>
#include <exception>
#include <vector>

#include "cuda/exec.h"
#include "cuda/fiber.h"
#include "cuda/shared_memory.h"
#include "cuda/tensor_core.h"

namespace dqcore::cuda {

class HostExec {
public:
    template <class T>
    class Shared {
    public:
        Shared(HostExec& ex, int64_t byte, int64_t count) : ex_(&ex), byte_(byte), count_(count) {}
        T operator[](int64_t i) const {
            T v;
            ex_->memory_.read(byte(i), sizeof(T), ex_->now());
            std::memcpy(&v, ex_->memory_.at(byte(i)), sizeof(T));
            return v;
        }
        void set(int64_t i, T v) const {
            ex_->memory_.write(byte(i), sizeof(T), ex_->now());
            std::memcpy(ex_->memory_.at(byte(i)), &v, sizeof(T));
        }
        // Where element i lies, the first of `bytes` bytes of the view.
        int64_t byte(int64_t i, int64_t bytes = sizeof(T)) const {
            constexpr int64_t kSize = sizeof(T);
            if (i < 0 || i * kSize > count_ * kSize - bytes)
                throw std::logic_error("shared index " + std::to_string(i) + " outside a view of " +
                                       std::to_string(count_));
            const int64_t at = byte_ + i * kSize;
            if (at % std::max(bytes, kSize) != 0)
                throw std::logic_error("shared byte " + std::to_string(at) + " is not aligned");
            return at;
        }

    private:
        HostExec* ex_;
        int64_t byte_, count_;
    };

    int block() const { return block_; }
    int blocks() const { return blocks_; }
    int thread() const { return current_; }
    int lane() const { return current_ % kWarp; }
    int warp() const { return current_ / kWarp; }

    // Runs block `block` of `blocks`. `backwards`: the last thread goes first.
    template <class Kernel>
    void run_block(const Kernel& kernel, int block, int blocks, int64_t shared_bytes,
                   bool backwards);

    template <class T>
    Shared<T> shared(int64_t byte_offset, int64_t count) {
        if (byte_offset < 0 || count < 0 ||
            byte_offset + count * int64_t{sizeof(T)} > memory_.size())
            throw std::logic_error("a view of shared memory leaves its " +
                                   std::to_string(memory_.size()) + " bytes");
        return {*this, byte_offset, count};
    }

    void sync() {
        meet(0, threads_, Collective::kSync, nullptr, [this](void* const*) { ++epoch_; });
    }
    void sync_warp() {
        meet_warp(Collective::kSyncWarp, nullptr,
                  [this](void* const*) { ++warp_epochs_[static_cast<size_t>(warp())]; });
    }

    template <class T, class G>
    void copy16(const Shared<T>& to, int64_t i, const Global<G>& from, int64_t j) {
        constexpr int64_t kCount = 16 / int64_t{sizeof(T)};
        Copy copy{to.byte(i, 16), {}};
        std::memcpy(copy.bytes.data(), from.at(j, kCount, 16), 16);
        memory_.write(copy.to, 16, now(), true);
        self().groups.back().push_back(copy);
    }
    void commit() { self().groups.emplace_back(); }
    template <int N>
    void wait() {
        // The last group is the open one.
        auto& groups = self().groups;
        while (groups.size() > N + 1) {
            for (const Copy& copy : groups.front())
                memory_.land(copy.to, copy.bytes.data(), 16, now());
            groups.erase(groups.begin());
        }
    }

    template <class T>
    T shuffle(T v, int lane) {
        return exchange(v, lane % kWarp);
    }
    template <class T>
    T shuffle_xor(T v, int mask) {
        return exchange(v, lane() ^ mask);
    }
    template <class T>
    T shuffle_down(T v, int by) {
        return exchange(v, lane() + by < kWarp ? lane() + by : lane());
    }
    uint32_t ballot(bool v) {
        struct Vote {
            bool mine;
            uint32_t all;
        } vote{v, 0};
        meet_warp(Collective::kBallot, &vote, [](void* const* lanes) {
            uint32_t all = 0;
            for (int l = 0; l < kWarp; ++l)
                all |= uint32_t{static_cast<Vote*>(lanes[l])->mine} << l;
            for (int l = 0; l < kWarp; ++l) static_cast<Vote*>(lanes[l])->all = all;
        });
        return vote.all;
    }

    template <class View, class T>
    T atomic_add(const View& view, int64_t i, T v) {
        return update(view, i, [v](T old) { return static_cast<T>(old + v); });
    }
    template <class View, class T>
    T atomic_min(const View& view, int64_t i, T v) {
        return update(view, i, [v](T old) { return std::min(old, v); });
    }
    template <class View, class T>
    T atomic_max(const View& view, int64_t i, T v) {
        return update(view, i, [v](T old) { return std::max(old, v); });
    }
    template <class View, class T>
    T atomic_exchange(const View& view, int64_t i, T v) {
        return update(view, i, [v](T) { return v; });
    }

    template <class T>
    void load_matrix(uint32_t (&r)[4], const Shared<T>& from, int64_t i) {
        struct Row {
            const unsigned char* from;
            uint32_t* to;
        } row{memory_.at(from.byte(i, 16)), r};
        memory_.read(from.byte(i, 16), 16, now());
        meet_warp(Collective::kLoadMatrix, &row, [](void* const* lanes) {
            const unsigned char* rows[kWarp];
            uint32_t* out[kWarp];
            for (int l = 0; l < kWarp; ++l) {
                rows[l] = static_cast<Row*>(lanes[l])->from;
                out[l] = static_cast<Row*>(lanes[l])->to;
            }
            load_matrices(rows, out);
        });
    }

    void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
        MmaOperands mine{c, a, b};
        meet_warp(Collective::kMma, &mine, [](void* const* lanes) {
            MmaOperands all[kWarp];
            for (int l = 0; l < kWarp; ++l) all[l] = *static_cast<MmaOperands*>(lanes[l]);
            multiply_fragments(all);
        });
    }

private:
    enum class Collective { kSync, kSyncWarp, kShuffle, kBallot, kLoadMatrix, kMma };
    static std::string name_of(Collective c) {
        static const char* const names[] = {"sync",   "sync_warp",   "shuffle",
                                            "ballot", "load_matrix", "mma"};
        return names[static_cast<int>(c)];
    }
    struct Copy {
        int64_t to;
        std::array<unsigned char, 16> bytes;
    };
    struct Thread {
        Fiber fiber;
        std::vector<std::vector<Copy>> groups;  // of copies, the last one open
        bool waiting = false, ended = false;
    };
    // Where threads meet: the whole block at 0, warp w at 1 + w.
    struct Meeting {
        Collective what = Collective::kSync;
        int present = 0;
        std::vector<void*> arguments;
    };

    Thread& self() { return threads_state_[static_cast<size_t>(current_)]; }
    SharedMemory::Moment now() const {
        return {current_, epoch_, warp_epochs_[static_cast<size_t>(current_ / kWarp)]};
    }

    template <class Act>
    void meet_warp(Collective what, void* argument, const Act& act) {
        meet(1 + warp(), kWarp, what, argument, act);
    }

    // Returns when `size` threads are here; the last of them does act(arguments).
    template <class Act>
    void meet(int place, int size, Collective what, void* argument, const Act& act) {
        Meeting& meeting = meetings_[static_cast<size_t>(place)];
        if (meeting.present == 0) meeting.what = what;
        if (meeting.what != what)
            throw std::logic_error("thread " + std::to_string(current_) + " is at " +
                                   name_of(what) + ", others at " + name_of(meeting.what));
        const int first = current_ / size * size;
        meeting.arguments.resize(static_cast<size_t>(size));
        meeting.arguments[static_cast<size_t>(current_ - first)] = argument;
        if (++meeting.present < size) {
            Thread& mine = self();
            mine.waiting = true;
            Fiber::change(mine.fiber, next());
            return;
        }
        act(meeting.arguments.data());
        meeting.present = 0;
        for (int t = first; t < first + size; ++t)
            threads_state_[static_cast<size_t>(t)].waiting = false;
    }

    template <class T>
    T exchange(T v, int from) {
        struct Value {
            T mine, got;
            int from;
        } value{v, v, from};
        meet_warp(Collective::kShuffle, &value, [](void* const* lanes) {
            for (int l = 0; l < kWarp; ++l) {
                auto* to = static_cast<Value*>(lanes[l]);
                to->got = static_cast<Value*>(lanes[to->from])->mine;
            }
        });
        return value.got;
    }

    template <class T, class Change>
    T update(const Shared<T>& view, int64_t i, const Change& change) {
        const int64_t byte = view.byte(i);
        memory_.update(byte, sizeof(T), now());
        T old;
        std::memcpy(&old, memory_.at(byte), sizeof(T));
        const T changed = change(old);
        std::memcpy(memory_.at(byte), &changed, sizeof(T));
        return old;
    }
    template <class T, class Change>
    T update(const Global<T>& view, int64_t i, const Change& change) {
        const T old = view[i];
        view.set(i, change(old));
        return old;
    }

    // The fiber to go on with: of a thread that does not wait, or the caller's.
    Fiber& next() {
        int candidate = current_;
        for (int t = 0; t < threads_; ++t) {
            candidate += backwards_ ? -1 : 1;
            if (candidate == threads_) candidate = 0;
            if (candidate < 0) candidate = threads_ - 1;
            const Thread& thread = threads_state_[static_cast<size_t>(candidate)];
            if (thread.waiting || thread.ended) continue;
            current_ = candidate;
            return threads_state_[static_cast<size_t>(candidate)].fiber;
        }
        return caller_;
    }

    template <class Kernel>
    static void thread_main(void* exec) {
        HostExec& ex = *static_cast<HostExec*>(exec);
        try {
            static_cast<const Kernel*>(ex.kernel_)->run(ex);
            ex.self().ended = true;
        } catch (...) {
            ex.failure_ = std::current_exception();
        }
        Fiber& mine = ex.self().fiber;
        Fiber::change(mine, ex.failure_ ? ex.caller_ : ex.next(), true);
    }

    void check_ended(const char* kernel) const;

    SharedMemory memory_;
    std::vector<Thread> threads_state_;
    std::vector<Meeting> meetings_;
    std::vector<int> warp_epochs_;
    Fiber caller_;
    std::exception_ptr failure_;
    const void* kernel_ = nullptr;
    int block_ = 0, blocks_ = 0, threads_ = 0, current_ = 0, epoch_ = 0;
    bool backwards_ = false;
};

inline void HostExec::check_ended(const char* kernel) const {
    const std::string where = std::string(kernel) + ", block " + std::to_string(block_) + ": ";
    if (failure_) {
        try {
            std::rethrow_exception(failure_);
        } catch (const std::logic_error& error) {
            throw std::logic_error(where + error.what());
        }
    }
    for (const Thread& thread : threads_state_) {
        if (thread.ended) continue;
        std::string what;
        for (const Meeting& meeting : meetings_)
            if (meeting.present > 0) what += (what.empty() ? "" : " and ") + name_of(meeting.what);
        throw std::logic_error(where + "some threads wait at " + what +
                               ", which others never reach");
    }
}

template <class Kernel>
void HostExec::run_block(const Kernel& kernel, int block, int blocks, int64_t shared_bytes,
                         bool backwards) {
    constexpr int kThreads = Kernel::kThreads;
    static_assert(kThreads % kWarp == 0);
    kernel_ = &kernel;
    block_ = block;
    blocks_ = blocks;
    threads_ = kThreads;
    epoch_ = 0;
    backwards_ = backwards;
    failure_ = nullptr;
    memory_.reset(shared_bytes);
    threads_state_.resize(kThreads);
    meetings_.assign(1 + kThreads / kWarp, Meeting{});
    warp_epochs_.assign(kThreads / kWarp, 0);
    for (Thread& thread : threads_state_) {
        thread.groups.assign(1, {});
        thread.waiting = thread.ended = false;
        thread.fiber.prepare(&HostExec::thread_main<Kernel>, this);
    }
    current_ = backwards ? kThreads - 1 : 0;
    Fiber::change(caller_, self().fiber);
    check_ended(Kernel::kName);
}

}  // namespace dqcore::cuda
