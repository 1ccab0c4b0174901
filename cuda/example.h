// The smallest kernel that shows all of exec.h's parts: sums of rows, in shared memory and by shuffles. For its tests.
#pragma once

#include <vector>

#include "cuda/exec.h"

namespace dqcore::cuda {

// y[r] = sum of x[r, :], modulo 2^32, a block for each row; total[0] = the sum of all.
struct RowSums {
    static constexpr const char* kName = "row_sums";
    static constexpr int kThreads = 64, kBlocks = 1;
    static constexpr int64_t kSharedBytes = kThreads / kWarp * 4;

    Global<const uint32_t> x;
    Global<uint32_t> y, total;
    int64_t cols;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const auto partial = shared<uint32_t>(ex, 0, kThreads / kWarp);
        uint32_t sum = 0;
        for (int64_t c = ex.thread(); c < cols; c += kThreads) sum += x[ex.block() * cols + c];
        for (int by = kWarp / 2; by > 0; by /= 2) sum += ex.shuffle_down(sum, by);
        if (ex.lane() == 0) partial.set(ex.warp(), sum);
        ex.sync();
        if (ex.thread() > 0) return;
        for (int w = 1; w < kThreads / kWarp; ++w) sum += partial[w];
        y.set(ex.block(), sum);
        ex.atomic_add(total, 0, sum);
    }
};

// The sums of n rows, and of all of them behind.
template <class Device>
std::vector<uint32_t> row_sums(Device& device, const uint32_t* x, int64_t n, int64_t cols) {
    auto in = device.template alloc<uint32_t>(n * cols);
    auto out = device.template alloc<uint32_t>(n);
    auto total = device.template alloc<uint32_t>(1);
    device.upload(in, x, n * cols);
    device.fill_zero(total);
    device.launch(RowSums{in.all(), out.all(), total.all(), cols}, n, RowSums::kSharedBytes);
    std::vector<uint32_t> sums(static_cast<size_t>(n) + 1);
    device.download(sums.data(), out, n);
    device.download(sums.data() + n, total, 1);
    return sums;
}

}  // namespace dqcore::cuda
