#include "knn/frame.h"

#include <numeric>

namespace dqcore {
namespace {

// Rows that the axes, the mean and the scale are taken from. Enough for a few hundred axes; more would cost more
// than better axes save.
constexpr int64_t kSampleRows = 4096, kSampleNumbers = 1 << 20;
constexpr int kIterations = 2;
constexpr int64_t kOversampling = 16;
// Axes that are iterated upon; those beyond only complete them.
constexpr int64_t kMostPrincipal = 128;

// 1 / |x|, or 1 for euclidean; 0 for a zero row.
double factor(const Keys& keys, int64_t id) {
    if (keys.metric() == Metric::kEuclidean) return 1.0;
    return keys.is_zero(id) ? 0.0 : 1.0 / std::sqrt(keys.squared_norm(id));
}

std::vector<int32_t> sample(const std::vector<int32_t>& ids, int64_t most) {
    const auto n = static_cast<int64_t>(ids.size()), step = std::max<int64_t>(1, n / most);
    std::vector<int32_t> rows;
    for (int64_t i = 0; i < n; i += step) rows.push_back(ids[static_cast<size_t>(i)]);
    return rows;
}

// a (rows, inner) times b (inner, 16 * panels) in panels, into out (rows padded to 4, 16 * panels).
void multiply(const std::vector<double>& a, const std::vector<double>& b, int64_t rows,
              int64_t inner, int64_t columns, std::vector<double>& out, const Run& run) {
    const simd::Kernels& kernels = simd::active();
    parallel_rows(run, "plan", rows / Frame::kGroup, 16,
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      worker.check();
                      for (int64_t g = begin; g < end; ++g)
                          for (int64_t p = 0; p < columns; p += Frame::kAxes)
                              kernels.project(
                                  a.data() + g * Frame::kGroup * inner, b.data() + p * inner, inner,
                                  out.data() + g * Frame::kGroup * columns + p, columns);
                  });
}

// Row-major (rows, columns) into panels of 16 columns.
std::vector<double> panels(const std::vector<double>& m, int64_t rows, int64_t columns) {
    std::vector<double> out(static_cast<size_t>(rows * columns));
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c)
            out[static_cast<size_t>((c / Frame::kAxes * rows + r) * Frame::kAxes +
                                    c % Frame::kAxes)] = m[static_cast<size_t>(r * columns + c)];
    return out;
}

// Columns of the row-major (rows, columns) matrix made orthonormal, by modified Gram-Schmidt done twice; a column
// that depends on those before it becomes zero; the first `done` are so already. Works on columns as rows for the sake of the cache.
void orthonormalise(std::vector<double>& columns, int64_t count, int64_t length, int64_t done = 0) {
    const auto dot = [&](const double* x, const double* y) {
        double lanes[8] = {};
        int64_t c = 0;
        for (; c + 8 <= length; c += 8)
            for (int64_t l = 0; l < 8; ++l) lanes[l] += x[c + l] * y[c + l];
        for (; c < length; ++c) lanes[0] += x[c] * y[c];
        return std::accumulate(lanes, lanes + 8, 0.0);
    };
    for (int64_t i = done; i < count; ++i) {
        double* x = columns.data() + i * length;
        const double before = std::sqrt(dot(x, x));
        for (int pass = 0; pass < 2; ++pass) {
            for (int64_t j = 0; j < i; ++j) {
                const double* y = columns.data() + j * length;
                const double along = dot(x, y);
                for (int64_t c = 0; c < length; ++c) x[c] -= along * y[c];
            }
        }
        const double norm = std::sqrt(dot(x, x));
        const double inverse = norm > before * 1e-10 && norm > 0.0 ? 1.0 / norm : 0.0;
        for (int64_t c = 0; c < length; ++c) x[c] *= inverse;
    }
}

std::vector<double> transposed(const std::vector<double>& m, int64_t rows, int64_t columns) {
    std::vector<double> out(m.size());
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c)
            out[static_cast<size_t>(c * rows + r)] = m[static_cast<size_t>(r * columns + c)];
    return out;
}

// An orthogonal matrix (m, m) by rows that favours no direction: pseudo-random numbers made orthonormal.
std::vector<double> random_rotation(int64_t m) {
    std::vector<double> turn(static_cast<size_t>(m * m));
    uint64_t state = 0;
    for (
        double& number :
        turn) {  // splitmix64 (Steele, Lea, Flood, 2014); the sum of two is not uniform, nor need it be
        double sum = -1.0;
        for (int i = 0; i < 2; ++i) {
            uint64_t z = state += 0x9e3779b97f4a7c15ull;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
            sum += static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
        }
        number = sum;
    }
    orthonormalise(turn, m, m);
    return turn;
}

// |M M' - I| in the Frobenius norm, as computed, and what computing it may have missed.
double off_orthogonal(const std::vector<double>& matrix, int64_t m) {
    double squared = 0.0;
    for (int64_t a = 0; a < m; ++a)
        for (int64_t b = 0; b <= a; ++b) {
            const auto* x = matrix.data() + a * m;
            const double off =
                std::inner_product(x, x + m, matrix.data() + b * m, a == b ? -1.0 : 0.0);
            squared += (a == b ? 1.0 : 2.0) * off * off;
        }
    return std::sqrt(squared) + static_cast<double>(m * (m + 8)) * 0x1p-53;
}

int64_t round_up_to(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

Frame::Frame(const Keys& keys, const std::vector<int32_t>& ids)
    : metric_(keys.metric()),
      d_(keys.d()),
      dims_(keys.d()),
      mean_(static_cast<size_t>(keys.d()), 0.0) {
    const double g = canonical_error(d_);
    // Cosine: xy, xx and yy err by g each, their quotient by 2 g + 4 u, the difference by u.
    key_error_ = metric_ == Metric::kEuclidean ? g : 3.0 * g + 0x1p-50;
    const std::vector<int32_t> rows = sample(ids, kSampleRows);
    for (const int32_t id : rows) {
        const double f = factor(keys, id);
        for (int64_t c = 0; c < d_; ++c) mean_[static_cast<size_t>(c)] += keys.row(id)[c] * f;
    }
    for (double& m : mean_) m /= static_cast<double>(rows.size());
    double largest = 0.0;
    std::vector<double> squares(static_cast<size_t>(d_), 0.0);
    for (const int32_t id : rows) {
        const double f = factor(keys, id);
        for (int64_t c = 0; c < d_; ++c) {
            const double value = keys.row(id)[c] * f - mean_[static_cast<size_t>(c)];
            largest = std::max(largest, std::abs(value));
            squares[static_cast<size_t>(c)] += value * value;
        }
    }
    for (double& s : squares)
        s = s >= 0.0 ? s : 0.0;  // rows may be changing: sorting wants numbers
    // A power of two, so that scaling is exact.
    if (largest > 0.0) scale_ = std::ldexp(1.0, std::ilogb(largest) + 1);
    leading_.resize(static_cast<size_t>(d_));
    std::iota(leading_.begin(), leading_.end(), 0);
    std::stable_sort(leading_.begin(), leading_.end(), [&](int64_t a, int64_t b) {
        return squares[static_cast<size_t>(a)] > squares[static_cast<size_t>(b)];
    });
}

Frame Frame::identity(const Keys& keys, const std::vector<int32_t>& ids) { return {keys, ids}; }

Frame Frame::rotated(const Keys& keys, const std::vector<int32_t>& ids, int64_t dims,
                     const Run& run) {
    Frame frame(keys, ids);
    frame.rotated_ = true;
    frame.dims_ = dims;
    frame.fit(keys, ids, run);
    std::iota(frame.leading_.begin(), frame.leading_.end(), 0);
    return frame;
}

// fit: the sample and its transpose; up to six matrices of the axes that are iterated upon, then three of all and
// their products.
int64_t Frame::rotating_bytes(int64_t d) {
    const int64_t wanted = round_up_to(std::min(d, kMostPrincipal + kOversampling), kAxes);
    const int64_t rows = std::min(kSampleRows, std::max(2 * wanted, kSampleNumbers / d));
    const int64_t padded = round_up_to(d, kAxes);
    return int64_t{sizeof(double)} *
           (2 * rows * padded + rows * wanted + padded * std::max(6 * wanted, 4 * padded));
}

void Frame::centre(const Keys& keys, int64_t id, double* v) const {
    const double f = factor(keys, id), inverse = 1.0 / scale_;
    const float* x = keys.row(id);
    for (int64_t c = 0; c < d_; ++c) v[c] = (x[c] * f - mean_[static_cast<size_t>(c)]) * inverse;
}

// Subspace iteration with the sample's covariance, V <- orthonormal(S' S V), S the centred sample (m, d).
// Source: Halko, Martinsson, Tropp (2011), "Finding structure with randomness", algorithm 4.4.
void Frame::fit(const Keys& keys, const std::vector<int32_t>& ids, const Run& run) {
    const int64_t wanted =
        round_up_to(std::min(d_, std::min(dims_, kMostPrincipal) + kOversampling), kAxes);
    std::vector<int32_t> rows =
        sample(ids, std::min(kSampleRows, std::max(2 * wanted, kSampleNumbers / d_)));
    const int64_t m = static_cast<int64_t>(rows.size()) / kAxes * kAxes,
                  padded = round_up_to(d_, kGroup);
    std::vector<double> s(static_cast<size_t>(m * d_));
    for (int64_t r = 0; r < m; ++r) centre(keys, rows[static_cast<size_t>(r)], s.data() + r * d_);
    std::vector<double> st = transposed(s, m, d_);
    st.resize(static_cast<size_t>(padded * m), 0.0);
    // Start from rows of the sample: they point where the data are.
    std::vector<double> v(static_cast<size_t>(d_ * wanted)), z(static_cast<size_t>(m * wanted)),
        w(static_cast<size_t>(padded * wanted));
    for (int64_t a = 0; a < wanted; ++a) {
        const int64_t r = a * m / wanted;
        for (int64_t c = 0; c < d_; ++c)
            v[static_cast<size_t>(c * wanted + a)] = s[static_cast<size_t>(r * d_ + c)];
    }
    std::vector<double> axes;
    for (int i = 0; i <= kIterations; ++i) {
        axes = transposed(v, d_, wanted);
        orthonormalise(axes, wanted, d_);
        v = transposed(axes, wanted, d_);
        multiply(s, panels(v, d_, wanted), m, d_, wanted, z, run);  // coordinates of the sample
        if (i == kIterations) break;
        multiply(st, panels(z, m, wanted), padded, m, wanted, w, run);
        std::copy_n(w.begin(), v.size(), v.begin());
    }
    // Order by variance; the iteration leaves the axes nearly principal, which is all that is asked of them.
    std::vector<double> spread(static_cast<size_t>(wanted), 0.0);
    for (int64_t r = 0; r < m; ++r)
        for (int64_t a = 0; a < wanted; ++a) {
            const double value = z[static_cast<size_t>(r * wanted + a)];
            spread[static_cast<size_t>(a)] += value * value / static_cast<double>(m);
        }
    for (double& s : spread) s = s >= 0.0 ? s : 0.0;
    std::vector<int64_t> order(static_cast<size_t>(wanted));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return spread[static_cast<size_t>(a)] > spread[static_cast<size_t>(b)];
    });
    // The axes by rows, and in panels that are filled up with zeros.
    const int64_t padded_dims = round_up_to(dims_, kAxes);
    std::vector<double> chosen(static_cast<size_t>(padded_dims * d_));
    for (int64_t a = 0; a < dims_; ++a) {
        const int64_t r = (2 * a + 1) * m / (2 * dims_);
        const double* from =
            a < wanted ? axes.data() + order[static_cast<size_t>(a)] * d_ : s.data() + r * d_;
        std::copy_n(from, d_, chosen.data() + a * d_);
    }
    orthonormalise(chosen, dims_, d_, std::min(wanted, dims_));
    axes_ = panels(transposed(chosen, padded_dims, d_), d_, padded_dims);
    leading_axes_.assign(axes_.begin(), axes_.begin() + d_ * kAxes);
    // |A'A - I| in the Frobenius norm, as computed, and what computing it may have missed. Columns that were set to
    // zero are orthogonal to all and shorten distances: they are no error.
    std::vector<double> gram(static_cast<size_t>(padded_dims * padded_dims));
    multiply(chosen, axes_, padded_dims, d_, padded_dims, gram, run);
    double squared = 0.0;
    for (int64_t a = 0; a < dims_; ++a)
        for (int64_t b = 0; b < dims_; ++b) {
            const double entry = gram[static_cast<size_t>(a * padded_dims + b)];
            const double off = a == b && entry > 0.5 ? entry - 1.0 : entry;
            squared += off * off;
        }
    axes_error_ = std::sqrt(squared) + static_cast<double>(dims_ * (d_ + 8)) * 0x1p-53;
}

// Being orthogonal but for rounding, which is measured, a rotation moves no point of the frame nearer to or farther from
// another, whatever the axes are.
void Frame::mix(const std::vector<int64_t>& ends, const Run& run) {
    int64_t begin = 0;
    for (const int64_t end : ends) {
        const int64_t m = end - begin;
        const std::vector<double> turn = random_rotation(m);
        parallel_rows(run, "plan", d_, 16, [&](int64_t first, int64_t last, const Worker& worker) {
            worker.check();
            std::vector<double> row(static_cast<size_t>(m));
            for (int64_t c = first; c < last; ++c) {
                for (int64_t b = 0; b < m; ++b)
                    row[static_cast<size_t>(b)] = axis(begin + b)[c * kAxes];
                for (int64_t a = 0; a < m; ++a)
                    axis(begin + a)[c * kAxes] =
                        std::inner_product(row.begin(), row.end(), turn.begin() + a * m, 0.0);
            }
        });
        axes_error_ += off_orthogonal(turn, m) + static_cast<double>(2 * dims_ * (m + 8)) * 0x1p-53;
        begin = end;
    }
}

double Frame::radius(double key) const {
    const double squared =
        metric_ == Metric::kEuclidean ? key * (1.0 + 2.0 * key_error_) : 2.0 * (key + key_error_);
    return std::sqrt(squared) * (1.0 + 0x1p-50) / scale_;
}

// A key of a row within D = distance * scale is at most D^2 (1 + e), e the relative error of keys, and a row whose key
// is no more lies within the root of D^2 (1 + e) / (1 - e). Cosine: D^2 / 2 + e, and the root of D^2 + 4 e.
double Frame::radius_of(double distance) const {
    const double squared = metric_ == Metric::kEuclidean
                               ? distance * distance * (1.0 + 4.0 * key_error_)
                               : distance * distance + 4.0 * key_error_ / (scale_ * scale_);
    return std::sqrt(squared) * (1.0 + 0x1p-50);
}

// v errs relative to itself and, for cosine, to the unit row; y by its axes and its d additions; t by the square
// root of what its square errs, since it may cancel to nearly nothing.
double Frame::error(double norm) const {
    const double g = canonical_error(d_) * 64.0;
    const double unit = metric_ == Metric::kCosine ? 1.0 / scale_ : 0.0;
    const double direct = g * (norm + unit);
    if (!rotated_) return direct;
    const double squared = 4.0 * (axes_error_ + g);
    return direct + norm * (axes_error_ + g + std::sqrt(squared));
}

}  // namespace dqcore
