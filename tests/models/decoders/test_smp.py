"""The architectures of segmentation-models-pytorch in our frame, against themselves."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.nn import functional as F

from fcn.models.decoders.smp import architectures
from fcn.models.layers import PooledBatchNorm
from fcn.models.segmenter import create_model

ARCHITECTURES = [name for name in architectures() if name != "DPT"]
ALONE = {"Unet", "UnetPlusPlus", "MAnet", "Linknet"}  # which arrive at the image's size by themselves


def build(arch, upsample="bilinear", backbone="resnet18", **settings):
    return create_model("smp", backbone=backbone, upsample=upsample, num_classes=3, arch=arch, **settings)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_any_size_and_one_image_per_step(arch):
    network = build(arch)
    logits = network(torch.randn(1, 3, 65, 97))
    assert logits.shape == (1, 3, 65, 97)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)
    network.eval()
    with torch.no_grad():
        for size in ((1, 1), (7, 130)):
            assert network(torch.randn(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("arch", ["Unet", "FPN", "DeepLabV3Plus"])
def test_scores_are_the_architectures(arch):
    """The same weights in smp's own network, whose head only interpolates in another way."""
    torch.manual_seed(0)
    ours = build(arch).eval()
    theirs = smp.create_model(arch, "resnet18", encoder_weights=None, classes=3).eval()
    theirs.encoder.load_state_dict(ours.backbone.network.state_dict())
    theirs.decoder.load_state_dict(ours.decoder.decoder.state_dict())
    theirs.segmentation_head[0].load_state_dict(ours.decoder.head.state_dict())
    image = torch.randn(1, 3, 128, 64)
    with torch.no_grad():
        scores = theirs.segmentation_head[0](theirs.decoder(theirs.encoder(image)))
        torch.testing.assert_close(ours.scores(image), scores)
        expected = F.interpolate(scores, scale_factor=float(ours.stride), mode="bilinear") if ours.stride > 1 else theirs(image)
        torch.testing.assert_close(ours(image), expected)


@pytest.mark.parametrize("upsample", ["transposed", "carafe"])
def test_an_up_sampler_takes_the_scores_on_where_there_is_a_way_left(upsample):
    network = build("FPN", upsample).eval()
    assert network.stride == 1
    with torch.no_grad():
        assert network(torch.randn(1, 3, 33, 40)).shape == (1, 3, 33, 40)


def test_norms_behind_a_pool_are_ours():
    norms = [type(module) for module in build("DeepLabV3").decoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert set(norms) == {PooledBatchNorm}


def test_what_smp_does_not_offer_is_answered():
    with pytest.raises(ValueError, match=r"arch=FNP is not known; did you mean"):
        build("FNP")
    with pytest.raises(ValueError, match=r"arch='DPT' takes a vision transformer .* choose one of Unet"):
        build("DPT")
    with pytest.raises(ValueError, match=r"arch='Unet' arrives at the image's size by itself.*upsample=bilinear"):
        build("Unet", "transposed")
    with pytest.raises(ValueError, match=r"arch='FPN' keeps its encoder's stride.*or choose DeepLabV3, DeepLabV3Plus, PAN"):
        build("FPN", output_stride=16)
    with pytest.raises(ValueError, match=r"arch='DeepLabV3' does not take backbone=resnet18 at output stride 4"):
        build("DeepLabV3", output_stride=4)
    with pytest.raises(ValueError, match=r"arch='Linknet' does not take backbone=mit_b0 .*with this backbone: .*FPN"):
        build("Linknet", backbone="mit_b0")
    with pytest.raises(ValueError, match="backbone=resnet19 is not known; did you mean"):
        build("FPN", backbone="resnet19")
    assert build("DeepLabV3", output_stride=16).backbone.strides[-1] == 16
