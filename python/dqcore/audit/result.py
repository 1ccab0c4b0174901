"""The result of an audit: what it holds, how it is ranked, shown, saved and loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check, _html
from .. import neighbours as rooms
from ..qa import SliceVerdict, slice_verdict
from ..similar import SimilarRows, check_rows, find_similar
from . import balance, copies, findings, text
from . import summary as lines

if TYPE_CHECKING:
    import pyarrow

    from ..consistent import ConsistentNoise
    from ..joint_results import ConfidentJoint
    from ..knn import KnnDisagreement, KnnGraph
    from ..slices import Slice, SliceTable
    from .labels import NoiseIntervals
    from .projection import Projection


class Ranking(NamedTuple):
    """What rows can be ranked by: the argument it needs, and fields of `issues` with a sign, the first first."""

    needs: str
    keys: tuple[tuple[str, int], ...]


RANKINGS = {
    "label": Ranking("pred_probs", (("label_quality", 1),)),
    "disagreement": Ranking("features", (("disagreement", -1), ("disagreement_margin", -1))),
    "outlier": Ranking("features", (("outlier_score", 1),)),
    "near_duplicate": Ranking("features", (("near_duplicate_score", 1),)),
}


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes
    ----------
    issues : (n,) structured array
        One row for each example. `row`; `given`, the label as it is; `suggested`, the label that the
        probabilities (else the neighbours) favour; `split`, the number of its part of the data;
        `is_label_issue`, `label_quality` in [0, 1] (higher is better), `label_suggested`;
        `is_disagreement_issue` (more than half of the neighbours' votes go to other labels and another label
        has most), `disagreement` in [0, 1], `disagreement_margin`, `disagreement_suggested`;
        `is_outlier_issue`, `outlier_score` as of `outliers`; `is_near_duplicate_issue`,
        `near_duplicate_score`, `near_duplicate_group` as of `near_duplicates`; `duplicate_group`, the group
        of copies (distance 0), and `is_conflicting_duplicate_issue` where that has more than one label;
        `is_split_leak_issue` where the near-duplicate group lies in more than one part. False, NaN and -1
        where the evidence was not given.
    class_names : tuple of str
        Name of each class.
    class_counts : (n_classes,) int64
        Rows of each class, as labelled.
    joint : ConfidentJoint or None
        Counts of given against true labels; None without `pred_probs`.
    consistent : ConsistentNoise or None
        Pairs of classes that the labels mix up one way; None without `pred_probs`.
    intervals : NoiseIntervals or None
        How far the draw of the rows moves the noise, by a bootstrap; None without `pred_probs` or replicates.
    graph : KnnGraph or None
        Nearest neighbours of each row; None without `features`.
    disagreement : KnnDisagreement or None
        Disagreement of each row's neighbours; None without `features`.
    slices : SliceTable or None
        Every slice with its errors, in the order of SliceTable; None without `columns` or `split`.
        `worst_slices` gives those that stand out.
    split_names : tuple of str or None
        Name of each part of the data; None without `split`.
    projection : Projection or None
        Where a sample of the rows lies on a flat map of the features; None without `features`.
    provenance : dict
        When, with what and on what it was made. Not the same from run to run; everything else is.
    """

    issues: NDArray[np.void]
    class_names: tuple[str, ...]
    class_counts: NDArray[np.int64]
    joint: ConfidentJoint | None = None
    consistent: ConsistentNoise | None = None
    intervals: NoiseIntervals | None = None
    graph: KnnGraph | None = None
    disagreement: KnnDisagreement | None = None
    slices: SliceTable | None = None
    split_names: tuple[str, ...] | None = None
    projection: Projection | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.issues)

    def __repr__(self) -> str:
        """Return the summary, in a few lines."""
        return text.short(self)

    def __str__(self) -> str:
        """Return the findings as text for a terminal."""
        return text.report(self)

    @cached_property
    def noise(self) -> findings.NoiseRate | None:
        """The estimated share of wrong labels, with its interval; None without `pred_probs`."""
        return None if self.joint is None else findings.noise_rate(self.joint, self.intervals)

    @cached_property
    def summary(self) -> tuple[lines.SummaryRow, ...]:
        """A line for each kind of issue looked for: (issue, rows, share, verdict)."""
        return lines.summary(self)

    @cached_property
    def confusions(self) -> tuple[findings.Confusion, ...]:
        """Pairs (given, suggested) among the rows flagged, the most frequent first, with shares and direction."""
        flag = findings.main_flag(self.joint is not None)
        return findings.confusions(self.issues, flag, self.class_counts)

    @cached_property
    def balance(self) -> balance.ClassBalance:
        """How evenly the rows are divided among the classes."""
        return balance.class_balance(self.class_counts)

    @cached_property
    def outliers(self) -> rooms.Outliers | None:
        """Rows far from all others; None without `features`."""
        return None if self.graph is None else rooms.outliers(self.graph)

    @cached_property
    def near_duplicates(self) -> rooms.NearDuplicates | None:
        """Groups of rows that are nearly the same; None without `features`."""
        return None if self.graph is None else rooms.near_duplicates(self.graph)

    @cached_property
    def conflicts(self) -> copies.Conflicts | None:
        """Groups of copies with more than one label; None without `features`."""
        return None if self.graph is None else copies.conflicts(self.issues)

    @cached_property
    def leaks(self) -> copies.Leaks | None:
        """Near-duplicates in more than one part of the data; None without `features` and `split`."""
        if self.graph is None or self.split_names is None:
            return None
        return copies.leaks(self.issues, len(self.split_names))

    def top(self, n: int = 20, by: str | None = None) -> NDArray[np.void]:
        """Return the rows of `issues` to look at first.

        Parameters
        ----------
        n : int
            At most this many; only rows that are flagged are given.
        by : {"label", "disagreement", "outlier", "near_duplicate"}, optional
            "label": lowest label quality first. "disagreement": highest disagreement, then highest margin,
            first. "outlier": farthest first. "near_duplicate": nearest first. Ties go to the lower row. Left
            out: "label" where there were `pred_probs`, else "disagreement".

        Raises
        ------
        ValueError
            Where `by` is unknown, or names evidence that was not given.
        """
        n = _check.integer("n", n, 0)
        by = self._ranking() if by is None else _check.choice("by", by, tuple(RANKINGS))
        ranking = RANKINGS[by]
        if (self.joint if ranking.needs == "pred_probs" else self.graph) is None:
            raise ValueError(f"by={by!r} needs an audit with {ranking.needs}")
        found = self.issues[self.issues[f"is_{by}_issue"]]
        order = np.lexsort([sign * found[name] for name, sign in reversed(ranking.keys)])
        result: NDArray[np.void] = found[order[:n]]
        return result

    def more_like(
        self, rows: ArrayLike, n: int = 20, *, true_labels: ArrayLike | None = None
    ) -> SimilarRows:
        """Return the rows most like some that are confirmed wrong: more of the same mistake; see `find_similar`.

        Parameters
        ----------
        rows : (m,) array_like of int
            Rows confirmed to have a wrong label.
        n : int
            At most this many.
        true_labels : (m,) array_like of int or str, optional
            What they truly are, numbers or names of classes. Left out: what `issues` suggests.

        Raises
        ------
        TypeError, ValueError
            As `find_similar`; also without `features`, and where for one of `rows` its own label is suggested.
        """
        if self.graph is None:
            raise ValueError("more_like needs an audit with features")
        given = self.issues["given"]
        confirmed = check_rows(rows, given)
        if true_labels is None:
            truth = self.issues["suggested"][confirmed]
            own = truth == given[confirmed]
            if own.any():
                row = confirmed[np.argmax(own)]
                raise ValueError(
                    f"true_labels must be given: of row {row} nothing but its own label is suggested"
                )
        else:
            one = isinstance(true_labels, int | np.integer | str)
            listed = [true_labels] * len(confirmed) if one else true_labels
            truth, _ = _check.encode_labels("true_labels", listed, self.class_names)
        names = ("label_suggested", "label_quality") if self.joint is not None else ()
        evidence = {name.removeprefix("label_"): self.issues[name] for name in names}
        return find_similar(confirmed, given, self.graph, true_labels=truth, n=n, **evidence)

    def worst_slices(self, n: int = 20) -> list[Slice]:
        """Return the slices that stand out from the rest of the rows (q <= 0.05), highest lower end first.

        Slices with less than a thousandth of the rows are left out; `slices` has them.

        Parameters
        ----------
        n : int
            At most this many.
        """
        n = _check.integer("n", n, 0)
        if self.slices is None:
            return []
        return [self.slices[int(i)] for i in findings.worst_slices(self.slices)[:n]]

    @cached_property
    def slice_verdict(self) -> SliceVerdict | None:
        """Whether the whole and each slice keep the level agreed (`sla` of `audit`) in rows without a flag; None without slices."""
        if self.slices is None:
            return None
        level = self.provenance.get("parameters", {}).get("sla", findings.SLA)
        return slice_verdict(self.slices, level, confidence=findings.CONFIDENCE)

    def _ranking(self) -> str:
        return "disagreement" if self.joint is None else "label"

    def to_json(self) -> str:
        """Return the report as JSON; docs/report.md describes it. NaN becomes null."""
        from . import report

        return report.to_json(self)

    def _repr_html_(self) -> str:
        """Return the summary as a table, for notebooks."""
        return _html.table(
            ("issue", "rows", "share", "verdict"),
            [(s.issue, f"{s.rows:,}", text.share(s.share), s.verdict) for s in self.summary],
            text.sizes(self),
        )

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one HTML page that stands alone: no script, nothing from outside.

        A file that is there is replaced in one step.

        Raises
        ------
        ImportError
            Where Jinja2 or matplotlib is not installed, which the extra `audit` brings.
        OSError
            Where writing fails; an old file is as it was.
        """
        from . import html
        from .save import write_file

        place = _check.path("path", path)
        write_file(place, html.page(self).encode())

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        parquet: bool | None = None,
        page: bool | None = None,
    ) -> None:
        """Write report.html, report.json, the findings of each row and the arrays, whole or not at all.

        A result that already lies there is replaced in one step; at no time, not even when the process is
        killed or the disk is full, is there a mixture. Parent folders are made.

        Parameters
        ----------
        folder : str or path
            Where to; docs/report.md tells what it then holds.
        parquet : bool, optional
            Whether findings.parquet is written beside findings.csv. Left out: where pyarrow is installed; else a
            warning and report.json say that it is not there.
        page : bool, optional
            Whether report.html is written. Left out: where Jinja2 and matplotlib are installed; else a warning and
            report.json say that it is not there.

        Raises
        ------
        FileExistsError
            Where `folder` holds anything else than a result of dqcore, which is left alone.
        OSError
            Where writing fails; the old result is as it was.
        ImportError
            Where `parquet` or `page` is True and what it needs is not installed.
        """
        from . import store

        wanted = None if parquet is None else _check.flag("parquet", parquet)
        with_page = None if page is None else _check.flag("page", page)
        store.save(self, _check.path("folder", folder), wanted, with_page)

    def to_arrow(self) -> pyarrow.Table:
        """Return the findings of each row as an Arrow table: `issues` with names, null where there is no evidence.

        Raises
        ------
        ImportError
            Where pyarrow is not installed.
        """
        from . import table

        return table.to_arrow(self)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Audit:
        """Return the audit saved in `folder`. No pickle is ever read.

        Raises
        ------
        CorruptFileError
            Where a file is damaged, or not of this kind or version.
        OSError
            Where a file cannot be read.
        """
        from . import store

        return store.load(_check.path("folder", folder))
