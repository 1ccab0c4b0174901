// The knn room for Python. Compiled into every backend: DQCORE_BACKEND names the namespace.
#include "knn/knn.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include "bind/array.h"
#include "bind/run.h"
#include "knn/room.h"
#include "knn/state.h"

namespace dqcore::bind {
namespace {

Metric metric_of(const std::string& name) {
    return name == "cosine" ? Metric::kCosine : Metric::kEuclidean;
}

py::dict record_of(const KnnStats& stats) {
    py::dict record;
    record["distinct_rows"] = stats.distinct_rows;
    record["pairs"] = stats.pairs;
    record["level1"] = stats.level1;
    record["head_dims"] = stats.head;
    record["stage_dims"] = py::tuple(py::cast(stats.stages));
    record["near_dims"] = stats.near;
    record["survivors_level1"] = stats.survivors1;
    record["survivors_level2"] = stats.survivors2;
    record["keys"] = stats.keys;
    record["rows_again"] = stats.again;
    record["seconds_prepare"] = stats.seconds_prepare;
    record["seconds_sweep"] = stats.seconds_sweep;
    return record;
}

// Rows on the host; of a device only their shape, and those in `on_device`.
Matrix<const float> rows_of(const py::object& value, const cuda::DeviceMatrix*& on_device) {
    on_device = device_matrix(value);
    if (on_device) return shape_of(*on_device);
    if (!py::isinstance<Array<float>>(value)) throw py::type_error("expected C-ordered float32");
    return matrix(py::reinterpret_borrow<Array<float>>(value));
}

py::tuple knn_graph(const py::object& features, int64_t k, const std::string& metric,
                    const py::object& queries, int64_t threads, py::object progress,
                    int64_t forced_head) {
    KnnInput in{{}, {}, k, metric_of(metric), forced_head};
    in.base = rows_of(features, in.device_base);
    if (!queries.is_none()) in.queries = rows_of(queries, in.device_queries);
    const int64_t rows = queries.is_none() ? in.base.rows : in.queries.rows;
    NewMatrix<int32_t> indices(rows, k);
    NewMatrix<float> distances(rows, k);
    KnnStats stats;
    PythonRun(threads, std::move(progress)).call([&](const Run& run) {
        stats = DQCORE_BACKEND::knn_graph(in, {indices.view, distances.view}, run);
    });
    return py::make_tuple(indices.array, distances.array, metric, record_of(stats));
}

py::tuple knn_disagreement(const Array<int32_t>& labels, const py::object& graph,
                           const std::string& weights, bool class_balanced, bool labelled_only,
                           int64_t n_classes, int64_t threads, py::object progress) {
    static const std::map<std::string, Weights> names{{"uniform", Weights::kUniform},
                                                      {"distance", Weights::kDistance},
                                                      {"gaussian", Weights::kGaussian},
                                                      {"similarity", Weights::kSimilarity}};
    const auto indices = graph.attr("indices").cast<Array<int32_t>>();
    const auto distances = graph.attr("distances").cast<Array<float>>();
    const DisagreementInput in{vector(labels),    matrix(indices), matrix(distances), n_classes,
                               names.at(weights), class_balanced,  labelled_only};
    const int64_t n = in.labels.size;
    NewVector<double> score(n), margin(n), entropy(n);
    NewVector<int32_t> suggested(n);
    NewVector<uint8_t> flags(n);
    NewMatrix<int64_t> confusion(n_classes, n_classes);
    std::fill_n(confusion.view.data, n_classes * n_classes, int64_t{0});
    PythonRun(threads, std::move(progress)).call([&](const Run& run) {
        DQCORE_BACKEND::knn_disagreement(
            in, {score.view, suggested.view, margin.view, entropy.view, flags.view, confusion.view},
            run);
    });
    return py::make_tuple(score.array, suggested.array, margin.array, entropy.array, flags.array,
                          confusion.array);
}

// `file` is a descriptor; the base is at its beginning.
py::tuple knn_graph_spilled(int file, int64_t n, int64_t d, int64_t k, const std::string& metric,
                            int64_t limit, int64_t threads, py::object progress,
                            int64_t forced_head) {
    NewMatrix<int32_t> indices(n, k);
    NewMatrix<float> distances(n, k);
    KnnStats stats;
    try {
        Room room(file, cpu::knn_room_bytes(n, d, k));
        const KnnInput in{{reinterpret_cast<const float*>(room.begin()), n, d},
                          {},
                          k,
                          metric_of(metric),
                          forced_head};
        PythonRun(threads, std::move(progress)).call([&](const Run& run) {
            stats = cpu::knn_graph_spilled(in, {room, limit}, {indices.view, distances.view}, run);
        });
    } catch (const std::system_error& error) {
        errno = error.code().value();
        PyErr_SetFromErrno(PyExc_OSError);
        throw py::error_already_set();
    }
    return py::make_tuple(indices.array, distances.array, metric, record_of(stats));
}

void knn_state(py::module_& m) {
    py::class_<KnnState>(m, "KnnState")
        .def(py::init([](int64_t n, int64_t k, const std::string& metric) {
                 return KnnState(n, k, metric_of(metric));
             }),
             py::arg("n"), py::arg("k"), py::arg("metric"))
        .def(
            "update",
            [](KnnState& self, const Array<float>& rows, const Array<float>& base,
               int64_t row_start, int64_t base_start, int64_t threads, py::object progress) {
                const auto row_view = matrix(rows), base_view = matrix(base);
                PythonRun(threads, std::move(progress)).call([&](const Run& run) {
                    self.update(row_view, base_view, row_start, base_start, run);
                });
            },
            py::arg("rows").noconvert(), py::arg("base").noconvert(), py::arg("row_start"),
            py::arg("base_start"), py::arg("threads"), py::arg("progress"))
        .def("merge", &KnnState::merge, py::arg("other"), py::call_guard<py::gil_scoped_release>())
        .def("finish",
             [](const KnnState& self) {
                 NewMatrix<int32_t> indices(self.n(), self.k());
                 NewMatrix<float> distances(self.n(), self.k());
                 self.finish({indices.view, distances.view});
                 return py::make_tuple(indices.array, distances.array);
             })
        .def("to_bytes", [](const KnnState& self) { return py::bytes(self.to_bytes()); })
        .def_static(
            "from_bytes",
            [](const py::bytes& data) { return KnnState::from_bytes(std::string_view(data)); },
            py::arg("data"))
        .def_property_readonly("n", &KnnState::n)
        .def_property_readonly("k", &KnnState::k)
        .def_property_readonly("metric", [](const KnnState& self) {
            return self.metric() == Metric::kCosine ? "cosine" : "euclidean";
        });
}

template <class T>
Matrix<T> filled(Array<T>& a, const KnnRows& lists) {
    const auto view = matrix(a);
    if (view.rows != lists.rows() || view.cols != lists.k())
        throw py::value_error("the result has another shape than the lists");
    return {a.mutable_data(), view.rows, view.cols};
}

void knn_rows(py::module_& m) {
    py::class_<KnnRows>(m, "KnnRows")
        .def(py::init([](int64_t rows, int64_t k, const std::string& metric) {
                 return KnnRows(rows, k, metric_of(metric));
             }),
             py::arg("rows"), py::arg("k"), py::arg("metric"))
        .def(
            "update",
            [](KnnRows& self, const Array<float>& rows, const Array<float>& base, int64_t row_start,
               int64_t base_start, int64_t threads, py::object progress) {
                const auto row_view = matrix(rows), base_view = matrix(base);
                if (row_view.rows != self.rows() || row_view.cols != base_view.cols)
                    throw py::value_error("rows have another shape than the lists or the base");
                KnnStats stats;
                PythonRun(threads, std::move(progress)).call([&](const Run& run) {
                    stats = self.update(row_view, base_view, row_start, base_start, run);
                });
                return record_of(stats);
            },
            py::arg("rows").noconvert(), py::arg("base").noconvert(), py::arg("row_start"),
            py::arg("base_start"), py::arg("threads"), py::arg("progress"))
        .def(
            "finish",
            [](const KnnRows& self, Array<int32_t>& indices, Array<float>& distances) {
                self.finish({filled(indices, self), filled(distances, self)});
            },
            py::arg("indices").noconvert(), py::arg("distances").noconvert());
}

}  // namespace

void knn(py::module_& m) {
    m.def("knn_graph", &knn_graph, py::arg("features").noconvert(), py::arg("k"), py::kw_only(),
          py::arg("metric"), py::arg("queries").noconvert(), py::arg("threads"),
          py::arg("progress"), py::arg("forced_head") = 0);
    m.def("knn_disagreement", &knn_disagreement, py::arg("labels").noconvert(), py::arg("graph"),
          py::kw_only(), py::arg("weights"), py::arg("class_balanced"), py::arg("labelled_only"),
          py::arg("n_classes"), py::arg("threads"), py::arg("progress"));
}

// What no device has a kernel for.
void knn_on_cpu(py::module_& m) {
    m.def("knn_graph_spilled", &knn_graph_spilled, py::arg("file"), py::arg("n"), py::arg("d"),
          py::arg("k"), py::kw_only(), py::arg("metric"), py::arg("limit"), py::arg("threads"),
          py::arg("progress"), py::arg("forced_head") = 0);
    m.def(
        "knn_spill_bytes",
        [](int64_t n, int64_t d, int64_t k) {
            return py::make_tuple(cpu::knn_room_bytes(n, d, k), cpu::knn_least_bytes(n, k),
                                  cpu::knn_most_bytes(n, d, k));
        },
        py::arg("n"), py::arg("d"), py::arg("k"));
    m.def("knn_block_bytes", &cpu::knn_block_bytes, py::arg("rows"), py::arg("base"), py::arg("d"),
          py::arg("k"));
    knn_rows(m);
    knn_state(m);
}

}  // namespace dqcore::bind
