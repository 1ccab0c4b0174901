#include "slices/slices.h"

#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bind/array.h"
#include "bind/run.h"
#include "slices/search.h"

namespace dqcore::bind {
namespace {

namespace room = dqcore::cpu;

void check_column(const py::array& a) {
    if (a.ndim() != 1) throw py::type_error("expected a 1-D array");
    if (a.dtype().byteorder() != '=' && a.dtype().byteorder() != '|')
        throw py::type_error("expected native byte order");
}

room::CodeColumn code_column(const py::array& a) {
    check_column(a);
    static const std::string kinds = "iu";
    const size_t kind = kinds.find(a.dtype().kind());
    int size_log2 = 0;
    while ((1 << size_log2) < a.itemsize()) ++size_log2;
    if (kind == std::string::npos || size_log2 > 3)
        throw py::type_error("expected an array of integers");
    room::CodeColumn column;
    column.data = static_cast<const char*>(a.data());
    column.type = static_cast<room::Integer>(static_cast<int>(kind) * 4 + size_log2);
    column.size = a.shape(0);
    column.stride = a.strides(0);
    return column;
}

room::ErrorColumn error_column(const py::array& errors) {
    check_column(errors);
    room::ErrorColumn column;
    column.data = static_cast<const char*>(errors.data());
    column.flags = errors.dtype().kind() == 'u' && errors.itemsize() == 1;
    if (!column.flags && !(errors.dtype().kind() == 'f' && errors.itemsize() == 8))
        throw py::type_error("expected uint8 or float64 errors");
    column.size = errors.shape(0);
    column.stride = errors.strides(0);
    return column;
}

room::SliceInput slice_input(const py::array& errors, const std::vector<py::array>& codes) {
    room::SliceInput in;
    in.errors = error_column(errors);
    for (const py::array& column : codes) {
        in.columns.push_back(code_column(column));
        if (in.columns.back().size != in.errors.size)
            throw py::value_error("errors and columns differ in length");
    }
    return in;
}

template <class T>
Array<T> new_array(const std::vector<T>& values) {
    return Array<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

Array<int32_t> new_matrix(const std::vector<int32_t>& values, int64_t cols) {
    const auto rows = static_cast<int64_t>(values.size()) / (cols > 0 ? cols : 1);
    return Array<int32_t>({rows, cols}, values.data());
}

// In the order of reference.slices.SliceCounts.
py::tuple counts_tuple(const room::SliceCounts& c) {
    return py::make_tuple(
        new_matrix(c.predicate_columns, c.width), new_matrix(c.predicate_codes, c.width),
        new_array(c.size), new_array(c.error_sum), new_array(c.rest_error_sum),
        new_array(c.max_error), new_array(c.deviation), new_array(c.rest_deviation), c.n_rows,
        c.total_error_sum, c.binary, new_array(c.weight), new_array(c.weight_squares),
        c.total_weight, c.total_weight_squares);
}

void update(room::SliceState& state, const py::array& errors, const std::vector<py::array>& codes,
            int64_t threads, py::object progress) {
    const room::SliceInput in = slice_input(errors, codes);
    PythonRun python(threads, std::move(progress));
    python.call([&](const Run& run) { state.update(in, run); });
}

bool add(room::SliceState& state, const py::array& errors, const std::vector<py::array>& codes,
         int64_t most_bytes) {
    const room::SliceInput in = slice_input(errors, codes);
    const py::gil_scoped_release release;
    return state.add(in, most_bytes);
}

py::tuple finish(const room::SliceState& state, int64_t min_support, int64_t most_bytes) {
    room::SliceCounts counts;
    {
        const py::gil_scoped_release release;
        counts = state.finish(min_support, most_bytes);
    }
    return counts_tuple(counts);
}

py::tuple count(room::SliceSpec spec, const py::array& errors, const std::vector<py::array>& codes,
                int64_t min_support, int64_t threads, py::object progress) {
    const room::SliceInput in = slice_input(errors, codes);
    std::optional<room::SliceState> state;
    PythonRun python(threads, std::move(progress));
    python.call([&](const Run& run) { state = DQCORE_BACKEND::counted(std::move(spec), in, run); });
    if (!state) throw std::logic_error("a call that returned made no state");
    return finish(*state, min_support, INT64_MAX);
}

py::tuple slice_errors(const py::array& errors, const std::vector<py::array>& codes,
                       std::vector<int64_t> n_categories, int64_t max_level, int64_t error_exponent,
                       int64_t min_support, int64_t threads, py::object progress) {
    return count({std::move(n_categories), max_level, error_exponent, {}}, errors, codes,
                 min_support, threads, std::move(progress));
}

py::tuple group_counts(const py::array& errors, const std::vector<py::array>& codes,
                       std::vector<int64_t> n_categories,
                       std::vector<std::vector<int32_t>> crossings, int64_t error_exponent,
                       int64_t threads, py::object progress) {
    const auto level = static_cast<int64_t>(n_categories.size());
    return count({std::move(n_categories), level, error_exponent, {}, std::move(crossings)}, errors,
                 codes, 1, threads, std::move(progress));
}

// In the order of reference.slices.FoundSlices.
py::tuple found_tuple(const room::FoundSlices& f) {
    std::vector<int64_t> levels;
    for (const room::LevelCounts& l : f.levels) {
        levels.insert(levels.end(), {l.candidates, l.bounded, l.evaluated, l.settled, l.kept});
    }
    return py::make_tuple(
        counts_tuple(f.counts), new_array(f.score), new_array(f.redundant),
        static_cast<int>(f.stop), f.bound,
        Array<int64_t>({static_cast<int64_t>(f.levels.size()), int64_t{5}}, levels.data()));
}

py::tuple find_slices(const py::array& errors, const std::vector<py::array>& codes,
                      std::vector<int64_t> n_categories, const py::object& weights, int64_t k,
                      double alpha, int64_t max_level, int64_t min_support, int64_t error_exponent,
                      int64_t weight_exponent, int64_t max_candidates, double time_limit,
                      int64_t most_bytes, int64_t threads, py::object progress) {
    room::SearchInput in;
    in.rows = slice_input(errors, codes);
    py::array weight_array;
    in.weighted = !weights.is_none();
    if (in.weighted) {
        weight_array = weights.cast<py::array>();
        in.weights = error_column(weight_array);
        if (in.weights.flags) throw py::type_error("expected float64 weights");
        if (in.weights.size != in.rows.errors.size)
            throw py::value_error("errors and weights differ in length");
    }
    const room::SearchSpec spec{std::move(n_categories),
                                k,
                                alpha,
                                max_level,
                                min_support,
                                error_exponent,
                                weight_exponent,
                                max_candidates,
                                time_limit,
                                most_bytes};
    PythonRun python(threads, std::move(progress));
    room::FoundSlices found;
    python.call([&](const Run& run) { found = room::find_slices(in, spec, run); });
    return found_tuple(found);
}

}  // namespace

void slices(py::module_& m) {
    m.def("group_counts", &group_counts, py::arg("errors").noconvert(), py::arg("codes"),
          py::arg("n_categories"), py::kw_only(), py::arg("crossings"), py::arg("error_exponent"),
          py::arg("threads"), py::arg("progress"));
    m.def("slice_errors", &slice_errors, py::arg("errors").noconvert(), py::arg("codes"),
          py::arg("n_categories"), py::kw_only(), py::arg("max_level"), py::arg("error_exponent"),
          py::arg("min_support"), py::arg("threads"), py::arg("progress"));
}

// The CPU's alone: the search, and states.
void slice_states(py::module_& m) {
    m.def("find_slices", &find_slices, py::arg("errors").noconvert(), py::arg("codes"),
          py::arg("n_categories"), py::kw_only(), py::arg("weights"), py::arg("k"),
          py::arg("alpha"), py::arg("max_level"), py::arg("min_support"), py::arg("error_exponent"),
          py::arg("weight_exponent"), py::arg("max_candidates"), py::arg("time_limit"),
          py::arg("most_bytes"), py::arg("threads"), py::arg("progress"));
    py::class_<room::SliceState>(m, "SliceState")
        .def(py::init([](std::vector<int64_t> n_categories, int64_t max_level,
                         int64_t error_exponent, std::string description, int64_t wide_cells,
                         int64_t all_cells) {
                 return room::SliceState({std::move(n_categories),
                                          max_level,
                                          error_exponent,
                                          std::move(description),
                                          {},
                                          wide_cells,
                                          all_cells});
             }),
             py::arg("n_categories"), py::kw_only(), py::arg("max_level"),
             py::arg("error_exponent"), py::arg("description"), py::arg("wide_cells") = 0,
             py::arg("all_cells") = 0)
        .def("update", &update, py::arg("errors").noconvert(), py::arg("codes"), py::kw_only(),
             py::arg("threads"), py::arg("progress"))
        .def("merge", &room::SliceState::merge, py::arg("other"),
             py::call_guard<py::gil_scoped_release>())
        .def("add", &add, py::arg("errors").noconvert(), py::arg("codes"), py::kw_only(),
             py::arg("most_bytes"))
        .def("finish", &finish, py::arg("min_support"), py::arg("most_bytes") = INT64_MAX)
        .def("to_bytes", [](const room::SliceState& s) { return py::bytes(s.to_bytes()); })
        .def_static(
            "from_bytes",
            [](const py::bytes& data) {
                return room::SliceState::from_bytes(std::string_view(data));
            },
            py::arg("data"))
        .def_property_readonly("n_categories",
                               [](const room::SliceState& s) { return s.spec().n_categories; })
        .def_property_readonly("max_level",
                               [](const room::SliceState& s) { return s.spec().max_level; })
        .def_property_readonly("error_exponent",
                               [](const room::SliceState& s) { return s.spec().error_exponent; })
        .def_property_readonly(
            "description",
            [](const room::SliceState& s) { return py::bytes(s.spec().description); })
        .def_property_readonly("held_bytes", &room::SliceState::held_bytes)
        .def_property_readonly("hash_tables", &room::SliceState::hash_tables)
        .def("dense_bytes", &room::SliceState::dense_bytes, py::arg("losses"))
        .def_property_readonly("n_rows", [](const room::SliceState& s) { return s.n_rows(); });
}

}  // namespace dqcore::bind
