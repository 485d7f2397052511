"""Resizes by a factor against torch: each cell of the source stands alone in an image of its own, and shows where it is read."""

from itertools import product

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from fcn.graph import read_graph
from fcn.graph.axis import AxisMap
from fcn.graph.layout import Atom, plain
from fcn.graph.ops.maps import Call, Value
from fcn.graph.ops.resizes import resize

LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
MODES = [
    *(("linear", 1, "upsample_linear1d"), ("bilinear", 2, "upsample_bilinear2d"), ("trilinear", 3, "upsample_trilinear3d")),
    *(("bicubic", 2, "upsample_bicubic2d"), ("bilinear", 2, "_upsample_bilinear2d_aa"), ("bicubic", 2, "_upsample_bicubic2d_aa")),
    *(("nearest", rank, f"upsample_nearest{rank}d") for rank in (1, 2, 3)),
    *(("nearest-exact", rank, f"_upsample_nearest_exact{rank}d") for rank in (1, 2, 3)),
]
KEPT, DOUBLED = [(3, 1.3), (30, 1.02), (3, 1.0)], [(3, 2.1), (30, 2.01), (5, 2.0)]
OTHERS = [(7, 0.6), (2, 41.0), (3, 6.1)]


def axis_of(op: str, x: Tensor, shape: tuple[int, ...], factors: list[float], align: bool | None) -> AxisMap:
    """The rule's map along the first axis of ``x`` (1, C, ...) resized to ``shape``."""
    graph = fx.Graph()
    source = graph.placeholder("x")
    source.meta["val"] = x
    sizes = tuple(x.shape[2:])
    layout = (plain(1), plain(x.shape[1]), *((Atom(size, axis),) for axis, size in enumerate(sizes)))
    arguments = {"input": source, "scale_factors": factors, "align_corners": align}
    value = Value("x", tuple(x.shape), layout, sizes)
    node = graph.call_function(torch.relu, (source,))
    return resize(Call(node, op, len(sizes), arguments, {source: value}, {source: value.shape}, shape)).edges[0][1][0]


@pytest.mark.parametrize(("mode", "rank", "op"), MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("last", [False, True])
def test_cells_are_read_where_torch_reads_them(mode: str, rank: int, op: str, dtype: torch.dtype, last: bool) -> None:
    """Where a factor leaves the size as it is or doubles it, too: small and large results, few and many channels, both memory layouts."""
    smooth, nearest = op.endswith("_aa"), "nearest" in mode
    for align in [None] if nearest else [False] if smooth else [False, True]:
        options = {} if nearest else {"align_corners": align, **({"antialias": True} if smooth else {})}
        for (n, factor), (size, other), channels in product(
            KEPT + DOUBLED + OTHERS, [(4, 1.2), (4, 2.0), (70 if rank == 2 else 5, 2.0)], (3, 4) if nearest else (4,)
        ):
            x = torch.zeros(n, channels, n, *[size] * (rank - 1), dtype=dtype)
            for cell in range(n):
                x[cell, :, cell] = 1
            x = x.contiguous(memory_format=LAST[rank]) if last and rank > 1 else x
            factors = [factor, *[other] * (rank - 1)]
            y = F.interpolate(x, scale_factor=tuple(factors), mode=mode, **options)
            low, high = axis_of(op, x[:1], (1, *y.shape[1:]), factors, align).bounds
            for cell in range(y.shape[2]):
                used = (y[:, 0, cell].flatten(1)[:, y[0, 0, 0].numel() // 2] if rank > 1 else y[:, 0, cell]).abs() > 1e-6
                found = used.nonzero()
                expected = int(found.min()), int(found.max()) + 1
                assert (low[cell], high[cell]) == expected, (n, factor, size, other, channels, align, cell)


@pytest.mark.parametrize("factor", [1.3, 1.004])
def test_a_size_that_a_factor_keeps_is_said_to_depend_on_the_total_size(factor: float) -> None:
    """At another size torch interpolates."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Upsample(scale_factor=factor, mode="bilinear"))
    size = 3 if factor == 1.3 else 100
    graph = read_graph(network, (size, size))
    assert graph.output.sizes == (size, size)
    axis = graph.output.maps[0]
    assert axis.is_identity
    assert not axis.is_local
    assert graph.output.is_global is not None
    assert read_graph(network, (1000, 1000)).output.is_global is None
