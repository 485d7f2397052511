"""The channels of the image, for networks whose first registered convolution does not tell them."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

import fcn
from fcn.graph.image import input_shape


class Network(nn.Module):
    """``forward`` is a function of the image and of the layers, which are registered in the order given."""

    def __init__(self, run, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = run

    def forward(self, x):
        return self.run(self, x)


def sliced(net, x):
    return net.conv(torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1))


def with_coordinates(net, x):
    n, _, h, w = x.shape
    across, down = torch.linspace(-1, 1, w).expand(n, 1, h, -1), torch.linspace(-1, 1, h).view(1, 1, -1, 1).expand(n, 1, -1, w)
    return net.conv(torch.cat([x, across, down], 1))


def standardised(net, x):
    return net.last(F.conv2d(x, net.weight - net.weight.mean((1, 2, 3), keepdim=True), padding=1))


NETWORKS = {
    "unshuffled": (3, nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3))),
    "unshuffled, five bands": (5, nn.Sequential(nn.BatchNorm2d(5), nn.PixelUnshuffle(2), nn.Conv2d(20, 4, 3))),
    "unshuffled, 18 bands": (18, nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(72, 4, 3))),
    "sliced": (3, Network(sliced, conv=nn.Conv2d(12, 4, 3))),
    "sliced, one band": (1, Network(sliced, conv=nn.Conv2d(4, 4, 3))),
    "with coordinates": (3, Network(with_coordinates, conv=nn.Conv2d(5, 4, 3))),
    "with coordinates, one band": (1, Network(with_coordinates, conv=nn.Conv2d(3, 4, 3))),
    "standardised": (5, Network(standardised, weight=nn.Parameter(torch.rand(4, 5, 3, 3)), last=nn.Conv2d(4, 4, 1))),
    "head first": (3, Network(lambda net, x: net.head(net.stem(x)), head=nn.Conv2d(16, 4, 1), stem=nn.Conv2d(3, 16, 3))),
    "repeated": (1, Network(lambda net, x: net.conv(x.repeat(1, 3, 1, 1)), conv=nn.Conv2d(3, 4, 3))),
    "grouped": (6, nn.Sequential(nn.Conv2d(6, 6, 3, groups=6))),
    "sequence beside": (1, Network(lambda net, x: net.conv(x), line=nn.Conv1d(7, 4, 3), conv=nn.Conv2d(1, 4, 3))),
    "linear": (6, Network(lambda net, x: net.mix(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), mix=nn.Linear(6, 4))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_are_those_with_which_it_runs(name):
    channels, network = NETWORKS[name]
    assert input_shape(network, 64) == (1, channels, 64, 64)
    assert fcn.receptive_field(network, 64).graph.input_shape == (1, channels, 64, 64)
    dilated = fcn.dilate(network, 2 if "unshuffled" in name else 1)  # a graph, in which layers may have become functions
    assert input_shape(dilated, 64) == (1, channels, 64, 64)


@pytest.mark.parametrize("name", [pytest.param("nf_regnet_b0", marks=pytest.mark.slow), "nf_resnet26"])
def test_weights_that_are_standardised_first(name):
    classifier = timm.create_model(name).eval()
    assert input_shape(fcn.convolutionalize(classifier)) == (1, 3, 224, 224)


def test_channels_can_be_given():
    network = nn.Sequential(nn.AvgPool2d(2, 2), nn.ReLU())
    assert input_shape(network) == (1, 3, 224, 224)
    assert fcn.receptive_field(network, 64, in_channels=7).graph.input_shape == (1, 7, 64, 64)
    assert fcn.dilate(network, 1, in_channels=7)(torch.rand(1, 7, 8, 8)).shape == (1, 7, 8, 8)
    with pytest.raises(ValueError, match=r"in_channels=7 and input_size=\(1, 3, 8, 8\) disagree"):
        input_shape(network, (1, 3, 8, 8), 7)
    with pytest.raises(ValueError, match="in_channels=0 is not allowed"):
        input_shape(network, 8, 0)


def test_a_segmenter_says_its_channels():
    model = fcn.create_model("unet", backbone="compact", num_classes=3)
    assert model.in_channels == model.backbone.in_channels == 3
