"""Native against reference on tiny random cases: every room, instruction set, layout, and number of threads.

A case is one native call whose result is compared with the reference's, bit for bit. The generators lean towards what
breaks kernels: ties, duplicates, lattices, zero rows, tails of every length, nothing at all.

    python tests/differential.py --cases 200000 --seed 1
"""

import argparse
import sys
import time
from dataclasses import fields, is_dataclass

import dqcore as dq
import numpy as np
from dqcore import _cpu

# Outside the promise of equal bits.
NOT_COMPARED = {"stats"}


class Difference(AssertionError):
    """A native result that is not the reference's."""


# ---- values and layouts --------------------------------------------------------------------------


def relayout(rng, array):
    """Return an array of the same values that lies in memory in another way."""
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
    wider = {"i": [array.dtype, np.int64], "f": [array.dtype, np.float64]}
    if array.dtype == np.float16:
        wider["f"].append(np.float32)
    options = wider.get(array.dtype.kind, [array.dtype])
    return array.astype(options[int(rng.integers(len(options)))])


def features(rng, n, d):
    kind = int(rng.integers(9))
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


# A room's functions and how often each is drawn.
GENERATORS = {
    knn_graph: 3,
    knn_disagreement: 2,
}


# ---- the comparison ------------------------------------------------------------------------------


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

    def problem(self):
        # A generator of its own for each problem, so that one is found again by its number.
        rng = np.random.default_rng([self.seed, self.problems])
        name, arrays, options = self.deck[int(rng.integers(len(self.deck)))](rng)
        function = getattr(dq, name)
        wanted = list(parts(name, function(**arrays, **options, backend="reference")))
        for isa in self.isas:
            _cpu.set_isa(isa)
            for threads in (1, int(rng.choice([2, 3, 8]))):
                laid = {key: relayout(rng, widen(rng, array)) for key, array in arrays.items()}
                result = function(**laid, **options, backend="cpu", threads=threads)
                for (part, got), (_, want) in zip(parts(name, result), wanted, strict=True):
                    if not same(got, want):
                        raise Difference(
                            f"{part} differs: seed {self.seed}, problem {self.problems}, "
                            f"{isa}, {threads} threads\n{describe(laid, options)}\n"
                            f"native    {got!r}\nreference {want!r}"
                        )
                self.cases += 1
        self.problems += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--problem", type=int, help="only the problem of this number")
    arguments = parser.parse_args()
    loop = Loop(arguments.seed)
    start = time.perf_counter()
    try:
        if arguments.problem is None:
            loop.run(arguments.cases)
        else:
            loop.problems = arguments.problem
            loop.problem()
    except Difference as difference:
        print(difference)
        return 1
    seconds = time.perf_counter() - start
    print(
        f"{loop.cases} cases of {loop.problems} problems, seed {arguments.seed}: no difference; "
        f"{seconds:.1f} s, {loop.cases / seconds:.0f} cases/s, rows {', '.join(loop.isas)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
