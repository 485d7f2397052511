"""Torchvision's segmentation networks, their weights in ours: the same outputs, at any size, in both heads."""

import pytest
import torch
import torchvision
from torch import nn

from fcn.models import pretrained
from fcn.models.segmenter import create_model

QUICK = ["fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]
SLOW = ["fcn_resnet101", "deeplabv3_resnet101"]
SIZES = ((1, 1), (33, 70), (64, 65))


def randomized(name):
    """A network of torchvision with random weights and batch statistics, as if it had been trained."""
    torch.manual_seed(0)
    auxiliary = {} if name.startswith("lraspp") else {"aux_loss": True}
    theirs = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=21, **auxiliary)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return theirs.eval()


def words(name):
    model, _, backbone = name.partition("_")
    return {"model": model, "backbone": backbone, "upsample": "bilinear", "num_classes": 21}


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_outputs_are_torchvisions(name, tmp_path):
    theirs = randomized(name)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    options = {} if name.startswith("lraspp") else {"aux": True}
    ours = create_model(**words(name), weights=str(tmp_path / "theirs.pth"), model_options=options).eval()
    auxiliary = ours.auxiliary
    with torch.no_grad():
        for height, width in SIZES:
            image = torch.randn(1, 3, height, width)
            expected = theirs(image)
            assert (ours(image) - expected["out"]).abs().max() < 1e-5 * max(1, expected["out"].abs().max())
            if auxiliary is not None:
                scores = ours.to_image(auxiliary(ours.backbone(image)[ours.aux_level]), 8, image, image)
                assert (scores - expected["aux"]).abs().max() < 1e-5 * max(1, expected["aux"].abs().max())
