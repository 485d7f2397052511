"""The segmenter: a backbone and a decoder, from images to class scores at the images' own size.

Images of any height and width from 1 up go in. Where the backbone asks for multiples of a size, zeros (the mean colour) are added at the
bottom and the right. The decoder's scores stand on a grid of ``stride`` pixels a cell whose first cell is at the top left; the last step
interpolates them by that whole factor and crops the image's size from the top left, so that a cell lies over the same pixels whatever the
size of the image (one convention for the whole toolkit: bilinear, ``align_corners=False``).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn.data.labels import VOID, LabelSet
from fcn.models.backbones import Backbone, create_backbone
from fcn.models.decoders import DECODERS, OUTPUT_STRIDES
from fcn.models.decoders.fcn import fcn_head
from fcn.models.decoders.levels import SIZE, Decoder
from fcn.models.decoders.smp import smp_parts
from fcn.models.layers import crop_to, pad_to_multiple
from fcn.models.pretrained import Weights, load_network, network_weights, torchvision_settings
from fcn.models.spec import ModelSpec
from fcn.models.upsample import create_upsampler
from fcn.names import check_options, lookup

MODELS: dict[str, Callable[..., Any]] = {**DECODERS, "smp": smp_parts}
AUXILIARY = {"aux": False, "aux_weight": 0.5, "aux_level": -2}  # options of every model, and torchvision's values


class Outputs(NamedTuple):
    """What a network with an auxiliary head gives in training: two sets of logits (N, num_classes, H, W)."""

    logits: Tensor
    auxiliary: Tensor


class Segmenter(nn.Module):
    """``forward(images)``: normalised images (N, 3, H, W) to logits (N, num_classes, H, W).

    auxiliary: a head on the feature ``aux_level`` of which only the loss knows: in training mode ``forward`` then gives ``Outputs``.
    aux_weight: of its loss.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        decoder: Decoder,
        *,
        auxiliary: nn.Module | None = None,
        aux_weight: float = 0.5,
        aux_level: int = -2,
        spec: ModelSpec | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.auxiliary = auxiliary
        self.aux_weight, self.aux_level = aux_weight, aux_level
        self.stride = decoder.stride
        self.resize = decoder.resize
        self.spec = spec
        self.labels: LabelSet | None = None  # the classes that it was trained for
        self.register_buffer("mean", torch.tensor(backbone.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).view(-1, 1, 1))

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.mean.shape[0]

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 images (N, 3, H, W) in 0..255 to the floats that the backbone expects, on the model's device."""
        images = images.to(self.mean.device)
        return torch.addcmul(-self.mean / self.std, images, 1 / (255 * self.std))

    def scores(self, images: Tensor) -> Tensor:
        """Class scores (N, num_classes, h, w) at ``stride``, with h >= H / stride and w >= W / stride."""
        return self.decoder(self.backbone(pad_to_multiple(images, self.backbone.divisor)))

    def cell(self, height: int, width: int) -> tuple[float, float]:
        """Pixels per cell of the scores of an image of that size, down and across: ``stride``, but for scores that are interpolated to the
        size of the image."""
        if self.resize != SIZE:
            return self.stride, self.stride
        padded = [side + -side % self.backbone.divisor for side in (height, width)]
        return padded[0] / -(-padded[0] // self.stride), padded[1] / -(-padded[1] // self.stride)

    def forward(self, images: Tensor) -> Tensor | Outputs:
        padded = pad_to_multiple(images, self.backbone.divisor)
        features = self.backbone(padded)
        logits = self.to_image(self.decoder(features), self.stride, images, padded)
        if self.auxiliary is None or not self.training:
            return logits
        auxiliary = self.auxiliary(features[self.aux_level])
        return Outputs(logits, self.to_image(auxiliary, self.backbone.strides[self.aux_level], images, padded))

    def to_image(self, scores: Tensor, stride: int, images: Tensor, padded: Tensor) -> Tensor:
        """The last step: ``scores`` of ``padded``, at ``stride`` pixels a cell, over the pixels of ``images``."""
        height, width = images.shape[-2:]
        if self.resize == SIZE:
            scores = F.interpolate(scores, size=padded.shape[-2:], mode="bilinear", align_corners=False)
            return crop_to(scores, height, width)
        return to_image_size(scores, stride, height, width)


def to_image_size(scores: Tensor, stride: int, height: int, width: int) -> Tensor:
    """Scores (N, C, h, w) interpolated by the whole factor ``stride``, then the top left (height, width)."""
    if stride > 1:
        scores = F.interpolate(scores, scale_factor=float(stride), mode="bilinear", align_corners=False)
    return crop_to(scores, height, width)


def create_model(
    model: str = "fcn8s",
    *,
    backbone: str = "resnet18",
    upsample: str = "bilinear",
    num_classes: int,
    output_stride: int | None = None,
    weights: str | None = None,
    backbone_weights: str | None = None,
    model_options: dict[str, Any] | None = None,
    backbone_options: dict[str, Any] | None = None,
    upsample_options: dict[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
) -> Segmenter:
    """A segmentation network from three words.

    output_stride: of the deepest feature; None: what the model asks for (``OUTPUT_STRIDES``), else the backbone's own. weights: of the
    whole network: None (random), "torchvision" (downloaded: the settings with which those were trained then hold unless others are given)
    or a file, see ``network_weights``. backbone_weights: None, "imagenet" or the file of the classifier's state dict. class_names: in the
    order of the scores; a checkpoint of other classes given as weights is matched by them, and classes that it does not have start anew.

    The options are the keyword parameters of the part's function; every model also takes ``aux`` (an auxiliary head for the training),
    ``aux_weight`` (of its loss) and ``aux_level`` (the feature that it stands on, -1 the deepest). Raises ValueError, naming what there
    is, for unknown words and for parts that do not fit together.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes}; a segmentation network tells at least 2 classes apart (background is one)")
    if num_classes > VOID:
        raise ValueError(
            f"num_classes={num_classes}; a segmentation network tells up to {VOID} classes apart ({VOID} in a label map is void)"
        )
    if class_names is not None and len(class_names) != num_classes:
        raise ValueError(f"num_classes={num_classes} and {len(class_names)} class_names are given; give one name for each class")
    build = lookup(MODELS, model, "model")
    options, of_backbone = dict(model_options or {}), dict(backbone_options or {})
    loaded: Weights | None = None
    if weights is not None:
        if backbone_weights is not None:
            raise ValueError(
                "the weights of the network and those of its backbone are both given; the first hold the second: leave one out"
            )
        loaded = network_weights(weights, model, backbone)
        if loaded.torchvision:
            stride, theirs, of_theirs = torchvision_settings(model, backbone)
            output_stride = stride if output_stride is None else output_stride
            options, of_backbone = theirs | set_options(options), of_theirs | set_options(of_backbone)
    given = set_options(options)
    extra = AUXILIARY | {key: given.pop(key) for key in AUXILIARY if key in given}
    check_options(build, given, f"model={model}", also=AUXILIARY)
    upsampler = create_upsampler(upsample, **(upsample_options or {}))
    asked = OUTPUT_STRIDES.get(model) if output_stride is None else output_stride
    features: Backbone
    head: Decoder
    if model == "smp":
        check_options(no_options, set_options(of_backbone), f"model=smp backbone={backbone}")
        features, head = smp_parts(backbone, num_classes, upsampler, asked, backbone_weights, **given)
    else:
        try:
            features = create_backbone(backbone, weights=backbone_weights, output_stride=asked, **set_options(of_backbone))
        except ValueError as error:
            if asked is None or output_stride is not None or f"output_stride={asked}" not in str(error):
                raise
            hint = f"model={model} asks for it unless backbone.output_stride is given"
            raise ValueError(f"{error} ({hint})") from error
        head = build(features, num_classes, upsampler, **given)
    spec = ModelSpec(model, backbone, upsample, num_classes, asked, options, of_backbone, dict(upsample_options or {}))
    level = extra["aux_level"]
    if not -len(features.channels) <= level < 0:
        raise ValueError(
            f"aux_level={level} is not allowed; backbone={backbone} has the features -1 (deepest) to {-len(features.channels)}"
        )
    auxiliary = fcn_head(features.channels[level], num_classes) if extra["aux"] else None
    network = Segmenter(features, head, auxiliary=auxiliary, aux_weight=extra["aux_weight"], aux_level=level, spec=spec)
    if loaded is not None:
        load_network(network, loaded, asdict(spec), class_names, lambda: with_other_classes(spec))
    return network


def with_other_classes(spec: ModelSpec) -> Segmenter:
    """The network of ``spec`` for another number of classes. The random numbers to come are not changed by it."""
    classes = spec.num_classes + 1 if spec.num_classes < VOID else spec.num_classes - 1
    with torch.random.fork_rng(devices=[]):
        return create_model(**asdict(spec) | {"num_classes": classes})


def set_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options that are set; one that is None takes its default."""
    return {key: value for key, value in options.items() if value is not None}


def no_options() -> None:
    """What a part without options takes."""
