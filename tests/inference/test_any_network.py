"""Anybody's network: every exact strategy gives one pass over the padded image, at odd sizes, in bands and in strips."""

import logging
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fcn
from fcn.core.errors import UserError
from fcn.inference.strategies import create_strategy
from fcn.models.fitting import picked
from fcn.models.layers import pad_to_multiple
from tests.inference.networks import BY_HAND, Block, Trunk
from tests.inference.stream.compare import lively, streamed

EXACT = 1e-10  # share of the range of the scores; the networks are in float64


def wrapped(make):
    torch.manual_seed(0)
    return fcn.wrap(lively(make()), mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3)).eval()


def picture(height, width):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(height), dtype=torch.uint8)


def check(make, sizes, bands=(8, 40), strips=(1, 3)):
    """Scores and labels of the stream against the network itself on the padded image."""
    model = wrapped(make)
    for height, width in sizes:
        image = picture(height, width)
        given = model.normalize(image[None])
        with torch.inference_mode():
            logits = picked(model.backbone.network(pad_to_multiple(given, model.spec.divisor)), None)
            coarse, _ = model.coarse(given)
        scale = float(coarse.max() - coarse.min())
        for band in bands:
            for count in strips:
                found = streamed(model, given, band=band, strips=count)
                if found.shape != coarse.shape:  # in one pass, a network with hooks computes its last interpolation
                    found = F.interpolate(found, coarse.shape[-2:], mode="bilinear")
                assert float((found - coarse).abs().max()) < EXACT * scale, (height, width, band, count)
        logits = F.interpolate(logits, scale_factor=float(model.stride), mode="bilinear") if model.stride > 1 else logits
        logits = logits[0, :, :height, :width]
        first, second = logits.topk(2, 0).values
        clear = (first - second) > 1e-9 * scale
        for name, options in (("whole", {}), ("stream", {"band": 16, "passes": 99}), ("stream", {"band": 8, "strip": 40, "passes": 99})):
            labels = create_strategy(name, **options)(model, image).long()
            assert torch.equal(labels[clear], logits.argmax(0)[clear]), name
        assert float(clear.double().mean()) > 0.99
    return model


@pytest.mark.parametrize("size", [(61, 127), pytest.param((72, 94), marks=pytest.mark.slow)], ids=["odd", "even"])
@pytest.mark.parametrize("name", BY_HAND)
def test_networks_written_by_hand(name, size):
    check(BY_HAND[name], [size])


def smp(name, **options):
    import segmentation_models_pytorch

    return getattr(segmentation_models_pytorch, name)("resnet18", encoder_weights=None, classes=4, **options)


def torchvision(name):
    from torchvision.models import segmentation

    return getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=4)


class TimmTrunk(nn.Module):
    """``features_only`` with a head made by hand: the deepest feature over a finer one."""

    def __init__(self, name):
        super().__init__()
        import timm

        self.trunk = timm.create_model(name, features_only=True, pretrained=False)
        channels = self.trunk.feature_info.channels()
        self.deep, self.fine = nn.Conv2d(channels[-1], 4, 1), nn.Conv2d(channels[1], 4, 1)

    def forward(self, x):
        features = self.trunk(x)
        deep = F.interpolate(self.deep(features[-1]), size=features[1].shape[-2:], mode="bilinear", align_corners=False)
        return F.interpolate(self.fine(features[1]) + deep, size=x.shape[-2:], mode="bilinear")


def monai(name):
    nets = pytest.importorskip("monai.networks.nets")
    options = {
        "BasicUNet": {"features": (8, 8, 16, 16, 16, 8)},
        "UNet": {"channels": (8, 16, 16, 32), "strides": (2, 2, 2), "num_res_units": 2},
        "SegResNet": {"init_filters": 8},
    }
    return getattr(nets, name)(spatial_dims=2, in_channels=3, out_channels=4, **options[name])


def test_a_network_of_a_library():
    check(lambda: TimmTrunk("lcnet_050"), [(75, 101)], bands=(32,), strips=(2,))


SMP = ("Unet", "UnetPlusPlus", "Linknet", "FPN", "PSPNet", "PAN", "DeepLabV3", "DeepLabV3Plus", "UPerNet")
TORCHVISION = (
    *("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101"),
    *("deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"),
)
TIMM = (
    *(
        "resnet18",
        "resnet26d",
        "seresnext26d_32x4d",
        "res2net50_26w_4s",
        "resnest14d",
        "ecaresnet50d",
        "skresnet18",
        "regnety_002",
        "dpn68",
    ),
    *("mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small", "efficientnet_b0", "tf_efficientnet_lite0", "tinynet_e"),
    *("mnasnet_050", "fbnetc_100", "lcnet_050", "ghostnet_100", "rexnet_100", "mobileone_s0", "repvgg_a0", "hrnet_w18_small", "dla34"),
    *("convnext_atto", "convnextv2_atto", "inception_next_tiny", "starnet_s1", "poolformer_s12", "focalnet_tiny_srf", "fastvit_t8"),
    *("densenet121", "vgg11_bn", "vovnet39a", "hgnetv2_b0", "inception_v4", "xception41", "nfnet_f0", "selecsls42b", "tresnet_m"),
    *("darknet53", "cspdarknet53"),
)
MONAI = ("BasicUNet", "UNet", "SegResNet")


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        *(pytest.param(lambda name=name: smp(name), id=f"smp {name}") for name in SMP),
        pytest.param(lambda: smp("Unet", decoder_attention_type="scse"), id="smp Unet with gates"),
        *(pytest.param(lambda name=name: torchvision(name), id=f"torchvision {name}") for name in TORCHVISION),
        *(pytest.param(lambda name=name: TimmTrunk(name), id=f"timm {name}") for name in TIMM),
        *(pytest.param(lambda name=name: monai(name), id=f"MONAI {name}") for name in MONAI),
    ],
)
def test_the_networks_of_the_libraries(make):
    check(make, [(197, 131)], bands=(48,), strips=(2,))


# --- what depends on more than the layers ---


def test_a_network_that_does_something_else_at_another_size_is_read_for_each_size():
    """Branches on the size, and sizes that Python computes, are those of the size at hand."""

    def odd(layers, x):
        x = -x if x.shape[3] > 25 else x * 2
        for _ in range(x.shape[2] // 10):
            x = layers["again"](x)
        small = F.interpolate(x, size=(int(x.shape[2] * 0.37), int(x.shape[3] * 0.61)), mode="bilinear")
        return x + F.interpolate(small, size=x.shape[2:], mode="bilinear")

    check(lambda: Trunk(Block(odd, again=nn.Conv2d(8, 8, 3, padding=1))), [(61, 127), (60, 90), (61, 127), (90, 60)], bands=(16,))


REFUSED = {
    "branch": (lambda layers, x: x if x.mean() > 0 else -x, r"layer 'block', `.*`: a branch or a number depends on values of the image"),
    "number": (
        lambda layers, x: x / x.mean().item(),
        "a branch or a number depends on values of the image or of a weight; compute it with tensors",
    ),
    "size": (
        lambda layers, x: F.interpolate(x, size=(int(x.abs().mean() * 0 + 7), 9)),
        "a branch or a number depends on values of the image",
    ),
    "attention": (
        lambda layers, x: layers["mix"](*[x.flatten(2).transpose(1, 2)] * 3)[0].transpose(1, 2).reshape(x.shape),
        "in layer 'block.layers.mix' in bands of rows: bmm compares cells with all cells of the image",
    ),
    "rows and columns": (
        lambda layers, x: x * torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)], 2).mean(),
        "it joins rows of the image with columns",
    ),
    "noise": (lambda layers, x: x + torch.randn_like(x), "'randn_like' in layer 'block' is not understood"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_streamed_is_refused_by_the_name_of_its_layer(name, caplog):
    function, message = REFUSED[name]
    model = wrapped(lambda: Trunk(Block(function, mix=nn.MultiheadAttention(8, 2, batch_first=True))))
    with pytest.raises(UserError, match=message):
        create_strategy("stream")(model, picture(61, 127))
    with caplog.at_level(logging.WARNING):
        labels = create_strategy("auto", memory=1e-4)(model, picture(61, 127))
    assert labels.shape == (61, 127)
    assert re.search(f"labels are approximate, by windows of .*{message}", caplog.text)
