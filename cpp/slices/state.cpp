#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "slices/plan.h"
#include "slices/slices.h"
#include "slices/table.h"

namespace dqcore::cpu {

// The tables of a plan, empty until rows come.
class SliceTables {
public:
    SliceTables(const SliceSpec& spec, std::shared_ptr<const SlicePlan> shared)
        : plan(std::move(shared)), unit(spec.error_exponent) {
        for (const auto& planned : plan->tables) {
            std::vector<int64_t> categories;
            categories.reserve(planned.columns.size());
            for (const int32_t c : planned.columns)
                categories.push_back(spec.n_categories[static_cast<size_t>(c)]);
            tables.emplace_back(planned.columns, std::move(categories), planned.dense, unit);
        }
    }

    void merge(const SliceTables& other) {
        for (size_t t = 0; t < tables.size(); ++t) tables[t].merge(other.tables[t]);
    }

    std::shared_ptr<const SlicePlan> plan;
    ErrorUnit unit;
    std::vector<Table> tables;
};

namespace {

constexpr int64_t kChunkRows = 1 << 15;   // some 0.1 ms of work
constexpr int64_t kMostRows = 1LL << 34;  // of losses: see ErrorUnit::deviation
// Tables of all workers of one call; above this there are fewer workers.
constexpr int64_t kWorkerBytes = 1LL << 31;

void check_spec(const SliceSpec& spec) {
    if (spec.n_categories.empty()) throw std::invalid_argument("columns must not be empty");
    for (const int64_t n : spec.n_categories) {
        if (n < 0 || n > kMostCategories)
            throw std::invalid_argument("n_categories must be in [0, 2^31 - 2]");
    }
    if (spec.max_level < 1) throw std::invalid_argument("max_level must be at least 1");
    if (spec.error_exponent < -kMostExponent || spec.error_exponent > kMostExponent)
        throw std::invalid_argument("error_exponent must be in [-400, 400]");
}

constexpr auto kCellBytes = static_cast<int64_t>(sizeof(Cell) + sizeof(uint64_t));

int usable_workers(const SliceTables& tables, const Run& run) {
    int64_t bytes = 1;
    for (const Table& t : tables.tables) {
        if (t.dense()) bytes += static_cast<int64_t>(t.cells()) * kCellBytes;
    }
    return static_cast<int>(std::clamp<int64_t>(kWorkerBytes / bytes, 1, run.threads));
}

// Of a slice, in finish and in what Python makes of it at once: vectors that grow, arrays, the table and its order.
constexpr int64_t kSliceBytes = 700, kConditionBytes = 60;

// What one worker has counted.
struct Partial {
    Partial(const SliceSpec& spec, const std::shared_ptr<const SlicePlan>& plan)
        : tables(std::make_unique<SliceTables>(spec, plan)), block(spec.n_categories.size()) {}
    std::unique_ptr<SliceTables> tables;
    Block block;
    bool binary = true;
};

void append(SliceCounts& out, const Table& table, uint128 key, const Cell& cell, const Cell& all,
            const ErrorUnit& unit) {
    const size_t level = table.columns().size();
    for (size_t i = 0; i < static_cast<size_t>(out.width); ++i) {
        out.predicate_columns.push_back(i < level ? table.columns()[i] : -1);
        out.predicate_codes.push_back(i < level ? static_cast<int32_t>(table.digit(key, i) - 1)
                                                : -1);
    }
    out.size.push_back(cell.size);
    out.weight.push_back(static_cast<double>(cell.size));
    out.weight_squares.push_back(static_cast<double>(cell.size));
    out.error_sum.push_back(unit.sum(cell.sum));
    out.rest_error_sum.push_back(unit.sum(all.sum - cell.sum));
    out.max_error.push_back(cell.max);
    out.deviation.push_back(unit.deviation(cell.size, cell.sum, cell.squares));
    out.rest_deviation.push_back(
        unit.deviation(all.size - cell.size, all.sum - cell.sum, all.squares - cell.squares));
}

}  // namespace

SliceState::SliceState(SliceSpec spec) : spec_(std::move(spec)) {
    check_spec(spec_);
    const int64_t wide_cells = spec_.wide_cells > 0 ? spec_.wide_cells : kWideCells;
    const int64_t all_cells = spec_.all_cells > 0 ? spec_.all_cells : kAllCells;
    tables_ = std::make_unique<SliceTables>(
        spec_, std::make_shared<const SlicePlan>(
                   spec_.crossings.empty()
                       ? plan_slices(spec_.n_categories, spec_.max_level, wide_cells, all_cells)
                       : plan_crossings(spec_.n_categories, spec_.crossings, wide_cells)));
}

SliceState::~SliceState() = default;
SliceState::SliceState(SliceState&&) noexcept = default;
SliceState& SliceState::operator=(SliceState&&) noexcept = default;

void SliceState::add_rows(int64_t rows, bool binary) {
    if (!(binary_ && binary) && n_rows_ + rows > kMostRows)
        throw std::invalid_argument("a state holds at most 2^34 rows of losses");
    n_rows_ += rows;
    binary_ = binary_ && binary;
}

const SlicePlan& SliceState::plan() const { return *tables_->plan; }

void SliceState::add_cell(size_t table, uint128 key, const Cell& cell) {
    tables_->tables[table].add(key, cell);
}

void SliceState::update(const SliceInput& in, const Run& run) {
    if (in.columns.size() != spec_.n_categories.size())
        throw std::invalid_argument("columns must be as many as the state has");
    const Run limited{usable_workers(*tables_, run), run.watcher};
    std::vector<std::unique_ptr<Partial>> partials(static_cast<size_t>(limited.threads));
    parallel_rows(limited, "slices", in.errors.size, kChunkRows,
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      auto& mine = partials[static_cast<size_t>(worker.id)];
                      if (!mine) mine = std::make_unique<Partial>(spec_, tables_->plan);
                      for (int64_t at = begin; at < end; at += kBlockRows) {
                          mine->block.load(in, spec_, tables_->unit, at,
                                           std::min(at + kBlockRows, end));
                          mine->binary = mine->binary && mine->block.binary;
                          for (Table& table : mine->tables->tables) {
                              worker.check();
                              table.count(mine->block);
                          }
                      }
                  });
    bool binary = true;
    for (const auto& partial : partials) binary = binary && (!partial || partial->binary);
    bool empty = n_rows_ == 0;
    add_rows(in.errors.size, binary);
    for (auto& partial : partials) {
        if (!partial) continue;
        if (empty) {
            tables_ = std::move(partial->tables);
            empty = false;
        } else {
            tables_->merge(*partial->tables);
        }
    }
}

bool SliceState::add(const SliceInput& in, int64_t most_bytes) {
    if (in.columns.size() != spec_.n_categories.size())
        throw std::invalid_argument("columns must be as many as the state has");
    int64_t held = 0, largest = 0;  // of the tables that grow
    for (const Table& table : tables_->tables) {
        if (table.dense()) continue;
        held += table.held_bytes();
        largest = std::max(largest, table.held_bytes());
    }
    Block block(in.columns.size());
    bool binary = true;
    for (int64_t at = 0; at < in.errors.size; at += kBlockRows) {
        block.load(in, spec_, tables_->unit, at, std::min(at + kBlockRows, in.errors.size));
        binary = binary && block.binary;
        for (Table& table : tables_->tables) {
            const int64_t before = table.held_bytes();
            table.count(block);
            if (table.dense()) continue;
            held += table.held_bytes() - before;
            largest = std::max(largest, table.held_bytes());
            // One that grows has twice its size afterwards, and both while its parts are moved.
            if (held + 2 * largest > most_bytes) return false;
        }
    }
    add_rows(in.errors.size, binary);
    return true;
}

int64_t SliceState::held_bytes() const {
    int64_t bytes = 0;
    for (const Table& table : tables_->tables) bytes += table.held_bytes();
    return bytes;
}

int64_t SliceState::dense_bytes(bool losses) const {
    int64_t cells = 0;
    for (const Table& table : tables_->tables)
        cells += table.dense() ? static_cast<int64_t>(table.cells()) : 0;
    return cells * (losses ? kCellBytes : static_cast<int64_t>(sizeof(uint64_t)));
}

int64_t SliceState::hash_tables() const {
    return std::count_if(tables_->tables.begin(), tables_->tables.end(),
                         [](const Table& table) { return !table.dense(); });
}

void SliceState::merge(const SliceState& other) {
    const auto same = [](bool equal, const char* what) {
        if (!equal) throw std::invalid_argument(std::string("states differ in ") + what);
    };
    same(spec_.n_categories == other.spec_.n_categories &&
             spec_.description == other.spec_.description,
         "columns_spec");
    same(spec_.max_level == other.spec_.max_level, "max_level");
    same(spec_.error_exponent == other.spec_.error_exponent, "max_abs_error");
    add_rows(other.n_rows_, other.binary_);
    tables_->merge(*other.tables_);
}

SliceCounts SliceState::finish(int64_t min_support, int64_t most_bytes) const {
    SliceCounts out;
    const auto no_room = [&] {
        throw std::invalid_argument(
            "memory_limit has no room for the slices: " + std::to_string(most_bytes) +
            " bytes are left for them; a larger limit, a larger min_support"
            " or a lower max_level would do");
    };
    out.width = std::min<int64_t>(spec_.max_level, static_cast<int64_t>(spec_.n_categories.size()));
    out.n_rows = n_rows_;
    out.binary = binary_;
    Cell all;
    tables_->tables[0].each([&](uint128, const Cell& cell) { all.add(cell); });
    out.total_error_sum = tables_->unit.sum(all.sum);
    out.total_weight = out.total_weight_squares = static_cast<double>(n_rows_);
    int64_t projected = 0;  // one at a time
    for (const auto& crossing : tables_->plan->crossings) {
        const Table& source = tables_->tables[static_cast<size_t>(crossing.table)];
        if (source.columns() != crossing.columns)
            projected = std::max(projected, source.projected_bytes(crossing.columns));
    }
    if (projected > most_bytes) no_room();
    const int64_t most_slices =
        (most_bytes - projected) / (kSliceBytes + kConditionBytes * out.width);
    const auto emit = [&](const Table& table) {
        table.each_sorted([&](uint128 key, const Cell& cell) {
            if (cell.size < min_support) return;
            for (size_t i = 0; i < table.columns().size(); ++i) {
                if (table.digit(key, i) == 0) return;
            }
            if (static_cast<int64_t>(out.size.size()) == most_slices) no_room();
            append(out, table, key, cell, all, tables_->unit);
        });
    };
    for (const auto& crossing : tables_->plan->crossings) {
        const Table& source = tables_->tables[static_cast<size_t>(crossing.table)];
        if (source.columns() == crossing.columns) {
            emit(source);
        } else {
            emit(source.project(crossing.columns));
        }
    }
    return out;
}

SliceState counted(SliceSpec spec, const SliceInput& in, const Run& run) {
    SliceState state(std::move(spec));
    state.update(in, run);
    return state;
}

std::string SliceState::to_bytes() const {
    StateWriter out(StateKind::kSlice);
    out.put(static_cast<uint64_t>(spec_.n_categories.size()));
    out.put(spec_.n_categories);
    out.put(spec_.max_level);
    out.put(spec_.error_exponent);
    out.put(static_cast<uint64_t>(spec_.description.size()));
    out.put(std::vector<char>(spec_.description.begin(), spec_.description.end()));
    out.put(n_rows_);
    out.put(static_cast<uint8_t>(binary_));
    for (const Table& table : tables_->tables) {
        std::vector<uint128> keys;
        std::vector<Cell> cells;
        table.each_sorted([&](uint128 key, const Cell& cell) {
            keys.push_back(key);
            cells.push_back(cell);
        });
        out.put(static_cast<uint64_t>(keys.size()));
        out.put(keys);
        out.put(cells);
    }
    return std::move(out).finish();
}

SliceState SliceState::from_bytes(std::string_view bytes) {
    StateReader in(bytes, StateKind::kSlice);
    SliceSpec spec;
    spec.n_categories = in.get_vector<int64_t>(in.get<uint64_t>());
    spec.max_level = in.get<int64_t>();
    spec.error_exponent = in.get<int64_t>();
    const auto description = in.get_vector<char>(in.get<uint64_t>());
    spec.description.assign(description.begin(), description.end());
    SliceState state(std::move(spec));
    state.n_rows_ = in.get<int64_t>();
    const auto binary = in.get<uint8_t>();
    if (state.n_rows_ < 0 || binary > 1) StateReader::fail("a flag or a number of rows is wrong");
    state.binary_ = binary == 1;
    for (Table& table : state.tables_->tables) {
        const auto n = in.get<uint64_t>();
        const auto keys = in.get_vector<uint128>(n);
        const auto cells = in.get_vector<Cell>(n);
        int64_t rows = 0;
        for (size_t i = 0; i < keys.size(); ++i) {
            const Cell& cell = cells[i];
            if (keys[i] >= table.cells() || (i > 0 && keys[i] <= keys[i - 1]))
                StateReader::fail("cells are out of order or out of range");
            if (cell.size < 1 || cell.size > state.n_rows_ - rows ||
                !(cell.max >= 0.0 && cell.max <= state.tables_->unit.most()) ||
                cell.sum > static_cast<uint128>(cell.size) << kErrorBits) {
                StateReader::fail("a cell's numbers contradict each other");
            }
            rows += cell.size;
            table.add(keys[i], cell);
        }
        if (rows != state.n_rows_) StateReader::fail("a table has another number of rows");
    }
    in.end();
    return state;
}

}  // namespace dqcore::cpu
