// Threads, cancellation and progress: the one place that has them.
//
// A crew is started for one call and joined before the call returns. Nothing outlives a call, so a
// fork, an interpreter's exit or a sanitizer finds no thread of ours; a start costs some 20 us.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace dqcore {

// Thrown inside a worker when the call has been cancelled; never leaves parallel_for.
struct Stopped {};

// Called on the thread that made the call, every kTickMilliseconds; what it throws ends the call.
class Watcher {
public:
    virtual ~Watcher() = default;
    virtual void tick(const char* stage, int64_t done, int64_t total) = 0;
};

// What a long call carries from its caller.
struct Run {
    int threads = 1;             // as resolve_threads returned it
    Watcher* watcher = nullptr;  // may be null
};

// Handed to each worker: which of the `threads` it is, and whether to go on.
class Worker {
public:
    Worker(int id, const std::atomic<bool>& stop) : id(id), stop_(stop) {}
    const int id;

    // Throws Stopped where the call has been cancelled. A relaxed load: cheap enough for inner
    // loops, which call it at least once in some 10 ms of work.
    void check() const {
        if (stop_.load(std::memory_order_relaxed)) throw Stopped{};
    }

private:
    const std::atomic<bool>& stop_;
};

inline constexpr int kTickMilliseconds =
    20;  // an interrupt is seen within 100 ms, with room to spare

// 0 means all the process may use: DQCORE_THREADS, else affinity and the cgroup's quota.
// Throws std::invalid_argument where DQCORE_THREADS is not a positive number.
int resolve_threads(int64_t requested);

// Calls body(chunk, worker) once for each chunk in [0, chunks), on up to run.threads workers.
//
// What a chunk is must never depend on the number of threads: a caller that keeps one order-free
// state for each worker and merges them then gets the same bits from 1 thread and from 64. The
// first exception stops the others and is rethrown here, once; so is what the watcher throws.
void parallel_for(const Run& run, const char* stage, int64_t chunks,
                  const std::function<void(int64_t, const Worker&)>& body);

// For tests of the crew: each chunk sleeps in steps of a millisecond; one may throw
// std::runtime_error.
void run_chunks(const Run& run, int64_t chunks, int64_t failing_chunk, int64_t milliseconds);

// Rows for one chunk: about a quarter of a megabyte, so that a chunk fits a core's cache.
inline int64_t rows_per_chunk(int64_t bytes_per_row) {
    constexpr int64_t kChunkBytes = 1 << 18;
    const int64_t rows = kChunkBytes / (bytes_per_row > 0 ? bytes_per_row : 1);
    return rows < 1 ? 1 : rows;
}

// The common case: rows [begin, end) in chunks of `chunk_rows`.
template <class Body>
void parallel_rows(const Run& run, const char* stage, int64_t rows, int64_t chunk_rows,
                   const Body& body) {
    parallel_for(run, stage, (rows + chunk_rows - 1) / chunk_rows,
                 [&](int64_t chunk, const Worker& worker) {
                     const int64_t begin = chunk * chunk_rows;
                     const int64_t end = begin + chunk_rows < rows ? begin + chunk_rows : rows;
                     body(begin, end, worker);
                 });
}

}  // namespace dqcore
