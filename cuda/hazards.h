// Kernels that are wrong on purpose, to see that the CPU's executor finds what is wrong. For its tests.
#pragma once

#include <stdexcept>
#include <string>

#include "cuda/exec.h"

namespace dqcore::cuda {

enum class Fault {
    kNone,
    kReadAfterWrite,
    kWriteAfterRead,
    kWriteAfterWrite,
    kWarpAcrossWarps,
    kAtomicThenRead,
    kUnset,
    kCopyNotAwaited,
    kCopyWithoutBarrier,
    kOutside,
    kMisaligned,
    kDivergentBarrier,
    kDivergentWarp,
    kNames,  // how many there are
};

inline Fault hazard_named(const std::string& name) {
    static const char* const names[] = {"none",
                                        "read after write",
                                        "write after read",
                                        "write after write",
                                        "across warps",
                                        "atomic then read",
                                        "unset",
                                        "copy not awaited",
                                        "copy, no sync",
                                        "outside",
                                        "misaligned",
                                        "divergent barrier",
                                        "divergent warp"};
    static_assert(sizeof names / sizeof *names == static_cast<size_t>(Fault::kNames));
    for (int f = 0; f < static_cast<int>(Fault::kNames); ++f)
        if (name == names[f]) return static_cast<Fault>(f);
    throw std::invalid_argument("no such fault: " + name);
}

// Passes values around a block of two warps in every way, rightly but for one `fault`.
struct Hazard {
    static constexpr const char* kName = "hazard";
    static constexpr int kThreads = 64, kBlocks = 1;
    static constexpr int64_t kSharedBytes = 256;

    Fault fault;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int t = ex.thread();
        const auto words = shared<uint32_t>(ex, 0, kThreads);
        if (fault == Fault::kUnset) words[t];
        words.set(t, static_cast<uint32_t>(t));
        if (fault != Fault::kReadAfterWrite) ex.sync();
        const uint32_t mirrored = words[kThreads - 1 - t];
        if (fault != Fault::kWriteAfterRead) ex.sync();
        words.set(t, mirrored);
        // Within a warp, its own barrier is enough.
        ex.sync_warp();
        words[fault == Fault::kWarpAcrossWarps ? t ^ 32 : t ^ 1];
        ex.sync_warp();
        words.set(fault == Fault::kWriteAfterWrite ? t / 2 : t ^ 1, 0u);
        ex.sync();
        ex.atomic_add(words, 0, 1u);
        if (fault != Fault::kAtomicThenRead) ex.sync();
        words[0];
        ex.sync();
        copies(ex, words);
        if (fault == Fault::kOutside) words.set(kThreads + t, 0u);
        if (fault == Fault::kMisaligned) shared<uint64_t>(ex, 4, 8).set(0, uint64_t{0});
        if (fault == Fault::kDivergentBarrier && t < 40) ex.sync();
        if (fault == Fault::kDivergentWarp && t % 2 == 1) {
            ex.ballot(true);
        } else {
            ex.shuffle(t, 0);
        }
        ex.sync();
    }

private:
    template <class Ex, class View>
    DQCORE_DEVICE void copies(Ex& ex, const View& words) const {
        const int t = ex.thread();
        alignas(16) const uint32_t source[4] = {1, 2, 3, 4};
        const Global<const uint32_t> from(source, 4);
        if (t < kThreads / 4) ex.copy16(words, 4 * t, from, 0);
        ex.commit();
        if (fault != Fault::kCopyNotAwaited) wait<0>(ex);
        if (fault != Fault::kCopyWithoutBarrier) ex.sync();
        words[kThreads - 1 - t];
        ex.sync();
    }
};

}  // namespace dqcore::cuda
