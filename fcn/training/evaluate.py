"""Scoring a split: every image once, at its own size, into one confusion matrix."""

from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from fcn.data.split import Split
from fcn.graph.networks import evaluating
from fcn.inference.kept import unchanged
from fcn.inference.strategies import Strategy
from fcn.models.segmenter import Segmenter
from fcn.training.batches import scoring_loader
from fcn.training.metrics import confusion_matrix
from fcn.training.workers import delivered, telling_of_lost_workers


def evaluate(
    model: Segmenter,
    split: Split,
    strategy: Strategy,
    accelerator: Accelerator,
    *,
    workers: int = 2,
    title: str = "scoring",
    visit: Callable[[int, Tensor, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """The confusion matrix (num_classes, num_classes), int64, of a model on a split, summed over all processes.

    Process ``r`` of ``p`` takes the images ``r, r + p, ...``: each is counted once, whatever their number. The model is used in evaluation
    mode and left as it was. visit: called with each sample's index, image, true and predicted label map.
    """
    indices = list(range(accelerator.process_index, len(split), accelerator.num_processes))
    matrix = torch.zeros(split.labels.num_classes, split.labels.num_classes, dtype=torch.int64)
    samples = delivered(scoring_loader(split, indices, workers=workers))
    hidden = not accelerator.is_main_process
    bar = tqdm(samples, title, len(indices), leave=False, disable=hidden, mininterval=0.5, unit="image")
    with evaluating(model), unchanged(model), telling_of_lost_workers(workers), bar as shown:
        for index, (image, labels) in zip(indices, shown, strict=True):
            prediction = strategy(model, image)
            matrix += confusion_matrix(labels, prediction, split.labels.num_classes)
            if visit is not None:
                visit(index, image, labels, prediction)
    if accelerator.num_processes > 1:
        matrix = accelerator.reduce(matrix.to(accelerator.device), "sum").cpu()
    return matrix
