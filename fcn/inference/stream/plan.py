"""Which rows of every operation are computed when: the schedule of a stream, made before it starts.

The image enters ``band`` rows at a time. At each step an operation computes the rows that can be known by then, each once. It holds them as
long as they will still be read. Two things are weighed:

- deep layers lag behind by half their field, and would have to do all of it at once when the image ends. So an operation computes at most a
  quarter more rows in a step than a band makes. The last steps go on without new rows;
- what holds more bytes than what it is made of (an up-sampled map that waits for a slower branch) is computed as late as it can be.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from fcn.graph.axis import AxisMap, reads
from fcn.inference.stream.program import Operation

Counts = NDArray[np.int64]
Interval = tuple[int, int]


@dataclass(frozen=True)
class Schedule:
    """For each operation, after 0, 1, 2, ... steps: how many rows are computed (``done``), the first that is still read (``lowest``)."""

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


def schedule(operations: list[Operation], sinks: Iterable[str], *, height: int, band: int, known: Iterable[str] = ()) -> Schedule:
    """The schedule of ``operations``, the first of which is the image of ``height`` rows; ``sinks`` are read as soon as can be.

    known: the names of sources that are there in full.
    """
    sinks, known = set(sinks), set(known)
    steps = -(-height // band) + 1
    ready = earliest(operations, known, height, band, steps)
    while any(ready[operation.name][-1] < operation.sizes[0] for operation in operations):
        steps *= 2
        ready = earliest(operations, known, height, band, steps)
    sizes = {operation.name: prod(operation.shape) for operation in operations}
    early = set(sinks)
    for operation in operations:
        if sizes[operation.name] <= sum(sizes[read.source] for read in operation.reads if read.maps is not None and read.source in sizes):
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
    steps = max(int(np.argmax(done[name] == done[name][-1])) for name in sinks)
    return Schedule(steps, {k: v[: steps + 1] for k, v in done.items()}, {k: v[: steps + 1] for k, v in lowest.items()})


def earliest(operations: list[Operation], known: set[str], height: int, band: int, steps: int) -> dict[str, Counts]:
    """How many rows of each operation can be computed after each step."""
    ready: dict[str, Counts] = {}
    time = np.arange(steps + 1)
    for operation in operations:
        rows = np.full(steps + 1, operation.sizes[0], np.int64) if operation.reads else np.minimum(time * band, height)
        for read in operation.reads:
            if read.maps is not None and read.source not in known:
                rows = np.minimum(rows, writes(read.maps[0], ready[read.source]))
        rows[0] = 0
        most = -(-5 * band * operation.sizes[0] // (4 * height))
        ready[operation.name] = np.minimum.accumulate(rows - time * most) + time * most
    return ready


def writes(axis: AxisMap, ends: Counts) -> Counts:
    """How many cells can be computed when the first ``ends[i]`` cells of the source are known."""
    return np.searchsorted(np.maximum.accumulate(axis.bounds[1]), ends, side="right")


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
