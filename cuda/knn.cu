// The knn room on a device: knn/knn.h's knn_graph with the same bits.
#include <stdexcept>
#include <string>

#include "cuda/backend.h"
#include "cuda/filter_error.h"
#include "cuda/knn_error.h"
#include "cuda/knn_graph.h"
#include "cuda/knn_votes.h"

namespace dqcore::cuda {

KnnStats knn_graph(const KnnInput& in, const KnnOutput& out, const Run& run) {
    if (in.device_base && in.device_queries && in.device_base->device != in.device_queries->device)
        throw std::invalid_argument(
            "queries are on device " + std::to_string(in.device_queries->device) +
            " but features on device " + std::to_string(in.device_base->device));
    Device device({in.device_base, in.device_queries});
    return knn_graph(device, in, out, {}, run);
}

void knn_disagreement(const DisagreementInput& in, const DisagreementOutput& out, const Run& run) {
    check_neighbours(in.indices.cols);
    if (in.labels.size == 0) return;
    Device device;
    knn_disagreement(device, in, out, run);
}

double largest_filter_error(Matrix<const float> x, Metric metric) {
    Device device;
    auto rows = device.alloc<float>(x.rows * x.cols);
    device.upload(rows, x.data, x.rows * x.cols);
    const DeviceRows from{rows.all(), x.rows, x.cols};
    Device::Buffer<double> centre;
    const PointFrame frame = frame_of(device, metric, from, nullptr, centre);
    PointSet<Device> set(device, from, metric);
    set.pack(device, frame);
    const Points& points = set.points();
    auto worst = device.alloc<uint64_t>(1);
    device.fill_zero(worst);
    const TileStage all{points.tiles, points.tiles, 0, points.tiles, false};
    device.launch(FilterError{{points, points},
                              set.rows(metric),
                              frame.centre,
                              frame.scale,
                              filter_gamma(x.cols),
                              all,
                              worst.all()},
                  std::min(all.size(), device.resident_blocks(1)), TileProducts::kSharedBytes);
    uint64_t bits;
    device.download(&bits, worst, 1);
    return bits_as<double>(bits);
}

}  // namespace dqcore::cuda
