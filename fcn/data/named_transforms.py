"""Transforms of ``torchvision.transforms.v2`` by their names, applied to photograph and label map together.

A word is a name, as ``RandomGrayscale``, or a call with plain values, as ``RandomPosterize(bits=4)``. Label maps follow geometry with the
nearest pixel, which is torchvision's way for a ``Mask``. What comes from outside of the crop is void.

Torchvision takes floats for values from 0 to 1. Images of 16 bits and of float32 have other ranges, and would be cut to that one without a
word. So of their transforms only those are taken that leave values as they are, as geometry and blur do.
"""

import ast
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.images import RGB, ImageKind
from fcn.core.labels import VOID
from fcn.core.names import first_line, said, suggest

_TRIALS = 8  # calls on noise before the training, since most transforms act at random
_BRIGHTER = 1000.0  # by which values are raised to see whether a transform raises what it gives by as much
_NOT_FOR_SAMPLES = ("Compose", "Lambda", "Transform", "RandomApply", "RandomChoice", "RandomOrder", "CutMix", "MixUp")


class NamedTransforms:
    """Some transforms, one after the other.

    words: names or calls. size: of the crops, (height, width). fill: colour of what comes from outside, a value for each channel.
    images: the kind of the images. void: the value of void in the label maps.

    Raises UserError for an unknown name, for arguments that it does not take, and for one that does not keep the form of a sample: an image
    ``(C, H, W)``, uint8 or float32, and a label map ``(H, W)`` of the same size. Also for one that changes values of float32.
    """

    def __init__(
        self, words: Sequence[str], size: tuple[int, int], fill: Sequence[float], images: ImageKind = RGB, *, void: int = VOID
    ) -> None:
        self.words = tuple(words)
        self.transforms = [made(word, fill, void) for word in words]
        generator = torch.Generator().manual_seed(0)
        for word, transform in zip(words, self.transforms, strict=True):
            for _ in range(_TRIALS):
                image = torch.randint(0, 256, (images.channels, *size), generator=generator, dtype=torch.uint8)
                labels = torch.randint(0, 2, size, generator=generator, dtype=torch.uint8)
                if images.dtype == "uint8":
                    _applied(transform, word, image, labels, generator)
                else:
                    _check_values(transform, word, image.float(), labels, generator, images)

    def __call__(self, image: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        for word, transform in zip(self.words, self.transforms, strict=True):
            image, labels = _applied(transform, word, image, labels, generator)
        return image, labels


def _check_values(transform: Any, word: str, image: Tensor, labels: Tensor, generator: torch.Generator, images: ImageKind) -> None:
    """Raises UserError for a transform that does not leave values as they are: of a brighter image it must give what is as much brighter,
    but for what comes from outside."""
    state = generator.get_state()
    dark, _ = _applied(transform, word, image, labels, generator)
    generator.set_state(state)
    bright, _ = _applied(transform, word, image + _BRIGHTER, labels, generator)
    raised = bright - dark
    if not (raised.min() > -1 and _BRIGHTER - 1 < raised.max() < _BRIGHTER + 1):
        raise UserError(
            f"{_told(word)} changes the values of images of 8 bits, and these are of {images}: "
            "give transforms of geometry alone, as RandomAffine(degrees=10), or leave it out"
        )


def _applied(transform: Any, word: str, image: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    from torchvision import tv_tensors

    seed = int(torch.randint(0, 2**62, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's own generator
        torch.default_generator.manual_seed(seed)
        try:
            pictured, mapped = transform(tv_tensors.Image(image), tv_tensors.Mask(labels))
        except Exception as error:  # of another library
            raise UserError(f"{_told(word)} fails on an image with its label map: {first_line(error)}") from error
    for what, before, after in (("image", image, pictured), ("label map", labels, mapped)):
        if not isinstance(after, Tensor) or after.shape != before.shape or after.dtype != before.dtype:
            form = f"{after.dtype} of shape {tuple(after.shape)}" if isinstance(after, Tensor) else type(after).__name__
            raise UserError(
                f"{_told(word)} makes the {what}, {before.dtype} of shape {tuple(before.shape)}, {form}; "
                "a transform must keep size and number format (sizes are set by augment.crop_size and augment.scale)"
            )
    return pictured.as_subclass(Tensor), mapped.as_subclass(Tensor)


def made(word: str, fill: Sequence[float], void: int = VOID) -> Any:
    """The transform that a word stands for. Raises UserError where there is none."""
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    name, arguments, options = parsed(word)
    known = names()
    if name not in known:
        raise UserError(f"{_told(word)} is not known; {suggest(name, known)}")
    kind = getattr(v2, name)
    if "fill" in inspect.signature(kind).parameters:
        options = options | {"fill": {tv_tensors.Image: options.get("fill", list(fill)), tv_tensors.Mask: void}}
    try:
        return kind(*arguments, **options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{_told(word)} cannot be made: {first_line(error)}; give its arguments, as RandomPosterize(bits=4)") from error


def names() -> list[str]:
    """The names of the transforms that can be given."""
    from torchvision.transforms import v2

    kinds = {name: getattr(v2, name) for name in dir(v2) if isinstance(getattr(v2, name), type)}
    return [name for name, kind in kinds.items() if issubclass(kind, v2.Transform) and name not in _NOT_FOR_SAMPLES]


def parsed(word: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Name, arguments and keyword arguments of a word."""
    try:
        call = ast.parse(word.strip(), mode="eval").body
        if isinstance(call, ast.Name):
            return call.id, [], {}
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        arguments = [ast.literal_eval(each) for each in call.args]
        return call.func.id, arguments, {str(each.arg): ast.literal_eval(each.value) for each in call.keywords if each.arg}
    except (SyntaxError, ValueError, AssertionError):
        raise UserError(
            f"{_told(word)} is no transform; give a name, or a call with plain values, as RandomGrayscale or RandomPosterize(bits=4)"
        ) from None


def _told(word: str) -> str:
    return f"{word!r} in {said('augment.transforms')}"
