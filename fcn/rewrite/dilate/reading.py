"""One walk over a graph: where each tensor stands, and the rewriting on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from operator import getitem
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from fcn.core.errors import NotDilatable
from fcn.rewrite.dilate.cellwise import is_cellwise, layer_name, takes_sizes, works_along
from fcn.rewrite.dilate.lattice import IMAGE, DilatedAxis
from fcn.rewrite.dilate.layers import CONV, CropToCommon, SamePad, flat_padding
from fcn.rewrite.dilate.measure import Spread, measure
from fcn.rewrite.dilate.resizing import counts_cells, is_resize, only_resized, original_cells, read_by, resize
from fcn.rewrite.dilate.windows import LayerWindow, per_axis, read_window
from fcn.rewrite.dilate.writing import add_layer, put_call, put_layer, write_window
from fcn.rewrite.editable import arguments
from fcn.rewrite.names import layer_of, operation

PADS = {
    "ZeroPad": "constant",
    "ConstantPad": "constant",
    "ReflectionPad": "reflect",
    "ReplicationPad": "replicate",
    "CircularPad": "circular",
}


@dataclass(frozen=True)
class Lost:
    """The placement of a tensor that has no cells in place: folded into tokens, or made of sizes only. ``by``: the layer."""

    by: str
    dilated: bool


class Uniform:
    """The placement of a map that has one value in all places: a vector that was spread out."""


Placement = tuple[DilatedAxis, ...] | Lost | Uniform | None  # None: no spatial axes


class Reading:
    """The grids of all tensors of ``network``; with an ``output_stride``, the graph is rewritten so that none is coarser."""

    def __init__(
        self,
        network: fx.GraphModule,
        output_stride: int | None = None,
        *,
        dilate_first: bool = False,
        spreads: dict[fx.Node, list[Spread]] | None = None,
        in_channels: int | None = None,
    ) -> None:
        self.network = network
        self.output_stride = output_stride
        self.dilate_first = dilate_first
        self.spreads = measure(network, in_channels) if spreads is None else spreads
        self.placements: dict[fx.Node, Placement] = {}
        self.sampled: dict[fx.Node, fx.Node] = {}  # dilated maps, and the nodes that give the original's cells of them
        self.aside = only_resized(network, self.spreads)
        for node in list(network.graph.nodes):
            self.output_stride = None if node in self.aside else output_stride
            if node.op == "placeholder":
                self.placements[node] = (IMAGE,) * (len(self.spreads[node][0].shape) - 2)
            elif node.op != "output":
                self.visit(node)

    def axes(self, node: fx.Node) -> tuple[DilatedAxis, ...] | None:
        placement = self.placements.get(node)
        return placement if isinstance(placement, tuple) else None

    def outputs(self) -> list[fx.Node]:
        (output,) = self.network.graph.find_nodes(op="output")
        return list(output.all_input_nodes)

    def stride(self) -> Fraction:
        """The largest stride that the network's maps had; where it returns none, that any tensor on the way had."""
        return max(axis.original.stride for axis in self.judged())

    def stride_now(self) -> Fraction:
        return max(axis.now.stride for axis in self.judged())

    def judged(self) -> list[DilatedAxis]:
        returned = [axis for node in self.outputs() for axis in self.axes(node) or ()]
        anywhere = [placement for node, placement in self.placements.items() if node not in self.aside and isinstance(placement, tuple)]
        return returned or [axis for placement in anywhere for axis in placement]

    # --- one node ---

    def visit(self, node: fx.Node) -> None:
        spreads = self.spreads.get(node, [])
        if node in self.aside:
            for source in node.all_input_nodes:
                if self.axes(source) is not None:
                    node.replace_input_with(source, original_cells(self, source, node))
        sources = [source for source in node.all_input_nodes if self.placements.get(source) is not None]
        placement: Placement
        if not spreads:
            placement = None  # sizes and other numbers
        elif all(isinstance(self.placements[source], Uniform) for source in sources):
            placement = self.unplaced(node, spreads, sources)
        else:
            try:
                node, placement = self.step(node, spreads, sources)
            except NotDilatable as error:
                said = f"{layer_name(node)} cannot be dilated: {error}"
                raise NotDilatable(said, layer=layer_of(node), operation=operation(node), reason=str(error)) from error
        self.placements[node] = placement
        if spreads:
            self.spreads[node] = spreads

    def unplaced(self, node: fx.Node, spreads: list[Spread], sources: list[fx.Node]) -> Placement:
        """The placement of what is made of no map with cells in place."""
        if not any(spread.dims is not None or spread.folded for spread in spreads):
            return None
        read = self.spreads.get(read_by(node), []) if node.all_input_nodes else []
        one_cell = bool(read) and prod(read[0].shape[2:]) == 1  # and no embedding of positions, which has one for each of many places
        spreads_out = operation(node) in ("expand", "expand_as") or (is_resize(self.network, node) and one_cell)
        uniform = is_cellwise(self.network, node) if sources else spreads_out
        return Uniform() if uniform else Lost(layer_name(node), False)

    def step(self, node: fx.Node, spreads: list[Spread], sources: list[fx.Node]) -> tuple[fx.Node, Placement]:
        """The placement of ``node``, rewritten if need be (the node that stands for it then comes back)."""
        x, source = self.axes(sources[0]), self.spreads[sources[0]]
        name = operation(node)
        if x is not None and source[0].is_map:
            if window := self.window_of(node):
                return self.slide(node, window, x)
            if name == "pad_same":
                return self.pad_same(node, x)
            if pads := self.pads_of(node):
                return self.pad(node, x, *pads)
        if name == "getitem" and x is not None and len(source) == 1:
            sliced = self.slice(node, x, source[0])
            if sliced is not None:
                return node, sliced
        if x is not None and self.output_stride is not None and is_resize(self.network, node) and spreads[0].is_map:
            return resize(self, node, spreads[0], self.output_stride)
        return self.other(node, spreads, sources)

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.network.get_submodule(str(node.target)) if node.op == "call_module" else None

    def is_dilated(self, nodes: Sequence[fx.Node]) -> bool:
        for node in nodes:
            placement = self.placements.get(node)
            if (isinstance(placement, Lost) and placement.dilated) or any(axis.dilation > 1 for axis in self.axes(node) or ()):
                return True
        return False

    def kept_stride(self, axis: DilatedAxis, step: int) -> int:
        """How much of a step of ``step`` cells the output stride leaves."""
        if self.output_stride is None:
            return step
        fits = [part for part in range(1, step + 1) if step % part == 0 and axis.now.stride * part <= self.output_stride]
        return max(fits, default=1)

    # --- windows and padding ---

    def window_of(self, node: fx.Node) -> LayerWindow | None:
        kernel: tuple[int, ...] = ()
        if node.op == "call_function" and node.target in CONV:
            weight: Any = node.args[1] if len(node.args) > 1 else node.kwargs["weight"]
            kernel = self.spreads[weight][0].shape[2:]
        return read_window(self.network, node, kernel)

    def slide(self, node: fx.Node, old: LayerWindow, x: tuple[DilatedAxis, ...]) -> tuple[fx.Node, Placement]:
        strides, dilations, befores, afters, beyonds, axes = [], [], [], [], [], []
        for i, axis in enumerate(x):
            kept = self.kept_stride(axis, old.stride[i])
            spread = axis.dilation
            if self.dilate_first and old.kind == "conv":
                spread *= old.stride[i] // kept
            reach = old.dilation[i] * (old.kernel[i] - 1)
            original = axis.original.slide(old.stride[i], old.before[i], reach, old.after[i] + old.beyond[i])
            now = axis.now.slide(kept, old.before[i] * spread, reach * spread, (old.after[i] + old.beyond[i]) * spread)
            short = 0
            if original.is_whole and now.stride < original.stride and now.excess <= -now.stride:
                short = int((-now.stride - now.excess) // axis.now.stride) + 1
                now = replace(now, excess=now.excess + short * axis.now.stride)
            strides.append(kept)
            dilations.append(old.dilation[i] * spread)
            befores.append(old.before[i] * spread)
            afters.append(old.after[i] * spread)
            beyonds.append(old.beyond[i] * spread + short)
            axes.append(DilatedAxis(original, now))
        new = replace(
            old,
            stride=tuple(strides),
            dilation=tuple(dilations),
            before=tuple(befores),
            after=tuple(afters),
            beyond=tuple(beyonds),
        )
        if new != old:
            node = write_window(self.network, node, old, new, [axis.dilation for axis in x])
        return node, tuple(axes)

    def pads_of(self, node: fx.Node) -> tuple[list[Any], str, float] | None:
        """Cells as ``F.pad`` takes them, the mode and the value, of a module or a function that pads; None for others."""
        module = self.module(node)
        if module is not None:
            modes = [mode for name, mode in PADS.items() if type(module).__name__.startswith(name)]
            return (list(module.padding), modes[0], getattr(module, "value", 0.0)) if modes else None  # type: ignore[arg-type]
        if operation(node) != "pad":
            return None
        given = arguments(node, ("input", "pad", "mode", "value"))
        return list(given["pad"]), given.get("mode", "constant"), given.get("value") or 0.0

    def pad(self, node: fx.Node, x: tuple[DilatedAxis, ...], flat: list[Any], mode: str, value: float) -> tuple[fx.Node, Placement]:
        dilated = any(axis.dilation > 1 for axis in x)
        if not all(isinstance(cells, int) for cells in flat):
            if dilated:
                raise NotDilatable("its padding depends on the input")
            return self.other(node, self.spreads[node], node.all_input_nodes)
        if mode == "circular" and dilated:
            raise NotDilatable("it pads with the opposite border")
        flat += [0] * (2 * len(x) - len(flat))
        sides = [(flat[2 * i], flat[2 * i + 1]) for i in reversed(range(len(x)))]
        wider = [(before * axis.dilation, after * axis.dilation) for (before, after), axis in zip(sides, x, strict=True)]
        axes = tuple(
            DilatedAxis(axis.original.slide(1, *side_of(old)), axis.now.slide(1, *side_of(new)))
            for axis, old, new in zip(x, sides, wider, strict=True)
        )
        if dilated:
            extra: dict[str, Any] = {"value": value} if mode == "constant" else {}
            cells = flat_padding(wider) + flat[2 * len(x) :]
            source = node.all_input_nodes[0]
            if min(cells) < 0 < max(cells):  # first what is added: a small map may have fewer cells than are taken away
                with self.network.graph.inserting_before(node):
                    added = [max(cell, 0) for cell in cells]
                    source = self.network.graph.call_function(F.pad, (source, added), {"mode": mode, **extra})
                cells, mode, extra = [min(cell, 0) for cell in cells], "constant", {}
            node = put_call(self.network, node, F.pad, (source, cells), {"mode": mode, **extra})
        return node, axes

    def pad_same(self, node: fx.Node, x: tuple[DilatedAxis, ...]) -> tuple[fx.Node, Placement]:
        """Padding that a convolution after it makes to "same" size, as timm writes it: ``pad_same(x, kernel, stride, dilation, value)``."""
        given = arguments(node, ("x", "kernel_size", "stride", "dilation", "value"))
        kernel, stride, dilation = (per_axis(given.get(key, 1), len(x)) for key in ("kernel_size", "stride", "dilation"))
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        axes = tuple(
            DilatedAxis(axis.original.slide(1, 0, 0, cells), axis.now.slide(1, 0, 0, cells * axis.dilation))
            for axis, cells in zip(x, reach, strict=True)
        )
        if self.output_stride is None:
            return node, axes
        kept = [self.kept_stride(axis, step) for axis, step in zip(x, stride, strict=True)]
        spread = [axis.dilation for axis in x]
        layer = SamePad(kernel, stride, dilation, spread=spread, new_stride=kept, value=given.get("value", 0.0))
        return put_layer(self.network, node, layer), axes

    def slice(self, node: fx.Node, x: tuple[DilatedAxis, ...], spread: Spread) -> Placement:
        """Slices along spatial axes (``x[..., ::2, ::2]``, ``x[:, :, 1:]``); None where there are none."""
        index = node.args[1]
        items: list[Any] = list(index) if isinstance(index, tuple) else [index]
        if Ellipsis in items:
            place = items.index(Ellipsis)
            items[place : place + 1] = [slice(None)] * (len(spread.shape) - len(items) + 1)
        items += [slice(None)] * (len(spread.shape) - len(items))
        dims = spread.dims or ()
        if len(items) != len(spread.shape) or all(items[dim] == slice(None) for dim in dims):
            return None
        if not all(isinstance(items[dim], slice) and is_tail(items[dim]) for dim in dims):
            if any(axis.dilation > 1 for axis in x):
                raise NotDilatable("it takes a part of the map")
            return None
        axes = []
        for dim, axis in zip(dims, x, strict=True):
            start, step = items[dim].start or 0, items[dim].step or 1
            kept = self.kept_stride(axis, step)
            axes.append(DilatedAxis(axis.original.slide(step, -start, 0, 0), axis.now.slide(kept, -start * axis.dilation, 0, 0)))
            items[dim] = slice(start * axis.dilation or None, None, kept if kept > 1 else None)
        node.args = (node.args[0], tuple(items))
        return tuple(axes)

    # --- everything else ---

    def other(self, node: fx.Node, spreads: list[Spread], sources: list[fx.Node]) -> tuple[fx.Node, Placement]:
        """Operations that leave cells in place, statistics over the map, and on maps that are not dilated anything at all."""
        dilated = self.is_dilated(sources)
        maps = [source for source in sources if self.axes(source) is not None]
        mapped = [spread for spread in spreads if spread.dims is not None]
        if any(spread.folded for spread in spreads):
            return node, Lost(layer_name(node), dilated)
        if not mapped:
            return (self.statistic(node, maps) if dilated else node), None
        if not dilated:
            return node, self.undilated(mapped[0], maps)
        for placement in map(self.placements.get, sources):
            if isinstance(placement, Lost):
                raise NotDilatable(
                    f"cells are mixed in {placement.by}" if placement.dilated else f"{placement.by} makes a value for each place"
                )
        if not is_cellwise(self.network, node):
            raise NotDilatable("it is not known to leave every cell in its place")
        self.refuse_counts(node)
        first = self.spreads[maps[0]][0]
        if any(list(spread.dims or ()) != sorted(spread.dims or ()) or len(spread.cells) != len(first.cells) for spread in mapped):
            raise NotDilatable("it takes the spatial axes apart")
        if any(spread.cells != first.cells for spread in mapped):
            raise NotDilatable("it changes the size of the map in a way that is not understood")
        if works_along(self.network, node, len(first.shape)) & set(first.dims or ()):
            raise NotDilatable("it works along a spatial axis")
        return node, self.join(node, maps)

    def refuse_counts(self, node: fx.Node) -> None:
        """Raises NotDilatable where ``node`` computes with the number of cells of a dilated map, which is not the original's."""
        numbers = [source for source in node.all_input_nodes if source.op != "get_attr" and not self.spreads.get(source)]
        if not takes_sizes(node) and any(counts_cells(self, number) for number in numbers):
            raise NotDilatable("it computes with the size of a map whose stride has become dilation; give a larger output_stride")

    def undilated(self, spread: Spread, maps: list[fx.Node]) -> Placement:
        """The grid of a map that is not dilated: that of its inputs if it has their size, else what the sizes tell."""
        alike = [self.axes(source) or () for source in maps if self.spreads[source][0].cells == spread.cells]
        if alike:
            return common(alike)
        found = spread.measured()
        if self.output_stride is not None and any(grid.stride > self.output_stride for grid in found):
            raise NotDilatable(f"it makes a stride of {max(grid.stride for grid in found)} in a way that cannot be undone")
        return tuple(DilatedAxis(grid, grid) for grid in found)

    def statistic(self, node: fx.Node, maps: list[fx.Node]) -> fx.Node:
        """A mean over the map stays one; a norm is brought to the original's number of cells; a sum and a grid of bins are refused."""
        name = operation(node)
        shape = self.spreads[node][0].shape
        adaptive = name.startswith("adaptive") or type(self.module(node)).__name__.startswith("Adaptive")
        if adaptive and prod(shape[2:]) > 1:
            raise NotDilatable(f"it pools the whole map to {' x '.join(map(str, shape[2:]))} cells")
        if name == "sum":
            raise NotDilatable("it sums over the whole map, whose number of cells changes")
        if name in ("norm", "vector_norm") and maps:
            cells = prod(axis.dilation for axis in self.axes(maps[0]) or ())
            with self.network.graph.inserting_after(node):
                scaled = self.network.graph.call_method("div", (node, cells**0.5))
            node.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)
            self.spreads[scaled] = self.spreads[node]
            return scaled
        return node

    def join(self, node: fx.Node, maps: list[fx.Node]) -> Placement:
        """The common grid of the maps that an operation joins; where they would differ in size they are cut to the smallest."""
        placements = [self.axes(source) or () for source in maps]
        for axes in placements[1:]:
            if [axis.original.stride for axis in axes] != [axis.original.stride for axis in placements[0]]:
                raise NotDilatable("it joins maps of different strides")
            if [axis.dilation for axis in axes] != [axis.dilation for axis in placements[0]]:
                raise NotDilatable("it joins maps of different dilations")
        joined = common(placements)
        if any(axis.now.excess != kept.now.excess for axes in placements for axis, kept in zip(axes, joined, strict=True)):
            name = add_layer(self.network, node, CropToCommon([self.spreads[source][0].dims or () for source in maps]))
            with self.network.graph.inserting_before(node):
                crop = self.network.graph.call_module(name, tuple(maps))
                parts = [self.network.graph.call_function(getitem, (crop, i)) for i in range(len(maps))]
            for source, part in zip(maps, parts, strict=True):
                node.replace_input_with(source, part)
        return joined


def common(placements: Sequence[tuple[DilatedAxis, ...]]) -> tuple[DilatedAxis, ...]:
    """The grid of the smallest of several maps that lie on each other; its center is unknown where they disagree."""
    joined = []
    for parts in zip(*placements, strict=True):
        grids = [min(grids, key=lambda grid: grid.excess) for grids in zip(*((part.original, part.now) for part in parts), strict=True)]
        if len(set(parts)) > 1:
            grids = [replace(grid, center=None) for grid in grids]
        joined.append(DilatedAxis(*grids))
    return tuple(joined)


def side_of(cells: tuple[int, int]) -> tuple[int, int, int]:
    """Padding as ``Lattice.slide`` takes it: before, no reach, after."""
    return cells[0], 0, cells[1]


def is_tail(item: slice) -> bool:
    """Whether a slice drops cells at the start only, or leaves out cells between."""
    plain = all(isinstance(part, int | None) for part in (item.start, item.step))
    return plain and item.stop is None and (item.start or 0) >= 0 and (item.step or 1) > 0
