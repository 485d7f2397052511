"""``fcn.predict``: what it takes, and what it says of everything else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fcn

ARRAY = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return fcn.create_model("fcn8s", backbone="compact", num_classes=4)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_the_image_in_the_file(model, tmp_path, kind):
    Image.fromarray(ARRAY).save(tmp_path / "a.png")
    expected = fcn.predict(model, ARRAY)
    assert (expected.shape, expected.dtype) == ((20, 30), np.uint8)
    for image in (kind(tmp_path / "a.png"), Image.fromarray(ARRAY), ARRAY[::-1][::-1], np.asfortranarray(ARRAY)):
        assert np.array_equal(fcn.predict(model, image), expected)


@pytest.mark.parametrize(
    ("image", "kind", "message"),
    [
        (None, TypeError, "the image is a NoneType; give a PIL image"),
        ([ARRAY], TypeError, "the image is a list; .* call predict once for each"),
        (b"a.png", TypeError, "the image is a bytes"),
        (torch.from_numpy(ARRAY), TypeError, r"the image is a Tensor; .*tensor.permute\(1, 2, 0\)"),
        ("none.png", FileNotFoundError, "there is no file none.png"),
        (ARRAY[None], ValueError, r"shape \(1, 20, 30, 3\).*call predict once for each"),
        (ARRAY / 255, ValueError, r"type float64; .*array \* 255"),
        (ARRAY > 3, ValueError, "type bool; .*astype"),
        (ARRAY[:, :, 0], ValueError, r"shape \(20, 30\) .*Image.fromarray"),
        (ARRAY[:, :, [0, 1, 2, 0]], ValueError, r"shape \(20, 30, 4\) .*Image.fromarray"),
        (ARRAY.transpose(2, 0, 1), ValueError, r"array.transpose\(1, 2, 0\)"),
        (ARRAY.astype(np.uint16), ValueError, "type uint16"),
        (ARRAY[:0], ValueError, r"shape \(0, 30, 3\)"),
    ],
)
def test_what_is_no_image_is_refused_with_what_would_be_one(model, image, kind, message):
    with pytest.raises(kind, match=message):
        fcn.predict(model, image)


@pytest.mark.parametrize("model", [None, "best.pt", Path("best.pt")])
@pytest.mark.parametrize("strategy", ["auto", "windows"])
def test_what_is_no_model_is_refused(model, strategy):
    with pytest.raises(TypeError, match=r"the model is a .*; give what fcn\.load\(PATH\)"):
        fcn.predict(model, ARRAY, strategy=strategy)


@pytest.mark.parametrize("scales", [1.0, 16, None, [], "1", [1, "2"], [[1]], {1: 1}, [True], [float("nan")], [-1], [float("inf")], [0]])
def test_scales_that_are_no_factors_are_refused(model, scales):
    with pytest.raises(ValueError, match=r"scales=.* is a list, each above 0 and up to 16"):
        fcn.predict(model, ARRAY, scales=scales)


def test_any_sequence_of_factors_is_one(model):
    expected = fcn.predict(model, ARRAY, scales=[1.0, 0.5])
    for scales in ((1, 0.5), np.array([1, 0.5]), iter([1, 0.5])):
        assert np.array_equal(fcn.predict(model, ARRAY, scales=scales), expected)
    assert fcn.predict(model, ARRAY, scales=[1e-9]).shape == (20, 30)  # one pixel


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": None}, "strategy=None is not known; allowed: auto, stream, whole, windows"),
        ({"flip": "false"}, "flip=false is not allowed; flip is True or False"),
        ({"strategy": "windows", "size": 10.5}, "size=10.5 is not allowed; size is a whole number, 1 or more"),
        ({"strategy": "windows", "overlap": float("nan")}, "overlap=nan is not allowed"),
        ({"memory": float("inf")}, "memory=inf is not allowed; memory is above 0, or None, and finite"),
        ({"strategy": "stream", "band": "x"}, "band=x is not allowed; band is a whole number, 1 or more, or None"),
    ],
)
def test_options_of_another_type_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        fcn.predict(model, ARRAY, **options)


def test_a_network_without_classes_is_refused():
    with pytest.raises(ValueError, match=r"scores of no class: their shape is \(1, 0, 20, 30\)"):
        fcn.predict(lambda windows: torch.zeros(len(windows), 0, *windows.shape[2:]), ARRAY, strategy="windows")


def test_the_number_format_is_the_one_that_is_asked_for(model):
    seen = []
    hook = model.decoder.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    try:
        fcn.predict(model, ARRAY, strategy="whole", precision="bf16")
        fcn.predict(model, ARRAY, strategy="whole")
    finally:
        hook.remove()
    assert seen == [torch.bfloat16, torch.float32]
    with pytest.raises(fcn.UserError, match="precision='int8' is not allowed; it is one of auto, fp32, bf16, fp16"):
        fcn.predict(model, ARRAY, precision="int8")
