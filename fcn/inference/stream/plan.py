"""Which rows of every operation are computed when: the schedule of a stream, made before it starts.

The image enters ``band`` rows at a time. At each step an operation computes the rows that can be known by then, each of them once, and
holds them exactly as long as somebody will still read them. Two things are weighed:

- a block of few bytes is not worth a call, so that deep layers, whose rows are few and short, wait until a block has ``BLOCK`` bytes (for
  ``WAIT`` bands at most), while shallow ones go on in blocks that fit a cache;
- what holds more bytes than what it is made of (an up-sampled map that waits for a slower branch) is computed as late as it can be.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from fcn.geometry.axis import AxisMap
from fcn.inference.stream.program import Operation

Counts = NDArray[np.int64]
Interval = tuple[int, int]

BLOCK = 2**21  # bytes
WAIT = 4  # bands
FLOAT = 4  # bytes of a number


@dataclass(frozen=True)
class Schedule:
    """For each operation, after 0, 1, 2, ... steps: how many rows are computed (``done``), and the first that is still read (``lowest``)."""

    steps: int
    done: dict[str, Counts]
    lowest: dict[str, Counts]

    def rows(self, name: str, step: int) -> Interval:
        """The rows that an operation computes in a step (from 1 on)."""
        return int(self.done[name][step - 1]), int(self.done[name][step])

    def start(self, name: str, step: int) -> int:
        """The first row that is there during a step: held from before, or the first that it computes."""
        return int(min(self.lowest[name][step - 1], self.done[name][step - 1]))

    def keeps(self, name: str) -> bool:
        """Whether rows are held from one step to another."""
        return bool((self.lowest[name] < self.done[name])[:-1].any())

    def capacity(self, name: str) -> int:
        """The largest number of rows that are there during a step."""
        done, lowest = self.done[name], self.lowest[name]
        return int((done[1:] - np.minimum(lowest, done)[:-1]).max())


def needed(operations: Mapping[str, Operation], sinks: Iterable[str]) -> list[Operation]:
    """The operations that ``sinks`` depend on, in order. Names that are no operations (known statistics) are passed over."""
    wanted = set(sinks)
    for operation in reversed(list(operations.values())):
        if operation.name in wanted:
            wanted.update(read.source for read in operation.reads)
    return [operation for operation in operations.values() if operation.name in wanted]


def schedule(
    operations: list[Operation], sinks: Iterable[str], *, height: int, band: int, known: Iterable[str] = (), block: int = BLOCK
) -> Schedule:
    """The schedule of ``operations``, the first of which is the image of ``height`` rows; ``sinks`` are read as soon as can be.

    known: the names of sources that are there in full. block: bytes, see the head of this file.
    """
    sinks, known = set(sinks), set(known)
    steps = -(-height // band)
    ready: dict[str, Counts] = {}
    early = set(sinks)
    by_name = {operation.name: operation for operation in operations}
    for operation in operations:
        rows = np.full(steps + 1, operation.sizes[0], np.int64)
        read_bytes = 0
        for read in operation.reads:
            if read.maps is not None and read.source not in known:
                rows = np.minimum(rows, writes(read.maps[0], ready[read.source]))
                read_bytes += prod(by_name[read.source].shape)
        if not operation.reads:
            rows = np.minimum(np.arange(steps + 1) * band, height)
        else:
            least = quantum(operation, height, band, block)
            rows = np.where(rows == operation.sizes[0], rows, rows // least * least)
        rows[0] = 0
        ready[operation.name] = rows
        if prod(operation.shape) <= read_bytes:
            early.add(operation.name)
    done = {name: rows if name in early else np.zeros_like(rows) for name, rows in ready.items()}
    lowest = {operation.name: np.full(steps + 1, operation.sizes[0], np.int64) for operation in operations}
    for operation in reversed(operations):
        for read in operation.reads:
            if read.maps is None or read.source in known:
                continue
            reach, following = reads(read.maps[0], done[operation.name])
            done[read.source] = np.maximum(done[read.source], reach)
            lowest[read.source] = np.minimum(lowest[read.source], following)
    for operation in operations:
        assert (done[operation.name] <= ready[operation.name]).all(), operation.name
    return Schedule(steps, done, lowest)


def quantum(operation: Operation, height: int, band: int, block: int) -> int:
    """The least number of rows that an operation computes at once, but for its last ones."""
    rows = operation.sizes[0]
    return max(1, min(block * rows // (FLOAT * prod(operation.shape)), WAIT * band * rows // height))


def writes(axis: AxisMap, ends: Counts) -> Counts:
    """How many cells can be computed when the first ``ends[i]`` cells of the source are known."""
    return np.searchsorted(np.maximum.accumulate(axis.bounds[1]), ends, side="right")


def reads(axis: AxisMap, done: Counts) -> tuple[Counts, Counts]:
    """How many cells of the source must be known when ``done[i]`` cells are computed, and the first that later cells will read."""
    low, high = (bound[: done[-1]] for bound in axis.bounds)
    reach = np.maximum.accumulate(np.concatenate([[0], np.maximum(high, 0)]))
    following = np.minimum.accumulate(np.concatenate([np.minimum(low, axis.n_in), [axis.n_in]])[::-1])[::-1]
    return reach[done], following[done]


def columns(operations: list[Operation], wanted: Mapping[str, Interval], known: Iterable[str] = ()) -> dict[str, Interval]:
    """For each operation, the columns from which those ``wanted`` of the sinks can be computed."""
    known = set(known)
    found: dict[str, Interval] = dict(wanted)
    for operation in reversed(operations):
        if operation.name not in found:
            found[operation.name] = (0, 0)
        first, end = found[operation.name]
        for read in operation.reads if first < end else ():
            if read.maps is None or read.source in known:
                continue
            low, high = read.maps[1].reads(first, end)
            before = found.get(read.source, (0, 0))
            if before[0] < before[1]:
                low, high = (min(low, before[0]), max(high, before[1])) if low < high else before
            found[read.source] = (low, high)
    return found
