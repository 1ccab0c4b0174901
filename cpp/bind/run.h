// What a Python caller's `threads=` and `progress=` mean to a kernel, and how Ctrl-C reaches it.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

#include "base/parallel.h"

namespace dqcore::bind {

namespace py = pybind11;

// Ticks take the GIL, let pending signals raise, and report progress where it is wanted.
class PythonRun final : public Watcher {
public:
    PythonRun(int64_t threads, py::object progress)
        : progress_(std::move(progress)), run_{resolve_threads(threads), this} {}

    // Runs `work(run)` without the GIL.
    template <class Work>
    void call(const Work& work) {
        const py::gil_scoped_release release;
        work(run_);
    }

private:
    void tick(const char* stage, int64_t done, int64_t total) override {
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress_.is_none()) progress_(stage, done, total);
    }

    const py::object progress_;
    const Run run_;
};

}  // namespace dqcore::bind
