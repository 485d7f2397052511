"""Labels of many images: what is read, computed and written for each, and how much at once."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.progress import tell
from fcn.data.images import Shown, open_image, pixels_of
from fcn.data.pictures import save_gray, save_labels, save_overlay
from fcn.inference.batches import Batches
from fcn.inference.memory import ran_out
from fcn.inference.strategies import SMALL, Strategy
from fcn.models.segmenter import Segmenter
from fcn.tools.predict.pipeline import side_by_side
from fcn.tools.predict.plan import Image

ROOM = 2**25  # pixels of images that are held at once, beside one that is larger
THREADS = 8  # that read and write, at most


class Labelled(NamedTuple):
    """An image, its labels (H, W), and the confidence (H, W) where it is asked for."""

    image: Tensor | Shown
    labels: Tensor
    confidence: Tensor | None


class Labelling:
    """Labels images with one model.

    batches: images of one size that go through the network at once; None: one by one.
    folder: where the results go.
    alpha: opacity of the labels in the overlay.
    """

    def __init__(
        self, model: Segmenter, strategy: Strategy, accelerator: Accelerator, batches: Batches | None, folder: Path, *, alpha: float
    ) -> None:
        assert model.labels is not None
        self.model, self.strategy, self.accelerator, self.batches = model, strategy, accelerator, batches
        self.label_set, self.folder, self.alpha = model.labels, folder, alpha

    def __call__(self, images: Iterable[Image]) -> Iterator[bool]:
        """For each image, in order, whether it could be read and labelled; one that could not is named."""
        threads = min(THREADS, max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
        return side_by_side(
            images,
            size=lambda image: pixels_of(image.path),
            read=self.read,
            compute=self.compute,
            write=self.write,
            together=self.together,
            threads=threads,
            ahead=2 * self.batches.most if self.batches else 1 + threads,
            room=ROOM,
        )

    def read(self, image: Image) -> Tensor | Shown | Exception:
        """The picture, or why it cannot be read. A small one is a tensor then: that is work which the network need not wait for."""
        try:
            picture = open_image(image.path)
            height, width = picture.shape[-2:]
            return picture[:, :] if height * width < SMALL else picture
        except Exception as error:
            return skippable(error)

    def together(self, group: Sequence[Tensor | Shown | Exception], other: Tensor | Shown | Exception) -> bool:
        return self.batches is not None and self.batches.fits(group, other)

    def compute(self, images: Sequence[Image], pictures: Sequence[Tensor | Shown | Exception]) -> list[Labelled | None]:
        if len(images) > 1:
            try:
                return self.at_once(images, pictures)
            except Exception as error:
                skippable(error)  # which may hold for one of them alone
        return [self.alone(image, picture) for image, picture in zip(images, pictures, strict=True)]

    def at_once(self, images: Sequence[Image], pictures: Sequence[Tensor | Shown | Exception]) -> list[Labelled | None]:
        assert self.batches is not None
        tensors = [picture for picture in pictures if isinstance(picture, Tensor)]
        sure = [self.confidence(image, picture) for image, picture in zip(images, tensors, strict=True)]
        with self.accelerator.autocast():
            labels = self.batches(self.model, tensors, sure)
        return [Labelled(*each) for each in zip(tensors, labels, sure, strict=True)]

    def alone(self, image: Image, picture: Tensor | Shown | Exception) -> Labelled | None:
        try:
            if isinstance(picture, Exception):
                raise picture
            sure = self.confidence(image, picture)
            with self.accelerator.autocast():
                labels = self.strategy(self.model, picture, confidence=sure, progress=True)
            return Labelled(picture, labels, sure)
        except Exception as error:
            reason = " ".join(str(skippable(error)).split()) or type(error).__name__
            tell(f"skipped: {reason}" if image.path in reason else f"skipped {image.path}: {reason}")
            return None

    def confidence(self, image: Image, picture: Tensor | Shown) -> Tensor | None:
        return torch.empty(picture.shape[1:], dtype=torch.uint8) if "confidence" in image.results else None

    def write(self, image: Image, found: Labelled) -> None:
        files = {kind: self.folder / name for kind, name in image.results.items()}
        save_labels(found.labels, self.label_set, files["labels"])
        if found.confidence is not None:
            save_gray(found.confidence, files["confidence"])
        if "overlay" in files:
            save_overlay(found.image, found.labels, self.label_set, files["overlay"], alpha=self.alpha)


def skippable(error: Exception) -> Exception:
    """The error, if it costs one image only: a picture that cannot be used, or too little memory for it. Raises any other one."""
    if isinstance(error, UserError | OSError) or ran_out(error):
        return error
    raise error
