// What a Python caller's `threads=` and `progress=` mean to a kernel, and how Ctrl-C reaches it.
#pragma once

#include <cxxabi.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

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
        struct Without {
            explicit Without(PythonRun& run) : run(run) { run.let_go(); }
            ~Without() { run.take(); }
            PythonRun& run;
        };
        const Without gil(*this);
        work(run_);
    }

private:
    void tick(const char* stage, int64_t done, int64_t total) override {
        struct With {
            explicit With(PythonRun& run) : run(run) { run.take(); }
            ~With() { run.let_go(); }
            PythonRun& run;
        };
        const With gil(*this);
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress_.is_none()) progress_(stage, done, total);
    }

    void let_go() { state_ = PyEval_SaveThread(); }

    // Before 3.14, Python unwinds the stack of a daemon thread that wants the GIL while the
    // interpreter leaves. Our workers still use that stack, so the thread sleeps until the process
    // is gone, which is what Python does itself since 3.14.
    void take() {
#ifdef __GLIBCXX__
        try {
            PyEval_RestoreThread(state_);
        } catch (const abi::__forced_unwind&) {
            for (;;) pause();
        }
#else
        PyEval_RestoreThread(state_);
#endif
    }

    const py::object progress_;
    const Run run_;
    PyThreadState* state_ = nullptr;  // while the GIL is let go
};

}  // namespace dqcore::bind
