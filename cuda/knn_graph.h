// knn::graph on a device: points, bounds, stages of filter and exact keys, and the lists as the caller wants them.
//
// A row's bound only falls, and a pair that the filter drops has a key above the bound of that moment, so above the last
// bound: every pair that belongs in a list has become a hit in its stage. Hits come in any order; lists are ordered by
// exact (key, index), so the result has the same bits as the CPU's.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "cuda/elements.h"
#include "cuda/knn_duplicates.h"
#include "cuda/knn_filter.h"
#include "cuda/knn_pack.h"
#include "knn/keys.h"
#include "knn/knn.h"

namespace dqcore::cuda {

inline constexpr int64_t kMostNeighbours = 1024;

struct KnnOptions {
    int64_t capacity = 0;  // of hits, for tests; 0: kept by the plan
};

// Rows on the device, (n, d).
struct DeviceRows {
    Global<const float> x;
    int64_t n, d;
};

template <class Device, class T>
std::vector<T> downloaded_values(Device& device, typename Device::template Buffer<T>& from) {
    std::vector<T> values(static_cast<size_t>(from.size()));
    device.download(values.data(), from, from.size());
    return values;
}

inline int64_t blocks_of(int64_t items, int64_t each) { return (items + each - 1) / each; }

// How rows become points.
struct PointFrame {
    Metric metric;
    double scale = 1.0;
    Global<const double> centre;

    Reach reach(int64_t d) const {
        const double e = canonical_error(d), square = scale * scale;
        if (metric == Metric::kEuclidean) return {square, 1.0 + 2.0 * e, 0.0};
        return {square, 2.0, 64.0 * e};
    }
};

// Moves rows of more than 4 times the median length to the end, by powers of 4 of it. Whether there are any.
inline bool move_long_rows(const std::vector<float>& norm, std::vector<int32_t>& order) {
    const auto norm_of = [&](int32_t row) { return norm[static_cast<size_t>(row)]; };
    std::vector<int32_t> by_norm = order;
    const auto middle = by_norm.begin() + static_cast<std::ptrdiff_t>(by_norm.size() / 2);
    std::nth_element(by_norm.begin(), middle, by_norm.end(),
                     [&](int32_t a, int32_t b) { return norm_of(a) < norm_of(b); });
    const float usual = 16.0f * std::max(norm_of(*middle), 0x1p-60f);
    const auto length = [&](int32_t row) {
        return norm_of(row) <= usual ? 0 : 1 + std::ilogb(norm_of(row) / usual) / 4;
    };
    const auto bulk_end = std::stable_partition(order.begin(), order.end(),
                                                [&](int32_t row) { return length(row) == 0; });
    if (bulk_end == order.end()) return false;
    std::stable_sort(bulk_end, order.end(),
                     [&](int32_t a, int32_t b) { return length(a) < length(b); });
    return true;
}

// A set of rows and its points.
template <class Device>
class PointSet {
public:
    template <class T>
    using Buffer = typename Device::template Buffer<T>;

    // `chosen`: the rows to take, where not all.
    PointSet(Device& device, const DeviceRows& from, Metric metric,
             Global<const int32_t> chosen = {})
        : from_(from), chosen_(chosen) {
        if (metric != Metric::kCosine) return;
        squared_ = device.template alloc<double>(from.n);
        device.launch(SquaredNorms{from.x, squared_.all(), from.n, from.d}, blocks_of(from.n, 4),
                      0);
    }

    void pack(Device& device, const PointFrame& frame) {
        const int64_t n = size(), tiles = blocks_of(n, kTileRows), padded = tiles * kTileRows;
        const int64_t width = blocks_of(from_.d, kTileDims) * kTileDims;
        rows_ = device.template alloc<int32_t>(n);
        halves_ = device.template alloc<uint16_t>(padded * width);
        stats_ = device.template alloc<float>(4 * padded);
        rho_ = device.template alloc<uint32_t>(tiles);
        most_ = device.template alloc<uint32_t>(tiles);
        device.fill_zero(rho_);
        device.fill_zero(most_);
        device.launch(OrderRows{chosen_, rows_.all(), n}, blocks_of(n, OrderRows::kThreads), 0);
        if (frame.metric == Metric::kEuclidean) long_rows_last(device, frame);
        device.launch(PackPoints{rows(frame.metric), frame.centre, frame.scale, rows_.all(),
                                 halves_.all(), stats_.all(), rho_.all(), most_.all(), n, width},
                      padded / 4, 0);
        points_ = {halves_.all(), stats_.all(), rho_.all(), most_.all(), rows_.all(), n,
                   tiles,         width};
    }

    int64_t size() const { return chosen_.size() > 0 ? chosen_.size() : from_.n; }
    int64_t padded() const { return points_.tiles * kTileRows; }
    const DeviceRows& from() const { return from_; }
    const Points& points() const { return points_; }
    // By position.
    std::vector<int32_t> row_numbers(Device& device) {
        return downloaded_values<Device, int32_t>(device, rows_);
    }
    // By row, of all rows; cosine only.
    std::vector<double> squared_norms(Device& device) {
        return downloaded_values<Device, double>(device, squared_);
    }
    Rows rows(Metric metric) {
        return {from_.x, squared_.all(), from_.d, metric == Metric::kCosine};
    }

private:
    void long_rows_last(Device& device, const PointFrame& frame) {
        auto norms = device.template alloc<float>(from_.n);
        device.launch(PointNorms{from_.x, frame.centre, frame.scale, norms.all(), from_.n, from_.d},
                      blocks_of(from_.n, 4), 0);
        std::vector<float> norm(static_cast<size_t>(from_.n));
        std::vector<int32_t> order(static_cast<size_t>(size()));
        device.download(norm.data(), norms, from_.n);
        device.download(order.data(), rows_, size());
        if (move_long_rows(norm, order)) device.upload(rows_, order.data(), size());
    }

    DeviceRows from_;
    Global<const int32_t> chosen_;
    Buffer<double> squared_;
    Buffer<int32_t> rows_;
    Buffer<uint16_t> halves_;
    Buffer<float> stats_;
    Buffer<uint32_t> rho_, most_;
    Points points_{};
};

// Puts the largest coordinate of both sets into [2^13, 2^14).
template <class Device>
double scale_of(Device& device, Global<const double> centre, const DeviceRows& base,
                const DeviceRows* queries) {
    auto largest = device.template alloc<uint64_t>(1);
    device.fill_zero(largest);
    for (const DeviceRows* rows : {&base, queries})
        if (rows)
            device.launch(LargestCoordinate{rows->x, centre, largest.all(), rows->n, rows->d},
                          blocks_of(rows->n, 4), 0);
    uint64_t bits;
    device.download(&bits, largest, 1);
    const auto value = bits_as<double>(bits);
    if (!(value > 0.0)) return 1.0;
    int exponent;
    std::frexp(value, &exponent);
    return std::ldexp(1.0, 14 - exponent);
}

// The sweep of one join.
template <class Device>
class DeviceSweep {
public:
    template <class T>
    using Buffer = typename Device::template Buffer<T>;

    DeviceSweep(Device& device, PointSet<Device>& queries, PointSet<Device>& base, bool self,
                const PointFrame& frame, int64_t k, const KnnOptions& options)
        : device_(device),
          capacity_(options.capacity > 0 ? options.capacity : 4 * k + 64),
          padded_(queries.padded()),
          keys_(device.template alloc<double>(queries.size() * k)),
          bound_(device.template alloc<double>(padded_)),
          ids_(device.template alloc<int32_t>(queries.size() * k)),
          too_many_(device.template alloc<int32_t>(queries.size())),
          base_(device.template alloc<float>(padded_)),
          others_base_(device.template alloc<float>(self ? 0 : base.padded())),
          counts_(device.template alloc<uint32_t>(padded_)),
          hits_(device.template alloc<uint32_t>(padded_ * capacity_)),
          totals_(device.template alloc<uint64_t>(2)) {
        join_ = {queries.rows(frame.metric),
                 base.rows(frame.metric),
                 queries.points(),
                 base.points(),
                 {keys_.all(), ids_.all(), bound_.all(), base_.all(), k},
                 frame.reach(base.from().d),
                 capacity_,
                 self};
        if (self) return;
        const std::vector<float> none(static_cast<size_t>(base.padded()), kSeeksNothing);
        device.upload(others_base_, none.data(), base.padded());
    }

    // Leaves the lists as they are where a stage has more hits than fit and `stop_at_overflow`: returns false then.
    bool run(bool stop_at_overflow, KnnStats& stats, const Run& run) {
        device_.launch(OpenLists{join_.lists, padded_}, blocks_of(padded_, OpenLists::kThreads), 0);
        const int64_t k = join_.lists.k;
        const int64_t window = blocks_of(2 * (k + 1), kTileRows) * kTileRows;
        device_.launch(SeedBounds{join_, window}, join_.query_points.size, list_bytes());
        const int64_t tiles = join_.base_points.tiles;
        const int64_t last = join_.self ? tiles / 2 + 1 : tiles;
        for (int64_t begin = 0; begin < last; begin = begin > 0 ? 2 * begin : 1) {
            const int64_t end = std::min(last, begin > 0 ? 2 * begin : 1);
            if (run.watcher) run.watcher->tick("sweep", begin, last);
            if (!run_stage({join_.query_points.tiles, tiles, begin, end, join_.self},
                           stop_at_overflow, stats))
                return false;
        }
        if (run.watcher) run.watcher->tick("sweep", last, last);
        return true;
    }

    // By row of the queries.
    void write(Global<int32_t> indices, Global<float> distances) {
        auto unfilled = device_.template alloc<int32_t>(1);
        int32_t row = kNoNeighbour;
        device_.upload(unfilled, &row, 1);
        device_.launch(WriteLists{join_, indices, distances, unfilled.all()},
                       blocks_of(join_.query_points.size, 4), 0);
        device_.download(&row, unfilled, 1);
        if (row != kNoNeighbour)
            throw std::invalid_argument(
                "features changed during the call: a row has no k nearest rows");
    }

    GroupLists lists(std::vector<int32_t> rows) {
        return {std::move(rows), downloaded_values<Device, int32_t>(device_, ids_),
                downloaded_values<Device, double>(device_, keys_), join_.lists.k};
    }

private:
    int64_t list_bytes() const { return list_merge_bytes(join_.lists.k, capacity_); }

    bool run_stage(const TileStage& stage, bool stop_at_overflow, KnnStats& stats) {
        device_.fill_zero(counts_);
        device_.fill_zero(totals_);
        const FilterPairs filter{{join_.query_points, join_.base_points},
                                 base_.all(),
                                 join_.self ? base_.all() : others_base_.all(),
                                 counts_.all(),
                                 hits_.all(),
                                 stage,
                                 capacity_,
                                 filter_gamma(join_.base.d)};
        device_.launch(filter,
                       std::min(stage.size(), device_.resident_blocks(FilterPairs::kBlocks)),
                       TileProducts::kSharedBytes);
        device_.launch(RankHits{join_, counts_.all(), hits_.all(), totals_.all(), too_many_.all()},
                       join_.query_points.size, list_bytes());
        uint64_t totals[2];
        device_.download(totals, totals_, 2);
        const auto many = static_cast<int64_t>(totals[1]);
        stats.survivors1 += static_cast<int64_t>(totals[0]);
        stats.keys += static_cast<int64_t>(totals[0]);
        if (many > 0 && stop_at_overflow) return false;
        stats.again += many;
        device_.launch(RankAll{join_, stage, too_many_.all()}, many, list_bytes());
        return true;
    }

    Device& device_;
    int64_t capacity_, padded_;
    Buffer<double> keys_, bound_;
    Buffer<int32_t> ids_, too_many_;
    Buffer<float> base_, others_base_;
    Buffer<uint32_t> counts_, hits_;
    Buffer<uint64_t> totals_;
    Join join_{};
};

[[noreturn]] inline void refuse_above(const char* what, int64_t value, int64_t most) {
    throw std::invalid_argument(std::string(what) + " = " + std::to_string(value) +
                                ": the CUDA backend takes at most " + std::to_string(most));
}

inline void check_neighbours(int64_t k) {
    if (k > kMostNeighbours) refuse_above("k", k, kMostNeighbours);
}

// What every graph checks: callers have checked the rest (knn.h).
inline void check_knn(int64_t d, int64_t k) {
    check_neighbours(k);
    if (d > kMostDims) refuse_above("features.shape[1]", d, kMostDims);
}

// The frame of `base`, and of `queries` where there are any. `centre` is its memory.
template <class Device>
PointFrame frame_of(Device& device, Metric metric, const DeviceRows& base,
                    const DeviceRows* queries, typename Device::template Buffer<double>& centre) {
    if (metric == Metric::kCosine) return {metric, 0x1p13, {}};
    centre = device.template alloc<double>(base.d);
    device.launch(Centre{base.x, centre.all(), base.n, base.d}, blocks_of(base.d, Centre::kThreads),
                  0);
    return {metric, scale_of(device, centre.all(), base, queries), centre.all()};
}

// Of the caller's rows: how many values are not finite in float32, and the first of them.
struct BadFeatures {
    int64_t count = 0, row = 0, col = 0;
    double value = 0.0;
};

// Rows of the caller's on the device as float32 in C order: where they are if they are so already, else in `room`.
template <class Device>
DeviceRows read_features(Device& device, const DeviceMatrix& m,
                         typename Device::template Buffer<float>& room, BadFeatures& bad) {
    const bool there = m.type == Element::kFloat32 && in_order(m);
    if (!there) room = device.template alloc<float>(m.rows * m.cols);
    auto faults = device.template alloc<uint64_t>(2);
    std::array<uint64_t, 2> words{0, ~uint64_t{0}};
    device.upload(faults, words.data(), 2);
    with_element(m.type, [&](auto element) {
        using Read = ReadFeatures<decltype(element)>;
        const auto from = strided_rows<decltype(element)>(device, m);
        device.launch(Read{from, room.all(), faults.all(), m.rows, m.cols},
                      blocks_for<Read>(device, m.rows * m.cols), 0);
        device.download(words.data(), faults, 2);
        if (words[0] == 0) return;
        const auto at = static_cast<int64_t>(words[1]);
        bad = {static_cast<int64_t>(words[0]), at / m.cols, at % m.cols, 0.0};
        auto seen = device.template alloc<typename decltype(element)::Value>(1);
        using Take = TakeRows<decltype(element), typename decltype(element)::Value>;
        const StridedRows<decltype(element)> one{from.p, from.first + bad.col * from.col_stride,
                                                 from.row_stride, 0};
        device.launch(Take{one, {}, seen.all(), bad.row, 1}, 1, 0);
        typename decltype(element)::Value value;
        device.download(&value, seen, 1);
        bad.value = static_cast<double>(value);
    });
    if (!there) return {room.all(), m.rows, m.cols};
    const int64_t size = m.rows * m.cols;
    return {{static_cast<const float*>(m.lowest) + m.first, size}, m.rows, m.cols};
}

// Says what python/dqcore/_check.py says of rows on the host.
[[noreturn]] inline void raise_features(const char* name, const BadFeatures& bad) {
    std::ostringstream text;
    text << name << " must be an (n, d) array of finite numbers within float32's range: row "
         << bad.row << ", column " << bad.col << " is " << bad.value << " (" << bad.count
         << (bad.count == 1 ? " such entry)" : " such entries)");
    throw std::invalid_argument(text.str());
}

// Where the caller wants the lists.
struct DeviceLists {
    Global<int32_t> indices;
    Global<float> distances;
    int64_t k;
};

// The self-join of `all` by way of one row of each group.
template <class Device>
void join_groups(Device& device, PointSet<Device>& all, const RowGroups& groups,
                 const PointFrame& frame, const KnnOptions& options, const DeviceLists& to,
                 KnnStats& stats, const Run& run) {
    const auto size = static_cast<int64_t>(groups.lowest.size());
    stats.distinct_rows = size;
    GroupLists lists{groups.lowest, {}, {}, 0};
    if (size > 1) {
        auto chosen = device.template alloc<int32_t>(size);
        device.upload(chosen, groups.lowest.data(), size);
        PointSet<Device> points(device, all.from(), frame.metric, chosen.all());
        points.pack(device, frame);
        DeviceSweep<Device> sweep(device, points, points, true, frame, std::min(to.k, size - 1),
                                  options);
        sweep.run(false, stats, run);
        lists = sweep.lists(points.row_numbers(device));
    }
    const std::vector<double> squared = all.squared_norms(device);
    const int64_t n = all.from().n;
    std::vector<int32_t> indices(static_cast<size_t>(n * to.k));
    std::vector<float> distances(indices.size());
    expand_groups(
        groups, lists, frame.metric,
        [&](int32_t row) { return !squared.empty() && squared[static_cast<size_t>(row)] == 0.0; },
        {{indices.data(), n, to.k}, {distances.data(), n, to.k}});
    auto from_indices = device.template alloc<int32_t>(n * to.k);
    auto from_distances = device.template alloc<float>(n * to.k);
    device.upload(from_indices, indices.data(), n * to.k);
    device.upload(from_distances, distances.data(), n * to.k);
    device.launch(DeliverLists{from_indices.all(), from_distances.all(), to.indices, to.distances},
                  blocks_of(n * to.k, DeliverLists::kThreads), 0);
}

// Rows, results and work on the device. `queries` null: a self-join. Callers have checked as for knn.h's knn_graph.
template <class Device>
KnnStats knn_graph(Device& device, const DeviceRows& base, const DeviceRows* queries, int64_t k,
                   Metric metric, Global<int32_t> indices, Global<float> distances,
                   const KnnOptions& options, const Run& run) {
    check_knn(base.d, k);
    const auto seconds = [] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
            .count();
    };
    const double start = seconds();
    KnnStats stats;
    stats.level1 = "float16";
    stats.head = base.d;
    stats.distinct_rows = base.n;
    typename Device::template Buffer<double> centre;
    const PointFrame frame = frame_of(device, metric, base, queries, centre);
    PointSet<Device> points(device, base, metric);
    points.pack(device, frame);
    std::optional<PointSet<Device>> query_points;
    if (queries) query_points.emplace(device, *queries, metric).pack(device, frame);
    std::optional<DeviceSweep<Device>> sweep;
    sweep.emplace(device, query_points ? *query_points : points, points, !queries, frame, k,
                  options);
    stats.seconds_prepare = seconds() - start;
    stats.pairs = queries ? queries->n * base.n : base.n * (base.n - 1) / 2;
    if (!sweep->run(!queries, stats, run)) {
        const RowGroups groups = group_rows(device, base.x, base.n, base.d);
        stats.survivors1 = stats.keys = 0;
        if (static_cast<int64_t>(groups.lowest.size()) < base.n) {
            sweep.reset();
            join_groups(device, points, groups, frame, options, {indices, distances, k}, stats,
                        run);
            stats.seconds_sweep = seconds() - start - stats.seconds_prepare;
            return stats;
        }
        sweep->run(false, stats, run);
    }
    sweep->write(indices, distances);
    stats.seconds_sweep = seconds() - start - stats.seconds_prepare;
    return stats;
}

// The same of arrays of the caller's.
template <class Device>
KnnStats knn_graph(Device& device, const KnnInput& in, const KnnOutput& out,
                   const KnnOptions& options, const Run& run) {
    const auto brought = [&](const char* name, Matrix<const float> rows, const DeviceMatrix* there,
                             auto& buffer) {
        if (there) {
            BadFeatures bad;
            const DeviceRows read = read_features(device, *there, buffer, bad);
            if (bad.count > 0) raise_features(name, bad);
            return read;
        }
        buffer = device.template alloc<float>(rows.rows * rows.cols);
        device.upload(buffer, rows.data, rows.rows * rows.cols);
        return DeviceRows{buffer.all(), rows.rows, rows.cols};
    };
    typename Device::template Buffer<float> base_x, queries_x;
    const DeviceRows base = brought("features", in.base, in.device_base, base_x);
    std::optional<DeviceRows> queries;
    if (in.queries.data || in.device_queries)
        queries = brought("queries", in.queries, in.device_queries, queries_x);
    const int64_t rows = out.indices.rows;
    auto indices = device.template alloc<int32_t>(rows * in.k);
    auto distances = device.template alloc<float>(rows * in.k);
    const KnnStats stats = knn_graph(device, base, queries ? &*queries : nullptr, in.k, in.metric,
                                     indices.all(), distances.all(), options, run);
    device.download(out.indices.data, indices, rows * in.k);
    device.download(out.distances.data, distances, rows * in.k);
    return stats;
}

}  // namespace dqcore::cuda
