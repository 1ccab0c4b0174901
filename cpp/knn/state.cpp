#include "knn/state.h"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "base/bytes.h"

namespace dqcore {

void KnnState::merge(const KnnState& other) {
    if (other.n() != n() || other.k() != k() || other.metric() != metric()) {
        throw std::invalid_argument("states of different n, k or metric cannot be merged");
    }
    for (int64_t row = 0; row < n(); ++row)
        for (int64_t t = 0; t < k() && other.lists_.ids(row)[t] != NeighbourLists::kNone; ++t)
            lists_.offer(row, other.lists_.keys(row)[t], other.lists_.ids(row)[t]);
}

void KnnState::finish(const KnnOutput& out) const {
    if (const int64_t row = lists_.first_open(); row >= 0) {
        int64_t count = 0;
        while (lists_.ids(row)[count] != NeighbourLists::kNone) ++count;
        throw std::invalid_argument("row " + std::to_string(row) + " has met " +
                                    std::to_string(count) +
                                    " other rows, fewer than k = " + std::to_string(k()));
    }
    lists_.write(metric_, out);
}

std::string KnnState::to_bytes() const {
    StateWriter writer(StateKind::kKnn);
    writer.put(n());
    writer.put(k());
    writer.put(static_cast<uint8_t>(metric_));
    const auto size = static_cast<size_t>(n() * k());
    writer.put(std::vector<double>(lists_.keys(0), lists_.keys(0) + size));
    writer.put(std::vector<int32_t>(lists_.ids(0), lists_.ids(0) + size));
    return std::move(writer).finish();
}

KnnState KnnState::from_bytes(std::string_view bytes) {
    StateReader reader(bytes, StateKind::kKnn);
    const auto n = reader.get<int64_t>(), k = reader.get<int64_t>();
    const auto metric = reader.get<uint8_t>();
    constexpr int64_t kMost = NeighbourLists::kNone;
    if (n < 2 || n > kMost || k < 1 || k >= n || metric > 1)
        StateReader::fail("sizes out of range");
    const auto size = static_cast<uint64_t>(n) * static_cast<uint64_t>(k);
    const auto keys = reader.get_vector<double>(size);
    const auto ids = reader.get_vector<int32_t>(size);
    reader.end();
    KnnState state(n, k, static_cast<Metric>(metric));
    for (int64_t row = 0; row < n; ++row) {
        for (int64_t t = 0; t < k; ++t) {
            const auto at = static_cast<size_t>(row * k + t);
            if (ids[at] == NeighbourLists::kNone) break;
            const bool valid = ids[at] >= 0 && ids[at] < n && ids[at] != row &&
                               std::isfinite(keys[at]) && keys[at] >= 0.0;
            if (!valid || !state.lists_.offer(row, keys[at], ids[at]))
                StateReader::fail("a neighbour out of range");
        }
    }
    return state;
}

}  // namespace dqcore
