"""The facet ``maps`` of an operation: from the layout of what it reads to the layout of what it gives, with an exact map per axis.

``maps(call) -> Result``. Here are the words that such functions share.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import fx

from fcn.graph.aten import Given
from fcn.graph.axis import AxisMap, Resize, Whole, Window, identity
from fcn.graph.layout import Atom, Dim, Layout, NoLayoutError, axes_of, axis_of, carried, plain
from fcn.graph.nodes import AnyKind, Cause, Global

Maps = tuple[AxisMap, ...]


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the image: its node, its shape and layout, its cells along each axis (1 where it has none)."""

    name: str
    shape: tuple[int, ...]
    layout: Layout
    sizes: tuple[int, ...]
    parts: tuple[tuple[Layout, Maps], ...] = ()  # of a tuple of tensors: the layout of each, and how it reads the tuple's grid

    @property
    def maps(self) -> Maps:
        return tuple(identity(size) for size in self.sizes)

    def dim(self, index: int) -> int:
        return index % len(self.shape)


@dataclass(frozen=True)
class Result:
    layout: Layout
    edges: list[tuple[Value, Maps]]
    kind: AnyKind
    is_global: Global | None = None
    parts: tuple[tuple[Layout, Maps], ...] = ()


@dataclass
class Call(Given):
    """One operation to be understood: its arguments by name, the values among them, the output's shape (or shapes)."""

    node: fx.Node
    op: str
    rank: int
    arguments: dict[str, Any]
    values: dict[fx.Node, Value]
    shapes: dict[fx.Node, tuple[int, ...]]
    shape: tuple[int, ...] = ()
    part_shapes: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def first_shape(self) -> tuple[int, ...]:
        """The output's shape, or that of the first tensor of a tuple."""
        return self.part_shapes[0] if self.part_shapes else self.shape

    def value(self, *names: str) -> Value | None:
        argument = self.get(*names)
        return self.values.get(argument) if isinstance(argument, fx.Node) else None

    def need(self, *names: str) -> Value:
        value = self.value(*names)
        if value is None:
            raise NoLayoutError("its data is not a tensor that depends on the image")
        return value

    def shape_of(self, name: str) -> tuple[int, ...]:
        return self.shapes[self.get(name)]

    def inputs(self) -> list[Value]:
        """All values among the arguments, in order, lists of tensors included."""
        flat: list[Any] = []
        for argument in self.arguments.values():
            flat += argument if isinstance(argument, (list, tuple)) else [argument]
        return [self.values[item] for item in flat if isinstance(item, fx.Node) and item in self.values]


def listed(value: Any, count: int, default: Any = None) -> list[Any]:
    value = default if value is None or value == [] else value
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    return items * count if len(items) == 1 else items


def sizes_of(layout: Layout, rank: int) -> tuple[int, ...]:
    sizes = [1] * rank
    for dim in layout:
        for atom in dim:
            if atom.axis is not None:
                sizes[atom.axis] = atom.size
    return tuple(sizes)


def with_parts(call: Call, result: Result) -> Result:
    """Where the operation returns a tuple: each tensor of the first one's shape lies as it does, others are plain."""
    if not call.part_shapes:
        return result
    sizes = sizes_of(result.layout, call.rank)
    maps = tuple(identity(size) for size in sizes)
    gone = tuple(Whole(size, 1) if size > 1 else identity(1) for size in sizes)
    parts = [
        (result.layout, maps) if shape == call.part_shapes[0] else (tuple(plain(size) for size in shape), gone)
        for shape in call.part_shapes
    ]
    return replace(result, parts=tuple(parts))


def over_space(call: Call, value: Value, axes: set[int], reason: str, cause: Cause = "norm") -> Result:
    """Reads its own cell and, along ``axes``, all others."""
    axes = {axis for axis in axes if value.sizes[axis] > 1}
    maps = tuple(Whole(size, size, identity(size)) if axis in axes else identity(size) for axis, size in enumerate(value.sizes))
    return with_parts(call, Result(value.layout, [(value, maps)], "norm", Global(cause, reason) if axes else None))


def why(call: Call, value: Value, maps: Iterable[AxisMap]) -> Global:
    sizes = " x ".join(str(axis.n_in) for axis in maps), " x ".join(str(axis.n_out) for axis in maps)
    if any(isinstance(axis, Resize) for axis in maps):
        corners = " with align_corners" if any(getattr(axis, "align_corners", False) for axis in maps) else ""
        return Global("resize", f"resize from {sizes[0]} to {sizes[1]}{corners} is not by a whole factor: it depends on the total size")
    return Global("pool", f"pools all {sizes[0]} cells to {sizes[1]}")


def on_grid(
    call: Call, value: Value, count: int, make: Callable[[int, int, int], AxisMap], kind: AnyKind, shape: tuple[int, ...]
) -> Result:
    """An operation on the last ``count`` dimensions: ``make(place, n_in, n_out)`` gives the map of each that is an axis of the image."""
    first = len(value.shape) - count
    layout, maps, reason = list(value.layout[:first]), list(value.maps), None
    present = {axis for axis, size in enumerate(value.sizes) if size > 1} | carried(value.layout)
    for place in range(count):
        dim, n_in, n_out = value.layout[first + place], value.shape[first + place], shape[first + place]
        axis = axis_of(dim)
        if axis is None and not dim and count == call.rank and place not in present:
            axis = place  # one cell that a reshape has left without a name
        made = make(place, n_in, n_out)
        if axis is not None:
            maps[axis] = made
            layout.append((Atom(n_out, axis),))
        elif made.is_identity or not axes_of(dim):
            layout.append(dim if made.is_identity else plain(n_out))
        else:
            for lost in axes_of(dim):
                maps[lost] = Whole(value.sizes[lost], 1)
            layout.append(plain(n_out))
            reason = Global("flatten", f"{call.op} runs along space that was flattened")
    found = tuple(axis for axis in maps if not axis.is_local and axis.n_in > 1)
    if found and reason is None:
        reason = why(call, value, found)
    return Result(tuple(layout), [(value, tuple(maps))], kind, reason)


def along(value: Value, position: int, window: Window, kind: AnyKind, tail: Dim | None = None, keep: bool = True) -> Result:
    """A window along one dimension; ``keep=False`` drops the dimension, ``tail`` adds one at the end."""
    dim, axis, maps = value.layout[position], axis_of(value.layout[position]), list(value.maps)
    if axis is not None:
        maps[axis] = window
        dim = (Atom(window.n_out, axis),) if keep else ()
    elif axes_of(dim) and not window.is_identity:
        raise NoLayoutError("it takes a part of space that was flattened")
    elif not window.is_identity:
        dim = plain(window.n_out)
    layout = (*value.layout[:position], *((dim,) if keep else ()), *value.layout[position + 1 :], *(() if tail is None else (tail,)))
    return Result(layout, [(value, tuple(maps))], kind)
