#include "slices/item_bits.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace dqcore::cpu {
namespace {

// Codes + 1 of `rows`: 0 for what is missing, bad, or no row.
template <class T>
void gather_codes(const CodeColumn& c, const int64_t* rows, int64_t count, int64_t n,
                  uint32_t* out) {
    const char* data = c.data;
    const int64_t stride = c.stride;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t row = rows[i];
        if (row < 0) {
            out[i] = 0;
            continue;
        }
        T value;
        std::memcpy(&value, data + row * stride, sizeof value);
        // A negative one is far above n as an unsigned number.
        const auto code = static_cast<uint64_t>(static_cast<int64_t>(value));
        out[i] = code < static_cast<uint64_t>(n) ? static_cast<uint32_t>(code) + 1u : 0u;
    }
}

void gather_codes(const CodeColumn& c, const int64_t* rows, int64_t count, int64_t n,
                  uint32_t* out) {
    switch (c.type) {
        case Integer::kInt8:
            return gather_codes<int8_t>(c, rows, count, n, out);
        case Integer::kInt16:
            return gather_codes<int16_t>(c, rows, count, n, out);
        case Integer::kInt32:
            return gather_codes<int32_t>(c, rows, count, n, out);
        case Integer::kInt64:
            return gather_codes<int64_t>(c, rows, count, n, out);
        case Integer::kUint8:
            return gather_codes<uint8_t>(c, rows, count, n, out);
        case Integer::kUint16:
            return gather_codes<uint16_t>(c, rows, count, n, out);
        case Integer::kUint32:
            return gather_codes<uint32_t>(c, rows, count, n, out);
        case Integer::kUint64:
            break;
    }
    return gather_codes<uint64_t>(c, rows, count, n, out);
}

}  // namespace

std::vector<std::vector<int64_t>> count_categories(const SliceInput& in, const SearchSpec& spec,
                                                   const Run& run) {
    std::vector<std::vector<int64_t>> counts(in.columns.size());
    const auto m = static_cast<int64_t>(in.columns.size());
    parallel_for(run, "categories", m, [&](int64_t j, const Worker& worker) {
        const auto at = static_cast<size_t>(j);
        const int64_t n = spec.n_categories[at];
        // Counts of code + 1, of even and odd places: equal neighbours do not wait for each other.
        std::vector<int64_t> even(static_cast<size_t>(n) + 1), odd(even.size());
        std::vector<uint32_t> codes(kBlockRows);
        for (int64_t begin = 0; begin < in.errors.size; begin += kBlockRows) {
            worker.check();
            const int64_t rows = std::min(kBlockRows, in.errors.size - begin);
            read_codes(in.columns[at], j, begin, rows, n, codes.data());
            int64_t i = 0;
            for (; i + 1 < rows; i += 2) {
                ++even[codes[static_cast<size_t>(i)]];
                ++odd[codes[static_cast<size_t>(i) + 1]];
            }
            if (i < rows) ++even[codes[static_cast<size_t>(i)]];
        }
        for (size_t code = 0; code < even.size(); ++code) even[code] += odd[code];
        even.erase(even.begin());
        counts[at] = std::move(even);
    });
    return counts;
}

// Bits of one block of rows, the least that is made at once.
constexpr int64_t kMostBlockBytes = int64_t{1} << 31;

ItemBits::ItemBits(const SliceInput& in, const SearchSpec& spec, const SearchRows& rows,
                   std::vector<Item> items)
    : in_(in), spec_(spec), rows_(rows), n_items_(static_cast<int64_t>(items.size())) {
    for (const int64_t n : spec.n_categories)
        start_of_.emplace_back(static_cast<size_t>(n) + 1, -1);
    for (size_t i = 0; i < items.size(); ++i) {
        start_of_[static_cast<size_t>(items[i].column)][static_cast<size_t>(items[i].code) + 1] =
            static_cast<int64_t>(i) * kBlockWords;
    }
    const int64_t block_bytes = std::max<int64_t>(1, n_items_) * kBlockWords * 8;
    if (block_bytes > kMostBlockBytes)
        throw std::invalid_argument("min_support must be higher: " + std::to_string(n_items_) +
                                    " categories have that many rows, of " +
                                    std::to_string(kMostBlockBytes / (kBlockWords * 8)) +
                                    " that a search can hold");
    stripe_ = std::clamp<int64_t>(spec.most_bytes / block_bytes, 1,
                                  std::max<int64_t>(1, rows.n_blocks()));
    words_.resize(static_cast<size_t>(stripe_ * n_items_ * kBlockWords));
}

void ItemBits::fill(int64_t begin, int64_t end, const Run& run) {
    if (begin == begin_ && end == end_) return;
    begin_ = begin;
    end_ = end;
    parallel_for(run, "bits", end - begin, [&](int64_t i, const Worker& worker) {
        worker.check();
        std::vector<uint32_t> scratch(static_cast<size_t>(kBlockRows));
        fill_block(begin + i, scratch.data());
    });
}

void ItemBits::fill_block(int64_t block, uint32_t* scratch) {
    uint64_t* words = words_.data() + (block - begin_) * n_items_ * kBlockWords;
    std::memset(words, 0, static_cast<size_t>(n_items_ * kBlockWords) * sizeof *words);
    const std::vector<int64_t>& row_at = rows_.row_at();
    const int64_t first = block * kBitBlock;
    const int64_t last = std::min(first + kBitBlock, static_cast<int64_t>(row_at.size()));
    for (size_t j = 0; j < in_.columns.size(); ++j) {
        const int64_t n = spec_.n_categories[j];
        const int64_t* start_of = start_of_[j].data();
        for (int64_t at = first; at < last; at += kBlockRows) {
            const int64_t count = std::min(kBlockRows, last - at);
            // A code that was good when it was counted may be bad by now: then it is as if missing.
            gather_codes(in_.columns[j], row_at.data() + at, count, n, scratch);
            uint64_t* word = words + (at - first) / 64;
            for (int64_t i = 0; i < count; ++i) {
                const int64_t start = start_of[scratch[i]];
                if (start >= 0) word[start + i / 64] |= uint64_t{1} << (i % 64);
            }
        }
    }
}

}  // namespace dqcore::cpu
