// Scores of a row's given label. Each is a few operations in float64, one after the other.
#pragma once

#include <algorithm>
#include <vector>

#include "base/elementary.h"
#include "joint/joint.h"

namespace dqcore::joint {

class Scorer {
public:
    // Thresholds are those to adjust by, or empty for scores of the probabilities as they are.
    Scorer(Quality method, int64_t n_classes, std::vector<double> thresholds)
        : method_(method), n_classes_(n_classes), thresholds_(std::move(thresholds)) {
        if (!thresholds_.empty()) most_ = *std::max_element(thresholds_.begin(), thresholds_.end());
        log_classes_ = log_same_bits(static_cast<double>(n_classes));
    }

    // Whether the score asks for the runner-up of a row.
    bool wants_runner_up() const {
        return method_ == Quality::kNormalizedMargin && thresholds_.empty();
    }

    // `runner_up` is read only where wants_runner_up() says so.
    template <class T>
    double operator()(const T* p, int64_t label, int64_t argmax, T runner_up) const {
        if (method_ == Quality::kConfidenceWeightedEntropy) return weighted_entropy(p, label);
        if (!thresholds_.empty()) return adjusted(p, label);
        const auto given = static_cast<double>(p[label]);
        if (method_ == Quality::kSelfConfidence) return given;
        if (n_classes_ == 1) return margin(given, 0.0);
        return margin(given, static_cast<double>(argmax == label ? runner_up : p[argmax]));
    }

private:
    static double margin(double given, double rival) { return (given - rival + 1.0) / 2.0; }

    // ln(1 + q) / q with q = normalised entropy / self-confidence; 1, its limit, for q near 0.
    template <class T>
    double weighted_entropy(const T* p, int64_t label) const {
        double entropy = 0.0;
        for (int64_t c = 0; c < n_classes_; ++c) {
            const auto x = static_cast<double>(p[c]);
            if (x > 0.0) entropy -= x * log_same_bits(x);
        }
        if (n_classes_ > 1) entropy /= log_classes_;
        const double q = entropy / std::max(static_cast<double>(p[label]), kTolerance);
        return q < kTolerance ? 1.0 : log_same_bits(q + 1.0) / q;
    }

    // Source: cleanlab 2.9.0, label_quality_utils._subtract_confident_thresholds.
    template <class T>
    double adjusted(const T* p, int64_t label) const {
        double total = 0.0, rival = n_classes_ == 1 ? 0.0 : -1e300, given = 0.0;
        for (int64_t c = 0; c < n_classes_; ++c) {
            const double shifted =
                (static_cast<double>(p[c]) - thresholds_[static_cast<size_t>(c)]) + most_;
            total += shifted;
            if (c == label)
                given = shifted;
            else
                rival = std::max(rival, shifted);
        }
        if (!(total > 0.0)) total = given = rival = 0.0;
        const double scale = total > 0.0 ? total : 1.0;
        if (method_ == Quality::kSelfConfidence) return given / scale;
        return margin(given / scale, rival / scale);
    }

    const Quality method_;
    const int64_t n_classes_;
    const std::vector<double> thresholds_;
    double most_ = 0.0, log_classes_ = 0.0;
};

}  // namespace dqcore::joint
