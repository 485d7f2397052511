"""Paddings that depend on the size of the image become numbers, where that is right, and are refused by name where it is not."""

import pytest
import torch
from timm.layers import create_conv2d, create_pool2d
from timm.layers.padding import get_same_padding
from torch import nn

import fcn
from fcn.models.backbones.contract import Backbone
from fcn.models.segmenter import Segmenter
from fcn.tools.export.program import exportable, fixed, same_padding

LAYERS = [
    lambda: create_conv2d(4, 6, 3, stride=2, padding="same"),
    lambda: create_conv2d(4, 4, 5, stride=2, padding="same", groups=4),
    lambda: create_pool2d("max", 3, stride=2, padding="same"),
    lambda: create_pool2d("avg", 3, stride=2, padding="same"),
]


@pytest.mark.parametrize("make", LAYERS)
def test_padding_is_timms_and_the_layer_with_numbers_gives_the_same(make):
    torch.manual_seed(0)
    layer = make().eval()
    assert type(layer).__name__.endswith("Same")
    kernel = layer.kernel_size[0]
    for height, width in ((9, 12), (10, 7), (31, 32)):
        left, right, top, bottom = same_padding(layer, (height, width))
        assert top + bottom == get_same_padding(height, kernel, 2, 1)
        assert left + right == get_same_padding(width, kernel, 2, 1)
        assert 0 <= right - left <= 1
    numbers = fixed(layer, same_padding(layer, (8, 8)))
    for size in ((8, 8), (10, 32), (64, 2)):
        x = torch.randn(2, 4, *size)
        torch.testing.assert_close(numbers(x), layer(x), rtol=0, atol=0)


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_stem = create_conv2d(3, 4, 3, stride=2, padding="same")

    def forward(self, images):
        return [self.conv_stem(images)]


class AtStrideTwo(nn.Module):
    stride = 2

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, features):
        return self.head(features[-1])


@pytest.mark.parametrize("divisor", [2, 1])
def test_only_a_padding_that_is_the_same_for_all_sizes_becomes_a_number(divisor):
    model = Segmenter(Backbone(Stem(), [4], [2], divisor=divisor), AtStrideTwo()).eval()
    if divisor == 1:
        with pytest.raises(fcn.UserError, match=r"the padding of layer 'conv_stem' depends on the size of the image"):
            exportable(model, "scores")
        return
    network = exportable(model, "scores")
    assert not [layer for layer in network.modules() if type(layer).__name__ == "Conv2dSame"]
    assert [layer for layer in model.modules() if type(layer).__name__ == "Conv2dSame"]  # the caller's is as it was
    for size in ((7, 9), (16, 30), (1, 1)):
        images = torch.rand(1, 3, *size) * 255
        with torch.no_grad():
            torch.testing.assert_close(network(images), model(model.normalize(images)))
