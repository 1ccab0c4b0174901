#include "knn/shortlist.h"

#include <algorithm>
#include <utility>

namespace dqcore {

Shortlists::Shortlists(Points& seekers, const Points& others, const Frame& frame, int64_t begin,
                       int64_t end, int64_t k, Offer offer)
    : seekers_(seekers),
      others_(others),
      frame_(frame),
      begin_(begin),
      k_(k),
      capacity_(capacity(k)),
      offer_(std::move(offer)) {
    if (!seekers.bounded()) return;
    entries_.resize(static_cast<size_t>((end - begin) * capacity_));
    sizes_.assign(static_cast<size_t>(end - begin), 0);
}

bool Shortlists::meet(int64_t row, int64_t other, float squared, int64_t& keys) {
    const float most = seekers_.most_apart(row, others_, other, squared);
    Entry* list = entries(row);
    int32_t& size = sizes_[static_cast<size_t>(row - begin_)];
    int64_t at = size++;
    for (; at > 0 && list[at - 1].most > most; --at) list[at] = list[at - 1];
    list[at] = {most, static_cast<int32_t>(other)};
    bool fell = false;
    if (at < k_ && size >= k_)
        fell = seekers_.lower_reach(row, frame_.radius_of(double{list[k_ - 1].most}));
    if (size == capacity_) {
        drop_far(row);
        // A few places free would be full again at once.
        if (size > k_ + (capacity_ - k_) / 2) fell |= settle(row, keys);
    }
    return fell;
}

void Shortlists::drop_far(int64_t row) {
    Entry* list = entries(row);
    int32_t& size = sizes_[static_cast<size_t>(row - begin_)];
    const Entry* kept = std::remove_if(list, list + size, [&](const Entry& entry) {
        return !seekers_.in_reach(row, others_, entry.other, entry.most);
    });
    size = static_cast<int32_t>(kept - list);
}

bool Shortlists::settle(int64_t row, int64_t& keys) {
    if (entries_.empty()) return false;
    drop_far(row);
    int32_t& size = sizes_[static_cast<size_t>(row - begin_)];
    const Entry* list = entries(row);
    double bound = std::numeric_limits<double>::infinity();
    for (int32_t t = 0; t < size; ++t) bound = offer_(row, list[t].other);
    keys += size;
    const bool some = size > 0;
    size = 0;
    return some && seekers_.lower_reach(row, frame_.radius(bound));
}

}  // namespace dqcore
