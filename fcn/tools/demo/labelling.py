"""The page's first tab: a picture's labels as an overlay, as areas, as a file, and how sure the network is of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcn.core.labels import LabelSet
from fcn.data.pictures import save_gray, save_labels, save_overlay
from fcn.data.stored import open_as
from fcn.data.visible import visible
from fcn.inference.predict import predict

if TYPE_CHECKING:
    from fcn.models.segmenter import Segmenter

HEADER = ("class", "pixels", "share", "confidence")


class Labelled(NamedTuple):
    """Files of the overlay, of the label map (a PNG of class indices) and of the confidence (gray, 255 for 1); the rows of ``areas``."""

    overlay: Path
    labels: Path
    confidence: Path
    areas: list[list[str]]


def label_picture(
    model: "Segmenter", picture: str, folder: Path, *, strategy: str, flip: bool, scales: Sequence[float], alpha: float
) -> Labelled:
    """Label the file ``picture`` and write what is shown of it to ``folder``. The other arguments are those of ``fcn predict``.

    Raises what ``fcn.predict`` raises.
    """
    assert model.labels is not None
    labels, sure = predict(model, picture, strategy=strategy, confidence=True, flip=flip, scales=list(scales))
    name = Path(picture).stem
    found = Labelled(
        folder / f"{name}_overlay.jpg", folder / f"{name}_labels.png", folder / f"{name}_confidence.png", areas(labels, sure, model.labels)
    )
    save_overlay(visible(open_as(picture, model.images), model.images), labels, model.labels, found.overlay, alpha=alpha)
    save_labels(labels, model.labels, found.labels)
    save_gray(sure, found.confidence)
    return found


def areas(labels: NDArray[Any], confidence: NDArray[Any], label_set: LabelSet) -> list[list[str]]:
    """A row for each class that occurs, the largest first: name, pixels, share of the picture, mean confidence."""
    pixels = np.bincount(labels.ravel(), minlength=label_set.num_classes)
    sums = np.bincount(labels.ravel(), weights=confidence.ravel(), minlength=label_set.num_classes)
    present = sorted(np.flatnonzero(pixels), key=lambda index: -pixels[index])
    return [
        [label_set.names[index], f"{pixels[index]:,}", f"{pixels[index] / labels.size:.1%}", f"{sums[index] / pixels[index] / 255:.1%}"]
        for index in present
    ]
