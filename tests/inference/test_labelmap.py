"""Label maps against interpolation and arg-max in full, in every type, size, factor and number of classes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from fcn.inference.labelmap import candidate_groups, label_map

FACTORS = (1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 16.0, 32.0, 1.5, 2.37, 0.4, 0.8, 100.0)


def random_scores(classes, height, width, seed, *, smooth=True, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(1, classes, height, width, generator=generator, dtype=torch.float64)
    if smooth:
        coarse = scores[..., : max(1, height // 4), : max(1, width // 4)]
        scores = 3 * F.interpolate(coarse, size=(height, width), mode="bicubic") + 0.05 * scores
    return scores.to(dtype)


def assert_same(labels, full, margin=1e-5):
    """Equal to the arg-max of ``full`` (N, C, H, W) wherever its two largest differ by more than ``margin``."""
    expected = full.argmax(1)
    wrong = labels.long() != expected
    if wrong.any():
        assert full.shape[1] > 1
        gap = full.topk(2, 1).values.diff(dim=1).abs()[:, 0]
        assert gap[wrong].max() < margin
    assert wrong.float().mean() < 0.01


@given(
    classes=st.integers(2, 30) | st.just(150),
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    factor=st.sampled_from(FACTORS),
    smooth=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=80, deadline=None)
def test_labels_are_those_of_interpolation_and_arg_max(classes, height, width, factor, smooth, dtype, seed):
    if min(height, width) * factor < 1 or height * width * factor**2 * classes > 3e7:
        factor = 1.5
    scores = random_scores(classes, height, width, seed, smooth=smooth, dtype=dtype)
    full = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
    labels = label_map(scores, factor=factor)
    assert labels.dtype == torch.uint8
    assert labels.shape == (1, *full.shape[-2:])
    assert_same(labels, full)


def test_an_axis_whose_size_stays_is_copied():
    scores = torch.randn(5, 11, 3, generator=torch.Generator().manual_seed(0))
    full = F.interpolate(scores[None], scale_factor=1.2, mode="bilinear")
    labels, sure = label_map(scores, factor=1.2, confidence=True)
    assert labels.shape == (13, 3)
    assert torch.equal(labels.long(), full[0].argmax(0))
    assert (sure - 255 * full.softmax(1).amax(1)[0]).abs().max() < 1


@pytest.mark.parametrize("factor", [2.0, 8.0, 2.37])
def test_every_pixel_interpolated_as_a_gpu_does_it(factor, monkeypatch):
    monkeypatch.setattr("fcn.inference.labelmap.is_dense", lambda scores, grid: True)
    monkeypatch.setattr("fcn.inference.labelmap.WORK", 3000)  # some rows at once
    scores = random_scores(7, 19, 23, seed=1)
    assert_same(label_map(scores, factor=factor), F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False))


@given(
    points=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    crop=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=100, deadline=None)
def test_sizes_and_crops(points, size, crop, seed):
    scores = random_scores(7, *points, seed).repeat(2, 1, 1, 1)
    scores[1] = random_scores(7, *points, seed + 1)[0]
    height, width = (max(1, int(part * length)) for part, length in zip(crop, size, strict=True))
    full = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)[..., :height, :width]
    assert_same(label_map(scores, size=size, crop=(height, width)), full)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("factor", [8.0, 3.0, 7.3])
def test_a_map_of_many_bands(factor, layout, monkeypatch):
    """Bands are cut between cells, or anywhere where cells are taller than a band."""
    scores = random_scores(11, 10, 13, 5).to(memory_format=layout)
    full = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
    for work in (2**19, 5000, 1):
        monkeypatch.setattr("fcn.inference.labelmap.WORK", work)
        assert_same(label_map(scores, factor=factor), full)
        labels, sure = label_map(scores, factor=factor, confidence=True)
        assert_same(labels, full)
        assert (sure - 255 * full.softmax(1).amax(1)).abs().max() <= 0.501


def test_a_third_class_that_wins_between_corners_of_two_others_is_found():
    scores = torch.tensor([[[0.0, 10.0]], [[10.0, 0.0]], [[6.0, 6.0]]])[None]
    labels = label_map(scores, factor=16)
    assert labels.unique().tolist() == [0, 1, 2]
    assert_same(labels, F.interpolate(scores, scale_factor=16, mode="bilinear"))


def test_of_equal_classes_the_first_wins():
    assert not label_map(torch.zeros(1, 5, 4, 4), factor=4).any()
    tied = torch.zeros(1, 5, 4, 4)
    tied[:, 2:4] = 1
    assert (label_map(tied, factor=4) == 2).all()
    tied[:, 1, 1:3, 1] = 7  # boundaries inside
    assert set(label_map(tied, factor=4).unique().tolist()) == {1, 2}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_treated_as_arg_max_treats_them(value):
    scores = random_scores(6, 9, 9, 3, smooth=False)
    scores[0, 4, 3:5, 5] = value
    scores[0, 1, 3, 6] = value
    full = F.interpolate(scores, scale_factor=4, mode="bilinear")
    assert torch.equal(label_map(scores, factor=4).long(), full.argmax(1))


@pytest.mark.parametrize("factor", [1.2, 3, 8])
def test_a_class_that_is_ruled_out_wins_nowhere(factor):
    scores = random_scores(40, 9, 9, 3, smooth=False)
    expected = label_map(scores[:, :12], factor=factor)
    scores[:, 12:] = float("-inf")
    assert torch.equal(label_map(scores, factor=factor), expected)


@pytest.mark.parametrize("factor", [1, 3, 8])
def test_confidence_is_that_of_the_classes_that_are_not_ruled_out(factor):
    scores = random_scores(40, 9, 9, 3, smooth=False)
    expected = label_map(scores[:, :12], factor=factor, confidence=True)[1]
    scores[:, 12:] = float("-inf")
    assert torch.equal(label_map(scores, factor=factor, confidence=True)[1], expected)


def test_confidence_beside_infinity_and_nan():
    scores = torch.zeros(1, 4, 1, 3)
    scores[0, 2, 0, 1] = float("inf")
    scores[0, :, 0, 2] = float("-inf")
    for factor in (1, 3):  # the middle pixel of three lies on the point
        assert label_map(scores, factor=factor, confidence=True)[1][0, 0, factor // 2 :: factor].tolist() == [64, 255, 64]
    scores[0, 2, 0, 2] = float("nan")
    assert label_map(scores, factor=1, confidence=True)[1].tolist() == [[[64, 255, 0]]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_floats_are_computed_in_float32(dtype):
    scores = random_scores(9, 12, 17, 1).to(dtype)
    assert_same(label_map(scores, factor=8), F.interpolate(scores.float(), scale_factor=8, mode="bilinear"))


def test_candidates_hold_every_class_that_wins_somewhere():
    values = torch.randn(4, 300, 40, dtype=torch.float64) + 2 * torch.randn(1, 300, 40, dtype=torch.float64)
    steps = torch.linspace(0, 1, 9, dtype=torch.float64)
    seen = torch.zeros(300, dtype=torch.bool)
    for chosen, _, classes in candidate_groups(values):
        seen[chosen] = True
        for cell, allowed in zip(chosen.tolist(), classes.t().tolist(), strict=True):
            square = values[:, cell].view(2, 2, 40)
            rows = torch.lerp(square[0, None], square[1, None], steps[:, None, None])  # (9, 2, C)
            inside = torch.lerp(rows[:, None, 0], rows[:, None, 1], steps[None, :, None])
            assert set(inside.argmax(-1).unique().tolist()) <= set(allowed)
    assert seen[(values.argmax(2) != values.argmax(2)[0]).any(0)].all()  # cells of one class alone may be left out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "factor=None and size=None given; give one of them"),
        ({"factor": 2, "size": (8, 8)}, "give one of them"),
        ({"factor": 0}, "factor=0 is not allowed; it is a number above 0"),
        ({"factor": -1.0}, "factor=-1.0 is not allowed; it is a number above 0"),
        ({"factor": float("nan")}, "factor=nan is not allowed"),
        ({"size": (0, 3)}, r"size=\(0, 3\) is not allowed; it is \(height, width\), two whole numbers of 1 or more"),
        ({"size": 8}, r"size=8 is not allowed; it is \(height, width\)"),
        ({"size": (8.0, 8)}, "two whole numbers of 1 or more"),
        ({"factor": 2, "crop": (9, 8)}, "a label map of 9x8 pixels is asked for; these scores give up to 8x8"),
    ],
)
def test_wrong_calls_are_answered(options, message):
    with pytest.raises(ValueError, match=message):
        label_map(torch.zeros(1, 3, 4, 4), **options)


def test_scores_of_another_form_are_refused():
    for wrong in (torch.zeros(4, 4), torch.zeros(1, 65536, 2, 2), torch.zeros(1, 3, 4, 4, dtype=torch.int64), torch.zeros(1, 3, 0, 4)):
        with pytest.raises(ValueError, match=r"give floating-point \(C, h, w\) or \(N, C, h, w\) of up to 65535 classes"):
            label_map(wrong, factor=2)
