"""What every backbone has; see ``fcn.models.backbones``."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple, Self

from torch import Tensor, fx, nn
from torch.nn import functional as F

from fcn.core.errors import UserError
from fcn.rewrite.dilate import Reading
from fcn.rewrite.dilate.lattice import Lattice

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Margin(NamedTuple):
    """Zeros round the image, for networks that drop its border (windows without padding). It also tells how many cells of each feature, at
    the top and the left, belong to the margin only."""

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
        offsets: tuple[tuple[Fraction, Fraction], ...] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.channels, self.strides, self.divisor = tuple(channels), tuple(strides), divisor
        self.mean, self.std = tuple(mean), tuple(std)
        self.margin = margin
        if offsets is not None:
            self.offsets = offsets
        self.frozen: frozenset[str] = frozenset()  # names of parameters, see ``freezing``
        self.still: frozenset[str] = frozenset()  # names of modules that stay in evaluation mode

    def train(self, mode: bool = True) -> Self:
        """Training mode but for what is frozen."""
        super().train(mode)
        for name in self.still if mode else ():
            self.get_submodule(name).eval()
        return self

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

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return len(self.mean)

    @cached_property
    def offsets(self) -> tuple[tuple[Fraction, Fraction] | None, ...]:
        """Pixel (row, column) on which the field of each feature's first cell is centred, counted from the image's first pixel. Gates over
        the whole map do not count. None where a feature has no place that is known."""
        from fcn.graph import UnknownOperationError, read_graph
        from fcn.graph.receptive_field import ReceptiveField

        side = max(2 * self.strides[-1], 64)
        try:
            graph = read_graph(self, (side, side))
        except UnknownOperationError:
            return (None,) * len(self.strides)
        found: list[tuple[Fraction, Fraction] | None] = []
        for name in graph.outputs:
            row, column = ReceptiveField(graph, output=name, ignore_global=True).offset
            found.append(None if row is None or column is None else (row, column))
        return tuple(found)


def from_graph(network: fx.GraphModule, reading: Reading, *, mean: Sequence[float], std: Sequence[float]) -> Backbone:
    """A backbone of a graph that returns its features: strides, channels, offsets and margin from where its tensors stand."""
    nodes = reading.outputs()
    channels = [reading.spreads[node][0].shape[1] for node in nodes]
    grids = [axis.now for node in nodes for axis in (reading.axes(node) or ())[:1]]
    columns = [axis.now for node in nodes for axis in (reading.axes(node) or ())[1:]]
    if len(columns) != len(nodes) or any(row != column for row, column in zip(grids, columns, strict=True)):
        raise UserError("its features do not lie on square grids of cells; choose another backbone")
    strides = [int(grid.stride) for grid in grids]
    margin, divisor, centers = None, 1, [grid.center for grid in grids]
    if not all(grid.is_whole for grid in grids):
        margin = margin_for(grids)
        centers = [
            None if grid.center is None else grid.center - margin.before + cells * grid.stride
            for grid, cells in zip(grids, margin.skipped, strict=True)
        ]
    if margin is not None or any(grid.excess for grid in grids):
        divisor = max(strides)
    if None in centers:  # maps of different origin are joined, which agree where no stride leaves a rest
        divisor = int(reading.stride())
    known = [(center, center) for center in centers if center is not None]
    offsets = tuple(known) if len(known) == len(nodes) else None
    return Backbone(network, channels, strides, divisor=divisor, mean=mean, std=std, margin=margin, offsets=offsets)


def margin_for(grids: Sequence[Lattice]) -> Margin:
    """The margin with which every feature has its cells for images that the largest stride divides, the first of them over the first
    pixels of the image: as near as whole cells allow to where cells that tile the image would be."""
    centers = [-grid.excess / 2 if grid.center is None else grid.center for grid in grids]
    before = max(round(centers[-1] - (grids[-1].stride - 1) / 2), 0)
    skipped = [max(round((before - at + (grid.stride - 1) / 2) / grid.stride), 0) for at, grid in zip(centers, grids, strict=True)]
    # whole (see Lattice) once the margin is added and the skipped cells are taken away
    needed = max((cells - 1) * grid.stride - grid.excess for cells, grid in zip(skipped, grids, strict=True)) + 1
    return Margin(before, max(int(needed) - before, 0), tuple(skipped))
