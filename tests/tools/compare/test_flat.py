"""The checkerboard index: nothing for flat maps, a known share for drawn patterns, and what training does to networks."""

import pytest
import torch

from fcn.core.registry import list_parts
from fcn.models.segmenter import create_model
from fcn.models.upsample import TransposedConv
from fcn.tools.compare import flat
from fcn.tools.compare.flat import checkerboard_index, flat_scores, untrained_scores


def test_flat_scores_have_index_0():
    assert checkerboard_index(torch.zeros(3, 64, 64), 8) == 0
    assert checkerboard_index(torch.tensor([1.0, -2.0, 0.5])[:, None, None].expand(3, 64, 64), 8) == 0


@pytest.mark.parametrize("height", [0.0, 1.0, 3.0])
def test_a_drawn_checkerboard_has_its_share_of_the_energy(height):
    """Two classes at +-(height + 0.5 * board), board = +-1: energy height^2 + 0.25, of which 0.25 is the pattern."""
    board = 1.0 - 2.0 * ((torch.arange(64)[:, None] + torch.arange(64)[None]) % 2)
    one = height + 0.5 * board
    assert checkerboard_index(torch.stack([one, -one]), 2) == pytest.approx(0.25 / (height**2 + 0.25))
    assert checkerboard_index(torch.stack([one, -one]) + 7 * board, 2) == pytest.approx(0.25 / (height**2 + 0.25))  # alike in all classes


def test_what_repeats_at_another_distance_is_no_checkerboard():
    wave = torch.sin(2 * torch.pi * torch.arange(64) / 32).expand(64, 64)
    assert checkerboard_index(torch.stack([wave, -wave]), 8) < 1e-12


@pytest.fixture
def near(monkeypatch):
    """Nearer borders change the constants, not that they are constant."""
    monkeypatch.setattr(flat, "IMAGE", 128)
    torch.manual_seed(0)


@pytest.mark.parametrize("upsample", list_parts("upsample"))
def test_networks_start_without_a_pattern_and_learnt_weights_can_draw_one(upsample, near):
    model = create_model("fcn8s", backbone="resnet18", upsample=upsample, num_classes=3)
    assert flat_scores(model).abs().max() == 0  # for its scores start at zero
    assert untrained_scores(model).abs().max() > 0.1
    assert checkerboard_index(untrained_scores(model), 32) < 1e-9  # an interpolation of flat maps is flat
    for parameter in model.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    index = checkerboard_index(flat_scores(model), 32)
    assert index == 0 if upsample == "bilinear" else index > (1e-4 if upsample in ("transposed", "pixelshuffle") else -1)


def test_a_start_with_a_pattern_is_seen(near):
    """torch's own start of a transposed convolution: the classic checkerboard."""
    model = create_model("fcn8s", backbone="resnet18", upsample="transposed", num_classes=3)
    for up in model.modules():
        if isinstance(up, TransposedConv):
            up.conv.reset_parameters()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert checkerboard_index(untrained_scores(model), 32) > 0.1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())  # looked at, not touched


def test_borders_that_reach_far_are_no_pattern(near):
    model = create_model("deeplabv3", backbone="resnet18", upsample="bilinear", num_classes=3)
    assert checkerboard_index(flat_scores(model), model.backbone.strides[-1]) < 1e-9
