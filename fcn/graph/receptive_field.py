"""Receptive fields: the maps of ``graph`` composed, from the pixels of the image to the cells of every layer.

Two views of the same thing. On an image without borders the field of cell ``o`` is ``[low, high)`` plus ``o`` strides. Where a network
up-samples, the cells of one period ("phases") have fields of their own. On a real image, ``interval`` gives the exact first and last pixel
that a cell can see, borders, padding and global operations included. Along each axis the hull of several paths is taken; channels
are not told apart: a cell sees what any of its channels sees.

Pixel ``i`` lies at coordinate ``i``; an image's first pixel has its centre at 0. For a chain of layers this is a recursion:

    size += (k - 1) d jump; offset += ((k - 1) d / 2 - p) jump; jump *= s

Source: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from math import ceil, floor, lcm

import numpy as np
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.graph import Graph, Node, read_graph
from fcn.graph.aten import UNIFORM, op_name
from fcn.graph.axis import AxisMap, Bins, Cells, Interval, Resize, Whole, Window, reads
from fcn.graph.field import Field, PathField, join, through


@dataclass(frozen=True)
class LayerField:
    """What the cells of one operation see. Tuples have one entry per axis; None means that the whole image is seen, see ``causes``.

    ``causes`` maps the layers that make it global to a sentence each.
    """

    node: Node
    fields: tuple[Field | None, ...]
    causes: dict[str, str]

    @property
    def name(self) -> str:
        """The layer's path, or the operation's name where it belongs to no layer."""
        return self.node.layer or self.node.name

    @property
    def is_global(self) -> bool:
        return None in self.fields

    @property
    def size(self) -> tuple[int | None, ...]:
        """Pixels of the image that one cell sees."""
        return tuple(field.size if field else None for field in self.fields)

    @property
    def stride(self) -> tuple[Fraction | None, ...]:
        """Pixels of the image from one cell to the next (the "jump"); less than one where the layer is finer than the image."""
        return tuple(field.stride if field else None for field in self.fields)

    @property
    def offset(self) -> tuple[Fraction | None, ...]:
        """The pixel on which the field of cell 0 is centred (a fraction where it is even)."""
        return tuple(field.offset if field else None for field in self.fields)

    @property
    def halo(self) -> tuple[tuple[int, int] | None, ...]:
        """Pixels that a strip of cells needs around it, before and after."""
        return tuple(field.halo if field else None for field in self.fields)

    @property
    def phases(self) -> tuple[tuple[Interval | None, ...] | None, ...]:
        """For each axis, the interval of pixels of each phase's first cell, before clipping."""
        return tuple(
            tuple(found and (floor(found[0]), ceil(found[1])) for found in field.phases) if field else None for field in self.fields
        )

    def __str__(self) -> str:
        if self.is_global:
            first = [f"{layer} {reason}" for layer, reason in self.causes.items()][:2]
            return "global: " + "; ".join(first) + (f"; and {len(self.causes) - 2} more" if len(self.causes) > 2 else "")
        show = [" x ".join(str(part) for part in parts) for parts in (self.size, self.stride, self.offset)]
        return f"size {show[0]}, stride {show[1]}, offset {show[2]}"


class ReceptiveField:
    """The receptive fields of a network; ``size``, ``stride``, ``offset`` and ``halo`` are those of its output (see ``LayerField``).

    ``layers`` has every operation in order; ``fields["layer4"]`` gives the last operation of a layer; ``interval`` the exact pixels.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        output: str | None = None,
        ignore_global: bool = False,
        pool_as_window: bool = False,
        again: Callable[[Sequence[int]], Graph] | None = None,
    ) -> None:
        self.graph, self.node = graph, _output(graph, output)
        self._given, self._ignore, self._windows, self._again = output, ignore_global, pool_as_window, again

    @cached_property
    def layers(self) -> tuple[LayerField, ...]:
        fields: dict[str, list[PathField]] = {}
        causes: dict[str, dict[str, str]] = {}
        for node in self.graph:
            causes[node.name] = {key: value for edge in node.edges for key, value in causes[edge.source].items()}
            found = [PathField(Field(((Fraction(0), Fraction(1)),), Fraction(1)))] * self.graph.rank
            if node.edges:
                found = []
                for axis in range(self.graph.rank):
                    paths = [through(self._map(node, edge.maps[axis]), fields[edge.source][axis], self._ignore) for edge in node.edges]
                    if node.is_global and (self._ignore or any(path.is_global for path in paths)):
                        causes[node.name][node.layer or node.name] = node.is_global.reason
                    elif any(path.is_global for path in paths) and not any(fields[edge.source][axis].is_global for edge in node.edges):
                        causes[node.name][node.layer or node.name] = "spreads one cell over the whole image"
                    merged = join(paths, self._ignore)
                    if merged is None:
                        strides = ", ".join(sorted({str(path.field.stride) for path in paths}))
                        causes[node.name][node.layer or node.name] = f"joins paths of different strides ({strides})"
                        merged = replace(join(paths, True) or paths[0], is_global=not self._ignore)
                    found.append(merged)
            fields[node.name] = found
        return tuple(
            LayerField(
                node,
                tuple(None if path.is_global and not self._ignore else path.field for path in fields[node.name]),
                causes[node.name],
            )
            for node in self.graph
        )

    def _map(self, node: Node, axis: AxisMap) -> AxisMap:
        """A pool over everything as the window that it is at this size, where that is asked for."""
        if self._windows and node.is_global and node.is_global.cause == "pool":
            if isinstance(axis, Whole) and axis.n_out == 1:
                return Window(axis.n_in, 1, kernel=axis.n_in)
            if isinstance(axis, Bins) and axis.window is not None:
                return axis.window
        return axis

    @cached_property
    def _by_name(self) -> dict[str, LayerField]:
        return {layer.node.name: layer for layer in self.layers}

    def __getitem__(self, name: str) -> LayerField:
        return self._by_name[self.graph[name].name]

    def __iter__(self) -> Iterator[LayerField]:
        return iter(self.layers)

    @property
    def output(self) -> LayerField:
        return self._by_name[self.node.name]

    @property
    def size(self) -> tuple[int | None, ...]:
        return self.output.size

    @property
    def stride(self) -> tuple[Fraction | None, ...]:
        return self.output.stride

    @property
    def offset(self) -> tuple[Fraction | None, ...]:
        return self.output.offset

    @property
    def halo(self) -> tuple[tuple[int, int] | None, ...]:
        return self.output.halo

    @property
    def phases(self) -> tuple[tuple[Interval | None, ...] | None, ...]:
        return self.output.phases

    @property
    def is_global(self) -> bool:
        return self.output.is_global

    @property
    def causes(self) -> dict[str, str]:
        return self.output.causes

    @cached_property
    def tiles(self) -> tuple[int, int] | None:
        """What tiles of an image need, to give what the whole image gives: pixels on each side, and the step on whose multiples they begin.

        None where the output sees the whole image, its place in it, or its size: no tile is enough. The image's sides have to be
        multiples of ``sides``.
        """
        return None if self._tiling is None else self._tiling[:2]

    @property
    def sides(self) -> int | None:
        """What the sides of the whole image have to be multiples of, for ``tiles`` to be enough: 1 or the step; None where none are.

        It is the step where at other sizes a map is interpolated, padded or cropped otherwise, or may be: a ``Graph`` has one size.
        """
        return None if self._tiling is None else self._tiling[2]

    @cached_property
    def _tiling(self) -> tuple[int, int, int] | None:
        """Pixels on each side, the step, and what the image's sides are multiples of: the geometry has to be the same at other sizes."""
        needed = self._needed()
        if needed is None or any(map(_knows_its_place, self.graph)):
            return None
        pixels, step = needed
        if self._again is None or self._windows:
            maps = [axis for node in self.graph for edge in node.edges for axis in edge.maps]
            return pixels, step, step if any(isinstance(axis, Resize) or (axis.is_local and axis.ratio < 1) for axis in maps) else 1
        sizes = self.graph.input_shape[2:]
        if step == 1 or self._is_same([size + (1 if axis % 2 else step - 1) for axis, size in enumerate(sizes)]):
            return (pixels, step, 1) if self._is_same([2 * size + axis for axis, size in enumerate(sizes)]) else None
        return (pixels, step, step) if self._is_same([2 * size + axis * step for axis, size in enumerate(sizes)]) else None

    def _is_same(self, sizes: Sequence[int]) -> bool:
        """Whether the output sees the same of an image of these sizes."""
        assert self._again is not None
        try:
            other = ReceptiveField(self._again(sizes), output=self._given, ignore_global=self._ignore)
        except UserError:  # which the network cannot take
            return False
        return other.output.fields == self.output.fields

    def _needed(self) -> tuple[int, int] | None:
        """What tiles need by the geometry at this size."""
        sides = []
        for field in self.output.fields:
            if field is None:
                return None
            seen = [interval for interval in field.phases if interval]
            after = max((high for _, high in seen), default=0) - len(field.phases) * field.stride
            sides += [-floor(min((low for low, _ in seen), default=0)), ceil(after), 0]
        jumps = [jump.numerator for layer in self.layers for jump in layer.stride if jump is not None]
        return max(sides), lcm(*jumps)

    def __str__(self) -> str:
        return f"{self.output}; {tiles_sentence(self.tiles, self.sides)}"

    @cached_property
    def _bounds(self) -> dict[str, list[tuple[Cells, Cells, bool]]]:
        """For each node and axis: first pixel and last + 1 of every cell, and whether only global paths lead there."""
        bounds: dict[str, list[tuple[Cells, Cells, bool]]] = {}
        for node in self.graph:
            if not node.edges:
                bounds[node.name] = [(np.arange(size), np.arange(1, size + 1), False) for size in node.sizes]
                continue
            bounds[node.name] = []
            for axis in range(self.graph.rank):
                pulled = []
                for edge in node.edges:
                    low, high, lost = bounds[edge.source][axis]
                    step = edge.maps[axis]
                    if self._ignore and isinstance(step, Whole) and step.local is not None:
                        step = step.local
                    pulled.append((*step.pull(low, high), lost or (isinstance(step, Whole | Bins) and not step.is_local)))
                kept = [path for path in pulled if not path[2]] if self._ignore else pulled
                kept = kept or pulled
                lows, highs, losts = zip(*kept, strict=True)
                bounds[node.name].append((np.minimum.reduce(lows), np.maximum.reduce(highs), all(losts)))
        return bounds

    def intervals(self, name: str | None = None, axis: int = 0) -> list[Interval | None]:
        """For every cell along ``axis`` of a layer (by default the output), the exact interval of pixels that it can see; None for none."""
        low, high, _ = self._bounds[(self.node if name is None else self.graph[name]).name][axis]
        return [(int(a), int(b)) if a < b else None for a, b in zip(low, high, strict=True)]

    def interval(self, cell: Sequence[int], name: str | None = None) -> tuple[Interval | None, ...]:
        """The pixels that one cell, one index per axis, can see: ``[first, end)`` along each axis, clipped at the image's borders.

        All None for a cell that sees padding only. Raises UserError for a cell outside the grid.
        """
        node = self.node if name is None else self.graph[name]
        if len(cell) != self.graph.rank or any(not 0 <= index < size for index, size in zip(cell, node.sizes, strict=True)):
            raise UserError(
                f"cell {tuple(cell)} is outside the grid of {' x '.join(map(str, node.sizes))} cells of '{node.layer or node.name}'"
            )
        found = []
        for index, (low, high, _) in zip(cell, self._bounds[node.name], strict=True):
            if low[index] >= high[index]:
                return (None,) * len(cell)
            found.append((int(low[index]), int(high[index])))
        return tuple(found)


def _knows_its_place(node: Node) -> bool:
    """Whether a node joins the image's data with numbers that differ from place to place: coordinates, a grid, a position."""
    if node.kind not in ("pointwise", "merge", "concat"):
        return False
    read = {edge.source for edge in node.edges}
    for source in node.fx.all_input_nodes:
        value = source.meta.get("val")
        if source.name in read or not isinstance(value, Tensor) or op_name(source) in UNIFORM:
            continue
        sizes = [value.shape[dim - len(node.shape)] for dim in node.dims if dim is not None and dim - len(node.shape) >= -value.dim()]
        if any(size > 1 for size in sizes):
            return True
    return False


def tiles_sentence(tiles: tuple[int, int] | None, sides: int | None = 1) -> str:
    """What tiles of an image need, in words. sides: what the image's sides have to be multiples of."""
    if tiles is None:
        return "tiles are never exact: they would have to be the whole image"
    needed = f"tiles need {tiles[0]} pixel{'' if tiles[0] == 1 else 's'} on each side, at multiples of {tiles[1]}"
    return needed if sides == 1 else f"{needed}, in an image whose sides are multiples of {sides}"


def receptive_field(
    network: nn.Module | Graph,
    input_size: int | Sequence[int] | None = None,
    *,
    output: str | None = None,
    ignore_global: bool = False,
    pool_as_window: bool = False,
    in_channels: int | None = None,
) -> ReceptiveField:
    """The receptive fields of every layer of a network, read from its graph.

    >>> fields = fcn.receptive_field(torchvision.models.resnet18(), 256)
    >>> print(fields["layer4"])  # size 435 x 435, stride 32 x 32, offset 0 x 0
    >>> fields.interval((3, 4), "layer4")  # the pixels that one cell sees, [first, end) along each axis

    network: any network of torch whose forward takes one image.
    input_size: size of the image in pixels, (height, width) or one number; default 224 x 224, 256 for sequences.
    output: layer or output that ``size``, ``stride`` and ``offset`` are of; default: the output called "out", or the first.
    ignore_global: go on as if global operations were not there; default False. Gates and pooled branches are left out. Norms and attention
        see their own cell only. Resizes that are not by a whole factor are bounded.
    pool_as_window: read a pool over all cells as a window of its size at this input size, as "GoogLeNet with its 7x7 window"; default
        False.
    in_channels: channels of the image; default: the first likely number with which the network runs.

    Returns a ``ReceptiveField``: ``size``, ``stride``, ``offset`` and ``halo`` in pixels, ``layers``, ``interval(cell)``.

    Raises UserError for a layer that does not exist and for an operation that is not understood.
    """
    graph = network if isinstance(network, Graph) else read_graph(network, input_size, in_channels=in_channels)
    again = None if isinstance(network, Graph) else partial(read_graph, network, in_channels=graph.input_shape[1])
    return ReceptiveField(graph, output=output, ignore_global=ignore_global, pool_as_window=pool_as_window, again=again)


def rows_to_keep(graph: Graph, *, axis: int = 0, band: int = 1, output: str | None = None) -> dict[str, int]:
    """How many rows of each node must be held between bands when ``band`` rows of the output are computed at a time.

    Counted are rows that a later band reads again. For a convolution they are the last ``d (k - 1) + 1 - s``. For a skip they are the rows
    that the slower branch has not reached. No row is computed before it is needed, or twice.
    """
    end = _output(graph, output)
    steps = np.minimum(np.arange(0, end.sizes[axis] + band, band), end.sizes[axis])
    done = {node.name: np.zeros_like(steps) for node in graph}
    lowest = {node.name: np.full_like(steps, node.sizes[axis]) for node in graph}
    done[end.name] = steps
    keep = {}
    for node in reversed(graph.nodes):
        held = done[node.name] - lowest[node.name]
        keep[node.name] = max(int(held.max()), 0)
        for edge in node.edges:
            reach, following = reads(edge.maps[axis], done[node.name])
            done[edge.source] = np.maximum(done[edge.source], reach)
            lowest[edge.source] = np.minimum(lowest[edge.source], following)
    return keep


def _output(graph: Graph, name: str | None) -> Node:
    if name is None:
        return graph.output
    if name in graph.outputs:
        return graph.node(graph.outputs[name])
    try:
        return graph[name]
    except UserError as error:
        raise UserError(f"output={name!r} is no output ({', '.join(graph.outputs)}), and {error}") from None
