"""Scoring a split: every image once, at its own size, into one confusion matrix."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.images import ImageKind, kind_of
from fcn.core.labels import LabelSet
from fcn.core.names import listed
from fcn.data.census import refuse_scoring, scoring_warnings
from fcn.data.split import Split, check_split
from fcn.data.verify import verify as look_at
from fcn.graph.networks import evaluating
from fcn.inference.kept import unchanged
from fcn.inference.predict import check_network
from fcn.inference.strategies import Strategy, create_strategy
from fcn.inference.windows import Network
from fcn.models.segmenter import Segmenter
from fcn.rasters.scenes import Scenes
from fcn.training.devices import accelerated
from fcn.training.metrics import Evaluation
from fcn.training.scored import Scored, scored_images, scored_scenes
from fcn.training.workers import telling_of_lost_workers

log = logging.getLogger(__name__)


def evaluate(
    model: Segmenter | Network,
    split: Split,
    *,
    strategy: str = "auto",
    precision: str = "fp32",
    workers: int = 2,
    verify: Literal["auto", "all", "none"] = "auto",
    progress: bool = False,
    **options: Any,
) -> Evaluation:
    """The scores of a model on a split, from one confusion matrix over all images at their own sizes; void pixels are not counted.

    >>> scores = fcn.evaluate(model, fcn.create_split("shapes", "val", val_count=3), workers=0)
    >>> print(scores)  # the table of fcn evaluate
    >>> scores.mean_iou, scores.iou["disk"], scores.pixel_accuracy, scores.confusion

    model: network from ``fcn.load`` or ``fcn.create_model``. It runs on its device, in evaluation mode, and is left as it was. With
        ``strategy="windows"``, any callable from uint8 windows (N, 3, h, w) to scores (N, C, h, w).
    split: split of a data set: from ``fcn.create_split``, or any object with ``labels``, ``names``, ``len()``, ``split[i]`` and
        ``truth(i)`` (docs/extending.md has an example).
    strategy: way through the network, as in ``fcn.predict``; default "auto".
    precision: number format of the network: "auto", "fp32", "bf16" or "fp16"; default "fp32".
    workers: number of processes that read; 0: this process; default 2.
    verify: samples that are checked before: "auto" (all up to 500, else 500 of them), "all" or "none"; default "auto".
    progress: show progress on stderr; default False.
    options: settings of the strategy, as in ``fcn.predict``.

    Returns an ``Evaluation``: ``mean_iou``, ``iou`` and ``accuracy`` by class name, ``pixel_accuracy``, ``mean_accuracy``,
    ``frequency_weighted_iou``, ``confusion``. Definitions: Long et al. 2015, section 5, arXiv:1411.4038.

    Raises TypeError for what is no model or no split. Raises UserError where their classes differ, for samples that cannot be used, and for
    label maps that hold nothing to score.
    """
    run = create_strategy(strategy, **options)
    check_network(model, strategy)
    check_workers(workers)
    check_split(split)
    if isinstance(model, Segmenter):
        check_classes(model, split.labels)
        check_images(model, kind_of(split))
    if verify != "none":
        census = look_at(split, verify, progress=progress)
        refuse_scoring(census, "the split")
        for warning in scoring_warnings(census):
            log.warning("note: %s", warning)
    device = next((tensor.device.type for tensor in model.parameters()), "cpu") if isinstance(model, nn.Module) else "auto"
    with accelerated(device, precision) as accelerator, accelerator.autocast():
        return Evaluation(split.labels, score_split(model, split, run, accelerator, workers=workers, progress=progress))


def check_classes(model: Segmenter, labels: LabelSet, model_name: str = "the model", split: str = "the split") -> None:
    """Raises UserError where a model does not have these classes, in this order; of one without names only their number counts."""
    if model.labels is None and model.spec is not None and model.spec.num_classes != labels.num_classes:
        trained = f"has {model.spec.num_classes} classes"
    elif model.labels is not None and model.labels.names != labels.names:
        trained = f"was trained for {model.labels.num_classes} classes ({listed(model.labels.names, 5)})"
    else:
        return
    raise UserError(
        f"{model_name} {trained} and {split} has {labels.num_classes} ({listed(labels.names, 5)}); "
        f"give the data set that it was trained for"
    )


def check_images(model: Segmenter, images: ImageKind, model_name: str = "the model", split: str = "the split") -> None:
    """Raises UserError where a model takes images of another kind."""
    if not model.takes(images):
        raise UserError(f"{model_name} takes images of {model.images}, and {split} has images of {images}; give images of the same kind")


def check_workers(workers: int) -> None:
    if not isinstance(workers, int) or workers < 0:
        raise UserError(f"workers={workers!r} is not allowed; it is a whole number, 0 or more")


def score_split(
    model: Segmenter | Network,
    split: Split,
    strategy: Strategy,
    accelerator: Accelerator,
    *,
    workers: int = 2,
    title: str = "scoring",
    visit: Callable[[Scored], None] | None = None,
    confidence: bool = False,
    progress: bool = True,
) -> Tensor:
    """The confusion matrix (num_classes, num_classes), int64, of a model on a split, summed over all processes.

    Process ``r`` of ``p`` takes the images ``r, r + p, ...``: each is counted once, whatever their number. Scenes are labelled as wholes,
    see ``scored_scenes``. The model is used in evaluation mode and left as it was. visit: called with each sample. confidence: whether the
    samples come with the confidence of their pixels.
    """
    share = accelerator.process_index, accelerator.num_processes
    told = accelerator.is_main_process and progress
    if isinstance(split, Scenes):
        samples = scored_scenes(model, split, strategy, share, confidence=confidence, progress=told)
    else:
        mine = list(range(share[0], len(split), share[1]))
        samples = scored_images(model, split, strategy, mine, workers=workers, title=title, confidence=confidence, progress=told)
    classes = split.labels.num_classes
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    with as_for_scoring(model), unchanged(model, many=True), telling_of_lost_workers(workers):
        for sample in samples:
            matrix += sample.matrix
            if visit is not None:
                visit(sample)
    if accelerator.num_processes > 1:
        matrix = accelerator.reduce(matrix.to(accelerator.device), "sum").cpu()
    return matrix


def as_for_scoring(model: Segmenter | Network) -> AbstractContextManager[Any]:
    return evaluating(model) if isinstance(model, nn.Module) else nullcontext()
