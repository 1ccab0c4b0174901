#include "slices/search_count.h"

#include <algorithm>

#include "simd/kernels.h"

namespace dqcore::cpu {
namespace {

// A chunk of counting: candidates and blocks; the bits of a block are shared by its candidates.
constexpr int64_t kGroup = 1 << 11, kBlocksPerChunk = 2;

}  // namespace

void Counted::add(const Counted& other) {
    size += other.size;
    sum += other.sum;
    weight += other.weight;
    weight_lo += other.weight_lo;
    max = std::max(max, other.max);
}

// Calls body(group, first block, end, worker) over all blocks, as many at once as there is room for.
template <class Body>
void Counter::each_stripe(int64_t groups, const Body& body) {
    const int64_t blocks = groups > 0 ? rows_.n_blocks() : 0;
    for (int64_t begin = 0; begin < blocks; begin += bits_.stripe_blocks()) {
        const int64_t end = std::min(begin + bits_.stripe_blocks(), blocks);
        bits_.fill(begin, end, run_);
        const int64_t parts = (end - begin + kBlocksPerChunk - 1) / kBlocksPerChunk;
        parallel_for(run_, stage.c_str(), groups * parts, [&](int64_t chunk, const Worker& worker) {
            if (deadline_.is_over()) return;
            const int64_t from = begin + chunk % parts * kBlocksPerChunk;
            body(chunk / parts, from, std::min(from + kBlocksPerChunk, end), worker);
        });
        if (deadline_.is_over()) throw OutOfTime{};
    }
}

std::vector<Counted> Counter::count(const Level& parents, const std::vector<Candidate>& candidates,
                                    size_t first, size_t end) {
    const auto n = static_cast<int64_t>(candidates.size());
    std::vector<Counted> sums(candidates.size());
    if (first >= end) return sums;
    std::vector<std::vector<Counted>> partial(static_cast<size_t>(run_.threads));
    std::vector<std::vector<uint64_t>> prefix(partial.size());
    each_stripe((n + kGroup - 1) / kGroup, [&](int64_t group, int64_t from, int64_t to,
                                               const Worker& worker) {
        auto& mine = partial[static_cast<size_t>(worker.id)];
        auto& scratch = prefix[static_cast<size_t>(worker.id)];
        mine.resize(candidates.size());
        scratch.resize(static_cast<size_t>(kBlockWords));
        const auto begin = static_cast<size_t>(group * kGroup);
        const size_t past = std::min(begin + kGroup, candidates.size());
        for (int64_t block = from; block < to; ++block) {
            worker.check();
            count_block(parents, candidates, begin, past, block, first, end, scratch, mine.data());
        }
    });
    for (const auto& mine : partial) {
        for (size_t i = 0; i < mine.size(); ++i) sums[i].add(mine[i]);
    }
    return sums;
}

void Counter::count_block(const Level& parents, const std::vector<Candidate>& candidates,
                          size_t begin, size_t past, int64_t block, size_t first, size_t end,
                          std::vector<uint64_t>& prefix, Counted* out) const {
    const simd::Kernels& kernels = simd::active();
    const auto [from, to] = rows_.of_block(block);
    for (size_t s = std::max(from, first); s < std::min(to, end); ++s) {
        const Segment& segment = rows_.segments()[s];
        const auto bits = [&](int32_t item) {
            return bits_.bits(block, item) + segment.first_word;
        };
        int64_t parent = -1;
        const uint64_t* common = nullptr;
        for (size_t i = begin; i < past; ++i) {
            const Candidate& c = candidates[i];
            if (c.parent != parent || !common) {
                parent = c.parent;
                const int32_t* set = parents.of(parent);
                common = parents.level == 0 ? bits(c.item) : bits(set[0]);
                for (int64_t l = 1; l < parents.level; ++l) {
                    kernels.keep_common(common, bits(set[l]), segment.words, prefix.data());
                    common = prefix.data();
                }
                if (parents.level == 0) parent = -1;
            }
            const int64_t n = kernels.count_common(common, bits(c.item), segment.words);
            if (parents.level == 0) common = nullptr;
            if (n == 0) continue;
            const auto rows = static_cast<uint64_t>(n);
            out[i].size += n;
            out[i].sum += static_cast<uint128>(rows) * segment.error;
            out[i].weight += static_cast<uint128>(rows) * segment.weight;
            out[i].weight_lo += static_cast<uint128>(rows) * segment.weight_lo;
            out[i].max = std::max(out[i].max, segment.max_error);
        }
    }
}

std::vector<RowSums> Counter::measure(const std::vector<std::vector<int32_t>>& sets) {
    std::vector<RowSums> sums(sets.size());
    std::vector<std::vector<RowSums>> partial(static_cast<size_t>(run_.threads));
    each_stripe(static_cast<int64_t>(sets.size()),
                [&](int64_t set, int64_t from, int64_t to, const Worker& worker) {
                    auto& mine = partial[static_cast<size_t>(worker.id)];
                    mine.resize(sets.size());
                    std::vector<uint64_t> common(static_cast<size_t>(kBlockWords));
                    const auto at = static_cast<size_t>(set);
                    for (int64_t block = from; block < to; ++block) {
                        worker.check();
                        measure_block(sets[at], block, common, mine[at]);
                    }
                });
    for (const auto& mine : partial) {
        for (size_t i = 0; i < mine.size(); ++i) sums[i].add(mine[i]);
    }
    return sums;
}

void Counter::measure_block(const std::vector<int32_t>& set, int64_t block,
                            std::vector<uint64_t>& common, RowSums& out) const {
    const simd::Kernels& kernels = simd::active();
    const uint64_t* first = bits_.bits(block, set[0]);
    std::copy(first, first + kBlockWords, common.begin());
    for (size_t l = 1; l < set.size(); ++l)
        kernels.keep_common(common.data(), bits_.bits(block, set[l]), kBlockWords, common.data());
    const auto [from, to] = rows_.of_block(block);
    for (size_t s = from; s < to; ++s) {
        const Segment& segment = rows_.segments()[s];
        const uint64_t* words = common.data() + segment.first_word;
        if (segment.same) {
            const int64_t rows = kernels.count_common(words, words, segment.words);
            if (rows == 0) continue;
            out.add(segment.one.times(rows));
            continue;
        }
        for (int64_t w = 0; w < segment.words; ++w) {
            const int64_t place = block * kBitBlock + (segment.first_word + w) * 64;
            for (uint64_t left = words[w]; left != 0; left &= left - 1)
                rows_.add_row(place + __builtin_ctzll(left), out);
        }
    }
}

}  // namespace dqcore::cpu
