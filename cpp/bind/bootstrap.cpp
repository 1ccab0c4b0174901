// The bootstrap of the joint room, and the classes that rows confidently belong to, for Python.
#include "joint/bootstrap.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bind/array.h"
#include "bind/run.h"

namespace dqcore::bind {
namespace {

using Thresholds = std::optional<Array<double>>;

Collision collision_of(const std::string& name) {
    return name == "confident" ? Collision::kConfident : Collision::kArgmax;
}

JointInput input_of(const Array<int32_t>& labels, const py::array& pred_probs) {
    const JointInput in{vector(labels), strided_matrix(pred_probs), {}};
    if (in.labels.size != in.pred_probs.rows)
        throw py::value_error("labels and pred_probs differ in rows");
    return in;
}

std::vector<double> copied(const Thresholds& thresholds, int64_t n_classes) {
    if (!thresholds) return {};
    const auto view = vector(*thresholds);
    if (view.size != n_classes) throw py::value_error("thresholds has another number of classes");
    return {view.data, view.data + view.size};
}

py::tuple bootstrap_joint(const Array<int32_t>& labels, const py::array& pred_probs,
                          const Thresholds& thresholds, const std::string& collision,
                          int64_t replicates, uint64_t seed, int64_t threads, py::object progress) {
    const JointInput in = input_of(labels, pred_probs);
    const std::vector<double> given = copied(thresholds, in.pred_probs.cols);
    if (replicates < 1 || replicates > INT32_MAX) throw py::value_error("replicates out of range");
    ReplicateTable table;
    PythonRun(threads, std::move(progress)).call([&](const Run& run) {
        table = DQCORE_BACKEND::bootstrap_joint(in, given, collision_of(collision),
                                                {seed, replicates}, run);
    });
    const auto cells = static_cast<int64_t>(table.cells.size());
    return py::make_tuple(
        taken<int64_t>(std::move(table.cells), {cells}),
        taken<int64_t>(std::move(table.counts), {cells, replicates}),
        taken<double>(std::move(table.thresholds), {in.pred_probs.cols, replicates}));
}

Array<int32_t> confident_classes(const Array<int32_t>& labels, const py::array& pred_probs,
                                 const Thresholds& thresholds, const std::string& collision,
                                 int64_t threads, py::object progress) {
    const JointInput in = input_of(labels, pred_probs);
    const std::vector<double> given = copied(thresholds, in.pred_probs.cols);
    NewVector<int32_t> guess(in.labels.size);
    PythonRun(threads, std::move(progress)).call([&](const Run& run) {
        DQCORE_BACKEND::confident_classes(in, given, collision_of(collision), guess.view, run);
    });
    return guess.array;
}

}  // namespace

void bootstrap(py::module_& m) {
    m.def("bootstrap_joint", &bootstrap_joint, py::arg("labels").noconvert(),
          py::arg("pred_probs").noconvert(), py::kw_only(), py::arg("thresholds").noconvert(),
          py::arg("collision"), py::arg("replicates"), py::arg("seed"), py::arg("threads"),
          py::arg("progress"));
    m.def("confident_classes", &confident_classes, py::arg("labels").noconvert(),
          py::arg("pred_probs").noconvert(), py::kw_only(), py::arg("thresholds").noconvert(),
          py::arg("collision"), py::arg("threads"), py::arg("progress"));
}

}  // namespace dqcore::bind
