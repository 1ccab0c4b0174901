"""Copies that contradict each other, and near-duplicates in more than one part of the data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Conflicts(NamedTuple):
    """Groups of copies (distance 0) with more than one label.

    `least_wrong` is the number of rows that do not have their group's most frequent label: at least so many labels are
    wrong, if copies must have the same.
    """

    groups: int
    rows: int
    least_wrong: int


class Leaks(NamedTuple):
    """Groups of near-duplicates with rows in more than one part of the data.

    `parts` are the rows in such groups, by the number of the part; `copies` is how many of the groups hold copies
    (distance 0) in different parts.
    """

    groups: int
    rows: int
    parts: tuple[int, ...]
    copies: int


def conflicting(group: NDArray[np.int64], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which rows are in a group with more than one label; a label below 0 does not count."""
    counted = (group >= 0) & (labels >= 0)
    n_groups = int(group.max(initial=-1)) + 1
    low = np.full(n_groups, np.iinfo(np.int64).max)
    high = np.full(n_groups, -1, np.int64)
    np.minimum.at(low, group[counted], labels[counted].astype(np.int64))
    np.maximum.at(high, group[counted], labels[counted].astype(np.int64))
    mixed = np.append(high > low, False)  # the last for rows in no group
    result: NDArray[np.bool_] = mixed[group] & counted
    return result


def conflicts(issues: NDArray[np.void]) -> Conflicts:
    """Return what the copies among the rows contradict each other about."""
    found = issues[issues["is_conflicting_duplicate_issue"]]
    groups, place = np.unique(found["duplicate_group"], return_inverse=True)
    labels = found["given"].astype(np.int64)
    width = int(labels.max(initial=0)) + 1
    cells, rows = np.unique(place * width + labels, return_counts=True)
    most = np.zeros(len(groups), np.int64)
    np.maximum.at(most, cells // width, rows)
    return Conflicts(len(groups), len(found), len(found) - int(most.sum()))


def leaks(issues: NDArray[np.void], n_parts: int) -> Leaks:
    """Return the near-duplicates that lie in more than one part of the data."""
    found = issues[issues["is_split_leak_issue"]]
    copies = conflicting(found["duplicate_group"], found["split"])
    return Leaks(
        len(np.unique(found["near_duplicate_group"])),
        len(found),
        tuple(np.bincount(found["split"], minlength=n_parts).tolist()),
        len(np.unique(found["near_duplicate_group"][copies])),
    )


def largest_groups(
    issues: NDArray[np.void], flag: str, field: str, most: int
) -> list[NDArray[np.void]]:
    """Return the rows of each group in `field` among the rows with `flag`: the largest first, then by lowest row."""
    found = issues[issues[flag]]
    order = np.argsort(found[field], kind="stable")
    _, starts, sizes = np.unique(found[field][order], return_index=True, return_counts=True)
    chosen = np.argsort(-sizes, kind="stable")[:most]
    pairs = zip(starts[chosen].tolist(), sizes[chosen].tolist(), strict=True)
    return [found[order[start : start + size]] for start, size in pairs]
