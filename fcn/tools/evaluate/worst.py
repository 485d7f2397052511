"""The worst of a split: images with the lowest mean IoU, and of each class the squares in which most is wrong about it.

Only so many are kept at any time, as thumbnails, however many images there are and however large they are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelerate import Accelerator
from accelerate.utils import gather_object
from PIL import Image

from fcn.core.images import ImageKind
from fcn.core.labels import LabelSet
from fcn.data.pictures import Labels, sample_sheet, thumbnail
from fcn.data.visible import visible
from fcn.tools.crops import SIDE, Bytes, busiest
from fcn.training.metrics import metrics, percent
from fcn.training.scored import Scored

IMAGES = 6  # worst images that are kept
CROPS = 3  # of each class
ALL_CROPS = 300  # of all classes together, which have fewer each where they are many
CLASSES = 20  # classes, those with the lowest IoU, of which crops are shown
LONGEST = 480  # side of a kept image, pixels
LONGEST_CROP = 256


@dataclass(frozen=True)
class Example:
    """A picture of what went wrong. rank: the lower, the worse; index: of the image. text: what is seen. The image (3, h, w), the label
    maps (h, w)."""

    rank: float
    index: int
    text: str
    image: Bytes
    truth: Labels
    prediction: Labels

    @property
    def order(self) -> tuple[float, int]:
        return self.rank, self.index

    def enlarged(self, side: int) -> tuple[Bytes, Labels, Labels]:
        """Image, truth and prediction, each pixel repeated by the whole factor with which they still fit into ``side`` pixels."""
        factor = max(1, side // max(self.truth.shape))
        truth, prediction = (part.repeat(factor, 0).repeat(factor, 1) for part in (self.truth, self.prediction))
        return self.image.repeat(factor, 1).repeat(factor, 2), truth, prediction


class Worst:
    """The worst images and crops of the samples seen so far. images: the kind of the split's images."""

    def __init__(self, labels: LabelSet, names: Sequence[str], images: ImageKind) -> None:
        self.labels, self.names, self.kind = labels, names, images
        self.images: list[Example] = []
        self.crops: list[list[Example]] = [[] for _ in labels.names]
        self.each = min(CROPS, ALL_CROPS // labels.num_classes)

    def add(self, sample: Scored) -> None:
        result = metrics(sample.matrix)
        if math.isnan(result.miou) or result.pixel_accuracy == 1:
            return
        name = str(self.names[sample.index])
        if _enters(self.images, result.miou, sample.index, IMAGES):
            text = f"{name}: mIoU {percent(result.miou).strip()}, pixel accuracy {percent(result.pixel_accuracy).strip()}"
            _insert(self.images, self._example(sample, result.miou, text, LONGEST), IMAGES)
        right = sample.matrix.diagonal()
        wrong = (sample.matrix.sum(0) + sample.matrix.sum(1) - 2 * right) / sample.matrix.sum()
        for index, share in enumerate(wrong.tolist()):
            if share and self.each and _enters(self.crops[index], -share, sample.index, self.each):
                _insert(self.crops[index], self._crop(sample, index, -share, name), self.each)

    def _crop(self, sample: Scored, index: int, rank: float, name: str) -> Example:
        """The square of an image in which most pixels are wrong about a class: missed, or given to it."""
        wrong = ((sample.truth == index) != (sample.prediction == index)) & (sample.truth != self.labels.void)
        side = max(1, round(SIDE * min(wrong.shape)))
        step = max(1, side // 512)  # of a huge image a coarser look is enough
        top, left, share = busiest(wrong[::step, ::step], max(1, side // step))
        rows, columns = slice(top * step, top * step + side), slice(left * step, left * step + side)
        text = f"{self.labels.names[index]}, in {name}: {100 * share:.0f} % of the square is wrong about it"
        image = visible(sample.image, self.kind)[:, rows][..., columns]
        part = replace(sample, image=image, truth=sample.truth[rows, columns], prediction=sample.prediction[rows, columns])
        return self._example(part, rank, text, LONGEST_CROP, seen=True)

    def _example(self, sample: Scored, rank: float, text: str, longest: int, *, seen: bool = False) -> Example:
        image = sample.image if seen else visible(sample.image, self.kind)
        small, (truth, prediction) = thumbnail(image, [sample.truth, sample.prediction], self.labels, longest)
        return Example(rank, sample.index, text, small, truth, prediction)

    def gather(self, accelerator: Accelerator) -> None:
        """Make it the worst of all processes."""
        if accelerator.num_processes > 1:
            found = gather_object([(self.images, self.crops)])
            self.images = _first([example for images, _ in found for example in images], IMAGES)
            self.crops = [
                _first([example for _, crops in found for example in crops[index]], self.each) for index in range(len(self.crops))
            ]

    def classes(self, iou: Sequence[float]) -> list[int]:
        """The classes of which crops are shown, the lowest IoU first."""
        having = [index for index, crops in enumerate(self.crops) if crops]
        return sorted(having, key=lambda index: iou[index])[:CLASSES]

    def sheet(self, iou: Sequence[float]) -> Image.Image | None:
        """The worst images, then the worst crop of each class, with truth, prediction and errors; None where nothing is wrong."""
        if not self.images:
            return None
        side = max(max(example.truth.shape) for example in self.images)
        shown = self.images + [self.crops[index][0] for index in self.classes(iou)]
        rows = [example.enlarged(side) for example in shown]
        return sample_sheet(rows, self.labels, names=[example.text for example in shown], errors=True)


def _enters(kept: list[Example], rank: float, index: int, most: int) -> bool:
    return len(kept) < most or (rank, index) < kept[-1].order


def _insert(kept: list[Example], example: Example, most: int) -> None:
    kept[:] = _first([*kept, example], most)


def _first(examples: list[Example], most: int) -> list[Example]:
    return sorted(examples, key=lambda example: example.order)[:most]
