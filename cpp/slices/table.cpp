#include "slices/table.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace dqcore::cpu {
namespace {

constexpr uint32_t kNoCode = UINT32_MAX;
constexpr int64_t kMostPackedRows = (1LL << 32) - 1;  // either half may reach this

// Calls body(i, element i) for a column slice; contiguous elements get a loop of their own, which
// compilers turn into vector loads.
template <class T, class Body>
void each_element(const char* data, int64_t stride, int64_t rows, const Body& body) {
    T value;
    if (stride == int64_t{sizeof(T)}) {
        for (int64_t i = 0; i < rows; ++i) {
            std::memcpy(&value, data + i * int64_t{sizeof(T)}, sizeof value);
            body(i, value);
        }
    } else {
        for (int64_t i = 0; i < rows; ++i) {
            std::memcpy(&value, data + i * stride, sizeof value);
            body(i, value);
        }
    }
}

[[noreturn]] void bad_code(int64_t column, int64_t row, int64_t n_categories) {
    throw std::invalid_argument(
        "columns must be codes in [0, n_categories) or -1 for missing: row " + std::to_string(row) +
        ", column " + std::to_string(column) + " is not below " + std::to_string(n_categories));
}

// Returns whether every code is in [-1, n). `out` gets code + 1, or kNoCode.
template <class T>
bool load_codes(const char* data, int64_t stride, int64_t rows, int64_t n, uint32_t* out) {
    uint32_t bad = 0;
    const auto put = [&](int64_t i, bool inside, uint32_t code) {
        bad |= inside ? 0u : 1u;
        out[i] = inside ? code : kNoCode;
    };
    if constexpr (sizeof(T) < 4 || (sizeof(T) == 4 && std::is_signed_v<T>)) {
        const auto most = static_cast<uint32_t>(n);
        each_element<T>(data, stride, rows, [&](int64_t i, T value) {
            const uint32_t code = static_cast<uint32_t>(static_cast<int32_t>(value)) + 1u;
            put(i, code <= most, code);
        });
    } else if constexpr (std::is_signed_v<T>) {
        each_element<T>(data, stride, rows, [&](int64_t i, T value) {
            put(i, value >= -1 && value < n, static_cast<uint32_t>(value) + 1u);
        });
    } else {
        each_element<T>(data, stride, rows, [&](int64_t i, T value) {
            put(i, value < static_cast<uint64_t>(n), static_cast<uint32_t>(value) + 1u);
        });
    }
    return bad == 0;
}

bool load_codes(const CodeColumn& c, int64_t begin, int64_t rows, int64_t n, uint32_t* out) {
    const char* data = c.data + begin * c.stride;
    switch (c.type) {
        case Integer::kInt8:
            return load_codes<int8_t>(data, c.stride, rows, n, out);
        case Integer::kInt16:
            return load_codes<int16_t>(data, c.stride, rows, n, out);
        case Integer::kInt32:
            return load_codes<int32_t>(data, c.stride, rows, n, out);
        case Integer::kInt64:
            return load_codes<int64_t>(data, c.stride, rows, n, out);
        case Integer::kUint8:
            return load_codes<uint8_t>(data, c.stride, rows, n, out);
        case Integer::kUint16:
            return load_codes<uint16_t>(data, c.stride, rows, n, out);
        case Integer::kUint32:
            return load_codes<uint32_t>(data, c.stride, rows, n, out);
        case Integer::kUint64:
            break;
    }
    return load_codes<uint64_t>(data, c.stride, rows, n, out);
}

[[noreturn]] void bad_error(int64_t row, double value) {
    throw std::invalid_argument(
        "errors must be 0 or 1, or finite losses of at least 0 and at most max_abs_error: row " +
        std::to_string(row) + " is " + std::to_string(value));
}

}  // namespace

void read_codes(const CodeColumn& c, int64_t column, int64_t begin, int64_t rows,
                int64_t n_categories, uint32_t* out) {
    if (load_codes(c, begin, rows, n_categories, out)) return;
    bad_code(column, begin + (std::find(out, out + rows, kNoCode) - out), n_categories);
}

ErrorUnit::ErrorUnit(int64_t exponent)
    : scale_(std::ldexp(1.0, static_cast<int>(kErrorBits - exponent))),
      unit_(std::ldexp(1.0, static_cast<int>(exponent - kErrorBits))),
      most_(std::ldexp(1.0, static_cast<int>(exponent))) {}

double ErrorUnit::deviation(int64_t size, uint128 sum, uint128 squares) const {
    if (size == 0) return 0.0;
    const auto n = static_cast<uint128>(size);
    // Around a whole number near the mean, all in integers; then the rest, below `size` in sum.
    const uint128 center = sum / n;
    const uint128 around = squares - 2 * center * sum + n * center * center;
    const auto rest = static_cast<double>(sum - n * center);
    const double units = static_cast<double>(around) - rest * rest / static_cast<double>(size);
    return units * unit_ * unit_;
}

void Block::load(const SliceInput& in, const SliceSpec& spec, const ErrorUnit& unit, int64_t begin,
                 int64_t end) {
    rows = end - begin;
    for (size_t c = 0; c < in.columns.size(); ++c) {
        uint32_t* out = codes.data() + c * kBlockRows;
        const int64_t n = spec.n_categories[c];
        read_codes(in.columns[c], static_cast<int64_t>(c), begin, rows, n, out);
    }

    const ErrorColumn& e = in.errors;
    const char* data = e.data + begin * e.stride;
    flags.resize(kBlockRows);
    binary = true;
    if (e.flags) {
        uint8_t most = 0;
        each_element<uint8_t>(data, e.stride, rows, [&](int64_t i, uint8_t value) {
            most |= value;
            flags[static_cast<size_t>(i)] = 1u + (static_cast<uint64_t>(value) << 32);
        });
        const uint64_t allowed = unit.most() >= 1.0 ? 1 : 0;
        if (most > allowed) {
            for (int64_t i = 0; i < rows; ++i) {
                const uint64_t value = flags[static_cast<size_t>(i)] >> 32;
                if (value > allowed) bad_error(begin + i, static_cast<double>(value));
            }
        }
        return;
    }
    errors.resize(kBlockRows);
    each_element<double>(data, e.stride, rows, [&](int64_t i, double value) {
        errors[static_cast<size_t>(i)] = value + 0.0;  // -0.0 becomes +0.0
    });
    for (int64_t i = 0; i < rows; ++i) {
        const double value = errors[static_cast<size_t>(i)];
        if (!(value >= 0.0 && value <= unit.most())) bad_error(begin + i, value);
        binary = binary && (value == 0.0 || value == 1.0);
    }
    if (binary) {
        for (int64_t i = 0; i < rows; ++i) {
            const auto error = static_cast<uint64_t>(errors[static_cast<size_t>(i)]);
            flags[static_cast<size_t>(i)] = 1u + (error << 32);
        }
        return;
    }
    quantised.resize(kBlockRows);
    for (int64_t i = 0; i < rows; ++i) {
        quantised[static_cast<size_t>(i)] = unit.quantise(errors[static_cast<size_t>(i)]);
    }
}

uint128 table_cells(const std::vector<int32_t>& columns, const std::vector<int64_t>& n_categories) {
    uint128 cells = 1;
    for (const int32_t c : columns) {
        const auto radix = static_cast<uint128>(n_categories[static_cast<size_t>(c)]) + 1;
        if (__builtin_mul_overflow(cells, radix, &cells)) {
            throw std::invalid_argument("a crossing of columns has 2^128 cells or more");
        }
    }
    return cells;
}

size_t KeyIndex::home(uint128 key) const {
    // The finaliser of splitmix64 (Steele, Lea, Flood 2014) over both halves.
    uint64_t x =
        static_cast<uint64_t>(key) ^ (static_cast<uint64_t>(key >> 64) * 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return static_cast<size_t>(x ^ (x >> 31)) & (places_.size() - 1);
}

void KeyIndex::grow() {
    places_.assign(places_.empty() ? 1024 : places_.size() * 2, 0);
    for (size_t slot = 0; slot < keys_.size(); ++slot) {
        size_t at = home(keys_[slot]);
        while (places_[at] != 0) at = (at + 1) & (places_.size() - 1);
        places_[at] = static_cast<uint32_t>(slot + 1);
    }
}

uint32_t KeyIndex::find_or_add(uint128 key) {
    if (2 * (keys_.size() + 1) > places_.size()) grow();
    size_t at = home(key);
    while (places_[at] != 0) {
        if (keys_[places_[at] - 1] == key) return places_[at] - 1;
        at = (at + 1) & (places_.size() - 1);
    }
    if (keys_.size() >= UINT32_MAX - 1) throw std::bad_alloc();
    keys_.push_back(key);
    places_[at] = static_cast<uint32_t>(keys_.size());
    return places_[at] - 1;
}

Table::Table(std::vector<int32_t> columns, std::vector<int64_t> categories, bool dense,
             const ErrorUnit& unit)
    : columns_(std::move(columns)),
      categories_(std::move(categories)),
      stride_(columns_.size()),
      dense_(dense),
      unit_(unit),
      one_(unit.most() >= 1.0 ? unit.quantise(1.0) : 0) {
    std::vector<int32_t> positions(columns_.size());
    std::iota(positions.begin(), positions.end(), 0);
    cells_ = table_cells(positions, categories_);
    uint128 stride = cells_;
    for (size_t i = 0; i < columns_.size(); ++i) {  // the first column varies slowest
        stride /= static_cast<uint128>(categories_[i]) + 1;
        stride_[i] = stride;
    }
}

size_t Table::slots() const { return dense_ ? static_cast<size_t>(cells_) : index_.keys().size(); }

void Table::find_slots(Block& block) {
    uint32_t* slots = block.slots.data();
    const int64_t rows = block.rows;
    if (dense_) {
        const auto first = static_cast<uint32_t>(stride_[0]);
        const uint32_t* codes = block.column(columns_[0]);
        for (int64_t i = 0; i < rows; ++i) slots[i] = codes[i] * first;
        for (size_t c = 1; c < columns_.size(); ++c) {
            const auto stride = static_cast<uint32_t>(stride_[c]);
            codes = block.column(columns_[c]);
            for (int64_t i = 0; i < rows; ++i) slots[i] += codes[i] * stride;
        }
        return;
    }
    for (int64_t i = 0; i < rows; ++i) {
        uint128 key = 0;
        for (size_t c = 0; c < columns_.size(); ++c)
            key += block.column(columns_[c])[i] * stride_[c];
        slots[i] = index_.find_or_add(key);
    }
}

void Table::count(Block& block) {
    find_slots(block);
    if (block.binary) {
        count_flags(block);
    } else {
        count_losses(block);
    }
}

void Table::count_flags(const Block& block) {
    if (packed_rows_ + block.rows > kMostPackedRows) flush();
    packed_rows_ += block.rows;
    packed_.resize(slots());
    uint64_t* packed = packed_.data();
    const uint32_t* slot = block.slots.data();
    const uint64_t* flags = block.flags.data();
    for (int64_t i = 0; i < block.rows; ++i) packed[slot[i]] += flags[i];
}

void Table::count_losses(const Block& block) {
    full_.resize(slots());
    for (int64_t i = 0; i < block.rows; ++i) {
        const auto row = static_cast<size_t>(i);
        Cell& cell = full_[block.slots[row]];
        const uint64_t units = block.quantised[row];
        cell.sum += units;
        cell.squares += static_cast<uint128>(units) * units;
        if (block.errors[row] > cell.max) cell.max = block.errors[row];
        ++cell.size;
    }
}

Cell Table::unpacked(uint64_t packed) const {
    const uint64_t errors = packed >> 32;
    Cell cell;
    cell.sum = static_cast<uint128>(errors) * one_;
    cell.squares = cell.sum * one_;
    cell.max = errors > 0 ? 1.0 : 0.0;
    cell.size = static_cast<int64_t>(packed & 0xffffffffu);
    return cell;
}

Cell Table::cell(size_t slot) const {
    Cell cell = slot < packed_.size() ? unpacked(packed_[slot]) : Cell{};
    if (slot < full_.size()) cell.add(full_[slot]);
    return cell;
}

void Table::flush() {
    full_.resize(slots());
    for (size_t slot = 0; slot < packed_.size(); ++slot) full_[slot].add(unpacked(packed_[slot]));
    std::fill(packed_.begin(), packed_.end(), 0u);
    packed_rows_ = 0;
}

void Table::merge(const Table& other) {
    if (packed_rows_ + other.packed_rows_ > kMostPackedRows) flush();
    packed_rows_ += other.packed_rows_;
    std::vector<uint32_t> place(dense_ ? 0 : other.slots());
    for (size_t slot = 0; slot < place.size(); ++slot)
        place[slot] = index_.find_or_add(other.index_.keys()[slot]);
    const auto mine = [&](size_t slot) { return dense_ ? slot : size_t{place[slot]}; };
    if (!other.packed_.empty()) packed_.resize(slots());
    for (size_t slot = 0; slot < other.packed_.size(); ++slot)
        packed_[mine(slot)] += other.packed_[slot];
    if (!other.full_.empty()) full_.resize(slots());
    for (size_t slot = 0; slot < other.full_.size(); ++slot)
        full_[mine(slot)].add(other.full_[slot]);
}

void Table::add(uint128 key, const Cell& cell) {
    const size_t slot = dense_ ? static_cast<size_t>(key) : size_t{index_.find_or_add(key)};
    if (slot >= full_.size()) full_.resize(slots());
    full_[slot].add(cell);
}

int64_t Table::digit(uint128 key, size_t i) const {
    const auto radix = static_cast<uint64_t>(categories_[i]) + 1;
    if (cells_ >> 64 == 0) {  // a division of 64 bits is many times faster
        return static_cast<int64_t>(static_cast<uint64_t>(key) / static_cast<uint64_t>(stride_[i]) %
                                    radix);
    }
    return static_cast<int64_t>(key / stride_[i] % radix);
}

void Table::each(const Visit& visit) const {
    const size_t n = slots();
    for (size_t slot = 0; slot < n; ++slot) {
        const Cell one = cell(slot);
        if (one.size > 0) visit(dense_ ? static_cast<uint128>(slot) : index_.keys()[slot], one);
    }
}

void Table::each_sorted(const Visit& visit) const {
    if (dense_) return each(visit);
    const std::vector<uint128>& keys = index_.keys();
    std::vector<uint32_t> order(keys.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(),
              [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
    for (const uint32_t slot : order) {
        const Cell one = cell(slot);
        if (one.size > 0) visit(keys[slot], one);
    }
}

// Adds dense cells to those of some of their columns. `step` is the target's stride of each column,
// 0 where it is summed over; a missing code (digit 0) of a column that stays is left out.
template <class T, class Plus>
void Table::sum_out(const std::vector<T>& from, const std::vector<int64_t>& step, size_t to_slots,
                    std::vector<T>& to, const Plus& plus) const {
    to.resize(to_slots);
    const size_t last = columns_.size() - 1;
    const int64_t radix = categories_[last] + 1;
    std::vector<int64_t> digits(columns_.size(), 0);
    for (size_t begin = 0; begin < from.size(); begin += static_cast<size_t>(radix)) {
        int64_t base = 0;
        bool missing = false;
        for (size_t i = 0; i < last; ++i) {
            missing = missing || (step[i] > 0 && digits[i] == 0);
            base += digits[i] * step[i];
        }
        if (!missing) {
            for (int64_t d = step[last] > 0 ? 1 : 0; d < radix; ++d) {
                plus(to[static_cast<size_t>(base + d * step[last])],
                     from[begin + static_cast<size_t>(d)]);
            }
        }
        for (size_t i = last; i-- > 0;) {  // the next combination of all columns but the last
            if (++digits[i] <= categories_[i]) break;
            digits[i] = 0;
        }
    }
}

int64_t Table::projected_bytes(const std::vector<int32_t>& columns) const {
    uint128 cells = 1;  // no more than of this table
    for (const int32_t c : columns) {
        const auto at = std::lower_bound(columns_.begin(), columns_.end(), c) - columns_.begin();
        cells *= static_cast<uint128>(categories_[static_cast<size_t>(at)]) + 1;
    }
    if (cells > static_cast<uint128>(kDenseCells)) return 3 * held_bytes();  // as it grows
    return static_cast<int64_t>(cells) * static_cast<int64_t>(sizeof(uint64_t) + sizeof(Cell));
}

Table Table::project(const std::vector<int32_t>& columns) const {
    std::vector<size_t> position;
    std::vector<int64_t> categories;
    for (const int32_t c : columns) {
        const auto at = std::lower_bound(columns_.begin(), columns_.end(), c) - columns_.begin();
        position.push_back(static_cast<size_t>(at));
        categories.push_back(categories_[static_cast<size_t>(at)]);
    }
    std::vector<int32_t> all(columns.size());
    std::iota(all.begin(), all.end(), 0);
    const bool dense = table_cells(all, categories) <= static_cast<uint128>(kDenseCells);
    Table to(columns, categories, dense, unit_);
    if (dense_ && dense) {
        const auto plus = [](auto& sum, const auto& cell) {
            if constexpr (std::is_same_v<std::decay_t<decltype(cell)>, Cell>) {
                sum.add(cell);
            } else {
                sum += cell;
            }
        };
        std::vector<int64_t> step(columns_.size(), 0);
        for (size_t i = 0; i < position.size(); ++i)
            step[position[i]] = static_cast<int64_t>(to.stride_[i]);
        to.packed_rows_ = packed_rows_;
        if (!packed_.empty()) sum_out(packed_, step, to.slots(), to.packed_, plus);
        if (!full_.empty()) sum_out(full_, step, to.slots(), to.full_, plus);
        return to;
    }
    each([&](uint128 key, const Cell& cell) {
        uint128 to_key = 0;
        for (size_t i = 0; i < position.size(); ++i) {
            const int64_t digit_here = digit(key, position[i]);
            if (digit_here == 0) return;
            to_key += static_cast<uint128>(digit_here) * to.stride_[i];
        }
        to.add(to_key, cell);
    });
    return to;
}

}  // namespace dqcore::cpu
