#include "base/parallel.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace dqcore {
namespace {

// More threads than this are never started, whatever was asked for.
constexpr int64_t kMostThreads = 512;

int allowed_processors() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Processors that the container's quota pays for, rounded up; a large number where there is no
// quota.
int64_t cgroup_processors() {
    double quota = 0, period = 0;
    std::string word;
    if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> word >> period && word != "max") {
        quota = std::strtod(word.c_str(), nullptr);
    } else {
        std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
        std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
        if (!(quota_file >> quota) || !(period_file >> period)) return kMostThreads;
    }
    if (quota <= 0 || period <= 0) return kMostThreads;
    return std::max<int64_t>(1, static_cast<int64_t>((quota + period - 1) / period));
}

// What the workers of one call share.
class Crew {
public:
    Crew(int64_t chunks, const std::function<void(int64_t, const Worker&)>& body)
        : chunks_(chunks), body_(body) {}

    void work(int id) noexcept {
        const Worker worker(id, stop_);
        try {
            for (int64_t chunk; (chunk = next_.fetch_add(1)) < chunks_;) {
                worker.check();
                body_(chunk, worker);
                done_.fetch_add(1, std::memory_order_relaxed);
            }
        } catch (const Stopped&) {
        } catch (...) {
            fail(std::current_exception());
        }
        const std::lock_guard lock(mutex_);
        --running_;
        finished_.notify_one();
    }

    // On the calling thread: ticks until the last worker is through.
    void watch(const char* stage, Watcher* watcher) {
        std::unique_lock lock(mutex_);
        while (running_ > 0) {
            finished_.wait_for(lock, std::chrono::milliseconds(kTickMilliseconds));
            if (running_ == 0 || !watcher || stop_.load()) continue;
            lock.unlock();
            try {
                watcher->tick(stage, done_.load(std::memory_order_relaxed), chunks_);
            } catch (...) {
                fail(std::current_exception());
            }
            lock.lock();
        }
    }

    void starting() {
        const std::lock_guard lock(mutex_);
        ++running_;
    }
    void did_not_start() {
        const std::lock_guard lock(mutex_);
        --running_;
    }
    void rethrow() const {
        if (error_) std::rethrow_exception(error_);
    }

private:
    void fail(std::exception_ptr error) {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::move(error);
        stop_ = true;
    }

    const int64_t chunks_;
    const std::function<void(int64_t, const Worker&)>& body_;
    std::atomic<int64_t> next_{0}, done_{0};
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::condition_variable finished_;
    int running_ = 0;
    std::exception_ptr error_;
};

}  // namespace

int resolve_threads(int64_t requested) {
    if (requested > 0) return static_cast<int>(std::min(requested, kMostThreads));
    if (const char* text = std::getenv("DQCORE_THREADS")) {  // NOLINT(concurrency-mt-unsafe)
        char* end = nullptr;
        const long long value = std::strtoll(text, &end, 10);
        if (end == text || *end != '\0' || value < 1) {
            throw std::invalid_argument(
                "DQCORE_THREADS must be a whole number of at least 1, got '" + std::string(text) +
                "'");
        }
        return static_cast<int>(std::min<int64_t>(value, kMostThreads));
    }
    static const int64_t quota = cgroup_processors();
    return static_cast<int>(std::min<int64_t>(allowed_processors(), quota));
}

void parallel_for(const Run& run, const char* stage, int64_t chunks,
                  const std::function<void(int64_t, const Worker&)>& body) {
    if (chunks <= 0) return;
    Crew crew(chunks, body);
    // One chunk is too little to be worth a thread: the caller does it.
    const auto threads = static_cast<int>(std::min<int64_t>(std::max(1, run.threads), chunks));
    std::vector<std::thread> workers;
    workers.reserve(static_cast<size_t>(threads));
    for (int id = 0; id < threads && chunks > 1; ++id) {
        crew.starting();
        try {
            workers.emplace_back(&Crew::work, &crew, id);
        } catch (
            const std::system_error&) {  // no more threads to be had: go on with those there are
            crew.did_not_start();
            break;
        }
    }
    if (workers.empty()) {
        crew.starting();
        crew.work(0);
    }
    crew.watch(stage, run.watcher);
    for (auto& worker : workers) worker.join();
    crew.rethrow();
    if (run.watcher) run.watcher->tick(stage, chunks, chunks);
}

void run_chunks(const Run& run, int64_t chunks, int64_t failing_chunk, int64_t milliseconds) {
    parallel_for(run, "chunks", chunks, [&](int64_t chunk, const Worker& worker) {
        for (int64_t t = 0; t < milliseconds; ++t) {
            worker.check();
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        if (chunk == failing_chunk) throw std::runtime_error("chunk failed as asked");
    });
}

}  // namespace dqcore
