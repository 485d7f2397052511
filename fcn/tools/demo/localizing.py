"""The page's third tab: where a classifier sees its classes in a photograph."""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from fcn.core.errors import UserError
from fcn.core.files import written
from fcn.data.images import open_image
from fcn.models.trained_classifiers import trained_classifier
from fcn.tools.localize.call import completed
from fcn.tools.localize.classmaps import class_index
from fcn.tools.localize.localizer import Localizer
from fcn.tools.localize.report import entry
from fcn.tools.localize.run import small
from fcn.tools.localize.sheet import draw

HELD = 2  # classifiers that stay loaded
TOP = 3  # classes that are drawn where none are named
MOST = 12  # that a sheet has room for
HEADER = ("class", "mean", "peak", "cells")


class Localized(NamedTuple):
    """The file of the sheet, the rows of the drawn classes, and a sentence on how far the maps agree with the classifier."""

    sheet: Path
    classes: list[list[str]]
    agreement: str


class Localizers:
    """Classifiers with their ImageNet weights, made fully convolutional when they are first used; the last few are kept.

    device: torch's name of the device that they go to.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._made = lru_cache(maxsize=HELD)(self._make)

    def __call__(self, classifier: str, dense: str, output_stride: int | None, scales: tuple[float, ...]) -> Localizer:
        return self._made(classifier.strip(), dense, output_stride, scales)

    def _make(self, classifier: str, dense: str, output_stride: int | None, scales: tuple[float, ...]) -> Localizer:
        found = completed(trained_classifier(classifier, "imagenet"), names=None, mean=None, std=None, input_size=None)
        found.network.to(self.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on squeeze-and-excitation; the page says how far the maps agree
            return Localizer(found, dense=dense, output_stride=output_stride, scales=scales)  # type: ignore[arg-type]


def localize_picture(localizer: Localizer, picture: str, classes: str, folder: Path) -> Localized:
    """Draw the sheet of ``fcn localize`` of the file ``picture`` into ``folder``.

    classes: names or numbers with commas between; empty: those of the highest mean probability. Raises what ``fcn localize`` raises.
    """
    words = [word.strip() for word in classes.split(",") if word.strip()]
    if len(words) > MOST:
        raise UserError(f"{len(words)} classes are named and a sheet has room for {MOST}; give fewer")
    chosen = [class_index(localizer.names, word) for word in words]
    photograph = open_image(picture)
    found = localizer(photograph)
    drawn = chosen or found.maps.top(TOP)
    sheet = folder / f"{Path(picture).stem}_sheet.jpg"
    with written(sheet) as temporary:
        draw(small(photograph), found, drawn, Path(picture).name).savefig(temporary, format="jpg", pil_kwargs={"quality": 92})
    made = entry(found, drawn, localizer)
    rows = [
        [each["name"], f"{each['mean']:.1%}", f"{each['peak']:.1%}", f"{each['share']:.1%}"] for each in made["classes"] if each["drawn"]
    ]
    return Localized(sheet, rows, made["agreement"]["words"])
