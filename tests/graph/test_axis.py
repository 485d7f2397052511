"""Maps along one axis, against index arithmetic done by torch on real cells."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fcn.graph.axis import Bins, Resize, Transposed, Whole, Window, identity


def test_a_convolution_reads_its_window_clipped_and_not() -> None:
    conv = Window(n_in=10, n_out=5, kernel=3, stride=2, padding=(1, 1))
    assert conv.reads(0, 1) == (0, 2)
    assert conv.reads(0, 2) == (0, 4)
    assert conv.span(0, 2) == (-1, 4)
    assert conv.span(4, 5) == (7, 10)
    assert conv.reads(3, 3) == (0, 0)
    assert conv.ratio == 2
    assert conv.reach == 3


def test_clipping_looks_at_taps_and_not_at_the_hull() -> None:
    """Kernel 3, dilation 2, padding 2: output 1 has taps -1, 1, 3, so it does not read cell 0."""
    conv = Window(n_in=8, n_out=8, kernel=3, dilation=2, padding=(2, 2))
    assert conv.reads(1, 2) == (1, 4)
    assert conv.reads(0, 1) == (0, 3)


def test_a_window_over_padding_alone_reads_nothing() -> None:
    assert Window(n_in=4, n_out=9, kernel=2, padding=(3, 3)).reads(0, 1) == (0, 0)


def test_writes_is_the_inverse_of_reads() -> None:
    for axis in (
        Window(20, 10, 3, 2, 1, (1, 1)),
        Window(20, 18, 2, 1, 2),
        Transposed(10, 20, 4, 2, 1, (1, 1)),
        Resize(10, 30, Fraction(1, 3), "linear"),
    ):
        for end in range(axis.n_in + 1):
            count = axis.writes(end)
            assert all(axis.reads(cell, cell + 1)[1] <= end for cell in range(count))
            assert count == axis.n_out or axis.reads(count, count + 1)[1] > end


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "cubic"])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("antialias", [False, True])
def test_resizes_read_what_torch_weighs(mode: str, align_corners: bool, antialias: bool) -> None:
    """The resized identity matrix holds torch's weights; the taps are where they are not zero, for every pair of sizes."""
    smooth = mode in ("linear", "cubic")
    if (align_corners or antialias) and not smooth:
        pytest.skip("only for linear and cubic")
    names = {"linear": "bilinear", "cubic": "bicubic"}
    options = {"align_corners": align_corners, "antialias": antialias} if smooth else {}
    for n_in in (1, 2, 5, 7, 12):
        eye = torch.eye(n_in, dtype=torch.float64)[:, None, :, None].repeat(1, 1, 1, 4)  # torch's antialiasing is wrong at width 1
        for n_out in (1, 2, 3, 5, 10, 14, 15, 36):
            weights = F.interpolate(eye, size=(n_out, 4), mode=names.get(mode, mode), **options)[:, 0, :, 0]
            scale = Fraction(n_in, n_out)
            if align_corners and n_in != n_out:
                scale = Fraction(n_in - 1, n_out - 1) if n_out > 1 else Fraction(0)
            low, high = Resize(n_in, n_out, scale, mode, align_corners, antialias).bounds  # type: ignore[arg-type]
            for cell in range(n_out):
                used = (weights[:, cell].abs() > 1e-7).nonzero()
                assert (low[cell], high[cell]) == (int(used.min()), int(used.max()) + 1), (n_in, n_out, cell)


@pytest.mark.parametrize("channels_last", [False, True])
def test_nearest_cells_are_those_that_torch_reads(channels_last: bool) -> None:
    """To every size, also where float32 rounds to the other side of a cell's edge; by factors as well."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for mode in ("nearest", "nearest-exact") if channels_last else ("nearest",):
        for n_in in (2, 3, 7, 64):
            image = torch.arange(float(n_in))[None, None, :, None].expand(1, 4, n_in, 3).contiguous(memory_format=layout)
            for n_out in range(1, 401, 3):
                read = F.interpolate(image, size=(n_out, 3), mode=mode)[0, 0, :, 0]
                taps = Resize(n_in, n_out, Fraction(n_in, n_out), mode).table  # type: ignore[arg-type]
                assert np.array_equal(taps[:, 0], read), (mode, n_in, n_out)
            for factor in (0.1, 0.6, 1.05, 1.3, 2.0, 2.1, 3.0, 6.1, 7.0, 41.0, 47.0, 61.0):
                if int(n_in * factor) not in (0, n_in, 2 * n_in):  # for these see test_resizes.py
                    read = F.interpolate(image, scale_factor=(factor, 1), mode=mode)[0, 0, :, 0]
                    scale = 1 / Fraction(factor).limit_denominator(100)
                    taps = Resize(n_in, len(read), scale, mode, fixed=True).table  # type: ignore[arg-type]
                    assert np.array_equal(taps[:, 0], read), (mode, n_in, factor)


def test_a_shuffle_is_not_rounded() -> None:
    assert Resize(2, 82, Fraction(1, 41)).table[:, 0].tolist() == [0] * 41 + [1] * 41
    assert Resize(2, 82, Fraction(1, 41), "nearest").table[:, 0].tolist() == [0] * 42 + [1] * 40


def test_only_whole_or_given_factors_are_local() -> None:
    assert Resize(10, 20, Fraction(1, 2)).is_local
    assert Resize(20, 10, Fraction(2)).is_local
    assert Resize(10, 15, Fraction(2, 3), fixed=True).is_local
    assert not Resize(10, 15, Fraction(2, 3)).is_local
    assert not Resize(10, 20, Fraction(9, 19), "linear", align_corners=True).is_local
    assert Resize(2, 82, Fraction(1, 41)).is_local
    assert not Resize(2, 82, Fraction(1, 41), "nearest").is_local  # its 42nd cell reads the first, by rounding


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("scale", [Fraction(1, 3), Fraction(1, 8), Fraction(1, 41), Fraction(2), Fraction(10, 17), Fraction(5, 7)])
def test_a_local_resize_repeats_itself(mode: str, scale: Fraction) -> None:
    axis = Resize(200, int(200 / scale), scale, mode, fixed=True)  # type: ignore[arg-type]
    cells = np.arange(axis.n_out - axis.period)
    repeats = np.array_equal(axis.taps(cells + axis.period), axis.taps(cells) + axis.advance)
    assert repeats or not axis.is_local


def test_adaptive_bins_are_those_of_torch() -> None:
    for n_in in (5, 7, 12):
        for n_out in (1, 2, 3, 5, 9):
            weights = F.adaptive_avg_pool1d(torch.eye(n_in)[:, None], n_out)[:, 0]
            bins = Bins(n_in, n_out)
            for cell in range(n_out):
                used = weights[:, cell].nonzero()
                assert bins.reads(cell, cell + 1) == (int(used.min()), int(used.max()) + 1)


@pytest.mark.parametrize("border", ["reflect", "replicate", "circular"])
def test_borders_stand_for_the_cells_that_torch_takes(border: str) -> None:
    padded = F.pad(torch.arange(6.0)[None, None], (3, 2), mode=border)[0, 0]
    table = Window(6, 11, padding=(3, 2), border=border).table  # type: ignore[arg-type]
    assert table[:, 0].tolist() == padded.int().tolist()


def test_pull_composes() -> None:
    first, second = Window(20, 9, 3, 2), Window(9, 7, 3)
    both = second.pull(*first.bounds)
    one = Window(20, 7, kernel=7, stride=2)
    assert np.array_equal(both, one.bounds)
    low, high = Whole(7, 3).pull(*both)
    assert (low.tolist(), high.tolist()) == ([0] * 3, [19] * 3)
    assert identity(9).pull(*first.bounds)[0] is first.bounds[0]


@pytest.mark.parametrize("kind", ["avg", "max"])
def test_bins_that_are_one_window(kind):
    """Against torch's adaptive pools; and no window is missed."""
    adaptive, pool = getattr(F, f"adaptive_{kind}_pool1d"), getattr(F, f"{kind}_pool1d")
    for n_in, n_out in ((n, m) for n in range(1, 13) for m in range(1, n + 1)):
        # of so many channels that no two pools agree by chance
        cells = torch.randn(1, 200, n_in, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        window = Bins(n_in, n_out).window
        expected = adaptive(cells, n_out)
        pooled = {(k, s): pool(cells, k, s) for k in range(1, n_in + 1) for s in range(1, n_in + 1)}
        found = [key for key, value in pooled.items() if value.shape == expected.shape and torch.allclose(value, expected)]
        assert (window.kernel, window.stride) in found if window else not found
    assert (Bins(8, 7).window.kernel, Bins(8, 7).window.stride, Bins(10, 3).window.kernel, Bins(10, 3).window.stride) == (2, 1, 4, 3)
