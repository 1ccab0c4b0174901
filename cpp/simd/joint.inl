// The joint room's primitives, written once over the register types of the including file.
//
// No include guard and no inline or template with external linkage: see knn.inl.
namespace {

// Of the confident classes the first greatest: the rare case that the argmax is not one of them.
template <class V>
int32_t best_confident(const typename V::T* p, const typename V::T* low, int64_t n_classes) {
    int64_t best = -1;
    for (int64_t c = 0; c < n_classes;) {
        if (c + V::kWidth <= n_classes) {
            const auto x = V::load(p + c);
            uint32_t hits = V::at_least(x, V::load(low + c));
            for (; hits != 0; hits &= hits - 1) {
                const int64_t at = c + __builtin_ctz(hits);
                if (best < 0 || p[at] > p[best]) best = at;
            }
            c += V::kWidth;
        } else {
            if (p[c] >= low[c] && (best < 0 || p[c] > p[best])) best = c;
            ++c;
        }
    }
    return static_cast<int32_t>(best);
}

// A row's findings before they are written; `bad` where a value is out of range or NaN.
template <class T>
struct RowFound {
    int64_t argmax;
    int32_t guess;
    T sum, runner_up;
    bool bad;
};

// Rows that fit one register.
template <class V>
RowFound<typename V::T> scan_short(const dqcore::simd::ProbScan<typename V::T>& s,
                                   const typename V::T* p, typename V::lanes tail,
                                   typename V::reg low) {
    using T = typename V::T;
    constexpr uint32_t kAll = static_cast<uint32_t>((uint64_t{1} << V::kWidth) - 1);
    const auto padded = V::load_first(p, tail, V::broadcast(T(0)));
    const auto x = V::load_first(p, tail, V::broadcast(static_cast<T>(-__builtin_inf())));
    // The two loads may see different rows where another thread is writing: what follows clamps.
    const uint32_t in_range =
        V::at_least(padded, V::broadcast(s.least)) & V::at_least(V::broadcast(s.greatest), padded);
    if (__builtin_expect(in_range != kAll, 0)) return {0, -1, T(0), T(0), true};
    const uint32_t top = V::equal(x, V::broadcast(V::greatest(x)));
    int argmax = __builtin_ctz(top | 0x80000000u);
    argmax = argmax < s.n_classes ? argmax : 0;
    const uint32_t confident = V::at_least(x, low);
    const bool several = (confident & (confident - 1)) != 0;
    int32_t guess = several ? argmax : __builtin_ctz(confident | 0x80000000u);
    guess = confident == 0 ? -1 : guess;
    if (__builtin_expect(s.among_confident && several && !(confident >> argmax & 1), 0))
        guess = best_confident<V>(p, s.low, s.n_classes);
    T runner_up = T(0);
    if (s.runner_up) {
        T lanes[V::kWidth];
        V::store(lanes, x);
        lanes[argmax] = static_cast<T>(-__builtin_inf());
        runner_up = V::greatest(V::load(lanes));
    }
    return {argmax, guess, V::sum(padded), runner_up, false};
}

// Where the greatest of a row, `top`, is first; 0 where another thread has written over it since.
template <class V>
int64_t find_top(const typename V::T* p, int64_t n_classes, typename V::T top) {
    const auto tops = V::broadcast(top);
    int64_t c = 0;
    for (; c + V::kWidth <= n_classes; c += V::kWidth) {
        const uint32_t bits = V::equal(V::load(p + c), tops);
        if (bits) return c + __builtin_ctz(bits);
    }
    while (c < n_classes && p[c] != top) ++c;
    return c < n_classes ? c : 0;
}

// How many classes of a row are confident, counted up to 2 in a register, and the last of them.
struct Confident {
    uint32_t count = 0;
    int64_t last = -1;

    void add(uint32_t bits, int64_t c) {
        count += (bits != 0 ? 1u : 0u) + ((bits & (bits - 1)) != 0 ? 1u : 0u);
        last = bits != 0 ? c + __builtin_ctz(bits | 0x80000000u) : last;
    }
};

// Rows of any length: one sweep for the extremes, the sum and the confident classes. Where the
// greatest is takes a second, over the first level of cache, and is asked only where it matters: by
// the caller, or by a row that is confident of several classes.
template <class V, bool kSecond>
RowFound<typename V::T> scan_long(const dqcore::simd::ProbScan<typename V::T>& s,
                                  const typename V::T* p, typename V::lanes tail) {
    using T = typename V::T;
    const int64_t full = s.n_classes / V::kWidth * V::kWidth;
    const auto nothing = V::broadcast(static_cast<T>(-__builtin_inf()));
    auto greatest = nothing, second = nothing,
         least = V::broadcast(static_cast<T>(__builtin_inf()));
    auto sum = V::broadcast(T(0));
    Confident confident;
    for (int64_t c = 0; c < full; c += V::kWidth) {
        const auto x = V::load(p + c);
        if (kSecond) second = V::max(second, V::min(greatest, x));
        greatest = V::max(greatest, x);
        least = V::min(least, x);
        sum = V::add(sum, x);
        confident.add(V::at_least(x, V::load(s.low + c)), c);
    }
    if (full < s.n_classes) {
        const auto x = V::load_first(p + full, tail, nothing);
        const auto padded = V::load_first(p + full, tail, V::broadcast(T(0)));
        if (kSecond) second = V::max(second, V::min(greatest, x));
        greatest = V::max(greatest, x);
        least = V::min(least, padded);
        sum = V::add(sum, padded);
        confident.add(V::at_least(x, V::load(s.low + full)), full);
    }
    const T top = V::greatest(greatest), total = V::sum(sum);
    // An extreme may have lost a NaN; the sum has not.
    constexpr uint32_t kAll = static_cast<uint32_t>((uint64_t{1} << V::kWidth) - 1);
    if (!(V::at_least(least, V::broadcast(s.least)) == kAll && top <= s.greatest) || total != total)
        return {0, -1, T(0), T(0), true};

    const bool several = confident.count > 1;
    const int64_t argmax = kSecond || s.argmax || several ? find_top<V>(p, s.n_classes, top) : 0;
    auto guess = static_cast<int32_t>(several ? argmax : confident.last);
    if (several && s.among_confident && !(top >= s.low[argmax]))
        guess = best_confident<V>(p, s.low, s.n_classes);
    T runner_up = T(0);
    if (kSecond) {  // in the argmax's own lane it is that lane's second
        T lanes[V::kWidth];
        V::store(lanes, greatest);
        lanes[argmax % V::kWidth] = static_cast<T>(-__builtin_inf());
        runner_up = V::greatest(V::max(second, V::load(lanes)));
    }
    return {argmax, guess, total, runner_up, false};
}

// Rows [begin, end) one after the other.
template <class V, bool kSecond>
uint8_t scan_rows(const dqcore::simd::ProbScan<typename V::T>& s, int64_t begin, int64_t end) {
    using T = typename V::T;
    const bool is_short = s.n_classes <= V::kWidth;
    const int64_t rest = is_short ? s.n_classes : s.n_classes % V::kWidth;
    const auto tail = V::first(rest);
    const auto low = V::load(s.low);
    uint8_t all = 0;
    for (int64_t r = begin; r < end; ++r) {
        const T* p = reinterpret_cast<const T*>(s.rows + r * s.row_stride);
        const RowFound<T> row =
            is_short ? scan_short<V>(s, p, tail, low) : scan_long<V, kSecond>(s, p, tail);
        const bool suspicious = !(row.sum >= s.least_sum && row.sum <= s.most_sum);
        uint8_t flag = suspicious ? dqcore::simd::kSuspiciousSum : 0;
        if (row.bad) flag = dqcore::simd::kBadRow;
        if (s.argmax) s.argmax[r] = static_cast<int32_t>(row.argmax);
        s.guess[r] = row.guess;
        if (kSecond) s.runner_up[r] = row.runner_up;
        s.flags[r] = flag;
        all |= flag;
    }
    return all;
}

template <class V>
uint8_t scan(const dqcore::simd::ProbScan<typename V::T>& s) {
    return s.runner_up ? scan_rows<V, true>(s, 0, s.n) : scan_rows<V, false>(s, 0, s.n);
}

// What C::kRows rows amount to, class by class. `confident` holds how many classes are, in units of
// kOne, plus the sum of their numbers: the number itself where it is one.
constexpr int64_t kOne = 1 << 16;

template <class C>
struct ColumnsFound {
    typename C::reg greatest, second, least, sum;
    typename C::ints argmax, confident;
};

template <class C, bool kSecond>
ColumnsFound<C> sweep(const dqcore::simd::ProbScan<typename C::T>& s, const char* rows) {
    using T = typename C::T;
    const auto nothing = C::broadcast(static_cast<T>(-__builtin_inf()));
    ColumnsFound<C> f{
        nothing,     nothing,    C::broadcast(static_cast<T>(__builtin_inf())), C::broadcast(T(0)),
        C::whole(0), C::whole(0)};
    for (int64_t c = 0; c < s.n_classes;) {
        // The last group starts early, so as not to read past the row, and skips what it repeats.
        const int64_t at = c + C::kGroup <= s.n_classes ? c : s.n_classes - C::kGroup;
        typename C::reg group[C::kGroup];
        C::load(rows + at * int64_t{sizeof(T)}, s.row_stride, group);
        for (int64_t g = c - at; g < C::kGroup; ++g, ++c) {
            const auto x = group[g];
            if (kSecond) f.second = C::max(f.second, C::min(f.greatest, x));
            f.argmax = C::choose(C::above(x, f.greatest), C::whole(c), f.argmax);
            f.greatest = C::max(f.greatest, x);
            f.least = C::min(f.least, x);
            f.sum = C::add(f.sum, x);
            const auto passes = C::at_least(x, C::broadcast(s.low[c]));
            f.confident = C::plus(f.confident, C::masked(C::whole(kOne + c), passes));
        }
    }
    return f;
}

// Flags of the rows whose bit is not set in `fine`, and what a bad row's findings are.
template <class C>
uint8_t flag_rows(const dqcore::simd::ProbScan<typename C::T>& s, int64_t begin, uint32_t in_range,
                  uint32_t fine) {
    uint8_t all = 0;
    for (int64_t r = 0; r < C::kRows; ++r) {
        uint8_t flag = fine >> r & 1 ? 0 : dqcore::simd::kSuspiciousSum;
        if (!(in_range >> r & 1)) {
            flag = dqcore::simd::kBadRow;
            if (s.argmax) s.argmax[begin + r] = 0;
            s.guess[begin + r] = -1;
            if (s.runner_up) s.runner_up[begin + r] = 0;
        }
        s.flags[begin + r] = flag;
        all |= flag;
    }
    return all;
}

template <class V, class C, bool kSecond>
uint8_t scan_group(const dqcore::simd::ProbScan<typename C::T>& s, int64_t begin) {
    const char* rows = s.rows + begin * s.row_stride;
    const ColumnsFound<C> f = sweep<C, kSecond>(s, rows);
    const auto several = C::above(f.confident, C::whole(2 * kOne - 1));
    const auto none = C::above(C::whole(kOne), f.confident);
    auto guess = C::choose(several, f.argmax, C::low_half(f.confident));
    guess = C::choose(none, C::whole(-1), guess);
    if (s.argmax) C::store(s.argmax + begin, f.argmax);
    C::store(s.guess + begin, guess);
    if (kSecond) C::store(s.runner_up + begin, f.second);
    // A NaN may be lost in an extreme, never in the sum.
    const auto in_range =
        C::both(C::both(C::at_least(f.least, C::broadcast(s.least)),
                        C::at_least(C::broadcast(s.greatest), f.greatest)),
                C::at_least(f.sum, C::broadcast(static_cast<typename C::T>(-__builtin_inf()))));
    const auto fine = C::both(in_range, C::both(C::at_least(f.sum, C::broadcast(s.least_sum)),
                                                C::at_least(C::broadcast(s.most_sum), f.sum)));
    constexpr uint32_t kAll = (1u << C::kRows) - 1;
    if (__builtin_expect(s.among_confident, 0)) {
        for (uint32_t rest = C::bits(C::both(several, in_range)); rest != 0; rest &= rest - 1) {
            const int64_t r = __builtin_ctz(rest);
            const auto* p = reinterpret_cast<const typename C::T*>(rows + r * s.row_stride);
            s.guess[begin + r] = best_confident<V>(p, s.low, s.n_classes);
        }
    }
    if (__builtin_expect(C::bits(fine) != kAll, 0))
        return flag_rows<C>(s, begin, C::bits(in_range), C::bits(fine));
    __builtin_memset(s.flags + begin, 0, C::kRows);
    return 0;
}

// Rows of few classes go C::kRows at a time, class by class: one after the other, they would spend
// most of their time folding registers. Measured: worth it up to some 50 classes.
template <class V, class C>
uint8_t scan_short_or_long(const dqcore::simd::ProbScan<typename V::T>& s) {
    constexpr int64_t kMostClasses = 48;
    if (s.n_classes < C::kGroup || s.n_classes > kMostClasses) return scan<V>(s);
    uint8_t all = 0;
    int64_t r = 0;
    for (; r + C::kRows <= s.n; r += C::kRows)
        all |= s.runner_up ? scan_group<V, C, true>(s, r) : scan_group<V, C, false>(s, r);
    return all | (s.runner_up ? scan_rows<V, true>(s, r, s.n) : scan_rows<V, false>(s, r, s.n));
}

template <class V>
int64_t next_at_least(const typename V::T* p, const typename V::T* low, typename V::T shift,
                      int64_t begin, int64_t n) {
    const auto shifts = V::broadcast(shift);
    int64_t c = begin;
    for (; c + V::kWidth <= n; c += V::kWidth) {
        const uint32_t hits = V::at_least(V::load(p + c), V::add(V::load(low + c), shifts));
        if (hits) return c + __builtin_ctz(hits);
    }
    while (c < n && !(p[c] >= low[c] + shift)) ++c;
    return c;
}

}  // namespace
