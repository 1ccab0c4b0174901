// Slices on a device: the tables of cpp/slices/plan.h, narrow enough for shared memory, are counted there; the host's
// state takes the cells and makes of them what it makes of its own.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cuda/backend.h"
#include "cuda/errors.h"
#include "cuda/slices_kernels.h"
#include "slices/plan.h"
#include "slices/slices.h"
#include "slices/table.h"

namespace dqcore::cuda {
namespace {

using cpu::Cell;
using cpu::SliceInput;
using cpu::SliceState;
using cpu::uint128;

// Values of a strided column, in C order; a copy where they are not so already.
template <class T>
const T* packed_column(const char* data, int64_t stride, int64_t n, std::vector<T>& copy) {
    if (stride == int64_t{sizeof(T)} && reinterpret_cast<uintptr_t>(data) % sizeof(T) == 0)
        return reinterpret_cast<const T*>(data);
    copy.resize(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i)
        std::memcpy(&copy[static_cast<size_t>(i)], data + i * stride, sizeof(T));
    return copy.data();
}

// The tables of a plan as kernels read them, and which go together into shared memory.
struct Layout {
    std::vector<SliceTable> tables;
    std::vector<SlicePart> parts;
    std::vector<int32_t> groups;
    int64_t cells = 0;
    int32_t near_cells = 0;

    Layout(const cpu::SlicePlan& plan, const std::vector<int64_t>& n_categories) {
        int32_t used = 0;
        for (const auto& planned : plan.tables) {
            const int64_t size = cells_of(planned, n_categories);
            const bool near = size <= CountFlags::kNearCells;
            if (tables.empty() || (near && used + size > CountFlags::kNearCells)) {
                groups.push_back(static_cast<int32_t>(tables.size()));
                used = 0;
            }
            const auto first = static_cast<int32_t>(parts.size());
            int64_t stride = size;
            for (const int32_t c : planned.columns) {
                stride /= n_categories[static_cast<size_t>(c)] + 1;
                parts.push_back({c, static_cast<uint32_t>(stride)});
            }
            tables.push_back({first, static_cast<int32_t>(parts.size()), near ? used : -1,
                              static_cast<int32_t>(size), cells});
            cells += size;
            if (near) used += static_cast<int32_t>(size);
            near_cells = std::max(near_cells, used);
        }
        groups.push_back(static_cast<int32_t>(tables.size()));
    }

private:
    static int64_t cells_of(const cpu::SlicePlan::TablePlan& table,
                            const std::vector<int64_t>& n_categories) {
        if (!table.dense) {
            std::string columns;
            for (const int32_t c : table.columns)
                columns += (columns.empty() ? "" : ", ") + std::to_string(c);
            throw DeviceError("backend 'cuda' counts crossings of up to " +
                              std::to_string(cpu::kDenseCells) + " cells and " +
                              std::to_string(cpu::kAllCells) + " together; that of the columns " +
                              columns + " is beyond: run it on the CPU");
        }
        return static_cast<int64_t>(cpu::table_cells(table.columns, n_categories));
    }
};

class Counter {
public:
    Counter(SliceState& state, const SliceInput& in)
        : state_(state),
          in_(in),
          unit_(state.spec().error_exponent),
          layout_(state.plan(), state.spec().n_categories),
          tables_(uploaded(layout_.tables)),
          parts_(uploaded(layout_.parts)),
          groups_(uploaded(layout_.groups)),
          faults_(device_.alloc<uint64_t>(kSliceWords)) {}

    void run(const Run& run) {
        constexpr int64_t kMostRows = 1LL << 31;  // of a piece: its counts are of 32 bits
        const auto row_bytes = static_cast<int64_t>(in_.columns.size()) * 4 + 32;
        const int64_t piece = std::clamp<int64_t>(
            device_.free_bytes() / 2 / row_bytes / kFaultRows * kFaultRows, kFaultRows, kMostRows);
        bool binary = true;
        const int64_t n = in_.errors.size;
        for (int64_t begin = 0; begin < n; begin += piece) {
            if (run.watcher) run.watcher->tick("slices", begin, n);
            binary = count(begin, std::min(piece, n - begin)) && binary;
        }
        state_.add_rows(n, binary);
    }

private:
    template <class T>
    Device::Buffer<T> uploaded(const std::vector<T>& values) {
        auto buffer = device_.alloc<T>(static_cast<int64_t>(values.size()));
        device_.upload(buffer, values.data(), buffer.size());
        return buffer;
    }

    // Whether all errors were 0 or 1.
    bool count(int64_t begin, int64_t n) {
        constexpr std::array<uint64_t, kSliceWords> kNone{~uint64_t{0}, 0};
        device_.upload(faults_, kNone.data(), kSliceWords);
        const auto m = static_cast<int64_t>(in_.columns.size());
        auto codes = device_.alloc<uint32_t>(m * n);
        for (int64_t c = 0; c < m; ++c) read_codes(c, begin, {codes.all().data() + c * n, n});
        auto flags = device_.alloc<uint8_t>(n);
        Device::Buffer<double> losses;
        Device::Buffer<uint64_t> units;
        read_errors(begin, n, flags, losses, units);
        std::array<uint64_t, kSliceWords> words{};
        device_.download(words.data(), faults_, kSliceWords);
        if (words[kFaultBlock] != kNone[0])
            raise(begin + static_cast<int64_t>(words[kFaultBlock]) * kFaultRows);
        const SliceRows rows{codes.all(), tables_.all(), parts_.all(), n};
        if (words[kLosses] != 0)
            count_losses(rows, losses.all(), units.all());
        else
            count_flags(rows, flags.all());
        return words[kLosses] == 0;
    }

    void read_codes(int64_t column, int64_t begin, Global<uint32_t> to) {
        const cpu::CodeColumn& c = in_.columns[static_cast<size_t>(column)];
        const auto read = [&](auto zero) {
            using T = decltype(zero);
            std::vector<T> copy;
            auto raw = device_.alloc<T>(to.size());
            device_.upload(raw,
                           packed_column<T>(c.data + begin * c.stride, c.stride, to.size(), copy),
                           to.size());
            const int64_t n_categories = state_.spec().n_categories[static_cast<size_t>(column)];
            device_.launch(ReadCodes<T>{raw.all(), to, faults_.all(), to.size(), n_categories},
                           blocks_for<ReadCodes<T>>(device_, to.size()), 0);
        };
        switch (c.type) {
            case cpu::Integer::kInt8:
                return read(int8_t{});
            case cpu::Integer::kInt16:
                return read(int16_t{});
            case cpu::Integer::kInt32:
                return read(int32_t{});
            case cpu::Integer::kInt64:
                return read(int64_t{});
            case cpu::Integer::kUint8:
                return read(uint8_t{});
            case cpu::Integer::kUint16:
                return read(uint16_t{});
            case cpu::Integer::kUint32:
                return read(uint32_t{});
            case cpu::Integer::kUint64:
                return read(uint64_t{});
        }
    }

    void read_errors(int64_t begin, int64_t n, Device::Buffer<uint8_t>& flags,
                     Device::Buffer<double>& losses, Device::Buffer<uint64_t>& units) {
        const cpu::ErrorColumn& e = in_.errors;
        const char* const data = e.data + begin * e.stride;
        const double scale =
            std::ldexp(1.0, static_cast<int>(cpu::kErrorBits - state_.spec().error_exponent));
        if (e.flags) {
            std::vector<uint8_t> copy;
            auto raw = device_.alloc<uint8_t>(n);
            device_.upload(raw, packed_column<uint8_t>(data, e.stride, n, copy), n);
            using Read = ReadErrors<uint8_t>;
            device_.launch(Read{raw.all(), flags.all(), {}, faults_.all(), n, unit_.most(), scale},
                           blocks_for<Read>(device_, n), 0);
            return;
        }
        std::vector<double> copy;
        losses = device_.alloc<double>(n);
        units = device_.alloc<uint64_t>(n);
        device_.upload(losses, packed_column<double>(data, e.stride, n, copy), n);
        using Read = ReadErrors<double>;
        device_.launch(
            Read{losses.all(), flags.all(), units.all(), faults_.all(), n, unit_.most(), scale},
            blocks_for<Read>(device_, n), 0);
    }

    void count_flags(const SliceRows& rows, Global<const uint8_t> flags) {
        auto counts = device_.alloc<uint32_t>(layout_.cells * 2);
        device_.fill_zero(counts);
        const auto n_groups = static_cast<int64_t>(layout_.groups.size()) - 1;
        const int64_t shares =
            std::max<int64_t>(blocks_for<CountFlags>(device_, rows.n) / n_groups, 1);
        device_.launch(CountFlags{rows, groups_.all(), flags, counts.all(),
                                  static_cast<int32_t>(n_groups), layout_.near_cells},
                       shares * n_groups, int64_t{layout_.near_cells} * 8);
        std::vector<uint32_t> all(static_cast<size_t>(counts.size()));
        device_.download(all.data(), counts, counts.size());
        const uint128 one = unit_.most() >= 1.0 ? unit_.quantise(1.0) : 0;
        add_cells([&](int64_t at) {
            const auto i = static_cast<size_t>(at) * 2;
            const uint128 sum = all[i + 1] * one;
            return Cell{sum, sum * one, all[i + 1] > 0 ? 1.0 : 0.0, int64_t{all[i]}};
        });
    }

    void count_losses(const SliceRows& rows, Global<const double> errors,
                      Global<const uint64_t> units) {
        constexpr int64_t kMostCopies = 64, kCopiedCells = 1 << 18;
        const int64_t copies =
            std::clamp<int64_t>(kCopiedCells / std::max<int64_t>(layout_.cells, 1), 1, kMostCopies);
        auto cells = device_.alloc<uint64_t>(copies * layout_.cells * kLossWords);
        device_.fill_zero(cells);
        device_.launch(CountLosses{rows, errors, units, cells.all(),
                                   static_cast<int32_t>(layout_.tables.size()),
                                   static_cast<int32_t>(copies), layout_.cells},
                       blocks_for<CountLosses>(device_, rows.n), 0);
        std::vector<uint64_t> all(static_cast<size_t>(cells.size()));
        device_.download(all.data(), cells, cells.size());
        add_cells([&](int64_t at) {
            Cell sum;
            for (int64_t copy = 0; copy < copies; ++copy)
                sum.add(cell_of(all.data() + (copy * layout_.cells + at) * kLossWords));
            return sum;
        });
    }

    static Cell cell_of(const uint64_t* words) {
        Cell cell;
        cell.size = static_cast<int64_t>(words[kRowsWord]);
        cell.sum = uint128{words[kSum0]} + (uint128{words[kSum1]} << 32);
        cell.squares = uint128{words[kSquare0]} + (uint128{words[kSquare1]} << 32) +
                       (uint128{words[kSquare2]} << 64);
        std::memcpy(&cell.max, words + kMostLoss, sizeof cell.max);
        return cell;
    }

    template <class CellAt>
    void add_cells(const CellAt& cell_at) {
        for (size_t t = 0; t < layout_.tables.size(); ++t) {
            const SliceTable& table = layout_.tables[t];
            for (int64_t key = 0; key < table.cells; ++key) {
                const Cell cell = cell_at(table.first_cell + key);
                if (cell.size > 0) state_.add_cell(t, static_cast<uint128>(key), cell);
            }
        }
    }

    // Says what the CPU says of the block of rows from `begin` on.
    [[noreturn]] void raise(int64_t begin) const {
        cpu::Block block(in_.columns.size());
        block.load(in_, state_.spec(), unit_, begin, std::min(begin + kFaultRows, in_.errors.size));
        throw std::invalid_argument("errors and columns must not change during the call");
    }

    Device device_;
    SliceState& state_;
    const SliceInput& in_;
    const cpu::ErrorUnit unit_;
    const Layout layout_;
    Device::Buffer<SliceTable> tables_;
    Device::Buffer<SlicePart> parts_;
    Device::Buffer<int32_t> groups_;
    Device::Buffer<uint64_t> faults_;
};

}  // namespace

SliceState counted(cpu::SliceSpec spec, const SliceInput& in, const Run& run) {
    spec.wide_cells = CountFlags::kNearCells;
    SliceState state(std::move(spec));
    if (in.errors.size > 0) Counter(state, in).run(run);
    return state;
}

}  // namespace dqcore::cuda
