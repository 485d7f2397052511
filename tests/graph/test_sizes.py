"""One export for all sizes: the graph at another size is the one that is read there, or none is given."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fcn
from fcn.graph import Graph, read_graph
from fcn.graph.sizes import open_graph
from fcn.inference.scoring import ScoresOf


class Plain(nn.Module):
    """Two convolutions, of which ``forward`` makes something that may look at the size."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        y = self.down(F.pad(x, (0, -width % 4, 0, -height % 4)))
        z = F.interpolate(self.deep(y), scale_factor=1.7, mode="bilinear")
        z = F.adaptive_avg_pool2d(z, (math.ceil(height / 7), 3))
        return F.interpolate(z, size=y.shape[-2:], mode="bilinear", align_corners=True) * 2


class Branches(Plain):
    limit = 40

    def forward(self, x: Tensor) -> Tensor:
        return self.down(x) if x.shape[-2] < self.limit else super().forward(x)


class Baked(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + torch.from_numpy(np.linspace(0, 1, y.shape[-1], dtype=np.float32))


def described(graph: Graph) -> list[object]:
    """All but names, which sums of sizes push on. A crop may be a slice or a pad by less than nothing."""
    place = {node.name: index for index, node in enumerate(graph)}
    return [
        (node.op.replace("pad", "slice"), node.shape, node.dims, node.macs, [(place[edge.source], edge.maps) for edge in node.edges])
        for node in graph
    ]


@pytest.mark.parametrize("network", [Plain(), ScoresOf(fcn.create_model("fcn8s", backbone="compact", num_classes=3))])
def test_at_another_size_the_graph_is_the_one_that_is_read_there(network: nn.Module) -> None:
    opened = open_graph(network, (64, 64))
    assert opened is not None
    for size in ((64, 64), (128, 44), (65, 70)):
        graph = opened.at(*size)
        assert graph is not None
        assert described(graph) == described(read_graph(network, size))
    assert opened.at(1, 61) is None  # an axis of one cell is a case of its own


def test_where_the_network_decides_by_the_size_nothing_is_said() -> None:
    opened = open_graph(Branches(), (64, 70))
    assert opened is not None
    assert not opened.plain
    assert opened.at(40, 70) is not None
    assert opened.at(39, 70) is None


def test_a_size_that_became_a_number_is_no_other() -> None:
    opened = open_graph(Baked(), (64, 70))
    assert opened is None or opened.at(64, 100) is None
