"""Backbones: one contract for torchvision's classifiers and for the encoders of smp and timm."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import normalize

from fcn.core.registry import list_parts
from fcn.graph import read_graph
from fcn.graph.receptive_field import ReceptiveField
from fcn.models.backbones import create_backbone
from tests.models.narrow import NarrowVGG

QUICK = [
    "compact",
    "convnext_tiny",
    "mobilenet_v3_small",
    "resnet18",
    "squeezenet1_1",
    "efficientnet-b0",
    "tu-resnet10t",
]
SLOW = [
    "alexnet",
    "googlenet",
    "regnety_002",
    "shufflenet_v2_x0_5",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "squeezenet1_0",
    "vgg16_bn",
    "wide_resnet50_2",
    "dpn68",
    "inceptionv4",
    "xception",
    "tu-resnest14d",
    "tu-inception_v3",
    "tu-legacy_xception",
    "tu-tresnet_m",
]

CHANNELS = {  # of what ends each stage, for a name of each family
    "alexnet": (64, 192, 256, 256),
    "convnext_tiny": (96, 192, 384, 768),
    "densenet121": (64, 256, 512, 1024, 1024),
    "googlenet": (64, 192, 480, 832, 1024),
    "mobilenet_v2": (16, 24, 32, 96, 1280),
    "mobilenet_v3_large": (16, 24, 40, 112, 960),
    "mobilenet_v3_small": (16, 16, 24, 48, 576),
    "resnet18": (64, 64, 128, 256, 512),
    "resnet50": (64, 256, 512, 1024, 2048),
    "shufflenet_v2_x0_5": (24, 24, 48, 96, 1024),
    "shufflenet_v2_x1_0": (24, 24, 116, 232, 1024),
    "squeezenet1_1": (64, 128, 256, 512),
}


def check_contract(backbone):
    assert list(backbone.strides) == sorted(backbone.strides)
    for height, width in ((1, 1), (33, 70)):
        size = [-(-side // backbone.divisor) * backbone.divisor for side in (height, width)]
        with torch.no_grad():
            features = backbone(torch.randn(1, 3, *size))
        assert tuple(feature.shape[1] for feature in features) == backbone.channels
        for feature, stride in zip(features, backbone.strides, strict=True):
            assert tuple(feature.shape[2:]) == tuple(-(-side // stride) for side in size)


def check_parameters(backbone):
    """Every parameter that is trained has a part in some feature: processes that train together wait for each gradient."""
    parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    loss = sum(feature.sum() for feature in backbone(torch.randn(1, 3, 96, 96)))
    assert all(gradient is not None for gradient in torch.autograd.grad(loss, parameters, allow_unused=True))


@pytest.mark.parametrize("name", QUICK)
def test_features_have_the_declared_channels_and_strides(name):
    backbone = create_backbone(name).eval()
    check_contract(backbone)
    check_parameters(backbone)
    assert backbone.channels == CHANNELS.get(name, backbone.channels)
    output_stride = backbone.strides[-1] // 4
    dilated = create_backbone(name, output_stride=output_stride).eval()
    check_contract(dilated)
    assert dilated.channels == backbone.channels
    assert dilated.strides == tuple(min(stride, output_stride) for stride in backbone.strides)


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [None, 16, 4])
@pytest.mark.parametrize("name", SLOW)
def test_more_features_have_the_declared_channels_and_strides(name, output_stride):
    backbone = create_backbone(name, output_stride=None if name == "squeezenet1_0" and output_stride == 16 else output_stride).eval()
    check_contract(backbone)
    check_parameters(backbone)
    assert backbone.channels == CHANNELS.get(name, backbone.channels)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in list_parts("backbone") if "128gf" not in name])
def test_every_name_builds(name):
    backbone = create_backbone(name)
    assert len(backbone.channels) == len(backbone.strides) >= 3
    assert backbone.strides[-1] == {"compact": 8, "squeezenet1_0": 16, "squeezenet1_1": 16}.get(name, 32)


def test_names_are_torchvisions_convolutional_classifiers():
    names = torchvision.models.list_models(module=torchvision.models)
    assert set(list_parts("backbone")) - {"compact"} == {name for name in names if not name.startswith(("maxvit", "swin", "vit"))}


@pytest.mark.parametrize(("name", "options"), [
    ("alexnet", {}),
    pytest.param("googlenet", {"output_stride": 8}, marks=pytest.mark.slow),
    ("squeezenet1_1", {"output_stride": 4}),
    ("vgg11", {"output_stride": 16, "classifier": False}),
])  # fmt: skip
def test_offsets_are_those_of_the_receptive_fields(name, options):
    backbone = create_backbone(name, **options)
    graph = read_graph(backbone, 96)
    fields = [ReceptiveField(graph, output=output, ignore_global=True) for output in graph.outputs]
    assert backbone.offsets == tuple(field.offset for field in fields)
    assert backbone.strides == tuple(int(field.stride[0]) for field in fields)


def test_offsets_of_encoders_are_read_from_their_geometry():
    assert create_backbone("efficientnet-b0").offsets == tuple((stride - 1, stride - 1) for stride in (2, 4, 8, 16, 32))


def test_a_network_that_drops_its_border_is_given_a_margin():
    """SqueezeNet, whose stem has no padding: the first cells lie over the image's first pixels, and their values are the network's."""
    torch.manual_seed(0)
    backbone = create_backbone("squeezenet1_1").eval()
    network = torchvision.models.squeezenet1_1().eval()
    network.features.load_state_dict({name.removeprefix("network.features."): t for name, t in backbone.state_dict().items()})
    assert all(0 <= float(row) < stride for (row, _), stride in zip(backbone.offsets, backbone.strides, strict=True))
    image = torch.randn(1, 3, 64, 80)
    before, after, skipped = backbone.margin
    with torch.no_grad():
        expected = network.features(F.pad(image, (before, after, before, after)))[..., skipped[-1] :, skipped[-1] :]
        torch.testing.assert_close(backbone(image)[-1], expected[..., :4, :5])


def test_building_leaves_the_batch_statistics_alone():
    for name, options in (("mobilenet_v3_small", {"output_stride": 8}), ("tu-resnet10t", {})):
        state = create_backbone(name, **options).state_dict()
        assert all(value == 0 for key, value in state.items() if key.endswith("num_batches_tracked"))


def test_features_are_the_classifiers(tmp_path):
    torch.manual_seed(0)
    classifier = torchvision.models.resnet18().eval()
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    backbone = create_backbone("resnet18", weights=str(tmp_path / "resnet18.pth")).eval()
    dilated = create_backbone("resnet18", weights=str(tmp_path / "resnet18.pth"), output_stride=8).eval()
    image = torch.randn(1, 3, 97, 64)
    with torch.no_grad():
        features = backbone(image)
        torch.testing.assert_close(classifier(image), classifier.fc(features[-1].mean((2, 3))))
        for feature, finer, step in zip(features, dilated(image), (1, 1, 1, 2, 4), strict=True):
            torch.testing.assert_close(finer[..., ::step, ::step], feature, rtol=1e-4, atol=1e-4)


def test_what_was_trained_in_another_range_is_normalized_so(tmp_path):
    """GoogLeNet's published weights want images in -1..1; torchvision converts inside of the network, we by mean and std."""
    torch.manual_seed(0)
    classifier = torchvision.models.googlenet(transform_input=True, init_weights=False).eval()
    torch.save(classifier.state_dict(), tmp_path / "googlenet.pth")
    backbone = create_backbone("googlenet", weights=str(tmp_path / "googlenet.pth")).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = classifier(normalize(image, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        found = classifier.fc(backbone(normalize(image, backbone.mean, backbone.std))[-1].mean((2, 3)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_vgg_ends_each_stage_with_a_pool():
    backbone = create_backbone("vgg11", classifier=False).eval()
    assert backbone.channels == (64, 128, 256, 512, 512)
    assert backbone.strides == (2, 4, 8, 16, 32)
    check_contract(backbone)


@pytest.mark.parametrize("narrow", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_vggs_classifier_is_dilated_by_the_strides_of_its_pools(narrow, monkeypatch):
    if narrow:
        monkeypatch.setattr("fcn.models.backbones.torchvision.torchvision_classifier", lambda name, weights: NarrowVGG())
    torch.manual_seed(0)
    backbone = create_backbone("vgg11").eval()
    dilated = create_backbone("vgg11", output_stride=8).eval()
    dilated.load_state_dict(backbone.state_dict())
    fc6 = dilated.network.get_submodule("classifier.0")
    assert (fc6.kernel_size, fc6.dilation, fc6.padding) == ((7, 7), (4, 4), (12, 12))
    image = torch.randn(1, 3, 64, 75)
    with torch.no_grad():
        for feature, finer, step in zip(backbone(image), dilated(image), (1, 1, 1, 2, 4), strict=True):
            torch.testing.assert_close(finer[..., ::step, ::step], feature, rtol=1e-4, atol=1e-4)


def test_the_first_blocks_features_are_torchvisions_taps():
    """What torchvision's LR-ASPP and DeepLabV3 read off MobileNetV3."""
    torch.manual_seed(0)
    theirs = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights_backbone=None).backbone.eval()
    backbone = create_backbone("mobilenet_v3_large", output_stride=16, dilate_first=True, taps="first").eval()
    names = dict(zip(theirs.state_dict(), backbone.state_dict(), strict=True))
    backbone.load_state_dict({names[name]: tensor for name, tensor in theirs.state_dict().items()})
    image = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        features, expected = backbone(image), theirs(image)
    assert backbone.strides == (2, 4, 8, 16, 16)
    torch.testing.assert_close(features[2], expected["low"])
    torch.testing.assert_close(features[-1], expected["high"])


@pytest.mark.parametrize(("name", "output_stride"), [("convnext_tiny", 16), pytest.param("efficientnet_b0", None, marks=pytest.mark.slow)])
def test_paths_are_still_dropped_in_training(name, output_stride):
    torch.manual_seed(0)
    backbone = create_backbone(name, output_stride=output_stride).train()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
        if hasattr(module, "layer_scale"):
            nn.init.ones_(module.layer_scale)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(backbone(image)[-1], backbone(image)[-1])
        backbone.eval()
        assert torch.equal(backbone(image)[-1], backbone(image)[-1])


def test_a_copy_gives_the_same_features():
    backbone = create_backbone("squeezenet1_1", output_stride=8).eval()
    image = torch.randn(1, 3, 32, 32)
    again = copy.deepcopy(backbone)
    assert again.offsets == backbone.offsets
    with torch.no_grad():
        torch.testing.assert_close(again(image)[-1], backbone(image)[-1])


def test_wrong_words_and_weights_are_answered(tmp_path):
    with pytest.raises(ValueError, match=r"backbone=resnet19 is not known; did you mean .*resnet18"):
        create_backbone("resnet19")
    with pytest.raises(
        ValueError, match="has no option 'classifier'; it takes weights, output_stride, dilate_first, freeze, freeze_norm, taps"
    ):
        create_backbone("resnet18", classifier=True)
    with pytest.raises(ValueError, match=r"taps=middle is not known; allowed: first, last"):
        create_backbone("resnet18", taps="middle")
    with pytest.raises(ValueError, match=r"backbone=resnet18 with output_stride=64: .* can have 1, 2, 4, 8, 16, 32"):
        create_backbone("resnet18", output_stride=64)
    with pytest.raises(ValueError, match="dilate_first=true needs strides that become dilation; give output_stride=8"):
        create_backbone("resnet18", dilate_first=True)
    with pytest.raises(ValueError, match="backbone=mit_b0 with output_stride=16: Encoder cannot be read as a graph"):
        create_backbone("mit_b0", output_stride=16)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        create_backbone("resnet18", weights=str(tmp_path / "none.pth"))
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(ValueError, match="belong to another network: it has"):
        create_backbone("resnet18", weights=str(tmp_path / "resnet34.pth"))
    (tmp_path / "broken.pth").write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match=r"broken\.pth cannot be read as a state dict"):
        create_backbone("resnet18", weights=str(tmp_path / "broken.pth"))


def test_transformers_work_at_their_own_stride():
    backbone = create_backbone("mit_b0").eval()
    check_contract(backbone)
    with pytest.raises(ValueError, match="does not take images of different sizes"):
        create_backbone("tu-swin_tiny_patch4_window7_224")
