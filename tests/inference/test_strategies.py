"""Strategies: any size, the network's own labels, and windows that cover every pixel."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from fcn.core.registry import list_parts
from fcn.inference.memory import pass_bytes
from fcn.inference.predict import predict
from fcn.inference.strategies import create_strategy
from fcn.inference.windows import positions, window_profile
from fcn.models.segmenter import create_model


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = create_model("fcn8s", backbone="resnet18", upsample="transposed", num_classes=5).eval()
    for score in network.decoder.scores:
        torch.nn.init.normal_(score.weight)
    return network


def picture(height, width, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("name", list_parts("inference"))
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (37, 64), (130, 71)])
def test_labels_have_the_size_of_the_image(model, name, size):
    options = {"size": 48} if name == "windows" else {}
    labels = create_strategy(name, **options)(model, picture(*size))
    assert labels.shape == size
    assert labels.dtype == torch.uint8
    assert labels.max() < 5


def test_whole_is_the_arg_max_of_the_logits(model):
    image = picture(61, 90)
    with torch.no_grad():
        logits = model(model.normalize(image[None]))[0]
    equal = create_strategy("whole")(model, image).long() == logits.argmax(0)
    assert (equal | (logits.topk(2, 0).values.diff(dim=0).abs()[0] < 1e-5)).all()
    assert equal.float().mean() > 0.999


@pytest.mark.parametrize("weights", ["gaussian", "constant"])
def test_one_window_over_the_whole_image_is_whole(model, weights):
    image = picture(61, 90)
    one = create_strategy("windows", size=100, weights=weights)(model, image)
    assert torch.equal(one, create_strategy("whole")(model, image))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_windows_against_blending_written_out(model, batch_size):
    """All logits of all windows added up on the full canvas at once."""
    image, size, overlap = picture(70, 101), 40, 0.4
    rows, columns = positions(70, size, overlap)[0], positions(101, size, overlap)[0]
    profile = window_profile(size, "gaussian")
    canvas = torch.zeros(5, 70, 101)
    with torch.no_grad():
        for row in rows:
            for column in columns:
                window = image[None, :, row : row + size, column : column + size]
                canvas[:, row : row + size, column : column + size] += model(model.normalize(window))[0] * (profile[:, None] * profile)
    labels = create_strategy("windows", size=size, overlap=overlap, batch_size=batch_size)(model, image)
    margin = canvas.topk(2, 0).values.diff(dim=0).abs()[0]
    assert torch.equal(labels.long()[margin > 1e-6], canvas.argmax(0)[margin > 1e-6])
    assert (margin > 1e-6).float().mean() > 0.99


@pytest.mark.parametrize("length", [1, 7, 40, 41, 97, 1000])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_windows_cover_everything_with_their_overlap(length, overlap):
    starts, side = positions(length, 40, overlap)
    assert side == min(40, length)
    assert starts[0] == 0
    assert starts[-1] == length - side
    steps = [b - a for a, b in pairwise(starts)]
    assert all(1 <= step <= side * (1 - overlap) + 1 for step in steps)


def test_python_call_takes_pictures_of_any_mode_and_leaves_the_model_as_it_was(model):
    array = picture(30, 40).permute(1, 2, 0).numpy()
    expected = predict(model, array)
    assert expected.shape == (30, 40)
    assert expected.dtype == np.uint8
    assert np.array_equal(predict(model, Image.fromarray(array)), expected)
    assert predict(model, Image.fromarray(array).convert("LA"), strategy="windows", size=16).shape == (30, 40)
    for name, options in (
        ("whole", {}),
        ("stream", {"band": 7}),
        ("windows", {"size": 16}),
        ("stream", {"flip": True, "scales": [0.5, 1]}),
    ):
        assert np.array_equal(
            predict(model, Image.fromarray(array), strategy=name, **options), predict(model, array, strategy=name, **options)
        )
    model.train()
    assert np.array_equal(predict(model, array), expected)
    assert model.training
    model.eval()


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_arrays_of_another_form_are_refused(model, wrong):
    with pytest.raises(ValueError, match=r"give \(height, width, 3\) of uint8"):
        predict(model, wrong)


def test_a_picture_without_pixels_is_refused(model):
    with pytest.raises(ValueError, match="no pixels: it is 0x4"):
        predict(model, Image.new("RGB", (0, 4)))


def test_a_pass_that_does_not_fit_is_refused_before_it_starts(model):
    image = torch.zeros(3, 1, 1, dtype=torch.uint8).expand(3, 200_000, 200_000)  # no memory of its own
    with pytest.raises(ValueError, match=r"200000x200000 pixels needs about .* GiB and .* GiB are free; use strategy='stream'"):
        create_strategy("whole")(model, image)


class Spectral(torch.nn.Module):
    """A layer that is not understood."""

    def forward(self, scores):
        return torch.fft.irfft2(torch.fft.rfft2(scores), s=scores.shape[-2:])


def test_whole_runs_what_it_cannot_estimate(model, monkeypatch, caplog):
    image = picture(61, 90)
    expected = create_strategy("whole")(model, image)
    spectral = copy.deepcopy(model)
    spectral.decoder = torch.nn.Sequential(model.decoder, Spectral())
    monkeypatch.setattr("fcn.inference.strategies.SMALL", 100)
    assert pass_bytes(spectral, 61, 90) is None
    assert (create_strategy("whole")(spectral, image) == expected).float().mean() > 0.999
    create_strategy("auto")(spectral, image)
    assert "labels are approximate" in caplog.text
    assert "operation 'fft_rfft2'" in caplog.text


def test_the_estimate_of_a_pass_grows_with_the_area(model):
    assert pass_bytes(model, 512, 1024) == pytest.approx(8 * pass_bytes(model, 256, 256), rel=0.01)
    assert pass_bytes(model, 256, 256) > 5 * 256 * 256 * 4  # at least the logits


def test_wrong_words_are_answered(model):
    with pytest.raises(ValueError, match="strategy=hole is not known; did you mean whole"):
        create_strategy("hole")
    with pytest.raises(ValueError, match="strategy=whole has no option 'size'; it takes flip, scales"):
        create_strategy("whole", size=3)
