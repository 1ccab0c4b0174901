// The module _cpu: a list of rooms, and what tests and `dqcore info` ask of the kernel table.
#include <pybind11/stl.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/elementary.h"
#include "base/row_block.h"
#include "bind/array.h"
#include "bind/run.h"
#include "simd/kernels.h"

namespace dqcore::bind {
void bootstrap(py::module_&);
void knn(py::module_&);
void knn_on_cpu(py::module_&);
void joint(py::module_&);
void joint_states(py::module_&);
void joint_stream(py::module_&);
void slices(py::module_&);
void slice_states(py::module_&);

// No array is on a device of the CPU's.
const cuda::DeviceMatrix* device_matrix(const py::object&) { return nullptr; }
Matrix<const float> shape_of(const cuda::DeviceMatrix&) { return {}; }
NewResult::NewResult(int64_t n, const cuda::DeviceMatrix*) {
    const NewVector<double> made(n);
    array = made.array;
    view = made.view;
}

namespace {

// A column of the kernel table on one pair of rows, by the row in force.
template <auto column>
double pair_sum(const Array<float>& x, const Array<float>& y) {
    const auto a = vector(x), b = vector(y);
    if (a.size != b.size) throw py::value_error("x and y differ in length");
    return (simd::active().*column)(a.data, b.data, a.size);
}

}  // namespace
}  // namespace dqcore::bind

PYBIND11_MODULE(_cpu, m, pybind11::mod_gil_not_used()) {
    namespace py = pybind11;
    namespace simd = dqcore::simd;
    namespace bind = dqcore::bind;
    // Thrown by a vector whose length no memory could hold; pybind11 would make it a ValueError.
    // By value, as pybind11 wants it. NOLINTNEXTLINE(performance-unnecessary-value-param)
    pybind11::register_local_exception_translator([](std::exception_ptr error) {
        try {
            if (error) std::rethrow_exception(error);
        } catch (const std::length_error&) {
            PyErr_NoMemory();
        }
    });

    bind::knn(m);
    bind::knn_on_cpu(m);
    bind::bootstrap(m);
    bind::joint(m);
    bind::joint_states(m);
    bind::joint_stream(m);
    bind::slices(m);
    bind::slice_states(m);

    m.attr("version") = DQCORE_VERSION;
    m.def("isa", [] { return std::string(simd::active().isa); });
    m.def("isas", [] {
        std::vector<std::string> names;
        for (auto row = simd::usable(); *row; ++row) names.emplace_back((*row)->isa);
        return names;
    });
    m.def("set_isa", [](const std::string& isa) { simd::set_active(isa.c_str()); }, py::arg("isa"));
    m.def("threads", &dqcore::resolve_threads, py::arg("requested"));
    m.def("log", py::vectorize([](double x) { return dqcore::log_same_bits(x); }), py::arg("x"));
    m.def("exp", py::vectorize([](double x) { return dqcore::exp_same_bits(x); }), py::arg("x"));
    m.def("half", py::vectorize([](uint16_t bits) { return dqcore::half_to_float(bits); }),
          py::arg("bits"));
    m.def("squared_l2", &bind::pair_sum<&simd::Kernels::squared_l2>, py::arg("x").noconvert(),
          py::arg("y").noconvert());
    m.def("dot", &bind::pair_sum<&simd::Kernels::dot>, py::arg("x").noconvert(),
          py::arg("y").noconvert());

    // Test hook: `chunks` pieces of sleep, one of which may throw.
    m.def(
        "run_chunks",
        [](int64_t chunks, int64_t failing_chunk, int64_t milliseconds, int64_t threads,
           py::object progress) {
            bind::PythonRun python(threads, std::move(progress));
            python.call([&](const dqcore::Run& run) {
                dqcore::run_chunks(run, chunks, failing_chunk, milliseconds);
            });
        },
        py::arg("chunks"), py::arg("failing_chunk"), py::arg("milliseconds"), py::arg("threads"),
        py::arg("progress"));
}
