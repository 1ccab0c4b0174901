#include "slices/search_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>

namespace dqcore::cpu {
namespace {

constexpr int64_t kChunkRows = 1 << 15;
constexpr size_t kRowsPerCheck = 1 << 18;  // a few ms of sorting
constexpr int64_t kLinePlaces = 512;       // a cache line of bits
constexpr int64_t kFewRuns = 64;           // so many values of an error get segments of their own
constexpr int kKeyBits = 20, kDigit = 10;  // of a double: its exponent and 8 bits of its fraction

double read_number(const ErrorColumn& e, int64_t row) {
    if (e.flags) return static_cast<double>(static_cast<uint8_t>(e.data[row * e.stride]));
    double value;
    std::memcpy(&value, e.data + row * e.stride, sizeof value);
    return value + 0.0;  // -0.0 becomes +0.0
}

[[noreturn]] void bad_number(const char* what, int64_t row, double value) {
    throw std::invalid_argument(std::string(what) + ": row " + std::to_string(row) + " is " +
                                std::to_string(value));
}

// The larger a number, the lower its key. Numbers of one key differ by less than one part in 256.
uint32_t key_of(double value) {
    return (1u << kKeyBits) - 1 -
           static_cast<uint32_t>(std::bit_cast<uint64_t>(value) >> (64 - kKeyBits));
}

// Sorts `order` by key, equal keys as they were.
void sort_by_key(std::vector<int64_t>& order, const std::vector<double>& values,
                 const Worker& worker) {
    constexpr uint32_t kMask = (1u << kDigit) - 1;
    constexpr int kPasses = kKeyBits / kDigit;
    std::array<std::array<int64_t, kMask + 2>, kPasses> start{};
    for (size_t i = 0; i < values.size(); ++i) {
        if (i % kRowsPerCheck == 0) worker.check();
        const uint32_t key = key_of(values[i]);
        for (int p = 0; p < kPasses; ++p)
            ++start[static_cast<size_t>(p)][((key >> (p * kDigit)) & kMask) + 1];
    }
    std::vector<int64_t> other(order.size());
    for (int p = 0; p < kPasses; ++p) {
        auto& next = start[static_cast<size_t>(p)];
        std::partial_sum(next.begin(), next.end(), next.begin());
        for (size_t i = 0; i < order.size(); ++i) {
            if (i % kRowsPerCheck == 0) worker.check();
            const int64_t row = order[i];
            const uint32_t key = key_of(values[static_cast<size_t>(row)]);
            other[static_cast<size_t>(next[(key >> (p * kDigit)) & kMask]++)] = row;
        }
        order.swap(other);
    }
}

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace

void RowSums::add(const RowSums& other) {
    size += other.size;
    sum += other.sum;
    squares += other.squares;
    weight += other.weight;
    weight_squares += other.weight_squares;
    if (other.max > max) max = other.max;
}

RowSums RowSums::times(int64_t rows) const {
    const auto n = static_cast<uint128>(rows);
    return {size * rows, sum * n, squares * n, weight * n, weight_squares * n, max};
}

// ---- errors and weights ---------------------------------------------------------------------------

SearchRows::SearchRows(const SearchInput& in, const SearchSpec& spec, const Run& run)
    : weighted_(in.weighted),
      error_unit_(spec.error_exponent),
      weight_unit_(in.weighted ? spec.weight_exponent : kErrorBits),
      product_unit_(spec.error_exponent + (in.weighted ? spec.weight_exponent : 0)),
      square_unit_(in.weighted ? 2 * spec.error_exponent + spec.weight_exponent : 0),
      weight_square_unit_(in.weighted ? 2 * spec.weight_exponent : 0) {
    read(in, run);
    // Two chunks, so that the caller's thread is free to see an interrupt; the second has nothing to do.
    std::vector<int64_t> order, starts;
    parallel_for(run, "ordering", 2, [&](int64_t chunk, const Worker& worker) {
        if (chunk > 0) return;
        order = ordered(worker);
        worker.check();
        starts = runs(order);
    });
    cut(order, starts, run);
}

void SearchRows::read(const SearchInput& in, const Run& run) {
    const int64_t n = in.rows.errors.size;
    errors_.resize(static_cast<size_t>(n));
    if (weighted_) weights_.resize(static_cast<size_t>(n));
    const int64_t chunks = (n + kChunkRows - 1) / kChunkRows;
    std::vector<uint8_t> binary(static_cast<size_t>(chunks), 1);
    parallel_rows(run, "reading", n, kChunkRows, [&](int64_t begin, int64_t end, const Worker&) {
        bool all = true;
        for (int64_t i = begin; i < end; ++i) {
            const double e = read_number(in.rows.errors, i);
            const bool flag = e == 0.0 || e == 1.0;
            if (!(e >= 0.0 && e <= error_unit_.most()) || (in.rows.errors.flags && !flag)) {
                bad_number(
                    "errors must be 0 or 1, or finite losses of at least 0 and at most "
                    "max_abs_error",
                    i, e);
            }
            all = all && flag;
            errors_[static_cast<size_t>(i)] = e;
            if (!weighted_) continue;
            const double w = read_number(in.weights, i);
            if (!(w >= 0.0 && w <= weight_unit_.most()))
                bad_number("weights must be finite and at least 0", i, w);
            weights_[static_cast<size_t>(i)] = w;
        }
        binary[static_cast<size_t>(begin / kChunkRows)] = all;
    });
    binary_ = std::find(binary.begin(), binary.end(), 0) == binary.end();
}

std::vector<int64_t> SearchRows::ordered(const Worker& worker) const {
    std::vector<int64_t> order(errors_.size());
    if (binary_ && !weighted_) {
        size_t next = 0;
        for (const double wanted : {1.0, 0.0}) {
            for (size_t row = 0; row < errors_.size() && next < order.size(); ++row) {
                order[next] = static_cast<int64_t>(row);  // kept where it is one of these
                next += errors_[row] == wanted;
            }
        }
        return order;
    }
    std::iota(order.begin(), order.end(), int64_t{0});
    if (weighted_) sort_by_key(order, weights_, worker);
    sort_by_key(order, errors_, worker);
    return order;
}

// Where rows that err alike begin in `order`: one run each if there are few kinds of rows, else those
// with errors and those without.
std::vector<int64_t> SearchRows::runs(const std::vector<int64_t>& order) const {
    const auto n = static_cast<int64_t>(order.size());
    const auto error = [&](int64_t i) {
        return errors_[static_cast<size_t>(order[static_cast<size_t>(i)])];
    };
    std::vector<int64_t> starts;
    if (binary_ && !weighted_) {
        const auto first_right = std::partition_point(order.begin(), order.end(), [&](int64_t row) {
            return errors_[static_cast<size_t>(row)] > 0.0;
        });
        starts = {0, first_right - order.begin()};
    } else {
        const auto weight = [&](int64_t i) {
            return weighted_ ? weights_[static_cast<size_t>(order[static_cast<size_t>(i)])] : 1.0;
        };
        for (int64_t i = 0; i < n && static_cast<int64_t>(starts.size()) <= kFewRuns; ++i) {
            const bool change = i == 0 || error(i) != error(i - 1) || weight(i) != weight(i - 1);
            if (change) starts.push_back(i);
        }
        if (static_cast<int64_t>(starts.size()) > kFewRuns) {
            // Numbers too small to be told from 0 by their key are none in units either.
            const auto first_zero =
                std::partition_point(order.begin(), order.end(), [&](int64_t row) {
                    return key_of(errors_[static_cast<size_t>(row)]) < key_of(0.0);
                });
            starts = {0, first_zero - order.begin()};
        }
    }
    starts.push_back(n);
    return starts;
}

// Places the rows in this order and cuts segments.
void SearchRows::cut(const std::vector<int64_t>& order, const std::vector<int64_t>& starts,
                     const Run& run) {
    std::vector<std::pair<int64_t, int64_t>> where;  // first place of a segment and its rows
    std::vector<int64_t> from;                       // of `order`
    int64_t place = 0;
    for (size_t r = 0; r + 1 < starts.size(); ++r) {
        place = round_up(place, kLinePlaces);
        for (int64_t i = starts[r]; i < starts[r + 1];) {
            // The largest errors differ most: the first block is cut at powers of two.
            const int64_t next =
                place < kLinePlaces ? kLinePlaces
                : place < kBitBlock
                    ? static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(place))) * 2
                    : round_up(place + 1, kBitBlock);
            const int64_t rows = std::min(starts[r + 1] - i, next - place);
            if (segments_.empty() || place % kBitBlock == 0)
                block_segments_.push_back(segments_.size());
            // By value: the largest of a run with errors may be a row of error 0 in a run of many kinds.
            if (first_without_error_ == SIZE_MAX && r + 2 == starts.size() &&
                errors_[static_cast<size_t>(order[static_cast<size_t>(starts[r])])] == 0.0)
                first_without_error_ = segments_.size();
            segments_.emplace_back();
            where.emplace_back(place, rows);
            from.push_back(i);
            i += rows;
            place += rows;
        }
    }
    first_without_error_ = std::min(first_without_error_, segments_.size());
    block_segments_.push_back(segments_.size());
    const auto places = static_cast<size_t>(round_up(place, kLinePlaces));
    row_at_.assign(places, -1);
    const bool of_many_kinds = !binary_ || weighted_;
    std::vector<double> errors(of_many_kinds ? places : 0), weights(weighted_ ? places : 0);
    std::vector<RowSums> sums(segments_.size());
    parallel_for(run, "segments", static_cast<int64_t>(segments_.size()),
                 [&](int64_t s, const Worker& worker) {
                     worker.check();
                     const auto at = static_cast<size_t>(s);
                     const auto [first, rows] = where[at];
                     for (int64_t i = 0; i < rows; ++i) {
                         const auto to = static_cast<size_t>(first + i);
                         const int64_t row = order[static_cast<size_t>(from[at] + i)];
                         row_at_[to] = row;
                         if (of_many_kinds) errors[to] = errors_[static_cast<size_t>(row)];
                         if (weighted_) weights[to] = weights_[static_cast<size_t>(row)];
                     }
                     const double* e = of_many_kinds ? errors.data() + first : nullptr;
                     const double all =
                         errors_[static_cast<size_t>(order[static_cast<size_t>(from[at])])];
                     sums[at] = describe(segments_[at], first, rows, e ? e : &all, e ? 1 : 0,
                                         weighted_ ? weights.data() + first : nullptr);
                 });
    for (size_t s = 0; s < sums.size(); ++s) {
        total_.add(sums[s]);
        all_same_ = all_same_ && segments_[s].same;
    }
    errors_.swap(errors);
    weights_.swap(weights);
}

// Fills in a segment of `rows` rows, errors `step` apart; returns their sums.
RowSums SearchRows::describe(Segment& segment, int64_t first, int64_t rows, const double* errors,
                             int64_t step, const double* weights) const {
    segment.first_word = first % kBitBlock / 64;
    segment.words = round_up(rows, kLinePlaces) / 64;
    segment.same = true;
    segment.weight_lo = UINT64_MAX;
    RowSums sums;
    segment.one = of_row(errors[0], weights ? weights[0] : 1.0);
    for (int64_t i = 0; i < (step == 0 ? 1 : rows); ++i) {
        const double e = errors[i], w = weights ? weights[i] : 1.0;
        segment.same = segment.same && e == errors[0] && (!weights || w == weights[0]);
        segment.max_error = std::max(segment.max_error, e);
        const RowSums one = of_row(e, w);
        sums.add(one);
        segment.error = std::max(segment.error, static_cast<uint64_t>(one.sum));
        segment.weight = std::max(segment.weight, static_cast<uint64_t>(one.weight));
        segment.weight_lo = std::min(segment.weight_lo, static_cast<uint64_t>(one.weight));
    }
    return step == 0 ? segment.one.times(rows) : sums;
}

RowSums SearchRows::of_row(double error, double weight) const {
    RowSums one;
    one.size = 1;
    one.max = error;
    if (!weighted_) {
        const uint64_t units = product_unit_.quantise(error);
        one.sum = units;
        one.squares = static_cast<uint128>(units) * units;
        one.weight = one.weight_squares = 1;
        return one;
    }
    one.sum = product_unit_.quantise(error * weight);
    one.squares = square_unit_.quantise(error * weight * error);
    one.weight = weight_unit_.quantise(weight);
    one.weight_squares = weight_square_unit_.quantise(weight * weight);
    return one;
}

void SearchRows::add_row(int64_t place, RowSums& sums) const {
    const auto at = static_cast<size_t>(place);
    sums.add(of_row(errors_[at], weighted_ ? weights_[at] : 1.0));
}

double SearchRows::weight_squares(const RowSums& sums) const {
    return weighted_ ? weight_square_unit_.sum(sums.weight_squares)
                     : static_cast<double>(sums.size);
}

double SearchRows::deviation(const RowSums& sums) const {
    if (!weighted_) return product_unit_.deviation(sums.size, sums.sum, sums.squares);
    const double weight = weight_sum(sums.weight), sum = error_sum(sums.sum);
    if (!(weight > 0.0)) return 0.0;
    const double around = square_unit_.sum(sums.squares) - sum * sum / weight;
    return around > 0.0 ? around : 0.0;
}

double SearchRows::quantised_max(double max_error) const {
    return weighted_ ? max_error : error_sum(error_unit_.quantise(max_error));
}

}  // namespace dqcore::cpu
