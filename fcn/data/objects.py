"""Objects in a label map: connected regions of one class, 8 neighbours, found from runs of rows without any loop over pixels."""

import numpy as np
from torch import Tensor


def region_sizes(labels: Tensor, void: int) -> dict[int, np.ndarray]:
    """The pixels of every connected region, int64, by class; void has none. labels: integers ``(H, W)``."""
    grid = labels.numpy()
    height, width = grid.shape
    begins = np.ones((height, width), bool)
    begins[:, 1:] = grid[:, 1:] != grid[:, :-1]
    rows, starts = np.nonzero(begins)  # of the runs, row by row
    ends = np.append(starts[1:], 0)
    ends[np.append(rows[1:] != rows[:-1], True)] = width  # exclusive; the last run of a row ends with it
    classes = grid[rows, starts]
    above, below = _touching(rows, starts, ends, width)
    same = classes[above] == classes[below]
    roots = _roots(len(rows), above[same], below[same])
    sizes = np.bincount(roots, ends - starts, len(rows)).astype(np.int64)
    kept = np.flatnonzero(sizes)
    return {int(index): sizes[kept[classes[kept] == index]] for index in np.unique(classes[kept]) if index != void}


def _touching(rows: np.ndarray, starts: np.ndarray, ends: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of runs in neighbouring rows that touch, a corner included."""
    place = rows * (width + 2)  # so that a row's columns, one beyond on each side included, meet no other row's
    next_place = place + width + 2
    first = np.searchsorted(place + ends, next_place + starts, side="left")
    last = np.searchsorted(place + starts, next_place + ends, side="right")
    in_next = np.searchsorted(rows, rows + 1, side="left"), np.searchsorted(rows, rows + 1, side="right")
    first, last = first.clip(*in_next), last.clip(*in_next)
    counts = (last - first).clip(min=0)
    above = np.repeat(np.arange(len(rows)), counts)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return above, np.repeat(first, counts) + offsets


def _roots(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For each of ``count`` nodes the smallest that it is connected with by the given edges."""
    roots = np.arange(count)
    while True:
        low = np.minimum(roots[one], roots[other])
        before = roots.copy()
        np.minimum.at(roots, before[one], low)
        np.minimum.at(roots, before[other], low)
        while not np.array_equal(jumped := roots[roots], roots):
            roots = jumped
        if np.array_equal(before, roots):
            return roots
