"""Skips are aligned: a network whose weights do nothing but copy the image puts each pixel where it came from.

The image is a ramp, on which bilinear interpolation is exact: whatever way it took through the network, it must come out as it went in.
"""

import pytest
import torch
from torch import nn

from fcn.core.registry import build, list_parts
from fcn.models.backbones import Backbone
from fcn.models.layers import CellCenters, Shift, regrid
from fcn.models.segmenter import Segmenter
from fcn.models.upsample import Carafe, create_upsampler

LEVELS = 5
SIDE = 512
INSIDE = slice(224, 288)  # pixels that no border reaches


class Halving(nn.Module):
    """A network that halves the image five times, without changing what it shows."""

    def __init__(self, kind):
        super().__init__()
        steps = {
            "pool": lambda: nn.AvgPool2d(2),  # cell 0 is centred between the pixels 0 and 1, as in VGG
            "stride": lambda: nn.Conv2d(3, 3, 3, stride=2, padding=1, groups=3, bias=False),  # on pixel 0, as in ResNet
        }
        self.steps = nn.ModuleList(steps[kind]() for _ in range(LEVELS))
        for step in self.steps:
            copy(step)

    def forward(self, images):
        features = [images]
        for step in self.steps:
            features.append(step(features[-1]))
        return features[1:]


def backbone(kind):
    return Backbone(Halving(kind), (3,) * LEVELS, tuple(2 ** (level + 1) for level in range(LEVELS)))


def ramp(side=SIDE):
    """(1, 3, side, side), positive, as ReLUs pass it on."""
    places = torch.arange(side, dtype=torch.float64)
    return (places[:, None] * 3 + places[None, :] + 50).expand(1, 3, -1, -1)


def copy(module, source=0):
    """Make a module pass on channel ``source`` of its input, in its first channel."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 0.0
        if isinstance(part, nn.Conv2d):
            nn.init.zeros_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
            place = 0 if part.groups > 1 else source
            middle = part.kernel_size[0] // 2
            with torch.no_grad():
                part.weight[slice(None) if part.groups > 1 else 0, place, middle, middle] = 1
            if part.groups == 1:
                source = 0  # from here on it is the first channel


def silence(module):
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.zeros_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def fcn(decoder, path):
    for level, score in enumerate(decoder.scores):
        (copy if level == path else silence)(score)


def unet(decoder, path):
    """Path 0 comes from the deepest feature; path n is the n-th skip, counted from the deepest."""
    copy(decoder.ups)
    for step, block in enumerate(decoder.blocks, start=1):
        width = block[0][0].in_channels - 3  # what comes from below, before the skip's channels
        copy(block, source=width if step == path else 0)
    copy(decoder.score)


def deeplabv3plus(decoder, path):
    copy(decoder.reduce)
    for branch in decoder.aspp.convs[1:]:
        silence(branch)
    copy(decoder.aspp.convs[0])
    copy(decoder.aspp.project)
    copy(decoder.fuse, source=256 if path == 1 else 0)
    copy(decoder.score)


def lraspp(decoder, path):
    copy(decoder.cbr)
    silence(decoder.scale)  # the gates are a half
    (copy if path == 0 else silence)(decoder.high_classifier)
    with torch.no_grad():
        decoder.high_classifier.weight *= 2
    (copy if path == 1 else silence)(decoder.low_classifier)


CASES = (
    [("fcn16s", fcn, path) for path in range(2)]
    + [("fcn8s", fcn, path) for path in range(3)]
    + [("fcn2s", fcn, path) for path in range(5)]
    + [("unet", unet, path) for path in range(5)]
    + [("deeplabv3plus", deeplabv3plus, path) for path in range(2)]
    + [("lraspp", lraspp, path) for path in range(2)]
)


def network(model, prepare, path, kind, upsample, *, align=True):
    features = backbone(kind)
    narrow = {"channels": [16] * (LEVELS - 1)} if model == "unet" else {}  # one channel carries the image
    decoder = build("model", model, features, 2, create_upsampler(upsample), align=align, **narrow)
    prepare(decoder, path)
    for up in (part for part in decoder.modules() if isinstance(part, Carafe)):
        nn.init.zeros_(up.predict.weight)  # at the start this is small, and so are real features
    return Segmenter(features, decoder).double().eval()


@pytest.mark.parametrize("kind", ["pool", "stride"])
@pytest.mark.parametrize(("model", "prepare", "path"), CASES)
def test_each_pixel_comes_out_where_it_came_from(model, prepare, path, kind):
    with torch.no_grad():
        scores = network(model, prepare, path, kind, "bilinear")(ramp())[0, 0]
    torch.testing.assert_close(scores[INSIDE, INSIDE], ramp()[0, 0, INSIDE, INSIDE], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["pool", "stride"])
@pytest.mark.parametrize("upsample", list_parts("upsample"))
@pytest.mark.parametrize("path", range(3))
def test_with_every_upsampler_nothing_moves_on_average(upsample, path, kind):
    """Steps instead of a ramp, where an up-sampler makes such: their mean is in its place."""
    with torch.no_grad():
        scores = network("fcn8s", fcn, path, kind, upsample)(ramp())[0, 0]
    moved = (scores - ramp()[0, 0])[INSIDE, INSIDE]
    assert abs(float(moved.mean())) < 1e-4


def test_without_alignment_strided_features_are_moved():
    """What the option is for: up-sampled from 32 pixels a cell, whose first is centred on pixel 0, all moves by (32 - 1) / 2 pixels."""
    with torch.no_grad():
        scores = network("fcn8s", fcn, 0, "stride", "bilinear", align=False)(ramp())[0, 0]
    moved = (scores - ramp()[0, 0])[INSIDE, INSIDE]
    torch.testing.assert_close(moved, torch.full_like(moved, -15.5 * 4))


@pytest.mark.parametrize("cells", [0.5, 1.0, 1.75, -0.25, -2.0])
def test_a_shift_reads_that_many_cells_further(cells):
    x = ramp(16)
    y = Shift(cells).double()(x)
    torch.testing.assert_close(y[..., 4:12, 4:12], x[..., 4:12, 4:12] + 4 * cells)
    assert y.shape == x.shape
    assert Shift(cells)(torch.ones(1, 2, 3, 1)).eq(1).all()


def test_the_places_of_features_are_known():
    for kind, offsets in (("pool", [0.5, 1.5, 3.5, 7.5, 15.5]), ("stride", [0, 0, 0, 0, 0])):
        assert backbone(kind).offsets == tuple((offset, offset) for offset in offsets)


def test_maps_on_the_same_grid_are_left_alone():
    assert isinstance(regrid(CellCenters(16, 7.5).finer(2), CellCenters.of_image(8)), nn.Identity)
    assert regrid(CellCenters(16, 0.0).finer(2), CellCenters(8, 0.0)).cells == 0.5
