"""Every model of the project: the analytic intervals of its pixels are the probed ones, with several backbones and every up-sampler.

The words come from ``conf/``: a model that is added there is tested here.
"""

import itertools

import pytest
import torch

from fcn.core.registry import list_parts
from fcn.graph.receptive_field import receptive_field
from fcn.lessons.probe import Probe
from fcn.models.segmenter import create_model

SIZE = (70, 45)  # no multiple of any stride: what is cropped and what is padded counts
BACKBONES: dict[str, dict[str, object]] = {"resnet18": {}, "mobilenet_v3_small": {}, "vgg11": {"classifier": False}, "efficientnet-b0": {}}
MODELS, UPSAMPLERS = list_parts("model"), list_parts("upsample")
QUICK = [("resnet18", model, "transposed") for model in ("deeplabv3plus", "unet")]
QUICK += [("resnet18", "smp", "bilinear"), ("resnet18", "fcn8s", "carafe")]
CASES = [
    pytest.param(*case, id="-".join(case), marks=() if case in QUICK else pytest.mark.slow)
    for case in itertools.product(BACKBONES, MODELS, UPSAMPLERS)
    if case[1] != "smp" or (case[2] == "bilinear" and case[0] in ("resnet18", "efficientnet-b0"))  # smp's own decoders and encoders
]


@pytest.mark.parametrize(("backbone", "model", "upsample"), CASES)
def test_the_field_of_a_pixel_is_the_probed_one(backbone: str, model: str, upsample: str) -> None:
    torch.manual_seed(0)
    network = create_model(model, backbone=backbone, upsample=upsample, num_classes=2, **BACKBONES[backbone])
    fields, probe = receptive_field(network, SIZE), Probe(network, SIZE)
    assert probe.sizes == fields.node.sizes == SIZE
    height, width = SIZE
    cells = [(row, width // 2) for row in (0, 1, height // 2 - 3, height // 2, height // 2 + 5, height - 1)]
    for cell in [*cells, (height // 2, 0), (height // 2 + 2, width - 1)]:
        expected = probe.interval(cell)
        assert fields.interval(cell) == expected, cell
    assert probe.interval(cells[3], "nan") == fields.interval(cells[3])
