"""The segmenter: a backbone and a decoder, from images to class scores at the images' own size.

Images may have any height and width from 1 up. If the backbone needs multiples of a size, zeros (the mean colour) are added at the bottom
and the right. The decoder's scores are on a grid of ``stride`` pixels per cell; the first cell is at the top left. The last step
interpolates them by that whole factor, and crops the image's size from the top left. So a cell lies over the same pixels in an image of any
size. The whole toolkit has one convention: bilinear, ``align_corners=False``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from numbers import Integral
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn.core.conf import default_parts
from fcn.core.errors import UserError
from fcn.core.images import RGB, Dtype, ImageKind, from_plain
from fcn.core.labels import MOST_CLASSES, LabelSet
from fcn.core.names import a_type, first_line, said
from fcn.core.registry import Part, bound, find
from fcn.core.settings import above, below, by_owner, check_options, plain
from fcn.graph.networks import evaluating
from fcn.models.backbones import Backbone, create_backbone
from fcn.models.backbones.freezing import freeze
from fcn.models.channels import with_channels
from fcn.models.decoders.fcn import fcn_head
from fcn.models.decoders.levels import FACTOR, SIZE, Decoder
from fcn.models.layers import crop_to, pad_to_multiple
from fcn.models.network_weights import Weights, load_network, network_weights, torchvision_settings
from fcn.models.spec import AUXILIARY, ELSEWHERE, ModelSpec, WrapSpec, check_auxiliary
from fcn.models.upsample import create_upsampler

MODEL, BACKBONE, UPSAMPLE = (default_parts("train")[kind] for kind in ("model", "backbone", "upsample"))  # unless told otherwise
AUX_LEVEL = -2  # torchvision's
FREEZING = ("freeze", "freeze_norm")
ARGUMENTS = (("model", "weights"), ("backbone", "weights"))  # settings of parts that ``create_model`` takes as arguments of its own


class Outputs(NamedTuple):
    """The outputs of a network with an auxiliary head in training mode: two sets of logits (N, num_classes, H, W)."""

    logits: Tensor
    auxiliary: Tensor


class Cell(NamedTuple):
    """Size of a cell of a grid of scores, down and across, in pixels of the image. corners: whether the first and the last cell are centred
    on the first and the last pixel (``align_corners=True``); else the grid begins where the image does."""

    down: float
    across: float
    corners: bool = False


class Segmenter(nn.Module):
    """``forward(images)``: normalised images (N, 3, H, W) to logits (N, num_classes, H, W).

    auxiliary: auxiliary head on the feature ``aux_level``, for the loss only. With it, ``forward`` returns ``Outputs`` in training mode.
    aux_weight: weight of the auxiliary head's loss.
    aux_level: index of the feature, -1 the deepest.
    """

    mean: Tensor
    std: Tensor
    probabilities = False  # whether the scores are softmax probabilities, not logits

    def __init__(
        self,
        backbone: Backbone,
        decoder: Decoder,
        *,
        auxiliary: nn.Module | None = None,
        aux_weight: float = 0.5,
        aux_level: int = AUX_LEVEL,
        spec: ModelSpec | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.auxiliary = auxiliary
        self.aux_weight, self.aux_level = aux_weight, aux_level
        self.stride = decoder.stride
        self.resize = getattr(decoder, "resize", FACTOR)
        self.spec: ModelSpec | WrapSpec | None = spec
        self.labels: LabelSet | None = None  # the classes that it was trained for
        self.images = RGB if spec is None else from_plain(spec.images)  # the kind that it takes
        self.register_buffer("mean", torch.tensor(backbone.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).view(-1, 1, 1))
        if not self.images.is_rgb:
            self.take(self.images)

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.mean.shape[0]

    def takes(self, images: ImageKind) -> bool:
        """Whether images of that kind are what it takes."""
        return self.images.same_as(images)

    def take(self, images: ImageKind) -> None:
        """Take images of that kind from now on, normalised by their mean and deviation. The backbone has to have that many channels."""
        self.images = images
        if self.spec is not None:
            self.spec = replace(self.spec, images=images.plain())
        middles = [(low + high) / 2 for low, high in images.ranges]  # until they are measured
        quarters = [(high - low) / 4 for low, high in images.ranges]
        mean, std = ([value / 255 for value in values] for values in (images.mean or middles, images.std or quarters))
        self.backbone.mean, self.backbone.std = tuple(mean), tuple(std)
        self.mean, self.std = (self.mean.new_tensor(values).view(-1, 1, 1) for values in (mean, std))

    def normalize(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), usually uint8 in 0..255, to the floats that the backbone expects, on the model's device.

        ``mean`` and ``std`` are in units of 255, whatever the type. A float that is not finite becomes the mean.
        """
        values = images if images.dtype == torch.uint8 else images.to(self.mean.dtype)  # not every device has uint16
        normal = torch.addcmul(-self.mean / self.std, values.to(self.mean.device), 1 / (255 * self.std))
        return normal.nan_to_num_(0, 0, 0) if images.dtype.is_floating_point else normal

    def scores(self, images: Tensor) -> Tensor:
        """Class scores (N, num_classes, h, w) at ``stride``, with h >= H / stride and w >= W / stride."""
        return self.decoder(self.backbone(pad_to_multiple(images, self.backbone.divisor)))

    def cell(self, height: int, width: int) -> Cell:
        """The cells of the scores of an image of that size. Their side is ``stride``, unless the scores are interpolated to the size of the
        image."""
        if self.resize != SIZE:
            return Cell(self.stride, self.stride)
        padded = [side + -side % self.backbone.divisor for side in (height, width)]
        return Cell(padded[0] / -(-padded[0] // self.stride), padded[1] / -(-padded[1] // self.stride))

    def coarse(self, images: Tensor) -> tuple[Tensor, Cell]:
        """Class scores (N, num_classes, h, w) from which the label map is made, and their cells."""
        return self.scores(images), self.cell(*images.shape[-2:])

    def read(self, images: Tensor) -> Tensor:
        """What is read as a graph: all of the scores, but for what ``finished`` makes of them."""
        return self.scores(images)

    def finished(self, outputs: Tensor) -> Tensor:
        """The class scores of what ``read`` gives; the channels are dimension -3."""
        return outputs

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
    model: str = MODEL,
    *,
    num_classes: int | None = None,
    classes: int | Sequence[str] | LabelSet | None = None,
    in_channels: int = RGB.channels,
    dtype: Dtype = "uint8",
    backbone: str = BACKBONE,
    upsample: str = UPSAMPLE,
    output_stride: int | None = None,
    weights: str | None = None,
    backbone_weights: str | None = None,
    **options: Any,
) -> Segmenter:
    """A segmentation network from the names of a model, a backbone and an up-sampler.

    >>> model = fcn.create_model("fcn8s", backbone="compact", classes=["ground", "road"])
    >>> logits = model(model.normalize(torch.zeros(1, 3, 20, 30, dtype=torch.uint8)))  # (1, 2, 20, 30)
    >>> network = fcn.create_model("deeplabv3plus", backbone="resnet18", num_classes=21, output_stride=16, aux=True)

    model: decoder: "fcn32s" to "fcn2s", "fcn", "deeplabv3", "deeplabv3plus", "unet", "lraspp" or "smp"; default "fcn2s".
    num_classes: number of classes, 2 to 65535, background included.
    classes: number of classes, their names, or a ``LabelSet``. Names become the model's ``labels``.
    in_channels: channels of the images; default 3. With another number the first convolution is made anew: learnt weights are repeated and
        scaled by 3 / in_channels.
    dtype: type of the images' values: "uint8", "uint16" or "float32"; default "uint8". Mean and deviation of images that are not RGB of
        8 bits are measured by ``fcn.train``.
    backbone: name of the backbone: one of ``fcn.list_backbones()``, or any convolutional network of timm; default "resnet18".
    upsample: up-sampler, one of ``fcn.list_upsamplers()``; default "bilinear".
    output_stride: stride of the deepest feature (pixels per cell), by dilation; None: the model's default, else the backbone's own.
    weights: weights of the whole network: None (random), "torchvision" (downloaded) or a file. With "torchvision", the settings that they
        were trained with are the defaults.
    backbone_weights: weights of the backbone: None (random), "imagenet" (downloaded, or from an installed package) or the file of the
        classifier's state dict.
    options: settings of the parts, which docs/api.md lists. If several parts have a setting, write the part before it:
        ``upsample_channels=64``.

    Returns the network in training mode: ``forward`` takes normalised images (N, 3, H, W), gives logits (N, num_classes, H, W).

    Raises UserError for unknown names and for parts that do not fit together. The message says what is allowed.
    """
    images = ImageKind(in_channels, dtype)
    labels, count = given_classes(classes, num_classes)
    parts = [find("model", model), find("backbone", backbone), find("upsample", upsample)]
    found = by_part(parts, plain(options))
    found["backbone"] |= {"output_stride": output_stride} if output_stride is not None else {}
    stride = found["backbone"].pop("output_stride", None)
    head = {key: found["model"].pop(key) for key in AUXILIARY if key in found["model"]}
    still = {key: found["backbone"].pop(key) for key in FREEZING if key in found["backbone"]}  # of a training, not of the network
    check_freezing(parts[1], still, given=weights is not None or backbone_weights is not None)
    check_auxiliary(**AUXILIARY | head)
    plugins = tuple(sorted({part.plugin for part in parts if part.plugin}))
    spec = ModelSpec(
        model, backbone, upsample, count, stride, found["model"], found["backbone"], found["upsample"], plugins, images.plain()
    )
    network = assemble(spec, backbone_weights, labels.names if labels else None, weights=weights, **head)
    network.labels = labels
    if any(still.values()):
        freeze(network.backbone, still.get("freeze", False), norm=still.get("freeze_norm", False))
    return network


def check_freezing(backbone: Part, still: Mapping[str, Any], *, given: bool) -> None:
    """Raises UserError for a value that is not allowed, and where random weights would stay as they are."""
    for setting in backbone.settings:
        if setting.name in still:
            setting.check(still[setting.name], part=("backbone", backbone.name))
    if any(still.values()) and not given:
        word = next(key for key, value in still.items() if value)
        raise UserError(
            f"{said(f'backbone.{word}', still[word])} would keep random weights; give {said('backbone.weights')} or {said('model.weights')}"
        )


def given_classes(classes: int | Sequence[str] | LabelSet | None, num_classes: int | None) -> tuple[LabelSet | None, int]:
    """The classes, where they have names, and their number."""
    if isinstance(classes, str):
        raise UserError(f"classes={classes!r} is one word; give a list of names, as classes=['ground', 'road'], or a number")
    labels = classes if isinstance(classes, LabelSet) else None
    if labels is None and isinstance(classes, Iterable):
        labels = LabelSet(tuple(classes))
    count = labels.num_classes if labels else classes if classes is not None else num_classes
    if count is None or (num_classes is not None and count != num_classes):
        given = "the number of classes is not given" if count is None else f"num_classes={num_classes} and classes={classes} differ"
        raise UserError(f"{given}; give num_classes=, or the names of the classes as classes=[...]")
    if not isinstance(count, Integral):
        raise UserError(f"num_classes={count!r} is not allowed; it is a whole number")
    return labels, int(count)


def by_part(parts: Sequence[Part], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options by the kind of the part that has them. Raises UserError for an option that no part has, or more than one."""
    owners = {part.kind: [setting for setting in part.settings if (part.kind, setting.name) not in ARGUMENTS] for part in parts}
    return by_owner(owners, options, " ".join(f"{part.kind}={part.name}" for part in parts), ELSEWHERE)


def assemble(
    spec: ModelSpec,
    backbone_weights: str | None = None,
    class_names: Sequence[str] | None = None,
    *,
    weights: str | None = None,
    aux: bool = False,
    aux_weight: Annotated[float, above(0)] = 0.5,
    aux_level: Annotated[int, below(0)] | None = None,
) -> Segmenter:
    """The network that ``spec`` describes.

    weights: weights of the whole network: null (random), torchvision (downloaded), or the file of a checkpoint or a state dict.
    aux: add an auxiliary head during training.
    aux_weight: weight of the auxiliary head's loss.
    aux_level: feature that feeds the auxiliary head, -1 the deepest; null: -2, or as the weights need it.

    backbone_weights: as in ``create_model``, whose errors are raised too.
    class_names: names of the classes, in the order of the scores. They are matched with those of a checkpoint that is given as weights.
        Classes that it does not have start anew.
    """
    count = spec.num_classes
    if not 2 <= count <= MOST_CLASSES:
        raise UserError(f"num_classes={count} is not allowed; give 2 to {MOST_CLASSES}, background included (void is no class)")
    part = find("model", spec.model)
    stride = spec.output_stride
    head: dict[str, Any] = {"aux": aux, "aux_weight": aux_weight, "aux_level": aux_level}
    given = set_options(spec.model_options | {key: value for key, value in head.items() if value != AUXILIARY[key]})
    of_backbone = set_options(spec.backbone_options)
    loaded: Weights | None = None
    if weights is not None:
        if backbone_weights is not None:
            raise UserError("weights of the network and of its backbone are both given; the first include the second: leave one out")
        loaded = network_weights(weights, spec.model, spec.backbone)
        if loaded.library == "torchvision":
            theirs_stride, theirs, of_theirs = torchvision_settings(spec.model, spec.backbone)
            stride = theirs_stride if stride is None else stride
            given, of_backbone = theirs | given, of_theirs | of_backbone
    check_options(part.settings, given, ("model", spec.model))
    head = AUXILIARY | {key: given[key] for key in AUXILIARY if key in given}
    own = {key: value for key, value in given.items() if key not in AUXILIARY}
    upsampler = create_upsampler(spec.upsample, **spec.upsample_options)
    asked = part.facts.get("output_stride") if stride is None else stride
    images = from_plain(spec.images)
    widened = loaded is not None and loaded.channels != images.channels
    if widened:  # the network starts as that of the weights, which are then spread over the channels
        spec = replace(spec, images={})
    channels = RGB.channels if widened else images.channels
    features: Backbone
    decoder: Decoder
    if part.facts.get("whole"):
        if of_backbone:
            raise UserError(f"model={spec.model} uses the encoders of smp, which have no option '{next(iter(of_backbone))}'; leave it out")
        features, decoder = bound(part)(spec.backbone, count, upsampler, asked, backbone_weights, **own)
        with_channels(features, spec.backbone, channels, pretrained=backbone_weights is not None)
    else:
        try:
            features = create_backbone(spec.backbone, weights=backbone_weights, output_stride=asked, **of_backbone)
        except UserError as error:
            if asked is None or stride is not None or f"output_stride={asked}" not in str(error):
                raise
            raise UserError(f"{error} ({asked} is the default of model={spec.model}; give another output_stride)") from error
        with_channels(features, spec.backbone, channels, pretrained=backbone_weights is not None)
        decoder = bound(part)(features, count, upsampler, **own)
        if part.plugin:
            check_decoder(decoder, features, count, spec.model)
    level = AUX_LEVEL if head["aux_level"] is None else head["aux_level"]
    if not -len(features.channels) <= level < 0:
        raise UserError(
            f"aux_level={level} is not allowed; backbone={spec.backbone} has the features -1 (deepest) to {-len(features.channels)}"
        )
    auxiliary = fcn_head(features.channels[level], count) if head["aux"] else None
    complete = replace(spec, output_stride=asked, model_options=given, backbone_options=of_backbone)
    network = Segmenter(features, decoder, auxiliary=auxiliary, aux_weight=head["aux_weight"], aux_level=level, spec=complete)
    if loaded is not None:
        load_network(network, loaded, asdict(complete), class_names, lambda: with_other_classes(complete))
        if widened:
            with_channels(features, spec.backbone, images.channels, pretrained=True)
        theirs_images = from_plain((loaded.spec or {}).get("images"))
        if not (widened or images.is_rgb):
            images = theirs_images if theirs_images.same_as(images) else images
        if widened or not images.is_rgb:
            network.take(images)
    return network


def with_other_classes(spec: ModelSpec) -> Segmenter:
    """The network of ``spec`` with another number of classes. The global random stream is not changed."""
    classes = spec.num_classes + 1 if spec.num_classes < MOST_CLASSES else spec.num_classes - 1
    with torch.random.fork_rng(devices=[]):
        return assemble(replace(spec, num_classes=classes))


@torch.no_grad()
def check_decoder(decoder: Any, features: Backbone, num_classes: int, name: str) -> None:
    """Raises UserError for a user's decoder that breaks the contract: scores (N, num_classes, h, w) at ``decoder.stride``."""
    if not isinstance(decoder, nn.Module) or not isinstance(getattr(decoder, "stride", None), int):
        raise UserError(f"model={name} gave {a_type(decoder)} that does not say its stride; set self.stride, the pixels per score")
    stride: Any = decoder.stride
    width = 2 * features.strides[-1]
    for height in (width, width + features.divisor):  # the first is whole in every feature
        image = f"an image of {width}x{height} pixels"
        maps = [
            torch.zeros(1, channels, -(-height // each), -(-width // each))
            for channels, each in zip(features.channels, features.strides, strict=True)
        ]
        try:
            with evaluating(decoder):
                scores: Any = decoder(maps)
        except Exception as error:
            if height == width:
                raise
            raise UserError(
                f"model={name} fails on {image} ({first_line(error)}): an up-sampled map may have more cells than the finer one; "
                "crop it, as coarse[..., :fine.shape[2], :fine.shape[3]]"
            ) from error
        found = tuple(scores.shape) if isinstance(scores, Tensor) and scores.dim() == 4 else type(scores).__name__
        wanted = (1, num_classes, -(-height // stride), -(-width // stride))
        larger = isinstance(found, tuple) and found[:2] == wanted[:2] and found[2] >= wanted[2] and found[3] >= wanted[3]
        if found != wanted and not (larger and height > width):
            raise UserError(f"model={name} gave {found} for {image} and says stride {stride}; it must give {wanted}")


def set_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are set; one that is None takes its default."""
    return {key: value for key, value in options.items() if value is not None}
