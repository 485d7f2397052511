"""Every rule against the operation itself: any size, any band, any strip."""

from functools import cache
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn.inference.kept import unchanged
from tests.inference.stream.compare import differs, lively, streamed, written

CHANNELS = 4
Sides = int | tuple[int, int]


class Do(nn.Module):
    """A function between two convolutions, so that it has neighbours on both sides."""

    def __init__(self, function, out_channels=CHANNELS):
        super().__init__()
        self.before = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.function = function
        self.after = nn.Conv2d(out_channels, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.function(self.before(x)))


class Gate(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.pool, self.conv = pool, nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv(self.pool(x)).sigmoid()


class Skip(nn.Module):
    """A coarse branch joined to a fine one by cropping, with strides that do not divide the size."""

    def __init__(self, up, *, join="add"):
        super().__init__()
        self.down = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=3, dilation=3)
        self.up, self.join = up, join

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(self.deep(self.down(x).relu_()))[..., : x.shape[-2], : x.shape[-1]]
        return y + x if self.join == "add" else torch.cat([x, y], 1)


class InBatch(nn.Module):
    """Groups of channels as images of the batch, as EMA's attention has them."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.reshape(2, C // 2, *x.shape[2:])).reshape(1, C, *x.shape[2:])


class Pyramid(nn.Module):
    """Pooled into bins, resized to the map and joined to it, as in PSPNet."""

    def __init__(self, bins, align_corners=False):
        super().__init__()
        self.bins, self.align = bins, align_corners
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(F.adaptive_avg_pool2d(x, self.bins)).relu_()
        return torch.cat([x, F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=self.align)], 1)


class ChannelNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Shuffled(nn.Module):
    """Pixel shuffle and channel shuffle written with views."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = x.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)
        return x.expand(-1, 4, -1, -1)


class SegNet(nn.Module):
    """Un-pooling by the places of the largest values."""

    def __init__(self, *size: int, **options: int) -> None:
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(*size, **options, return_indices=True), nn.MaxUnpool2d(*size, **options)
        self.deep = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y, places = self.pool(x)
        return self.unpool(self.deep(y), places, output_size=x.shape[2:])


class Folded(nn.Module):
    def __init__(self, size: Sides, padding: Sides, stride: Sides, dilation: int) -> None:
        super().__init__()
        self.size, self.options = size, {"padding": padding, "stride": stride, "dilation": dilation}

    def forward(self, x: Tensor) -> Tensor:
        return F.fold(F.unfold(x, self.size, **self.options).relu(), x.shape[2:], self.size, **self.options)


class Tokens(nn.Module):
    """Cells in a row, as in transformers, each for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.wide, self.narrow = nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, 9), nn.Linear(9, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.narrow(F.gelu(self.wide(self.norm(tokens))))
        return x + tokens.transpose(1, 2).reshape(x.shape)


class Swapped(nn.Module):
    """A convolution and a pool in which rows stand in the place of columns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(CHANNELS, CHANNELS, (1, 5), padding=(0, 2), stride=(1, 2)), nn.AvgPool2d((2, 1), (1, 1), (1, 0))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(x.transpose(2, 3))).transpose(2, 3)


def global_norm(x):
    return x * (1 + torch.linalg.vector_norm(x, ord=2, dim=(2, 3), keepdim=True))


def up(**options):
    return lambda x: F.interpolate(x, **options)


def ramp(x):
    """A constant on the grid of ``x``."""
    return torch.arange(x.shape[2] * x.shape[3], dtype=x.dtype).view(x.shape[2:])


def first_row_of_ones(x):
    found = torch.zeros_like(x)
    found[:, :, 0] = 1
    return found


def copies(x):
    """Pooled cells that are copied to maps."""
    return torch.cat([x.amax((2, 3), keepdim=True).repeat(1, 2, *x.shape[2:]), x.mean(2, keepdim=True).expand_as(x)], 1)


def flat(x):
    """Pooled over space that was flattened, channels last and first."""
    deviation = x.permute(0, 2, 3, 1).flatten(1, 2).std((1, 2), correction=0)[:, None, None, None]
    return x * (x.flatten(2).mean(2) + x.view(*x.shape[:2], -1).amax(-1))[..., None, None] + deviation


def by_unfold(x):
    weight = torch.arange(9 * CHANNELS, dtype=x.dtype).view(1, -1)
    return (weight @ F.unfold(x, 3, padding=1)).view(-1, 1, *x.shape[2:])


def by_matrices(x):
    """Each cell times a matrix of its own."""
    matrices = ramp(x)[:, :, None, None].expand(-1, -1, CHANNELS, CHANNELS)
    return (x.permute(0, 2, 3, 1).unsqueeze(-2) @ matrices).squeeze(-2).permute(0, 3, 1, 2)


# name -> the layer (made anew for every test), the channels that come out of it
C = CHANNELS
LAYERS = {
    "conv": (lambda: nn.Conv2d(C, C, (3, 5), padding=(1, 2)), C),
    "conv valid": (lambda: nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(C, C, 3)), C),
    "conv stride": (lambda: nn.Conv2d(C, C, 3, stride=(2, 3), padding=1), C),
    "conv 1x1 stride": (lambda: nn.Conv2d(C, C, 1, stride=2), C),
    "conv padded beyond": (lambda: nn.Conv2d(C, C, 1, padding=2), C),
    "conv dilated": (lambda: nn.Conv2d(C, C, 3, padding=4, dilation=4, groups=2), C),
    "conv dilated, stride": (lambda: nn.Conv2d(C, C, 3, padding=2, dilation=3, stride=2), C),
    "conv even, same": (lambda: nn.Conv2d(C, C, 4, padding="same"), C),
    "conv replicate": (lambda: nn.Conv2d(C, C, 3, padding=1, padding_mode="replicate"), C),
    "depthwise, norm, relu6": (lambda: nn.Sequential(nn.Conv2d(C, C, 3, padding=1, groups=C), nn.BatchNorm2d(C), nn.ReLU6(True)), C),
    "norm alone": (lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(C), nn.ReLU(True)), C),
    "transposed": (lambda: nn.ConvTranspose2d(C, C, 4, stride=2, padding=1), C),
    "transposed, odd": (lambda: nn.ConvTranspose2d(C, C, 3, stride=2, padding=1, output_padding=1, groups=2), C),
    "transposed, holes": (lambda: nn.ConvTranspose2d(C, C, 2, stride=3, output_padding=1), C),
    "transposed, norm": (lambda: nn.Sequential(nn.ConvTranspose2d(C, C, 5, stride=3, groups=2, padding=2), nn.BatchNorm2d(C)), C),
    "transposed, dilated": (lambda: nn.ConvTranspose2d(C, C, 3, stride=2, dilation=2, padding=1), C),
    "max pool": (lambda: nn.MaxPool2d(3, 2, 1), C),
    "max pool, ceil": (lambda: nn.MaxPool2d(2, 2, ceil_mode=True), C),
    "max pool, ceil, padded": (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), C),
    "max pool, dilated": (lambda: nn.MaxPool2d(2, 1, 1, dilation=2), C),
    "average pool": (lambda: nn.AvgPool2d(3, 2, 1), C),
    "average pool, ceil": (lambda: nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False), C),
    "average pool, ceil, padded": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), C),
    "average pool, same": (lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False), C),
    "bilinear": (lambda: up(scale_factor=2, mode="bilinear"), C),
    "bilinear x8": (lambda: up(scale_factor=8, mode="bilinear"), C),
    "bilinear x3, x2": (lambda: up(scale_factor=(3, 2), mode="bilinear"), C),
    "bilinear x1.7": (lambda: up(scale_factor=1.7, mode="bilinear"), C),
    "bilinear x1.05, x1.7": (lambda: up(scale_factor=(1.05, 1.7), mode="bilinear"), C),
    "bicubic x1.05, x2": (lambda: up(scale_factor=(1.05, 2), mode="bicubic"), C),
    "nearest x1.05, x2.1": (lambda: up(scale_factor=(1.05, 2.1), mode="nearest"), C),
    "bilinear down": (lambda: up(scale_factor=0.6, mode="bilinear"), C),
    "bilinear to a size": (lambda: up(size=(37, 41), mode="bilinear"), C),
    "bilinear, corners": (lambda: up(scale_factor=3, mode="bilinear", align_corners=True), C),
    "conv reflect, dilated": (lambda: nn.Conv2d(C, C, 3, padding=4, dilation=4, padding_mode="reflect"), C),
    "conv circular": (lambda: nn.Conv2d(C, C, 3, padding=1, padding_mode="circular"), C),
    "transposed, output padding": (lambda: nn.ConvTranspose2d(C, C, 1, stride=2, output_padding=1), C),
    "area": (lambda: up(size=(4, 4), mode="area"), C),
    "area, resized": (lambda: lambda x: F.interpolate(F.interpolate(x, size=(3, 4), mode="area"), scale_factor=3), C),
    "bicubic": (lambda: up(scale_factor=2, mode="bicubic"), C),
    "nearest": (lambda: up(scale_factor=3, mode="nearest"), C),
    "nearest to a size": (lambda: up(size=(37, 41), mode="nearest"), C),
    "nearest exact": (lambda: up(size=(29, 41), mode="nearest-exact"), C),
    "pixel shuffle": (lambda: nn.Sequential(nn.Conv2d(C, 4 * C, 1), nn.PixelShuffle(2)), C),
    "shuffles by views": (lambda: Shuffled(), C),
    "pixel unshuffle": (lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.PixelUnshuffle(2)), 4 * C),
    "zero pad": (lambda: nn.ZeroPad2d((1, 2, 3, 0)), C),
    "crop by padding": (lambda: nn.Sequential(nn.ZeroPad2d(3), nn.ZeroPad2d((-1, -2, -3, 1))), C),
    "constant pad": (lambda: nn.ConstantPad2d((0, 1, 2, 3), 1.5), C),
    "replicate pad": (lambda: nn.ReplicationPad2d((3, 1, 2, 4)), C),
    "slices": (lambda: lambda x: F.pad(x, (2, 2, 2, 2))[:, :, 1:-1:2, 3:], C),
    "one row, one column": (lambda: lambda x: x + x[:, :, -1].unsqueeze(2) * x[..., 0].unsqueeze(-1), C),
    "channels cut and swapped": (lambda: lambda x: torch.cat([*reversed(x.chunk(2, 1)), x.split([1, 3], 1)[1]], 1), C + 3),
    "skip, added": (lambda: Skip(nn.Upsample(scale_factor=2, mode="bilinear")), C),
    "skip, joined": (lambda: Skip(nn.ConvTranspose2d(C, C, 2, stride=2), join="cat"), 2 * C),
    "gate": (lambda: Gate(nn.AdaptiveAvgPool2d(1)), C),
    "gate by mean": (lambda: Gate(lambda x: x.mean((2, 3), keepdim=True)), C),
    "gate by maximum": (lambda: Gate(nn.AdaptiveMaxPool2d(1)), C),
    "gate after gate": (lambda: nn.Sequential(Gate(nn.AdaptiveAvgPool2d(1)), nn.Conv2d(C, C, 3), Gate(nn.AdaptiveAvgPool2d(1))), C),
    "pyramid": (lambda: Pyramid(3), 2 * C),
    "pyramid, corners": (lambda: Pyramid((2, 6), True), 2 * C),
    "image pool": (lambda: Pyramid(1), 2 * C),
    "channel norm": (lambda: ChannelNorm(), C),
    "instance norm": (lambda: nn.Sequential(nn.InstanceNorm2d(C, affine=True), nn.ReLU(True)), C),
    "group norm": (lambda: nn.GroupNorm(2, C), C),
    "layer norm over all": (lambda: nn.GroupNorm(1, C), C),
    "norm over the map": (lambda: global_norm, C),
    "softmax over channels": (lambda: nn.Softmax(1), C),
    "spatial gate": (lambda: lambda x: x * x.mean(1, keepdim=True).sigmoid() + x.amax(1, keepdim=True), C),
    "activations": (lambda: nn.Sequential(nn.Hardswish(True), nn.GELU(), nn.SiLU(True), nn.PReLU(), nn.ELU(), nn.Hardsigmoid()), C),
    "largest channel": (lambda: lambda x: x * torch.max(x, 1, keepdim=True)[0], C),
    "several results": (lambda: lambda x: torch.cat(torch.var_mean(x, 1, keepdim=True), 1), 2),
    "moved dimensions": (lambda: lambda x: x.movedim(1, -1).mul(2).movedim(-1, 1) + x, C),
    "swapped axes": (lambda: lambda x: x.swapaxes(1, 3).mul(2).swapaxes(1, 3) + x, C),
    "rows for columns": (lambda: lambda x: x.mT.mul(2).mT + x, C),
    "numbers of its shape": (lambda: lambda x: torch.where(x > 0, x, torch.zeros_like(x)) + torch.full_like(x, 3) * torch.ones_like(x), C),
    "numbers, some written over": (lambda: lambda x: x * first_row_of_ones(x), C),
    "a map in einsum": (lambda: lambda x: torch.einsum("nchw,hw->nchw", x, ramp(x)), C),
    "a view by einsum": (lambda: lambda x: torch.einsum("nchw->nhwc", x).mul(2).permute(0, 3, 1, 2) + x, C),
    "maps in matmul": (lambda: by_matrices, C),
    "stacked on a map": (lambda: lambda x: torch.stack([x, ramp(x).expand(x.shape)], 2).sum(2), C),
    "variances": (lambda: lambda x: x * x.var((2, 3), keepdim=True) + x.var() + x.std((1, 2), keepdim=True, correction=0), C),
    "softmax over rows and columns": (lambda: lambda x: x * x.softmax(2) + x.log_softmax(2) + x.softmax(3), C),
    "pooled and copied": (lambda: copies, 3 * C),
    "flipped": (lambda: lambda x: x + x.flip(1, 3) + x.fliplr() + x.roll(1, 3), C),
    "flattened and pooled": (lambda: flat, C),
    "unpooled": (lambda: nn.Sequential(SegNet(2), SegNet(3, 2, padding=1)), C),
    "windows laid out and folded": (lambda: nn.Sequential(Folded((3, 2), (1, 0), (2, 1), 1), Folded(2, 1, 3, 2)), C),
    "least value": (lambda: Gate(lambda x: x.amin((2, 3), keepdim=True)), C),
    "logarithm of a sum": (lambda: Gate(lambda x: x.logsumexp((2, 3), keepdim=True) + x.logsumexp((1, 2), keepdim=True)), C),
    "rows for columns in a convolution": (lambda: Swapped(), C),
    "tokens": (lambda: Tokens(), C),
    "windows laid out": (lambda: lambda x: F.unfold(x, 3, padding=1).view(x.shape[0], C, 9, *x.shape[2:]).amax(2), C),
    "convolution by unfold": (lambda: by_unfold, 1),
    "sum over columns": (lambda: lambda x: x.cumsum(3)[..., 1:], C),
    "channels moved by a pad": (lambda: lambda x: F.pad(x, (0, 0, 0, 0, 1, -1)), C),
    "channels in another order": (lambda: lambda x: x[:, [2, 0, 1, 1]].index_select(1, torch.tensor([3, 0, 2])), 3),
    "cells counted": (lambda: lambda x: x * ((x > 0).sum((2, 3), keepdim=True) + (x > 1).sum(dim=(1, 2, 3)).view(1, 1, 1, 1)), C),
    "means of another type": (lambda: lambda x: x + x.mean((2, 3), keepdim=True, dtype=torch.float32), C),
    "truth values": (lambda: lambda x: x * ((x > 0) & (x < 1) | (x < -1) ^ (x < -2)), C),
    "groups in the batch, group norm": (lambda: InBatch(nn.GroupNorm(2, 2)), C),
    "groups in the batch, instance norm": (lambda: InBatch(nn.InstanceNorm2d(2, affine=True)), C),
    "dilated pool with padding": (lambda: nn.MaxPool2d(3, 2, padding=1, dilation=2), C),
    "in place, read twice": (lambda: lambda x: torch.cat([x.relu_(), x.mul_(2), x], 1), 3 * C),
}  # fmt: skip


@pytest.mark.parametrize("options", [{"scale_factor": 41}, {"size": (82, 123)}])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("band", [1, 2, 3])
def test_a_nearest_resize_that_rounds(options, mode, band):
    """Where float32 moves a cell, a block that begins elsewhere is no smaller image."""
    network = nn.Sequential(nn.Conv2d(3, CHANNELS, 1), nn.Upsample(**options, mode=mode)).eval().to(memory_format=torch.channels_last)
    image = torch.randn(1, 3, 4, 9, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)
    assert differs(network, image, band=band, strips=2) < 1e-6


class Valid(nn.Module):
    """As the first U-Net: padded before, convolved without padding, and cut to the size of the image."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Upsample(scale_factor=2))
        self.last = nn.Conv2d(4, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.body(F.pad(x, (12,) * 4, mode="reflect")))
        top, left = (y.shape[2] - x.shape[2]) // 2, (y.shape[3] - x.shape[3]) // 2
        return y[:, :, top : top + x.shape[2], left : left + x.shape[3]]


@pytest.mark.parametrize("band", [1, 4, 8, 17])
@pytest.mark.parametrize("strips", [1, 2])
def test_a_network_that_ends_in_a_crop(band, strips):
    """Its bands are views of memory in which rows stay."""
    image = torch.randn(1, 3, 60, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert differs(lively(Valid()), image, band=band, strips=strips) < 1e-12


def test_a_weight_for_each_channel_of_as_many_as_there_are_columns():
    network = lively(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.PReLU(16), nn.Conv2d(16, 4, 1)))
    image = torch.randn(1, 3, 9, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert differs(network, image, band=4, strips=3) < 1e-12


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.roll(2), "shifts the image around its borders"),
        (InBatch(nn.BatchNorm2d(2, track_running_stats=False)), "of which it takes the statistics together"),
        (lambda x: x[:, :, [0, 2, 1]], "it picks rows or columns by their numbers"),
    ],
)
def test_is_refused(function, message):
    image = torch.randn(1, 3, 9, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=message):
        streamed(lively(Do(function)), image, band=4)


SIZES = [(1, 1), (1, 5), (2, 16), (3, 1), (5, 12), (8, 2), (12, 8), (12, 16), (16, 3)]
BANDS = (1, 2, 3, 4, 7, 10, 25)
STRIPS = (1, 2, 3)
SOME = ([(3, 1), (5, 12), (12, 16)], (1, 3, 7, 25), (1, 3))  # of each


@pytest.mark.parametrize("tried", [SOME, pytest.param((SIZES, BANDS, STRIPS), marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.parametrize("name", LAYERS)
def test_streamed_is_whole(name, tried):
    network = network_of(name)
    sizes, bands, strip_counts = tried
    for size in sizes:
        image = torch.randn(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        try:
            with torch.inference_mode():
                finite = network(image).isfinite().all()
        except (RuntimeError, ValueError):
            continue  # the layer itself takes no map so small
        if name == "shuffles by views" and 1 in size and size != (1, 1):
            with pytest.raises(ValueError, match="'conv2d' in layer 'after' in bands of rows: an axis of one cell has been lost"):
                streamed(network, image, band=1)
        elif finite:
            with unchanged(network):
                for band, strips in product([*(band for band in bands if band < size[0]), bands[-1]], strip_counts):
                    assert differs(network, image, band=band, strips=strips) < 1e-6, (size, band, strips)
                if size == (12, 16):
                    written(network, image, band=4, strips=2)


@cache
def network_of(name):
    make, channels = LAYERS[name]
    torch.manual_seed(0)
    return lively(Do(make(), channels))
