"""Which rows of every instruction are computed when: the schedule of a stream, made before it starts.

The image enters ``band`` rows at a time. At each step an instruction computes the rows that can be known by then, each once. It holds them
as long as they will still be read. Two things are weighed:

- deep layers lag behind by half their field, and would have to do all of it at once when the image ends. So an instruction computes at most
  a quarter more rows in a step than a band makes. The last steps go on without new rows;
- what holds more bytes than what it is made of (an up-sampled map that waits for a slower branch) is computed as late as it can be.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from fcn.graph.axis import AxisMap, reads
from fcn.inference.stream.program import Instruction

Counts = NDArray[np.int64]
Interval = tuple[int, int]


@dataclass(frozen=True)
class Schedule:
    """For each instruction, after 0, 1, 2, ... steps: how many rows are computed (``done``), the first that is still read (``lowest``)."""

    steps: int
    done: dict[str, Counts]
    lowest: dict[str, Counts]

    def rows(self, name: str, step: int) -> Interval:
        """The rows that an instruction computes in a step (from 1 on)."""
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


def needed(instructions: Mapping[str, Instruction], sinks: Iterable[str]) -> list[Instruction]:
    """The instructions that ``sinks`` depend on, in order. Names that are no instructions (known statistics) are passed over."""
    wanted = set(sinks)
    for instruction in reversed(list(instructions.values())):
        if instruction.name in wanted:
            wanted.update(read.source for read in instruction.reads)
    return [instruction for instruction in instructions.values() if instruction.name in wanted]


def schedule(
    instructions: list[Instruction],
    sinks: Iterable[str],
    *,
    height: int,
    band: int,
    known: Iterable[str] = (),
    rows: Interval | None = None,
) -> Schedule:
    """The schedule of ``instructions``, the first of which is the image of ``height`` rows; ``sinks`` are read as soon as can be.

    known: the names of sources that are there in full. rows: those that are wanted of each sink; by default all of each.
    """
    sinks, known = set(sinks), set(known)
    spans = {instruction.name: (0, instruction.sizes[0]) for instruction in instructions}
    if rows is not None:
        spans = cells(instructions, dict.fromkeys(sinks, rows), known, axis=0)
    first, last = spans[instructions[0].name]
    steps = -(-(last - first) // band) + 1
    ready = earliest(instructions, known, spans, height, band, steps)
    while any(ready[instruction.name][-1] < spans[instruction.name][1] for instruction in instructions):
        steps *= 2
        ready = earliest(instructions, known, spans, height, band, steps)
    sizes = {instruction.name: prod(instruction.shape) for instruction in instructions}
    early = set(sinks)
    for instruction in instructions:
        if sizes[instruction.name] <= sum(
            sizes[read.source] for read in instruction.reads if read.maps is not None and read.source in sizes
        ):
            early.add(instruction.name)
    done = {name: each if name in early else np.full_like(each, spans[name][0]) for name, each in ready.items()}
    lowest = {instruction.name: np.full(steps + 1, instruction.sizes[0], np.int64) for instruction in instructions}
    for instruction in reversed(instructions):
        first, last = spans[instruction.name]
        for read in instruction.reads if first < last else ():
            if read.maps is None or read.source in known:
                continue
            reach, following = reads(read.maps[0], done[instruction.name], first)
            done[read.source] = np.maximum(done[read.source], reach)
            lowest[read.source] = np.minimum(lowest[read.source], following)
    for instruction in instructions:
        assert (done[instruction.name] <= ready[instruction.name]).all(), instruction.name
    steps = max(int(np.argmax(done[name] == done[name][-1])) for name in sinks)
    return Schedule(steps, {k: v[: steps + 1] for k, v in done.items()}, {k: v[: steps + 1] for k, v in lowest.items()})


def earliest(
    instructions: list[Instruction], known: set[str], spans: Mapping[str, Interval], height: int, band: int, steps: int
) -> dict[str, Counts]:
    """Up to which row of each instruction, of those in ``spans``, can be computed after each step."""
    ready: dict[str, Counts] = {}
    time = np.arange(steps + 1)
    for instruction in instructions:
        low, high = spans[instruction.name]
        rows = np.full(steps + 1, high, np.int64) if instruction.reads else np.minimum(low + time * band, high)
        for read in instruction.reads if low < high else ():
            if read.maps is not None and read.source not in known:
                rows = np.minimum(rows, writes(read.maps[0], ready[read.source], low))
        rows = np.maximum(rows, low)
        rows[0] = low
        most = -(-5 * band * instruction.sizes[0] // (4 * height))
        ready[instruction.name] = np.minimum.accumulate(rows - time * most) + time * most
    return ready


def writes(axis: AxisMap, ends: Counts, first: int) -> Counts:
    """Up to which cell, from ``first`` on, all can be computed when the cells of the source up to ``ends[i]`` are known."""
    return first + np.searchsorted(np.maximum.accumulate(axis.bounds[1][first:]), ends, side="right")


def cells(instructions: list[Instruction], wanted: Mapping[str, Interval], known: Iterable[str] = (), *, axis: int) -> dict[str, Interval]:
    """For each instruction, the cells from which those ``wanted`` of the sinks can be computed. axis: 0, rows; 1, columns."""
    known = set(known)
    found: dict[str, Interval] = dict(wanted)
    for instruction in reversed(instructions):
        if instruction.name not in found:
            found[instruction.name] = (0, 0)
        first, end = found[instruction.name]
        for read in instruction.reads if first < end else ():
            if read.maps is None or read.source in known:
                continue
            low, high = read.maps[axis].reads(first, end)
            before = found.get(read.source, (0, 0))
            if before[0] < before[1]:
                low, high = (min(low, before[0]), max(high, before[1])) if low < high else before
            found[read.source] = (low, high)
    return found
