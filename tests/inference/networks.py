"""Networks as people write them by hand, small: what the tests of strategies run on anybody's network share."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

CLASSES = 4


def pair(in_channels, out_channels, **options):
    first = nn.Conv2d(in_channels, out_channels, 3, padding=1, **options)
    second = nn.Conv2d(out_channels, out_channels, 3, padding=1, **options)
    return nn.Sequential(
        first, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True), second, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
    )


class PaddedUNet(nn.Module):
    """Transposed convolutions; what they give is padded to the size of the skip."""

    def __init__(self):
        super().__init__()
        widths = (6, 8, 10, 12)
        self.downs = nn.ModuleList([pair(3, 6), pair(6, 8), pair(8, 10), pair(10, 12)])
        self.ups = nn.ModuleList([nn.ConvTranspose2d(below, above, 2, stride=2) for above, below in pairwise(widths)])
        self.mixes = nn.ModuleList([pair(2 * width, width) for width in widths[:-1]])
        self.last = nn.Conv2d(6, CLASSES, 1)

    def forward(self, x):
        skips = []
        for level, down in enumerate(self.downs):
            x = down(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in (2, 1, 0):
            x = self.ups[level](x)
            rows, columns = skips[level].size(2) - x.size(2), skips[level].size(3) - x.size(3)
            x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
            x = self.mixes[level](torch.cat([skips[level], x], dim=1))
        return self.last(x)


class CroppedUNet(nn.Module):
    """Bilinear up-sampling by 2; skips are cropped in the middle. Sides must be even, twice over, or the result is smaller."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = pair(3, 6), pair(6, 8), pair(8, 10)
        self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.d, self.e, self.last = pair(18, 8), pair(14, 6), nn.Conv2d(6, CLASSES, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(self.pool(a))
        x = self.d(self.joined(b, self.up(self.c(self.pool(b)))))
        return self.last(self.e(self.joined(a, self.up(x))))

    @staticmethod
    def joined(skip, x):
        top, left = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
        return torch.cat((skip[:, :, top : top + x.shape[2], left : left + x.shape[3]], x), 1)


class FunctionalUNet(nn.Module):
    """Nothing but parameters and functions; pools with ceil_mode; sums in place of concatenations."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(8, channels, 3, 3) / 6) for channels in (3, 8, 8, 8, 8)])
        self.last = nn.Parameter(torch.randn(CLASSES, 8, 1, 1))

    def forward(self, x):
        a = F.relu_(F.conv2d(x, self.weights[0], padding="same"))
        b = F.silu(F.conv2d(F.max_pool2d(a, 3, 2, padding=1, ceil_mode=True), self.weights[1], padding=1))
        c = F.gelu(F.conv2d(F.avg_pool2d(b, 2, ceil_mode=True), self.weights[2], padding=2, dilation=2))
        b = F.conv2d(b + F.interpolate(c, size=b.shape[2:], mode="nearest"), self.weights[3], padding=1)
        a = F.conv2d(a + F.interpolate(b, size=a.shape[2:], mode="bicubic"), self.weights[4], padding=1)
        return F.conv2d(F.leaky_relu(a, 0.1), self.last)


class WeightNormedUNet(nn.Module):
    """Weight norm, strided convolutions, instance norm, pixel shuffle; a head at half the size, interpolated."""

    def __init__(self):
        super().__init__()
        self.a = weight_norm(nn.Conv2d(3, 8, 3, stride=2, padding=1))
        self.b = weight_norm(nn.Conv2d(8, 16, 3, stride=2, padding=1))
        self.norm, self.up = (
            nn.InstanceNorm2d(16, affine=True),
            nn.Sequential(weight_norm(nn.Conv2d(16, 32, 3, padding=1)), nn.PixelShuffle(2)),
        )
        self.last = nn.Conv2d(16, CLASSES, 3, padding=1)

    def forward(self, x):
        a = F.elu(self.a(x))
        b = self.up(F.elu(self.norm(self.b(a))))[..., : a.shape[2], : a.shape[3]]
        return F.interpolate(self.last(torch.cat([a, b], 1)), x.shape[2:], mode="bilinear", align_corners=False)


class UpsamplingUNet(nn.Module):
    """``nn.Upsample(size=...)`` made on the way, group norm, a dict of outputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.norm, self.last = nn.GroupNorm(4, 8), nn.Conv2d(8, CLASSES, 1)

    def forward(self, x):
        a = torch.relu(self.a(x))
        b = torch.relu(self.norm(self.b(a)))
        b = nn.Upsample(size=a.shape[2:], mode="bilinear", align_corners=True)(b)
        return {"out": nn.Upsample(size=x.shape[2:], mode="bilinear", align_corners=True)(self.last(a + b)), "features": b}


class Trunk(nn.Module):
    """Two strided convolutions, a block of one kind, a head whose scores are interpolated."""

    def __init__(self, block):
        super().__init__()
        self.a, self.b, self.block, self.last = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), block, nn.Conv2d(8, CLASSES, 1)

    def forward(self, x):
        return F.interpolate(self.last(self.block(F.relu(self.b(F.relu(self.a(x)))))), x.shape[2:], mode="bilinear")


class Block(nn.Module):
    """A function of the block's layers and its input."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleDict(layers)

    def forward(self, x):
        return self.function(self.layers, x)


def gate(layers, x):
    return x * torch.sigmoid(layers["fc"](F.adaptive_avg_pool2d(x, 1).flatten(1))).view(x.shape[0], -1, 1, 1)


def aspp(layers, x):
    pooled = F.interpolate(F.relu(layers["pool"](x.mean((2, 3), keepdim=True))), size=x.shape[2:], mode="bilinear")
    return layers["mix"](torch.cat([layers["one"](x), layers["two"](x), layers["five"](x), pooled], 1))


def pyramid(layers, x):
    pools = [F.interpolate(F.adaptive_avg_pool2d(x, bins), x.shape[2:], mode="bilinear", align_corners=True) for bins in (1, 2, 3, 6)]
    return layers["mix"](torch.cat([x, *pools], 1))


def strips(layers, x):
    rows = layers["rows"](F.adaptive_avg_pool2d(x, (None, 1))).expand_as(x)
    columns = F.interpolate(layers["columns"](F.adaptive_avg_pool2d(x, (1, None))), x.shape[2:], mode="bilinear")
    return x * torch.sigmoid(layers["mix"](F.relu(rows + columns)))


def response_norm(layers, x):
    energy = x.norm(p=2, dim=(2, 3), keepdim=True)
    return x + x * energy / (energy.mean(1, keepdim=True) + 1e-6)


def coordinates(layers, x):
    rows = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype).view(1, 1, -1, 1).expand(1, 1, -1, x.shape[3])
    columns = torch.linspace(-1, 1, x.shape[3], dtype=x.dtype).view(1, 1, 1, -1).expand(1, 1, x.shape[2], -1)
    return layers["mix"](torch.cat([x, rows, columns], 1))


BLOCKS = {
    "reflection padding": lambda: nn.Sequential(nn.ReflectionPad2d((3, 2, 1, 3)), nn.Conv2d(8, 8, (5, 6))),
    "squeeze and excitation": lambda: Block(gate, fc=nn.Linear(8, 8)),
    "ASPP": lambda: Block(
        aspp,
        one=nn.Conv2d(8, 4, 1),
        two=nn.Conv2d(8, 4, 3, padding=2, dilation=2),
        five=nn.Conv2d(8, 4, 3, padding=5, dilation=5),
        pool=nn.Conv2d(8, 4, 1),
        mix=nn.Conv2d(16, 8, 1),
    ),
    "pyramid pooling": lambda: Block(pyramid, mix=nn.Conv2d(40, 8, 3, padding=1)),
    "strip pooling": lambda: Block(
        strips, rows=nn.Conv2d(8, 8, (3, 1), padding=(1, 0)), columns=nn.Conv2d(8, 8, (1, 3), padding=(0, 1)), mix=nn.Conv2d(8, 8, 1)
    ),
    "GRN": lambda: Block(response_norm),
    "coordinates": lambda: Block(coordinates, mix=nn.Conv2d(10, 8, 1)),
}
BY_HAND = {
    "U-Net, padded": PaddedUNet,
    "U-Net, cropped": CroppedUNet,
    "U-Net of functions": FunctionalUNet,
    "U-Net, weight-normed": WeightNormedUNet,
    "U-Net of Upsample": UpsamplingUNet,
    **{name: lambda make=make: Trunk(make()) for name, make in BLOCKS.items()},
}
