"""The course assignment's numbers, read from the network by the geometry; and its weights in a file."""

import pytest
import torch
from torch import nn

from fcn.graph.receptive_field import receptive_field
from fcn.models.backbones import create_backbone
from fcn.models.compact import Compact, compact
from fcn.rewrite.convolutionalize import convolutionalize


def test_the_assignment_is_met() -> None:
    network = Compact().eval()
    fields = receptive_field(network, 32)
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert sum(tensor.numel() for tensor in network.parameters()) == sum(node.parameters for node in fields.graph) == 287_402
    assert [fields[f"features.{stage}"].size for stage in range(4)] == [(5, 5), (13, 13), (37, 37), (69, 69)]
    assert [fields[f"features.{stage}"].stride for stage in range(4)] == [(2, 2), (4, 4), (8, 8), (8, 8)]
    assert sum(conv.stride == (2, 2) for conv in convs) == 3
    assert any(conv.groups == conv.in_channels > 1 for conv in convs)
    assert any(conv.dilation == (2, 2) for conv in convs)
    assert fields.causes == {"pool": "pools all 4 x 4 cells to 1 x 1"}
    assert [module for module in network.modules() if isinstance(module, nn.Linear)] == [network.classifier]
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert fields["classifier"].node.parameters == 256 * 10 + 10


def test_it_takes_any_size_and_learns() -> None:
    torch.manual_seed(0)
    network = Compact(num_classes=3)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    images, classes = torch.randn(12, 3, 21, 40), torch.arange(12) % 3
    images[:, 0] += classes[:, None, None]
    for _ in range(12):
        loss = nn.functional.cross_entropy(network(images), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3


def test_as_a_backbone_it_has_the_weights_of_a_file(tmp_path) -> None:
    classifier = Compact(num_classes=7).eval()
    torch.save(classifier.state_dict(), tmp_path / "compact.pt")
    backbone = create_backbone("compact", weights=str(tmp_path / "compact.pt")).eval()
    assert (backbone.channels, backbone.strides, backbone.divisor) == ((64, 128, 256), (2, 4, 8), 1)
    images = torch.randn(1, 3, 33, 50)
    with torch.no_grad():
        torch.testing.assert_close(classifier.classifier(backbone(images)[-1].mean((2, 3))), classifier(images))
        assert compact(weights=str(tmp_path / "compact.pt"))(images).shape == (1, 7)


def test_it_becomes_fully_convolutional() -> None:
    """With the pool of 4x4 cells that it has at 32 pixels, a cell of the scores sees 69 + 3 * 8 pixels."""
    classifier = Compact().double().eval()
    window, pixel = (convolutionalize(classifier, dense=dense, input_size=32) for dense in ("window", "pixel"))
    images = torch.randn(1, 3, 64, 48, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(window(images[..., :32, :32])[..., 0, 0], classifier(images[..., :32, :32]))
        torch.testing.assert_close(pixel(images).mean((2, 3)), classifier(images))
    assert receptive_field(window, (64, 48)).size == (93, 93)
    assert receptive_field(pixel, (64, 48)).size == (69, 69)


def test_weights_that_do_not_exist_or_fit_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="nobody has published imagenet weights of compact"):
        create_backbone("compact", weights="imagenet")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="belong to another network"):
        compact(weights=str(tmp_path / "other.pt"))
