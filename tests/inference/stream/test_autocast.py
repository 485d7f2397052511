"""Streamed against whole under bf16 autocast: as near to each other as the roundings of the network itself allow."""

import pytest
import torch
from torch import nn

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


@pytest.mark.parametrize("norm", [lambda: nn.GroupNorm(2, 8), lambda: nn.InstanceNorm2d(8, affine=True)])
def test_norms_over_the_image_are_computed_in_float32(norm):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), norm(), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), norm(), nn.ReLU()]
    network = lively(nn.Sequential(*layers)).float()
    apart, own = deviations(network, torch.randn(1, 3, 40, 50), band=16)
    assert apart < 0.1 * own
