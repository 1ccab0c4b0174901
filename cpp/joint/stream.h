// The joint room's states fed block by block by one worker, with nothing made for each block: blocks may be as small as
// a processor's cache, which is where a file is best read to. Other workers have states of their own; they merge.
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

class IssueStream {
public:
    explicit IssueStream(IssuePlan plan);
    IssueStream(IssueStream&&) noexcept;
    IssueStream(const IssueStream&) = delete;
    IssueStream& operator=(const IssueStream&) = delete;
    IssueStream& operator=(IssueStream&&) = delete;
    ~IssueStream();

    // Rows row_start, ... of the data set, each once; `rows` are theirs. Every block has the dtype of the first.
    void add(const JointInput& in, int64_t row_start, const IssueColumns& rows);

    // What was selected of the rows so far, as a state whose rows the caller keeps.
    IssueState close() &&;

    const IssuePlan& plan() const { return state_->plan; }

private:
    std::unique_ptr<IssueState> state_;  // its lists are referred to
    std::unique_ptr<OpenSelections> open_;
};

}  // namespace dqcore::cpu
