"""What every backbone has; see ``fcn.models.backbones``."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from torch import Tensor, fx, nn
from torch.nn import functional as F

from fcn.models.dilate import Reading

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Margin(NamedTuple):
    """For networks that drop the image's border (windows without padding): zeros round the image, and how many cells of each feature,
    at the top and the left, then belong to the margin only."""

    before: int  # pixels at the top and the left
    after: int
    skipped: tuple[int, ...]  # cells of each feature


class Backbone(nn.Module):
    """``network(images)`` returns the features; the rest are facts about it."""

    def __init__(
        self,
        network: nn.Module,
        channels: Sequence[int],
        strides: Sequence[int],
        *,
        divisor: int = 1,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        margin: Margin | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.channels, self.strides, self.divisor = tuple(channels), tuple(strides), divisor
        self.mean, self.std = tuple(mean), tuple(std)
        self.margin = margin

    def forward(self, images: Tensor) -> list[Tensor]:
        if self.margin is None:
            return list(self.network(images))
        before, after, skipped = self.margin
        features = self.network(F.pad(images, (before, after, before, after)))
        height, width = images.shape[-2:]
        return [
            feature.narrow(-2, first, -(-height // stride)).narrow(-1, first, -(-width // stride))
            for feature, stride, first in zip(features, self.strides, skipped, strict=True)
        ]

    @cached_property
    def offsets(self) -> tuple[tuple[Fraction, Fraction] | None, ...]:
        """For each feature, the pixel (row, column) on which the field of its first cell is centred, counted from the image's first
        pixel; gates over the whole map are left out of account. None where a feature has no place (attention)."""
        from fcn.geometry.graph import read_graph
        from fcn.geometry.receptive_field import ReceptiveField

        side = max(2 * self.strides[-1], 64)
        graph = read_graph(self, side)
        found: list[tuple[Fraction, Fraction] | None] = []
        for name in graph.outputs:
            row, column = ReceptiveField(graph, output=name, ignore_global=True).offset
            found.append(None if row is None or column is None else (row, column))
        return tuple(found)


def from_graph(network: fx.GraphModule, reading: Reading, *, mean: Sequence[float], std: Sequence[float]) -> Backbone:
    """A backbone of a graph that returns its features: strides, channels and margin from where its tensors stand."""
    channels, grids = [], []
    for node in reading.outputs():
        axes = reading.axes(node)
        assert axes is not None
        channels.append(reading.spreads[node][0].shape[1])
        grids.append([axis.now for axis in axes])
    strides = [int(rows.stride) for rows, _ in grids]
    deepest = max(strides)
    if all(grid.is_whole for pair in grids for grid in pair):
        exact = all(grid.excess == 0 for pair in grids for grid in pair)
        return Backbone(network, channels, strides, divisor=1 if exact else deepest, mean=mean, std=std)
    rows = [pair[0] for pair in grids]
    before = max(round(rows[-1].center - Fraction(deepest - 1, 2)), 0)
    skipped = [max(round((before - grid.center + Fraction(int(grid.stride) - 1, 2)) / grid.stride), 0) for grid in rows]
    lacking = [cells * grid.stride - grid.stride - grid.excess + 1 for cells, grid in zip(skipped, rows, strict=True)]
    after = max(int(max(lacking)) - before, 0)
    return Backbone(network, channels, strides, divisor=deepest, mean=mean, std=std, margin=Margin(before, after, tuple(skipped)))
