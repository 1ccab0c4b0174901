// The module _emulated: the CUDA backend's kernels and algorithms on the CPU's executor (cuda/exec_host.h), for tests.
// Built in a checkout, never installed. A name that ends in _hazard is a kernel that is wrong on purpose.
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bind/array.h"
#include "bind/run.h"
#include "cuda/example.h"
#include "cuda/filter_error.h"
#include "cuda/hazards.h"
#include "cuda/host_device.h"
#include "cuda/knn_graph.h"

namespace dqcore::bind {
void device_arrays(py::module_&);
void joint(py::module_&);
void knn(py::module_&);
void slices(py::module_&);
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

// knn_graph of a self-join with room for `capacity` hits of a row.
py::tuple knn_graph_with_room(const Array<float>& features, int64_t k, int64_t capacity) {
    const KnnInput in{matrix(features), {}, k};
    NewMatrix<int32_t> indices(in.base.rows, k);
    NewMatrix<float> distances(in.base.rows, k);
    cuda::HostDevice device;
    const KnnStats stats =
        cuda::knn_graph(device, in, {indices.view, distances.view}, {capacity}, Run{});
    return py::make_tuple(indices.array, distances.array, stats.survivors1, stats.again);
}

double filter_error(const Array<float>& x, const std::string& metric) {
    return cuda::largest_filter_error(matrix(x),
                                      metric == "cosine" ? Metric::kCosine : Metric::kEuclidean);
}

}  // namespace
}  // namespace dqcore::bind

PYBIND11_MODULE(_emulated, m) {
    namespace py = pybind11;
    namespace bind = dqcore::bind;
    bind::device_arrays(m);
    bind::joint(m);
    bind::knn(m);
    bind::slices(m);
    m.def("status", [] { return py::make_tuple("none", "none", py::tuple(), ""); });
    // Of the devices that the rooms' functions make: the order of blocks and threads, and how much fits.
    m.def(
        "set_device",
        [](bool backwards, int64_t free_bytes) {
            dqcore::cuda::HostDevice::defaults() = {backwards, free_bytes};
        },
        py::arg("backwards") = false, py::arg("free_bytes") = int64_t{1} << 30);
    // Declares memory of the caller's to be memory of `device`; -1: no longer.
    m.def(
        "declare_memory",
        [](uintptr_t at, int64_t bytes, int device) {
            auto& known = dqcore::cuda::HostDevice::memory();
            if (device < 0)
                known.erase(at);
            else
                known[at] = {bytes, device};
        },
        py::arg("at"), py::arg("bytes"), py::arg("device"));
    // The streams that work waited for since this was asked last.
    m.def("waited_for", [] { return std::exchange(dqcore::cuda::HostDevice::waited_for(), {}); });
    m.def("row_sums", &bind::row_sums, py::arg("x").noconvert(), py::arg("backwards"));
    m.def("hazard", &bind::hazard, py::arg("what"), py::arg("backwards"));
    m.def("knn_graph_with_room", &bind::knn_graph_with_room, py::arg("features").noconvert(),
          py::arg("k"), py::arg("capacity"));
    m.def("filter_error", &bind::filter_error, py::arg("x").noconvert(), py::arg("metric"));
}
