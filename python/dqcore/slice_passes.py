"""Slices within a memory limit: passes over blocks of rows, with the bits of one call on them all.

The first pass sees which categories there are, the last counts; each worker counts into tables of its own, in place. What
the tables take is planned beforehand, but for crossings of which only the cells that occur are held: these are watched.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from . import _backend, _check
from ._slice_counts import (
    Product,
    check_weighted,
    confidence_level,
    error_unit,
    least_rows,
    loss_bound,
    most_level,
    table,
    unit_of_weights,
    weighted_counts,
)
from .passes import Passes
from .reference.slices import SliceCounts
from .slice_rows import Category, Rows, native
from .slice_table import SliceTable

_LEAST_HASH_BYTES = 1 << 20  # of a worker's tables that grow, or one worker has all
_MOST_PACKED_ROWS = 2**32 - 1  # that a table of 0/1 counts holds as such


class _NoRoom(Exception):
    """Tables have grown beyond what there is for them."""


def slice_errors(
    module: ModuleType,
    errors: object,
    columns: object,
    limit: int,
    *,
    max_level: object,
    min_support: object,
    confidence: object,
    max_abs_error: object,
    weights: object,
    missing: object,
    threads: object,
    progress: object,
) -> SliceTable:
    """Return what `slices.slice_errors` does, within `limit` bytes."""
    if not hasattr(module, "SliceState"):
        raise ValueError("memory_limit needs backend='cpu'")
    as_category = _check.choice("missing", missing, ("leave_out", "category")) == "category"
    most, level_of_confidence = loss_bound(max_abs_error), confidence_level(confidence)
    count, tell = _check.run_options(threads, progress)
    data = Rows(module, errors, columns, weights, limit, _backend.load("cpu").threads(count), tell)
    categories, largest, heaviest = data.survey(most, as_category)
    encoded = [category.column for category in categories]
    n = len(data.rows)
    counting = _Counting(
        data,
        categories,
        most_level(max_level, [c.name for c in encoded], [c.n_categories for c in encoded]),
        least_rows(min_support, n),
    )
    exponent = error_unit(largest, most)
    if heaviest is None:
        counts = counting.of(lambda e, _: e, exponent)
    else:
        check_weighted(largest, most)
        counts = weighted_counts(counting.of, exponent, unit_of_weights(heaviest))
    return table(
        counts,
        encoded,
        level_of_confidence,
        largest if most is None else most,
        heaviest is not None,
    )


class _Counting:
    """The passes that count."""

    def __init__(self, data: Rows, categories: list[Category], level: int, support: int) -> None:
        self.data, self.categories, self.level, self.support = data, categories, level, support

    def of(self, product: Product, exponent: int) -> SliceCounts:
        """Return the counts of what `product` makes of errors and weights."""
        data, most = self.data, self.data.threads
        losses = (
            data.weights is not None
            or data.parts[0].dtype.kind == "f"
            or len(data.rows) > _MOST_PACKED_ROWS
        )
        while True:
            make, workers, each, room = self._plan(exponent, losses, most)
            passes = Passes(
                data.rows, data.limit, workers, data.progress, fixed=data.fixed, each=each
            )
            try:
                states = passes.over("slices", make, self._count(product, room))
                break
            except _NoRoom as full:
                full.__traceback__ = None  # whose frames would hold the states
                if workers == 1:
                    raise ValueError(
                        f"memory_limit has no room for the crossings of columns that occur: {room} bytes for their "
                        f"counts do not do; give more than {data.limit}, or a lower max_level"
                    ) from None
                most = 1  # to which all of the room is left
        total = states.pop()
        while states:
            total.merge(states.pop())
        spare = data.limit - data.fixed - data.rows._held_bytes() - total.held_bytes
        return SliceCounts(*total.finish(self.support, max(spare, 0)))

    def _count(self, product: Product, room: int) -> Callable[..., None]:
        data, weighted = self.data, self.data.weights

        def count(state: Any, _: int, __: int, blocks: Any) -> None:  # noqa: ANN401
            errors = native(blocks[0])
            kind = errors.dtype.kind
            if kind == "f":
                errors = errors.astype(np.float64, copy=False)
            else:
                errors = errors.view(np.uint8) if kind == "b" else errors.astype(np.uint8)
            values = product(errors, errors if weighted is None else blocks[weighted])
            codes = [
                category.codes(column.of(blocks))
                for category, column in zip(self.categories, data.columns, strict=True)
            ]
            if not state.add(values, codes, most_bytes=room):
                raise _NoRoom

        return count

    def _plan(
        self, exponent: int, losses: bool, most: int
    ) -> tuple[Callable[[], Any], int, int, int]:
        """Return what makes a worker's state, how many workers, what each holds, and what its tables may grow to."""
        data = self.data
        left = data.limit - data.fixed - data.rows._held_bytes()
        room = 3 * left // 4  # the rest is for blocks
        sizes = [category.column.n_categories for category in self.categories]
        cell = 56 if losses else 8

        # Wide tables count faster, narrow ones hold less; last, some are held by the cells that occur.
        for cells in ({}, {"wide_cells": 1}, {"wide_cells": 1, "all_cells": room // 2 // cell + 1}):

            def make(cells: dict[str, int] = cells) -> Any:  # noqa: ANN401
                return data.module.SliceState(
                    sizes, max_level=self.level, error_exponent=exponent, description="", **cells
                )

            one = make()
            dense = one.dense_bytes(losses) + data.scratch
            if dense <= room // 2 + cell + data.scratch:
                break
        if one.hash_tables == 0:
            return make, max(1, min(most, room // dense)), dense, room
        # Each may be merged to one that has the cells of all, and grows meanwhile.
        for workers in range(most, 1, -1):
            grown = (room - workers * dense) // (4 * workers)
            if grown >= _LEAST_HASH_BYTES:
                return make, workers, dense + 4 * grown, grown
        return make, 1, room, room - dense
