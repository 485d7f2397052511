"""How long what a step computes is there, and so how much memory a run takes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from fcn.graph.axis import Window
from fcn.inference.stream.plan import Interval, Schedule
from fcn.inference.stream.program import Instruction


@dataclass(frozen=True)
class Lifetimes:
    """How long results are there.

    keeps: instructions of which rows are held from one step to the next.
    leaving: after which instruction of a step, by its place, a block is no longer read in it.
    overwrites: instructions that may put their result where their first source is.
    """

    keeps: frozenset[str]
    leaving: dict[int, list[str]]
    overwrites: frozenset[str]


def lifetimes(instructions: list[Instruction], plan: Schedule, sinks: Iterable[str]) -> Lifetimes:
    readers: dict[str, list[int]] = {instruction.name: [] for instruction in instructions}
    for index, instruction in enumerate(instructions):
        for read in instruction.reads:
            if read.source in readers:
                readers[read.source].append(index)
    sinks = frozenset(sinks)
    keeps = frozenset(instruction.name for instruction in instructions if plan.keeps(instruction.name))
    leaving: dict[int, list[str]] = {}
    for name, users in readers.items():
        if users and name not in keeps | sinks:
            leaving.setdefault(max(users), []).append(name)
    own = {instruction.name for instruction in instructions if instruction.rule.fresh and instruction.reads} - keeps - sinks
    overwrites = frozenset(
        instruction.name
        for instruction in instructions
        if instruction.reads
        and instruction.rule.into is not None
        and instruction.name not in keeps
        and instruction.reads[0].source in own
        and len(readers[instruction.reads[0].source]) == 1
    )
    return Lifetimes(keeps, leaving, overwrites)


def run_bytes(instructions: list[Instruction], plan: Schedule, columns: Mapping[str, Interval], sinks: Iterable[str], item: int) -> int:
    """The most memory, in bytes, that a run holds at once beside weights and image; ``item``: bytes of a number.

    What an instruction takes for itself while it runs counts, as far as torch allocates it; its kernels may take more.
    """
    uses = lifetimes(instructions, plan, sinks)
    row = {}
    for instruction in instructions:
        first, end = columns[instruction.name]
        share = (end - first) / instruction.sizes[1] if instruction.dims[1] is not None else 1.0
        row[instruction.name] = item * share * prod(instruction.shape) / (instruction.sizes[0] if instruction.dims[0] is not None else 1)
    held = sum(plan.capacity(name) * row[name] for name in uses.keeps)
    live: dict[str, np.ndarray] = {}
    now = peak = np.zeros(plan.steps)
    for index, instruction in enumerate(instructions):
        name = instruction.name
        new = np.diff(plan.done[name]) * row[name]
        fills = name in uses.keeps and instruction.rule.into is not None
        own = own_bytes(instruction, plan, row)
        if name in uses.overwrites:
            live[name] = live.pop(instruction.reads[0].source, new)
            peak = np.maximum(peak, now + own)
        elif instruction.rule.fresh and not fills:
            peak = np.maximum(peak, now + new + own)
            if name not in uses.keeps:
                live[name] = new
                now = now + new
        elif not instruction.rule.fresh and name not in uses.keeps:  # a view keeps what it looks at
            live[name] = new
            now = now + new
            peak = np.maximum(peak, now + own)
        for gone in uses.leaving.get(index, ()):
            now = now - live.pop(gone, 0)
    return int(held + peak.max())


def own_bytes(instruction: Instruction, plan: Schedule, row: Mapping[str, float]) -> np.ndarray:
    """The bytes, in each step, that an instruction takes beside its sources and its result; ``row``: bytes of a row of each instruction."""
    done, rule = plan.done[instruction.name], instruction.rule
    rows = np.diff(done)
    own = np.where(rows > 0, rule.weights, 0) + rule.steps * rows * row[instruction.name]
    read = instruction.reads[0] if instruction.reads else None
    if rule.pads and read is not None and read.maps is not None and isinstance(axis := read.maps[0], Window) and axis.padding[1] > 0:
        ends = (rows > 0) & (done[1:] == done[-1])
        own = own + np.where(ends, (rows - 1) * axis.stride + axis.reach, 0) * row.get(read.source, 0.0)
    return own
