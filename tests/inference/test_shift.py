"""Shift-and-stitch against the network dilated by hand, in float64."""

import pytest
import torch
from torch import nn

from fcn.inference.shift import shift_and_stitch


def networks(padding):
    """A network of stride 8 with every kind of strided layer, and the same weights at stride 1."""
    torch.manual_seed(0)

    def build(strides, dilations):
        same = [dilation if padding else 0 for dilation in dilations]
        return nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=same[0], dilation=dilations[0]),
            nn.ReLU(),
            nn.MaxPool2d(2, strides[0], dilation=dilations[1]),
            nn.Conv2d(5, 6, 3, stride=strides[1], padding=same[2], dilation=dilations[2]),
            nn.ReLU(),
            nn.MaxPool2d(3, strides[2], dilation=dilations[3]),
            nn.Conv2d(6, 4, 3, padding=same[4], dilation=dilations[4]),
        ).double()

    strided, dilated = build((2, 2, 2), (1, 1, 1, 1, 1)), build((1, 1, 1), (1, 1, 2, 4, 8))
    dilated.load_state_dict(strided.state_dict())
    return strided, dilated


@pytest.mark.parametrize("size", [(48, 55), (49, 60), (56, 47)])
@torch.no_grad()
def test_without_padding_it_equals_the_dilated_network(size):
    strided, dilated = networks(padding=False)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = dilated(images)
    torch.testing.assert_close(shift_and_stitch(strided, images, 8), expected)
    torch.testing.assert_close(expected[..., ::8, ::8], strided(images))


@torch.no_grad()
def test_with_padding_it_equals_the_dilated_network_away_from_the_borders():
    strided, dilated = networks(padding=True)
    images = torch.randn(1, 3, 96, 88, dtype=torch.float64)
    stitched, expected = shift_and_stitch(strided, images, 8), dilated(images)
    field = 1 + 2 + 1 + 2 * 2 + 2 * 4 + 2 * 8  # of the dilated network
    inner = (..., slice(field, 96 - 2 * field), slice(field, 88 - 2 * field))
    torch.testing.assert_close(stitched[inner], expected[inner])
    height, width = (min(sizes) for sizes in zip(stitched.shape[-2:], expected.shape[-2:], strict=True))
    assert not torch.allclose(stitched[..., :height, :width], expected[..., :height, :width])


def test_stride_1_is_the_network_itself():
    images = torch.randn(1, 3, 9, 9)
    assert torch.equal(shift_and_stitch(nn.Identity(), images, 1), images)


@pytest.mark.parametrize("stride", [0, 20])
def test_a_stride_beyond_the_image_is_refused(stride):
    with pytest.raises(ValueError, match=f"stride={stride} for images of 9x12 pixels"):
        shift_and_stitch(nn.Identity(), torch.zeros(1, 3, 9, 12), stride)


def test_another_stride_is_refused():
    with pytest.raises(ValueError, match="the outputs of 3 x 3 shifts do not interlace"):
        shift_and_stitch(nn.Identity(), torch.zeros(1, 3, 32, 30), 3)
