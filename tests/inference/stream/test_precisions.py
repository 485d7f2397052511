"""Streamed against whole in the precisions and memory layouts that people run: every activation and norm of torch; and what is written
into memory that is given."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import activation, normalization

import fcn
from fcn.graph.ops import TABLE
from fcn.inference.strategies import create_strategy
from fcn.inference.stream import prepare
from tests.inference.stream.compare import ORDERS, lively, streamed, written

CHANNELS = 8
SETTINGS = {"Threshold": (0.1, 3.0), "Softmin": (1,), "Softmax": (1,), "LogSoftmax": (1,), "GLU": (1,)}
ACTIVATIONS: dict[str, nn.Module] = {
    **{name: getattr(nn, name)(*SETTINGS.get(name, ())) for name in activation.__all__ if name != "MultiheadAttention"},
    "GELU, tanh": nn.GELU("tanh"),
    "ReLU in place": nn.ReLU(True),
    "SiLU in place": nn.SiLU(True),
    "Hardswish in place": nn.Hardswish(True),
}


class Last(nn.Module):
    """A norm over the channels, which are the last dimension for it."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


NORMS = {
    "BatchNorm2d": nn.BatchNorm2d(CHANNELS),
    "SyncBatchNorm": nn.SyncBatchNorm(CHANNELS),
    "InstanceNorm2d": nn.InstanceNorm2d(CHANNELS, affine=True),
    "GroupNorm": nn.GroupNorm(2, CHANNELS),
    "LayerNorm": Last(nn.LayerNorm(CHANNELS)),
    "RMSNorm": Last(nn.RMSNorm(CHANNELS)),
}


class Branches(nn.Module):
    """Each layer between two convolutions: the second holds rows of what the layer gives, which is written to them where it can be."""

    def __init__(self, layers):
        super().__init__()
        self.names, self.layers = list(layers), nn.ModuleList(layers.values())
        self.before = nn.ModuleList(nn.Conv2d(3, CHANNELS, 3, padding=1) for _ in layers)
        self.after = nn.ModuleList(nn.Conv2d(CHANNELS // (1 + (name == "GLU")), 2, 3, padding=1) for name in layers)
        self.gain = nn.Parameter(torch.ones(CHANNELS, 1, 1))  # in another type than the map under autocast

    def forward(self, x: Tensor) -> Tensor:
        parts = [before(x) for before in self.before]
        parts[0] = (parts[0] + 1) * self.gain - 1
        return torch.cat([after(layer(part)) for part, layer, after in zip(parts, self.layers, self.after, strict=True)], 1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return lively(Branches(ACTIVATIONS | NORMS))


def test_all_norms_are_there_or_refused():
    assert set(normalization.__all__) - {"CrossMapLRN2d", "LocalResponseNorm"} <= set(NORMS)  # the first is no operation of torch's own
    with pytest.raises(
        ValueError, match="cannot compute 'avg_pool3d' in layer '1' in bands of rows: the table of operations does not say how"
    ):
        prepare(nn.Sequential(nn.Conv2d(3, 4, 1), nn.LocalResponseNorm(2)), 8, 8)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_every_activation_and_norm(network, dtype, order):
    real = torch.float32 if dtype == torch.bfloat16 else dtype
    network.to(dtype=real, memory_format=order)
    image = torch.randn(1, 3, 31, 40, dtype=real, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=order)
    with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        found = streamed(network, image, band=7)
        with torch.inference_mode():
            whole = network(image).to(real)
    with torch.inference_mode():
        exact = network(image)
    for index, name in enumerate(network.names):
        part = slice(2 * index, 2 * index + 2)
        apart, size = (found[:, part] - whole[:, part]).abs(), float(whole[:, part].abs().max())
        if dtype == torch.bfloat16:  # batch norm is folded before weights are rounded, which rounds otherwise, but not more
            assert float(apart.mean()) < 1.5 * float((whole - exact)[:, part].abs().mean()), name
            assert float(apart.max()) < 0.05 * size, name
        else:
            assert float(apart.max()) < (1e-12 if dtype == torch.float64 else 1e-5) * size, name


class Sums(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        y = (x + y) * (x - 2 * y).sigmoid() / (1 + y * y)
        return torch.cat([torch.clamp(y, -0.5, 0.5), torch.clamp_min(x, 0.1), torch.clamp(y, x.new_zeros(1), None)], 1)[:, : x.shape[1]]


def test_every_operation_writes_right_into_strided_memory():
    """Each that is listed, and whatever else has a form that writes."""
    torch.manual_seed(0)
    network = lively(Branches(ACTIVATIONS | NORMS | {"sums": Sums()}))
    names = written(network, torch.randn(1, 3, 12, 10, dtype=torch.float64), band=5)
    assert names >= {*(name for name, entry in TABLE.items() if entry.into), "group_norm", "instance_norm"}


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_a_large_network_of_gelus_in_float32(order):
    torch.manual_seed(0)
    model = lively(fcn.create_model("unet", backbone="repvit_m0_9", num_classes=5)).float().to(memory_format=order)
    image = torch.randint(0, 256, (3, 512, 512), dtype=torch.uint8)
    first = create_strategy("stream", band=64, passes=99)(model, image)
    assert torch.equal(create_strategy("stream", band=64, passes=99)(model, image), first)
    assert (create_strategy("whole")(model, image) == first).float().mean() > 0.999
