// Fibers: stacks that the CPU executor switches between, so that every thread of a block can stop in the midst of a
// kernel's body. Switching is a few instructions; only the first entry to a stack goes through ucontext.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <memory>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace dqcore::cuda {

class Fiber {
public:
    // A fiber that is entered at `entry(argument)` when first switched to; entry must not return.
    void prepare(void (*entry)(void*), void* argument) {
        if (!stack_) stack_ = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(stack_.get(),
                                      kStackBytes);  // of frames that were left for good
#endif
        bottom_ = stack_.get();
        size_ = kStackBytes - colour_;
        entry_ = entry;
        argument_ = argument;
        started_ = false;
    }

    // Leaves `from`, the fiber that runs, for `to`. `last`: from is never entered again.
    static void change(Fiber& from, Fiber& to, bool last = false) {
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_, to.bottom_, to.size_);
#endif
        (void)last;
        leaving_ = &from;
        leave(from, to);
        arrive(from);
    }

private:
    // Stacks that begin at one place of their pages would share a few lines of the cache.
    static size_t next_colour() {
        static thread_local size_t count = 0;
        return ++count % 32 * 1088;
    }

    static constexpr size_t kStackBytes = size_t{1} << 18;  // touched as far as used

    [[gnu::noinline, gnu::no_sanitize("address")]] static void leave(Fiber& from, Fiber& to) {
        if (__builtin_setjmp(from.place_) == 0) enter(to);
    }
    [[gnu::noinline, gnu::no_sanitize("address")]] static void enter(Fiber& to) {
        if (to.started_ || !to.stack_) __builtin_longjmp(to.place_, 1);
        to.started_ = true;
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = to.bottom_;
        context.uc_stack.ss_size = to.size_;
        context.uc_link = nullptr;
        starting_ = &to;
        makecontext(&context, &Fiber::start, 0);
        setcontext(&context);
    }
    static void start() {
        Fiber& self = *starting_;
        arrive(self);
        self.entry_(self.argument_);
    }
    // On the stack of `self` again: tells the sanitizer, and learns the bounds of the stack that was left.
    static void arrive([[maybe_unused]] Fiber& self) {
#if defined(__SANITIZE_ADDRESS__)
        const void* bottom;
        size_t size;
        __sanitizer_finish_switch_fiber(self.fake_, &bottom, &size);
        leaving_->bottom_ = const_cast<void*>(bottom);
        leaving_->size_ = size;
#endif
    }

    static thread_local inline Fiber* starting_ = nullptr;
    static thread_local inline Fiber* leaving_ = nullptr;

    size_t colour_ = next_colour();
    std::unique_ptr<std::byte[]> stack_;  // none: the caller's own
    void* bottom_ = nullptr;
    size_t size_ = 0;
    void* fake_ = nullptr;
    void* place_[5] = {};
    void (*entry_)(void*) = nullptr;
    void* argument_ = nullptr;
    bool started_ = false;
};

}  // namespace dqcore::cuda
