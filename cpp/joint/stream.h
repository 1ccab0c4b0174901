// The joint room's states fed block by block by one worker, with nothing made for each block: blocks may be as small as
// a processor's cache, which is where a file is best read to. Other workers have states of their own, which merge; but
// all offer their rows to one stream of issues, for its lists are the largest of what is held.
//
// Where one of these throws (as the passes do, rows counted from the start of the block), the state is of no use.
#pragma once

#include <cstdint>
#include <memory>

#include "joint/joint.h"

namespace dqcore::cpu {

void add(ThresholdState& state, const JointInput& in);
RowSums add(JointState& state, const JointInput& in);

struct OpenSelections;

// What a stream holds besides its lists, which go in pieces: they may be long.
struct StreamMarks {
    std::vector<int64_t> seen;  // (n_classes,) rows
    std::vector<double>
        bar_keys;  // (selections,) with bar_rows a candidate: what was let go is below
    std::vector<int64_t> bar_rows;
    std::vector<int64_t> sizes;  // (selections,) of the lists
    RowSums row_sums;
};

// Any number of workers may add to it at once.
class IssueStream {
public:
    // `class_counts`: the rows of each class that are to come, in no particular order, so that bars rise soon; empty where
    // that is not so. `chosen`, where it has any, tells for each selection of the plan whether it is made.
    explicit IssueStream(IssuePlan plan, std::vector<int64_t> class_counts = {},
                         std::vector<uint8_t> chosen = {});
    IssueStream(IssueStream&&) noexcept;
    IssueStream(const IssueStream&) = delete;
    IssueStream& operator=(const IssueStream&) = delete;
    IssueStream& operator=(IssueStream&&) = delete;
    ~IssueStream();

    // Rows row_start, ... of the data set, each once; `rows` are theirs, or
    // empty where they are selected alone. Every block has the dtype of the first.
    void add(const JointInput& in, int64_t row_start, const IssueColumns& rows);

    // What was selected of the rows so far, as a state whose rows the caller keeps; `lacking` gets the selections for
    // which more has to be looked at, all rows anew and without class_counts.
    IssueState close(std::vector<int64_t>& lacking) &&;

    // For a stream of the same parameters to go on from, while nobody adds: the candidates of all lists, one list after
    // the other, from `begin` on are copied; their number is returned.
    StreamMarks marks() const;
    int64_t copy(int64_t begin, Vector<double> keys, Vector<int64_t> rows) const;

    // What another stream told, to one without rows: marks, then all candidates in the same order, in pieces of any size.
    // Throws std::invalid_argument where they are none that a stream tells; add() and close() do where some are missing.
    void resume(StreamMarks marks);
    void put(Vector<const double> keys, Vector<const int64_t> rows);

    const IssuePlan& plan() const { return state_->plan; }

private:
    std::unique_ptr<IssueState> state_;  // its lists are referred to
    std::unique_ptr<OpenSelections> open_;
};

}  // namespace dqcore::cpu
