"""Labels of many images: what is read, computed and written for each, and how much at once."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.progress import tell
from fcn.data.images import Shown
from fcn.data.pictures import save_gray, save_labels, save_overlay
from fcn.data.stored import open_as, pixels_of
from fcn.data.visible import visible
from fcn.inference import at_once
from fcn.inference.memory import ran_out
from fcn.inference.strategies import Strategy
from fcn.models.segmenter import Segmenter
from fcn.rasters.polygons import save_polygons
from fcn.tools.predict.pipeline import Apart, Skipped, side_by_side
from fcn.tools.predict.plan import Image

ROOM = 3 * 2**25  # bytes of images that are held at once, beside one that is larger
SMALL = 2**22  # pixels up to which a picture is converted by the thread that reads it; of a larger one, rows when they are asked for
THREADS = 8  # that read and write, at most


class Labelled(NamedTuple):
    """An image, its labels (H, W), and the confidence (H, W) where it is asked for."""

    image: Tensor | Shown
    labels: Tensor
    confidence: Tensor | None


class Labelling:
    """Labels images with one model.

    folder: where the results go.
    alpha: opacity of the labels in the overlay.
    progress: show how far a large image is.
    """

    def __init__(
        self, model: Segmenter, strategy: Strategy, accelerator: Accelerator, folder: Path, *, alpha: float, progress: bool
    ) -> None:
        assert model.labels is not None
        self.model, self.strategy, self.accelerator = model, strategy, accelerator
        self.label_set, self.folder, self.alpha, self.progress = model.labels, folder, alpha, progress

    def __call__(self, images: Iterable[Image], expected: int) -> Iterator[bool]:
        """For each image, in order, whether it could be read and labelled; one that could not is named. expected: about how many come."""
        threads = min(THREADS, max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
        pixel = self.model.images.pixel_bytes
        count = at_once.images_at_once(self.model, self.strategy, expected)
        outcomes = side_by_side(
            images,
            size=lambda image: pixels_of(image.path, self.model.images) * pixel,
            read=self.read,
            compute=self.compute,
            write=self.write,
            threads=threads,
            ahead=1 + threads,
            room=ROOM,
            apart=Apart(at_once.small_pixels(count) * pixel, count, at_once.one_thread) if count > 1 else None,
        )
        with at_once.own_threads():
            for skipped in outcomes:
                if skipped is not None:
                    tell(skipped.reason)
                yield skipped is None

    def read(self, image: Image) -> Tensor | Shown | Exception:
        """The picture, or why it cannot be read."""
        try:
            picture = open_as(image.path, self.model.images)
            height, width = picture.shape[-2:]
            return picture[:, :] if height * width <= SMALL else picture
        except Exception as error:
            return skippable(error)

    def compute(self, image: Image, picture: Tensor | Shown | Exception) -> Labelled | Skipped:
        try:
            if isinstance(picture, Exception):
                raise picture
            sure = torch.empty(picture.shape[1:], dtype=torch.uint8) if "confidence" in image.results else None
            with self.accelerator.autocast():
                labels = self.strategy(self.model, picture, confidence=sure, progress=self.progress)
            return Labelled(picture, labels, sure)
        except Exception as error:
            reason = " ".join(str(skippable(error)).split()) or type(error).__name__
            return Skipped(f"skipped: {reason}" if image.path in reason else f"skipped {image.path}: {reason}")

    def write(self, image: Image, found: Labelled) -> None:
        files = {kind: self.folder / name for kind, name in image.results.items()}
        save_labels(found.labels, self.label_set, files["labels"])
        if found.confidence is not None:
            save_gray(found.confidence, files["confidence"])
        if "polygons" in files:
            save_polygons([found.labels.numpy()], len(found.labels), files["polygons"], label_set=self.label_set)
        if "overlay" in files:
            picture = visible(found.image, self.model.images)
            save_overlay(picture, found.labels, self.label_set, files["overlay"], alpha=self.alpha)


def skippable(error: Exception) -> Exception:
    """The error, if it costs one image only: a picture that cannot be used, or too little memory for it. Raises any other one."""
    if isinstance(error, UserError | OSError) or ran_out(error):
        return error
    raise error
