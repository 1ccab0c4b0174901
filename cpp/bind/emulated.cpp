// The module _emulated: the CUDA backend's kernels and algorithms on the CPU's executor (cuda/exec_host.h), for tests.
// Built in a checkout, never installed. A name that ends in _hazard is a kernel that is wrong on purpose.
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bind/array.h"
#include "bind/run.h"
#include "cuda/example.h"
#include "cuda/hazards.h"
#include "cuda/host_device.h"
#include "cuda/knn_graph.h"

namespace dqcore::bind {
void joint(py::module_&);
namespace {

std::vector<uint32_t> row_sums(const Array<uint32_t>& x, bool backwards) {
    const auto view = matrix(x);
    cuda::HostDevice device(backwards);
    return cuda::row_sums(device, view.data, view.rows, view.cols);
}

// Runs one block of a wrong kernel; what it throws is a RuntimeError.
void hazard(const std::string& what, bool backwards) {
    cuda::HostDevice device(backwards);
    device.launch(cuda::Hazard{cuda::hazard_named(what)}, 1, cuda::Hazard::kSharedBytes);
}

py::tuple knn_graph(const Array<float>& features, int64_t k, const std::string& metric,
                    const std::optional<Array<float>>& queries, int64_t threads,
                    py::object progress, int64_t capacity, bool backwards) {
    KnnInput in{matrix(features), {}, k, metric == "cosine" ? Metric::kCosine : Metric::kEuclidean};
    if (queries) in.queries = matrix(*queries);
    const int64_t rows = queries ? in.queries.rows : in.base.rows;
    NewMatrix<int32_t> indices(rows, k);
    NewMatrix<float> distances(rows, k);
    cuda::DeviceKnnStats stats;
    PythonRun(threads, std::move(progress)).call([&](const Run& run) {
        cuda::HostDevice device(backwards);
        stats = cuda::knn_graph(device, in, {indices.view, distances.view}, {capacity}, run);
    });
    py::dict record;
    record["distinct_rows"] = stats.distinct_rows;
    record["stages"] = stats.stages;
    record["hits"] = stats.hits;
    record["rows_with_too_many_hits"] = stats.too_many;
    return py::make_tuple(indices.array, distances.array, metric, record);
}

int64_t first_bad_row(const Array<float>& x) {
    const auto view = matrix(x);
    cuda::HostDevice device;
    auto buffer = device.alloc<float>(view.rows * view.cols);
    device.upload(buffer, view.data, view.rows * view.cols);
    return cuda::first_bad_row(device, {buffer.all(), view.rows, view.cols});
}

}  // namespace
}  // namespace dqcore::bind

PYBIND11_MODULE(_emulated, m) {
    namespace py = pybind11;
    namespace bind = dqcore::bind;
    bind::joint(m);
    m.def("status", [] { return py::make_tuple("none", "none", py::tuple(), ""); });
    // Of the devices that the rooms' functions make: the order of blocks and threads, and how much fits.
    m.def(
        "set_device",
        [](bool backwards, int64_t free_bytes) {
            dqcore::cuda::HostDevice::defaults() = {backwards, free_bytes};
        },
        py::arg("backwards") = false, py::arg("free_bytes") = int64_t{1} << 30);
    m.def("row_sums", &bind::row_sums, py::arg("x").noconvert(), py::arg("backwards"));
    m.def("hazard", &bind::hazard, py::arg("what"), py::arg("backwards"));
    m.def("knn_graph", &bind::knn_graph, py::arg("features").noconvert(), py::arg("k"),
          py::arg("metric"), py::arg("queries").noconvert() = py::none(), py::arg("threads"),
          py::arg("progress"), py::arg("capacity") = 0, py::arg("backwards") = false);
    m.def("first_bad_row", &bind::first_bad_row, py::arg("x").noconvert());
}
