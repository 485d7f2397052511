"""Pictures of fields: which layer is drawn, where its frame lies, and what a network that starts at zero shows."""

import numpy as np
import pytest
import torch
from torch import nn

from fcn.graph.receptive_field import receptive_field
from fcn.lessons.notation import parse_layers
from fcn.models.backbones import create_backbone
from fcn.models.compact import Compact
from fcn.models.segmenter import create_model
from fcn.tools.inspect.picture import fitted, layers_picture, network_picture, wake
from fcn.tools.inspect.report import inspect_network


def frames(figure) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of the theoretical and the effective frame."""
    return [patch.get_bbox().bounds for patch in figure.axes[0].patches]


def words(figure) -> str:
    return " ".join(text.get_text() for text in figure.legends[0].get_texts())


def test_a_photograph_is_scaled_and_cut_round_its_middle() -> None:
    photograph = torch.zeros(3, 50, 200, dtype=torch.uint8)
    photograph[:, :, 75:125] = 255
    assert (fitted(photograph, (20, 20)) > 230).all()
    assert fitted(photograph, (10, 40)).shape == (10, 40, 3)
    assert fitted(None, (9, 300)).shape == (9, 300, 3)


def test_the_frame_of_a_backbone_is_its_deepest_features() -> None:
    backbone = create_backbone("compact")
    _, fields = inspect_network(backbone, (96, 80), output="2")
    figure = network_picture(backbone, fields, fitted(None, (96, 80)), output="2", name="compact")
    theoretical, effective = frames(figure)
    assert theoretical == (5 * 8 - 34 - 0.5, 6 * 8 - 34 - 0.5, 69, 69)  # cell (6, 5), its middle 8 pixels on
    assert theoretical[0] <= effective[0] < effective[0] + effective[2] <= theoretical[0] + theoretical[2]
    assert figure.axes[0].get_title() == "compact: cell (6, 5) of 12 x 10"


def test_a_field_larger_than_the_image_is_drawn_around_it() -> None:
    network = create_model("fcn8s", backbone="compact", num_classes=3)
    report, fields = inspect_network(network, 64)
    figure = network_picture(network, fields, fitted(None, (64, 64)), output=None, name="fcn8s")
    assert frames(figure)[0][2:] == (report.rows[-1].field[1], report.rows[-1].field[0])
    assert "beyond the image" in words(figure)
    assert figure.axes[0].get_xlim()[0] < 0
    assert len(frames(figure)) == 2  # although the scoring layer of an FCN starts at zero


def test_of_a_classifier_the_last_layer_with_several_cells_is_drawn() -> None:
    _, fields = inspect_network(Compact(), 64)
    figure = network_picture(Compact(), fields, fitted(None, (64, 64)), output=None, name="compact")
    assert figure.axes[0].get_title() == "compact, features: cell (4, 4) of 8 x 8"
    assert "theoretical field 69 x 69" in words(figure)
    gated = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.Conv2d(4, 4, 3))
    _, fields = inspect_network(gated, 20)
    figure = network_picture(gated, fields, fitted(None, (20, 20)), output=None, name="gated")
    assert "theoretical field: the whole image" in words(figure)
    assert frames(figure)[0] == (-0.5, -0.5, 20, 20)


def test_layers_in_words() -> None:
    figure = layers_picture(parse_layers("conv3 s2 p1, pool2 s2, conv3 d2"), fitted(None, (60, 60)))
    field = receptive_field(nn.Sequential(nn.Conv2d(3, 3, 3, 2, 1), nn.MaxPool2d(2), nn.Conv2d(3, 3, 3, dilation=2)), 60)
    (top, bottom), (left, right) = field.interval((5, 5))  # type: ignore[misc]
    assert frames(figure)[0] == (left - 0.5, top - 0.5, right - left, bottom - top)
    assert all(mine >= whole for mine, whole in zip(frames(figure)[1][:2], frames(figure)[0][:2], strict=True))


def test_a_network_that_is_too_dear_has_its_frame_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcn.tools.inspect.picture.LIMIT", 10)
    backbone = create_backbone("compact")
    _, fields = inspect_network(backbone, 64, output="2")
    assert len(frames(network_picture(backbone, fields, fitted(None, (64, 64)), output="2", name="compact"))) == 1


def test_only_what_is_zero_is_given_weights() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[2].weight)
    before = network[0].weight.clone()
    wake(network)
    assert torch.equal(network[0].weight, before)
    assert np.count_nonzero(network[1].weight.detach()) == 16
    assert bool((network[2].weight == 1).all())
