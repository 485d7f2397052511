"""Up-samplers: sizes, starts and cost, against interpolation as torch computes it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fcn.core.registry import list_parts
from fcn.graph import read_graph
from fcn.lessons.arithmetic import resize
from fcn.lessons.checkerboard import checkerboard
from fcn.models.upsample import Reassembly, bilinear_kernel, bilinear_weights, create_upsampler, neighbours

FACTORS = (2, 3, 4, 8)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", list_parts("upsample"))
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


def documented(name, inner, outer, factor):
    """Parameters and multiply-adds per input cell, as the table at the head of the file has them."""
    mixing = inner * outer if inner != outer else 0
    kernel, taps, middle = 2 * factor - factor % 2, 25, min(64, inner)
    return {
        "transposed": (inner * outer * kernel**2, inner * outer * kernel**2),
        "bilinear": (mixing, 4 * outer * factor**2 + mixing),
        "pixelshuffle": ((inner * 9 + 1) * outer * factor**2, inner * outer * 9 * factor**2),
        "nearest": ((inner * 9 + 1) * outer, inner * outer * 9 * factor**2),
        "carafe": (
            (inner + 1) * middle + (9 * middle + 1) * taps * factor**2 + mixing,
            inner * middle + (9 * middle + outer) * taps * factor**2 + mixing,
        ),
    }[name]


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize(("inner", "outer"), [(5, 7), (6, 6)])
@pytest.mark.parametrize("name", list_parts("upsample"))
def test_parameters_and_multiply_adds_are_as_documented(name, inner, outer, factor):
    """Against the counts that geometry reads off the graph, and, for interpolations, against its arithmetic."""
    side = 6
    graph = read_graph(create_upsampler(name)(inner, outer, factor).eval(), side)
    parameters, macs = documented(name, inner, outer, factor)
    assert sum(node.parameters for node in graph) == parameters
    counted = sum(node.macs for node in graph)
    if name == "transposed":  # which reads one repeated cell more on each side
        assert counted * side**2 == macs * side**2 * (side + 2) ** 2
    elif name == "bilinear":
        assert counted + resize(outer, factor).macs((side, side)) == macs * side**2
    else:
        assert counted == macs * side**2


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", list_parts("upsample"))
def test_no_energy_at_the_sampling_frequency_at_the_start(name, factor):
    """Of noise, and channels are mixed: what is there is what noise itself has. A transposed convolution as torch starts it has a
    thousand times as much."""
    torch.manual_seed(0)
    x = torch.randn(1, 8, 64, 64)
    with torch.no_grad():
        assert checkerboard(create_upsampler(name)(8, 4, factor)(x), factor) < 2e-4
        assert checkerboard(nn.ConvTranspose2d(8, 4, factor + 1, stride=factor)(x + 1)[..., :-1, :-1], factor) > 0.05


class TestCarafe:
    def test_starts_nearly_as_bilinear_interpolation(self):
        torch.manual_seed(0)
        x = torch.randn(1, 6, 9, 8)
        up = create_upsampler("carafe")(6, 6, 2)
        smooth = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        expected = 0.9 * F.interpolate(x, scale_factor=2.0, mode="bilinear") + 0.1 * F.interpolate(smooth, scale_factor=2.0)
        assert (up(x) - expected).abs().max() < 0.02

    def test_keeps_a_constant_whatever_it_has_learned(self):
        up = create_upsampler("carafe")(3, 3, 4).double()
        for parameter in up.parameters():
            torch.nn.init.normal_(parameter)
        x = torch.tensor([1.5, -2.0, 0.25], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 4, 5)
        torch.testing.assert_close(up(x), x[:, :, :1, :1].expand(1, 3, 16, 20))

    def test_is_the_papers_sum(self):
        """Each output cell against a weighted sum of the 5x5 neighbours, written out."""
        torch.manual_seed(0)
        up = create_upsampler("carafe", channels=4)(3, 2, 2).double()
        for parameter in up.parameters():
            torch.nn.init.normal_(parameter)
        x = torch.randn(1, 3, 4, 5, dtype=torch.float64)
        y = up(x)
        weights = F.pixel_shuffle(up.predict(up.compress(x)), 2).softmax(1)[0]  # (25, 8, 10)
        mixed = F.pad(up.project(x), (2, 2, 2, 2), mode="replicate")[0]
        for row in range(8):
            for column in range(10):
                window = mixed[:, row // 2 : row // 2 + 5, column // 2 : column // 2 + 5]
                torch.testing.assert_close(y[0, :, row, column], (window.flatten(1) * weights[:, row, column]).sum(1))

    @pytest.mark.parametrize("room", [1, 400, 2**22])
    def test_goes_back_as_autograd_would(self, room, monkeypatch):
        """In pieces of one row, of some rows and of all, against numeric differences."""
        monkeypatch.setattr(Reassembly, "ROOM", room)
        around = torch.randn(2, 8, 7, 2, dtype=torch.float64, requires_grad=True)
        weights = torch.randn(2, 4, 3, 25, 4, dtype=torch.float64, requires_grad=True)
        assert len(list(Reassembly.pieces(around, weights))) == {1: 8, 400: 4, 2**22: 2}[room]
        torch.testing.assert_close(Reassembly.apply(around, weights), neighbours(around) @ weights)
        assert torch.autograd.gradcheck(Reassembly.apply, (around, weights))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_trains_in_reduced_precision(self, dtype):
        up, x = create_upsampler("carafe")(6, 4, 2), torch.randn(2, 6, 5, 7)
        found = []
        for enabled in (False, True):
            up.zero_grad()
            with torch.autocast("cpu", dtype, enabled=enabled):
                y = up(x)
            y.float().square().mean().backward()
            found.append([y.float(), *(parameter.grad for parameter in up.parameters())])
        for exact, reduced in zip(*found, strict=True):
            assert reduced.dtype == torch.float32
            assert (exact - reduced).abs().max() < 0.05 * exact.abs().max()

    def test_predicts_from_as_many_channels_as_it_is_given(self):
        assert create_upsampler("carafe", channels=5)(3, 3, 2).compress.out_channels == 5
        with pytest.raises(ValueError, match="channels=0 is not allowed"):
            create_upsampler("carafe", channels=0)(3, 3, 2)


@pytest.mark.parametrize("factor", FACTORS)
def test_bilinear_weights_interpolate(factor):
    x = torch.randn(1, 1, 5, 5, dtype=torch.float64)
    expected = F.interpolate(x, scale_factor=float(factor), mode="bilinear")[..., 2 * factor : 3 * factor, 2 * factor : 3 * factor]
    torch.testing.assert_close(x.flatten() @ bilinear_weights(factor, 5).double(), expected.flatten(), rtol=1e-6, atol=1e-6)


def test_bilinear_kernel_of_factor_2_is_the_papers():
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(bilinear_kernel(2), row[:, None] * row[None, :])


def test_wrong_words_are_answered_with_right_ones():
    with pytest.raises(ValueError, match="upsample=bilinaer is not known; did you mean bilinear"):
        create_upsampler("bilinaer")
    with pytest.raises(ValueError, match="upsample=nearest has no option 'conv'; it takes kernel_size"):
        create_upsampler("nearest", conv=True)
    with pytest.raises(ValueError, match="kernel_size=4 is not allowed; kernel_size is an odd number"):
        create_upsampler("nearest", kernel_size=4)(3, 3, 2)
