"""Anybody's network as a segmenter: ``fcn.wrap``.

The network maps normalised images (N, C, H, W) to scores (N, K, h, w). What is not said is found by trying (``fitting.py``): by what the
sides must be divisible, how many pixels there are per cell, and whether it ends in an interpolation of its own (``last_resize.py``).

The image is padded with zeros (the mean colour) at the bottom and the right, up to multiples of ``divisor``. It passes the network once,
and the scores are cropped. Every strategy that is exact gives that.
"""

import logging
import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.images import RGB, Dtype, ImageKind, from_plain
from fcn.core.labels import MOST_CLASSES, LabelSet
from fcn.core.names import first_line
from fcn.graph.image import image_shape, runs_on
from fcn.graph.networks import at_rest, float_type, unwrapped
from fcn.models.fitting import SMALLEST, Fit, Output, fitting, picked
from fcn.models.last_resize import run
from fcn.models.layers import pad_to_multiple
from fcn.models.segmenter import Cell, Segmenter, to_image_size
from fcn.models.spec import WrapSpec

log = logging.getLogger(__name__)

LUMA = (0.299, 0.587, 0.114)  # gray of red, green and blue (ITU-R BT.601), as Pillow's mode "L"
WEIGHTS = torch.tensor(LUMA).view(-1, 1, 1)


class Whole(nn.Module):
    """A whole network in the place of a backbone: its one feature is its output."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float], output: Output, divisor: int, stride: int) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = tuple(mean), tuple(std)
        self.output, self.divisor = output, divisor
        self.strides = (stride,)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [picked(self.network(images), self.output)]


class AsItIs(nn.Module):
    """The decoder of a network that needs none."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, features: list[Tensor]) -> Tensor:
        return features[-1]


class Wrapped(Segmenter):
    """A segmenter made of a network by ``wrap``: the network is ``backbone.network``.

    last: number of the network's bilinear interpolation that is the last thing it does; None where it ends otherwise.
    """

    spec: WrapSpec

    def __init__(
        self, network: nn.Module, mean: Sequence[float], std: Sequence[float], spec: WrapSpec, last: int | None, probabilities: bool
    ) -> None:
        super().__init__(Whole(network, mean, std, spec.output, spec.divisor, spec.stride), AsItIs(spec.stride))  # type: ignore[arg-type]
        self.spec, self.last, self.probabilities = spec, last, probabilities
        self.images = from_plain(spec.images)
        like = next(network.parameters(), torch.empty(0))
        self.to(like.device)
        self.mean, self.std = self.mean.to(float_type(network)), self.std.to(float_type(network))

    def takes(self, images: ImageKind) -> bool:
        return super().takes(images) or (self.images.is_rgb and images == ImageKind(self.in_channels))

    def normalize(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), usually uint8, to the floats that the network expects; for one of one channel, RGB images become gray."""
        given, taken = images.shape[-3], self.in_channels
        if (given, taken) == (3, 1):
            images = (images.float() * WEIGHTS.to(images.device)).sum(-3, keepdim=True).round()
        elif given != taken:
            raise UserError(f"the image has {given} channels and {self.spec.network} takes {taken}; give an image of {taken}")
        return super().normalize(images)

    def scores(self, images: Tensor) -> Tensor:
        return self.finished(self.read(images))

    def read(self, images: Tensor) -> Tensor:
        return super().scores(images)

    def coarse(self, images: Tensor) -> tuple[Tensor, Cell]:
        padded = pad_to_multiple(images, self.backbone.divisor)
        try:
            scores, cell, _ = run(
                self.backbone.network, lambda given: self.covering(picked(given, self.spec.output), padded), padded, self.last
            )
        except Exception as error:
            raise self.explained(error, padded) from error
        return self.finished(scores), cell or self.cell(*images.shape[-2:])

    def covering(self, scores: Tensor, images: Tensor) -> Tensor:
        """The scores, which have to have the cells that the network had when it was wrapped. Raises UserError for others."""
        (rows, columns), (height, width), stride = scores.shape[-2:], images.shape[-2:], self.spec.stride
        if (rows * stride, columns * stride) != (height, width):
            raise UserError(
                f"{self.spec.network} gives {columns}x{rows} scores for an image of {width}x{height} pixels; when it was wrapped, it gave "
                f"one for {stride}x{stride} pixels, and that has to hold for every image"
            )
        return scores

    def explained(self, error: Exception, images: Tensor) -> Exception:
        """What torch raised for a size of image that the network cannot take, as a sentence; a lack of memory, or what its own code raised
        otherwise, as it is."""
        if not isinstance(error, RuntimeError | ValueError) or isinstance(error, UserError) or "memory" in str(error).lower():
            return error
        height, width = images.shape[-2:]
        advice = "a larger image" if min(height, width) < SMALLEST else "wrap the divisor that its images need"
        name = self.spec.network
        return UserError(f"{name} cannot be run on an image of {width}x{height} pixels ({first_line(error)}); give {advice}")

    def finished(self, outputs: Tensor) -> Tensor:
        if self.spec.labels == "argmax":
            return outputs
        rest = 1 - outputs if self.probabilities else torch.zeros_like(outputs)
        return torch.cat([rest, outputs], -3)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, C, H, W) to logits (N, num_classes, H, W); of probabilities these are the logarithms."""
        scores = to_image_size(self.scores(images), self.stride, *images.shape[-2:])  # as a label map interpolates: before the logarithm
        return scores.clamp_min(torch.finfo(scores.dtype).tiny).log() if self.probabilities else scores


def wrap(
    network: nn.Module,
    *,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    scale: float = 1 / 255,
    dtype: Dtype = "uint8",
    classes: int | Sequence[str] | LabelSet | None = None,
    output: Output = None,
    divisor: int | None = None,
    labels: Literal["argmax", "sigmoid", "probability"] = "argmax",
) -> Wrapped:
    """Anybody's network as a model, for every function that takes one: ``fcn.predict``, ``fcn.evaluate``, ``fcn.save`` and the others.

    >>> network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2)
    >>> model = fcn.wrap(network, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), classes=["ground", "road"])
    >>> mask = fcn.predict(model, "photo.jpg", strategy="stream")

    network: module from floats (N, C, H, W) to scores (N, K, h, w). It is not copied: the model trains and moves the network itself.
    mean: means of the scaled channels, one number for each, or one for all.
    std: standard deviations of the scaled channels, likewise. The network sees ``(image * scale - mean) / std``.
    scale: factor of the image's values; default 1/255, for values from 0 to 255.
    dtype: type of the images' values: "uint8", "uint16" or "float32"; default "uint8". For 16 bits give also ``scale=1/65535``, or what
        the network was trained with.
    classes: names of the classes, or their number; None: as many as there are channels of scores, without names.
    output: which of the network's outputs are the scores: a key, an attribute or an index. None: the tensor itself, "out" of a dict,
        "logits" of an object, the first map of a tuple.
    divisor: number that the sides of an image must be multiples of; other images are padded. None: found by trying.
    labels: "argmax", the class of the highest score. For one channel "sigmoid", class 1 where the sigmoid is above 1/2, else class 0; or
        "probability", class 1 where the channel itself is above 1/2. A sigmoid that the network ends in counts for both.

    Returns the model, in the mode that the network is in. It pads the image, runs the network once, and crops the scores.

    Raises UserError where the network gives no such scores, and where the numbers do not fit it.
    """
    words: dict[str, Any] = {"mean": mean, "std": std, "scale": scale, "dtype": dtype, "classes": classes}
    model = as_model(network, **words, output=output, divisor=divisor, labels=labels)
    if labels == "sigmoid" and not model.probabilities and looks_like_probability(model):
        log.warning(
            "%s gives numbers between 0 and 1 for an image of noise, and they are taken for logits; if they are probabilities, "
            "give labels='probability'",
            model.spec.network,
        )
    return model


def as_model(
    network: nn.Module,
    *,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    scale: float = 1 / 255,
    dtype: Dtype = "uint8",
    classes: int | Sequence[str] | LabelSet | None = None,
    output: Output = None,
    divisor: int | None = None,
    labels: str = "argmax",
) -> Wrapped:
    """``wrap`` without a look at the numbers that the network gives: its weights may still be random."""
    network = unwrapped(network)
    if labels not in ("argmax", "sigmoid", "probability"):
        raise UserError(f"labels={labels!r} is not allowed; it is 'argmax', 'sigmoid' or 'probability'")
    if divisor is not None and (isinstance(divisor, bool) or not isinstance(divisor, int) or divisor < 1):
        raise UserError(f"divisor={divisor!r} is not allowed; it is a whole number of 1 or more, or None")
    means, deviations = channels_of(network, mean, std, scale)
    values = [[each / scale for each in given] for given in (means, deviations)]
    images = ImageKind(len(means), dtype, mean=tuple(values[0]), std=tuple(values[1]))
    if dtype == "uint8" and len(means) == 1:
        images = RGB  # which it sees in gray
    found = fitting(network, len(means), output, divisor)
    count, names = class_names(type(network).__name__, found, classes, labels)
    if found.others:
        given = f"{type(network).__name__} gives {found.others + 1} maps"
        log.warning("%s; the first is taken for the scores: output=INDEX or output=NAME takes another", given)
    probabilities = labels == "probability" or found.ending == ("softmax" if labels == "argmax" else "sigmoid")
    spec = WrapSpec(type(network).__name__, count, output, found.divisor, found.stride, labels, images.plain())
    to_unit = 1 / (255 * scale)
    wrapped = Wrapped(
        network, [value * to_unit for value in means], [value * to_unit for value in deviations], spec, found.last, probabilities
    )
    wrapped.labels = names
    for module in (wrapped, wrapped.backbone, wrapped.decoder):
        module.training = network.training
    return wrapped


def looks_like_probability(model: Wrapped) -> bool:
    """Whether all that a network gives for an image of noise lies between 0 and 1, and is not the same everywhere."""
    side = model.spec.divisor * -(-SMALLEST // model.spec.divisor)
    image = torch.randn(1, model.in_channels, side, side, generator=torch.Generator().manual_seed(0)).to(model.mean)
    try:
        with at_rest(model), torch.no_grad():
            found = model.read(image)
        low, high = float(found.min()), float(found.max())
    except Exception:  # as on a device without data, or in a type that it has no kernels for
        return False
    return 0 <= low < high <= 1


def channels_of(
    network: nn.Module, mean: float | Sequence[float], std: float | Sequence[float], scale: float
) -> tuple[list[float], list[float]]:
    """Means and deviations, one for each channel. A single number is for all channels of an RGB image, or of the image that it takes."""
    means, deviations = (np.atleast_1d(np.asarray(value, float)).tolist() for value in (mean, std))
    if np.ndim(mean) == 0 or np.ndim(std) == 0:
        count = max(len(means), len(deviations))
        if np.ndim(mean) == np.ndim(std) == 0:
            count = image_shape(network, {2: (SMALLEST, SMALLEST)})[1]
            count = 3 if count == 1 and runs_on(network, (1, 3, SMALLEST, SMALLEST)) else count  # it takes either: images are RGB
        means, deviations = (values * count if len(values) == 1 else values for values in (means, deviations))
    if len(means) != len(deviations) or not means:
        raise UserError(f"mean has {len(means)} numbers and std {len(deviations)}; give one of each for every channel")
    if any(not value > 0 for value in deviations) or not all(map(math.isfinite, (*means, *deviations))):
        raise UserError(f"mean={mean} and std={std} are not allowed; std is above 0, and both are finite")
    if not (scale > 0 and math.isfinite(scale)):
        raise UserError(f"scale={scale} is not allowed; it is above 0 (1/255 for networks that see values from 0 to 1, 1 for 0 to 255)")
    return means, deviations


def class_names(name: str, found: Fit, classes: int | Sequence[str] | LabelSet | None, labels: str) -> tuple[int, LabelSet | None]:
    """The number of classes, and their names where they are given. Raises UserError where they do not fit the scores."""
    if labels != "argmax" and found.channels > 1:
        raise UserError(f"labels='{labels}' is for one channel, and {name} gives {found.channels}; use labels='argmax'")
    if labels == "argmax" and found.channels == 1:
        raise UserError(f"{name} gives one channel, of which the arg-max is class 0 everywhere; a binary mask is labels='sigmoid'")
    count = found.channels if labels == "argmax" else 2
    if count > MOST_CLASSES:
        raise UserError(f"{name} gives {count} channels; a label map has up to {MOST_CLASSES} classes")
    if classes is None or isinstance(classes, Integral):
        if classes not in (None, count):
            raise UserError(f"classes={classes} does not fit {name}, which gives {count} classes")
        return count, None
    if isinstance(classes, LabelSet) and classes.num_classes == count:
        return count, classes
    listed = classes.names if isinstance(classes, LabelSet) else classes
    names = [listed] if isinstance(listed, str) else list(listed)  # type: ignore[arg-type]
    names = ["background", *names] if labels != "argmax" and len(names) == 1 else names
    if len(names) != count:
        raise UserError(
            f"{len(names)} classes are named ({', '.join(names[:5])}) and {name} gives {count}; name each, in the order of the scores"
        )
    return count, LabelSet(tuple(names))
