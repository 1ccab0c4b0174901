// The joint room's streams for Python: of the CPU alone. A call takes one block of rows, on the thread that calls it.
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "bind/array.h"
#include "joint/bootstrap.h"
#include "joint/issue_state.h"
#include "joint/stream.h"

namespace dqcore::bind {
namespace {

using Weights = std::optional<Array<double>>;

JointInput block_of(const Array<int32_t>& labels, const py::array& pred_probs,
                    const Weights& weights, size_t n_classes) {
    JointInput in{vector(labels), strided_matrix(pred_probs), {}};
    if (weights) in.weights = vector(*weights);
    if (in.labels.size != in.pred_probs.rows || (weights && in.weights.size != in.pred_probs.rows))
        throw py::value_error("labels, pred_probs and weights differ in rows");
    if (static_cast<size_t>(in.pred_probs.cols) != n_classes)
        throw py::value_error("pred_probs has another number of classes");
    return in;
}

template <class T>
Vector<T> filled(Array<T>& a, int64_t size) {
    if (vector(a).size != size) throw py::value_error("columns differ in rows");
    return {a.mutable_data(), size};
}

IssueColumns columns_of(Array<double>& quality, Array<double>& low_score, Array<int32_t>& suggested,
                        Array<uint8_t>& flags, int64_t n, bool wants_low_score) {
    return {filled(quality, n), filled(low_score, wants_low_score ? n : 0), filled(suggested, n),
            filled(flags, n)};
}

py::tuple row_sums_of(const RowSums& sums) {
    return py::make_tuple(sums.off, sums.worst_row, sums.worst_sum);
}

void add_thresholds(ThresholdState& state, const Array<int32_t>& labels,
                    const py::array& pred_probs, const Weights& weights) {
    const JointInput in =
        block_of(labels, pred_probs, weights, static_cast<size_t>(state.n_classes));
    if (state.weighted != weights.has_value())
        throw py::value_error("weights are with all rows or with none");
    const py::gil_scoped_release release;
    cpu::add(state, in);
}

py::tuple add_joint(JointState& state, const Array<int32_t>& labels, const py::array& pred_probs,
                    const Weights& weights) {
    const JointInput in = block_of(labels, pred_probs, weights, state.thresholds.size());
    if (state.weighted != weights.has_value())
        throw py::value_error("weights are with all rows or with none");
    RowSums sums;
    {
        const py::gil_scoped_release release;
        sums = cpu::add(state, in);
    }
    return row_sums_of(sums);
}

void add_issues(cpu::IssueStream& stream, const Array<int32_t>& labels, const py::array& pred_probs,
                int64_t row_start, Array<double>& quality, Array<double>& low_score,
                Array<int32_t>& suggested, Array<uint8_t>& flags) {
    const JointInput in = block_of(labels, pred_probs, {}, stream.plan().thresholds.size());
    // Without columns, rows are selected alone.
    const int64_t n = vector(flags).size == 0 ? 0 : in.labels.size;
    const IssueColumns rows = columns_of(quality, low_score, suggested, flags, n,
                                         joint::has_low_score(stream.plan().options));
    const py::gil_scoped_release release;
    stream.add(in, row_start, rows);
}

// What `state` holds is taken; flags become the mask.
py::tuple finish_issues(IssueState& state, Array<double>& quality, Array<double>& low_score,
                        Array<int32_t>& suggested, Array<uint8_t>& flags, int64_t spare) {
    const int64_t n = vector(flags).size;
    const IssueColumns rows = columns_of(quality, low_score, suggested, flags, n,
                                         joint::has_low_score(state.plan.options));
    Issues issues;
    {
        const py::gil_scoped_release release;
        issues = finish(std::move(state), rows, spare);
    }
    const auto flagged = static_cast<int64_t>(issues.indices.size());
    return py::make_tuple(taken<int64_t>(std::move(issues.indices), {flagged}),
                          row_sums_of(issues.row_sums));
}

void mark_selections(IssueState& state, Array<uint8_t>& flags) {
    const Vector<uint8_t> rows = filled(flags, vector(flags).size);
    const py::gil_scoped_release release;
    mark_selected(state, rows);
}

template <class State>
void add_replicates(State& state, const Array<int32_t>& labels, const py::array& pred_probs,
                    int64_t row_start, int64_t n_classes) {
    const JointInput in = block_of(labels, pred_probs, {}, static_cast<size_t>(n_classes));
    const py::gil_scoped_release release;
    cpu::update(state, in, row_start, Run{});
}

BootstrapWeights weights_of(int64_t replicates, uint64_t seed) {
    if (replicates < 1 || replicates > INT32_MAX) throw py::value_error("replicates out of range");
    return {seed, replicates};
}

void replicates(py::module_& m) {
    py::class_<ReplicateSums>(m, "ReplicateSums")
        .def(py::init([](int64_t n_classes, int64_t replicates, uint64_t seed) {
                 return ReplicateSums(n_classes, weights_of(replicates, seed));
             }),
             py::arg("n_classes"), py::kw_only(), py::arg("replicates"), py::arg("seed"))
        .def(
            "add",
            [](ReplicateSums& self, const Array<int32_t>& labels, const py::array& pred_probs,
               int64_t row_start) {
                add_replicates(self, labels, pred_probs, row_start, self.n_classes);
            },
            py::arg("labels").noconvert(), py::arg("pred_probs").noconvert(), py::arg("row_start"))
        .def("merge", &ReplicateSums::merge, py::arg("other"))
        .def("finish", [](const ReplicateSums& self) {
            return taken<double>(self.finish(), {self.n_classes, self.weights.replicates});
        });
    py::class_<ReplicateCounts>(m, "ReplicateCounts")
        .def(py::init(
                 [](const Array<double>& thresholds, const std::string& collision, uint64_t seed) {
                     if (thresholds.ndim() != 2) throw py::value_error("thresholds must be 2-D");
                     return ReplicateCounts(
                         {thresholds.data(), thresholds.data() + thresholds.size()},
                         collision == "confident" ? Collision::kConfident : Collision::kArgmax,
                         weights_of(thresholds.shape(1), seed));
                 }),
             py::arg("thresholds").noconvert(), py::kw_only(), py::arg("collision"),
             py::arg("seed"))
        .def(
            "add",
            [](ReplicateCounts& self, const Array<int32_t>& labels, const py::array& pred_probs,
               int64_t row_start) {
                add_replicates(self, labels, pred_probs, row_start, self.n_classes());
            },
            py::arg("labels").noconvert(), py::arg("pred_probs").noconvert(), py::arg("row_start"))
        .def("merge", &ReplicateCounts::merge, py::arg("other"))
        .def("finish",
             [](const ReplicateCounts& self) {
                 ReplicateTable table = finish(self);
                 const auto cells = static_cast<int64_t>(table.cells.size());
                 return py::make_tuple(
                     taken<int64_t>(std::move(table.cells), {cells}),
                     taken<int64_t>(std::move(table.counts), {cells, self.weights.replicates}),
                     taken<double>(std::move(table.thresholds),
                                   {self.n_classes(), self.weights.replicates}));
             })
        .def_property_readonly("held_bytes", &ReplicateCounts::held_bytes);
}

py::tuple close_stream(cpu::IssueStream& stream) {
    std::vector<int64_t> lacking;
    IssueState state = std::move(stream).close(lacking);
    return py::make_tuple(std::move(state), lacking);
}

using SumsTuple = std::tuple<int64_t, int64_t, double>;

py::tuple marks_of(const cpu::IssueStream& stream) {
    cpu::StreamMarks marks = stream.marks();
    const auto classes = static_cast<int64_t>(marks.seen.size());
    const auto size = static_cast<int64_t>(marks.sizes.size());
    return py::make_tuple(taken<int64_t>(std::move(marks.seen), {classes}),
                          taken<double>(std::move(marks.bar_keys), {size}),
                          taken<int64_t>(std::move(marks.bar_rows), {size}),
                          taken<int64_t>(std::move(marks.sizes), {size}),
                          row_sums_of(marks.row_sums));
}

py::tuple copy_lists(const cpu::IssueStream& stream, int64_t begin, int64_t most) {
    std::vector<double> keys(static_cast<size_t>(most));
    std::vector<int64_t> rows(keys.size());
    const int64_t count = stream.copy(begin, {keys.data(), most}, {rows.data(), most});
    keys.resize(static_cast<size_t>(count));
    rows.resize(keys.size());
    return py::make_tuple(taken<double>(std::move(keys), {count}),
                          taken<int64_t>(std::move(rows), {count}));
}

template <class T>
std::vector<T> numbers(const Array<T>& a) {
    const auto view = vector(a);
    return {view.data, view.data + view.size};
}

void resume_stream(cpu::IssueStream& stream, const Array<int64_t>& seen,
                   const Array<double>& bar_keys, const Array<int64_t>& bar_rows,
                   const Array<int64_t>& sizes, const SumsTuple& sums) {
    cpu::StreamMarks marks{numbers(seen), numbers(bar_keys), numbers(bar_rows), numbers(sizes), {}};
    std::tie(marks.row_sums.off, marks.row_sums.worst_row, marks.row_sums.worst_sum) = sums;
    stream.resume(std::move(marks));
}

void put_lists(cpu::IssueStream& stream, const Array<double>& keys, const Array<int64_t>& rows) {
    if (vector(keys).size != vector(rows).size) throw py::value_error("keys and rows differ");
    stream.put(vector(keys), vector(rows));
}

}  // namespace

void joint_stream(py::module_& m) {
    m.def("add_thresholds", &add_thresholds, py::arg("state"), py::arg("labels").noconvert(),
          py::arg("pred_probs").noconvert(), py::arg("weights").noconvert());
    m.def("add_joint", &add_joint, py::arg("state"), py::arg("labels").noconvert(),
          py::arg("pred_probs").noconvert(), py::arg("weights").noconvert());
    py::class_<cpu::IssueStream>(m, "IssueStream")
        .def(py::init([](const IssueState& like, std::vector<int64_t> class_counts,
                         const Array<uint8_t>& chosen) {
                 return cpu::IssueStream(like.plan, std::move(class_counts),
                                         {chosen.data(), chosen.data() + chosen.size()});
             }),
             py::arg("like"), py::arg("class_counts"), py::arg("chosen").noconvert())
        .def("add", &add_issues, py::arg("labels").noconvert(), py::arg("pred_probs").noconvert(),
             py::arg("row_start"), py::arg("quality").noconvert(), py::arg("low_score").noconvert(),
             py::arg("suggested").noconvert(), py::arg("flags").noconvert())
        .def("close", &close_stream)
        .def("marks", &marks_of)
        .def("copy", &copy_lists, py::arg("begin"), py::arg("most"))
        .def("resume", &resume_stream, py::arg("seen").noconvert(), py::arg("bar_keys").noconvert(),
             py::arg("bar_rows").noconvert(), py::arg("sizes").noconvert(), py::arg("row_sums"))
        .def("put", &put_lists, py::arg("keys").noconvert(), py::arg("rows").noconvert())
        .def_property_readonly("takes",
                               [](const cpu::IssueStream& self) {
                                   return taken<int64_t>(
                                       std::vector<int64_t>(self.plan().take),
                                       {static_cast<int64_t>(self.plan().take.size())});
                               })
        .def_property_readonly("wants_low_score", [](const cpu::IssueStream& self) {
            return joint::has_low_score(self.plan().options);
        });
    m.def("finish_issues", &finish_issues, py::arg("state"), py::arg("quality").noconvert(),
          py::arg("low_score").noconvert(), py::arg("suggested").noconvert(),
          py::arg("flags").noconvert(), py::arg("spare"));
    m.def("mark_selections", &mark_selections, py::arg("state"), py::arg("flags").noconvert());
    m.def(
        "selections_from_bytes",
        [](const py::bytes& data) {
            return IssueState::from_bytes(std::string_view(data), /*rows_elsewhere=*/true);
        },
        py::arg("data"));
    replicates(m);
}

}  // namespace dqcore::bind
