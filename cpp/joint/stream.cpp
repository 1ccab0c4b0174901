#include "joint/stream.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <optional>
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

// Which rows of a class are worth offering, as far as workers know without its lock: bars only rise.
struct Gate {
    std::mutex lock;  // of the class's selections
    std::atomic<double> least_bar{joint::kNone}, own_bar{joint::kNone};
};

// The selections of every class, by the type that rows are read as.
struct OpenSelections {
    template <class T>
    using Classes = std::vector<joint::ClassSelections<T>>;

    OpenSelections(size_t n_classes, std::vector<int64_t> counts, std::vector<uint8_t> selections)
        : gates(n_classes), class_counts(std::move(counts)), chosen(std::move(selections)) {
        if (!class_counts.empty() && class_counts.size() != n_classes)
            throw std::invalid_argument("class_counts must have an entry for each class");
    }

    template <class T>
    Classes<T>& of(IssueState& state) {
        const std::lock_guard held(lock);
        if (std::holds_alternative<std::monostate>(classes)) {
            Classes<T> made;
            made.reserve(gates.size());
            if (marks) check_whole(state);
            for (size_t k = 0; k < gates.size(); ++k) {
                made.emplace_back(state, k, class_counts.empty() ? 0 : class_counts[k], chosen);
                if (marks) made.back().resume(marks->bar_keys, marks->bar_rows, marks->seen[k]);
                show(made.back(), gates[k]);
            }
            classes = std::move(made);
            marks.reset();
        }
        auto* const found = std::get_if<Classes<T>>(&classes);
        if (!found) throw std::invalid_argument("pred_probs has another dtype than before");
        return *found;
    }

    template <class T>
    static void show(const joint::ClassSelections<T>& selections, Gate& gate) {
        gate.least_bar.store(selections.least_bar(), std::memory_order_relaxed);
        gate.own_bar.store(selections.own_bar(), std::memory_order_relaxed);
    }

    void check_whole(const IssueState& state) const {
        for (size_t s = 0; s < state.best.size(); ++s)
            if (static_cast<int64_t>(state.best[s].size()) != marks->sizes[s])
                throw std::invalid_argument("candidates are missing");
    }

    void cut(std::vector<int64_t>& lacking) {
        const auto tell = [&](size_t s) { lacking.push_back(static_cast<int64_t>(s)); };
        const auto each = [&](auto& all) {
            for (auto& one : all) {
                one.cut();
                one.each_lacking(tell);
            }
        };
        if (auto* f = std::get_if<Classes<float>>(&classes)) each(*f);
        if (auto* d = std::get_if<Classes<double>>(&classes)) each(*d);
    }

    std::mutex lock;  // of what follows the gates, and of the state's row sums
    std::vector<Gate> gates;
    std::vector<int64_t> class_counts;
    std::vector<uint8_t> chosen;
    std::variant<std::monostate, Classes<float>, Classes<double>> classes;
    std::optional<StreamMarks> marks;  // that it goes on from, until there are classes
    size_t filling = 0;                // the selection whose list was put last
};

namespace {

// The rows of one block that may count, class by class: each class is then locked once, and its lists are at hand.
class Offers {
public:
    explicit Offers(size_t n_classes) : seen_(n_classes), last_(n_classes, kEnd) {}

    void saw(size_t label) { ++seen_[label]; }

    void add(size_t label, int64_t row) {
        offers_.push_back({row, last_[label]});
        last_[label] = static_cast<int64_t>(offers_.size()) - 1;
    }

    template <class T>
    void make(const JointInput& in, int64_t row_start, OpenSelections::Classes<T>& classes,
              std::vector<Gate>& gates) const {
        joint::OneRow<T> block(in.pred_probs);
        for (size_t k = 0; k < classes.size(); ++k) {
            if (seen_[k] == 0 || classes[k].empty()) continue;
            const std::lock_guard held(gates[k].lock);
            classes[k].saw(seen_[k]);
            for (int64_t o = last_[k]; o != kEnd; o = offers_[static_cast<size_t>(o)].before) {
                const int64_t row = offers_[static_cast<size_t>(o)].row;
                classes[k].offer(block.row(row), joint::kAll, row_start + row);
            }
            OpenSelections::show(classes[k], gates[k]);
        }
    }

private:
    static constexpr int64_t kEnd = -1;
    struct Offer {
        int64_t row, before;
    };
    std::vector<int64_t> seen_, last_;  // by class
    std::vector<Offer> offers_;
};

}  // namespace

IssueStream::IssueStream(IssuePlan plan, std::vector<int64_t> class_counts,
                         std::vector<uint8_t> chosen)
    : state_(std::make_unique<IssueState>(std::move(plan))) {
    if (!chosen.empty() && chosen.size() != state_->plan.take.size())
        throw std::invalid_argument("chosen must have an entry for each selection");
    open_ = std::make_unique<OpenSelections>(state_->plan.thresholds.size(),
                                             std::move(class_counts), std::move(chosen));
}
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
        Offers offers(selects ? classes.size() : 0);
        RowSums sums = scan<T>(in.pred_probs, options, [&](const joint::Block<T>& block) {
            pass(block, [&](const T* p, int64_t label, int64_t row, int64_t argmax) {
                if (!selects) return;
                const auto k = static_cast<size_t>(label);
                const auto given = static_cast<double>(p[label]);
                const Gate& gate = open_->gates[k];
                offers.saw(k);
                if (static_cast<double>(p[argmax]) - given >=
                        gate.least_bar.load(std::memory_order_relaxed) ||
                    -given >= gate.own_bar.load(std::memory_order_relaxed))
                    offers.add(k, row);
            });
        });
        if (selects) offers.template make<T>(in, row_start, classes, open_->gates);
        if (sums.off > 0) sums.worst_row += row_start;
        const std::lock_guard held(open_->lock);
        state_->row_sums.merge(sums);
    });
}

StreamMarks IssueStream::marks() const {
    if (!open_) throw std::invalid_argument("the stream is closed");
    StreamMarks result;
    result.row_sums = state_->row_sums;
    result.bar_keys.assign(state_->best.size(), joint::kNone);
    result.bar_rows.assign(state_->best.size(), std::numeric_limits<int64_t>::max());
    for (const auto& list : state_->best) result.sizes.push_back(static_cast<int64_t>(list.size()));
    const auto each = [&](const auto& all) {
        for (const auto& one : all) {
            result.seen.push_back(one.seen());
            one.each_bar([&](size_t s, const Candidate& bar) {
                result.bar_keys[s] = bar.key;
                result.bar_rows[s] = bar.row;
            });
        }
    };
    if (const auto* f = std::get_if<OpenSelections::Classes<float>>(&open_->classes)) each(*f);
    if (const auto* d = std::get_if<OpenSelections::Classes<double>>(&open_->classes)) each(*d);
    result.seen.resize(state_->plan.thresholds.size());
    return result;
}

int64_t IssueStream::copy(int64_t begin, Vector<double> keys, Vector<int64_t> rows) const {
    if (!open_) throw std::invalid_argument("the stream is closed");
    int64_t before = 0, count = 0;
    for (const auto& list : state_->best) {
        const auto size = static_cast<int64_t>(list.size());
        for (int64_t at = std::max<int64_t>(begin + count - before, 0); at < size; ++at) {
            if (count == keys.size) return count;
            const Candidate& candidate = list[static_cast<size_t>(at)];
            keys[count] = candidate.key;
            rows[count++] = candidate.row;
        }
        before += size;
    }
    return count;
}

void IssueStream::resume(StreamMarks marks) {
    if (!open_ || open_->marks || !std::holds_alternative<std::monostate>(open_->classes))
        throw std::invalid_argument("the stream has rows");
    const std::vector<int64_t>& take = state_->plan.take;
    bool fits = marks.seen.size() == state_->plan.thresholds.size() &&
                marks.bar_keys.size() == take.size() && marks.bar_rows.size() == take.size() &&
                marks.sizes.size() == take.size() && marks.row_sums.off >= 0 &&
                std::isfinite(marks.row_sums.worst_sum);
    for (size_t s = 0; fits && s < take.size(); ++s)
        fits = marks.sizes[s] >= 0 && !std::isnan(marks.bar_keys[s]) &&
               static_cast<size_t>(marks.sizes[s]) <= joint::Best::room(take[s]);
    if (!fits || std::any_of(marks.seen.begin(), marks.seen.end(), [](int64_t n) { return n < 0; }))
        throw std::invalid_argument("marks are not those of such a stream");
    state_->row_sums = marks.row_sums;
    open_->marks = std::move(marks);
}

void IssueStream::put(Vector<const double> keys, Vector<const int64_t> rows) {
    if (!open_ || !open_->marks) throw std::invalid_argument("the stream has not been resumed");
    for (int64_t i = 0; i < keys.size; ++i) {
        size_t& s = open_->filling;
        while (s < state_->best.size() &&
               static_cast<int64_t>(state_->best[s].size()) == open_->marks->sizes[s])
            ++s;
        if (s == state_->best.size() || !std::isfinite(keys[i]) || rows[i] < 0)
            throw std::invalid_argument("candidates are not those of such a stream");
        std::vector<Candidate>& list = state_->best[s];
        if (list.empty()) list.reserve(joint::Best::room(state_->plan.take[s]));
        list.push_back({keys[i], rows[i]});
    }
}

IssueState IssueStream::close(std::vector<int64_t>& lacking) && {
    if (!open_) throw std::invalid_argument("the stream is closed");
    if (open_->marks) open_->of<double>(*state_);  // no rows came after it was resumed
    open_->cut(lacking);
    open_.reset();
    for (const int64_t s : lacking) state_->best[static_cast<size_t>(s)] = {};
    return std::move(*state_);
}

}  // namespace dqcore::cpu
