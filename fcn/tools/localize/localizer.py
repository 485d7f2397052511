"""From a classifier to its maps: it is made fully convolutional, dilated where a finer grid is asked for, and run over images of any size.

With ``dense="pixel"`` every cell of the features is classified by the head that would classify their mean, which gives class activation
maps (Zhou et al. 2016, arXiv:1512.04150). With ``dense="window"`` each cell is the classifier on one window (Long et al. 2015, section 3.1,
arXiv:1411.4038). What it gives is compared with the classifier itself on every image.
"""

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
import psutil
import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.graph.networks import evaluating
from fcn.graph.receptive_field import ReceptiveField, receptive_field
from fcn.inference.augment import Resized
from fcn.inference.cells import scores_of_cells
from fcn.inference.kept import unchanged
from fcn.inference.memory import pass_through
from fcn.inference.scores import Image
from fcn.models.trained_classifiers import Classifier, class_names
from fcn.rewrite.convolutionalize import convolutionalize
from fcn.rewrite.dilate import dilate
from fcn.tools.localize.classmaps import Agreement, ClassMaps, Places, merged
from fcn.tools.windows import Place, cutting, grid, in_windows, spread_evenly

log = logging.getLogger(__name__)

Dense = Literal["pixel", "window"]

WINDOWS = 16  # that are cut out of an image for the comparison, unless all are asked for
BATCH = 16  # windows in a pass
LARGEST = 1024  # side (pixels) of the part of an image on which the classifier itself is run


@dataclass
class Seconds:
    """Time of the passes over an image: of the fully convolutional network, and of the classifier in sliding windows."""

    unrolled: float = 0.0
    sliding: float = 0.0


@dataclass(frozen=True)
class Localized:
    """The maps of one image; where sliding windows were asked for, also theirs. windows: their number."""

    maps: ClassMaps
    seconds: Seconds
    sliding: ClassMaps | None = None
    windows: int = 0


class Localizer:
    """Makes the maps of many images. ``network`` is the fully convolutional one; it may be moved, with the classifier's.

    classifier: with its mean and deviation.
    dense: "pixel" or "window". Where the classifier flattens its features, as VGG does, "pixel" is not possible, and a warning says so.
    output_stride: pixels from one cell to the next, a divisor of the classifier's own; None: its own.
    scales: factors of the image's size; the probabilities of all are averaged.

    Raises UserError for a classifier that cannot be made fully convolutional or dilated, naming the layer.
    """

    def __init__(
        self, classifier: Classifier, *, dense: Dense = "pixel", output_stride: int | None = None, scales: Sequence[float] = (1.0,)
    ) -> None:
        assert classifier.mean is not None
        assert classifier.std is not None
        self.classifier, self.scales, self.window = classifier, tuple(scales), classifier.size
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            network, field = _converted(classifier, dense)
        if dense == "pixel" and field.node.sizes == (1, 1):
            log.warning("%s classifies a flattened window and no single cells: the maps are those of dense=window", _name(classifier))
            dense = "window"
            network, field = _converted(classifier, dense)
        else:
            for each in caught:
                warnings.warn(each.message, stacklevel=2)
        if field.graph.input_shape[1] != 3:
            raise UserError(f"{_name(classifier)} takes images of {field.graph.input_shape[1]} channels, and photographs have 3")
        if field.node.shape[1] < 2:
            raise UserError(f"{_name(classifier)} gives one score, and maps compare classes; give a classifier with a score for each class")
        if field.node.op.strip("_") == "softmax":
            raise UserError(f"{_name(classifier)} ends in a softmax, and maps are made of scores; leave its last layer out")
        own = max(stride or 1 for stride in field.stride)
        if int(own) != own or len(set(field.stride)) != 1:
            raise UserError(f"{_name(classifier)} has no cells at whole steps (one every {own} pixels), which cannot be placed on an image")
        self.dense, self.own_stride = dense, int(own)
        self.stride = self.own_stride if output_stride is None else output_stride
        self.network = (network if self.stride == self.own_stride else dilate(network, self.stride)).eval()
        self.names = class_names(classifier, field.node.shape[1])
        self._fields: dict[tuple[int, int], ReceptiveField] = {self.window: field} if self.stride == self.own_stride else {}
        self.mean, self.std = classifier.mean, classifier.std

    def normalize(self, images: Tensor) -> Tensor:
        """Images uint8 (..., 3, H, W) to the floats that the classifier takes, on its device."""
        like = next(self.network.parameters())
        mean, std = (like.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (images.to(like.device, like.dtype) / 255 - mean) / std

    def __call__(self, image: Image, *, sliding: bool = False, progress: bool = False) -> Localized:
        """The maps of one image, uint8 (3, H, W).

        sliding: also run the classifier in sliding windows, one for each cell, and take the time of both; for ``dense="window"``.

        Raises UserError for an image that is smaller than a window, and where the maps do not fit into memory.
        """
        height, width = image.shape[-2:]
        sizes = [(max(1, round(height * scale)), max(1, round(width * scale))) for scale in self.scales]
        self._check(sizes)
        seconds, grids, slid, found = Seconds(), [], [], []
        with unchanged(self.network), evaluating(self.classifier.network):
            for size in sizes:
                view = image if size == (height, width) else Resized(image, *size)
                scores = self._scores(view, seconds, twice=sliding, progress=progress)
                rows, columns = self._places((height, width), size, scores)
                windows = grid(size, self.window, self.stride) if self.dense == "window" else []
                if sliding:
                    own = self._slid(view, windows, seconds).view(scores.shape)
                    found.append(compared("windows", own.flatten(1), scores.flatten(1)))
                    slid.append((own, rows, columns))
                elif self.dense == "window":
                    chosen = spread_evenly(windows, WINDOWS)
                    cells = torch.stack([scores[:, row // self.stride, column // self.stride] for row, column in chosen], 1)
                    found.append(compared("window", self._in_windows(view, chosen), cells))
                else:
                    found.append(self._compared_mean(view, scores))
                grids.append((scores, rows, columns))
        agreement = together(found)
        maps, *others = [
            ClassMaps(probabilities, self.names, rows, columns, (height, width), agreement)
            for probabilities, rows, columns in map(merged, [grids, slid] if sliding else [grids])
        ]
        return Localized(maps, seconds, others[0] if others else None, sum(own[0].numel() for own, _, _ in slid))

    # --- scores, and where they lie ---

    def _check(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Raises UserError where a view is smaller than a window, or the maps of all classes are too large."""
        height, width = self.window
        for scale, (tall, wide) in zip(self.scales, sizes, strict=True):
            if self.dense == "window" and (tall < height or wide < width):
                at = "" if self.scales == (1.0,) else f" at the scale {scale:g}"
                raise UserError(
                    f"the image has {wide}x{tall} pixels{at}, and the classifier's window {width}x{height}; "
                    f"give {said('dense', 'pixel')}, a larger image or a larger scale"
                )
        cells = [ceil(tall / self.stride) * ceil(wide / self.stride) for tall, wide in sizes]
        needed = 4 * len(self.names) * (sum(cells) + 2 * max(cells))
        there = psutil.virtual_memory().available
        if needed > there:
            raise UserError(
                f"{sum(cells):,} cells of {len(self.names)} classes need {needed / 2**30:.1f} GiB and {there / 2**30:.1f} GiB are free; "
                f"give a larger {said('output_stride')} or smaller {said('scales')}"
            )

    def _field(self, height: int, width: int) -> ReceptiveField:
        """What the network's cells see in an image of that size. It depends on what is left when the size is divided by the stride, so
        that a small image tells."""
        size = tuple(side + (length - side) % self.own_stride for side, length in zip(self.window, (height, width), strict=True))
        key = size[0], size[1]
        if key not in self._fields:
            self._fields[key] = receptive_field(self.network, key, ignore_global=True)
        return self._fields[key]

    def _scores(self, view: Image, seconds: Seconds, *, twice: bool, progress: bool) -> Tensor:
        """The scores of the cells (K, h, w); of windows, of those that lie within the image. twice: take the time of a second pass."""
        size = view.shape[-2:]
        found = pass_through(self._field(*size).graph)
        for _ in range(1 + twice):
            begin = time.perf_counter()
            scores = scores_of_cells(self.network, view, self.normalize, found, progress=progress)
            passed = time.perf_counter() - begin
        seconds.unrolled += passed
        if self.dense == "pixel":
            return scores
        inside = [(side - window) // self.stride + 1 for side, window in zip(size, self.window, strict=True)]
        return scores[:, : inside[0], : inside[1]]

    def _places(self, size: tuple[int, int], viewed: tuple[int, int], scores: Tensor) -> tuple[Places, Places]:
        """The rows and the columns of an image of that ``size`` on which the cells are centred. viewed: the size that the network saw."""
        if self.dense == "window":
            first = [(side - 1) / 2 for side in self.window]
        else:
            first = [float(offset or 0) for offset in self._field(*viewed).offset]
        rows, columns = (
            (np.arange(cells, dtype=np.float64) * self.stride + (begin + 0.5)) * (side / seen) - 0.5
            for begin, cells, side, seen in zip(first, scores.shape[1:], size, viewed, strict=True)
        )
        return rows, columns

    # --- the classifier itself ---

    @torch.inference_mode()
    def _in_windows(self, view: Image, places: Sequence[Place]) -> Tensor:
        """The classifier's scores (K, windows) on windows that are cut out."""

        def cut(row: int, column: int) -> Tensor:
            return self.normalize(view[:, row : row + self.window[0]][:, :, column : column + self.window[1]])

        return in_windows(self.classifier.network, cut, places, BATCH).float().cpu().T

    @torch.inference_mode()
    def _slid(self, view: Image, places: Sequence[Place], seconds: Seconds) -> Tensor:
        picture = self.normalize(view[:, :][None])
        cut = cutting(picture, self.window)
        in_windows(self.classifier.network, cut, places[:BATCH], BATCH)
        begin = time.perf_counter()
        scores = in_windows(self.classifier.network, cut, places, BATCH).float().cpu().T.contiguous()
        seconds.sliding += time.perf_counter() - begin
        return scores

    @torch.inference_mode()
    def _compared_mean(self, view: Image, scores: Tensor) -> Agreement:
        """The classifier on the view, or on its middle, beside the mean of the cells that an undilated network has."""
        size = view.shape[-2:]
        rows, columns = (slice((side - min(side, LARGEST)) // 2, (side + min(side, LARGEST)) // 2) for side in size)
        part = (rows.stop - rows.start, columns.stop - columns.start)
        picture = self.normalize(view[:, rows][:, :, columns][None])
        if part != tuple(size):
            scores = self.network(picture)[0].float().cpu()
        step = self.own_stride // self.stride
        mean = scores[:, ::step, ::step].mean((1, 2))
        return compared("mean", self.classifier.network(picture)[0].float().cpu()[:, None], mean[:, None], None if part == size else part)


def compared(against: Literal["mean", "window", "windows"], own: Tensor, cells: Tensor, part: tuple[int, int] | None = None) -> Agreement:
    """The classifier's own scores (K, n) beside those of the cells."""
    reach = (own.max() - own.min()).clamp_min(torch.finfo(own.dtype).tiny)
    equal = (own.argmax(0) == cells.argmax(0)).float().mean().item()
    return Agreement(against, own.shape[1], equal, ((own - cells).abs().max() / reach).item(), part)


def together(found: Sequence[Agreement]) -> Agreement:
    """The agreement over several scales: the largest difference, and the share of all that were compared."""
    total = sum(each.compared for each in found)
    equal = sum(each.equal * each.compared for each in found) / total
    worst = max(found, key=lambda each: each.difference)
    return Agreement(worst.against, total, equal, worst.difference, next((each.part for each in found if each.part), None))


def _converted(classifier: Classifier, dense: Dense) -> tuple[torch.nn.Module, ReceptiveField]:
    """The fully convolutional network, and what its cells see. "SAME" padding is as the classifier's own for the mean of cells to be its
    result, and as at the trained size for cells to be windows."""
    network = convolutionalize(
        classifier.network, dense=dense, input_size=classifier.size, padding="window" if dense == "window" else "image"
    ).eval()
    return network, receptive_field(network, classifier.size, ignore_global=True)


def _name(classifier: Classifier) -> str:
    return type(classifier.network).__name__
