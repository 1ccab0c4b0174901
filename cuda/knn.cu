// The knn room on a device: knn/knn.h's knn_graph with the same bits.
#include "cuda/backend.h"
#include "cuda/knn_graph.h"

namespace dqcore::cuda {

KnnStats knn_graph(const KnnInput& in, const KnnOutput& out, const Run& run) {
    Device device;
    return knn_graph(device, in, out, {}, run);
}

}  // namespace dqcore::cuda
