"""Linear layers as convolutions: against the layer itself, and VGG's classifier inside its backbone."""

import pytest
import torch
import torchvision
from torch import nn

from fcn.models.backbones import create_backbone
from fcn.models.convolutionalize import linear_to_conv


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_equals_the_linear_layer_on_every_window(kernel_size):
    linear = nn.Linear(4 * kernel_size**2, 5).double()
    conv = linear_to_conv(linear, kernel_size)
    x = torch.randn(2, 4, kernel_size + 2, kernel_size + 3, dtype=torch.float64)
    y = conv(x)
    assert y.shape == (2, 5, 3, 4)
    for row in range(3):
        for column in range(4):
            window = x[:, :, row : row + kernel_size, column : column + kernel_size].flatten(1)
            torch.testing.assert_close(y[:, :, row, column], linear(window))


def test_leaves_the_layer_as_it_was():
    linear = nn.Linear(9, 2, bias=False)
    conv = linear_to_conv(linear, 3)
    nn.init.zeros_(conv.weight)
    assert conv.bias is None
    assert linear.weight.abs().sum() > 0


def test_refuses_what_is_no_window():
    with pytest.raises(ValueError, match="10 inputs does not see whole 3x3 windows"):
        linear_to_conv(nn.Linear(10, 2), 3)


def test_vgg_keeps_its_classifier(tmp_path):
    """The cell of fc7 that sees the whole 7x7 grid of pool5, at the trained input size, holds the classifier's own activations."""
    torch.manual_seed(0)
    classifier = torchvision.models.vgg11().eval()
    torch.save(classifier.state_dict(), tmp_path / "vgg11.pth")
    backbone = create_backbone("vgg11", weights=str(tmp_path / "vgg11.pth")).eval()
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = classifier.classifier[:6](classifier.avgpool(classifier.features(image)).flatten(1))
        fc7 = backbone(image)[-1]
    assert backbone.channels[-1] == 4096
    assert fc7.shape == (1, 4096, 7, 7)
    torch.testing.assert_close(fc7[:, :, 3, 3], expected, rtol=1e-4, atol=1e-5)
