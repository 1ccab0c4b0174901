"""What is told of groups: rates from whole numbers, their intervals, and how far groups lie apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _check, _html, _stats
from ._columns import Category
from .slice_table import _describe, _shortened, _text_table

if TYPE_CHECKING:
    import pandas

METHODS = ("between_groups", "to_overall")
_REPR_ROWS = 10
_MOST_PAIRED = 512  # groups whose pairs are all looked at

Predicate = tuple[tuple[str, Category | None], ...]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Gap(NamedTuple):
    """How far the groups of one crossing of columns lie apart in one rate.

    `lowest` and `highest` have the rates that lie farthest apart. `low` to `high` holds how far the farthest two truly
    do, at the table's confidence for all pairs of groups together: `low` is that of the two groups that are most surely
    apart, which need not be those named, where these are small. Where it is 0 every gap may be chance.
    """

    columns: tuple[str, ...]
    metric: str
    difference: float
    low: float
    high: float
    ratio: float
    lowest: Predicate
    highest: Predicate


def rate_intervals(hits: Ints, support: Ints, confidence: float) -> tuple[Floats, Floats, Floats]:
    """Return rates and Wilson's intervals; of no rows NaN and [0, 1]: nothing is known."""
    known = support > 0
    size = np.where(known, support, 1)
    rate = np.where(known, hits / size, np.nan)
    low, high = _stats.wilson_interval(np.where(known, hits, 0), size, confidence)
    return rate, np.where(known, low, 0.0), np.where(known, high, 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class GroupMetrics:
    """Metrics of the whole and of each group, with their intervals.

    Groups go by number of columns, then columns, then categories. A rate of no rows (the recall of a group without
    positive rows) is NaN, its interval 0 to 1, and comparisons leave it out.

    Attributes
    ----------
    metrics : tuple of str
        "error", "accuracy"; with a positive class "precision", "recall", "false_positive_rate",
        "false_negative_rate", "selection_rate"; with probabilities "ece", "brier".
    size : (n_groups,) int64
        Rows in the group.
    n : int
        Rows of the whole set.
    positive : int, str or None
        The class that counts as positive.
    column_names : tuple of str
    confidence : float
        Of each interval, by itself.
    """

    metrics: tuple[str, ...]
    size: Ints
    n: int
    positive: int | str | None
    column_names: tuple[str, ...]
    confidence: float
    # The first entry of a row is the whole set's; rates come first among the metrics.
    _hits: Ints = field(repr=False)
    _support: Ints = field(repr=False)
    _values: Floats = field(repr=False)
    _low: Floats = field(repr=False)
    _high: Floats = field(repr=False)
    _predicate_columns: NDArray[np.int32] = field(repr=False)
    _predicate_codes: NDArray[np.int32] = field(repr=False)
    _categories: tuple[tuple[Category | None, ...] | None, ...] = field(repr=False)

    @cached_property
    def predicates(self) -> tuple[Predicate, ...]:
        """For each group its (column, value) pairs, in the order of the columns."""
        rows = zip(self._predicate_columns.tolist(), self._predicate_codes.tolist(), strict=True)
        names, values = self.column_names, self._categories
        return tuple(
            tuple(
                (names[c], code if (known := values[c]) is None else known[code])
                for c, code in zip(columns, codes, strict=True)
                if c >= 0
            )
            for columns, codes in rows
        )

    @property
    def by_group(self) -> dict[str, Floats]:
        """(n_groups,) values of each metric."""
        return self._by_name(self._values[:, 1:])

    @property
    def low(self) -> dict[str, Floats]:
        """(n_groups,) lower ends of each metric's intervals."""
        return self._by_name(self._low[:, 1:])

    @property
    def high(self) -> dict[str, Floats]:
        """(n_groups,) upper ends of each metric's intervals."""
        return self._by_name(self._high[:, 1:])

    @property
    def support(self) -> dict[str, Ints]:
        """(n_groups,) rows that each metric is a share or mean of, such as the positive rows for recall."""
        return dict(zip(self.metrics, self._support[:, 1:], strict=True))

    @property
    def overall(self) -> dict[str, float]:
        """Value of each metric over all rows."""
        return self._of_whole(self._values)

    @property
    def overall_low(self) -> dict[str, float]:
        """Lower end of each metric's interval over all rows."""
        return self._of_whole(self._low)

    @property
    def overall_high(self) -> dict[str, float]:
        """Upper end of each metric's interval over all rows."""
        return self._of_whole(self._high)

    def _by_name(self, values: Floats) -> dict[str, Floats]:
        return dict(zip(self.metrics, values, strict=True))

    def _of_whole(self, values: Floats) -> dict[str, float]:
        return dict(zip(self.metrics, values[:, 0].tolist(), strict=True))

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.size)

    # ---- comparisons, in the words of fairlearn's MetricFrame --------------------------------------

    def difference(
        self, names: str | Sequence[str] | None = None, *, method: str = "between_groups"
    ) -> dict[str, float]:
        """Return for each metric how far the groups of some columns lie apart.

        Parameters
        ----------
        names : str or sequence of str, optional
            The column, or the columns crossed, whose groups are compared. May be left out where there is one only.
        method : {"between_groups", "to_overall"}
            The largest less the smallest, or the largest distance from the whole set's.

        Raises
        ------
        ValueError
            `names` are not among those of the table, or left out where there is a choice.
        """
        values, whole = self._of_columns(names), self._values[:, 0]
        if _check.choice("method", method, METHODS) == "to_overall":
            found = _most(np.abs(values - whole[:, None]))
        else:
            found = _most(values) + _most(-values)
        return dict(zip(self.metrics, found.tolist(), strict=True))

    def ratio(
        self, names: str | Sequence[str] | None = None, *, method: str = "between_groups"
    ) -> dict[str, float]:
        """Return for each metric the smallest over the largest; or, "to_overall", the least ratio to the whole's.

        A ratio to the whole's is taken the way round that is at most 1. Parameters and errors as `difference`.
        """
        values, whole = self._of_columns(names), self._values[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            if _check.choice("method", method, METHODS) == "to_overall":
                to_whole = values / whole[:, None]
                found = -_most(-np.minimum(to_whole, 1.0 / to_whole))
            else:
                found = -_most(-values) / _most(values)
        return dict(zip(self.metrics, found.tolist(), strict=True))

    def parity(self, names: str | Sequence[str] | None = None) -> dict[str, float]:
        """Return the gaps that fairness is told by, with the names of fairlearn's metrics.

        Demographic parity compares selection rates; equal opportunity compares recall; equalized odds is the worse of
        recall and false positive rate. A difference of 0, or a ratio of 1, is parity.

        Raises
        ------
        ValueError
            As `difference`; also where there is no positive class.
        """
        if self.positive is None:
            raise ValueError("parity needs a positive class; pass positive= to group_metrics")
        apart, ratio = self.difference(names), self.ratio(names)
        odds = ("recall", "false_positive_rate")
        return {
            "demographic_parity_difference": apart["selection_rate"],
            "demographic_parity_ratio": ratio["selection_rate"],
            "equal_opportunity_difference": apart["recall"],
            "equal_opportunity_ratio": ratio["recall"],
            "equalized_odds_difference": float(_most(np.array([[apart[m] for m in odds]]))[0]),
            "equalized_odds_ratio": -float(_most(np.array([[-ratio[m] for m in odds]]))[0]),
        }

    def gaps(self) -> tuple[Gap, ...]:
        """Return for each crossing of columns and each rate the two groups that lie farthest apart.

        The interval is of Newcombe's, from the groups' Wilson intervals at a confidence shared among all pairs of
        groups (Bonferroni). Source: Newcombe (1998), "Interval estimation for the difference between independent
        proportions", method 10.
        """
        return tuple(
            gap
            for columns, groups in self._crossings()
            for metric in range(len(self._hits))
            if (gap := self._gap(columns, groups, metric)) is not None
        )

    def _gap(self, columns: tuple[str, ...], groups: NDArray[np.intp], metric: int) -> Gap | None:
        known = groups[self._support[metric, 1 + groups] > 0]
        pairs = math.comb(len(known), 2)
        if not pairs:
            return None
        hits, support = self._hits[metric, 1 + known], self._support[metric, 1 + known]
        confidence = 1.0 - (1.0 - self.confidence) / pairs
        rate, low, high = rate_intervals(hits, support, confidence)
        a, b = int(np.argmin(rate)), int(np.argmax(rate))
        least, most = _farthest(rate, low, high)
        return Gap(
            columns,
            self.metrics[metric],
            float(rate[b] - rate[a]),
            least,
            most,
            float(rate[a] / rate[b]) if rate[b] > 0.0 else math.nan,
            self.predicates[known[a]],
            self.predicates[known[b]],
        )

    def _crossings(self) -> list[tuple[tuple[str, ...], NDArray[np.intp]]]:
        """Return the columns of each crossing and the places of its groups."""
        if not len(self):
            return []
        starts = np.flatnonzero((np.diff(self._predicate_columns, axis=0) != 0).any(axis=1)) + 1
        return [
            (
                tuple(self.column_names[c] for c in self._predicate_columns[part[0]] if c >= 0),
                part,
            )
            for part in np.split(np.arange(len(self)), starts)
        ]

    def _of_columns(self, names: object) -> Floats:
        """Return the values of each metric (rows) in the groups of one crossing."""
        crossings = dict(self._crossings())
        known = [" & ".join(columns) for columns in crossings]
        if names is None:
            if len(crossings) != 1:
                raise ValueError(f"names must be given, one of {known}")
            (groups,) = crossings.values()
            return self._values[:, 1 + groups]
        wanted = names if isinstance(names, list | tuple) else (names,)
        if all(isinstance(name, str) for name in wanted):
            crossing = tuple(name for name in self.column_names if name in wanted)
            if len(crossing) == len(wanted) and crossing in crossings:
                return self._values[:, 1 + crossings[crossing]]
        raise ValueError(f"names must be one of {known}, got {_check.shown(names)}")

    # ---- how it is shown ---------------------------------------------------------------------------

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame: `slice` as text, `predicates`, `size`, and each metric, its `_low` and `_high`."""
        import pandas

        text = [" & ".join(f"{name}={value}" for name, value in p) for p in self.predicates]
        frame: dict[str, Any] = {"slice": text, "size": self.size}
        for name, value in self.by_group.items():
            frame |= {name: value, f"{name}_low": self.low[name], f"{name}_high": self.high[name]}
        result = pandas.DataFrame(frame)
        result.insert(1, "predicates", pandas.Series(list(self.predicates), dtype=object))
        return result

    def _cells(self) -> list[tuple[str, ...]]:
        rows = [("all rows", self.n, self._values[:, 0])]
        shown = zip(self.predicates[:_REPR_ROWS], self.size, self._values[:, 1:].T, strict=False)
        rows += [(_shortened(_describe(p)), size, values) for p, size, values in shown]
        return [
            ("slice", "size", *self.metrics),
            *((name, str(size), *(f"{v:.4g}" for v in values)) for name, size, values in rows),
        ]

    def _title(self) -> str:
        return f"GroupMetrics of {len(self)} groups, {self.n} rows"

    def __repr__(self) -> str:
        """Return the first groups as a text table."""
        cells = self._cells()
        return _text_table(self._title(), cells, len(self) + 2 - len(cells))

    def _repr_html_(self) -> str:
        """Return the first groups as a table, for notebooks."""
        header, *rows = self._cells()
        return _html.table(header, rows, self._title())


def _farthest(rate: Floats, low: Floats, high: Floats) -> tuple[float, float]:
    """Return the ends of Newcombe's intervals for how far any two groups lie apart, the largest of each.

    Of very many groups only those that begin highest and end lowest are paired for the lower end, which loses nothing
    but width; the upper one is then that of any two intervals.
    """
    if len(rate) > _MOST_PAIRED:
        upper = float(high.max() - low.min())
        some = np.union1d(
            np.argsort(-low, kind="stable")[: _MOST_PAIRED // 2],
            np.argsort(high, kind="stable")[: _MOST_PAIRED // 2],
        )
        return _farthest(rate[some], low[some], high[some])[0], min(1.0, upper)
    apart = rate[:, None] - rate[None, :]
    least = apart - np.hypot((rate - low)[:, None], (high - rate)[None, :])
    most = apart + np.hypot((high - rate)[:, None], (rate - low)[None, :])
    return max(0.0, float(least.max())), min(1.0, float(most.max()))


def _most(values: Floats) -> Floats:
    """Return the largest of each row that is not NaN; NaN where there is none."""
    largest = np.where(np.isnan(values), -np.inf, values).max(axis=1, initial=-np.inf)
    return np.where(np.isnan(values).all(axis=1), np.nan, largest)
