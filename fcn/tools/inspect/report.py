"""What ``fcn inspect`` says of a network: one row per layer, and the totals.

A row comes from the network's graph (``inspect_network``) or, for layers in words, from the formulas alone (``inspect_layers``): the same
columns either way. Values are kept per axis and exact; ``layer_table`` writes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any

from torch import nn

from fcn.graph import Node
from fcn.graph.axis import AxisMap
from fcn.graph.field import Field
from fcn.graph.receptive_field import LayerField, ReceptiveField, receptive_field
from fcn.lessons.arithmetic import POOLS as POOLS_OF_WORDS
from fcn.lessons.arithmetic import Layer, compose

# What only changes values or joins paths, or how a tensor is written: no rows of their own unless they are asked for or are global.
VALUES_ONLY = ("pointwise", "merge")
IF_THEY_MOVE = ("concat", "layout", "norm", "pad", "crop")
OPERATIONS = {  # kinds that have one name
    "conv": "conv",
    "transposed": "transposed conv",
    "shuffle": "pixel shuffle",
    "linear": "linear",
    "attention": "attention",
}
POOLS = {"max_pool": "max pool", "avg_pool": "average pool", "mean": "average pool", "max_unpool": "unpool"}
RESIZES = {"bilinear": "bilinear", "linear": "linear resize", "bicubic": "bicubic", "nearest": "nearest"}

Axes = tuple[int | None, ...]


@dataclass(frozen=True)
class Row:
    """One layer, or several that were folded into one. Tuples have one entry per axis of space. None: there is no kernel, or no field,
    since the whole image is seen.

    ``channels`` are those that go in and come out; ``inputs`` and ``outputs`` the sizes in cells. ``field`` is in pixels of the image,
    ``jump`` the pixels from one cell to the next. ``is_bound``: the field is an upper bound, not exact. ``cause`` says why the layer is
    global, if it is.
    """

    layer: str
    operation: str
    kernel: Axes
    stride: tuple[Fraction | None, ...]
    dilation: Axes
    padding: tuple[tuple[int, int] | None, ...]
    channels: tuple[int, int]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    field: Axes
    jump: tuple[Fraction | None, ...]
    parameters: int
    macs: int
    is_bound: bool = False
    cause: str = ""


@dataclass(frozen=True)
class Report:
    """The rows of a network, and what is left after them.

    ``aside`` counts the operations without a row, ``aside_parameters`` and ``aside_macs`` what they cost. ``causes`` maps the layers
    through which the output sees the whole image to a sentence each; where ``ignored``, the fields are those without them. ``output`` is
    the output's field per axis, None where it sees the whole image. ``tiles`` and ``sides`` are those of ``ReceptiveField``; None for
    layers in words, and where ``ignored``.
    """

    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    output: tuple[Field | None, ...]
    causes: dict[str, str]
    ignored: bool = False
    aside: int = 0
    aside_parameters: int = 0
    aside_macs: int = 0
    tiles: tuple[int, int] | None = None
    sides: int | None = None

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows) + self.aside_parameters

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows) + self.aside_macs


def inspect_network(
    network: nn.Module,
    input_size: int | Sequence[int] | None = None,
    *,
    output: str | None = None,
    ignore_global: bool = False,
    pool_as_window: bool = False,
    every: bool = False,
    depth: int | None = None,
    in_channels: int | None = None,
) -> tuple[Report, ReceptiveField]:
    """The report on a network at one input size, and the fields that it was made from.

    ``output``, ``ignore_global``, ``pool_as_window`` and ``in_channels`` are those of ``receptive_field``. ``every`` gives a row to every
    operation; ``depth`` folds what lies deeper than so many names ("layer1.0.conv1" has three) into one row. Raises UserError for an
    unknown output.
    """
    fields = receptive_field(
        network, input_size, output=output, ignore_global=ignore_global, pool_as_window=pool_as_window, in_channels=in_channels
    )
    found = [(layer, _network_row(fields, layer)) for layer in fields.layers if layer.node.edges]
    marked = [(row, every or _is_layer(layer.node)) for layer, row in found]
    rows, aside = _folded(marked, depth) if depth is not None else _parted(marked)
    report = Report(
        tuple(rows),
        fields.graph.input_shape,
        fields.output.fields,
        fields.causes,
        ignore_global,
        len(aside),
        sum(row.parameters for row in aside),
        sum(row.macs for row in aside),
        None if ignore_global else fields.tiles,
        None if ignore_global else fields.sides,
    )
    return report, fields


def inspect_layers(named: Sequence[tuple[str, Layer]], sizes: Sequence[int]) -> Report:
    """The report on layers one after another, by formula; each comes with a name. Raises UserError where they do not fit."""
    names, layers = [name for name, _ in named], [layer for _, layer in named]
    rows = []
    output: tuple[Field, ...] = ()
    for name, step in zip(names, compose(layers, sizes), strict=True):
        layer = step.layer
        words = _kind_words(layer.kind, layer.groups, layer.in_channels)
        row = _row(layer.kind, name, words, layer.maps(step.inputs), step.field, step.jump)
        rows.append(
            replace(
                row,
                channels=(layer.in_channels, layer.out_channels),
                outputs=step.outputs,
                parameters=step.parameters,
                macs=step.macs,
            )
        )
        output = step.fields
    return Report(tuple(rows), (1, layers[0].in_channels, *sizes), output, {})


def _is_layer(node: Node) -> bool:
    if node.is_global:
        return True
    return node.kind not in VALUES_ONLY and not (node.kind in IF_THEY_MOVE and all(axis.is_identity for axis in node.maps))


def _network_row(fields: ReceptiveField, layer: LayerField) -> Row:
    node = layer.node
    source = fields.graph.node(node.edges[0].source)
    channels = (_channels(source), _channels(node))
    row = _row(node.kind, layer.name, _words(node, channels[0]), node.maps, layer.size, layer.stride)
    return replace(
        row,
        channels=channels,
        outputs=node.sizes,
        parameters=node.parameters,
        macs=node.macs,
        is_bound=any(field is not None and field.bounded for field in layer.fields),
        cause=node.is_global.reason if node.is_global else "",
    )


def _row(kind: str, name: str, operation: str, maps: Sequence[AxisMap], field: Axes, jump: Sequence[Fraction | None]) -> Row:
    """A row of what the maps say; of a kernel, a stride, a dilation and a padding, those that mean something to this kind of layer."""

    def each(named: str, *kinds: str) -> tuple[Any, ...]:
        return tuple(getattr(axis, named, None) if kind in kinds and axis.is_local else None for axis in maps)

    windows = ("conv", "transposed", "pool", "unpool", "window", *POOLS_OF_WORDS.values())
    flattened = ("linear",) if any(getattr(axis, "kernel", 1) > 1 for axis in maps) else ()
    return Row(
        name,
        operation,
        kernel=each("kernel", *windows, *flattened),
        stride=each("ratio", *windows, *flattened, "resize", "shuffle", "nearest", "bilinear"),
        dilation=each("dilation", *windows),
        padding=each("padding", *windows, "pad", "crop"),
        channels=(0, 0),
        inputs=tuple(axis.n_in for axis in maps),
        outputs=tuple(axis.n_out for axis in maps),
        field=field,
        jump=tuple(jump),
        parameters=0,
        macs=0,
    )


def _channels(node: Node) -> int:
    """Values per cell; where space was flattened into them, that is found out from the number of cells."""
    return prod(node.shape[1:]) // prod(node.sizes)


def _words(node: Node, in_channels: int) -> str:
    """What an operation is called in lectures; aten's name where it has no other."""
    if node.kind in OPERATIONS:
        return _kind_words(node.kind, node.groups, in_channels)
    table = RESIZES if node.kind == "resize" else POOLS
    plain = node.op.replace("adaptive_", "")
    return next((words for part, words in table.items() if part in plain), plain.replace("_", " "))


def _kind_words(kind: str, groups: int, in_channels: int) -> str:
    words = OPERATIONS.get(kind, kind)
    if groups == 1:
        return words
    return words.replace("conv", "depthwise" if groups == in_channels else f"conv, {groups} groups")


def _parted(marked: Sequence[tuple[Row, bool]]) -> tuple[list[Row], list[Row]]:
    return [row for row, is_layer in marked if is_layer], [row for row, is_layer in marked if not is_layer]


def _folded(marked: Sequence[tuple[Row, bool]], depth: int) -> tuple[list[Row], list[Row]]:
    """Rows whose names begin with the same ``depth`` parts as one, where there is a layer among them; and all others."""
    groups: dict[str, list[tuple[Row, bool]]] = {}
    for row, is_layer in marked:
        groups.setdefault(".".join(row.layer.split(".")[:depth]), []).append((row, is_layer))
    folded = [_fold(name, members) for name, members in groups.items() if any(is_layer for _, is_layer in members)]
    return folded, [row for members in groups.values() if not any(is_layer for _, is_layer in members) for row, _ in members]


def _fold(name: str, members: list[tuple[Row, bool]]) -> Row:
    """What goes into the first operation and comes out of the last, and what all cost; a layer by itself keeps its settings."""
    rows, (layers, _) = [row for row, _ in members], _parted(members)
    first, last = rows[0], rows[-1]
    parameters, macs = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    if len(layers) == 1:
        return replace(layers[0], layer=name, parameters=parameters, macs=macs)
    none: tuple[Any, ...] = (None,) * len(first.inputs)
    return replace(
        last,
        layer=name,
        operation=f"{len(layers)} layers",
        kernel=none,
        stride=none,
        dilation=none,
        padding=none,
        channels=(first.channels[0], last.channels[1]),
        inputs=first.inputs,
        cause="; ".join(dict.fromkeys(row.cause for row in rows if row.cause)),
        parameters=parameters,
        macs=macs,
    )
