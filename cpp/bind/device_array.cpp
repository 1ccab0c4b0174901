#include "bind/device_array.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "bind/array.h"
#include "bind/dlpack.h"

namespace dqcore::bind {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
    throw std::invalid_argument(name + " cannot be read from its device: " + what);
}

// A deleter of Python's making may leave an error behind, which is no error of ours.
template <class T>
std::shared_ptr<void> owned(T* managed) {
    return {managed, [](void* p) {
                const py::error_scope ours;
                auto* const held = static_cast<T*>(p);
                if (held->deleter) held->deleter(held);
                if (PyErr_Occurred()) PyErr_WriteUnraisable(nullptr);
            }};
}

char kind_of(const std::string& name, const dlpack::Type& type) {
    const bool whole_bytes = type.bits % 8 == 0 && type.bits > 0;
    if (type.lanes == 1 && whole_bytes) {
        switch (type.code) {
            case dlpack::kInt:
                return 'i';
            case dlpack::kUint:
                return 'u';
            case dlpack::kFloat:
                return 'f';
            case dlpack::kBfloat:
                return 'B';
            case dlpack::kBool:
                return 'b';
            default:
                break;
        }
    }
    throw py::type_error(name + " cannot be read from its device: elements of DLPack's type " +
                         std::to_string(type.code) + " with " + std::to_string(type.bits) +
                         " bits and " + std::to_string(type.lanes) + " lanes are not known");
}

Described described(const std::string& name, const dlpack::Tensor& t) {
    constexpr int32_t kMostDims = 64;
    if (t.device.type != dlpack::kCuda && t.device.type != dlpack::kCudaManaged)
        refuse(name, "its capsule is of device type " + std::to_string(t.device.type) +
                         ", not of CUDA (2)");
    if (t.ndim < 0 || t.ndim > kMostDims || (t.ndim > 0 && !t.shape))
        refuse(name, "its capsule has " + std::to_string(t.ndim) + " dimensions" +
                         (t.shape ? "" : " and no shape"));
    Described said;
    said.kind = kind_of(name, t.type);
    said.item_bytes = t.type.bits / 8;
    said.data = reinterpret_cast<uintptr_t>(t.data);
    if (__builtin_add_overflow(said.data, t.byte_offset, &said.data))
        refuse(name, "its offset of " + std::to_string(t.byte_offset) + " bytes is out of range");
    if (!t.data) said.data = 0;
    said.shape.assign(t.shape, t.shape + t.ndim);
    for (int32_t i = 0; t.strides && i < t.ndim; ++i) {
        int64_t bytes;
        if (__builtin_mul_overflow(t.strides[i], said.item_bytes, &bytes))
            refuse(name, "its stride " + std::to_string(t.strides[i]) + " is out of range");
        said.strides.push_back(bytes);
    }
    said.device = t.device.id;
    return said;
}

// Takes over what the capsule holds: its name says so to whoever comes next.
template <class T>
T* taken_from(const py::object& capsule, const char* name, const char* used) {
    auto* const managed = static_cast<T*>(PyCapsule_GetPointer(capsule.ptr(), name));
    if (!managed || PyCapsule_SetName(capsule.ptr(), used) != 0) throw py::error_already_set();
    return managed;
}

DeviceArray from_dlpack(const std::string& name, const py::object& capsule, uintptr_t stream) {
    const auto is = [&](const char* what) { return PyCapsule_IsValid(capsule.ptr(), what) != 0; };
    if (is("dltensor_versioned")) {
        auto* const m =
            taken_from<dlpack::Versioned>(capsule, "dltensor_versioned", "used_dltensor_versioned");
        auto owner = owned(m);
        if (m->major != dlpack::kMajor)
            refuse(name, "its capsule is of DLPack " + std::to_string(m->major) + "." +
                             std::to_string(m->minor) + ", and version 1 is read");
        Described said = described(name, m->tensor);
        said.stream = stream;
        return {name, std::move(said), std::move(owner)};
    }
    if (!is("dltensor"))
        refuse(name, "__dlpack__ gave no capsule, or one that somebody has used before");
    auto* const m = taken_from<dlpack::Managed>(capsule, "dltensor", "used_dltensor");
    auto owner = owned(m);
    Described said = described(name, m->tensor);
    said.stream = stream;
    return {name, std::move(said), std::move(owner)};
}

DeviceArray from_interface(const std::string& name, uintptr_t data, char kind, int64_t item_bytes,
                           std::vector<int64_t> shape, std::optional<std::vector<int64_t>> strides,
                           uintptr_t stream, py::object owner) {
    Described said{
        data, kind,  item_bytes, std::move(shape), strides.value_or(std::vector<int64_t>()),
        -1,   stream};
    if (strides && strides->size() != said.shape.size())
        refuse(name, "it has " + std::to_string(said.shape.size()) + " dimensions and " +
                         std::to_string(strides->size()) + " strides");
    auto held = std::make_shared<py::object>(std::move(owner));
    return {name, std::move(said), std::move(held)};
}

}  // namespace

DeviceArray::DeviceArray(std::string name, Described said, std::shared_ptr<void> owner)
    : name_(std::move(name)), said_(std::move(said)), owner_(std::move(owner)) {
    const auto too_large = [&] {
        refuse(name_, "its shape and strides leave what can be addressed");
    };
    const bool packed = said_.strides.empty();
    if (packed) said_.strides.resize(said_.shape.size());
    bool empty = false;
    int64_t next = said_.item_bytes;
    for (size_t i = said_.shape.size(); i-- > 0;) {
        const int64_t n = said_.shape[i];
        if (n < 0)
            refuse(name_,
                   "dimension " + std::to_string(i) + " has " + std::to_string(n) + " entries");
        empty = empty || n == 0;
        if (!packed) continue;
        said_.strides[i] = next;
        if (n > 0 && __builtin_mul_overflow(next, n, &next)) too_large();
    }
    if (empty) {
        said_.device = std::max(said_.device, 0);
        return;
    }
    int64_t above = said_.item_bytes;
    for (size_t i = 0; i < said_.shape.size(); ++i) {
        if (said_.shape[i] == 1) continue;  // its stride is never taken, and may be anything
        int64_t reach;
        if (__builtin_mul_overflow(said_.strides[i], said_.shape[i] - 1, &reach)) too_large();
        if (reach >= 0 ? __builtin_add_overflow(above, reach, &above)
                       : __builtin_sub_overflow(below_, reach, &below_))
            too_large();
        if (said_.strides[i] % said_.item_bytes != 0)
            refuse(name_, "its stride of " + std::to_string(said_.strides[i]) +
                              " bytes is no multiple of its elements'");
    }
    if (said_.data == 0) refuse(name_, "it has entries but no memory: its pointer is null");
    if (said_.data % static_cast<uintptr_t>(said_.item_bytes) != 0)
        refuse(name_, "its elements are not aligned");
    constexpr auto kMost = static_cast<uintptr_t>(std::numeric_limits<int64_t>::max());
    if (__builtin_add_overflow(below_, above, &bytes_) ||
        said_.data < static_cast<uintptr_t>(below_) || said_.data > kMost ||
        above > std::numeric_limits<int64_t>::max() - static_cast<int64_t>(said_.data))
        too_large();
    const int first = cuda::device_of(lowest()), last = cuda::device_of(lowest() + bytes_ - 1);
    if (first < 0 || first != last)
        refuse(name_, first < 0 ? "its pointer is to no memory of a device"
                                : "its last bytes lie in other memory than its first");
    if (said_.device >= 0 && said_.device != first)
        refuse(name_, "it says that it is on device " + std::to_string(said_.device) +
                          " but lies on device " + std::to_string(first));
    said_.device = first;
}

const char* DeviceArray::lowest() const {
    // What a producer says is a number. NOLINTNEXTLINE(performance-no-int-to-ptr)
    return reinterpret_cast<const char*>(said_.data) - below_;
}

std::string DeviceArray::type_name() const {
    const std::string bits = std::to_string(8 * said_.item_bytes);
    switch (said_.kind) {
        case 'f':
            return "float" + bits;
        case 'i':
            return "int" + bits;
        case 'u':
            return "uint" + bits;
        case 'B':
            return "bfloat" + bits;
        default:
            return "bool";
    }
}

const cuda::DeviceMatrix& DeviceArray::matrix() {
    static const std::pair<const char*, cuda::Element> kKnown[] = {
        {"float16", cuda::Element::kFloat16},
        {"bfloat16", cuda::Element::kBfloat16},
        {"float32", cuda::Element::kFloat32},
        {"float64", cuda::Element::kFloat64}};
    const std::string type = type_name();
    if (said_.shape.size() != 2) throw py::type_error(name_ + " must have two dimensions");
    for (const auto& [known, element] : kKnown) {
        if (type != known) continue;
        const int64_t size = said_.item_bytes;
        // Of a dimension of one entry the stride may be anything.
        const auto stride = [&](size_t i) {
            return said_.shape[i] > 1 ? said_.strides[i] / size : i == 0 ? said_.shape[1] : 1;
        };
        matrix_ = {lowest(),  bytes_ / size, below_ / size, said_.shape[0], said_.shape[1],
                   stride(0), stride(1),     element,       said_.device,   said_.stream};
        return matrix_;
    }
    throw py::type_error(name_ + " must be of floats, got " + type);
}

py::object DeviceArray::to_host() const {
    if (said_.kind == 'B') throw py::type_error(name_ + " is bfloat16, which NumPy has not");
    const std::vector<py::ssize_t> shape(said_.shape.begin(), said_.shape.end());
    const py::dtype type(type_name());
    if (bytes_ == 0) return py::array(type, shape);
    const py::array_t<uint8_t> bytes(bytes_);
    {
        auto* const to = const_cast<uint8_t*>(bytes.data());
        const py::gil_scoped_release release;
        cuda::copy_to_host(to, lowest(), bytes_, said_.device, said_.stream);
    }
    return py::array(type, shape,
                     std::vector<py::ssize_t>(said_.strides.begin(), said_.strides.end()),
                     bytes.data() + below_, bytes);
}

DeviceResult::DeviceResult(int64_t n, int device) : n_(n), device_(device) {
    if (n > 0)
        memory_.reset(cuda::device_alloc(n * int64_t{sizeof(double)}, device), cuda::device_free);
}

Array<double> DeviceResult::to_host() const {
    const NewVector<double> made(n_);
    if (n_ > 0)
        cuda::copy_to_host(made.view.data, memory_.get(), n_ * int64_t{sizeof(double)}, device_, 0);
    return made.array;
}

py::capsule DeviceResult::dlpack() const {
    struct Held {
        dlpack::Managed managed{};
        std::shared_ptr<void> memory;
        int64_t shape = 0;
    };
    auto held = std::make_unique<Held>();
    held->memory = memory_;
    held->shape = n_;
    held->managed = {{memory_.get(),
                      {dlpack::kCuda, device_},
                      1,
                      {dlpack::kFloat, 64, 1},
                      &held->shape,
                      nullptr,
                      0},
                     held.get(),
                     [](dlpack::Managed* m) { delete static_cast<Held*>(m->context); }};
    py::capsule capsule(&held->managed, "dltensor", [](PyObject* self) {
        // Whoever has taken it over has renamed it.
        if (!PyCapsule_IsValid(self, "dltensor")) return;
        auto* const m = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(self, "dltensor"));
        m->deleter(m);
    });
    [[maybe_unused]] const Held* const its = held.release();
    return capsule;
}

const cuda::DeviceMatrix* device_matrix(const py::object& value) {
    return py::isinstance<DeviceArray>(value) ? &value.cast<DeviceArray&>().matrix() : nullptr;
}

Matrix<const float> shape_of(const cuda::DeviceMatrix& matrix) {
    return {nullptr, matrix.rows, matrix.cols};
}

NewResult::NewResult(int64_t n, const cuda::DeviceMatrix* like) {
    if (like) {
        auto made = std::make_unique<DeviceResult>(n, like->device);
        view = {made->data(), n};
        array = py::cast(std::move(made));
        return;
    }
    const NewVector<double> made(n);
    array = made.array;
    view = made.view;
}

void device_arrays(py::module_& m) {
    // Local: two backends in one process have one each.
    py::class_<DeviceArray>(m, "DeviceArray", py::module_local())
        .def_static("from_dlpack", &from_dlpack, py::arg("name"), py::arg("capsule"),
                    py::arg("stream"))
        .def_static("from_interface", &from_interface, py::arg("name"), py::arg("data"),
                    py::arg("kind"), py::arg("item_bytes"), py::arg("shape"), py::arg("strides"),
                    py::arg("stream"), py::arg("owner"))
        .def("to_host", &DeviceArray::to_host)
        .def("__len__", [](const DeviceArray& a) { return a.shape().empty() ? 0 : a.shape()[0]; })
        .def_property_readonly("shape",
                               [](const DeviceArray& a) { return py::tuple(py::cast(a.shape())); })
        .def_property_readonly("dtype", &DeviceArray::type_name)
        .def_property_readonly("device", &DeviceArray::device);
    py::class_<DeviceResult>(m, "DeviceResult", py::module_local())
        .def("__dlpack__", [](const DeviceResult& r, const py::kwargs&) { return r.dlpack(); })
        .def("__dlpack_device__",
             [](const DeviceResult& r) { return py::make_tuple(dlpack::kCuda, r.device()); })
        .def("to_host", &DeviceResult::to_host)
        .def("__len__", &DeviceResult::size)
        .def_property_readonly("__cuda_array_interface__", [](const DeviceResult& r) {
            py::dict said;
            said["shape"] = py::make_tuple(r.size());
            said["typestr"] = "<f8";
            said["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(r.data()), false);
            said["version"] = 3;
            said["stream"] = py::none();  // it is done
            return said;
        });
}

}  // namespace dqcore::bind
