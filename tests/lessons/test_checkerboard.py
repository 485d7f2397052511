"""The measure of checkerboards, against patterns whose share is known and against the Fourier transform."""

import pytest
import torch

from fcn.lessons.checkerboard import checkerboard


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_nothing_but_a_pattern_is_one_and_a_flat_map_is_zero(factor):
    torch.manual_seed(0)
    tile = torch.randn(2, factor, factor).repeat(1, 6, 5)
    assert checkerboard(tile, factor) == pytest.approx(1)
    assert checkerboard(torch.full((3, 24, 24), 0.1), factor) == 0


def test_rows_and_columns_are_patterns_too():
    stripes = torch.tensor([1.0, -1.0]).repeat(8)
    assert checkerboard(stripes.expand(16, 16), 2) == pytest.approx(1)
    assert checkerboard(stripes[:, None].expand(16, 16), 2) == pytest.approx(1)


def test_a_mixture_has_the_patterns_share_and_its_mean_counts_for_nothing():
    pattern = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(16, 16)
    wave = torch.cos(2 * torch.pi * torch.arange(32) / 32) * 2**0.5  # one turn over the map: energy 1, none of it in the pattern
    assert checkerboard(3 * pattern + wave + 100, 2) == pytest.approx(9 / 10, abs=1e-6)


@pytest.mark.parametrize("factor", [2, 4])
def test_is_the_energy_at_the_multiples_of_the_sampling_frequency(factor):
    torch.manual_seed(0)
    maps = torch.randn(3, 16, 24, dtype=torch.float64)
    power = torch.fft.fft2(maps).abs() ** 2
    power[:, 0, 0] = 0
    expected = power[:, :: 16 // factor, :: 24 // factor].sum() / power.sum()
    assert checkerboard(maps, factor) == pytest.approx(float(expected))


def test_maps_without_a_period_are_refused():
    with pytest.raises(ValueError, match="maps of 3 x 9 cells show no pattern of factor 4"):
        checkerboard(torch.zeros(3, 9), 4)
