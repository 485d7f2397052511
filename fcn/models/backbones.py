"""Backbones: classifiers as lists of feature maps, shallow to deep.

A backbone is a module with

- ``forward(images) -> list[Tensor]``: images (N, 3, H, W), normalised, H and W multiples of ``divisor``; feature ``i`` is
  (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])),
- ``channels`` and ``strides``: tuples of one number per feature, strides growing,
- ``divisor``: 1 where the layers cope with any size, else what the sides must be multiples of,
- ``mean`` and ``std``: what images in 0..1 are normalised with, per channel.

Torchvision's classifiers are cut at their down-samplings. VGG keeps its classifier, as convolutions (fc6: 7x7, fc7: 1x1; padded, so that
the stride's grid stays whole): its deepest feature has 4096 channels, as in the paper (Long et al. 2015, section 4.1, arXiv:1411.4038).
Every other name is looked for among the encoders of segmentation-models-pytorch and timm.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fcn.models.compact import compact
from fcn.models.convolutionalize import linear_to_conv
from fcn.models.layers import evaluating
from fcn.models.pretrained import load_weights, torchvision_classifier
from fcn.names import check_options, suggest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PROBE = 64  # side of the image, in pixels, with which strides are measured


class Backbone(nn.Module):
    """What every backbone has; see the head of this file."""

    def __init__(self, channels: tuple[int, ...], strides: tuple[int, ...], *, divisor: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.strides = strides
        self.divisor = divisor
        self.mean: tuple[float, ...] = IMAGENET_MEAN
        self.std: tuple[float, ...] = IMAGENET_STD


class Stages(Backbone):
    """Modules run one after the other, each stage's output a feature. Strides and channels are measured, not declared."""

    def __init__(self, stages: list[nn.Module]) -> None:
        chain = nn.ModuleList(stages)
        with evaluating(chain):
            shapes = [feature.shape for feature in run_stages(chain, torch.zeros(1, 3, PROBE, PROBE))]
        super().__init__(tuple(shape[1] for shape in shapes), tuple(PROBE // shape[2] for shape in shapes))
        self.stages = chain

    def forward(self, images: Tensor) -> list[Tensor]:
        return run_stages(self.stages, images)


class Encoder(Backbone):
    """An encoder of segmentation-models-pytorch, its first feature (the image itself) and empty ones left out."""

    def __init__(self, encoder: nn.Module, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        out_channels: tuple[int, ...] = tuple(encoder.out_channels)  # type: ignore[arg-type]
        used = [level for level, channels in enumerate(out_channels) if level > 0 and channels > 0]
        with evaluating(encoder):
            features = encoder(torch.zeros(1, 3, PROBE, PROBE))
        strides = tuple(PROBE // features[level].shape[-1] for level in used)
        super().__init__(tuple(out_channels[level] for level in used), strides, divisor=strides[-1])
        freeze_unused(encoder, used)
        self.encoder = encoder
        self.used = used
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.encoder(images)
        return [features[level] for level in self.used]


def freeze_unused(encoder: nn.Module, used: list[int]) -> None:
    """Take the parameters that no feature depends on (a classifier's last layers) out of the training: several processes would wait for
    their gradients."""
    parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    with evaluating(encoder), torch.enable_grad():
        features = encoder(torch.zeros(1, 3, PROBE, PROBE))
        gradients = torch.autograd.grad(sum(features[level].sum() for level in used), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


def run_stages(stages: nn.ModuleList, images: Tensor) -> list[Tensor]:
    features = []
    for stage in stages:
        images = stage(images)
        features.append(images)
    return features


def split_at_strides(layers: nn.Sequential) -> list[nn.Module]:
    """A chain of layers cut into stages, each ending with the last layer before the next down-sampling. Layers before the first
    down-sampling belong to the first stage."""
    stages: list[list[nn.Module]] = [[]]
    with evaluating(layers):
        x = torch.zeros(1, 3, PROBE, PROBE)
        for layer in layers:
            side = x.shape[-1]
            x = layer(x)
            if x.shape[-1] < side < PROBE:
                stages.append([])
            stages[-1].append(layer)
    return [nn.Sequential(*stage) for stage in stages]


def vgg(name: str, weights: str | None, *, classifier: bool = True) -> Backbone:
    """VGG, a feature after each of its five pools, which round sizes up so that no row or column of the image is dropped.

    classifier: keep fc6 and fc7 (the deepest feature is then fc7's, 4096 channels), else end with pool5.
    """
    network = torchvision_classifier(name, weights)
    stages: list[list[nn.Module]] = [[]]
    for layer in network.features:
        stages[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = True
            stages.append([])
    stages.pop()  # nothing follows pool5
    if classifier:
        fc6, relu6, drop6, fc7, relu7, drop7 = list(network.classifier)[:6]
        stages[-1] += [linear_to_conv(fc6, kernel_size=7, padding=3), relu6, drop6, linear_to_conv(fc7), relu7, drop7]
    return Stages([nn.Sequential(*stage) for stage in stages])


def resnet(name: str, weights: str | None) -> Backbone:
    """ResNet, ResNeXt and Wide ResNet: the stem, then the four layers."""
    network = torchvision_classifier(name, weights)
    stem = nn.Sequential(network.conv1, network.bn1, network.relu)
    return Stages([stem, nn.Sequential(network.maxpool, network.layer1), network.layer2, network.layer3, network.layer4])


def mobilenet(name: str, weights: str | None) -> Backbone:
    """MobileNet v2 and v3: inverted residuals, and the last 1x1 expansion with the deepest feature."""
    return Stages(split_at_strides(torchvision_classifier(name, weights).features))


def compact_stages(name: str, weights: str | None) -> Backbone:
    """The small classifier of ``compact``; its fourth stage, which has the third's stride, belongs to the deepest feature."""
    first, second, third, fourth = compact(weights=weights).features
    return Stages([first, second, nn.Sequential(third, fourth)])


BACKBONES: dict[str, Callable[..., Backbone]] = {
    "compact": compact_stages,
    "vgg11": vgg,
    "vgg13": vgg,
    "vgg16": vgg,
    "vgg16_bn": vgg,
    "vgg19": vgg,
    "resnet18": resnet,
    "resnet34": resnet,
    "resnet50": resnet,
    "resnet101": resnet,
    "resnet152": resnet,
    "mobilenet_v2": mobilenet,
    "mobilenet_v3_small": mobilenet,
    "mobilenet_v3_large": mobilenet,
}


def create_backbone(name: str, *, weights: str | None = None, **options: Any) -> Backbone:
    """The backbone of that name: torchvision's where it is in ``BACKBONES``, else an encoder of smp or timm.

    weights: None (a random start), "imagenet" (downloaded by torchvision, smp or timm into their cache, verified there), or the path of a
    state dict of the classifier. Raises ValueError for unknown names and options.
    """
    if name in BACKBONES:
        build = BACKBONES[name]
        check_options(build, options, f"backbone={name}")
        backbone = build(name, weights, **options)
    else:
        check_options(encoder, options, f"backbone={name}")
        backbone = encoder(name, weights)
    return backbone


def encoder(name: str, weights: str | None) -> Backbone:
    """An encoder of segmentation-models-pytorch, or of timm by its own name (with or without smp's "tu-")."""
    import segmentation_models_pytorch as smp
    import timm

    names = smp.encoders.get_encoder_names()
    timm_name = name.removeprefix("tu-")
    if name not in names and not timm.is_model(timm_name):
        raise ValueError(f"backbone={name} is not known; {suggest(name, [*BACKBONES, *names, *timm.list_models()])}")
    if weights == "imagenet" and name not in names and not timm.is_model_pretrained(timm_name):
        raise ValueError(
            f"timm has no weights for backbone={name}; give a file (backbone.weights=PATH) or start from random weights (null)"
        )
    smp_name = name if name in names else f"tu-{timm_name}"
    hub = "imagenet" if weights == "imagenet" else None
    try:
        network = smp.encoders.get_encoder(smp_name, weights=hub)
    except (KeyError, RuntimeError, TypeError, AttributeError, AssertionError, IndexError) as error:
        raise ValueError(f"backbone={name} cannot be used as an encoder with five levels of features: {error}") from error
    except OSError as error:
        raise ValueError(
            f"the weights of backbone={name} could not be downloaded ({error}); without a network use backbone.weights=null"
        ) from error
    if weights not in (None, "imagenet"):
        load_weights(network, weights)
    if name in names:
        settings = smp.encoders.get_preprocessing_params(name, pretrained="imagenet") if weights else {}
        mean, std = settings.get("mean", IMAGENET_MEAN), settings.get("std", IMAGENET_STD)
    else:
        settings = timm.get_pretrained_cfg(timm_name)
        mean, std = (settings.mean, settings.std) if settings else (IMAGENET_MEAN, IMAGENET_STD)
    return Encoder(network, mean=tuple(mean), std=tuple(std))
