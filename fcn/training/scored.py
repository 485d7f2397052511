"""Samples with their labels by a network, one after another: the images of a split, or the tiles of scenes that are labelled as a whole."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import void_index
from fcn.core.progress import Progress
from fcn.data.split import Split
from fcn.inference.at_once import images_at_once, in_order, small_pixels
from fcn.inference.blocks import strategy_blocks
from fcn.inference.strategies import Strategy
from fcn.inference.windows import Network
from fcn.models.segmenter import Segmenter
from fcn.rasters.scenes import Scene, Scenes
from fcn.rasters.spool import Finished, Shape, Spool, file_dtype
from fcn.training.batches import scoring_loader
from fcn.training.metrics import confusion_matrix
from fcn.training.workers import delivered

AT_ONCE = 2**27  # bytes of a scene that are read at once, to be compared


@dataclass(frozen=True)
class Scored:
    """One sample of a split, scored.

    index: its place in the split. image: as the split gives it. truth, prediction: label maps uint8 (H, W). matrix: its confusion matrix
    (num_classes, num_classes), int64. confidence: the largest probability of each pixel, uint8 (H, W), 255 for 1; None unless asked for.
    """

    index: int
    image: Tensor
    truth: Tensor
    prediction: Tensor
    matrix: Tensor
    confidence: Tensor | None = None


def scored_images(
    model: Segmenter | Network,
    split: Split,
    strategy: Strategy,
    indices: list[int],
    *,
    workers: int,
    title: str,
    confidence: bool,
    progress: bool,
) -> Iterator[Scored]:
    """These samples of a split. workers: processes that read. title: of the progress. confidence: whether it comes with them."""
    classes = split.labels.num_classes
    shown = Progress(title, len(indices), "images", shown=progress).over(delivered(scoring_loader(split, indices, workers=workers)))

    def scored(found: tuple[int, tuple[Tensor, Tensor]]) -> Scored:
        index, (image, labels) = found
        sure = torch.empty(image.shape[-2:], dtype=torch.uint8) if confidence else None
        prediction = strategy(model, image) if sure is None else strategy(model, image, confidence=sure)
        check_values(labels, prediction, classes, str(split.names[index]))
        return Scored(index, image, labels, prediction, confusion_matrix(labels, prediction, classes), sure)

    samples, at_once = zip(indices, shown, strict=True), images_at_once(model, strategy, len(indices))
    return in_order(samples, scored, small=lambda found: found[1][1].numel() <= small_pixels(at_once), at_once=at_once)


def scored_scenes(
    model: Segmenter | Network,
    split: Scenes,
    strategy: Strategy,
    share: tuple[int, int],
    *,
    confidence: bool,
    progress: bool,
) -> Iterator[Scored]:
    """The tiles of the scenes of process ``r`` of ``p``, where ``share`` is (r, p), in rising order. Each scene is labelled as a whole.

    Process r takes the scenes r, r + p, ... Of fewer scenes than processes, it takes the r-th part of the tiles' rows of each; the labels
    are the same. Those of a scene lie in a temporary file, compressed, until all are there.
    """
    process, processes = share
    parts = 1 if len(split.scenes) >= processes else processes
    for number in range(len(split.scenes)):
        if parts == 1 and number % processes != process:
            continue
        rows = [list(tiles) for _, tiles in groupby(split.of(number), key=lambda index: split.tiles[index].top)]
        part = process if parts > 1 else 0
        rows = rows[len(rows) * part // parts : len(rows) * (part + 1) // parts]
        if rows:
            with split.open(number) as scene, tempfile.TemporaryDirectory() as folder:
                finished = labelled(model, split, scene, strategy, rows, Path(folder) / "rows", confidence=confidence, progress=progress)
                yield from compared(split, scene, rows, finished, confidence=confidence)


def labelled(
    model: Segmenter | Network,
    split: Scenes,
    scene: Scene,
    strategy: Strategy,
    rows: list[list[int]],
    path: Path,
    *,
    confidence: bool,
    progress: bool,
) -> Finished:
    """The labels of these rows of tiles of a scene, in the file ``path``."""
    first, last = split.tiles[rows[0][0]].top, split.tiles[rows[-1][0]]
    end = last.top + last.height
    shape = Shape(end - first, scene.image.width, file_dtype(split.labels), confidence)
    found = strategy_blocks(strategy, model, scene.image, first_row=first, end_row=end, confidence=confidence, progress=progress)
    with Spool(path, shape) as spool:
        for block in found:
            spool.write(block.top - first, block.left, block.labels.numpy(), None if block.confidence is None else block.confidence.numpy())
    return Finished([path])


def compared(split: Scenes, scene: Scene, rows: list[list[int]], finished: Finished, *, confidence: bool) -> Iterator[Scored]:
    """These rows of tiles beside their truth. Where the image has no data the truth is void, and the prediction stands for nothing."""
    first = split.tiles[rows[0][0]]
    bands = finished.labels(first.height)
    sures = finished.confidence(first.height) if confidence else None
    most = max(1, AT_ONCE // (first.height * first.width * scene.image.images.pixel_bytes))
    classes, void = split.labels.num_classes, split.labels.void
    for row, band in zip(rows, bands, strict=True):
        sure = None if sures is None else torch.from_numpy(next(sures))
        for begin in range(0, len(row), most):
            tiles = row[begin : begin + most]
            top, left, height = split.tiles[tiles[0]].top, split.tiles[tiles[0]].left, split.tiles[tiles[0]].height
            width = split.tiles[tiles[-1]].left + split.tiles[tiles[-1]].width - left
            image, truths = scene.image.read(top, left, height, width), scene.truth.read(top, left, height, width)
            labels = torch.from_numpy(band[:, left : left + width].astype(split.labels.dtype))
            for index in tiles:
                place = split.tiles[index]
                columns = slice(place.left - left, place.left - left + place.width)
                nothing = labels[:, columns] == void
                truth, prediction = truths[:, columns].masked_fill(nothing, void), labels[:, columns].masked_fill(nothing, 0)
                check_values(truth, prediction, classes, split.names[index])
                matrix = confusion_matrix(truth, prediction, classes)
                own = None if sure is None else sure[:, place.left : place.left + place.width]
                yield Scored(index, image[..., columns], truth, prediction, matrix, own)


def check_values(truth: Tensor, prediction: Tensor, classes: int, name: str) -> None:
    """Raises UserError for label maps with classes that there are not: in a confusion matrix they would count for other ones."""
    if int(prediction.max()) >= classes:
        raise UserError(f"{name}: the network predicts class {int(prediction.max())}, and the split has {classes} classes, from 0 on")
    void = void_index(classes)
    wrong = truth[(truth >= classes) & (truth != void)]
    if len(wrong):
        raise UserError(f"{name}: its label map holds {int(wrong[0])}, which is neither one of the {classes} classes nor void ({void})")
