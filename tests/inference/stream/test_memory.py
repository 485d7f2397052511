"""The estimate of what a run holds, against what torch allocates."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from fcn.inference.memory import pass_bytes
from fcn.inference.stream import prepare, stream
from fcn.models.segmenter import create_model


def most_allocated(call):
    """The most bytes of tensors at once while ``call`` runs, beside those that were there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_estimate_of_one_pass_is_what_torch_allocates(dtype):
    """Autocast's own copies of the weights are among what is allocated."""
    network = create_model("fcn8s", backbone="resnet18", upsample="bilinear", num_classes=11).eval()
    image = torch.randn(1, 3, 512, 768)
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        network.scores(image)
        most = most_allocated(lambda: network.scores(image)) + image.nbytes
        assert 0.8 * most < pass_bytes(network, 512, 768) < 1.3 * most


@pytest.mark.parametrize(
    ("model", "backbone", "band"),
    [
        ("fcn8s", "resnet18", 32),
        ("deeplabv3", "resnet18", 64),
        pytest.param("fcn8s", "resnet18", 128, marks=pytest.mark.slow),
        pytest.param("unet", "mobilenet_v2", 64, marks=pytest.mark.slow),
    ],
)
def test_the_estimate_is_what_torch_allocates(model, backbone, band):
    network = create_model(model, backbone=backbone, upsample="bilinear", num_classes=11).eval()
    image = torch.randint(0, 256, (3, 256, 768), dtype=torch.uint8)
    with torch.inference_mode():
        estimate = prepare(network, 256, 768).bytes(band)
        most = most_allocated(lambda: list(map(torch.Tensor.numel, stream(network, image, band=band, strip=768).bands)))
    assert 0.9 * most < estimate < 1.2 * most
