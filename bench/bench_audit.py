"""What the audit finds in real data with known errors, next to cleanlab on the same arrays, and the worst slices of tables.

    DQCORE_DATA=folder PYTHONPATH=build/dev python bench/bench_audit.py [--quick] [--threads N]

Asserts first that both flag the same rows, given one calibrated joint; without, they may part where two entries of the joint
have the same remainder, which we round by the lower class and cleanlab by the accidents of its sort. Times are medians of several runs, the peer's in the same run: their ratio is
what counts. Precision and recall are against the errors that are known: planted ones, human labels where a clean one is
known too, or, for the label-errors sets, the rows that people have checked, and only those.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import dqcore as dq
import numpy as np
from data import folder
from dqcore.audit.findings import worst_slices
from dqcore.audit.load import Coded
from dqcore.audit.text import slice_name
from numpy.typing import NDArray
from timing import median_seconds

warnings.filterwarnings("ignore", message="May not flag all label issues")
warnings.filterwarnings("ignore", message="pred_probs: .* not summing to 1")

TABLES = ("adult", "compas", "census_kdd")


class Case(NamedTuple):
    """A data set with known errors."""

    name: str
    labels: NDArray[np.int64]
    pred_probs: NDArray[Any]
    wrong: NDArray[np.bool_]
    checked: NDArray[np.int64] | None = None  # the rows where `wrong` is known; all
    features: NDArray[Any] | None = None


def load(name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of one file."""
    with np.load(folder() / f"{name}.npz", allow_pickle=False) as held:
        return dict(held)


def cases() -> Iterator[Case]:
    """Yield every classification set that comes with known errors."""
    for name in ("labelerrors_mnist", "labelerrors_20news"):
        d = load(name)
        wrong = np.zeros(len(d["labels"]), bool)
        wrong[d["mturk_index"]] = d["mturk_is_error"]
        yield Case(name, d["labels"], d["pred_probs"], wrong, d["mturk_index"])
    d = load("cifar10n")
    for given, probs in (
        ("random_label1", "pred_probs"),
        ("random_label1", "pred_probs_probe"),
        ("aggre_label", "pred_probs_probe"),
    ):
        labels = d[given]
        wrong = labels != d["clean_label"]
        name = f"cifar10n {given} {'probe' if 'probe' in probs else ''}".strip()
        yield Case(name, labels, d[probs], wrong, None, d["features_probe"])
    for name in ("banking77", "wordnet_15k"):
        d = load(name)
        given, probs = d["labels_injected10"], d["pred_probs_injected10"]
        yield Case(f"{name} injected", given, probs, d["injected_mask"], None, d["features"])


def same_but_for_ties(ours: NDArray[np.int64], theirs: NDArray[np.int64], case: Case) -> bool:
    """Return whether two calibrated joints differ only between entries of a row whose remainders are equal."""
    counts = dq.confident_joint(case.labels, case.pred_probs).counts.copy()
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
    rows = np.bincount(case.labels, minlength=len(counts))
    exact = counts / counts.sum(axis=1, keepdims=True) * rows[:, None]
    rest = np.round(exact - np.rint(exact), 9)
    return all(len(set(r[a != b])) <= 1 for a, b, r in zip(ours, theirs, rest, strict=True))


def told(case: Case, flagged: NDArray[np.bool_]) -> str:
    """Return how many rows are flagged, and precision and recall where errors are known."""
    rows = slice(None) if case.checked is None else case.checked
    hits = int(np.count_nonzero(flagged[rows] & case.wrong[rows]))
    told = int(np.count_nonzero(flagged[rows]))
    known = int(np.count_nonzero(case.wrong[rows]))
    among = "" if case.checked is None else f" ({told} checked)"
    return f"{np.count_nonzero(flagged):6,}{among:13} {hits / max(told, 1):.3f}  {hits / max(known, 1):.3f}"


def area(case: Case, suspicion: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: how often a wrong row is more suspect than a right one."""
    rows = slice(None) if case.checked is None else case.checked
    x, wrong = suspicion[rows], case.wrong[rows]
    ordered = np.sort(x)
    rank = (np.searchsorted(ordered, x, "left") + np.searchsorted(ordered, x, "right") + 1) / 2
    m, n = np.count_nonzero(wrong), np.count_nonzero(~wrong)
    return float((rank[wrong].sum() - m * (m + 1) / 2) / (m * n))


def classification(case: Case, repeats: int, threads: int) -> None:
    """Print what both find in one set, and how long each takes."""
    from cleanlab.count import compute_confident_joint
    from cleanlab.filter import find_label_issues

    wide = case.pred_probs.astype(np.float64)
    joint = compute_confident_joint(case.labels, wide, calibrate=True)
    np.testing.assert_array_equal(
        dq.label_issues(case.labels, case.pred_probs, joint=joint).mask,
        find_label_issues(case.labels, wide, confident_joint=joint, n_jobs=1),
    )
    own = dq.confident_joint(case.labels, case.pred_probs).calibrated()
    if not same_but_for_ties(own, joint, case):
        raise AssertionError(f"{case.name}: the calibrated joints differ")
    theirs = find_label_issues(case.labels, wide, n_jobs=1)
    ours = dq.label_issues(case.labels, case.pred_probs, threads=threads)
    differ = int(np.count_nonzero(ours.mask != theirs))
    mine = median_seconds(
        lambda: dq.label_issues(case.labels, case.pred_probs, threads=threads),
        repeats,
        warm_up=True,
    )
    peer = median_seconds(
        lambda: find_label_issues(case.labels, wide, n_jobs=1), max(1, repeats // 2), warm_up=True
    )
    n, k = case.pred_probs.shape
    print(f"\n{case.name}: {n:,} rows, {k} classes, {case.pred_probs.dtype}")
    print(f"  {'':22} rows flagged         prec.  recall    time")
    print(f"  {'cleanlab 2.9.0':22} {told(case, theirs)}  {1e3 * peer:8.1f} ms")
    print(
        f"  {'dqcore label_issues':22} {told(case, ours.mask)}  {1e3 * mine:8.1f} ms"
        f"   {peer / mine:.0f}x; {'the same rows' if not differ else f'{differ} rows differ by ties'}"
        f"; AUROC {area(case, -ours.quality):.3f}"
    )
    start = time.perf_counter()
    found = dq.audit(
        case.labels, pred_probs=case.pred_probs, features=case.features, threads=threads
    )
    whole = time.perf_counter() - start
    if case.features is not None:
        flags, score = found.issues["is_disagreement_issue"], found.issues["disagreement"]
        both = flags & ours.mask
        print(
            f"  {'dqcore, by neighbours':22} {told(case, flags)}  "
            f"{1e3 * found.provenance['seconds']['knn']:8.1f} ms   AUROC {area(case, score):.3f}"
        )
        print(f"  {'dqcore, both agree':22} {told(case, both)}")
    print(f"  {'dqcore audit, all':22} {'':33}  {1e3 * whole:8.1f} ms")


def table(name: str, repeats: int, threads: int, top: int) -> None:
    """Print the worst slices of one table."""
    d = load(name)
    ends = d["category_offsets"]
    columns = {
        str(c): Coded(str(c), d["codes"][:, j], d["category_names"][ends[j] : ends[j + 1]])
        for j, c in enumerate(d["column_names"])
    }
    found = dq.slice_errors(d["error"], columns, max_level=2, threads=threads)
    took = median_seconds(
        lambda: dq.slice_errors(d["error"], columns, max_level=2, threads=threads),
        max(1, repeats // 2),
        warm_up=True,
    )
    standing = worst_slices(found)
    print(
        f"\n{name}: {len(d['error']):,} rows, {len(columns)} columns, error {d['error'].mean():.4f}; "
        f"{len(found):,} slices of one column or two in {1e3 * took:.0f} ms, {len(standing):,} stand out"
    )
    for at in standing[:top]:
        s = found[int(at)]
        print(
            f"  {slice_name(s.predicate):72} {s.size:7,}  {s.error_rate:.3f}  "
            f"[{s.low:.3f}, {s.high:.3f}]  {s.lift:4.1f}x"
        )


def main() -> None:
    """Print the table of every set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="time each once")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--top", type=int, default=5)
    args = parser.parse_args()
    repeats = 1 if args.quick else 5
    for case in cases():
        classification(case, repeats, args.threads)
    for name in TABLES:
        table(name, repeats, args.threads, args.top)


if __name__ == "__main__":
    main()
