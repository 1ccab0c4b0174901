// The kernel table: one column for each SIMD primitive, one row for each instruction set. Rooms
// call columns; only the files in this folder know instruction sets.
#pragma once

#include <cstdint>

namespace dqcore::simd {

// Rows of the float32 filter lie in panels of this many, dimension by dimension: number c of row r
// of a panel is panel[c * kPanel + r]. One cache line a dimension.
inline constexpr int64_t kPanel = 16;

// What scan_probs reads and writes; see there.
template <class T>
struct ProbScan {
    const char* rows;    // of the first probability of the first row, aligned for T
    int64_t row_stride;  // bytes, of either sign
    int64_t n, n_classes;
    const T* low;  // (n_classes,), padded with +infinity to a multiple of kProbPad
    bool among_confident;
    T least, greatest;      // values outside make a row bad
    T least_sum, most_sum;  // sums outside make a row suspicious
    int32_t* argmax;        // (n,), or null where it is not wanted
    int32_t* guess;         // (n,)
    T* runner_up;           // (n,), or null where it is not wanted
    uint8_t* flags;         // (n,) of kBadRow and kSuspiciousSum
};
inline constexpr int64_t kProbPad = 16;
enum : uint8_t { kBadRow = 1, kSuspiciousSum = 2 };

// Rows, and columns, that filter_bytes tests at once.
inline constexpr int64_t kByteGroup = 64;

// The stages of filter_bytes.
struct ByteStages {
    int64_t count;
    const int64_t* ends;                // of each, in dims; the last is the width of a row
    int64_t norm_stride, start_stride;  // from one stage's row_norm and col_start to the next one's
};

struct Kernels {
    const char* isa;

    // ---- knn (simd/knn.inl) ----

    // Sum over c of (x[c] - y[c])^2: the canonical key. Float64, no fused multiply-add, 32 lanes
    // (lane l takes dims l, l + 32, ... in order), folded 16, 8, 4, 2, 1. Every row gives the same
    // bits.
    double (*squared_l2)(const float* x, const float* y, int64_t d);

    // Sum over c of x[c] * y[c], by the same lanes.
    double (*dot)(const float* x, const float* y, int64_t d);

    // Float32 dot products s of filter_rows rows with filter_cols rows ("columns") at once. Bit c
    // of survivors[r] tells whether s >= min(row_a[r] + col_b[c], col_a[c] + row_b[r]). Any
    // rounding of s within (d + 2) * 2^-24 of the sum of magnitudes may be used: the callers'
    // bounds allow for it. `rows` may start inside a panel; `cols` is the first of filter_cols /
    // kPanel panels that lie d * kPanel numbers apart. filter_rows divides kPanel, filter_cols is a
    // multiple of it, at most 64.
    int64_t filter_rows, filter_cols;
    double filter_cost;  // nanoseconds for one dimension of one pair, roughly: what a plan weighs
    void (*filter)(const float* rows, const float* cols, int64_t d, const float* row_a,
                   const float* row_b, const float* col_a, const float* col_b, uint64_t* survivors);

    // The same over int8, kByteGroup rows with as many columns; nullptr where the set has nothing fast for it. Panels
    // hold 4 dims of each of their 16 rows in turn. Bytes are within byte_most; `rows` holds them plus byte_offset, which
    // makes them unsigned where the set's dot product wants one side so. With s = col_start + sum of (row + byte_offset)
    // * col, bit c of survivors[r] tells whether 2 s >= row_norm[r] - max(row_limit[r], col_limit[c]), or nearly so: half
    // a limit or norm is rounded so that no pair is lost. Returns the rows with any bit set, as bits; survivors of others
    // are not written. Done in stages: no bit is set where an earlier stage leaves none of the pairs tested together, by
    // its own norms and starts. Panels and limits start a cache line.
    int32_t byte_offset, byte_most;
    double byte_cost;  // as filter_cost
    uint64_t (*filter_bytes)(const ByteStages& stages, const uint8_t* rows, const int8_t* cols,
                             const int32_t* row_norm, const int32_t* row_limit,
                             const int32_t* col_start, const int32_t* col_limit,
                             uint64_t* survivors);

    // Sum over c of (x[c] - y[c])^2 in float32, d a multiple of 16, or any number above `limit` as soon as the
    // sum is above it. Within (d + 4) * 2^-24 of the exact sum, relatively.
    float (*near_l2)(const float* x, const float* y, int64_t d, float limit);

    // Eight rows of d numbers, one after the other, times a panel of 16 columns (16 numbers a row of the panel):
    // out[r * stride + a] for a < 16. Float64 with any rounding.
    void (*project)(const double* rows, const double* panel, int64_t d, double* out,
                    int64_t stride);

    // ---- joint (simd/joint.inl) ----

    // For each row of probabilities: its first greatest (argmax); the class that it confidently
    // belongs to (guess), -1 for none, where p[c] >= low[c] is confident, and of several the
    // argmax, or the first greatest among them (among_confident); the greatest probability of any
    // class but the argmax (runner_up; -infinity where there is no other). A bad row (NaN counts)
    // has argmax 0, guess -1, runner_up 0. A sum may be rounded in any order: whoever asks about
    // sums allows for it. Returns the OR of all flags.
    uint8_t (*scan_probs32)(const ProbScan<float>& s);
    uint8_t (*scan_probs64)(const ProbScan<double>& s);

    // The first c of begin, ..., n - 1 with p[c] >= low[c] + shift, the sum rounded; n where there is none.
    int64_t (*next_at_least32)(const float* p, const float* low, float shift, int64_t begin,
                               int64_t n);
    int64_t (*next_at_least64)(const double* p, const double* low, double shift, int64_t begin,
                               int64_t n);

    // n halves at any address as floats; exact.
    void (*widen_halves)(const char* halves, float* out, int64_t n);

    // ---- slices (simd/slices.inl) ----

    // Bits that a and b have in common; words is a multiple of 8.
    int64_t (*count_common)(const uint64_t* a, const uint64_t* b, int64_t words);

    // These bits themselves; out may be a.
    void (*keep_common)(const uint64_t* a, const uint64_t* b, int64_t words, uint64_t* out);
};

extern const Kernels scalar;
extern const Kernels avx2;
extern const Kernels avxvnni;
extern const Kernels avx512;
extern const Kernels avx512vnni;
extern const Kernels neon;
extern const Kernels neondot;

// The rows that this build holds and this machine can run, best first, ended by nullptr. The last
// is always `scalar`.
const Kernels* const* usable();

// The row in force: the best usable one, unless DQCORE_ISA or set_active says else. Taken once for
// each call of a kernel, outside its loops.
const Kernels& active();

// Throws std::invalid_argument on a name that is not usable here.
void set_active(const char* isa);

}  // namespace dqcore::simd
