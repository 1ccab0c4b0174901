// The module _cuda: the rooms that have kernels for NVIDIA devices, and what is there to run them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <exception>
#include <stdexcept>
#include <string>

#include "bind/array.h"
#include "cuda/errors.h"
#include "cuda/filter_error.h"
#include "cuda/runtime.h"

namespace dqcore::bind {
void device_arrays(pybind11::module_&);
void joint(pybind11::module_&);
void knn(pybind11::module_&);
void slices(pybind11::module_&);
}  // namespace dqcore::bind

PYBIND11_MODULE(_cuda, m, pybind11::mod_gil_not_used()) {
    namespace py = pybind11;
    // By value, as pybind11 wants it. NOLINTNEXTLINE(performance-unnecessary-value-param)
    py::register_local_exception_translator([](std::exception_ptr error) {
        try {
            if (error) std::rethrow_exception(error);
        } catch (const dqcore::cuda::DeviceError& failed) {
            const auto kind = py::module_::import("dqcore._backend").attr("BackendError");
            PyErr_SetString(kind.ptr(), failed.what());
        } catch (const std::length_error&) {
            PyErr_NoMemory();
        }
    });

    dqcore::bind::device_arrays(m);
    dqcore::bind::joint(m);
    dqcore::bind::knn(m);
    dqcore::bind::slices(m);

    m.attr("version") = DQCORE_VERSION;
    // (runtime, driver, devices, reason); python/dqcore/_backend.py asks before the first call.
    m.def("status", [] {
        const dqcore::cuda::RuntimeStatus s = dqcore::cuda::runtime_status();
        return py::make_tuple(s.runtime, s.driver, s.devices, s.reason);
    });
    // How far the tensor cores went of what the filter's bound allows, for these rows: 1 and more breaks it.
    m.def(
        "filter_error",
        [](const dqcore::bind::Array<float>& x, const std::string& metric) {
            return dqcore::cuda::largest_filter_error(
                dqcore::bind::matrix(x),
                metric == "cosine" ? dqcore::Metric::kCosine : dqcore::Metric::kEuclidean);
        },
        py::arg("x").noconvert(), py::arg("metric"));
    // A function that has no kernel is an error of its own: nothing runs elsewhere instead.
    m.def("__getattr__", [](const std::string& name) -> py::object {
        const auto error = py::module_::import("dqcore._backend").attr("NoKernelError");
        const std::string what = "backend 'cuda' has no " + name;
        PyErr_SetString(error.ptr(), what.c_str());
        throw py::error_already_set();
    });
}
