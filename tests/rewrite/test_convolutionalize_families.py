"""Converted classifiers of torchvision and timm against themselves: at the trained size, in every window, and in the mean of the cells."""

import warnings

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import Bottleneck

from fcn import convolutionalize
from tests.models.lively import lively

CLASSES = 5
REGNET = [1, 2], [16, 32], [8, 8], [1.0, 1.0], [2, 2]  # depths, widths, widths of groups, bottlenecks, strides
FUSED = [FusedMBConvConfig(2, 3, 2, 8, 8, 2), MBConvConfig(2, 3, 2, 8, 16, 2)]


def small_head(network: nn.Module) -> nn.Module:
    """AlexNet or VGG with few numbers where 4096 were."""
    places = [place for place, layer in enumerate(network.classifier) if isinstance(layer, nn.Linear)]
    inputs = network.classifier[places[0]].in_features
    for place, outputs in zip(places, (12, 9, CLASSES), strict=True):
        network.classifier[place], inputs = nn.Linear(inputs, outputs), outputs
    return network


def torchvision_small(name):
    return lambda: models.get_model(name, weights=None, num_classes=CLASSES)


# the smallest of each family, or a smaller one of the same classes; the size in pixels; whether it has gates; whether its head is linear
TORCHVISION = {
    "squeezenet": (torchvision_small("squeezenet1_1"), 96, False, True),
    "googlenet": (lambda: models.GoogLeNet(CLASSES, aux_logits=False, transform_input=True, init_weights=False), 64, False, True),
    "inception_v3": (lambda: models.Inception3(CLASSES, aux_logits=False, transform_input=True, init_weights=False), 107, False, True),
    "resnet": (torchvision_small("resnet18"), 64, False, True),
    "resnext": (lambda: models.ResNet(Bottleneck, [1] * 4, CLASSES, groups=32, width_per_group=4), 64, False, True),
    "wide resnet": (lambda: models.ResNet(Bottleneck, [1] * 4, CLASSES, width_per_group=128), 64, False, True),
    "densenet": (lambda: models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=CLASSES), 64, False, True),
    "mobilenet_v2": (lambda: models.MobileNetV2(CLASSES, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]]), 32, False, True),
    "mobilenet_v3": (torchvision_small("mobilenet_v3_small"), 64, True, False),
    "shufflenet": (lambda: models.ShuffleNetV2([2, 2, 1], [8, 16, 32, 64, 48], CLASSES), 64, False, True),
    "mnasnet": (torchvision_small("mnasnet0_5"), 64, False, True),
    "regnet_x": (lambda: models.RegNet(BlockParams(*REGNET), CLASSES), 32, False, True),
    "regnet_y": (lambda: models.RegNet(BlockParams(*REGNET, se_ratio=0.25), CLASSES), 32, True, True),
    "efficientnet": (lambda: models.EfficientNet(FUSED[1:], 0.2, num_classes=CLASSES, last_channel=32), 32, True, True),
    "efficientnet_v2": (lambda: models.EfficientNet(FUSED, 0.2, num_classes=CLASSES, last_channel=32), 32, True, True),
    "convnext": (lambda: models.ConvNeXt([CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 2)], num_classes=CLASSES), 32, False, False),
}
TIMM = [
    "test_resnet",
    "test_byobnet",
    "resnest14d",
    "fasternet_t0",
    "test_convnext",
    "nf_resnet26",
    "test_efficientnet_gn",
]
# fmt: off
TIMM_SLOW = [
    "repvgg_a0", "vovnet39a", "selecsls42", "dla34", "regnetx_002",
    "resnet26t", "resnetv2_50", "resnetv2_50x1_bit", "seresnet18", "ecaresnet26t", "skresnet18", "legacy_seresnet18",
    "res2net50_14w_8s", "gernet_s", "mobileone_s0", "convmixer_768_32", "convnext_atto", "convnextv2_atto", "inception_next_atto",
    "mambaout_femto", "poolformer_s12", "convformer_s18", "cspresnet50", "darknet53", "densenet121", "dpn48b", "hrnet_w18_small",
    "xception41", "legacy_xception", "efficientnet_b0", "tf_efficientnet_b0", "tf_efficientnetv2_b0", "mixnet_s", "mobilenetv2_050",
    "fbnetc_100", "hardcorenas_a", "mobilenetv3_small_050", "mobilenetv4_conv_small", "lcnet_035", "ghostnet_050", "repghostnet_050",
    "hgnetv2_b0", "hgnet_tiny", "inception_v3", "inception_v4", "inception_resnet_v2", "nasnetalarge", "pnasnet5large", "nf_regnet_b0",
    "dm_nfnet_f0", "regnety_002", "regnetz_005", "repvit_m0_9", "rexnet_100", "starnet_s1", "tresnet_m", "ese_vovnet19b_slim_dw",
    "fastvit_t8", "rdnet_tiny",
]
# fmt: on


def converted(classifier, dense, size, gates=None, linear=None):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        network = convolutionalize(classifier, dense=dense, input_size=size)
    messages = [str(warning.message) for warning in found]
    if gates is not None:
        assert any("see the whole image" in message for message in messages) == gates
    if linear is not None and dense == "pixel":
        assert any("is not linear in what is pooled" in message for message in messages) != linear
    return network


def assert_equal(ours, theirs, tolerance=1e-9):
    """Up to ``tolerance`` of what the scores of several images differ by."""
    spread = (theirs - theirs.mean(0)).abs().max().item()
    assert spread > 1e-4 * theirs.abs().max().item()
    assert (ours - theirs).abs().max().item() <= tolerance * max(spread, 1.0)


def check(classifier, size, gates=None, linear=None):
    """The converted networks against ``classifier``: at the trained size, and on a larger image of other proportions."""
    window = converted(classifier, "window", size, gates)
    pixel = converted(classifier, "pixel", size, gates, linear)
    assert set(window.state_dict()) == set(pixel.state_dict()) == set(classifier.state_dict())
    dtype = next(classifier.parameters()).dtype
    with torch.no_grad():
        images = torch.randn(2, 3, size, size, dtype=dtype)
        scores = window(images)
        assert scores.shape == (2, CLASSES, 1, 1)
        assert_equal(scores.flatten(1), classifier(images))
        cells = pixel(images).shape[-2:]
        images = torch.randn(2, 3, size + 64, size + 32, dtype=dtype)
        scores, fine = window(images), pixel(images)
        assert scores.shape[-2:] == tuple(large - small + 1 for large, small in zip(fine.shape[-2:], cells, strict=True))
        assert scores.shape[-2] > 1
        if linear:
            assert_equal(fine.mean((2, 3)), classifier(images))
            assert_equal(F.avg_pool2d(fine, tuple(cells), stride=1).flatten(1), scores.flatten(1))


LIKE_OTHERS = (
    "inception_v3",
    "googlenet",
    "densenet",
    "efficientnet_v2",
    "resnext",
    "wide resnet",
    "mnasnet",
    "regnet_x",
    "regnet_y",
    "efficientnet",
    "resnest14d",
    "fasternet_t0",
    "nf_resnet26",
)  # the layers of others here


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in LIKE_OTHERS else name for name in TORCHVISION])
def test_families_of_torchvision(name):
    build, size, gates, linear = TORCHVISION[name]
    check(lively(build().double(), size), size, gates, linear)


@pytest.mark.parametrize("name", ["alexnet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("vgg11", "vgg11_bn"))])
def test_flattened_windows(name):
    """Each cell is the classifier's head on a window of its features."""
    classifier = lively(small_head(models.get_model(name, weights=None)).double(), 224)
    window = converted(classifier, "window", None)
    with torch.no_grad():
        images = torch.randn(2, 3, 224, 256, dtype=torch.float64)
        assert_equal(window(images[..., :224, :224]).flatten(1), classifier(images[..., :224, :224]))
        scores, features = window(images), classifier.features(images)
        side = 6 if name == "alexnet" else 7
        assert scores.shape == (2, CLASSES, 1, 2)
        for column in range(2):
            assert_equal(scores[..., 0, column], classifier.classifier(features[..., column : column + side].flatten(1)))


def test_a_pool_of_cells_that_its_window_does_not_have():
    """At the trained size VGG's adaptive pool does nothing; at a smaller one it repeats cells, which nothing that slides does."""
    with torch.device("meta"), pytest.raises(ValueError, match=r"'avgpool' \(AdaptiveAvgPool2d\) does not slide: it pools 3 cells to 7"):
        convolutionalize(models.vgg11(), input_size=96)


@pytest.mark.parametrize("name", ["alexnet", pytest.param("vgg11", marks=pytest.mark.slow)])
def test_a_window_of_one_cell_more_than_trained(name):
    """At 256 x 256 the adaptive pool takes 2 x 2 cells together, at every cell: 8 to 7 and 7 to 6."""
    classifier = lively(small_head(models.get_model(name, weights=None)), 256)
    images = torch.randn(2, 3, 256, 256 + 32)
    with torch.no_grad():
        scores = converted(classifier, "window", 256)(images)
        assert scores.shape == (2, CLASSES, 1, 2)
        features = classifier.features(images)
        for column in range(2):
            window = classifier.avgpool(features[..., column : column + features.shape[2]]).flatten(1)
            assert_equal(scores[..., 0, column], classifier.classifier(window), 1e-4)
        assert_equal(converted(classifier, "window", 256)(images[..., :256]).flatten(1), classifier(images[..., :256]), 1e-4)


@pytest.mark.slow
def test_a_window_of_twice_the_trained_size():
    """VGG's adaptive pool then takes 2 x 2 cells together, and the convolution that reads them is dilated."""
    classifier = lively(small_head(models.vgg11()), 224)
    images = torch.randn(2, 3, 448, 448)
    with torch.no_grad():
        assert_equal(convolutionalize(classifier, input_size=448)(images).flatten(1), classifier(images), 1e-4)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in LIKE_OTHERS else name for name in TIMM])
def test_families_of_timm(name):
    check(lively(timm.create_model(name, num_classes=CLASSES).double(), 64), 64)


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM_SLOW)
def test_more_families_of_timm(name):
    check(lively(timm.create_model(name, num_classes=CLASSES).double(), 96), 96)


def all_of_torchvision():
    """All that slide, but for regnet_y_128gf, whose three copies of 645 million weights do not fit here."""
    attention = ("vit", "swin", "maxvit")
    return [name for name in models.list_models(module=models) if not name.startswith(attention) and name != "regnet_y_128gf"]


@pytest.mark.slow
@pytest.mark.parametrize("name", all_of_torchvision())
def test_every_classifier_of_torchvision(name):
    """In float32, which is the type that it is used in."""
    options = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    classifier = models.get_model(name, weights=None, num_classes=CLASSES, **options)
    size = 224 if name.startswith(("alexnet", "vgg")) else 107 if name == "inception_v3" else 64
    classifier = lively(classifier, size)
    window = converted(classifier, "window", size)
    with torch.no_grad():
        images = torch.randn(2, 3, size, size)
        assert_equal(window(images).flatten(1), classifier(images), 1e-4)
