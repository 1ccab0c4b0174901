// The frame of the filter: rows as points whose distances are never more than the rows' own.
//
// A row x becomes v = (x - mean) / scale (cosine: of x / |x|), then y = its coordinates along `dims` orthonormal
// axes and t = the norm of the rest. For two rows |v_i - v_j|^2 >= |y_i - y_j|^2 + (t_i - t_j)^2 by the triangle
// inequality on the rest. The axes are those of largest variance in a sample, found by subspace iteration, or
// the coordinates themselves where a rotation would not pay. All of it is float64: its errors are far below
// those of the levels that round y, and `error` bounds them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "knn/keys.h"

namespace dqcore {

class Frame {
public:
    // No rotation: the coordinates themselves, dims = d, no rest.
    static Frame identity(const Keys& keys, const std::vector<int32_t>& ids);

    // `dims` <= d axes: those of largest variance first, as far as the many matter.
    static Frame rotated(const Keys& keys, const std::vector<int32_t>& ids, int64_t dims,
                         const Run& run);

    // Bytes that finding axes of d coordinates takes at most.
    static int64_t rotating_bytes(int64_t d);

    // Axes come in panels of this many.
    static constexpr int64_t kAxes = 16;

    int64_t dims() const { return dims_; }

    // The coordinates of largest spread, widest first: the first axes where rotated.
    const std::vector<int64_t>& leading() const { return leading_; }

    // The distance that `key` allows at most, over `scale`.
    double radius(double key) const;

    // The distance that the k-th key allows at most, over `scale`, where k rows are no farther than `distance`.
    double radius_of(double distance) const;

    // An upper bound of |computed - exact| over the point (y, t) of a row, given |v| as computed.
    double error(double norm) const;

    // Computes the points of rows ids[begin, end): calls emit(row, y, t, norm, largest) for each; `largest` is
    // the largest magnitude in v. `coordinates` <= dims limits y; t is the norm of all that y leaves out.
    template <class Emit>
    void place(const Keys& keys, const int32_t* ids, int64_t begin, int64_t end,
               int64_t coordinates, const Emit& emit) const;

    // The same along the axes of largest variance, kAxes of them, as they were before mix(); where not rotated, all
    // coordinates.
    template <class Emit>
    void place_leading(const Keys& keys, const int32_t* ids, int64_t begin, int64_t end,
                       const Emit& emit) const;

    // Turns the axes within [0, ends[0]), [ends[0], ends[1]), ... so that each coordinate takes an even part of its
    // run's variance: one step for all then rounds each of them finely.
    void mix(const std::vector<int64_t>& ends, const Run& run);

    // Rows that place() takes at once, as simd's `project` does.
    static constexpr int64_t kGroup = 8;

private:
    Frame(const Keys& keys, const std::vector<int32_t>& ids);
    void centre(const Keys& keys, int64_t id, double* v) const;
    void fit(const Keys& keys, const std::vector<int32_t>& ids, const Run& run);

    // Its number at dim c is [c * kAxes].
    double* axis(int64_t a) { return axes_.data() + a / kAxes * d_ * kAxes + a % kAxes; }

    template <class Emit>
    void place_along(const std::vector<double>& axes, const Keys& keys, const int32_t* ids,
                     int64_t begin, int64_t end, int64_t coordinates, const Emit& emit) const;

    Metric metric_;
    int64_t d_, dims_;
    bool rotated_ = false;
    double scale_ = 1.0;
    double key_error_;
    double axes_error_ = 0.0;   // of the axes' orthonormality, as measured
    std::vector<double> mean_;  // (d,)
    // In panels of kAxes: axis a of panel p at dim c is [(p * d + c) * kAxes + a].
    std::vector<double> axes_;
    std::vector<double> leading_axes_;  // the first panel, before mix()
    std::vector<int64_t> leading_;
};

}  // namespace dqcore

#include "knn/frame.inl"
