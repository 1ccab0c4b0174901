#include "joint/pass.h"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace dqcore {

void RowSums::add(int64_t row, double sum) {
    const double distance = std::fabs(sum - 1.0), worst = std::fabs(worst_sum - 1.0);
    if (!(distance > kRowSumTolerance)) return;
    ++off;
    if (distance > worst || (distance == worst && row < worst_row)) {
        worst_row = row;
        worst_sum = sum;
    }
}

void RowSums::merge(const RowSums& other) {
    if (other.off == 0) return;
    const int64_t together = off + other.off;
    add(other.worst_row, other.worst_sum);
    off = together;
}

namespace joint {

void Faults::add(int64_t at_row, int64_t at_col, double bad, bool bad_is_double) {
    if (count++ > 0 && (at_row > row || (at_row == row && at_col >= col))) return;
    row = at_row;
    col = at_col;
    value = bad;
    is_double = bad_is_double;
}

void Faults::merge(const Faults& other) {
    if (other.count == 0) return;
    const int64_t together = count + other.count;
    add(other.row, other.col, other.value, other.is_double);
    count = together;
}

void Faults::raise() const {
    // The fewest digits that tell the value apart.
    char digits[32];
    for (int precision = 1; precision <= 17; ++precision) {
        std::snprintf(digits, sizeof digits, "%.*g", precision, value);
        const double back = std::strtod(digits, nullptr);
        if (is_double ? back == value : static_cast<float>(back) == static_cast<float>(value))
            break;
        if (value != value) break;
    }
    throw std::invalid_argument("pred_probs must be probabilities in [0, 1] (within 1e-6): row " +
                                std::to_string(row) + ", column " + std::to_string(col) + " is " +
                                digits + " (" + std::to_string(count) +
                                (count == 1 ? " such entry)" : " such entries)"));
}

void raise_label(int64_t row, int64_t label, int64_t n_classes) {
    throw std::invalid_argument("labels must be in [0, " + std::to_string(n_classes - 1) +
                                "]: row " + std::to_string(row) + " is " + std::to_string(label));
}

void raise_for_all(const StridedMatrix& m, const Faults& met, const Run& run) {
    RowSums sums;
    scan_rows(m, {}, run, "values", sums, [](const auto&, const Worker&) {});
    met.raise();  // the array has been changed meanwhile
}

}  // namespace joint
}  // namespace dqcore
