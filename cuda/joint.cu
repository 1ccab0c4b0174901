// The joint room on a device: its functions are those of joint/joint.h, with the same bits. Counts and sums come back as
// whole numbers; what follows from them is the host's code, as on the CPU.
#include <algorithm>
#include <utility>

#include "cuda/backend.h"
#include "cuda/joint_reader.h"
#include "joint/confidence.h"
#include "joint/issue_state.h"
#include "joint/joint.h"
#include "joint/selections.h"

namespace dqcore::cuda {
namespace {

template <class E>
using Reader = JointReader<Device, E>;

Element element_of(const JointInput& in) {
    if (in.device) return in.device->type;
    switch (in.pred_probs.type) {
        case Float::kFloat16:
            return Element::kFloat16;
        case Float::kFloat32:
            return Element::kFloat32;
        case Float::kFloat64:
            break;
    }
    return Element::kFloat64;
}

// A sum in 2^-64 from its limbs.
int128 sum_of_probabilities(const uint64_t* words) {
    const auto limbs = static_cast<int128>(words[0]) + (static_cast<int128>(words[1]) << kLimb) +
                       (static_cast<int128>(words[2]) << 2 * kLimb);
    return limbs - (static_cast<int128>(words[3]) * kBias << 32);
}
int128 sum_of_products(const uint64_t* words) {
    return static_cast<int128>(words[0]) + (static_cast<int128>(words[1]) << 32) +
           static_cast<int128>(static_cast<int64_t>(words[2])) * (static_cast<int128>(1) << 64);
}

template <class T>
std::vector<T> downloaded(Device& device, Device::Buffer<T>& from) {
    std::vector<T> values(static_cast<size_t>(from.size()));
    device.download(values.data(), from, from.size());
    return values;
}

template <class T>
Device::Buffer<T> zeroed(Device& device, int64_t n) {
    auto buffer = device.alloc<T>(n);
    device.fill_zero(buffer);
    return buffer;
}

// Values out of range: all are counted, as on the CPU, whichever pass has met one.
template <class E>
[[noreturn]] void raise_for_all(Reader<E>& reader) {
    const joint::Faults met = reader.faults();
    reader.set_thresholds({});
    reader.each("values", [&](const ProbRows<E>& rows, Global<const double>, int64_t) {
        using Scan = ScanRows<E, 1>;
        const Scan scan{rows, false, ScoreKind::kNone, ScoreKind::kNone, {}, {}, {}, {}, {}};
        reader.device().launch(scan, reader.template blocks<Scan>(rows.n * rows.lanes), 0);
    });
    if (reader.faults().count > 0) reader.faults().raise();
    met.raise();  // the array has been changed meanwhile
}

template <class E>
ThresholdState gather(Reader<E>& reader, bool weighted) {
    ThresholdState state(reader.n_classes(), weighted);
    const int64_t n = reader.n_classes();
    auto sums = zeroed<uint64_t>(reader.device(), n * kSumWords);
    auto weight_sums = zeroed<uint64_t>(reader.device(), weighted ? n * 3 : 0);
    reader.each("thresholds", [&](const ProbRows<E>& rows, Global<const double> weights, int64_t) {
        using Gather = GatherThresholds<E>;
        reader.device().launch(Gather{rows, weights, sums.all(), weight_sums.all()},
                               reader.template blocks<Gather>(rows.n), Gather::shared_bytes(n));
    });
    if (reader.faults().count > 0) raise_for_all(reader);
    const auto words = downloaded(reader.device(), sums);
    const auto weight_words = downloaded(reader.device(), weight_sums);
    for (size_t c = 0; c < state.sums.size(); ++c) {
        const uint64_t* const at = words.data() + c * kSumWords;
        state.class_counts[c] = static_cast<int64_t>(at[3]);
        state.sums[c] = weighted ? sum_of_products(at) : sum_of_probabilities(at);
        if (weighted) state.class_weights[c] = sum_of_products(weight_words.data() + c * 3);
    }
    return state;
}

template <class E, int kPack>
void launch_count(Reader<E>& reader, const ProbRows<E>& rows, Global<const double> weights,
                  Global<uint64_t> counts, Global<uint64_t> weight_counts, bool among) {
    using Count = CountJoint<E, kPack>;
    reader.device().launch(Count{rows, weights, counts, weight_counts, among},
                           reader.template blocks<Count>(rows.n * rows.lanes),
                           Count::shared_bytes(rows.n_classes));
}

template <class E>
JointState count(Reader<E>& reader, std::vector<double> thresholds, Collision collision,
                 bool weighted) {
    reader.set_thresholds(thresholds);
    JointState state(std::move(thresholds), collision, weighted);
    const int64_t n = reader.n_classes(), cells = n * (n + 1);
    auto counts = zeroed<uint64_t>(reader.device(), cells);
    auto weight_counts = zeroed<uint64_t>(reader.device(), weighted ? cells * 3 : 0);
    reader.each("joint", [&](const ProbRows<E>& rows, Global<const double> weights, int64_t) {
        const bool among = collision == Collision::kConfident;
        if (reader.wide())
            launch_count<E, Reader<E>::kPack>(reader, rows, weights, counts.all(),
                                              weight_counts.all(), among);
        else
            launch_count<E, 1>(reader, rows, weights, counts.all(), weight_counts.all(), among);
    });
    if (reader.faults().count > 0) reader.faults().raise();
    const auto all = downloaded(reader.device(), counts);
    const auto words = downloaded(reader.device(), weight_counts);
    for (size_t given = 0, at = 0; given < state.unsure.size(); ++given) {
        for (size_t t = 0; t < state.unsure.size() + 1; ++t, ++at) {
            const size_t cell = given * state.unsure.size() + t - 1;
            const auto rows = static_cast<int64_t>(all[at]);
            if (rows == 0) continue;
            (t == 0 ? state.unsure[given] : state.counts[cell]) = rows;
            if (weighted)
                (t == 0 ? state.unsure_weights[given] : state.weights[cell]) =
                    sum_of_products(words.data() + at * 3);
        }
    }
    return state;
}

// What a pass over all rows writes for each of them; without data where it is not wanted.
struct RowOutputs {
    Vector<int32_t> argmax;
    Vector<uint8_t> flags;
    Vector<double> quality, low_score, top, brier;
    bool on_device = false;  // what is wanted is memory of the device
};

// A piece of one output: in its place where that is on the device, else room there and a way back.
template <class T>
class PieceOf {
public:
    PieceOf(Device& device, Vector<T> whole, int64_t begin, int64_t n, bool on_device)
        : device_(device),
          to_(whole.data ? whole.data + begin : nullptr),
          n_(n),
          there_(on_device) {
        if (to_ && !there_) buffer_ = device.alloc<T>(n);
    }
    Global<T> all() { return there_ && to_ ? Global<T>(to_, n_) : buffer_.all(); }
    void bring_back() {
        if (to_ && !there_) device_.download(to_, buffer_, n_);
    }

private:
    Device& device_;
    T* to_;
    int64_t n_;
    bool there_;
    Device::Buffer<T> buffer_;
};

// How scores are made, as joint/quality.h makes them.
struct Scores {
    ScoreKind quality = ScoreKind::kNone, low = ScoreKind::kNone;
    std::vector<double> thresholds;  // of adjusted ones
};

ScoreKind kind_of(Quality method, bool adjusted) {
    switch (method) {
        case Quality::kSelfConfidence:
            return adjusted ? ScoreKind::kAdjustedGiven : ScoreKind::kGiven;
        case Quality::kNormalizedMargin:
            return adjusted ? ScoreKind::kAdjustedMargin : ScoreKind::kMargin;
        case Quality::kConfidenceWeightedEntropy:
            break;
    }
    return ScoreKind::kEntropy;
}

bool is_ordered(ScoreKind kind) { return kind > ScoreKind::kMargin; }

template <class E>
void scan(Reader<E>& reader, const Scores& scores, Collision collision, const RowOutputs& out,
          const char* stage) {
    Device& device = reader.device();
    OrderedScore<E> ordered{scores.quality, {}, 0.0, 0.0};
    auto thresholds = device.alloc<double>(static_cast<int64_t>(scores.thresholds.size()));
    device.upload(thresholds, scores.thresholds.data(), thresholds.size());
    ordered.thresholds = thresholds.all();
    if (!scores.thresholds.empty())
        ordered.most = *std::max_element(scores.thresholds.begin(), scores.thresholds.end());
    ordered.log_classes = log_same_bits(static_cast<double>(reader.n_classes()));
    reader.each(stage, [&](const ProbRows<E>& rows, Global<const double>, int64_t begin) {
        const auto piece = [&](auto whole) {
            return PieceOf(device, whole, begin, rows.n, out.on_device);
        };
        auto argmax = piece(out.argmax);
        auto flags = piece(out.flags);
        auto quality = piece(out.quality), low = piece(out.low_score), top = piece(out.top),
             brier = piece(out.brier);
        const auto launch_scan = [&](auto kernel) {
            using Scan = decltype(kernel);
            device.launch(Scan{rows, collision == Collision::kConfident, scores.quality, scores.low,
                               argmax.all(), flags.all(), quality.all(), low.all(), top.all()},
                          reader.template blocks<Scan>(rows.n * rows.lanes), 0);
        };
        if (reader.wide())
            launch_scan(ScanRows<E, Reader<E>::kPack>{});
        else
            launch_scan(ScanRows<E, 1>{});
        if (is_ordered(scores.quality) || out.brier.data) {
            using Score = ScoreRows<E>;
            const auto qualities = is_ordered(scores.quality) ? quality.all() : Global<double>();
            device.launch(Score{rows, ordered, qualities, brier.all()},
                          reader.template blocks<Score>(rows.n), 0);
        }
        argmax.bring_back();
        flags.bring_back();
        for (auto* scores_of_rows : {&quality, &low, &top, &brier}) scores_of_rows->bring_back();
    });
    if (reader.faults().count > 0) reader.faults().raise();
}

template <class E>
void given(Reader<E>& reader, Vector<double> quality, bool on_device) {
    reader.each("quality", [&](const ProbRows<E>& rows, Global<const double>, int64_t begin) {
        using Given = GivenRows<E>;
        PieceOf piece(reader.device(), quality, begin, rows.n, on_device);
        reader.device().launch(Given{rows, piece.all()}, reader.template blocks<Given>(rows.n), 0);
        piece.bring_back();
    });
    if (reader.faults().count > 0) reader.faults().raise();
}

template <class T>
Vector<T> whole(ZeroedVector<T>& values) {
    return {values.data(), static_cast<int64_t>(values.size())};
}

// Rows of the device's matrix on the host, brought when they are asked for; memory that no row has come to costs nothing.
template <class E>
class BroughtRows {
public:
    using Value = typename E::Value;

    BroughtRows(Device& device, const DeviceMatrix& m)
        : device_(device), m_(m), values_(static_cast<size_t>(m.rows * m.cols)) {}

    StridedMatrix matrix() const {
        constexpr int64_t kSize = sizeof(Value);
        return {reinterpret_cast<const char*>(values_.data()),
                kSize == 8 ? Float::kFloat64 : Float::kFloat32,
                m_.rows,
                m_.cols,
                m_.cols * kSize,
                kSize};
    }

    void bring(const std::vector<std::vector<joint::ClassRow>>& lists) {
        const int64_t row_bytes = m_.cols * int64_t{sizeof(Value)} + int64_t{sizeof(int64_t)};
        const auto most = static_cast<size_t>(
            std::clamp<int64_t>(device_.free_bytes() / 2 / row_bytes, 1, 1 << 20));
        std::vector<int64_t> rows;
        for (const auto& list : lists) {
            for (const joint::ClassRow& r : list) {
                rows.push_back(r.row);
                if (rows.size() == most) take(rows);
            }
        }
        take(rows);
    }

private:
    void take(std::vector<int64_t>& rows) {
        if (rows.empty()) return;
        const auto n = static_cast<int64_t>(rows.size());
        auto wanted = device_.alloc<int64_t>(n);
        auto to = device_.alloc<Value>(n * m_.cols);
        device_.upload(wanted, rows.data(), n);
        using Take = TakeRows<E, Value>;
        device_.launch(Take{strided_rows<E>(device_, m_), wanted.all(), to.all(), 0, m_.cols},
                       blocks_for<Take>(device_, to.size()), 0);
        const std::vector<Value> taken = downloaded(device_, to);
        for (size_t i = 0; i < rows.size(); ++i)
            std::copy_n(taken.data() + static_cast<int64_t>(i) * m_.cols, m_.cols,
                        values_.data() + rows[i] * m_.cols);
        rows.clear();
    }

    Device& device_;
    const DeviceMatrix& m_;
    ZeroedVector<Value> values_;
};

// The state of all rows: scored on the device; which rows a selection takes is found on the host, from the few whose
// argmax is another class.
template <class E>
void see_rows(Reader<E>& reader, IssueState& state, const JointInput& in, const Run& run) {
    const IssueOptions& options = state.plan.options;
    state.pieces.emplace_back();
    IssueRows& rows = state.pieces[0];
    const auto n = static_cast<size_t>(in.labels.size);
    rows.quality.resize(n);
    rows.suggested.resize(n);
    rows.flags.resize(n);
    if (joint::has_low_score(options)) rows.low_score.resize(n);
    Scores scores{kind_of(options.rank_by, options.adjust),
                  kind_of(joint::low_quality(options.filter), false),
                  options.adjust ? state.plan.thresholds : std::vector<double>()};
    reader.set_thresholds(state.plan.thresholds);
    const RowOutputs out{whole(rows.suggested),
                         whole(rows.flags),
                         whole(rows.quality),
                         whole(rows.low_score),
                         {},
                         {},
                         false};
    scan(reader, scores, options.collision, out, "issues");
    state.row_sums = reader.sums();
    if (state.plan.take.empty()) return;
    std::vector<std::vector<joint::ClassRow>> others(1);
    for (int64_t i = 0; i < in.labels.size; ++i) {
        const int64_t label = joint::label_at(in.labels, i, in.pred_probs.cols);
        if (rows.suggested[static_cast<size_t>(i)] != label)
            others[0].push_back({static_cast<int32_t>(label), i});
    }
    if (!in.device) return joint::select_best(state, in, others, run);
    BroughtRows<E> brought(reader.device(), *in.device);
    JointInput on_host = in;
    on_host.pred_probs = brought.matrix();
    joint::select_best(state, on_host, others, run,
                       [&](const auto& lists) { brought.bring(lists); });
}

}  // namespace

JointState confident_joint(const JointInput& in, std::vector<double> thresholds,
                           Collision collision, RowSums& sums, const Run& run) {
    Device device({in.device});
    std::vector<JointState> made;
    with_element(element_of(in), [&](auto element) {
        Reader<decltype(element)> reader(device, in, run);
        const bool weighted = in.weights.data != nullptr;
        if (thresholds.empty()) thresholds = gather(reader, weighted).finish();
        made.push_back(count(reader, std::move(thresholds), collision, weighted));
        sums = reader.sums();
    });
    return std::move(made[0]);
}

void label_quality(const JointInput& in, Quality method, bool adjust, Vector<double> quality,
                   const Run& run) {
    Device device({in.device});
    with_element(element_of(in), [&](auto element) {
        Reader<decltype(element)> reader(device, in, run);
        const bool there = in.device != nullptr;
        if (method == Quality::kSelfConfidence && !adjust) return given(reader, quality, there);
        Scores scores{kind_of(method, adjust), ScoreKind::kNone, {}};
        if (adjust) scores.thresholds = gather(reader, false).finish();
        RowOutputs out;
        out.quality = quality;
        out.on_device = there;
        scan(reader, scores, Collision::kArgmax, out, "quality");
    });
}

void confidences(const JointInput& in, const ConfidenceOutput& out, const Run& run) {
    Device device({in.device});
    with_element(element_of(in), [&](auto element) {
        Reader<decltype(element)> reader(device, in, run);
        RowOutputs rows;
        rows.argmax = out.predicted;
        rows.top = out.confidence;
        rows.brier = out.brier;
        scan(reader, {}, Collision::kArgmax, rows, "confidences");
    });
}

Issues label_issues(const JointInput& in, const IssueOptions& options,
                    Matrix<const int64_t> calibrated, const Run& run) {
    Device device({in.device});
    Issues issues;
    with_element(element_of(in), [&](auto element) {
        Reader<decltype(element)> reader(device, in, run);
        const ThresholdState found = gather(reader, false);
        std::vector<double> thresholds = found.finish();
        const Vector<const int64_t> class_counts{found.class_counts.data(), reader.n_classes()};
        IssueState state(
            joint::prunes(options.filter) && !calibrated.data
                ? plan_issues(options, thresholds,
                              finish(count(reader, thresholds, options.collision, false)))
                : plan_issues(options, thresholds, calibrated, class_counts));
        if (in.labels.size > 0) see_rows(reader, state, in, run);
        issues = std::move(state).finish();
    });
    return issues;
}

}  // namespace dqcore::cuda
