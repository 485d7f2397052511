"""Images of one size together: the labels of one at a time."""

import pytest
import torch

from fcn.inference.batches import Batches, batches_for
from fcn.inference.strategies import create_strategy
from fcn.models.segmenter import create_model

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_labels_and_confidence_are_those_of_each_alone(device):
    torch.manual_seed(0)
    model = create_model("fcn8s", backbone="compact", num_classes=5).eval().to(device)
    torch.nn.init.normal_(model.decoder.score.weight if hasattr(model.decoder, "score") else next(model.decoder.parameters()))
    images = [torch.randint(0, 256, (3, 37, 50), dtype=torch.uint8) for _ in range(5)]
    sure = [torch.empty(37, 50, dtype=torch.uint8) for _ in images]
    labels = Batches()(model, images, sure)
    for image, found, confidence in zip(images, labels, sure, strict=True):
        expected = torch.empty(37, 50, dtype=torch.uint8)
        assert torch.equal(found, create_strategy("whole")(model, image, confidence=expected))
        assert (confidence.int() - expected.int()).abs().max() <= 1
    assert len(torch.stack(labels).unique()) > 1


def test_only_tensors_of_one_size_and_not_too_many_pixels():
    small, tall, large = (torch.empty(3, height, 100, dtype=torch.uint8) for height in (50, 60, 6000))
    batches = Batches(3, pixels=1_000_000)
    assert batches.fits([small, small], small)
    assert not batches.fits([small, small, small], small)
    assert not batches.fits([small], tall)
    assert not batches.fits([large], large)
    assert not batches.fits([small], OSError("broken"))
    assert not batches.fits([OSError("broken")], small)


@pytest.mark.parametrize(
    ("name", "options", "device", "some"),
    [
        ("auto", {"memory": None, "flip": False, "scales": [1.0]}, "cuda", True),
        ("whole", {}, "cuda", True),
        ("auto", {}, "cpu", False),
        ("auto", {"memory": 1.0}, "cuda", False),
        ("auto", {"flip": True}, "cuda", False),
        ("auto", {"scales": [0.5, 1.0]}, "cuda", False),
        ("stream", {}, "cuda", False),
    ],
)
def test_which_strategies_and_devices_take_groups(name, options, device, some):
    assert (batches_for(name, options, torch.device(device)) is not None) == some
