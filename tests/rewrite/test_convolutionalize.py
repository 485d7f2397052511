"""Converted classifiers: every kind of head against the classifier on each window, what is refused, and what is kept."""

import warnings
from itertools import product

import pytest
import timm
import torch
from timm.layers import Conv2dSame, create_pool2d
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torchvision import models

from fcn import convolutionalize, receptive_field
from fcn.models.backbones import create_backbone
from fcn.rewrite.convolutionalize import linear_to_conv
from fcn.rewrite.convolutionalize.trained_size import trained_size
from tests.models.lively import lively
from tests.models.narrow import NarrowVGG


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_equals_the_linear_layer_on_every_window(kernel_size):
    linear = nn.Linear(4 * kernel_size**2, 5).double()
    conv = linear_to_conv(linear, kernel_size)
    x = torch.randn(2, 4, kernel_size + 2, kernel_size + 3, dtype=torch.float64)
    y = conv(x)
    assert y.shape == (2, 5, 3, 4)
    for row in range(3):
        for column in range(4):
            window = x[:, :, row : row + kernel_size, column : column + kernel_size].flatten(1)
            torch.testing.assert_close(y[:, :, row, column], linear(window))


def test_leaves_the_layer_as_it_was():
    linear = nn.Linear(9, 2, bias=False)
    conv = linear_to_conv(linear, 3)
    nn.init.zeros_(conv.weight)
    assert conv.bias is None
    assert linear.weight.abs().sum() > 0


def test_refuses_what_is_no_window():
    with pytest.raises(ValueError, match="10 inputs does not see whole 3x3 windows"):
        linear_to_conv(nn.Linear(10, 2), 3)


def test_a_window_may_be_flattened_in_any_order_and_lie_apart():
    linear = nn.Linear(4 * 6, 5).double()
    conv = linear_to_conv(linear, (2, 3), order="hwc", dilation=(2, 1))
    x = torch.randn(1, 4, 4, 5, dtype=torch.float64)
    expected = linear(x[:, :, 1:4:2, 2:5].permute(0, 2, 3, 1).flatten(1))
    torch.testing.assert_close(conv(x)[:, :, 1, 2], expected)


@pytest.mark.parametrize("build", [NarrowVGG, pytest.param(models.vgg11, marks=pytest.mark.slow)])
def test_vgg_keeps_its_classifier(build, tmp_path, monkeypatch):
    """The cell of fc7 that sees the whole 7x7 grid of pool5, at the trained input size, holds the classifier's own activations."""
    torch.manual_seed(0)
    classifier = build().eval()
    if build is NarrowVGG:
        monkeypatch.setattr("fcn.models.backbones.torchvision.torchvision_classifier", lambda name, weights: NarrowVGG())
    torch.save(classifier.state_dict(), tmp_path / "vgg11.pth")
    backbone = create_backbone("vgg11", weights=str(tmp_path / "vgg11.pth")).eval()
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = classifier.classifier[:6](classifier.avgpool(classifier.features(image)).flatten(1))
        fc7 = backbone(image)[-1]
    assert backbone.channels[-1] == classifier.classifier[3].out_features
    assert fc7.shape == (1, backbone.channels[-1], 7, 7)
    torch.testing.assert_close(fc7[:, :, 3, 3], expected, rtol=1e-4, atol=1e-5)


class Valid(nn.Module):
    """A classifier without padding, whose windows of 11 pixels (12 give no more) have 4 x 4 cells of 5 channels.

    ``head`` is what makes scores of them.
    """

    def __init__(self, head, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 5, 3, stride=2))
        self.layers = nn.ModuleList(layers)
        self.scale = nn.Parameter(torch.rand(5))
        self.head = head

    def forward(self, images):
        return self.head(self, self.body(images), *self.layers)


def chain(network, x, *layers):
    for layer in layers:
        x = layer(x)
    return x


def geometric_mean(network, x, fc):
    return fc(F.avg_pool2d(x.clamp(min=0.1).pow(3), (x.size(-2), x.size(-1))).pow(1 / 3).flatten(1))


def best_and_mean(network, x, fc):
    return fc(torch.cat([F.adaptive_max_pool2d(x, 1), F.adaptive_avg_pool2d(x, 1)], dim=1).flatten(1))


def two_heads(network, x, first, second):
    x = x.mean((2, 3))
    return (first(x) + second(x)) / 2


FC = (5, 7)
HEADS = {
    "flatten module": (chain, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(*FC)),
    "flatten function": (lambda net, x, fc: fc(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)), nn.Linear(*FC)),
    "flatten method": (lambda net, x, pool, fc: fc(pool(x).flatten(start_dim=1)), nn.AvgPool2d(4), nn.Linear(*FC)),
    "view": (lambda net, x, fc: fc(F.avg_pool2d(x, x.size()[2:]).view(x.size(0), -1)), nn.Linear(*FC)),
    "reshape": (lambda net, x, fc: fc(F.avg_pool2d(x, 4).reshape(-1, 5)), nn.Linear(*FC)),
    "index": (lambda net, x, fc: fc(F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0]), nn.Linear(*FC)),
    "squeeze": (lambda net, x, fc: fc(F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)), nn.Linear(*FC)),
    "mean over two": (lambda net, x, fc: fc(x.mean([2, 3])), nn.Linear(*FC)),
    "mean from behind": (lambda net, x, fc: fc(torch.mean(x, dim=(-1, -2))), nn.Linear(*FC)),
    "mean by mean": (lambda net, x, fc: fc(x.mean(3).mean(2)), nn.Linear(*FC)),
    "mean kept": (lambda net, x, conv: conv(x.mean((2, 3), keepdim=True)).flatten(1), nn.Conv2d(*FC, 1)),
    "mean of tokens": (lambda net, x, norm, fc: fc(norm(x.flatten(2).transpose(1, 2)).mean(1)), nn.LayerNorm(5), nn.Linear(*FC)),
    "mean, channels last": (lambda net, x, norm, fc: fc(norm(x.permute(0, 2, 3, 1)).mean((1, 2))), nn.LayerNorm(5), nn.Linear(*FC)),
    "linear before the mean": (lambda net, x, fc: fc(x.flatten(2).transpose(1, 2)).mean(1), nn.Linear(*FC)),
    "largest": (lambda net, x, fc: fc(x.amax((-2, -1))), nn.Linear(*FC)),
    "largest, as a module": (chain, nn.AdaptiveMaxPool2d(1), nn.Flatten(1), nn.Linear(*FC)),
    "geometric mean": (geometric_mean, nn.Linear(*FC)),
    "best and mean": (best_and_mean, nn.Linear(10, 7)),
    "convolution, then pool": (chain, nn.Conv2d(*FC, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "no flatten at all": (chain, nn.Conv2d(*FC, 1), nn.AdaptiveAvgPool2d(1)),
    "flattened window": (chain, nn.Flatten(), nn.Linear(80, 9), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(9, 7)),
    "flattened, channels last": (lambda net, x, fc: fc(x.permute(0, 2, 3, 1).flatten(1)), nn.Linear(80, 7)),
    "flattened pool": (chain, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 7)),
    "flattened pool of windows that overlap": (chain, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(45, 7)),
    "flattened maxima of windows that overlap": (chain, nn.AdaptiveMaxPool2d((3, 2)), nn.Flatten(), nn.Linear(30, 7)),
    "flattened pool of its size": (chain, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(80, 7)),
    "functional": (lambda net, x, fc: F.linear(x.flatten(1), fc.weight * 2, bias=fc.bias).log_softmax(1), nn.Linear(80, 7)),
    "norm in one dimension": (chain, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(5), nn.Hardswish(True), nn.Linear(*FC)),
    "norm of the vector": (chain, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(5), nn.Linear(*FC), nn.Softmax(-1)),
    "scaled": (lambda net, x, fc: fc(x.mean((2, 3)) * net.scale + 1), nn.Linear(*FC)),
    "in place": (lambda net, x, fc: fc(x.mean((2, 3)).relu_().mul_(net.scale)), nn.Linear(*FC)),
    "two heads": (two_heads, nn.Linear(*FC), nn.Linear(*FC)),
    "one class": (lambda net, x, fc: fc(x.mean((2, 3))), nn.Linear(5, 1)),
}


def valid(name):
    torch.manual_seed(3)
    head, *layers = HEADS[name]
    network = Valid(head, *layers).double().eval()
    return lively(network, 12)


@pytest.mark.parametrize("name", HEADS)
def test_each_cell_is_the_classifier_on_the_window_that_geometry_names(name):
    classifier = valid(name)
    converted = convolutionalize(classifier, input_size=12)
    images = torch.randn(2, 3, 18, 15, dtype=torch.float64)
    with torch.no_grad():
        scores = converted(images)
        assert scores.shape == (2, 1 if name == "one class" else 7, 4, 3)
        fields = receptive_field(converted, (18, 15))
        for cell in product(range(4), range(3)):
            (top, bottom), (left, right) = fields.interval(cell)
            window = classifier(images[:, :, top:bottom, left:right])
            torch.testing.assert_close(scores[:, :, *cell], window.flatten(1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["mean by mean", "linear before the mean", "scaled", "two heads", "convolution, then pool"])
def test_the_mean_of_pixels_is_the_classifier_at_any_size(name):
    classifier = valid(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted = convolutionalize(classifier, dense="pixel", input_size=12)
    images = torch.randn(2, 3, 9, 23, dtype=torch.float64)
    with torch.no_grad():
        scores = converted(images)
        torch.testing.assert_close(scores.mean((2, 3)), classifier(images), rtol=1e-9, atol=1e-12)
    assert scores.shape == (2, 7, 3, 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flattened window", r"layer 'layers.1' \(Linear\) reads a flattened window"),
        ("norm in one dimension", r"layer 'layers.3' \(Hardswish\) of Valid is not linear"),
        ("norm of the vector", r"layer 'layers.2' \(LayerNorm\) of Valid is not linear"),
        ("largest", "'amax' in forward of Valid is not linear"),
    ],
)
def test_says_where_pixels_are_not_what_they_seem(name, message):
    with pytest.warns(UserWarning, match=message):
        convolutionalize(valid(name), dense="pixel", input_size=12)


class Gated(nn.Module):
    """A pool over the whole image whose result meets every cell again."""

    def __init__(self, meet) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())
        self.fc = nn.Linear(4, 2)
        self.meet = meet

    def forward(self, x):
        x = self.stem(x)
        return self.fc(self.meet(x, self.gate(x)).mean((2, 3)))


class Mixer(nn.Module):
    """Mixes cells, then classifies each: a flatten that is not part of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix, self.fc = nn.Conv2d(3, 4, 4, stride=4), nn.Linear(16, 16), nn.Linear(4, 2)

    def forward(self, x):
        x = self.patches(x).flatten(2)
        return self.fc((x + self.mix(x)).mean(2))


class Middle(nn.Module):
    """A fully connected layer over the whole image between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mix, self.last = nn.Conv2d(3, 1, 1), nn.Linear(64, 64), nn.Conv2d(1, 2, 3)

    def forward(self, x):
        x = self.mix(self.first(x).flatten(1)).view(-1, 1, 8, 8)
        return self.last(x).mean((2, 3))


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.where, self.fc = nn.Conv2d(3, 4, 3), nn.Parameter(torch.rand(1, 4, 6, 6)), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc((self.stem(x) + self.where).mean((2, 3)))


class Two(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)), x


class Tied(nn.Module):
    """Two linear layers with one weight and one bias: one after the other, or the first over a window of 2 x 1 cells."""

    def __init__(self, *pool):
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 2 if pool else 4, 3), nn.Sequential(*pool) if pool else nn.AdaptiveAvgPool2d(1)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight, self.second.bias = self.first.weight, self.first.bias

    def forward(self, x):
        return self.second(self.first(self.pool(self.stem(x)).flatten(1)).relu())


def test_layers_that_share_a_weight_go_on_sharing_it():
    converted = convolutionalize(Tied(), input_size=8)
    assert converted.first.weight is converted.second.weight
    assert converted.first.bias is converted.second.bias
    assert len(list(converted.parameters())) == 4


def pooled(*layers):
    return nn.Sequential(nn.Conv2d(3, 4, 3), *layers)


REFUSED = {
    "vit": (
        lambda: models.VisionTransformer(32, 8, 1, 2, 16, 16),
        32,
        "'cat' in forward does not slide: it joins the features to something",
    ),
    "swin": (
        lambda: models.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4]),
        64,
        r"layer 'features.1.1.attn' shifts the image around its borders",
    ),
    "cells made of one another": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.PixelShuffle(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)),
        8,
        "layer '1' does not do the same in all cells, which are alike only every 2 cells",
    ),
    "mixer": (Mixer, 16, r"layer 'mix' \(Linear\) does not slide: it mixes cells of the 4 x 4 map with one another"),
    "timm's mixer": (
        lambda: timm.create_model("mixer_s32_224", num_classes=2),
        None,
        "'blocks.0.mlp_tokens.fc1' .* mixes cells of the 7 x 7",
    ),
    "flatten in the middle": (Middle, 8, r"layer 'mix' \(Linear\) does not slide: it mixes cells of the 8 x 8 map"),
    "positions": (Positions, 8, "'add' in forward does not slide: it has numbers for each cell of the 6 x 6 map"),
    "pool added": (lambda: Gated(torch.add), 16, r"layer 'gate.0' pools all .* to 1 x 1, and 'add' gives the result to every cell"),
    "pool of windows that differ": (
        lambda: pooled(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(144, 2)),
        12,
        "pools 10 cells to 6, in windows that differ in size or step; with 7 or 12 cells they would not: give another input_size",
    ),
    "a weight for windows of two sizes": (
        lambda: Tied(nn.AdaptiveAvgPool2d((2, 1))),
        8,
        r"layer 'second' \(Linear\) does not slide: it shares its weight with another layer, which reads windows of another size",
    ),
    "fixed size": (lambda: pooled(nn.Flatten(), nn.Linear(144, 2)), 12, "cannot be run on images of 12 x 12 pixels .* give input_size"),
    "no scores": (pooled, 8, r"gives numbers of shape \(4, 6, 6\) for an image"),
    "headless": (lambda: timm.create_model("test_resnet", num_classes=0), None, r"has no classes \(num_classes=0\)"),
    "two outputs": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Two()), 8, "Sequential gives several outputs"),
    "norm over the window": (
        lambda: pooled(nn.LayerNorm([6, 6]), nn.Flatten(), nn.Linear(144, 2)),
        8,
        r"layer '1' \(LayerNorm\) does not slide",
    ),
    "sequences": (lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.AdaptiveAvgPool1d(1)), 8, "has 1 axes of space"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_by_name_what_does_not_slide(name):
    build, size, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        convolutionalize(build(), input_size=size)


def test_refuses_a_wrong_word():
    with pytest.raises(ValueError, match="dense='pixels' is not known; allowed: window, pixel"):
        convolutionalize(models.resnet18(), dense="pixels")
    with pytest.raises(ValueError, match="'resnet18' is not a network; give a module"):
        convolutionalize("resnet18")


def test_warns_of_gates_and_norms():
    with pytest.warns(UserWarning, match=r"Gated has gates or norms that see the whole image .*\(1; the first: layer 'gate.0'\)"):
        convolutionalize(Gated(torch.mul), input_size=8)
    with pytest.warns(UserWarning, match=r"the first: layer '1'\)"):
        convolutionalize(pooled(nn.GroupNorm(2, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), input_size=8)


class PaddedBySize(nn.Module):
    """Padding that is computed in ``forward``."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 4, 2), nn.Linear(4, 5)

    def forward(self, x):
        h, w = x.size(-2), x.size(-1)
        return self.fc(self.conv(F.pad(x, (w // 8, w // 16, h // 8, h // 16))).tanh().mean((2, 3)))


def tensorflows(*, pool="max"):
    """Convolutions and a pool of timm's that pad to "SAME" size."""
    layers = [Conv2dSame(3, 4, 3, 2), nn.Tanh(), create_pool2d(pool, 3, 2, padding="same"), Conv2dSame(4, 4, 5, 2), nn.Tanh()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


SAME = {"computed": PaddedBySize, "max": lambda: tensorflows(pool="max"), "avg": lambda: tensorflows(pool="avg")}


@pytest.mark.parametrize("name", SAME)
def test_cells_keep_their_places_where_padding_is_the_windows(name):
    """An image and the same with rows and columns after it: what lies inside both has the same scores, and the same pixels."""
    torch.manual_seed(0)
    classifier = SAME[name]().double().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fixed = convolutionalize(classifier, input_size=32, padding="window")
    with pytest.warns(
        UserWarning,
        match="pads by an amount that depends on the image's size .* with padding='window' every image is padded as one of 32 x 32",
    ):
        moving = convolutionalize(classifier, input_size=32)
    images, differ = torch.randn(2, 3, 80, 72, dtype=torch.float64), []
    with torch.no_grad():
        torch.testing.assert_close(fixed(images[..., :32, :32]).flatten(1), classifier(images[..., :32, :32]))
        whole, places = fixed(images), receptive_field(fixed, (80, 72)).offset
        for height, width in ((79, 66), (77, 71), (73, 69)):
            part = images[..., :height, :width]
            scores = fixed(part)
            rows, columns = scores.shape[2] - 2, scores.shape[3] - 2
            torch.testing.assert_close(scores[..., :rows, :columns], whole[..., :rows, :columns], rtol=1e-9, atol=1e-12)
            assert receptive_field(fixed, (height, width)).offset == places
            differ.append((moving(part)[..., 1:rows, 1:columns] - moving(images)[..., 1:rows, 1:columns]).abs().max() > 1e-3)
    assert any(differ)


def test_padding_of_a_parametrized_layer_is_not_overlooked():
    classifier = tensorflows().eval()
    weight_norm(classifier[0])
    with pytest.warns(UserWarning, match="pads by an amount that depends on the image's size"):
        convolutionalize(classifier, input_size=32)
    with pytest.raises(ValueError, match=r"layer '0' \(ParametrizedConv2dSame\) pads by the size of the image, and is not timm's own"):
        convolutionalize(classifier, input_size=32, padding="window")


def test_padding_of_the_window_or_the_image():
    with pytest.raises(ValueError, match="padding='same' is not known; allowed: image, window"):
        convolutionalize(models.resnet18(), padding="same")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convolutionalize(tensorflows(), dense="pixel", input_size=32)
        convolutionalize(Tied(), input_size=8)


def test_an_image_smaller_than_a_window_is_refused():
    converted = convolutionalize(models.resnet18(), input_size=(96, 64))
    message = "an image of 100 x 63 pixels is smaller than the window of 96 x 64 that this network classifies; give larger images"
    with pytest.raises(ValueError, match=message):
        converted(torch.zeros(1, 3, 100, 63))
    with pytest.raises(ValueError, match="an image of 2 x 2 pixels is smaller"):
        convolutionalize(valid("flattened window"), input_size=12)(torch.zeros(1, 3, 2, 2))


def test_leaves_the_classifier_as_it_was_and_keeps_its_names_and_modes():
    classifier = models.MobileNetV2(3, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]]).train()
    classifier.features[2].eval()
    classifier.classifier[1].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    modes = {name: part.training for name, part in classifier.named_modules()}
    seed = torch.get_rng_state()
    converted, again = (convolutionalize(classifier, dense="pixel", input_size=64) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), seed)
    assert {name: part.training for name, part in classifier.named_modules()} == modes
    assert all(modes[name] == part.training for name, part in converted.named_modules() if name in modes)
    assert list(converted.state_dict()) == list(before)
    assert [parameter.requires_grad for parameter in converted.parameters()] == [p.requires_grad for p in classifier.parameters()]
    for name, value in converted.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert torch.equal(value.flatten(), before[name].flatten())
    converted(torch.randn(2, 3, 64, 96)).sum().backward()  # the dropout that was in place follows the last activation
    torch.optim.SGD(converted.parameters(), 0.1).step()
    for name, value in classifier.state_dict().items():
        assert torch.equal(value, before[name])
    assert not torch.equal(converted.get_parameter("classifier.1.weight").flatten(), before["classifier.1.weight"].flatten())


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (models.resnet18, (224, 224)),
        (lambda: models.inception_v3(init_weights=False), (299, 299)),
        (lambda: models.efficientnet_b3(num_classes=5), (300, 300)),
        (lambda: timm.create_model("tf_efficientnetv2_b3"), (240, 240)),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), (224, 224)),
    ],
)
def test_knows_the_trained_size(build, size):
    with torch.device("meta"):
        assert trained_size(build()) == size


def test_asks_for_a_trained_size_that_is_not_known():
    stages = [models.efficientnet.MBConvConfig(1, 3, 1, 8, 8, 1, 1.0, 1.0)]
    with pytest.raises(ValueError, match=r"was trained is not known .* give input_size"):
        convolutionalize(models.EfficientNet(stages, 0.0, num_classes=3))


def test_takes_images_of_any_channels_and_types():
    classifier = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).bfloat16()
    scores = convolutionalize(classifier, input_size=8)(torch.zeros(1, 1, 9, 10, dtype=torch.bfloat16))
    assert (scores.shape, scores.dtype) == ((1, 2, 2, 3), torch.bfloat16)


@pytest.mark.parametrize(("build", "size"), [(models.vgg16, 404), (models.alexnet, 355)])
def test_the_windows_of_the_paper(build, size):
    """Long et al. 2015, table 1."""
    with torch.device("meta"):
        converted = convolutionalize(build())
    field = receptive_field(converted, 512)
    assert field.stride == (32, 32)
    assert field.size == (size, size)


def test_exports_with_any_size():
    converted = convolutionalize(lively(models.resnet18(num_classes=4), 64), input_size=64)
    sizes = {2: torch.export.Dim("height", min=65, max=4096), 3: torch.export.Dim("width", min=65, max=4096)}
    exported = torch.export.export(converted, (torch.randn(1, 3, 96, 128),), dynamic_shapes=(sizes,)).module()
    images = torch.randn(1, 3, 131, 97)
    with torch.no_grad():
        torch.testing.assert_close(exported(images), converted(images))
