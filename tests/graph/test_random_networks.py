"""Randomly drawn networks: the analytic intervals are the probed ones, for every cell, at every border and in every phase."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fcn.graph.receptive_field import ReceptiveField, receptive_field, rows_to_keep
from fcn.lessons.probe import Probe

CHANNELS = 2
Layer = Callable[[], nn.Module]


class Call(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Skip(nn.Module):
    """Two paths from one tensor, cropped to the smaller and added or concatenated."""

    def __init__(self, first: nn.Module, second: nn.Module, add: bool) -> None:
        super().__init__()
        self.first, self.second, self.add = first, second, add
        self.mix = nn.Conv1d(2 * CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x), self.second(x)
        size = min(a.shape[2], b.shape[2])
        a, b = a[:, :, :size], b[:, :, b.shape[2] - size :]
        return a + b if self.add else self.mix(torch.cat([a, b], 1))


def shuffle(x: Tensor) -> Tensor:
    """Pixel shuffle along one axis, written with view and permute."""
    n, c, size = x.shape
    if size == 1:
        raise ValueError("an axis of one cell loses its name in a reshape")
    return x.view(n, 1, c, size).permute(0, 1, 3, 2).reshape(n, 1, size * c).expand(n, CHANNELS, size * c)


@st.composite
def layers(draw: Any, depth: int = 0) -> nn.Module:
    """One operation on a sequence of ``CHANNELS`` channels."""
    kinds = ["conv", "conv", "pool", "average", "transposed", "resize", "pad", "crop", "relu", "shuffle", "unshuffle", "unpool", "unfold"]
    kind = draw(st.sampled_from(kinds + ["skip"] * 3 * (depth < 2)))
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel // 2))
    if kind == "conv":
        mode = draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]))
        return nn.Conv1d(CHANNELS, CHANNELS, kernel, stride, padding * (dilation if mode == "zeros" else 1), dilation, padding_mode=mode)
    if kind == "pool":
        return nn.MaxPool1d(kernel, stride, padding, dilation, ceil_mode=draw(st.booleans()))
    if kind == "average":
        return nn.AvgPool1d(kernel, stride, padding, ceil_mode=draw(st.booleans()))
    if kind == "transposed":
        extra = draw(st.integers(0, max(stride, dilation) - 1))
        return nn.ConvTranspose1d(
            CHANNELS, CHANNELS, kernel, stride, draw(st.integers(0, dilation * (kernel - 1))), extra, dilation=dilation
        )
    if kind == "resize":
        mode = draw(st.sampled_from(["nearest", "nearest-exact", "linear"]))
        if draw(st.booleans()):
            factor = draw(st.sampled_from([2.0, 3.0, 0.5, 1.5, 4.0]))
            return Call(lambda x: F.interpolate(x, scale_factor=factor, mode=mode))
        size, align = draw(st.integers(1, 30)), mode == "linear" and draw(st.booleans())
        return Call(lambda x: F.interpolate(x, size=size, mode=mode, align_corners=align if mode == "linear" else None))
    if kind == "pad":
        before, after = draw(st.integers(-2, 3)), draw(st.integers(-2, 3))
        return Call(lambda x: F.pad(x, (before, after)))
    if kind == "crop":
        return Call(lambda x: x[:, :, kernel - 1 :: stride] if dilation == 1 else x[:, :, :-kernel])
    if kind == "relu":
        return nn.ReLU(inplace=draw(st.booleans()))
    if kind == "shuffle":
        return Call(shuffle)
    if kind == "unshuffle":
        return Call(lambda x: x[:, :, : x.shape[2] // 2 * 2].reshape(1, CHANNELS, -1, 2).mean(3))
    if kind == "unfold":
        return Call(lambda x: x.unfold(2, kernel, stride).amax(3))
    if kind == "unpool":
        return Unpool(kernel, stride)
    branches = [nn.Sequential(*draw(st.lists(layers(depth + 1), max_size=2))) for _ in range(2)]
    return Skip(branches[0], branches[1], draw(st.booleans()))


class Unpool(nn.Module):
    """A max pool undone, as in SegNet."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d((kernel, 1), (stride, 1), return_indices=True), nn.MaxUnpool2d((kernel, 1), (stride, 1))

    def forward(self, x: Tensor) -> Tensor:
        pooled, indices = self.pool(x.unsqueeze(3))
        return self.unpool(pooled, indices, output_size=(*x.shape[2:], 1)).squeeze(3)


def fields_of(parts: list[nn.Module], size: int) -> tuple[nn.Module, ReceptiveField]:
    """The layers in a row, and their fields; draws that do not fit the size are thrown away."""
    network = nn.Sequential(nn.Conv1d(CHANNELS, CHANNELS, 1), *parts)
    try:
        output = network(torch.zeros(1, CHANNELS, size))
    except (RuntimeError, ValueError, IndexError):
        assume(False)
    assume(0 < output.shape[2] < 4 * size + 20)
    try:
        return network, receptive_field(network, size)
    except ValueError as error:
        if "no cells" not in str(error):
            raise
        assume(False)
        raise


EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 20))
RELAXED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@RELAXED
@given(st.lists(layers(), min_size=1, max_size=5), st.integers(5, 24))
def test_analytic_intervals_are_the_probed_ones(parts: list[nn.Module], size: int) -> None:
    network, fields = fields_of(parts, size)
    probe = Probe(network, size)
    assert probe.sizes == fields.node.sizes
    for cell in range(probe.sizes[0]):
        expected = probe.interval((cell,))
        assert fields.interval((cell,)) == expected
        assert probe.interval((cell,), "nan") == expected


@RELAXED
@given(st.lists(layers(), min_size=1, max_size=5))
def test_fields_of_every_phase_are_those_of_inner_cells(parts: list[nn.Module]) -> None:
    """Far from the borders the exact intervals are the periodic ones."""
    size = 320
    _, fields = fields_of(parts, size)
    assume(not fields.is_global and not fields.graph.globals)
    (field,), intervals = fields.output.fields, fields.intervals()
    inner = [cell for cell in range(len(intervals)) if (found := field.at(cell)) is None or (found[0] >= 60 and found[1] <= size - 60)]
    assume(len(inner) > len(field.phases))
    for cell in inner:
        assert intervals[cell] == field.at(cell)
        if intervals[cell] is not None:
            first, end = cell * field.stride - field.halo[0], (cell + 1) * field.stride + field.halo[1]
            assert first < intervals[cell][0] + 1
            assert intervals[cell][1] < end + 1


@RELAXED
@given(st.lists(layers(), min_size=1, max_size=4), st.integers(6, 24), st.integers(1, 4))
def test_rows_to_keep_suffice_and_are_all_needed(parts: list[nn.Module], size: int, band: int) -> None:
    """A replay, band by band: nothing that was dropped is asked for again, and the largest store is the one predicted."""
    graph = fields_of(parts, size)[1].graph
    keep = rows_to_keep(graph, band=band)
    assert keep == replay(graph, band)


def replay(graph: Any, band: int) -> dict[str, int]:
    """Computes rows by demand, and drops what no later row of any reader reads."""
    total = graph.output.sizes[0]
    ends = [*range(band, total, band), total]
    history = [demand(graph, end) for end in ends]
    largest = {node.name: 0 for node in graph}
    for done in history:
        for node in graph:
            later = [
                edge.maps[0].reads(row, row + 1)
                for user in graph.readers[node.name]
                for edge in graph.node(user).edges
                if edge.source == node.name
                for row in range(done[user], history[-1][user])
            ]
            lowest = min([low for low, high in later if high > low], default=node.sizes[0])
            largest[node.name] = max(largest[node.name], done[node.name] - lowest)
    return largest


def demand(graph: Any, end: int) -> dict[str, int]:
    """How many rows of each node the first ``end`` rows of the output take."""
    rows = {node.name: 0 for node in graph} | {graph.output.name: end}
    for node in reversed(graph.nodes):
        for edge in node.edges:
            rows[edge.source] = max([rows[edge.source], *(edge.maps[0].reads(row, row + 1)[1] for row in range(rows[node.name]))])
    return rows


def test_a_wrong_rule_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison has teeth: one row or one phase off, and it fails."""
    from fcn.graph.axis import Transposed, Window

    network = nn.Sequential(nn.Conv1d(2, 2, 3, 2, 1), nn.ConvTranspose1d(2, 2, 4, 2, 1))
    right, taps = receptive_field(network, 20).intervals(), {kind: kind.taps for kind in (Window, Transposed)}
    assert right == [Probe(network, 20).interval((cell,))[0] for cell in range(20)]
    for kind, shift in ((Window, 1), (Transposed, 1)):
        monkeypatch.setattr(kind, "taps", lambda self, cells, kind=kind, shift=shift: taps[kind](self, np.asarray(cells) + shift))
        assert receptive_field(network, 20).intervals() != right
        monkeypatch.undo()
