"""Dilation: strides traded for dilation, so that a network keeps its weights and its field of view and answers on a denser grid.

A unit that strides skips cells. Where it no longer strides, every cell is there, and what follows reads them at the old distance: its
dilation and its padding are multiplied by the stride that was lost. The unit that loses its stride keeps the dilation that it had, since
it reads the same map as before (Chen et al. 2015, arXiv:1412.7062; Yu and Koltun 2016, arXiv:1511.07122). Original cell ``i`` is then
dilated cell ``i d``: sampled at every ``d``-th cell, the dilated network is the original.

The rewriting works on the traced graph (``fcn.models.trace``), for modules and functions alike. It is exact at every cell where sizes are
rounded up (windows padded to their size, pools with ``ceil_mode``), at any size. A layer that drops what does not fill a window (a 2x2 pool without
``ceil_mode`` on an odd size) is let reach over the border once it no longer strides, so that the map covers the image; there, cells near
the bottom and the right border differ. A statistic over the whole map (squeeze-and-excitation, group norm) is taken over the dilated
map, which has more cells than the original's: a mean stays a mean, but equality is lost to that extent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import getitem
from typing import Any

from torch import fx, nn
from torch.nn import functional as F

from fcn.models.dilate.grid import IMAGE, Axis, Grid, Spread, expected_input, measure
from fcn.models.dilate.layers import CropToCommon, SamePad, flat_padding
from fcn.models.dilate.rules import EXTENSIVE, is_cellwise, layer_name, operation
from fcn.models.dilate.windows import Window, fresh_name, per_axis, put_layer, read_window, replace_window, write_window
from fcn.models.trace import trace

POOL_TO_FIXED = ("adaptive_avg_pool", "adaptive_max_pool")
PAD_MODULES = ("ZeroPad", "ConstantPad", "ReflectionPad", "ReplicationPad")


def dilate(network: nn.Module, output_stride: int, *, dilate_first: bool = False) -> nn.Module:
    """A copy of ``network`` (images (N, C, H, W) to maps, or a list of them) whose maps have a stride of at most ``output_stride``.

    The copy has the same parameter names, mode and trainability; ``network`` is left as it was. ``dilate_first``: convolutions that lose
    their stride are dilated as well, the convention in which torchvision's dilated MobileNetV3 was trained; the exactness above is then
    lost. Raises ValueError for an ``output_stride`` that the network cannot have, and, naming the layer, for what cannot be dilated.
    """
    copy = trace(network)
    rewrite(copy, output_stride, dilate_first=dilate_first)
    return copy


def rewrite(network: fx.GraphModule, output_stride: int | None, *, dilate_first: bool = False) -> "Reading":
    """Dilate a graph in place; None leaves it as it is and only reads where its tensors stand."""
    reading = Reading(network, None)
    reading.run()
    own = reading.stride()
    if output_stride is None or output_stride == own:
        return reading
    possible = [value for value in range(1, int(own) + 1) if own % value == 0]
    if output_stride not in possible:
        raise ValueError(
            f"output_stride={output_stride} is not possible: the network has stride {own}, and can have {', '.join(map(str, possible))}"
        )
    reading = Reading(network, output_stride, dilate_first=dilate_first, spreads=reading.spreads)
    reading.run()
    network.graph.lint()
    network.delete_all_unused_submodules()
    network.recompile()
    return reading


@dataclass(frozen=True)
class Lost:
    """The state of a tensor that has no cells in place: folded into tokens, or made of sizes only. ``by``: the layer."""

    by: str
    dilated: bool


State = tuple[Axis, ...] | Lost | None  # None: no spatial axes


class Reading:
    """One walk over a graph: the grids of all its tensors and, with an ``output_stride``, the rewriting on the way."""

    def __init__(
        self,
        network: fx.GraphModule,
        output_stride: int | None,
        *,
        dilate_first: bool = False,
        spreads: dict[fx.Node, list[Spread]] | None = None,
    ) -> None:
        self.network = network
        self.output_stride = output_stride
        self.dilate_first = dilate_first
        self.spreads = measure(network) if spreads is None else spreads
        self.states: dict[fx.Node, State] = {}

    def run(self) -> None:
        for node in list(self.network.graph.nodes):
            if node.op == "placeholder":
                self.states[node] = (IMAGE,) * expected_input(self.network)[1]
            elif node.op != "output":
                self.visit(node)

    def axes(self, node: fx.Node) -> tuple[Axis, ...] | None:
        state = self.states.get(node)
        return state if isinstance(state, tuple) else None

    def outputs(self) -> list[fx.Node]:
        (output,) = self.network.graph.find_nodes(op="output")
        return list(output.all_input_nodes)

    def stride(self) -> Fraction:
        """The largest stride among the network's maps; where it returns none, among all tensors on the way."""
        axes = [axis for node in self.outputs() for axis in self.axes(node) or ()]
        axes = axes or [axis for state in self.states.values() if isinstance(state, tuple) for axis in state]
        return max(axis.original.stride for axis in axes)

    # --- one node ---

    def visit(self, node: fx.Node) -> None:
        spreads = self.spreads.get(node, [])
        sources = [source for source in node.all_input_nodes if self.states.get(source) is not None]
        state: State
        if not spreads:
            state = None  # sizes and other numbers
        elif not sources:
            mapped = any(spread.dims is not None or spread.folded for spread in spreads)
            state = Lost(layer_name(node), False) if mapped else None
        else:
            try:
                node, state = self.step(node, spreads, sources)
            except ValueError as error:
                raise ValueError(f"{layer_name(node)} cannot be dilated: {error}") from error
        self.states[node] = state
        if spreads:
            self.spreads[node] = spreads

    def step(self, node: fx.Node, spreads: list[Spread], sources: list[fx.Node]) -> tuple[fx.Node, State]:
        """The state of ``node``, rewritten if need be (the node that stands for it then comes back)."""
        x = self.axes(sources[0])
        if x is not None and self.spreads[sources[0]][0].is_map:
            window = self.window_of(node)
            if window is not None:
                return self.slide(node, window, x)
            if operation(node) == "pad_same":
                return self.pad_same(node, x)
            if self.pads(node):
                return self.pad(node, x)
        if operation(node) == "getitem" and x is not None and len(self.spreads[sources[0]]) == 1:
            sliced = self.slice(node, x, self.spreads[sources[0]][0])
            if sliced is not None:
                return node, sliced
        if self.is_dilated(sources) and (operation(node) == "interpolate" or isinstance(self.module(node), nn.Upsample)):
            return self.upsample(node, x, spreads[0])
        return self.other(node, spreads, sources)

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.network.get_submodule(str(node.target)) if node.op == "call_module" else None

    def is_dilated(self, nodes: Sequence[fx.Node]) -> bool:
        for node in nodes:
            state = self.states.get(node)
            if (isinstance(state, Lost) and state.dilated) or any(axis.dilation > 1 for axis in self.axes(node) or ()):
                return True
        return False

    def window_of(self, node: fx.Node) -> Window | None:
        if node.op == "call_function" and node.target in (F.conv1d, F.conv2d, F.conv3d):
            weight = node.args[1] if len(node.args) > 1 else node.kwargs["weight"]
            node.meta["fcn_kernel"] = self.spreads[weight][0].shape[2:]  # type: ignore[index]
        return read_window(self.network, node)

    def slide(self, node: fx.Node, old: Window, x: tuple[Axis, ...]) -> tuple[fx.Node, State]:
        strides, dilations, befores, afters, beyonds, axes, changed = [], [], [], [], [], [], False
        for axis, k, s, l, a, b, e in zip(
            x, old.kernel, old.stride, old.dilation, old.before, old.after, old.beyond, strict=True
        ):  # the names of the literature: kernel, stride, dilation; cells before, after and beyond
            kept = self.kept_stride(axis.now.stride, s)
            spread = axis.dilation
            if self.dilate_first and old.kind == "conv":
                spread *= s // kept
            original = axis.original.slide(s, a, l * (k - 1), b + e)
            now = axis.now.slide(kept, a * spread, l * (k - 1) * spread, (b + e) * spread)
            short = 0
            if original.is_whole and now.stride < original.stride and now.excess <= -now.stride:
                short = int((-now.stride - now.excess) // axis.now.stride) + 1
                now = now.extend(short, axis.now.stride)
            strides.append(kept)
            dilations.append(l * spread)
            befores.append(a * spread)
            afters.append(b * spread)
            beyonds.append(e * spread + short)
            axes.append(Axis(original, now))
            changed |= now.stride < original.stride
        if changed:
            new = replace_window(
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

    def kept_stride(self, stride: Fraction, step: int) -> int:
        """How much of a step of ``step`` cells the output stride leaves to a map that has ``stride``."""
        if self.output_stride is None or stride * step <= self.output_stride:
            return step
        return max(part for part in range(1, step + 1) if step % part == 0 and (part == 1 or stride * part <= self.output_stride))

    def pads(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return type(self.module(node)).__name__.startswith(PAD_MODULES)
        return operation(node) == "pad"

    def pad(self, node: fx.Node, x: tuple[Axis, ...]) -> tuple[fx.Node, State]:
        module = self.module(node)
        mode, value = "constant", 0.0
        if module is not None:
            flat = module.padding
            kind = type(module).__name__
            mode = "reflect" if kind.startswith("Reflection") else "replicate" if kind.startswith("Replication") else "constant"
            value = float(getattr(module, "value", 0.0))
            rest: list[int] = []
        else:
            given = {**dict(zip(("input", "pad", "mode", "value"), node.args, strict=False)), **node.kwargs}
            flat, mode, value = given["pad"], given.get("mode", "constant"), given.get("value") or 0.0
        flat = list(flat)
        if not all(isinstance(cells, int) for cells in flat):
            if any(axis.dilation > 1 for axis in x):
                raise ValueError("its padding depends on the input")
            return self.other(node, self.spreads[node], [node.all_input_nodes[0]])
        if len(flat) < 2 * len(x):
            flat += [0] * (2 * len(x) - len(flat))
        flat, rest = flat[: 2 * len(x)], flat[2 * len(x) :]
        sides = [(flat[2 * i], flat[2 * i + 1]) for i in reversed(range(len(x)))]
        if mode == "circular" and any(axis.dilation > 1 for axis in x):
            raise ValueError("it pads with the opposite border")
        axes = tuple(
            Axis(axis.original.slide(1, a, 0, b), axis.now.slide(1, a * axis.dilation, 0, b * axis.dilation))
            for axis, (a, b) in zip(x, sides, strict=True)
        )
        if any(axis.dilation > 1 for axis in x):
            wider = [(a * axis.dilation, b * axis.dilation) for (a, b), axis in zip(sides, x, strict=True)]
            extra: dict[str, Any] = {"value": value} if mode == "constant" else {}
            with self.network.graph.inserting_before(node):
                call = self.network.graph.call_function(
                    F.pad, (node.all_input_nodes[0], flat_padding(wider) + rest), {"mode": mode, **extra}
                )
            call.meta = dict(node.meta)
            node.replace_all_uses_with(call)
            self.network.graph.erase_node(node)
            node = call
        return node, axes

    def pad_same(self, node: fx.Node, x: tuple[Axis, ...]) -> tuple[fx.Node, State]:
        """Padding that a convolution after it makes to "same" size, as timm writes it: ``pad_same(x, kernel, stride, dilation, value)``."""
        given = {**dict(zip(("x", "kernel_size", "stride", "dilation", "value"), node.args, strict=False)), **node.kwargs}
        kernel, stride, dilation = (per_axis(given.get(key, 1), len(x)) for key in ("kernel_size", "stride", "dilation"))
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        axes = tuple(
            Axis(axis.original.slide(1, 0, 0, cells), axis.now.slide(1, 0, 0, cells * axis.dilation))
            for axis, cells in zip(x, reach, strict=True)
        )
        if self.output_stride is None:
            return node, axes
        kept = [self.kept_stride(axis.now.stride, step) for axis, step in zip(x, stride, strict=True)]
        spread = [axis.dilation for axis in x]
        layer = SamePad(kernel, stride, dilation, spread=spread, new_stride=kept, value=given.get("value", 0.0))
        return put_layer(self.network, node, layer), axes

    def slice(self, node: fx.Node, x: tuple[Axis, ...], spread: Spread) -> State:
        """Slices along spatial axes (``x[..., ::2, ::2]``, ``x[:, :, 1:]``); None where there are none."""
        index = node.args[1]
        items = list(index) if isinstance(index, tuple) else [index]
        if Ellipsis in items:
            place = items.index(Ellipsis)
            items[place : place + 1] = [slice(None)] * (len(spread.shape) - len(items) + 1)
        items += [slice(None)] * (len(spread.shape) - len(items))
        if len(items) != len(spread.shape) or spread.dims is None:
            return None
        if all(items[dim] == slice(None) for dim in spread.dims):
            return None
        if not any(axis.dilation > 1 for axis in x) and self.output_stride is None:
            return None
        axes = []
        for dim, axis in zip(spread.dims, x, strict=True):
            item: Any = items[dim]
            plain = isinstance(item, slice) and item.stop is None and all(isinstance(part, int | None) for part in (item.start, item.step))
            if not plain or (item.start or 0) < 0:
                raise ValueError("it takes some cells of the map only")
            start, step = item.start or 0, item.step or 1
            kept = self.kept_stride(axis.now.stride, step)
            axes.append(Axis(axis.original.slide(step, -start, 0, 0), axis.now.slide(kept, -start * axis.dilation, 0, 0)))
            items[dim] = slice(start * axis.dilation or None, None, kept if kept > 1 else None)
        node.args = (node.args[0], tuple(items))
        return tuple(axes)

    def upsample(self, node: fx.Node, x: tuple[Axis, ...] | None, spread: Spread) -> tuple[fx.Node, State]:
        """A dilated map that is enlarged again is first sampled back to the original's cells, each of which then fills its area."""
        module = self.module(node)
        names = ("input", "size", "scale_factor", "mode")
        given = {**dict(zip(names, node.args, strict=False)), **node.kwargs} if module is None else {**module.__dict__}
        if x is None or not spread.is_map or given.get("mode", "nearest") not in ("nearest", "nearest-exact"):
            raise ValueError("it interpolates a map whose stride has become dilation; give a larger output_stride")
        axes, factors = [], []
        for axis, original in zip(x, spread.measured(), strict=True):
            stride = min(original.stride, Fraction(self.output_stride or original.stride))
            axes.append(Axis(original, Grid(stride, original.excess)))
            factors.append(float(axis.original.stride / stride))
        with self.network.graph.inserting_before(node):
            every = (slice(None), slice(None), *(slice(None, None, axis.dilation) for axis in x))
            source = node.all_input_nodes[0]
            sampled = self.network.graph.call_function(getitem, (source, every))
            size = given.get("size")
            how = {"size": size} if size is not None else {"scale_factor": factors}
            call = self.network.graph.call_function(F.interpolate, (sampled,), {**how, "mode": given.get("mode", "nearest")})
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call)
        self.network.graph.erase_node(node)
        return call, tuple(axes)

    def other(self, node: fx.Node, spreads: list[Spread], sources: list[fx.Node]) -> tuple[fx.Node, State]:
        """Operations that leave cells in place, statistics over the map, and on maps that are not dilated anything at all."""
        dilated = self.is_dilated(sources)
        maps = [source for source in sources if self.axes(source) is not None]
        mapped = [spread for spread in spreads if spread.dims is not None]
        if any(spread.folded for spread in spreads):
            return node, Lost(layer_name(node), dilated)
        if not mapped:
            if dilated:
                self.statistic(node, maps)
            return node, None
        if not dilated:
            return node, self.measured(node, mapped[0], maps)
        lost = [state for state in map(self.states.get, sources) if isinstance(state, Lost)]
        if lost:
            raise ValueError(f"cells are mixed in {lost[0].by}" if lost[0].dilated else f"{lost[0].by} makes values for each place")
        if not is_cellwise(self.network, node):
            raise ValueError("it is not known to leave every cell in its place")
        self.check_in_place(node, mapped, maps)
        return node, self.join(node, maps)

    def measured(self, node: fx.Node, spread: Spread, maps: list[fx.Node]) -> State:
        """The grid of a map that is not dilated: that of its inputs if it has their size, else what the sizes tell."""
        found = spread.measured()
        for source in maps:
            axes, cells = self.axes(source), self.spreads[source][0].cells
            if axes and cells == spread.cells and all(axis.original.stride == grid.stride for axis, grid in zip(axes, found, strict=False)):
                return axes
        if self.output_stride is not None and any(grid.stride > self.output_stride for grid in found):
            raise ValueError(f"it has stride {max(grid.stride for grid in found)} in a way that cannot be lost")
        return tuple(Axis(grid, grid) for grid in found)

    def statistic(self, node: fx.Node, maps: list[fx.Node]) -> None:
        """A mean over the map stays one; a sum is brought back to the original's number of cells; a grid of bins is refused."""
        name = operation(node)
        module = self.module(node)
        spread = self.spreads[node][0]
        if name.startswith(POOL_TO_FIXED) or (module is not None and type(module).__name__.startswith("Adaptive")):
            if any(size > 1 for size in spread.shape[2:]):
                raise ValueError(f"it pools the whole map to {' x '.join(map(str, spread.shape[2:]))} cells")
        elif name in EXTENSIVE and maps:
            cells = 1
            for axis in self.axes(maps[0]) or ():
                cells *= axis.dilation
            with self.network.graph.inserting_after(node):
                scaled = self.network.graph.call_method("div", (node, float(cells) ** EXTENSIVE[name]))
            node.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)
            self.states[scaled], self.spreads[scaled] = None, self.spreads[node]

    def check_in_place(self, node: fx.Node, mapped: list[Spread], maps: list[fx.Node]) -> None:
        rank = len(self.axes(maps[0]) or ())
        for spread in mapped:
            if len(spread.dims or ()) != rank or list(spread.dims or ()) != sorted(spread.dims or ()):
                raise ValueError("it takes the spatial axes apart")
            if spread.cells != self.spreads[maps[0]][0].cells:
                raise ValueError("it changes the size of the map in a way that is not understood")
        spread = self.spreads[maps[0]][0]
        dims = [dim - len(spread.shape) for dim in spread.dims or ()]  # counted from the end
        module, name = self.module(node), operation(node)
        if isinstance(module, nn.Linear) or name == "linear":
            along = {-1}
        elif isinstance(module, nn.LayerNorm):
            along = set(range(-len(module.normalized_shape), 0))
        elif name in ("softmax", "log_softmax", "softmin", "normalize", "logsumexp") or hasattr(module, "dim"):
            dim = getattr(module, "dim", node.kwargs.get("dim", node.args[1] if len(node.args) > 1 and name != "normalize" else 1))
            along = {dim if isinstance(dim, int) and dim < 0 else int(dim or 0) - len(spread.shape)}  # type: ignore[arg-type, call-overload]
        else:
            along = set()
        if along & set(dims):
            raise ValueError("it works along a spatial axis")

    def join(self, node: fx.Node, maps: list[fx.Node]) -> State:
        """The common grid of the maps that an operation joins; where they would differ in size they are cut to the smallest."""
        states = [self.axes(source) or () for source in maps]
        first = states[0]
        for axes in states[1:]:
            if [axis.original.stride for axis in axes] != [axis.original.stride for axis in first]:
                raise ValueError("it joins maps of different strides")
            if [axis.dilation for axis in axes] != [axis.dilation for axis in first]:
                raise ValueError("it joins maps of different dilations")
        if all(axes == first for axes in states):
            return first
        joined = tuple(min(parts, key=lambda axis: axis.now.excess) for parts in zip(*states, strict=True))
        if any(axes[i].now != joined[i].now for axes in states for i in range(len(joined))):
            name = fresh_name(self.network, node)
            self.network.add_submodule(name, CropToCommon([self.spreads[source][0].dims or () for source in maps]))
            with self.network.graph.inserting_before(node):
                crop = self.network.graph.call_module(name, tuple(maps))
                parts = [self.network.graph.call_function(getitem, (crop, i)) for i in range(len(maps))]
            for source, part in zip(maps, parts, strict=True):
                node.replace_input_with(source, part)
        return joined
