"""Whether an exported file gives what its model gives, on pictures of several sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.names import first_line
from fcn.tools.export.program import Exportable
from fcn.tools.tables import text_table

TOLERANCE = 1e-4  # of the range of the scores


@dataclass(frozen=True)
class Check:
    """How an exported file and its model agree on one batch of images.

    images, height, width: size of the batch. difference: largest difference of a score, as a share of the scores' range; None for a file of
    labels. labels: number of pixels whose labels differ. ties: how many of these have two best scores within ``TOLERANCE`` of the range.
    """

    images: int
    height: int
    width: int
    difference: float | None
    labels: int
    ties: int

    @property
    def agrees(self) -> bool:
        return (self.difference is None or self.difference <= TOLERANCE) and self.labels == self.ties

    def __str__(self) -> str:
        scores = "" if self.difference is None else f"scores differ by {self.difference:.1g} of their range, and "
        return f"{scores}{self.labels - self.ties} labels differ clearly, on an image of {self.width}x{self.height} pixels"


@torch.no_grad()
def verify(
    model: Exportable, run: Callable[[Tensor], Tensor], batches: Sequence[Tensor], name: str, *, exact: bool = True
) -> tuple[Check, ...]:
    """Compares what ``run``, an exported file, gives with what ``model`` gives, on batches of images as floats.

    exact: whether the file has to agree; one in int8 cannot.

    Raises UserError, naming the file, where they differ by more than ``TOLERANCE``, where labels differ clearly, and where the file cannot
    be run.
    """
    checks = []
    reference = Exportable(model.segmenter, "scores" if model.gives == "labels" else model.gives).eval()
    for images in batches:
        size = f"{images.shape[-1]}x{images.shape[-2]} pixels"
        values = images.float()
        try:
            wanted = reference(values)
        except Exception as error:  # of a network of a user's own, whatever it raises
            raise UserError(f"the model itself cannot be run on an image of {size} ({first_line(error)}); give larger images") from error
        try:
            given = run(values)
        except Exception as error:
            raise UserError(f"{name} is not written: it cannot be run on an image of {size} ({first_line(error)})") from error
        check = compared(wanted, given, labels=model.gives == "labels")
        if exact and not check.agrees:
            raise UserError(f"{name} is not written, since it does not give what the model gives: {check}; use another format or model")
        checks.append(check)
    return tuple(checks)


def compared(wanted: Tensor, given: Tensor, *, labels: bool = False) -> Check:
    """wanted: scores (N, K, H, W) of the model. given: scores of the file, or its labels (N, H, W)."""
    count, _, height, width = wanted.shape
    shape = (count, height, width) if labels else tuple(wanted.shape)
    if tuple(given.shape) != shape or not torch.isfinite(wanted).all():
        return Check(count, height, width, float("inf"), count * height * width, 0)
    span = float(wanted.max() - wanted.min())
    difference = None if labels else float((given - wanted).abs().max()) / max(span, torch.finfo(torch.float32).tiny)
    if difference is not None and difference != difference:  # not a number
        difference = float("inf")
    best = wanted.topk(2, dim=1).values
    near = best[:, 0] - best[:, 1] <= TOLERANCE * span
    differ = (given.long() if labels else given.argmax(1)) != wanted.argmax(1)
    return Check(count, height, width, difference, int(differ.sum()), int((differ & near).sum()))


def table(checks: Sequence[Check]) -> str:
    """The checks as a table of text."""
    rows = [
        [
            f"{check.width}x{check.height}",
            str(check.images),
            "" if check.difference is None else f"{check.difference:.1e}",
            str(check.labels),
            str(check.ties),
        ]
        for check in checks
    ]
    return text_table(["image", "batch", "largest difference, of the range", "labels that differ", "of these ties"], rows)
