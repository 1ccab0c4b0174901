"""Native against reference on tiny random cases: every room, instruction set, layout, and number of threads.

A case is one native call whose result is compared with the reference's, bit for bit. The generators lean towards what
breaks kernels: ties, duplicates, lattices, zero rows, tails of every length, nothing at all.

    python tests/differential.py --cases 200000 --seed 1
"""

import argparse
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, is_dataclass
from itertools import zip_longest

import dqcore as dq
import numpy as np
from dqcore import _cpu

# Outside the promise of equal bits.
NOT_COMPARED = {"stats", "levels"}  # how a search went: the reference looks at everything


class Difference(AssertionError):
    """A native result that is not the reference's."""


# ---- values and layouts --------------------------------------------------------------------------


def relayout(rng, array):
    """Return an array (or a mapping of them) of the same values that lies in memory in another way."""
    if isinstance(array, dict):
        return {name: relayout(rng, column) for name, column in array.items()}
    kind = int(rng.integers(8))
    if kind <= 1 or array.dtype.kind not in "iuf" or array.ndim == 0:
        return array
    if kind == 2:
        return np.asfortranarray(array)
    if kind == 3:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
        wide[..., 1::2] = array
        return wide[..., 1::2]
    if kind == 4:
        return np.ascontiguousarray(array[::-1])[::-1]
    if kind == 5:
        return array.astype(array.dtype.newbyteorder())
    if kind == 6:
        raw = np.zeros(array.nbytes + 1, np.uint8)  # an odd address
        odd = raw[1:].view(array.dtype).reshape(array.shape)
        odd[...] = array
        return odd
    fixed = array.copy()
    fixed.flags.writeable = False
    return fixed


def widen(rng, array):
    """Return the same numbers in a dtype that holds them all."""
    if isinstance(array, dict):
        return {name: widen(rng, column) for name, column in array.items()}
    wider = {"i": [array.dtype, np.int64], "f": [array.dtype, np.float64]}
    if array.dtype == np.float16:
        wider["f"].append(np.float32)
    options = wider.get(array.dtype.kind, [array.dtype])
    return array.astype(options[int(rng.integers(len(options)))])


def features(rng, n, d):
    kind = int(rng.integers(10))
    if kind == 0:
        x = rng.integers(-2, 3, (n, d))
    elif kind == 1:
        x = rng.integers(0, 2, (n, d))
    elif kind == 2:
        x = rng.normal(size=(n, d)) + 1000.0  # far from the origin
    elif kind == 3:
        x = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-20, 18)
    elif kind == 4:
        x = rng.normal(size=(n, d)) * np.exp(4.0 * rng.normal(size=(n, 1)))  # norms far apart
    elif kind == 5:
        x = rng.normal(size=(n, d)).astype(np.float16)
    elif kind == 6:
        x = np.repeat(rng.normal(size=(1, d)), n, axis=0)
        x += rng.integers(0, 2, (n, d)) * 1e-7  # near the last bit
    elif kind == 7:
        x = np.outer(rng.normal(size=n), rng.normal(size=d))  # one line: cosines next to 1 and -1
    else:
        x = rng.normal(size=(n, d))
    x = x.astype(np.float32)
    if n and rng.random() < 0.5:  # duplicates
        x = x[rng.integers(0, n, n)]
    if n and rng.random() < 0.3:
        x[rng.random(n) < 0.3] *= np.float32(0.0)  # +0 and -0
    return x


def dims(rng):
    return int(rng.integers(1, 71)) if rng.random() < 0.6 else int(rng.integers(1, 5))


# ---- the rooms -----------------------------------------------------------------------------------
# Each gives the name of a public function, its arrays, and its other arguments.


def knn_graph(rng):
    n, d = int(rng.integers(2, 41)), dims(rng)
    x = features(rng, n, d)
    metric = ["euclidean", "cosine"][int(rng.integers(2))]
    if rng.random() < 0.7:
        return "knn_graph", {"features": x}, {"k": int(rng.integers(1, n)), "metric": metric}
    queries = features(rng, int(rng.integers(0, 20)), d)
    arrays = {"features": x, "queries": queries}
    return "knn_graph", arrays, {"k": int(rng.integers(1, n + 1)), "metric": metric}


def knn_disagreement(rng):
    n, classes = int(rng.integers(2, 41)), int(rng.integers(1, 7))
    metric = ["euclidean", "cosine"][int(rng.integers(2))]
    graph = dq.knn_graph(
        features(rng, n, int(rng.integers(1, 4))), int(rng.integers(1, n)), metric=metric, threads=1
    )
    labels = rng.integers(-1 if rng.random() < 0.4 else 0, classes, n).astype(np.int32)
    weights = ["uniform", "distance", "gaussian", "similarity"]
    options = {
        "graph": graph,
        "weights": weights[int(rng.integers(4 if metric == "cosine" else 3))],
        "class_balanced": bool(rng.integers(2)),
        "labelled_only": bool(rng.integers(2)),
        "n_classes": classes if rng.random() < 0.8 else None,
    }
    return "knn_disagreement", {"labels": labels}, options


def rows_and_classes(rng):
    """Mostly a handful of rows; now and then enough for several chunks of work."""
    many = rng.random() < 0.004
    return int(rng.integers(6000, 20000) if many else rng.integers(0, 41)), int(rng.integers(1, 7))


def pred_probs(rng, n, classes):
    kind = int(rng.integers(7))
    if kind == 0:
        p = np.full((n, classes), 1.0 / classes)
    elif kind == 1:
        p = np.eye(classes)[rng.integers(0, classes, n)]
    elif kind == 2:
        p = rng.integers(0, 5, (n, classes)) / 4.0  # ties, and rows that sum to anything
    elif kind == 3:
        p = rng.dirichlet(np.full(classes, 0.3), n)
        p = np.round(p * 16.0) / 16.0
    elif kind == 4 and n:
        p = rng.dirichlet(np.ones(classes), 3)[rng.integers(0, 3, n)]  # three rows, again and again
    elif kind == 5:
        p = rng.dirichlet(np.ones(classes), n) + rng.choice([-1e-6, 0.0, 1e-6, 2e-6], (n, classes))
        p = np.clip(p, -1e-6, 1.0)  # what "confident" allows for, and the least that is accepted
    else:
        p = rng.dirichlet(np.full(classes, 0.5), n)
    p = p.reshape(n, classes).astype([np.float16, np.float32, np.float64][int(rng.integers(3))])
    if n and rng.random() < 0.03:  # no probabilities: both must say so in the same words
        wrong = [np.nan, 1.5, -0.25, np.inf]
        for _ in range(int(rng.integers(1, 4))):
            p[int(rng.integers(n)), int(rng.integers(classes))] = wrong[int(rng.integers(4))]
    return p


def labels_for(rng, p):
    """The most probable class, often another, and some classes never."""
    n, classes = p.shape
    guess = np.nan_to_num(p.astype(np.float64)).argmax(axis=1)
    labels = np.where(rng.random(n) < 0.4, rng.integers(0, classes, n), guess)
    if rng.random() < 0.3:
        labels = np.minimum(labels, int(rng.integers(classes)))
    return labels.astype(np.int32)


COLLISIONS = ["argmax", "confident"]
QUALITIES = ["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
FILTERS = [
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_self_confidence",
    "low_normalized_margin",
]


def confident_joint(rng):
    n, classes = rows_and_classes(rng)
    p = pred_probs(rng, n, classes)
    arrays = {"labels": labels_for(rng, p), "pred_probs": p}
    if rng.random() < 0.3:
        kinds = [
            rng.integers(0, 4, n).astype(np.float64),
            rng.random(n) * 10.0 ** rng.integers(-9, 9),
        ]
        arrays["weights"] = kinds[int(rng.integers(2))]
    options = {"collision": COLLISIONS[int(rng.integers(2))]}
    if rng.random() < 0.2:
        options["thresholds"] = rng.integers(0, 5, classes) / 4.0
    return "confident_joint", arrays, options


def quality_options(rng, name):
    method = QUALITIES[int(rng.integers(3))]
    return {name: method, "adjust": method != QUALITIES[2] and bool(rng.integers(2))}


def label_quality(rng):
    n, classes = rows_and_classes(rng)
    p = pred_probs(rng, n, classes)
    return (
        "label_quality",
        {"labels": labels_for(rng, p), "pred_probs": p},
        quality_options(rng, "method"),
    )


def label_issues(rng):
    n, classes = rows_and_classes(rng)
    p = pred_probs(rng, n, classes)
    options = {
        "filter_by": FILTERS[int(rng.integers(7))],
        "collision": COLLISIONS[int(rng.integers(2))],
        "frac_noise": float(rng.choice([1.0, 1.0, 0.5, 0.0, 0.3])),
        "min_examples_per_class": int(rng.choice([0, 1, 1, 2, 5])),
        **quality_options(rng, "rank_by"),
    }
    if rng.random() < 0.2:
        options["joint"] = rng.integers(0, 9, (classes, classes))
    if rng.random() < 0.2 and FILTERS.index(options["filter_by"]) < 3:
        options["num_to_remove_per_class"] = rng.integers(0, 6, classes)
    return "label_issues", {"labels": labels_for(rng, p), "pred_probs": p}, options


def slice_errors(rng):
    n, _ = rows_and_classes(rng)
    columns = {}
    for name in "abcd"[: int(rng.integers(1, 5))]:
        codes = rng.integers(-1 if rng.random() < 0.4 else 0, int(rng.integers(1, 6)), n)
        columns[name] = codes.astype([np.int8, np.int16, np.int32, np.int64][int(rng.integers(4))])
        if rng.random() < 0.2:
            columns[name] = np.array(["x", "yy", "z,"])[np.abs(codes) % 3]
    kind = int(rng.integers(5))
    if kind == 0:
        errors = rng.random(n) < 0.3
    elif kind == 1:
        errors = rng.integers(0, 2, n)
    elif kind == 2:
        errors = np.zeros(n) if rng.random() < 0.3 else rng.integers(0, 4, n) / 4.0
    elif kind == 3:
        errors = rng.exponential(size=n) * 10.0 ** rng.integers(-6, 7)
    else:
        errors = rng.random(n).astype(np.float32)
    options = {
        "max_level": int(rng.integers(1, 4)),
        "min_support": [1, 1, 2, 5, None][int(rng.integers(5))],
        "confidence": float(rng.choice([0.95, 0.99, 0.5])),
    }
    return "slice_errors", {"errors": errors, "columns": columns}, options


def find_slices(rng):
    _, arrays, options = slice_errors(rng)
    options |= {
        "k": int(rng.integers(1, 20)),
        "alpha": float(rng.choice([0.5, 0.6, 0.95, 1.0])),
        "missing": ["leave_out", "category"][int(rng.integers(2))],
    }
    if rng.random() < 0.3:
        options["weights"] = rng.integers(0, 4, len(arrays["errors"]))
    return "find_slices", arrays, options


# A room's functions and how often each is drawn.
GENERATORS = {
    knn_graph: 4,
    knn_disagreement: 2,
    confident_joint: 4,
    label_quality: 2,
    label_issues: 4,
    slice_errors: 2,
    find_slices: 2,
}


# ---- the comparison ------------------------------------------------------------------------------


def outcome(function, arrays, options):
    """Return what a call gives: its result, or the words of its refusal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows that do not sum to 1
            return function(**arrays, **options)
    except ValueError as error:
        return str(error)


def parts(name, result):
    """Yield the arrays and numbers of a result, each with a name."""
    if is_dataclass(result):
        for f in fields(result):
            if f.name not in NOT_COMPARED:
                yield from parts(f"{name}.{f.name}", getattr(result, f.name))
    elif isinstance(result, tuple | list):
        for i, item in enumerate(result):
            yield from parts(f"{name}[{i}]", item)
    else:
        yield name, result


def same(got, want):
    """Whether two parts have one type, shape, dtype and bits; any NaN equals any other."""
    if isinstance(want, np.ndarray):
        if not isinstance(got, np.ndarray) or got.dtype != want.dtype or got.shape != want.shape:
            return False
        if got.tobytes() == want.tobytes():
            return True
        if want.dtype.kind != "f":
            return False
        nan = np.isnan(want)
        filled = want.dtype.type(0)
        return bool(
            np.array_equal(np.isnan(got), nan)
            and np.where(nan, filled, got).tobytes() == np.where(nan, filled, want).tobytes()
        )
    if isinstance(want, float):
        return isinstance(got, float) and (got.hex() == want.hex())
    return type(got) is type(want) and got == want


def describe(arrays, options):
    with np.printoptions(threshold=10_000, floatmode="unique", linewidth=160):
        lines = [f"  {name} = {array!r}" for name, array in arrays.items()]
        lines += [f"  {name} = {value!r}" for name, value in options.items()]
    return "\n".join(lines)


class Loop:
    """Problems drawn from one seed; each is a reference call and several native ones."""

    def __init__(self, seed, generators=None):
        weights = generators or GENERATORS
        self.seed, self.cases, self.problems = seed, 0, 0
        self.deck = [g for g, weight in weights.items() for _ in range(weight)]
        self.isas = _cpu.isas()

    def run(self, cases):
        before = _cpu.isa()
        try:
            while self.cases < cases:
                self.problem()
        finally:
            _cpu.set_isa(before)

    def compare(self, found, wanted, arrays, options):
        for (name, got), (same_name, want) in zip_longest(found, wanted, fillvalue=("", None)):
            if name != same_name or not same(got, want):
                raise Difference(
                    f"{name or same_name} differs: seed {self.seed}, problem {self.problems}\n"
                    f"{describe(arrays, options)}\nnative    {got!r}\nreference {want!r}"
                )

    def problem(self):
        # A generator of its own for each problem, so that one is found again by its number.
        rng = np.random.default_rng([self.seed, self.problems])
        name, arrays, options = self.deck[int(rng.integers(len(self.deck)))](rng)
        function = getattr(dq, name)
        refer = {**options, "backend": "reference"}
        wanted = list(parts(name, outcome(function, arrays, refer)))
        for isa in self.isas:
            _cpu.set_isa(isa)
            for threads in (1, int(rng.choice([2, 3, 8]))):
                laid = {key: relayout(rng, widen(rng, array)) for key, array in arrays.items()}
                native = {**options, "backend": "cpu", "threads": threads}
                found = list(parts(name, outcome(function, laid, native)))
                self.compare(found, wanted, laid, {**native, "isa": isa})
                self.cases += 1
        self.problems += 1


def count_cases(seed, cases):
    """Run one loop in a process of its own; return how many cases and problems there were, and what differs."""
    loop = Loop(seed)
    try:
        loop.run(cases)
    except Difference as difference:
        return loop.cases, loop.problems, str(difference)
    return loop.cases, loop.problems, ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--jobs", type=int, default=1, help="processes, with seeds SEED, SEED + 1, ..."
    )
    parser.add_argument("--problem", type=int, help="only the problem of this number")
    asked = parser.parse_args()
    if asked.problem is not None:
        loop = Loop(asked.seed)
        loop.problems = asked.problem
        loop.problem()
        return 0
    start = time.perf_counter()
    seeds = range(asked.seed, asked.seed + asked.jobs)
    with ProcessPoolExecutor(asked.jobs) as pool:
        done = list(pool.map(count_cases, seeds, [-(-asked.cases // asked.jobs)] * asked.jobs))
    seconds = time.perf_counter() - start
    cases, problems = sum(d[0] for d in done), sum(d[1] for d in done)
    differences = [d[2] for d in done if d[2]]
    print(*differences, sep="\n\n", end="\n" if differences else "")
    print(
        f"{cases} cases of {problems} problems, seeds {seeds[0]} to {seeds[-1]}, "
        f"rows {', '.join(_cpu.isas())}: {len(differences)} differences; "
        f"{seconds:.1f} s, {cases / seconds:.0f} cases/s"
    )
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
