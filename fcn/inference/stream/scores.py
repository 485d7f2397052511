"""A network's scores, band by band: the passes that gather what needs all of the image, then the one that computes the output."""

import logging
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fcn.geometry.graph import read_graph
from fcn.inference.stream.plan import Interval, needed, schedule
from fcn.inference.stream.program import Program, compile_graph
from fcn.inference.stream.rules import Cut, part
from fcn.inference.stream.run import Run, Source
from fcn.inference.stream.statistics import Gather

log = logging.getLogger(__name__)

PASSES = 12


@dataclass(frozen=True)
class Band:
    """Scores of the rows from ``row`` on and the columns from ``column`` on, (1, C, rows, columns)."""

    row: int
    column: int
    scores: Tensor


@dataclass(frozen=True)
class Prepared:
    """A network's program for one size of image, and how many passes over the image it takes."""

    program: Program
    passes: int
    price: float  # multiply-adds of all passes, as a multiple of one


_prepared: "weakref.WeakKeyDictionary[nn.Module, tuple[object, dict[object, Prepared]]]" = weakref.WeakKeyDictionary()


def prepare(network: nn.Module, height: int, width: int) -> Prepared:
    """The program of ``network`` (in evaluation mode; its first output, or the one called "out") for an image of that size.

    It is kept for the next image of this size, as long as the weights stay as they are. Raises ValueError, naming the layer, where an
    operation cannot be computed in bands.
    """
    tensors = [*network.parameters(), *network.buffers()]
    device = tensors[0].device.type if tensors else "cpu"
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    state = tuple((tensor.data_ptr(), tensor.device, tensor.dtype, _version(tensor)) for tensor in tensors)
    found = _prepared.get(network)
    if found is None or found[0] != state:
        found = (state, {})
        _prepared[network] = found
    key = (height, width, dtype)
    if key not in found[1]:
        with torch.autocast(device, enabled=False), torch.inference_mode(False), torch.no_grad():
            graph = read_graph(network, (height, width))
            program = compile_graph(graph, dtype=dtype)
        found[1][key] = _priced(program)
    return found[1][key]


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _priced(program: Program) -> Prepared:
    passes = levels(program)
    costs = [sum(operation.macs for operation in needed(program.operations, sinks)) for sinks in (*passes, [program.output])]
    return Prepared(program, len(costs), sum(costs) / max(costs[-1], 1))


def levels(program: Program) -> list[list[str]]:
    """For each pass before the last, the operations whose rows the statistics of that pass read."""
    wanted, sources = {program.output}, {program.output}
    while sources:
        reading = {read.source for operation in needed(program.operations, sources) for read in operation.reads}
        found = {name for name in reading if name in program.statistics} - wanted
        wanted |= found
        sources = {program.statistics[name].source for name in found}
    result: list[list[str]] = [[] for _ in range(max((program.level[name] for name in wanted), default=0))]
    for name in sorted(wanted & set(program.statistics)):
        result[program.level[name] - 1].append(program.statistics[name].source)
    return result


def score_bands(
    prepared: Prepared, image: Source, *, band: int, strips: list[Interval] | None = None
) -> Iterator[Band]:
    """The scores of an image, band by band from the top, each row of each layer computed once.

    image: gives rows ``[first, end)`` of the normalised image, (1, 3, end - first, W); asked for from the top, once per pass and strip.
    band: rows of the image that are taken in at a time. strips: columns of the output that are computed one after the other, for less
    memory; they may overlap. A band's scores stand until the next is asked for.
    """
    program = prepared.program
    height, width = program.input.sizes
    output = program.operations[program.output]
    parts = strips or [(0, output.sizes[1])]
    known: dict[str, Tensor] = {}
    dims = {name: statistic.dims for name, statistic in program.statistics.items()}
    for level in range(1, prepared.passes):
        gathers: dict[str, list[tuple[str, Gather]]] = {}
        for name, statistic in program.statistics.items():
            if program.level[name] == level:
                gathers.setdefault(statistic.source, []).append((name, statistic.begin()))
        wanted_sources = set(levels(program)[level - 1])
        gathers = {source: each for source, each in gathers.items() if source in wanted_sources}
        operations = unknown(program, gathers, known)
        plan = schedule(operations, gathers, height=height, band=band, known=known)
        for index in range(len(parts)):
            wanted = {source: share(program.operations[source].sizes[1], index, len(parts)) for source in gathers}
            run = Run(operations, plan, {name: cells for name, cells in wanted.items() if cells[0] < cells[1]}, known, dims, program.like)
            for name, rows, found in run.steps(image):
                for _, gather in gathers[name]:
                    gather.add(found, rows, wanted[name])
        known.update({name: gather.result() for each in gathers.values() for name, gather in each})
        settle(program, known, dims)
    operations = unknown(program, [program.output], known)
    plan = schedule(operations, [program.output], height=height, band=band, known=known)
    for cells in parts:
        for _, (first, _), found in Run(operations, plan, {program.output: cells}, known, dims, program.like).steps(image):
            yield Band(first, cells[0], found)


def unknown(program: Program, sinks: "list[str] | dict[str, list[tuple[str, Gather]]]", known: dict[str, Tensor]) -> list:
    """The operations that ``sinks`` depend on and that are not known yet."""
    open_operations = {name: operation for name, operation in program.operations.items() if name not in known}
    return needed(open_operations, sinks)


def share(cells: int, index: int, count: int) -> Interval:
    """The part of ``cells`` that the strip of this index takes."""
    return cells * index // count, cells * (index + 1) // count


def settle(program: Program, known: dict[str, Tensor], dims: dict[str, tuple[int | None, int | None]]) -> None:
    """Compute what reads known values only."""
    for name in program.operations:
        operation = program.operations[name]
        if name not in program.small or name in known or any(read.source not in known for read in operation.reads):
            continue
        blocks, cuts = [], []
        for read in operation.reads:
            x = known[read.source]
            if read.maps is not None:
                cut = Cut.of(read.maps[0], 0, read.maps[0].n_out), Cut.of(read.maps[1], 0, read.maps[1].n_out)
                for dim, along in zip(dims[read.source], cut, strict=True):
                    x = part(x, dim, along.low, along.high - along.low)
                cuts.append(cut)
            blocks.append(x)
        known[name], dims[name] = operation.rule.run(blocks, cuts), operation.dims
