// The joint room for Python. Compiled into every backend: DQCORE_BACKEND names the namespace.
#include "joint/joint.h"

#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bind/array.h"
#include "bind/run.h"
#include "joint/confidence.h"

namespace dqcore::bind {
namespace {

using Labels = Array<int32_t>;
using Weights = std::optional<Array<double>>;

Collision collision_of(const std::string& name) {
    return name == "confident" ? Collision::kConfident : Collision::kArgmax;
}

Quality quality_of(const std::string& name) {
    static const std::map<std::string, Quality> names{
        {"self_confidence", Quality::kSelfConfidence},
        {"normalized_margin", Quality::kNormalizedMargin},
        {"confidence_weighted_entropy", Quality::kConfidenceWeightedEntropy}};
    return names.at(name);
}

Filter filter_of(const std::string& name) {
    static const std::map<std::string, Filter> names{
        {"prune_by_noise_rate", Filter::kPruneByNoiseRate},
        {"prune_by_class", Filter::kPruneByClass},
        {"both", Filter::kBoth},
        {"confident_learning", Filter::kConfidentLearning},
        {"predicted_neq_given", Filter::kPredictedNeqGiven},
        {"low_self_confidence", Filter::kLowSelfConfidence},
        {"low_normalized_margin", Filter::kLowNormalizedMargin}};
    return names.at(name);
}

JointInput input_of(const Labels& labels, const py::object& pred_probs, const Weights& weights) {
    JointInput in{vector(labels), {}, {}, device_matrix(pred_probs)};
    if (in.device) {
        const auto shape = shape_of(*in.device);
        in.pred_probs.rows = shape.rows;
        in.pred_probs.cols = shape.cols;
    } else {
        in.pred_probs = strided_matrix(array_of(pred_probs));
    }
    if (weights) in.weights = vector(*weights);
    const bool same =
        in.labels.size == in.pred_probs.rows && (!weights || in.weights.size == in.pred_probs.rows);
    if (!same) throw py::value_error("labels, pred_probs and weights differ in rows");
    return in;
}

void check_classes(int64_t n_classes, int64_t cols) {
    if (n_classes != cols) throw py::value_error("pred_probs has another number of classes");
}

py::tuple row_sums_of(const RowSums& sums) {
    return py::make_tuple(sums.off, sums.worst_row, sums.worst_sum);
}

// (counts, class_counts, class_weights): what both the function and the state give.
py::tuple counts_of(JointState state) {
    const int64_t n = state.n_classes();
    const bool weighted = state.weighted;
    JointCounts counts = finish(std::move(state));
    auto class_counts = taken<int64_t>(std::move(counts.class_counts), {n});
    if (!weighted) {
        return py::make_tuple(taken<int64_t>(std::move(counts.counts), {n, n}), class_counts,
                              py::none());
    }
    return py::make_tuple(taken<double>(std::move(counts.weights), {n, n}), class_counts,
                          taken<double>(std::move(counts.class_weights), {n}));
}

py::tuple confident_joint(const Labels& labels, const py::object& pred_probs,
                          const std::optional<Array<double>>& thresholds,
                          const std::string& collision, const Weights& weights, int64_t threads,
                          py::object progress) {
    const JointInput in = input_of(labels, pred_probs, weights);
    std::vector<double> given;
    if (thresholds) {
        const auto view = vector(*thresholds);
        check_classes(view.size, in.pred_probs.cols);
        given.assign(view.data, view.data + view.size);
    }
    RowSums sums;
    std::optional<JointState> made;
    PythonRun(threads, std::move(progress)).call([&](const Run& run) {
        made = DQCORE_BACKEND::confident_joint(in, std::move(given), collision_of(collision), sums,
                                               run);
    });
    if (!made) throw std::logic_error("a call that returned made no state");
    const int64_t n = made->n_classes();
    const auto used = taken<double>(std::vector<double>(made->thresholds), {n});
    const py::tuple counts = counts_of(std::move(*made));
    return py::make_tuple(counts[0], used, counts[1], counts[2], row_sums_of(sums));
}

template <class T>
py::object calibrate_as(const Array<T>& counts, const Array<T>& class_totals) {
    const auto from = matrix(counts);
    const auto totals = vector(class_totals);
    if (from.rows != from.cols || from.rows != totals.size)
        throw py::value_error("counts must be (n_classes, n_classes), class_totals (n_classes,)");
    NewMatrix<T> result(from.rows, from.cols);
    {
        const py::gil_scoped_release release;
        calibrate(from, totals, result.view);
    }
    return result.array;
}

py::object label_quality(const Labels& labels, const py::object& pred_probs,
                         const std::string& method, bool adjust, int64_t threads,
                         py::object progress) {
    const JointInput in = input_of(labels, pred_probs, {});
    const NewResult quality(in.labels.size, in.device);
    PythonRun(threads, std::move(progress)).call([&](const Run& run) {
        DQCORE_BACKEND::label_quality(in, quality_of(method), adjust, quality.view, run);
    });
    return quality.array;
}

py::tuple confidences(const Labels& labels, const py::object& pred_probs, int64_t threads,
                      py::object progress) {
    const JointInput in = input_of(labels, pred_probs, {});
    NewVector<double> confidence(in.labels.size), brier(in.labels.size);
    NewVector<int32_t> predicted(in.labels.size);
    PythonRun(threads, std::move(progress)).call([&](const Run& run) {
        DQCORE_BACKEND::confidences(in, {confidence.view, predicted.view, brier.view}, run);
    });
    return py::make_tuple(confidence.array, predicted.array, brier.array);
}

IssueOptions options_of(const std::string& filter_by, const std::string& rank_by,
                        const std::string& collision, double frac_noise,
                        const std::optional<Array<int64_t>>& num_to_remove_per_class,
                        int64_t min_examples_per_class, bool adjust) {
    IssueOptions options;
    options.filter = filter_of(filter_by);
    options.rank_by = quality_of(rank_by);
    options.collision = collision_of(collision);
    options.adjust = adjust;
    options.frac_noise = frac_noise;
    if (num_to_remove_per_class) {
        const auto view = vector(*num_to_remove_per_class);
        options.num_to_remove_per_class.assign(view.data, view.data + view.size);
    }
    options.min_examples_per_class = min_examples_per_class;
    return options;
}

py::tuple issues_of(Issues issues) {
    const auto n = static_cast<int64_t>(issues.mask.size());
    const auto flagged = static_cast<int64_t>(issues.indices.size());
    return py::make_tuple(
        taken<uint8_t>(std::move(issues.mask), {n}).attr("view")(py::dtype("bool")),
        taken<int64_t>(std::move(issues.indices), {flagged}),
        taken<double>(std::move(issues.quality), {n}),
        taken<int32_t>(std::move(issues.suggested), {n}), row_sums_of(issues.row_sums));
}

py::tuple label_issues(const Labels& labels, const py::object& pred_probs,
                       const std::string& filter_by, const std::string& rank_by,
                       const std::optional<Array<int64_t>>& joint, const std::string& collision,
                       double frac_noise,
                       const std::optional<Array<int64_t>>& num_to_remove_per_class,
                       int64_t min_examples_per_class, bool adjust, int64_t threads,
                       py::object progress) {
    const JointInput in = input_of(labels, pred_probs, {});
    const IssueOptions options =
        options_of(filter_by, rank_by, collision, frac_noise, num_to_remove_per_class,
                   min_examples_per_class, adjust);
    Matrix<const int64_t> calibrated;
    if (joint) {
        calibrated = matrix(*joint);
        check_classes(calibrated.rows, in.pred_probs.cols);
        check_classes(calibrated.cols, in.pred_probs.cols);
    }
    Issues issues;
    PythonRun(threads, std::move(progress)).call([&](const Run& run) {
        issues = DQCORE_BACKEND::label_issues(in, options, calibrated, run);
    });
    return issues_of(std::move(issues));
}

void threshold_state(py::module_& m) {
    using State = ThresholdState;
    py::class_<State>(m, "ThresholdState")
        .def(py::init<int64_t, bool>(), py::arg("n_classes"), py::arg("weighted"))
        .def(
            "update",
            [](State& self, const Labels& labels, const py::array& pred_probs,
               const Weights& weights, int64_t threads, py::object progress) {
                const JointInput in = input_of(labels, pred_probs, weights);
                check_classes(self.n_classes, in.pred_probs.cols);
                PythonRun(threads, std::move(progress)).call([&](const Run& run) {
                    cpu::update(self, in, run);
                });
            },
            py::arg("labels").noconvert(), py::arg("pred_probs").noconvert(),
            py::arg("weights").noconvert(), py::arg("threads"), py::arg("progress"))
        .def("merge", &State::merge, py::arg("other"))
        .def("finish",
             [](const State& self) { return taken<double>(self.finish(), {self.n_classes}); })
        .def("to_bytes", [](const State& self) { return py::bytes(self.to_bytes()); })
        .def_static(
            "from_bytes",
            [](const py::bytes& data) { return State::from_bytes(std::string_view(data)); },
            py::arg("data"))
        .def_readonly("n_classes", &State::n_classes)
        .def_readonly("weighted", &State::weighted);
}

void joint_state(py::module_& m) {
    using State = JointState;
    py::class_<State>(m, "JointState")
        .def(py::init(
                 [](const Array<double>& thresholds, const std::string& collision, bool weighted) {
                     const auto view = vector(thresholds);
                     return State({view.data, view.data + view.size}, collision_of(collision),
                                  weighted);
                 }),
             py::arg("thresholds").noconvert(), py::arg("collision"), py::arg("weighted"))
        .def(
            "update",
            [](State& self, const Labels& labels, const py::array& pred_probs,
               const Weights& weights, int64_t threads, py::object progress) {
                const JointInput in = input_of(labels, pred_probs, weights);
                check_classes(self.n_classes(), in.pred_probs.cols);
                RowSums sums;
                PythonRun(threads, std::move(progress)).call([&](const Run& run) {
                    sums = cpu::update(self, in, run);
                });
                return row_sums_of(sums);
            },
            py::arg("labels").noconvert(), py::arg("pred_probs").noconvert(),
            py::arg("weights").noconvert(), py::arg("threads"), py::arg("progress"))
        .def("merge", &State::merge, py::arg("other"), py::call_guard<py::gil_scoped_release>())
        .def("finish", &counts_of)
        .def("to_bytes", [](const State& self) { return py::bytes(self.to_bytes()); })
        .def_static(
            "from_bytes",
            [](const py::bytes& data) { return State::from_bytes(std::string_view(data)); },
            py::arg("data"))
        .def_property_readonly("n_classes", &State::n_classes)
        .def_property_readonly("thresholds",
                               [](const State& self) {
                                   return taken<double>(std::vector<double>(self.thresholds),
                                                        {self.n_classes()});
                               })
        .def_readonly("weighted", &State::weighted);
}

void issue_state(py::module_& m) {
    using State = IssueState;
    py::class_<State>(m, "IssueState")
        .def(
            py::init([](const Array<double>& thresholds, const Array<int64_t>& joint,
                        const Array<int64_t>& class_counts, const std::string& filter_by,
                        const std::string& rank_by, const std::string& collision, double frac_noise,
                        const std::optional<Array<int64_t>>& num_to_remove_per_class,
                        int64_t min_examples_per_class, bool adjust) {
                const auto view = vector(thresholds);
                const auto calibrated = matrix(joint);
                const auto counts = vector(class_counts);
                check_classes(calibrated.rows, view.size);
                check_classes(calibrated.cols, view.size);
                check_classes(counts.size, view.size);
                return State(
                    plan_issues(options_of(filter_by, rank_by, collision, frac_noise,
                                           num_to_remove_per_class, min_examples_per_class, adjust),
                                {view.data, view.data + view.size}, calibrated, counts));
            }),
            py::arg("thresholds").noconvert(), py::arg("joint").noconvert(),
            py::arg("class_counts").noconvert(), py::arg("filter_by"), py::arg("rank_by"),
            py::arg("collision"), py::arg("frac_noise"),
            py::arg("num_to_remove_per_class").noconvert(), py::arg("min_examples_per_class"),
            py::arg("adjust"))
        .def(
            "update",
            [](State& self, const Labels& labels, const py::array& pred_probs, int64_t row_start,
               int64_t threads, py::object progress) {
                const JointInput in = input_of(labels, pred_probs, {});
                check_classes(static_cast<int64_t>(self.plan.thresholds.size()),
                              in.pred_probs.cols);
                PythonRun(threads, std::move(progress)).call([&](const Run& run) {
                    cpu::update(self, in, row_start, run);
                });
            },
            py::arg("labels").noconvert(), py::arg("pred_probs").noconvert(), py::arg("row_start"),
            py::arg("threads"), py::arg("progress"))
        .def("merge", &State::merge, py::arg("other"), py::call_guard<py::gil_scoped_release>())
        .def("finish", [](const State& self) { return issues_of(State(self).finish()); })
        .def("to_bytes", [](const State& self) { return py::bytes(self.to_bytes()); })
        .def_static(
            "from_bytes",
            [](const py::bytes& data) { return State::from_bytes(std::string_view(data)); },
            py::arg("data"))
        .def_property_readonly("n_classes", [](const State& self) {
            return static_cast<int64_t>(self.plan.thresholds.size());
        });
}

}  // namespace

void joint(py::module_& m) {
    m.def("confident_joint", &confident_joint, py::arg("labels").noconvert(),
          py::arg("pred_probs").noconvert(), py::kw_only(), py::arg("thresholds").noconvert(),
          py::arg("collision"), py::arg("weights").noconvert(), py::arg("threads"),
          py::arg("progress"));
    m.def("calibrate", &calibrate_as<int64_t>, py::arg("counts").noconvert(),
          py::arg("class_totals").noconvert());
    m.def("calibrate", &calibrate_as<double>, py::arg("counts").noconvert(),
          py::arg("class_totals").noconvert());
    m.def("label_quality", &label_quality, py::arg("labels").noconvert(),
          py::arg("pred_probs").noconvert(), py::kw_only(), py::arg("method"), py::arg("adjust"),
          py::arg("threads"), py::arg("progress"));
    m.def("confidences", &confidences, py::arg("labels").noconvert(),
          py::arg("pred_probs").noconvert(), py::kw_only(), py::arg("threads"),
          py::arg("progress"));
    m.def("label_issues", &label_issues, py::arg("labels").noconvert(),
          py::arg("pred_probs").noconvert(), py::kw_only(), py::arg("filter_by"),
          py::arg("rank_by"), py::arg("joint").noconvert(), py::arg("collision"),
          py::arg("frac_noise"), py::arg("num_to_remove_per_class").noconvert(),
          py::arg("min_examples_per_class"), py::arg("adjust"), py::arg("threads"),
          py::arg("progress"));
}

// States are the CPU's: whatever counts rows, it is whole numbers that are kept.
void joint_states(py::module_& m) {
    threshold_state(m);
    joint_state(m);
    issue_state(m);
}

}  // namespace dqcore::bind
