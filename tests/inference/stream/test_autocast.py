"""Streamed against whole under bf16 autocast: as near to each other as the roundings of the network itself allow."""

import pytest
import torch
from torch import nn

from fcn.inference.scores import label
from fcn.inference.stream import stream
from tests.inference.stream.compare import lively, streamed
from tests.inference.stream.test_models import ScoresOnly, built


def deviations(network, image, **settings):
    """The mean difference of streamed scores from whole ones, both in bf16, and of whole ones in bf16 from those in float32."""
    with torch.inference_mode():
        exact = network(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            whole = network(image).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = streamed(network, image, **settings)
    return float((found - whole).abs().mean()), float((whole - exact).abs().mean())


@pytest.mark.parametrize("model", ["fcn32s", "deeplabv3"])
def test_models(model):
    """Batch norms are folded into weights before these are rounded, which rounds otherwise than the whole pass but not more."""
    network = ScoresOnly(built(model).float()).eval()
    apart, own = deviations(network, torch.randn(1, 3, 75, 99, generator=torch.Generator().manual_seed(0)), band=24)
    assert apart < 1.5 * own


@pytest.mark.parametrize("options", [{"band": 12}, {"band": 12, "strip": 30}])
def test_scores_are_computed_in_the_state_in_which_they_were_asked_for(options):
    network = built("fcn8s", "compact").float().eval()
    image = torch.randint(0, 256, (3, 43, 51), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = label(stream(network, image, **options), 43, 51)
        scores = stream(network, image, **options)
    assert torch.equal(label(scores, 43, 51), expected)
    scores = stream(network, image, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = label(scores, 43, 51)
    assert torch.equal(found, label(stream(network, image, **options), 43, 51))


@pytest.mark.parametrize("norm", [lambda: nn.GroupNorm(2, 8), lambda: nn.InstanceNorm2d(8, affine=True)])
def test_norms_over_the_image_are_computed_in_float32(norm):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), norm(), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), norm(), nn.ReLU()]
    network = lively(nn.Sequential(*layers)).float()
    apart, own = deviations(network, torch.randn(1, 3, 40, 50), band=16)
    assert apart < 0.1 * own
