"""Up-samplers: sizes, starts and cost, against interpolation as torch computes it."""

import pytest
import torch
from torch.nn import functional as F

from fcn.models.upsample import UPSAMPLERS, bilinear_kernel, create_upsampler

FACTORS = (2, 3, 4, 8)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", UPSAMPLERS)
class TestEveryUpsampler:
    def test_multiplies_the_size_exactly(self, name, factor):
        for out_channels in (3, 5):
            for size in ((1, 1), (4, 7)):
                y = create_upsampler(name)(3, out_channels, factor)(torch.randn(2, 3, *size))
                assert y.shape == (2, out_channels, size[0] * factor, size[1] * factor)

    def test_starts_by_keeping_a_constant_to_the_borders(self, name, factor):
        x = torch.tensor([1.5, -2.0, 0.25]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
        y = create_upsampler(name)(3, 3, factor)(x)
        torch.testing.assert_close(y, x[:, :, :1, :1].expand_as(y))

    def test_starts_without_a_pattern_within_a_cell_where_channels_are_mixed(self, name, factor):
        y = create_upsampler(name)(3, 6, factor)(torch.randn(1, 3, 1, 1).expand(1, 3, 5, 5))
        assert (y - y[:, :, :1, :1]).abs().max() < 1e-5

    def test_learns(self, name, factor):
        up = create_upsampler(name)(3, 4, factor)
        up(torch.randn(1, 3, 3, 3)).square().sum().backward()
        assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in up.parameters())


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", ["transposed", "bilinear"])
def test_interpolating_starts_equal_bilinear_interpolation(name, factor):
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    up = create_upsampler(name)(3, 3, factor).double()
    torch.testing.assert_close(up(x), F.interpolate(x, scale_factor=float(factor), mode="bilinear"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", ["pixelshuffle", "nearest"])
def test_repeating_starts_equal_nearest_interpolation(name, factor):
    x = torch.randn(2, 3, 5, 6)
    torch.testing.assert_close(create_upsampler(name)(3, 3, factor)(x), F.interpolate(x, scale_factor=float(factor), mode="nearest"))


def test_parameters_are_as_documented():
    def count(name, factor, **options):
        return sum(p.numel() for p in create_upsampler(name, **options)(5, 7, factor).parameters())

    assert count("transposed", 4) == 5 * 7 * 8**2
    assert count("transposed", 3) == 5 * 7 * 5**2
    assert count("bilinear", 4) == 5 * 7
    assert count("pixelshuffle", 4) == (5 * 9 + 1) * 7 * 16
    assert count("nearest", 4) == (5 * 9 + 1) * 7


def test_bilinear_kernel_of_factor_2_is_the_papers():
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(bilinear_kernel(2), row[:, None] * row[None, :])


def test_wrong_words_are_answered_with_right_ones():
    with pytest.raises(ValueError, match="upsample=bilinaer is not known; did you mean bilinear"):
        create_upsampler("bilinaer")
    with pytest.raises(ValueError, match="upsample=nearest has no option 'conv'; it takes kernel_size"):
        create_upsampler("nearest", conv=True)
    with pytest.raises(ValueError, match="kernel_size is 4"):
        create_upsampler("nearest", kernel_size=4)(3, 3, 2)
