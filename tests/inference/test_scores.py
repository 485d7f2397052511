"""Bands of scores become the same labels and the same values, however they are cut."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from fcn.inference import labelmap, scores
from fcn.inference.scores import Reader, Scores, label
from tests.inference.test_labelmap import assert_same, random_scores


def cut(full, lengths):
    """The rows of (1, C, h, w) in bands of these lengths, over and over."""
    row, index = 0, 0
    while row < full.shape[2]:
        yield full[0, :, row : row + lengths[index % len(lengths)]].clone()
        row += lengths[index % len(lengths)]
        index += 1


@given(
    points=st.tuples(st.integers(1, 25), st.integers(1, 12)),
    stride=st.sampled_from([1, 2, 3, 8, 16]),
    missing=st.tuples(st.integers(0, 15), st.integers(0, 15)),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    work=st.sampled_from([1, 300, 5000, 2**19]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=40, deadline=None)
def test_labels_of_bands_are_those_of_the_whole(points, stride, missing, lengths, work, seed):
    full = random_scores(6, *points, seed)
    height, width = (max(1, count * stride - min(less, stride - 1)) for count, less in zip(points, missing, strict=True))
    kept, labelmap.WORK = labelmap.WORK, work
    try:
        sure = torch.empty(height, width, dtype=torch.uint8)
        labels = label(Scores((stride, stride), cut(full, lengths)), height, width, confidence=sure)
        reader = Reader(Scores((stride, stride), cut(full, lengths)), height, width)
        values = torch.cat([reader.values(first, last) for first, last in reader.bands()], 1)
    finally:
        labelmap.WORK = kept
    expected = F.interpolate(full, scale_factor=float(stride), mode="bilinear")[..., :height, :width]
    assert_same(labels[None], expected)
    torch.testing.assert_close(values[None], expected)
    assert (sure - 255 * expected[0].softmax(0).amax(0)).abs().max() <= 0.501


@pytest.mark.parametrize("view", [(13, 21), (52, 84), (26, 42), (9, 50)])
def test_scores_of_a_resized_image_lie_over_the_image(view):
    """Row and column ``o`` of an image of ``n`` lie at ``(o + 0.5) * m / (n * stride) - 0.5`` of the scores of its view of ``m``."""
    stride = 4
    rows, columns = (-(-length // stride) for length in view)
    across = torch.arange(columns, dtype=torch.float64).expand(rows, columns)
    down = torch.arange(rows, dtype=torch.float64)[:, None].expand(rows, columns)
    reader = Reader(Scores((stride, stride), cut(torch.stack([down, across])[None], [2])), 26, 42, view=view)
    values = torch.cat([reader.values(row, min(row + 5, 26)) for row in range(0, 26, 5)], 1)
    for axis, (length, seen, points) in enumerate(((26, view[0], rows), (42, view[1], columns))):
        place = ((torch.arange(length, dtype=torch.float64) + 0.5) * seen / (length * stride) - 0.5).clamp(0, points - 1)
        torch.testing.assert_close(values[axis], place[:, None].expand(26, 42) if axis == 0 else place.expand(26, 42))


def test_no_more_rows_are_held_than_are_needed():
    bands = cut(torch.zeros(1, 2, 100, 3), [2])
    reader = Reader(Scores((8, 8), bands), 800, 24)
    for row in range(0, 800, 8):
        reader.labels(row, row + 8)
        assert sum(band.shape[1] for _, band in reader.kept) <= 4


def test_scores_that_end_too_early_are_refused():
    with pytest.raises(ValueError, match="the scores end after 24 of the image's 40 rows"):
        label(Scores((8, 8), cut(torch.zeros(1, 2, 3, 5), [3])), 40, 40)
    with pytest.raises(ValueError, match="their bands are empty"):
        label(Scores((8, 8), iter(())), 40, 40)


def test_more_classes_than_a_label_map_holds_are_refused():
    assert label(Scores((1, 1), cut(torch.eye(256)[None, :, None].float(), [1])), 1, 256).tolist() == [list(range(256))]
    with pytest.raises(ValueError, match="scores of 65536 classes; a label map, of two bytes a pixel, has up to 65535"):
        label(Scores((8, 8), cut(torch.zeros(1, 65536, 1, 1), [1])), 8, 8)


def test_progress_is_for_large_images_on_a_terminal(monkeypatch, capfd):
    monkeypatch.setattr(scores, "LARGE", 100)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    label(Scores((1, 1), cut(torch.zeros(1, 2, 9, 9), [3])), 9, 9, progress=True)
    assert "pixels" not in capfd.readouterr().err
    label(Scores((1, 1), cut(torch.zeros(1, 2, 20, 9), [3])), 20, 9, progress=True)
    assert "180" in capfd.readouterr().err
    label(Scores((1, 1), cut(torch.zeros(1, 2, 20, 9), [3])), 20, 9)
    assert "pixels" not in capfd.readouterr().err
