"""A network's scores, band by band: the passes that gather what needs all of the image, then the one that computes the output."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

from torch import Tensor

from fcn.graph.ops.blocks import Cut, part
from fcn.inference.stream.lifetimes import run_bytes
from fcn.inference.stream.plan import Interval, Schedule, cells, needed, schedule
from fcn.inference.stream.program import Instruction, Program
from fcn.inference.stream.run import Run, Source
from fcn.models.segmenter import Cell


@dataclass
class Known:
    """Values that are there in full, and which of their dimensions are rows and columns."""

    values: dict[str, Tensor] = field(default_factory=dict)
    dims: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A network's program for one size of image. cell: the cells of its output, if it was asked for those before a last interpolation."""

    program: Program
    cell: Cell | None = None
    plans: dict[Any, tuple[list[Instruction], Schedule]] = field(default_factory=dict)  # made so far
    needs: dict[Any, int] = field(default_factory=dict)  # of memory, found so far

    def plan(
        self, sinks: Iterable[str], known: Iterable[str], band: int, rows: Interval | None = None
    ) -> tuple[list[Instruction], Schedule]:
        """The instructions that ``sinks`` depend on and that are not ``known``, and when they compute what. rows: those of the sinks that
        are wanted; by default all. Only plans of all rows are kept."""
        key = frozenset(sinks), frozenset(known), band
        if key in self.plans and rows is None:
            return self.plans[key]
        wanted, there, program = sorted(key[0]), key[1], self.program
        instructions = needed({name: each for name, each in program.instructions.items() if name not in there}, wanted)
        made = instructions, schedule(instructions, wanted, height=program.input.sizes[0], band=band, known=there, rows=rows)
        if rows is None:
            self.plans[key] = made
        return made

    @cached_property
    def levels(self) -> list[list[str]]:
        """For each pass before the last, the statistics that it gathers."""
        program, wanted, sinks = self.program, set[str](), {self.program.output}
        while sinks:
            reading = {read.source for instruction in needed(program.instructions, sinks) for read in instruction.reads} | sinks
            found = {name for name in reading if name in program.statistics} - wanted
            wanted |= found
            sinks = {program.statistics[name].source for name in found}
        levels: list[list[str]] = [[] for _ in range(max((program.level[name] for name in wanted), default=0))]
        for name in sorted(wanted):
            levels[program.level[name] - 1].append(name)
        return levels

    @property
    def passes(self) -> int:
        """How often the image goes through the network, or a part of it."""
        return len(self.levels) + 1

    @cached_property
    def price(self) -> float:
        """The multiply-adds of all passes, as a multiple of those of one."""
        program = self.program
        sinks = [[program.statistics[name].source for name in level] for level in self.levels] + [[program.output]]
        costs = [sum(instruction.macs for instruction in needed(program.instructions, each)) for each in sinks]
        return sum(costs) / max(costs[-1], 1)

    def price_of(self, strips: Sequence[Interval]) -> float:
        """The multiply-adds of the last pass in strips, as a multiple of those without: what a strip sees beside it is computed twice.
        strips: columns of the scores."""
        program, total = self.program, 0.0
        known = set(program.statistics) | program.small
        if program.output in program.small:
            return 1.0
        instructions, _ = self.plan([program.output], known, 1)
        for strip in strips:
            columns = cells(instructions, {program.output: strip}, known, axis=1)
            spans = [columns.get(each.name, (0, 0)) for each in instructions]
            total += sum(each.macs * (end - first) / each.sizes[1] for each, (first, end) in zip(instructions, spans, strict=True))
        return total / max(sum(each.macs for each in instructions), 1)

    @property
    def in_strips(self) -> bool:
        """Whether the image can be cut into strips of columns."""
        return not any(instruction.whole_rows for instruction in self.program.instructions.values())

    @cached_property
    def at_most(self) -> int:
        """More memory than any band takes: all maps in full, with what instructions take for themselves. It is found at once."""
        item = self.program.like.element_size()
        instructions = self.program.instructions.values()
        return sum(each.rule.weights + item * (3 + each.rule.steps) * prod(each.shape) for each in instructions)

    def bytes(self, band: int, strips: list[Interval] | None = None) -> int:
        """The most memory that the passes take at once beside weights and image. strips: columns of the scores, strip by strip."""
        key = band, None if strips is None else tuple(strips)
        if key not in self.needs:
            self.needs[key] = self._bytes(band, strips)
        return self.needs[key]

    def _bytes(self, band: int, strips: list[Interval] | None) -> int:
        program, most = self.program, 0
        for level in (*self.levels, *([] if program.output in program.small else [None])):
            sinks = [program.output] if level is None else [program.statistics[name].source for name in level]
            known = set(program.statistics) | program.small
            instructions, plan = self.plan(sinks, known, band)
            for index in range(len(strips or [0])):
                if level is None:
                    wanted = {program.output: strips[index] if strips else (0, program.instructions[program.output].sizes[1])}
                else:
                    wanted = {sink: share(program.instructions[sink].sizes[1], index, len(strips or [0])) for sink in sinks}
                columns = cells(instructions, wanted, known, axis=1)
                most = max(most, run_bytes(instructions, plan, columns, sinks, program.like.element_size()))
        return most


def gather(prepared: Prepared, image: Source, *, band: int, strips: int = 1) -> Known:
    """The statistics over all of the image, one pass after the other. The arguments are those of ``score_bands``, and the number of strips
    into which each statistic's own columns are cut."""
    program = prepared.program
    known = Known(dims={name: statistic.dims for name, statistic in program.statistics.items()})
    for level in prepared.levels:
        gathers = {name: program.statistics[name].begin() for name in level}
        sinks = {program.statistics[name].source for name in level}
        instructions, plan = prepared.plan(sinks, known.values, band)
        for index in range(strips):
            columns = {sink: share(program.instructions[sink].sizes[1], index, strips) for sink in sinks}
            columns = {sink: (first, end) for sink, (first, end) in columns.items() if first < end}
            for sink, rows, block in Run(instructions, plan, columns, known.values, known.dims, program.like).steps(image):
                for name in level:
                    if program.statistics[name].source == sink:
                        gathers[name].add(block, rows, columns[sink])
        known.values.update({name: each.result() for name, each in gathers.items()})
        settle(program, known)
    return known


def score_bands(
    prepared: Prepared, image: Source, known: Known, *, band: int, columns: Interval | None = None, rows: Interval | None = None
) -> Iterator[tuple[int, Tensor]]:
    """The scores of an image from the top to the bottom, each row of each layer computed once. Yields the first row of a band and the band,
    (1, C, rows, columns), which is not written to any more.

    image: gives rows ``[first, end)`` and columns ``[left, right)`` of the normalised image, and is asked for the rows from the top. known:
    what ``gather`` found. band: rows of the image that are taken in at a time. columns, rows: those of the scores that are wanted; by
    default all.
    """
    program = prepared.program
    columns = columns or (0, program.instructions[program.output].sizes[1])
    if program.output in known.values:
        top, end = rows or (0, program.instructions[program.output].sizes[0])
        down, across = known.dims[program.output]
        yield top, part(part(known.values[program.output], across, columns[0], columns[1] - columns[0]), down, top, end - top)
        return
    if rows == (0, program.instructions[program.output].sizes[0]):
        rows = None
    instructions, plan = prepared.plan([program.output], known.values, band, rows)
    run = Run(instructions, plan, {program.output: columns}, known.values, known.dims, program.like)
    for _, (first, _), block in run.steps(image):
        yield first, block.clone() if run.holds(block) else block


def share(cells: int, index: int, count: int) -> Interval:
    """The part of ``cells`` that the strip of this index takes."""
    return cells * index // count, cells * (index + 1) // count


def settle(program: Program, known: Known) -> None:
    """Compute what reads known values only."""
    for name in (name for name in program.instructions if name in program.small and name not in known.values):
        instruction = program.instructions[name]
        if any(read.source not in known.values for read in instruction.reads):
            continue
        blocks, cuts = [], []
        for read in instruction.reads:
            x = known.values[read.source]
            if read.maps is not None:
                cut = Cut.of(read.maps[0], 0, read.maps[0].n_out), Cut.of(read.maps[1], 0, read.maps[1].n_out)
                for dim, along in zip(known.dims[read.source], cut, strict=True):
                    x = part(x, dim, along.low, along.high - along.low)
                cuts.append(cut)
            blocks.append(x)
        known.values[name], known.dims[name] = instruction.rule.run(blocks, cuts), instruction.dims
