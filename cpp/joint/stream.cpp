#include "joint/stream.h"

#include <stdexcept>
#include <utility>
#include <variant>
#include <vector>

#include "joint/class_selections.h"
#include "joint/issue_pass.h"
#include "joint/thresholds.h"

namespace dqcore::cpu {
namespace {

// body(block) gets each block of rows, in order; throws where any value is bad, after all have been looked at.
template <class T, class Body>
RowSums scan(const StridedMatrix& m, const joint::ScanOptions& options, const Body& body) {
    joint::Reader<T> reader(m, options.thresholds, options.collision, options.argmax,
                            options.runner_up);
    joint::Faults faults;
    RowSums sums;
    const int64_t step = joint::Reader<T>::block_rows(m.cols);
    for (int64_t b = 0; b < m.rows; b += step) {
        const joint::Block<T> block =
            reader.scan(b, b + step < m.rows ? b + step : m.rows, faults, sums);
        if (!block.any_bad) body(block);
    }
    if (faults.count > 0) faults.raise();
    return sums;
}

}  // namespace

void add(ThresholdState& state, const JointInput& in) {
    joint::Faults faults;
    joint::add_rows(in, 0, in.labels.size, state, faults);
    if (faults.count > 0) faults.raise();
}

RowSums add(JointState& state, const JointInput& in) {
    joint::ScanOptions options;
    options.thresholds = state.thresholds;
    options.collision = state.collision;
    options.argmax = false;
    const int64_t n_classes = state.n_classes();
    RowSums sums;
    joint::with_type(in.pred_probs, [&](auto type) {
        using T = decltype(type);
        sums = scan<T>(in.pred_probs, options, [&](const joint::Block<T>& block) {
            for (int64_t r = 0; r < block.n; ++r) {
                const int64_t row = block.begin + r, guess = block.guess[r];
                const int64_t label = joint::label_at(in.labels, row, n_classes);
                const auto cell = static_cast<size_t>(label * n_classes + guess);
                const auto unsure = static_cast<size_t>(label);
                ++(guess >= 0 ? state.counts[cell] : state.unsure[unsure]);
                if (!in.weights.data) continue;
                (guess >= 0 ? state.weights[cell] : state.unsure_weights[unsure]) +=
                    to_fixed(in.weights[row]);
            }
        });
    });
    return sums;
}

// The selections of every class, by the type that rows are read as.
struct OpenSelections {
    template <class T>
    using Classes = std::vector<joint::ClassSelections<T>>;

    template <class T>
    Classes<T>& of(IssueState& state) {
        if (std::holds_alternative<std::monostate>(classes)) {
            Classes<T> made;
            made.reserve(state.plan.thresholds.size());
            for (size_t k = 0; k < state.plan.thresholds.size(); ++k) made.emplace_back(state, k);
            classes = std::move(made);
        }
        auto* const found = std::get_if<Classes<T>>(&classes);
        if (!found) throw std::invalid_argument("pred_probs has another dtype than before");
        return *found;
    }

    void cut() {
        if (auto* f = std::get_if<Classes<float>>(&classes))
            for (auto& one : *f) one.cut();
        if (auto* d = std::get_if<Classes<double>>(&classes))
            for (auto& one : *d) one.cut();
    }

    std::variant<std::monostate, Classes<float>, Classes<double>> classes;
};

IssueStream::IssueStream(IssuePlan plan)
    : state_(std::make_unique<IssueState>(std::move(plan))),
      open_(std::make_unique<OpenSelections>()) {}
IssueStream::IssueStream(IssueStream&&) noexcept = default;
IssueStream::~IssueStream() = default;

void IssueStream::add(const JointInput& in, int64_t row_start, const IssueColumns& rows) {
    if (!open_) throw std::invalid_argument("the stream is closed");
    const joint::IssuePass pass(state_->plan, in, rows);
    joint::ScanOptions options;
    options.thresholds = state_->plan.thresholds;
    options.collision = state_->plan.options.collision;
    options.runner_up = pass.wants_runner_up();
    const bool selects = !state_->plan.take.empty();
    joint::with_type(in.pred_probs, [&](auto type) {
        using T = decltype(type);
        auto& classes = open_->of<T>(*state_);
        RowSums sums = scan<T>(in.pred_probs, options, [&](const joint::Block<T>& block) {
            pass(block, [&](const T* p, int64_t label, int64_t row, int64_t argmax) {
                if (!selects) return;
                const double most = static_cast<double>(p[argmax]) - static_cast<double>(p[label]);
                classes[static_cast<size_t>(label)].offer(p, most, row_start + row);
            });
        });
        if (sums.off > 0) sums.worst_row += row_start;
        state_->row_sums.merge(sums);
    });
}

IssueState IssueStream::close() && {
    if (!open_) throw std::invalid_argument("the stream is closed");
    open_->cut();
    open_.reset();
    return std::move(*state_);
}

}  // namespace dqcore::cpu
