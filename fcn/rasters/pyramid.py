"""Rows of a map, and of its copies of half, a quarter, ... of the size, cut into rows of tiles while they come from the top."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]


def sizes(height: int, width: int, tile: int) -> list[tuple[int, int]]:
    """(height, width) of the map and of each reduced copy, down to the first that one tile holds."""
    found = [(height, width)]
    while max(found[-1]) > tile:
        found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
    return found


def tile_rows(bands: Iterable[Rows], height: int, tile: int, levels: int, halve: Callable[[Rows], Rows]) -> Iterator[tuple[int, int, Rows]]:
    """Yields (level, row of tiles, rows (up to ``tile``, width of the level)), those of each level in order.

    bands: the rows of the map from the top to the bottom, ``height`` in all, in bands of ``tile`` rows, an even number; the last may be
    lower. levels: number of sizes, the map's own among them. halve: makes rows of half the size of an even number of rows, or of the last.
    """
    waiting: list[list[Rows]] = [[] for _ in range(levels)]
    count = [0] * levels

    def come(level: int, rows: Rows, last: bool) -> Iterator[tuple[int, int, Rows]]:
        waiting[level].append(rows)
        if sum(map(len, waiting[level])) < tile and not last:
            return
        whole = waiting[level][0] if len(waiting[level]) == 1 else np.concatenate(waiting[level])
        waiting[level] = []
        yield level, count[level], whole
        count[level] += 1
        if level + 1 < levels:
            yield from come(level + 1, halve(whole), last)

    row = 0
    for band in bands:
        row += len(band)
        yield from come(0, band, row == height)


def halved_labels(rows: Rows) -> Rows:
    """Of each four pixels the label that most of them have; of several such labels the first."""
    a, b, c, d = _quarters(rows)
    other = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
    return np.where((a == b) | (a == c) | (a == d), a, other)


def halved_values(rows: Rows) -> Rows:
    """The mean of each four values, rounded."""
    a, b, c, d = (quarter.astype(np.uint32) for quarter in _quarters(rows))
    return ((a + b + c + d + 2) // 4).astype(rows.dtype)


def _quarters(rows: Rows) -> list[Rows]:
    """The four pixels of each cell; a last row or column that is alone counts twice."""
    if len(rows) % 2 or rows.shape[1] % 2:
        rows = np.pad(rows, ((0, len(rows) % 2), (0, rows.shape[1] % 2)), mode="edge")
    return [rows[y::2, x::2] for y in (0, 1) for x in (0, 1)]
