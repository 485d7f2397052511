"""The sliding window on any callable, against blending written out on a canvas; what it holds, and what it covers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fcn.inference.predict import predict
from fcn.inference.scores import label
from fcn.inference.strategies import create_strategy
from fcn.inference.windows import positions, window_profile, windows

KERNEL = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)) / 50


def network(images):
    return nn.functional.conv2d(images.float(), KERNEL, padding=1)


def picture(height, width, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    side=st.integers(1, 40),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.7]),
    batch_size=st.integers(1, 5),
    weights=st.sampled_from(["gaussian", "constant"]),
)
@settings(max_examples=80, deadline=None)
def test_scores_are_the_weighted_mean_over_windows(size, side, overlap, batch_size, weights):
    image = picture(*size)
    rows, tall = positions(size[0], side, overlap)
    columns, wide = positions(size[1], side, overlap)
    profile = window_profile(tall, weights)[:, None] * window_profile(wide, weights)
    total, weight = torch.zeros(4, *size), torch.zeros(size)
    for row in rows:
        for column in columns:
            place = slice(row, row + tall), slice(column, column + wide)
            total[:, *place] += network(image[None, :, *place])[0] * profile
            weight[place] += profile
    bands = list(windows(network, image, size=side, overlap=overlap, batch_size=batch_size, weights=weights).bands)
    scores = torch.cat(bands, 1)
    torch.testing.assert_close(scores, total / weight, rtol=1e-4, atol=1e-4)
    assert max(band.shape[1] for band in bands) <= tall


def test_one_pixel_operations_do_not_see_the_windows():
    """Every pixel comes from its own place and counts as a whole, first and last row and column included."""
    image = picture(70, 93)
    scores = torch.cat(list(windows(lambda cut: cut.float(), image, size=32, overlap=0.3, batch_size=2).bands), 1)
    torch.testing.assert_close(scores, image.float(), rtol=1e-5, atol=1e-4)


def test_rows_are_read_as_windows_need_them():
    class Rows:
        shape = (3, 200, 40)

        def __init__(self):
            self.read = []

        def __getitem__(self, key):
            first, last, _ = key[1].indices(200)
            self.read.append((first, last))
            return picture(200, 40)[:, first:last]

    rows = Rows()
    labels = label(windows(network, rows, size=32), 200, 40)
    assert torch.equal(labels, label(windows(network, picture(200, 40), size=32), 200, 40))
    assert all(last - first == 32 for first, last in rows.read)
    assert len(rows.read) == len(positions(200, 32, 0.5)[0])


def test_scores_of_another_size_are_refused():
    with pytest.raises(ValueError, match="scores of 16x16 for windows of 32x32 pixels"):
        next(windows(lambda cut: cut[:, :, ::2, ::2].float(), picture(40, 40), size=32).bands)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda cut: cut[:1].float(), r"scores of shape \(1, 3, 32, 32\) for 2 windows; give \(N, C, h, w\)"),
        (lambda cut: cut[:, 0].float(), r"scores of shape \(2, 32, 32\) for 2 windows; give \(N, C, h, w\)"),
        (lambda cut: (cut.float(),), "gave a tuple; windows take a tensor of scores, or a dict with them as 'out'"),
        (lambda cut: {"logits": cut, "aux": cut}, "gave a dict of logits, aux; windows take a tensor"),
    ],
)
def test_answers_of_another_form_are_refused(answer, message):
    with pytest.raises(ValueError, match=message):
        next(windows(answer, picture(40, 40), size=32, batch_size=2).bands)


def test_of_a_dict_the_scores_are_out():
    found = windows(lambda cut: {"aux": None, "out": network(cut)}, picture(40, 40), size=32)
    assert torch.equal(torch.cat(list(found.bands), 1), torch.cat(list(windows(network, picture(40, 40), size=32).bands), 1))


@pytest.mark.parametrize(("option", "value"), [("size", 0), ("overlap", 1.0), ("overlap", -0.5), ("batch_size", 0)])
def test_wrong_settings_are_refused(option, value):
    with pytest.raises(ValueError, match=f"{option}={value} is not allowed; {option} is "):
        create_strategy("windows", **{option: value})


def test_python_takes_any_callable_in_windows_only():
    image = picture(50, 60).permute(1, 2, 0).numpy()
    labels = predict(network, image, strategy="windows", size=24)
    assert labels.shape == (50, 60)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)).train()
    predict(lambda cut: module(cut.float()), image, strategy="windows", size=24)
    assert predict(nn.Sequential(Floats(), module), image, strategy="windows", size=24).shape == (50, 60)
    assert module.training
    with pytest.raises(ValueError, match="use strategy='windows'"):
        predict(network, image)


class Floats(nn.Module):
    def forward(self, x):
        return x.float()
