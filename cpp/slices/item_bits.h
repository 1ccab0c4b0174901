// A bit for each row and category of a search.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "slices/search_rows.h"

namespace dqcore::cpu {

// What a search needs to know of a category: it has enough rows.
struct Item {
    int32_t column, code;
    int64_t size;
};

// Counts each category of each column; throws on a bad code.
std::vector<std::vector<int64_t>> count_categories(const SliceInput& in, const SearchSpec& spec,
                                                   const Run& run);

// Bits of some blocks of places, by block, then item, then word.
class ItemBits {
public:
    ItemBits(const SliceInput& in, const SearchSpec& spec, const SearchRows& rows,
             std::vector<Item> items);

    // Blocks that fit the limit at once.
    int64_t stripe_blocks() const { return stripe_; }
    // Makes the bits of the blocks [begin, end) unless they are there.
    void fill(int64_t begin, int64_t end, const Run& run);
    const uint64_t* bits(int64_t block, int32_t item) const {
        return words_.data() + ((block - begin_) * n_items_ + item) * kBlockWords;
    }

private:
    void fill_block(int64_t block, uint32_t* scratch);

    const SliceInput& in_;
    const SearchSpec& spec_;
    const SearchRows& rows_;
    int64_t n_items_, stripe_;
    std::vector<std::vector<int64_t>>
        start_of_;  // first word, by column, then code + 1; -1 for none
    AlignedVector<uint64_t> words_;
    int64_t begin_ = 0, end_ = 0;
};

}  // namespace dqcore::cpu
